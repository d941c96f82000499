"""Does a schedule fit the machine it names? The rules that need the target's memories and engines."""

from itertools import accumulate

from roofwright.cost_model.schedule import Kernel, Placement, Schedule, ScheduleError, moments
from roofwright.targets import Memory, Target


def check_capacity(schedule: Schedule, target: Target) -> None:
    """Raise `ScheduleError` where the schedule asks for more than the target has.

    Every engine and memory level must exist; a tiling may also be that of the engine's own unit. In an explicit memory
    every buffer has an address and ends within the capacity; in a cache the buffers that are live together fit.
    """
    engines = {engine.name for engine in target.engines}
    memories = {memory.name: memory for memory in target.memories}
    for kernel in schedule.kernels:
        dealt = (share.engine for share in kernel.shares)
        for engine in (kernel.engine, *(node.engine for node in kernel.nodes if node.engine), *dealt):
            if engine not in engines:
                raise ScheduleError(f"{kernel}: target {target.name} has no engine {engine!r}")
        for level in [t.level for t in kernel.tilings if t.level != kernel.engine] + [b.level for b in kernel.buffers]:
            if level not in memories:
                raise ScheduleError(f"{kernel}: target {target.name} has no memory {level!r}")
    for level in sorted({b.level for k in schedule.kernels for b in k.buffers}):
        _check_level(schedule, memories[level])


def peak_bytes(schedule: Schedule, level: str) -> list[int]:
    """Bytes that the buffers live during each kernel take at one level (their sum, not the highest address).

    Of a kernel whose strips hold some buffers for a part of their nodes only: the most at a time.
    """
    change = [0] * (len(schedule.kernels) + 1)
    brief: dict[int, list[Placement]] = {}
    for kernel in schedule.kernels:
        for placement in kernel.buffers:
            if placement.level != level:
                continue
            if placement.first_node is not None:
                brief.setdefault(kernel.index, []).append(placement)
                continue
            first, last = kernel.live(placement)
            change[first] += placement.total_bytes
            change[last + 1] -= placement.total_bytes
    found = list(accumulate(change[:-1]))
    for at, placed in brief.items():
        together = moments(schedule.kernels[at], [(schedule.kernels[at], p) for p in placed])
        found[at] += max(sum(p.total_bytes for p in live) for live in together)
    return found


def _check_level(schedule: Schedule, memory: Memory) -> None:
    if memory.managed == "explicit":
        for kernel in schedule.kernels:
            for placement in kernel.buffers:
                if placement.level == memory.name:
                    _check_address(kernel, placement, memory)
    for kernel, total in zip(schedule.kernels, peak_bytes(schedule, memory.name), strict=True):
        if total > memory.capacity_bytes:
            raise ScheduleError(
                f"{kernel}: buffers of {total} bytes are live in {memory.name}, which has {memory.capacity_bytes}"
            )


def _check_address(kernel: Kernel, placement: Placement, memory: Memory) -> None:
    if placement.offset_bytes is None:
        raise ScheduleError(f"{kernel}: {placement.tensor} has no offset in {memory.name}, which is explicit")
    if placement.end_bytes > memory.capacity_bytes:
        raise ScheduleError(
            f"{kernel}: {placement.tensor} ends at {placement.end_bytes} in {memory.name}, "
            f"which has {memory.capacity_bytes} bytes"
        )
