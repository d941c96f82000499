"""A scheduling pass: weights travel while earlier kernels compute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.cost_model import (
    ALIGNMENT_BYTES,
    Costing,
    GraphModel,
    Kernel,
    Prefetch,
    Prefetched,
    Schedule,
    Timeline,
    check_capacity,
    holds_weights,
    latest,
    port_of,
)
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.passes.scheduling.early_rooms import Berth, berths
from roofwright.passes.scheduling.late_stores import with_late_stores
from roofwright.passes.scheduling.scratchpad import Scratchpad
from roofwright.targets import Target

_CLOSE = 1e-3  # share of a network that another plan is not worth trying for


@dataclass(frozen=True)
class PrefetchWeights(Pass):
    """load W(k+1) after kernel k --> load W(k+1) while kernel k computes.

    1. The event timeline plans the loads: the port's idle time during a kernel takes weights of the kernels after it,
       nearest first, as far as on-chip bytes are free; or each as late as it can be, so that it waits on chip shortest.
    2. As much of a plan is kept as finds addresses for as long as its buffers are occupied (`early_rooms`); the plan
       under which the network is then shorter counts.
    3. Results that wait when their kernel is done are stored while the next one computes, where their buffers find
       addresses that are free during both (`late_stores`).

    Declines when the on-chip memory is a cache: hardware prefetchers are part of its bandwidth already. Where it holds
    no weights, what waits in the queue before the unit (TPU v1's FIFO) gets there by itself, in kernel order.
    Numerics: exact (the graph is not touched).

    References:
        Jouppi et al., ISCA 2017, arXiv:1704.04760 (weights pre-fetched into a FIFO).
    """

    window: int = 32

    name: ClassVar[str] = "prefetch"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "load the next kernels' weights while earlier kernels compute"
    schedules: ClassVar[bool] = True

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Return the schedule with prefetches, as many as find room."""
        pad = Scratchpad.of(graph, ctx)
        if pad is None:
            return PassResult()
        schedule = self.planned(pad.model, pad.target, pad.schedule)
        return PassResult(tuple(_records(schedule)), schedule)

    def planned(self, model: GraphModel, target: Target, schedule: Schedule) -> Schedule:
        """The schedule with prefetches and late stores, itself where nothing is found."""
        costing, kernels = Costing.of(model, target, schedule), schedule.kernels
        found = with_late_stores(self._best(kernels, costing) if holds_weights(target) else kernels, costing)
        if all(new is old for new, old in zip(found, kernels, strict=True)):
            return schedule
        schedule = replace(schedule, kernels=tuple(found))
        check_capacity(schedule, target)
        return schedule

    def _best(self, kernels: Sequence[Kernel], costing: Costing) -> Sequence[Kernel]:
        """The kernels with the plan under which they are shortest; the second is tried where the first leaves much."""
        usual, hoped = costing.timeline(), costing.timeline(window=self.window)
        best, least_s = kernels, usual.total_s
        for plan, worth in ((self._late, 0.0), (_early, _CLOSE)):
            if hoped.total_s * (1 + worth) >= least_s:
                break
            layout, found = berths(kernels, costing, plan(costing, hoped))
            again = costing.timeline(rooms={index: berth.room for index, berth in found.items()})
            if again.total_s < least_s:
                best, least_s = _with_loads(layout, found, again.prefetched), again.total_s
        return best

    def _late(self, costing: Costing, hoped: Timeline) -> Sequence[Prefetched]:
        """Loads as late as they can be, in the idle time of a port that loads all it can."""
        port = port_of(costing.target)
        used_s = hoped.load_s + hoped.store_s if port.shared else hoped.load_s
        idle_s = np.diff(hoped.end_s, prepend=0.0) - used_s
        return latest(costing.tiles, port, idle_s.tolist(), self.window)


def _early(_: Costing, hoped: Timeline) -> Sequence[Prefetched]:
    """Loads as early as the port is idle and bytes are free."""
    return hoped.prefetched


def _with_loads(layout: Sequence[Kernel], found: Mapping[int, Berth], plan: Sequence[Prefetched]) -> Sequence[Kernel]:
    """The kernels with a plan's loads, in the buffers found for them."""
    ahead: dict[int, list[Prefetch]] = {}
    for item in plan:
        ahead.setdefault(item.kernel, []).extend(_parts(found[item.kernel], item, ahead.get(item.kernel, ())))
    kernels = list(layout)
    for index, berth in found.items():
        homes = {buffer.tensor: buffer for buffer in berth.buffers}
        buffers = tuple(homes.get(b.tensor, b) if b.until is None else b for b in kernels[index].buffers)
        kernels[index] = replace(kernels[index], buffers=buffers, prefetch=tuple(ahead.get(index, ())))
    return kernels


def _parts(berth: Berth, item: Prefetched, before: Sequence[Prefetch]) -> list[Prefetch]:
    """A planned load as parts of the kernel's weights, one tensor after the other, after what came `before`.

    A part is the rest of what is loaded of its tensor, or whole lines of it.
    """
    left, parts = int(item.bytes), []
    for buffer, planned in zip(berth.buffers, berth.bytes, strict=True):
        if left <= 0:
            break
        rest = planned - sum(part.bytes for part in before if part.tensor == buffer.tensor)
        size = rest if rest <= left else left // ALIGNMENT_BYTES * ALIGNMENT_BYTES
        if size > 0:
            parts.append(Prefetch(tensor=buffer.tensor, bytes=size, during=item.during))
        left -= min(rest, left)
    return parts


def _records(schedule: Schedule) -> list[Record]:
    return [
        Record("prefetch", kernel.nodes[0].output, kernel.nodes[0].op, True)
        for kernel in schedule.kernels
        if kernel.prefetch
    ]
