"""Which operators did not run on the special unit, where they went instead, and why."""

from collections.abc import Iterator
from dataclasses import dataclass

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.costing import Estimate
from roofwright.cost_model.kernels import KernelWork
from roofwright.targets import Engine, Target


@dataclass(frozen=True)
class Fallback:
    """Kernels of one kind that run beside the special unit, together.

    Attributes:
        op: operator of their first node.
        engine: where they run; "" where no engine can.
        reason: why not on the unit.
        kernels: how many.
        seconds: what they add to the latency.
    """

    op: str
    engine: str
    reason: str
    kernels: int
    seconds: float


def fallbacks(estimate: Estimate) -> tuple[Fallback, ...]:
    """Everything that runs beside the unit, the slowest group first.

    The unit is the target's engine with the most MACs per second; a machine with one engine has no fallbacks.
    """
    groups: dict[tuple[str, str, str], list[float]] = {}
    for name, engine, reason, seconds in _beside(estimate):
        groups.setdefault((name, engine, reason), []).append(seconds)
    found = [Fallback(*group, len(times), sum(times)) for group, times in groups.items()]
    return tuple(sorted(found, key=lambda f: (-f.seconds, f.op, f.engine, f.reason)))


def special_unit(target: Target) -> Engine:
    """The engine that the machine's peak is quoted for."""
    return max(target.engines, key=lambda e: max((e.peak_macs_per_s(d) for d in e.macs_per_clock), default=0.0))


def _beside(estimate: Estimate) -> Iterator[tuple[str, str, str, float]]:
    unit, target = special_unit(estimate.target), estimate.target
    spans = (estimate.evaluations.timeline_s + estimate.evaluations.overhead_s).tolist()
    for kernel, at, seconds in zip(estimate.kernels, estimate.prices.engine.tolist(), spans, strict=True):
        engine = target.engines[at] if at >= 0 else None
        if engine is not unit:
            yield kernel.nodes[0].op, engine.name if engine else "", why(kernel, unit, target), seconds


def why(kernel: KernelWork, unit: Engine, target: Target) -> str:
    """Why a kernel does not run on the unit: its kind of work, its dtype, or its price."""
    lead = next((node for node in kernel.nodes if node.work.nest is not None), kernel.nodes[0])
    if lead.work.kind not in unit.runs:
        return f"{unit.name} runs no {lead.work.kind} work"
    operands = lead.work.reads or lead.work.writes
    dtype = storage_of(operands[0].dtype, target).multiply if operands else ""
    if lead.work.nest is not None and dtype not in unit.macs_per_clock:
        return f"{unit.name} does not multiply {dtype}"
    return f"it is faster there than on {unit.name}"
