"""Seconds of whole networks: the cost model's own `estimate`, on the kernels that the measured stack launches.

Nothing is priced here. The stack decides which operators share a kernel, by the scheduling passes that `optimize` runs;
requests come back to back, as in a benchmark's loop, so weights that fit stay on chip and the link is hidden.
"""

import dataclasses
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from roofwright.cost_model import Estimate, GraphModel, Schedule, estimate
from roofwright.passes import PASSES, Context
from roofwright.targets import Assumption, Target

_SCHEDULING = ("kernels", "tiles", "placement", "prefetch")


@dataclass(frozen=True)
class Priced:
    """Seconds of one of many requests, and the estimate behind them."""

    seconds: float
    estimate: Estimate

    @property
    def reason(self) -> str:
        """What the request loses to every cause, in milliseconds."""
        evaluations = self.estimate.evaluations
        parts = {"ideal": evaluations.totals()[0], **evaluations.causes()}
        return ", ".join(f"{name} {seconds * 1e3:.2f}" for name, seconds in parts.items()) + " ms"


def network_s(model: GraphModel, target: Target, dtype: str | None = None) -> Priced:
    """Price a float32 network whose values and weights are stored and multiplied as `dtype` (None: as usual there).

    Raises:
        ValueError: some of the work is not modelled on the machine.
    """
    machine = stored_as(target, dtype)
    found = estimate(model, machine, scheduled(model, machine), resident_weights=True)
    if found.not_modelled:
        key, op, reason = found.not_modelled[0]
        raise ValueError(f"{op} {key} on {target.name}: {reason}")
    return Priced(found.period_s, found)


def stored_as(target: Target, dtype: str | None) -> Target:
    """The machine running float32 networks in a dtype."""
    if dtype is None:
        return target
    assume = {**target.assume, "float32": Assumption(storage=dtype, multiply=dtype)}
    return dataclasses.replace(target, assume=assume)


def scheduled(model: GraphModel, target: Target) -> Schedule | None:
    """The kernels that the target's stack launches; None: every operator is one."""
    if not target.stack.fuses:
        return None
    ctx = Context(target=target, model=model, resident_weights=True)
    for name in _SCHEDULING:
        found = PASSES[name]().run(gs.Graph(), ctx)
        ctx = ctx.with_schedule(found.schedule or ctx.schedule)
    return ctx.schedule
