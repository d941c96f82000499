"""What matrix work costs on any engine: one question, answered by the model of the engine's kind.

systolic   roofwright.cost_model.systolic   closed forms of folds on an array
simt       roofwright.cost_model.simt       tiles and waves over a GPU's multiprocessors
window     roofwright.cost_model.window     windows of a convolution unit
simd       roofwright.cost_model.simd       register tiles on vector cores
"""

from collections.abc import Callable
from importlib import import_module
from typing import cast

import numpy as np

from roofwright.cost_model.rates import impossible
from roofwright.cost_model.simd import is_depthwise
from roofwright.cost_model.units import Bools, Nests, UnitTime
from roofwright.targets import Engine, Target

_Model = Callable[[Nests, Engine, Target, str], UnitTime]


def unit_time(nests: Nests, engine: Engine, target: Target, dtype: str) -> UnitTime:
    """Price nests on an engine whose units multiply `dtype`; infinite where `engine.runs` leaves the work out."""
    if dtype not in engine.macs_per_clock:
        return impossible(len(nests))
    model = cast(_Model, import_module(f"roofwright.cost_model.{engine.kind}").time)
    allowed = runs(nests, engine)
    if allowed.all():
        return model(nests, engine, target, dtype)
    whole, at = impossible(len(nests)), np.flatnonzero(allowed)
    if len(at):
        part = model(nests.take(at), engine, target, dtype)
        for name in UnitTime.__dataclass_fields__:
            getattr(whole, name)[at] = getattr(part, name)
    return whole


def runs(nests: Nests, engine: Engine) -> Bools:
    """Which nests belong to a class of work that the engine runs, shape (n,).

    A 1 x 1 convolution is a GEMM and the other way round, so an engine with either runs both; a recurrent nest needs
    "recurrent", a depthwise one "depthwise", any other filter "conv".
    """
    has = set(engine.runs)
    one_by_one = nests.kernel_h * nests.kernel_w == 1
    dense = np.where(one_by_one, bool(has & {"matmul", "conv"}), "conv" in has)
    dense = np.where(is_depthwise(nests), "depthwise" in has, dense)
    return np.asarray(np.where(nests.steps > 1, "recurrent" in has, dense), np.bool_)
