"""The third scheduling pass: which tensors stay on chip between kernels, and where every buffer lies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.cost_model import Costing, GraphModel, Schedule
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.passes.scheduling.buffers import Resident, kernels_without_buffers, with_buffers


@dataclass(frozen=True)
class PlaceTensors(Pass):
    """kernel i stores t; kernel j loads t --> t stays on chip from i to j.

    1. Candidates are tensors that one kernel makes and later ones read; graph outputs are always stored.
    2. The tensor that saves most bytes per byte and kernel of room comes first; it fits if every kernel it lives through
       keeps room for its own tiles.
    3. Buffers get addresses; a tensor that fragmentation leaves without one is moved after all.

    Declines when the on-chip memory is a cache (what it keeps is not the schedule's to say) or holds no activations.
    Numerics: exact (the graph is not touched).
    """

    name: ClassVar[str] = "placement"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "keep tensors on chip between kernels, and give every buffer an address"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Return the schedule with resident tensors and addresses."""
        level = ctx.target.on_chip if ctx.target else None
        if ctx.target is None or ctx.schedule is None or level is None or level.managed == "cache":
            return PassResult()
        model = ctx.model or GraphModel.of(graph, ctx.dims)
        bare = replace(ctx.schedule, kernels=kernels_without_buffers(ctx.schedule))
        costing = Costing.of(model, ctx.target, bare)
        chosen = choose(costing, level.capacity_bytes) if "activations" in level.holds else []
        schedule = settle(bare, model, ctx, chosen)
        kept = {buffer.tensor for kernel in schedule.kernels for buffer in kernel.resident}
        records = [Record("keep-on-chip", r.tensor, "tensor", r.tensor in kept, _why(r, kept)) for r in chosen]
        return PassResult(tuple(records), schedule)


def _why(resident: Resident, kept: set[str]) -> str:
    return "" if resident.tensor in kept else "no unbroken room of its size is left on chip"


def settle(bare: Schedule, model: GraphModel, ctx: Context, chosen: Sequence[Resident]) -> Schedule:
    """Addresses for working buffers and residents, dropping residents until everything that is left has a place."""
    assert ctx.target is not None
    left = list(chosen)
    while True:
        marked = _marked(bare, left)
        costing = Costing.of(model, ctx.target, marked)
        schedule, homeless = with_buffers(bare, costing, left, {})
        if not homeless:
            return schedule
        if not left:  # a kernel's own tiles have no place: the tensors are then streamed without addresses
            return bare
        names = {resident.tensor for resident in homeless}
        kept = [resident for resident in left if resident.tensor not in names]
        left = kept if len(kept) < len(left) else left[:-1]


def _marked(bare: Schedule, residents: Sequence[Resident]) -> Schedule:
    """The schedule with residents but no addresses: enough to price it."""
    from roofwright.cost_model import Placement

    homes: dict[int, list[Placement]] = {}
    for r in residents:
        buffer = Placement(tensor=r.tensor, level="", offset_bytes=None, bytes=r.bytes, until=r.last)
        homes.setdefault(r.first, []).append(buffer)
    kernels = tuple(replace(k, buffers=tuple(homes.get(k.index, ()))) for k in bare.kernels)
    return replace(bare, kernels=kernels)


def choose(costing: Costing, capacity_bytes: int) -> list[Resident]:
    """Residents by falling saving per room, as long as every kernel they live through keeps room for its tiles."""
    free = capacity_bytes - costing.cut.footprint_bytes
    chosen = []
    for resident, _ in sorted(candidates(costing), key=lambda pair: (-pair[1], pair[0].first, pair[0].tensor)):
        span = slice(resident.first, resident.last + 1)
        if np.all(free[span] >= resident.bytes):
            free[span] -= resident.bytes
            chosen.append(resident)
    return chosen


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
            if uses and size and operand.name not in costing.model.outputs and min(uses) > at:
                resident = Resident(operand.name, size, at, max(uses))
                found.append((resident, (1 + len(uses)) / (1 + resident.last - resident.first)))
    return found
