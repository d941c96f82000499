"""What a schedule keeps on chip between kernels, as the accounting needs it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model.ahead import Prefetched
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.memory import effective_bytes_per_s
from roofwright.cost_model.schedule import Kernel, Schedule
from roofwright.cost_model.schedule_check import peak_bytes
from roofwright.cost_model.traffic import Traffic, operand_bytes
from roofwright.cost_model.units import Floats
from roofwright.targets import Target

CACHE_SHARE = 0.8  # of a cache that one stream of kernels can use: the rest goes to conflicts and other traffic


@dataclass(frozen=True)
class Residency:
    """Per kernel: tensors that need not cross the port, and bytes that lie on chip whatever the kernel does.

    Attributes:
        kept: names of operands found on chip and of results left there.
        local_bytes: bytes of tensors that stay beyond one kernel and are live during this one, shape (n,).
        plan: loads that travel during earlier kernels.
        late: kernels whose last results are stored while the next one runs.
        placed_bytes: the most bytes of buffers with an address that are live at a time, those of later kernels that
            are loaded ahead included.
    """

    kept: tuple[frozenset[str], ...]
    local_bytes: Floats
    plan: tuple[Prefetched, ...]
    placed_bytes: int = 0
    late: frozenset[int] = frozenset()


def residency(
    kernels: Sequence[KernelWork], outputs: Collection[str], schedule: Schedule | None, target: Target
) -> Residency:
    """Read the schedule's resident tensors and prefetches; nothing stays without a schedule.

    A tensor that kernel i places with `until` u is free to read for kernels i+1 ... u. If i makes it, its store is
    saved too, unless the caller or a kernel after u needs it off chip. A cache needs no schedule: what it keeps by
    itself is kept with and without one.
    """
    if target.on_chip is not None and target.on_chip.managed == "cache":
        return _cached(kernels, outputs, target)
    if schedule is None or len(schedule.kernels) != len(kernels):
        return Residency((frozenset(),) * len(kernels), np.zeros(len(kernels)), ())
    return _scheduled(kernels, outputs, schedule, target)


def _scheduled(
    kernels: Sequence[KernelWork], outputs: Collection[str], schedule: Schedule, target: Target
) -> Residency:
    """What the schedule keeps in a scratchpad."""
    last_read = {operand.name: index for index, kernel in enumerate(kernels) for operand in kernel.reads}
    kept: list[set[str]] = [set() for _ in kernels]
    local = np.zeros(len(kernels))
    for kernel in schedule.kernels:
        made = {operand.name for operand in kernels[kernel.index].writes}
        for buffer in kernel.resident:
            until = kernel.index if buffer.until is None else buffer.until
            local[kernel.index : until + 1] += buffer.total_bytes
            for later in range(kernel.index + 1, until + 1):
                kept[later].add(buffer.tensor)
            if buffer.tensor in made and buffer.tensor not in outputs and last_read.get(buffer.tensor, 0) <= until:
                kept[kernel.index].add(buffer.tensor)
    placed = max(peak_bytes(schedule, target.on_chip.name), default=0) if target.on_chip else 0
    late = frozenset(k.index for k in schedule.kernels if any(b.stored is not None for b in k.buffers))
    stays, plan = tuple(frozenset(names) for names in kept), tuple(_plan(schedule.kernels, target))
    return Residency(stays, local, plan, placed, late)


def _cached(kernels: Sequence[KernelWork], outputs: Collection[str], target: Target) -> Residency:
    """What a cache keeps: a tensor is still there when little enough was touched since it was made.

    A read hits while the tensor and everything touched after the kernel that made it, up to the end of the one that
    reads it, fit the usable share of the last cache. If every reader hits, the tensor is dead before it is written
    back. In a loop, sizes are those of one trip.
    """
    assert target.on_chip is not None
    room = CACHE_SHARE * target.on_chip.capacity_bytes
    sizes = [{o.name: operand_bytes(o, target) / k.repeat for o in (*k.reads, *k.writes)} for k in kernels]
    touched = np.concatenate([[0.0], np.cumsum([sum(each.values()) for each in sizes])])
    made: dict[str, int] = {}
    misses: set[str] = set(outputs)
    kept: list[set[str]] = [set() for _ in kernels]
    for index, kernel in enumerate(kernels):
        for operand in kernel.reads:
            first = made.get(operand.name)
            since = 0.0 if first is None else touched[index + 1] - touched[first + 1] + sizes[first][operand.name]
            if first is not None and since <= room:
                kept[index].add(operand.name)
            elif first is not None:
                misses.add(operand.name)
        made.update({operand.name: index for operand in kernel.writes})
    for name, index in made.items():
        if name not in misses:
            kept[index].add(name)
    return Residency(tuple(frozenset(names) for names in kept), np.zeros(len(kernels)), ())


def resident_share(moved: Traffic, spare_bytes: Floats, target: Target) -> float:
    """Share of the weights that back-to-back requests find on chip.

    A scratchpad keeps what fits beside everything else; the rest is loaded in every request. A cache that gives up the
    lines used longest ago keeps all or nothing: between two uses of a weight a whole request passes through it.
    """
    on_chip, weights = target.on_chip, float(moved.weight_bytes.sum())
    if on_chip is None or "weights" not in on_chip.holds or not weights:
        return 0.0
    if on_chip.managed == "cache":
        passed = float(moved.total_bytes.sum() + moved.kept_bytes.sum())
        return float(passed <= CACHE_SHARE * on_chip.capacity_bytes)
    return min(1.0, float(spare_bytes.min(initial=np.inf)) / weights)


def _plan(kernels: Sequence[Kernel], target: Target) -> list[Prefetched]:
    rate = effective_bytes_per_s(target.device_memory)
    return [
        Prefetched(kernel.index, part.during, part.bytes / rate, float(part.bytes))
        for kernel in kernels
        for part in kernel.prefetch
    ]
