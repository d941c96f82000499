"""Seconds of a whole network on a machine: kernel after kernel, from the layers of `nets` and a target with its stack.

A kernel takes launch + max(compute, on-chip levels, device memory), or their sum where the machine's memory times add
to its arithmetic. Values that fit the last cache stay in it between kernels. An eager host adds the operators it
dispatches more slowly than the device runs them; a request costs the stack's `call_s` more, never less than its floor.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model import vector_unit
from roofwright.cost_model.matrix_unit import unit_time
from roofwright.cost_model.rates import dtype_bytes
from roofwright.cost_model.units import Floats, Nests
from roofwright.targets import Engine, Memory, Simd, Target
from roofwright.tools.validate.nets import Layer

_EPILOGUES = {"norm": "bias", "act": "activation"}  # a library that adds a bias in its kernels has folded the norm
_SATURATING_CORES = 2  # cores that draw the whole bandwidth of a phone's or board's memory
_CACHE_SHARE = 0.8  # what conflicts and other traffic leave of a cache


@dataclass(frozen=True)
class Priced:
    """Seconds of a network and its parts; `matrix_s`, `vector_s` and `memory_s` may overlap in time."""

    seconds: float
    matrix_s: float
    vector_s: float
    memory_s: float
    launch_s: float

    @property
    def reason(self) -> str:
        """The parts in milliseconds."""
        parts = {"matrix": self.matrix_s, "vector": self.vector_s, "memory": self.memory_s, "launch": self.launch_s}
        return ", ".join(f"{name} {seconds * 1e3:.2f}" for name, seconds in parts.items()) + " ms"


def with_cores(target: Target, cores: int) -> Target:
    """The machine with that many of its first engine's copies at work.

    Private caches shrink along; a core alone keeps too few misses in flight to draw all of the memory's bandwidth.
    """
    share = cores / target.engines[0].count
    engines = (dataclasses.replace(target.engines[0], count=cores), *target.engines[1:])
    levels = [dataclasses.replace(m, bytes_per_s=m.bytes_per_s * share) for m in target.memories[:-1]]
    if levels:
        levels[0] = dataclasses.replace(levels[0], capacity_bytes=int(levels[0].capacity_bytes * share))
    drawn = min(1.0, cores / _SATURATING_CORES)
    device = dataclasses.replace(target.device_memory, bytes_per_s=target.device_memory.bytes_per_s * drawn)
    return dataclasses.replace(target, engines=engines, memories=(*levels, device))


def network_s(layers: Sequence[Layer], target: Target, dtype: str) -> Priced:
    """Price a network whose values and weights are stored and multiplied in `dtype`."""
    kernels = _merged(layers, target)
    steps = np.array([layer.steps for layer in kernels], np.float64)
    matrix_s, factor, adds = _matrix_s(kernels, target, dtype)
    vector_s = _vector_s(kernels, target, dtype)
    memory_s = _memory_s(kernels, target, dtype) * factor
    launch_s = target.stack.launch_s + _groups(kernels) * target.stack.constants.get("group_launch_s", 0.0)
    working = matrix_s + vector_s
    each = launch_s + np.where(adds, working + memory_s, np.maximum(working, memory_s))
    device_s = float((each * steps).sum())
    dispatched = float(steps.sum()) * target.stack.dispatch_s
    seconds = max(device_s, dispatched) if target.engines[0].kind == "simt" else device_s + dispatched
    parts = (float((part * steps).sum()) for part in (matrix_s, vector_s, memory_s, launch_s))
    seconds += target.stack.constants.get("call_s", 0.0)
    return Priced(max(seconds, target.stack.dispatch_floor_s), *parts)


def _merged(layers: Sequence[Layer], target: Target) -> list[Layer]:
    """The kernels that the stack launches; an epilogue is fused only right behind matrix work."""
    gone = {what for what, how in _EPILOGUES.items() if how in target.stack.fuses}
    kept: list[Layer] = []
    for layer in layers:
        fused = layer.epilogue and layer.what in gone and kept and kept[-1].nest is not None
        if not fused:
            kept.append(layer)
    return kept


def _matrix_s(kernels: Sequence[Layer], target: Target, dtype: str) -> tuple[Floats, Floats, Floats]:
    """(seconds on the fastest engine, off-chip factor, whether that engine's memory time adds to it)."""
    at = np.array([i for i, k in enumerate(kernels) if k.nest], np.int64)
    nests = Nests.of([k.nest for k in kernels if k.nest])
    best, factor = np.full(len(at), np.inf), np.ones(len(at))
    adds = np.full(len(kernels), _adds(target.engines[0]))
    for engine in target.engines:
        priced = unit_time(nests, engine, target, dtype)
        seconds = np.maximum(priced.busy_s, priced.inner_s)
        faster = seconds < best
        best, factor = np.where(faster, seconds, best), np.where(faster, priced.off_chip_factor, factor)
        adds[at[faster]] = _adds(engine)
    seconds, factors = np.zeros(len(kernels)), np.ones(len(kernels))
    seconds[at], factors[at] = best, factor
    return seconds, factors, adds


def _groups(kernels: Sequence[Layer]) -> Floats:
    """Further launches of grouped (not depthwise) convolutions, one a group, for libraries that loop over groups."""
    nests = [k.nest for k in kernels]
    return np.array([n.repeat - 1 if n and n.in_channels > 1 else 0 for n in nests], np.float64)


def _adds(engine: Engine) -> bool:
    return isinstance(engine.geometry, Simd) and not engine.geometry.overlaps_memory


def _vector_s(kernels: Sequence[Layer], target: Target, dtype: str) -> Floats:
    lanes = np.array([k.lane_ops for k in kernels], np.float64)
    special = np.array([k.special_ops for k in kernels], np.float64)
    times = [vector_unit.seconds(lanes, special, e, _lanes(e, dtype)) for e in target.engines if e.lanes_per_clock]
    return np.asarray(np.min(times, axis=0), np.float64)


def _lanes(engine: Engine, dtype: str) -> str:
    return dtype if dtype in engine.lanes_per_clock else next(iter(engine.lanes_per_clock))


def _memory_s(kernels: Sequence[Layer], target: Target, dtype: str) -> Floats:
    """Seconds of the device memory: weights and maps that no on-chip level keeps; the rest at that level's rate.

    A CPU's cache fetches the lines that a kernel is about to overwrite, so a map that it cannot keep moves twice.
    """
    allocates = target.engines[0].kind == "simd"
    width = dtype_bytes(dtype)
    chip, device = target.on_chip, target.device_memory
    weights = np.array([k.weights for k in kernels], np.float64) * width
    read, written = (np.array([getattr(k, f) for k in kernels], np.float64) * width for f in ("read", "written"))
    if chip is None:
        return (weights + read + written) / _rate(device)
    room, allocated = chip.capacity_bytes * _CACHE_SHARE, 2 if allocates else 1
    kept = _kept_share(float(weights.sum()), chip)
    far = weights * (1 - kept) + np.where(read <= room, 0, read) + np.where(written <= room, 0, allocated * written)
    near = weights * kept + np.where(read <= room, read, 0) + np.where(written <= room, written, 0)
    return np.asarray(far / _rate(device) + near / _rate(chip))


def _kept_share(total: float, chip: Memory) -> float:
    """Share of the weights that stay on chip from run to run: a scratchpad keeps what fits, a cache all or nothing."""
    room = chip.capacity_bytes * _CACHE_SHARE
    if chip.managed == "explicit" and "weights" in chip.holds:
        return min(1.0, chip.capacity_bytes / total) if total else 1.0
    return 1.0 if total <= room else 0.0


def _rate(memory: Memory) -> float:
    return memory.bytes_per_s * memory.efficiency
