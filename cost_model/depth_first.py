"""GPU products whose operands lie with the reduction contiguous (column-major "TN"): what reading them costs more.

A slab of such an operand is a short run, 8 elements, from every row of the tile. Good kernels lose little by it. Those
of an early library also read one row after another from the device memory where many rows are in flight: a wave of
thread blocks covers `rows` of the one operand and `columns` of the other, and reads a run of 32 bytes from each.

    waves   = thread blocks / thread blocks in flight, launched along M first
    rows    = min(M, tile rows * in flight),  columns = min(N, tile columns * in flight / tiles along M)
    seconds = waves (rows + columns) K bytes / what the device memory delivers in such runs

Runs that short may open a page of the memory each: then the rate depends on the channels and on the time between two
openings, not on the data rate. It would explain why three boards of 12 channels of 32 bits, with data rates of 288,
336 and 480 GB/s, all deliver 37 to 54 GB/s; one opening every 8 ns or so per channel makes 48 GB/s. This is inferred
from kernel times, not measured apart. Products no wider than a tile read every row once and do not show it.
"""

from collections.abc import Mapping

import numpy as np

from roofwright.cost_model.simt_machine import NEUTRAL, machine
from roofwright.cost_model.units import Bools, Floats, Nests
from roofwright.targets import Engine, Simt, Target

_NARROW = 128  # a side of a product that one tile spans


def slowed(seconds: Floats, nests: Nests, target: Target, engine: Engine, dtype: str, depth_first: Bools) -> Floats:
    """Seconds, shape (n,), where the products marked `depth_first` have operands with the reduction contiguous.

    Args:
        seconds: of the products in the layout that kernels like best, with launch.
        nests: the products.
        target: the machine and its stack.
        engine: where they run.
        dtype: what is multiplied.
        depth_first: which products lie so.
    """
    lib: Mapping[str, float] = {**NEUTRAL, **target.stack.constants}
    wide = np.minimum(nests.rows, nests.out_channels) > _NARROW
    factor = np.where(wide, lib["gpu_depth_first_wide_factor"], lib["gpu_depth_first_factor"])
    scattered_s = np.zeros(len(nests))
    if lib["gpu_scattered_bytes_per_s"] and isinstance(engine.geometry, Simt):
        moved = _scattered_bytes(nests, engine, engine.geometry, target, dtype)
        scattered_s = np.where(wide, moved / lib["gpu_scattered_bytes_per_s"], 0.0)
    launch_s = target.stack.launch_s
    slower = launch_s + np.maximum((seconds - launch_s) * factor, scattered_s)
    return np.where(depth_first, slower, seconds)


def _scattered_bytes(nests: Nests, engine: Engine, geometry: Simt, target: Target, dtype: str) -> Floats:
    """Bytes that the waves of the largest tile read from the device memory; 0 of what fits one wave or the cache."""
    gpu = machine(engine, geometry, target, dtype)
    tile = gpu.tiles[0]
    m, n, k = (np.asarray(size, np.float64) for size in (nests.rows, nests.out_channels, nests.depth))
    in_flight = gpu.resident(tile) * gpu.count
    tile_rows = np.ceil(m / tile[0])
    waves = tile_rows * np.ceil(n / tile[1]) / in_flight
    rows = np.minimum(m, tile[0] * in_flight)
    columns = np.minimum(n, tile[1] * np.maximum(1.0, in_flight / tile_rows))
    moved = waves * (rows + columns) * k * gpu.width * nests.repeat * nests.steps
    cached = (m + n) * k * gpu.width <= gpu.l2_bytes
    return np.where((waves > 1) & ~cached, moved, 0.0)
