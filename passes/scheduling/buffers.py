"""The buffers of a schedule in an explicit on-chip memory: who holds what, for how long, and where."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from roofwright.cost_model import Costing, Kernel, Placement, Schedule, Tiling
from roofwright.passes.scheduling.allocation import Request, offsets


@dataclass(frozen=True)
class Resident:
    """A tensor that stays on chip from the kernel that first holds it to the last one that reads it."""

    tensor: str
    bytes: int
    first: int
    last: int


class _Wanted(NamedTuple):
    """A buffer without an address: the fields of a `Placement`."""

    tensor: str
    bytes: int
    copies: int
    until: int | None
    first_node: int | None
    last_node: int | None
    engine: str = ""

    def placed(self, level: str, offset: int) -> Placement:
        """The buffer at an address."""
        return Placement(level=level, offset_bytes=offset, **self._asdict())


def with_buffers(
    schedule: Schedule,
    costing: Costing,
    residents: Sequence[Resident],
    without: Collection[int] = (),
    tilings: Sequence[tuple[Tiling, ...]] | None = None,
) -> tuple[Schedule, list[Resident]]:
    """The schedule with all buffers at addresses; or as it is, and what found no room: residents, kernels' own buffers.

    Args:
        schedule: kernels with their tiles.
        costing: prices the schedule with these residents, so that its working buffers are the ones left.
        residents: what stays on chip.
        without: kernels whose own buffers get no address.
        tilings: tiles of every kernel, where the schedule does not have them yet.
    """
    level = costing.target.on_chip
    if level is None:
        return schedule, list(residents)
    own = [at for at in range(len(schedule.kernels)) if at not in without]
    wanted = [(at, buffer) for at in own for buffer in _working(costing, at)]
    wanted += [(r.first, _Wanted(r.tensor, r.bytes, 1, r.last, None, None)) for r in residents]
    moments = max((len(kernel.nodes) for kernel in schedule.kernels), default=1)
    requests = [_request(at, buffer, moments) for at, buffer in wanted]
    found = offsets(requests, level.capacity_bytes)
    lost = [wanted[row] for row in np.flatnonzero(found < 0).tolist()]
    if lost:
        stays = {resident.tensor: resident for resident in residents}
        gone = (Resident(b.tensor, b.bytes, at, at) if b.until is None else stays[b.tensor] for at, b in lost)
        return schedule, list(gone)
    placed: dict[int, list[Placement]] = {}
    for (at, buffer), offset in zip(wanted, found.tolist(), strict=True):
        placed.setdefault(at, []).append(buffer.placed(level.name, offset))
    tilings = tilings or [kernel.tilings for kernel in schedule.kernels]
    kernels = tuple(
        replace(kernel, buffers=tuple(placed.get(at, ())), prefetch=(), tilings=tilings[at])
        for at, kernel in enumerate(schedule.kernels)
    )
    return replace(schedule, kernels=kernels), []


def _request(at: int, buffer: _Wanted, moments: int) -> Request:
    """A buffer's room over time, where every kernel lasts so many moments: one for each of its nodes."""
    size = buffer.bytes * buffer.copies
    if buffer.first_node is not None and buffer.last_node is not None:
        return Request(size, at * moments + buffer.first_node, at * moments + buffer.last_node)
    last = at if buffer.until is None else buffer.until
    return Request(size, at * moments, (last + 1) * moments - 1)


def _working(costing: Costing, at: int) -> list[_Wanted]:
    """Buffers of one kernel alone."""
    return [
        _Wanted(part.tensor, part.bytes, part.copies, None, part.first_node, part.last_node, part.engine)
        for part in costing.slices(at)
    ]


def own_buffers(kernel: Kernel) -> list[Placement]:
    """Buffers that hold a kernel's tiles, not tensors that stay on chip beyond it."""
    return [buffer for buffer in kernel.buffers if buffer.until is None]


def bare(schedule: Schedule) -> Schedule:
    """The schedule without tiles, buffers and prefetches."""
    full = [bool(k.tilings or k.buffers or k.prefetch) for k in schedule.kernels]
    if not any(full):
        return schedule
    pairs = zip(schedule.kernels, full, strict=True)
    return replace(
        schedule, kernels=tuple(replace(k, tilings=(), buffers=(), prefetch=()) if had else k for k, had in pairs)
    )
