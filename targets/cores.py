"""A machine with fewer of its cores at work."""

import dataclasses

from roofwright.targets.spec import Target

_SATURATING_CORES = 2  # a core alone keeps too few misses in flight to draw what its memory can give


def with_cores(target: Target, cores: int) -> Target:
    """The machine with that many of its first engine's copies at work.

    The innermost cache and the rates of all caches shrink along with them. From two cores on the device memory gives
    all it has, one core draws half of it.
    """
    share = cores / target.engines[0].count
    engines = (dataclasses.replace(target.engines[0], count=cores), *target.engines[1:])
    levels = [dataclasses.replace(m, bytes_per_s=m.bytes_per_s * share) for m in target.memories[:-1]]
    if levels:
        levels[0] = dataclasses.replace(levels[0], capacity_bytes=int(levels[0].capacity_bytes * share))
    drawn = min(1.0, cores / min(_SATURATING_CORES, target.engines[0].count))
    device = dataclasses.replace(target.device_memory, bytes_per_s=target.device_memory.bytes_per_s * drawn)
    return dataclasses.replace(target, engines=engines, memories=(*levels, device))
