"""The buffers of a schedule in an explicit on-chip memory: who holds what, for how long, and where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from roofwright.cost_model import Costing, Kernel, Placement, Prefetch, Schedule, holds_weights
from roofwright.passes.scheduling.allocation import Request, offsets


@dataclass(frozen=True)
class Resident:
    """A tensor that stays on chip from the kernel that first holds it to the last one that reads it."""

    tensor: str
    bytes: int
    first: int
    last: int


def with_buffers(
    schedule: Schedule, costing: Costing, residents: Sequence[Resident], ahead: Mapping[int, Sequence[Prefetch]]
) -> tuple[Schedule, list[Resident]]:
    """The schedule with all buffers at addresses, and the residents that found no room (their tensors then move).

    Working buffers come first: a kernel that cannot hold its tiles cannot run, a resident only saves bytes. Costing must
    price the schedule with these residents, so that its working buffers are the ones left.
    """
    level = costing.target.on_chip
    if level is None:
        return schedule, list(residents)
    working = [_working(costing, at, ahead.get(at, ())) for at in range(len(schedule.kernels))]
    wanted = [(at, buffer) for at, buffers in enumerate(working) for buffer in buffers]
    wanted += [(r.first, _resident(r, level.name)) for r in residents]
    requests = [_request(at, buffer, ahead.get(at, ())) for at, buffer in wanted]
    found = offsets(requests, level.capacity_bytes).tolist()
    placed: dict[int, list[Placement]] = {}
    homeless = []
    for (at, buffer), offset in zip(wanted, found, strict=True):
        if offset >= 0:
            placed.setdefault(at, []).append(replace(buffer, offset_bytes=offset))
        elif buffer.until is not None:
            homeless += [r for r in residents if r.tensor == buffer.tensor]
        else:
            homeless += [Resident(buffer.tensor, buffer.bytes, at, at)]
    kernels = tuple(
        replace(kernel, buffers=tuple(placed.get(at, ())), prefetch=tuple(ahead.get(at, ())))
        for at, kernel in enumerate(schedule.kernels)
    )
    return replace(schedule, kernels=kernels), homeless


def _resident(resident: Resident, level: str) -> Placement:
    return Placement(tensor=resident.tensor, level=level, offset_bytes=None, bytes=resident.bytes, until=resident.last)


def _request(at: int, buffer: Placement, ahead: Sequence[Prefetch]) -> Request:
    first = min((part.during for part in ahead if part.tensor == buffer.tensor), default=at)
    return Request(buffer.total_bytes, first, at if buffer.until is None else buffer.until)


def _working(costing: Costing, at: int, ahead: Sequence[Prefetch]) -> list[Placement]:
    """Buffers of one kernel alone: the operand that stays, and two copies of every slice that streams."""
    level, kept = costing.target.on_chip, costing.held.kept[at]
    tiles, stay = int(costing.cut.tiles[at]), bool(costing.cut.weights_stay[at])
    kernel, name = costing.kernels[at], level.name if level else ""
    buffers = []
    for operand, streams in [(o, stay != o.constant) for o in kernel.reads] + [(o, True) for o in kernel.writes]:
        if (
            operand.name in kept
            or (operand.constant and not holds_weights(costing.target))
            or any(buffer.tensor == operand.name for buffer in buffers)
        ):
            continue
        whole = costing.bytes_of(operand)
        slice_bytes = max(1, ceil(whole / tiles)) if streams else max(1, ceil(whole))
        early = sum(part.bytes for part in ahead if part.tensor == operand.name)
        copies = max(min(2, tiles), ceil(early / slice_bytes)) if streams else 1
        buffers.append(Placement(tensor=operand.name, level=name, offset_bytes=None, bytes=slice_bytes, copies=copies))
    return buffers


def kernels_without_buffers(schedule: Schedule) -> tuple[Kernel, ...]:
    """The kernels as the tile pass left them."""
    return tuple(replace(kernel, buffers=(), prefetch=()) for kernel in schedule.kernels)
