"""Time of loop nests on a GPU's multiprocessors: tensor cores or scalar lanes, the algorithm a library would choose.

    GEMM (1 x 1 window, one row of pixels)    simt_gemm: tiles, split-K, waves
    convolution                               simt_conv: implicit GEMM; winograd: fused and non-fused, where declared
    depthwise convolution                     below: one pass at the rate of the load units
    recurrent                                 the GEMM of a step, `steps` times, a launch between them

The cheapest wins, by the longest of compute, L2 and device memory. `off_chip_factor` carries what the kernels move
beyond the compulsory bytes (partial sums, transformed tiles). Everything is arrays over nests, in chunks that stay in
a CPU's cache; nothing loops over nests.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model import winograd
from roofwright.cost_model.rates import impossible
from roofwright.cost_model.simd import is_depthwise
from roofwright.cost_model.simt_conv import Direction, compulsory, gemm, implicit_gemm
from roofwright.cost_model.simt_gemm import Kernels
from roofwright.cost_model.simt_machine import Machine, machine
from roofwright.cost_model.units import Bools, Floats, Nests, UnitTime
from roofwright.targets import Engine, Simt, Target

_CHUNK = 1 << 14
_WINOGRAD_DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class SimtTime(UnitTime):
    """A `UnitTime` that also names its serial part.

    Attributes:
        serial_s: part of busy_s that no load hides either (partial sums, atomic additions, waits between steps): a
            kernel bound by a memory takes that much longer than the memory.
    """

    serial_s: Floats


def time(nests: Nests, engine: Engine, target: Target, dtype: str, *, direction: Direction = "forward") -> SimtTime:
    """Price nests on a GPU engine.

    Args:
        nests: the work; for a gradient, the forward nest it belongs to.
        engine: an engine of kind "simt".
        target: the machine and its stack, for memories and the library's constants.
        dtype: what the unit multiplies.
        direction: "forward", or the gradient of a convolution or GEMM with respect to its input ("data") or "weights".

    Returns:
        Seconds without launch and without device-memory time; infinite where the engine does not multiply `dtype`.
    """
    if not isinstance(engine.geometry, Simt) or dtype not in engine.macs_per_clock:
        never = impossible(len(nests))
        return SimtTime(**vars(never), serial_s=never.inner_s)
    gpu = machine(engine, engine.geometry, target, dtype)
    parts = [_chunk(nests.take(part), gpu, engine, dtype, direction) for part in _slices(len(nests))]
    if len(parts) == 1:
        return parts[0]
    return SimtTime(*(np.concatenate([getattr(p, f) for p in parts]) for f in SimtTime.__dataclass_fields__))


def _slices(count: int) -> Iterator[slice]:
    for start in range(0, max(count, 1), _CHUNK):
        yield slice(start, min(start + _CHUNK, count))


def _chunk(nests: Nests, gpu: Machine, engine: Engine, dtype: str, direction: Direction) -> SimtTime:
    """Price one chunk: every algorithm on the nests it suits, the fastest kept."""
    n = len(nests)
    busy, padded, inner = np.full(n, np.inf), np.full(n, np.inf), np.zeros(n)
    total, dram, serial = np.full(n, np.inf), np.zeros(n), np.zeros(n)
    names, tile, split = np.full(n, "unsupported", object), np.zeros((n, 3), np.int64), np.ones(n, np.int64)
    for name, mask, price in _algorithms(nests, gpu, engine, dtype, direction):
        at = np.flatnonzero(mask)
        if not len(at):
            continue
        kernels = price(nests.take(at))
        won = kernels.total_s < total[at]
        at = at[won]
        for into, values in (
            (busy, kernels.busy_s),
            (padded, kernels.padded_s),
            (inner, kernels.inner_s),
            (total, kernels.total_s),
            (dram, kernels.dram_bytes),
            (serial, kernels.serial_s),
            (tile, kernels.tile),
            (split, kernels.split),
        ):
            into[at] = values[won]
        names[at] = name
    steps = nests.steps
    factor = np.maximum(1.0, dram / np.maximum(compulsory(nests, gpu).total, 1.0))
    waits = (steps - 1) * gpu.launch_s
    ideal = nests.macs / gpu.peak
    return SimtTime(
        ideal_s=ideal,
        padded_s=padded * steps,
        busy_s=busy * steps + waits,
        inner_s=inner * steps,
        off_chip_factor=factor,
        algorithm=names,
        tile=tile,
        split_k=split,
        serial_s=serial * steps + waits,
    )


def _algorithms(
    nests: Nests, gpu: Machine, engine: Engine, dtype: str, direction: Direction
) -> Iterator[tuple[str, Bools, Callable[[Nests], Kernels]]]:
    """(name, which nests it suits, how to price them), the plain ones first."""
    thin = is_depthwise(nests)
    plain = (nests.kernel_h * nests.kernel_w == 1) & (nests.out_w == 1) & (nests.in_w == 1) & (nests.batch == 1) & ~thin
    if direction == "forward":
        yield "direct", plain, lambda part: gemm(part, gpu)
    else:
        yield "direct", plain, lambda part: gemm(_gradient(part, direction), gpu)
    yield "implicit_gemm", ~plain, lambda part: implicit_gemm(part, gpu, direction)
    if gpu.unit is None:
        yield "depthwise", thin, lambda part: _depthwise(part, gpu)
    if gpu.unit is not None or dtype not in _WINOGRAD_DTYPES:
        return
    suited = winograd.suits(nests, gpu) & ~thin
    if "winograd_2x2" in engine.algorithms:
        yield "winograd_2x2", suited, lambda part: winograd.fused(part, gpu, direction)
    if "winograd_4x4" in engine.algorithms:
        yield "winograd_4x4", suited, lambda part: winograd.non_fused(part, gpu, direction)


def _gradient(nests: Nests, direction: Direction) -> Nests:
    """The GEMM of a GEMM's gradient: dA = dC B^T, dB = A^T dC."""
    m, n, k = nests.rows, nests.out_channels, nests.in_channels
    return Nests.gemm(m, k, n, nests.repeat) if direction == "data" else Nests.gemm(k, n, m, nests.repeat)


def _depthwise(nests: Nests, gpu: Machine) -> Kernels:
    """One multiply per load: the load units set the pace; every other term as in a stream through the caches."""
    moved = compulsory(nests, gpu).total
    macs = nests.repeat.astype(np.float64) * nests.rows * nests.out_channels * nests.depth
    steady_s = macs / (gpu.peak * gpu.lib["gpu_depthwise_issue"])
    busy_s = steady_s + gpu.lib["gpu_round_cycles"] / gpu.clock_hz
    inner_s = moved / gpu.l2_bytes_per_s
    dram = np.where(moved <= gpu.l2_bytes, 0.0, moved)
    total_s = np.maximum(np.maximum(busy_s, inner_s), dram / gpu.dram_bytes_per_s)
    n = len(nests)
    return Kernels(
        steady_s, busy_s, inner_s, dram, np.zeros(n), total_s, np.zeros((n, 3), np.int64), np.ones(n, np.int64)
    )
