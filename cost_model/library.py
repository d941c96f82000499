"""Time of one isolated kernel of a machine's library, as a benchmark would measure it.

    seconds = launch + max(compute, on-chip levels, device memory)

on the engine that is fastest for it, at the clock that the power limit sustains: a benchmark repeats its kernel for
seconds. Operands that fit the last cache are in it for the same reason.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roofwright.cost_model import simt
from roofwright.cost_model.depth_first import slowed
from roofwright.cost_model.matrix_unit import unit_time
from roofwright.cost_model.power import sustained_share
from roofwright.cost_model.rates import dtype_bytes, issue_efficiency
from roofwright.cost_model.simt_conv import Direction
from roofwright.cost_model.simt_machine import NEUTRAL, machine
from roofwright.cost_model.units import Bools, Floats, Nests, UnitTime
from roofwright.targets import Engine, Simt, Target

_DENSE_MEMORY_SHARE = 0.1  # of the device memory's bandwidth: products of a few thousand rows


@dataclass(frozen=True)
class KernelTime:
    """Seconds of `n` isolated kernels and what bounds them.

    Attributes:
        seconds: shape (n,); inf where no engine of the target can run it.
        unit: what the chosen engine says.
        dram_s: seconds of the device memory.
        bound: "compute", the on-chip level's name, the device memory's name, or "launch"; object array of str.
        engine: name of the engine; object array of str.
    """

    seconds: Floats
    unit: UnitTime
    dram_s: Floats
    bound: NDArray[np.object_]
    engine: NDArray[np.object_]

    def reason(self, index: int) -> str:
        """What the model says of one kernel, e.g. "compute, winograd_4x4, tile 128x64, 2 splits"."""
        tile, split = self.unit.tile[index], int(self.unit.split_k[index])
        parts = [str(self.bound[index]), str(self.unit.algorithm[index])]
        if tile[0]:
            parts.append(f"tile {tile[0]}x{tile[1]}")
        if split > 1:
            parts.append(f"{split} splits")
        return ", ".join(parts)


def kernel_time(nests: Nests, target: Target, dtype: str, direction: Direction = "forward") -> Floats:
    """Seconds of isolated library kernels, shape (n,); see `kernels_of` for what bounds them."""
    return kernels_of(nests, target, dtype, direction).seconds


def kernels_of(
    nests: Nests,
    target: Target,
    dtype: str,
    direction: Direction = "forward",
    *,
    engines: tuple[str, ...] = (),
    depth_first: Bools | None = None,
) -> KernelTime:
    """Price isolated kernels; each takes the fastest engine.

    Args:
        nests: the work; for a gradient, the forward nest it belongs to.
        target: the machine.
        dtype: what is multiplied.
        direction: "forward", or the gradient with respect to the input ("data") or the "weights" (GPUs only).
        engines: names of the engines to choose from; empty: all that multiply `dtype`.
        depth_first: products whose operands lie with the reduction contiguous (column-major "TN"), shape (n,); they
            load short runs and take longer on GPUs.
    """
    able = [e for e in target.engines if dtype in e.macs_per_clock and (not engines or e.name in engines)]
    if not able:
        raise ValueError(f"no engine of {target.name} multiplies {dtype}")
    best = _on(nests, able[0], target, dtype, direction)
    for engine in able[1:]:
        best = _fastest(best, _on(nests, engine, target, dtype, direction))
    if depth_first is None:
        return best
    return dataclasses.replace(best, seconds=slowed(best.seconds, nests, target, able[0], dtype, depth_first))


def sustained(engine: Engine, target: Target, dtype: str) -> Engine:
    """The engine at the clock it holds under dense work of a dtype.

    Dense: every issue slot that good kernels fill multiplies, operands come from the last cache in the largest tiles,
    and the device memory is busy a tenth of the time. A benchmark's short kernels run at that clock too: the limit acts
    over many of them.
    """
    rate = engine.peak_macs_per_s(dtype) * issue_efficiency(target, engine, dtype)
    memory = target.device_memory
    moved = {memory.name: _DENSE_MEMORY_SHARE * memory.bytes_per_s}
    if isinstance(engine.geometry, Simt) and target.on_chip is not None:
        gpu = machine(engine, engine.geometry, target, dtype)
        tile = gpu.tiles[0]
        rate = gpu.peak * gpu.tile_efficiency(tile, gpu.issue)
        moved[target.on_chip.name] = rate * (1 / tile[0] + 1 / tile[1]) * gpu.width
    share = float(sustained_share(target, {dtype: rate}, moved))
    return dataclasses.replace(engine, clock_hz=engine.clock_hz * share)


def _on(nests: Nests, engine: Engine, target: Target, dtype: str, direction: Direction) -> KernelTime:
    running = sustained(engine, target, dtype)
    unit: UnitTime
    if engine.kind == "simt":
        unit = simt.time(nests, running, target, dtype, direction=direction)
    elif direction == "forward":
        unit = unit_time(nests, running, target, dtype)
    else:
        raise ValueError(f"gradients are modelled on GPUs only, {engine.name} of {target.name} is {engine.kind}")
    dram_s = _dram_s(nests, target, dtype) * unit.off_chip_factor
    serial_s = unit.serial_s if isinstance(unit, simt.SimtTime) else np.zeros(len(nests))
    terms = np.stack([unit.busy_s, unit.inner_s + serial_s, dram_s + serial_s])
    on_chip = target.on_chip.name if target.on_chip else "compute"
    names = np.array(["compute", on_chip, target.device_memory.name], object)
    longest, launch_s = terms.max(axis=0), target.stack.launch_s
    bound = np.where(longest < launch_s, "launch", names[terms.argmax(axis=0)])
    return KernelTime(launch_s + longest, unit, dram_s, bound, np.full(len(nests), engine.name, object))


def _dram_s(nests: Nests, target: Target, dtype: str) -> Floats:
    """Seconds of the compulsory bytes; 0 where a cache in front of the device memory keeps them between runs."""
    width = dtype_bytes(dtype)
    copies = nests.repeat.astype(np.float64)
    height = np.where(nests.stride_h > nests.kernel_h, nests.out_h * nests.kernel_h, nests.in_h)
    image = copies * nests.batch * height * nests.in_w * nests.in_channels
    sums = max(width, 4.0) if dtype.startswith(("int", "uint")) else width
    moved = (
        image + copies * nests.depth * nests.out_channels
    ) * width + copies * nests.rows * nests.out_channels * sums
    dram, cache = target.device_memory, target.on_chip
    share = target.stack.constants.get("gpu_cache_share", NEUTRAL["gpu_cache_share"])
    kept = cache.capacity_bytes * share if cache is not None and cache.managed == "cache" else 0.0
    return np.where(moved <= kept, 0.0, moved * nests.steps / (dram.bytes_per_s * dram.efficiency))


def _fastest(first: KernelTime, second: KernelTime) -> KernelTime:
    take = second.seconds < first.seconds
    a, b = first.unit, second.unit
    chosen = {
        f: np.where(take[:, None] if f == "tile" else take, getattr(b, f), getattr(a, f))
        for f in UnitTime.__dataclass_fields__
    }
    rest = (np.where(take, getattr(second, f), getattr(first, f)) for f in ("dram_s", "bound", "engine"))
    dram_s, bound, engine = rest
    return KernelTime(np.where(take, second.seconds, first.seconds), UnitTime(**chosen), dram_s, bound, engine)
