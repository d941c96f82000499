"""What a schedule keeps on chip between kernels, as the accounting needs it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.memory import effective_bytes_per_s
from roofwright.cost_model.schedule import Kernel, Schedule
from roofwright.cost_model.timeline import Prefetched
from roofwright.cost_model.units import Floats
from roofwright.targets import Target


@dataclass(frozen=True)
class Residency:
    """Per kernel: tensors that need not cross the port, and bytes that lie on chip whatever the kernel does.

    Attributes:
        kept: names of operands found on chip and of results left there.
        local_bytes: bytes of tensors that stay beyond one kernel and are live during this one, shape (n,).
        plan: loads that travel during earlier kernels.
    """

    kept: tuple[frozenset[str], ...]
    local_bytes: Floats
    plan: tuple[Prefetched, ...]


def residency(
    kernels: Sequence[KernelWork], outputs: Collection[str], schedule: Schedule | None, target: Target
) -> Residency:
    """Read the schedule's resident tensors and prefetches; nothing stays without a schedule.

    A tensor that kernel i places with `until` u is free to read for kernels i+1 ... u. If i makes it, its store is saved
    too, unless the caller or a kernel after u needs it off chip.
    """
    if schedule is None or len(schedule.kernels) != len(kernels):
        return Residency((frozenset(),) * len(kernels), np.zeros(len(kernels)), ())
    last_read: dict[str, int] = {}
    for index, kernel in enumerate(kernels):
        last_read.update({operand.name: index for operand in kernel.reads})
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
    return Residency(tuple(frozenset(names) for names in kept), local, tuple(_plan(schedule.kernels, target)))


def _plan(kernels: Sequence[Kernel], target: Target) -> list[Prefetched]:
    rate = effective_bytes_per_s(target.device_memory)
    return [
        Prefetched(kernel.index, part.during, part.bytes / rate, float(part.bytes))
        for kernel in kernels
        for part in kernel.prefetch
    ]
