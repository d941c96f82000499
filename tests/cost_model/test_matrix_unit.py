"""The dispatcher: the model of the engine's kind, and only the classes of work that it runs."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model import matrix_unit, simd, systolic, window
from roofwright.cost_model.units import Nests
from roofwright.cost_model.work import LoopNest
from roofwright.targets import Engine
from tests.cost_model.machines import array, cores, machine, window_unit
from tests.cost_model.nests import loop_nests

MODELS = [(array(128, 128), systolic, "int8"), (window_unit(), window, "float16"), (cores(), simd, "float32")]


@given(st.lists(loop_nests(), min_size=1, max_size=5), st.sampled_from(range(len(MODELS))))
def test_each_kind_has_its_model(nests: list[LoopNest], which: int) -> None:
    engine, model, dtype = MODELS[which]
    stacked = Nests.of(nests)
    got = matrix_unit.unit_time(stacked, engine, machine(engine), dtype)
    assert got.busy_s.tolist() == model.time(stacked, engine, machine(engine), dtype).busy_s.tolist()


CASES = {
    "matmul": LoopNest(1, 1, 8, 1, 8, 8, in_h=8),
    "one_by_one": LoopNest(1, 1, 8, 8, 8, 8, in_h=8, in_w=8),
    "conv": LoopNest(1, 1, 8, 8, 8, 8, 3, 3, in_h=8, in_w=8),
    "depthwise": LoopNest(8, 1, 8, 8, 1, 1, 3, 3, in_h=8, in_w=8),
    "recurrent": LoopNest(1, 1, 8, 1, 8, 8, in_h=8, steps=5),
}


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        (("matmul",), ["matmul", "one_by_one"]),
        (("conv",), ["matmul", "one_by_one", "conv"]),
        (("conv", "depthwise"), ["matmul", "one_by_one", "conv", "depthwise"]),
        (("recurrent",), ["recurrent"]),
        (("elementwise",), []),
    ],
)
def test_work_outside_the_classes_of_an_engine_takes_for_ever(runs: tuple[str, ...], expected: list[str]) -> None:
    engine: Engine = dataclasses.replace(array(128, 128), runs=runs)  # type: ignore[arg-type]  # literals
    priced = matrix_unit.unit_time(Nests.of(list(CASES.values())), engine, machine(engine), "int8")
    finite = [name for name, busy in zip(CASES, priced.busy_s, strict=True) if np.isfinite(busy)]
    assert finite == expected
    assert [name for name, how in zip(CASES, priced.algorithm, strict=True) if how != "unsupported"] == expected


def test_an_absent_dtype_takes_for_ever() -> None:
    engine = cores()
    assert np.isinf(matrix_unit.unit_time(Nests.gemm(8, 8, 8), engine, machine(engine), "float64").busy_s).all()


def test_no_nests_cost_nothing() -> None:
    for engine, _, dtype in MODELS:
        assert len(matrix_unit.unit_time(Nests.of([]), engine, machine(engine), dtype).busy_s) == 0
