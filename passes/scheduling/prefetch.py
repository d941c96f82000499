"""The fourth scheduling pass: weights travel while earlier kernels compute."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.cost_model import (
    ALIGNMENT_BYTES,
    Costing,
    GraphModel,
    Prefetch,
    Prefetched,
    Schedule,
    ScheduleError,
    check_capacity,
    holds_weights,
)
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.passes.scheduling.buffers import Resident, own_buffers, with_buffers


@dataclass(frozen=True)
class PrefetchWeights(Pass):
    """load W(k+1) after kernel k --> load W(k+1) while kernel k computes.

    1. The event timeline plans the loads: the port's idle time during a kernel takes weights of the kernels after it,
       nearest first, as far as on-chip bytes are free.
    2. The plan is kept where every buffer it needs has an address for as long as it is occupied; parts that have none
       are given up.

    Declines when the on-chip memory is a cache: hardware prefetchers are part of its bandwidth already; and when it
    holds no weights: what waits in the queue before the unit (TPU v1's FIFO) gets there by itself, in kernel order.
    Numerics: exact (the graph is not touched).

    References:
        Jouppi et al., ISCA 2017, arXiv:1704.04760 (weights pre-fetched into a FIFO).
    """

    window: int = 4

    name: ClassVar[str] = "prefetch"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "load the next kernels' weights while earlier kernels compute"
    schedules: ClassVar[bool] = True

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Return the schedule with prefetches, as many as find room."""
        level = ctx.target.on_chip if ctx.target else None
        if ctx.target is None or ctx.schedule is None or level is None or level.managed == "cache":
            return PassResult()
        if not holds_weights(ctx.target):
            return PassResult((), ctx.schedule)
        costing = Costing.of(ctx.model or GraphModel.of(graph, ctx.dims), ctx.target, ctx.schedule)
        plan = list(costing.timeline(window=self.window).prefetched)
        while plan:
            schedule, homeless = _with_plan(ctx.schedule, costing, plan)
            if schedule is not None:
                return PassResult(tuple(_records(schedule)), schedule)
            plan = _fewer(plan, homeless, len(ctx.schedule.kernels))
        return PassResult((), ctx.schedule)


def _fewer(plan: list[Prefetched], homeless: Sequence[Resident], kernels: int) -> list[Prefetched]:
    """The plan without loads that wait on chip beside what found no place; half of it where there are none such."""
    crowded = np.zeros(kernels + 1, np.int64)
    for buffer in homeless:
        crowded[buffer.first + 1 : buffer.last + 2] = 1
    before = np.cumsum(crowded)
    kept = [item for item in plan if before[item.kernel + 1] == before[item.during]]
    return kept if len(kept) < len(plan) else plan[: len(plan) // 2]


def _with_plan(
    schedule: Schedule, costing: Costing, plan: Sequence[Prefetched]
) -> tuple[Schedule | None, list[Resident]]:
    """The schedule with the plan's loads at addresses, or what finds no place beside them."""
    ahead: dict[int, list[Prefetch]] = {}
    for item in plan:
        ahead.setdefault(item.kernel, []).extend(_parts(costing, item, ahead.get(item.kernel, ())))
    residents = [
        Resident(b.tensor, b.bytes, kernel.index, b.until)
        for kernel in schedule.kernels
        for b in kernel.resident
        if b.until is not None
    ]
    try:
        without = {at for at, k in enumerate(schedule.kernels) if not own_buffers(k) and costing.slices(at)}
        made, homeless = with_buffers(schedule, costing, residents, ahead, without)
        check_capacity(made, costing.target)
    except ScheduleError:
        return None, []
    return None if homeless else made, homeless


def _parts(costing: Costing, item: Prefetched, before: Sequence[Prefetch]) -> list[Prefetch]:
    """A planned load as parts of the kernel's weights, one tensor after the other, after what came `before`.

    A part is the rest of its tensor, or whole lines of it.
    """
    left, parts = int(item.bytes), []
    for operand in costing.kernels[item.kernel].reads:
        if not operand.constant or left <= 0:
            continue
        done = sum(part.bytes for part in before if part.tensor == operand.name)
        rest = int(costing.bytes_of(operand)) - done
        size = rest if rest <= left else left // ALIGNMENT_BYTES * ALIGNMENT_BYTES
        if size > 0:
            parts.append(Prefetch(tensor=operand.name, bytes=size, during=item.during))
        left -= min(rest, left)
    return parts


def _records(schedule: Schedule) -> list[Record]:
    return [
        Record("prefetch", kernel.nodes[0].output, kernel.nodes[0].op, True)
        for kernel in schedule.kernels
        if kernel.prefetch
    ]
