"""The third scheduling pass: which tensors stay on chip between kernels, and where every buffer lies."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.cost_model import ChannelCost, Costing, GraphModel, Placement, Schedule, StripCost
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.passes.scheduling.buffers import Resident, bare, with_buffers
from roofwright.passes.scheduling.scratchpad import Scratchpad
from roofwright.passes.scheduling.tiles import tilings_of
from roofwright.targets import Target


@dataclass(frozen=True)
class PlaceTensors(Pass):
    """kernel i stores t; kernel j loads t --> t stays on chip from i to j.

    1. Candidates are tensors that one kernel makes and later ones read; graph outputs are always stored.
    2. The tensor that saves most bytes per byte and kernel of room comes first; it fits if every kernel it lives
       through keeps room for its own tiles.
    3. Buffers get addresses; a tensor that fragmentation leaves without one is moved after all.
    4. Where the tiles that are left beside the residents cost more than these save, nothing stays.

    Declines when the on-chip memory is a cache (what it keeps is not the schedule's to say) or holds no activations.
    Numerics: exact (the graph is not touched).
    """

    name: ClassVar[str] = "placement"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "keep tensors on chip between kernels, and give every buffer an address"
    schedules: ClassVar[bool] = True

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Return the schedule with resident tensors and addresses."""
        pad = Scratchpad.of(graph, ctx)
        if pad is None:
            return PassResult()
        start = bare(pad.schedule)
        costing = Costing.of(pad.model, pad.target, start)
        chosen = choose(costing, pad.level.capacity_bytes) if pad.holds_activations else []
        schedule = settle(start, pad.model, pad.target, chosen)
        if chosen and pad.latency_s(schedule) > pad.latency_s(pad.schedule):
            schedule = settle(start, pad.model, pad.target, [])  # thicker tiles are worth more than what stays
        kept = {buffer.tensor for kernel in schedule.kernels for buffer in kernel.resident}
        records = [Record("keep-on-chip", r.tensor, "tensor", r.tensor in kept, _why(r, kept)) for r in chosen]
        return PassResult(tuple(records), schedule)


def _why(resident: Resident, kept: set[str]) -> str:
    return "" if resident.tensor in kept else "no unbroken room of its size is left on chip"


def settled(start: Schedule, costing: Costing, wanted: Collection[str]) -> Schedule:
    """The bare schedule with as much on chip as fits, those `wanted` first, and everything at addresses."""
    assert costing.target.on_chip is not None
    chosen = choose(costing, costing.target.on_chip.capacity_bytes, wanted)
    return settle(start, costing.model, costing.target, chosen)


def settle(start: Schedule, model: GraphModel, target: Target, chosen: Sequence[Resident]) -> Schedule:
    """Tiles beside the residents and addresses for all, dropping residents until everything left has a place.

    A kernel whose own tiles find no place with nothing beside them keeps none: it streams without addresses.
    """
    left, without = list(chosen), set[int]()
    while True:
        costing = Costing.of(model, target, _marked(start, left))
        tilings = tilings_of(start, costing)
        schedule, homeless = with_buffers(start, costing, left, without, tilings)
        if not homeless:
            return schedule
        lost = {r for r in homeless if r in left}
        for own in (r for r in homeless if r not in left):
            beside = [r for r in left if r.first <= own.first <= r.last]
            lost.update(beside[-1:])  # the one that saves least
            without.update(() if beside else (own.first,))
        left = [r for r in left if r not in lost]


def _marked(start: Schedule, residents: Sequence[Resident]) -> Schedule:
    """The bare schedule with residents but no addresses: enough to price it."""
    homes: dict[int, list[Placement]] = {}
    for r in residents:
        buffer = Placement(tensor=r.tensor, level="", offset_bytes=None, bytes=r.bytes, until=r.last)
        homes.setdefault(r.first, []).append(buffer)
    if not homes:
        return start
    kernels = tuple(replace(k, buffers=tuple(homes[k.index])) if k.index in homes else k for k in start.kernels)
    return replace(start, kernels=kernels)


def choose(costing: Costing, capacity_bytes: int, wanted: Collection[str] = ()) -> list[Resident]:
    """Residents by falling saving per room, as long as every kernel they live through keeps room for its tiles.

    Those `wanted` come first. A kernel in strips needs no buffer of its own for a tensor that stays.
    """
    free = capacity_bytes - costing.cut.least_bytes
    chosen = []
    ranked = sorted(candidates(costing), key=lambda p: (p[0].tensor not in wanted, -p[1], p[0].first, p[0].tensor))
    for resident, _ in ranked:
        room = free[resident.first : resident.last + 1] - resident.bytes
        for at, cost in _strips(costing, resident):
            room[at - resident.first] += sum(b.bytes * b.copies for b in cost.buffers if b.tensor == resident.tensor)
        if np.all(room >= 0):
            free[resident.first : resident.last + 1] = room
            chosen.append(resident)
    return chosen


def _strips(costing: Costing, resident: Resident) -> list[tuple[int, StripCost | ChannelCost]]:
    """Kernels in strips that a resident lives through."""
    return [(at, cost) for at, cost in costing.apart.items() if resident.first <= at <= resident.last]


def candidates(costing: Costing) -> list[tuple[Resident, float]]:
    """Every tensor between kernels with the transfers it saves per kernel that it occupies its room."""
    readers: dict[str, list[int]] = {}
    for at, kernel in enumerate(costing.kernels):
        for operand in kernel.reads:
            readers.setdefault(operand.name, []).append(at)
    found = []
    for at, kernel in enumerate(costing.kernels):
        for operand in kernel.writes:
            uses = readers.get(operand.name, [])
            size = ceil(costing.bytes_of(operand))
            if uses and size and operand.name not in costing.outputs and min(uses) > at:
                resident = Resident(operand.name, size, at, max(uses))
                found.append((resident, (1 + len(uses)) / (1 + resident.last - resident.first)))
    return found
