"""Time of GEMMs and convolutions on vector cores: CPU cores with FMA ports, dot-product or tile instructions.

Direct algorithm, one register tile after another:

- output channels lie along the vector and are padded to `channel_granule` (so are input channels above it, the blocked
  layouts NCHWc of oneDNN and ncnn); a GEMM may put its rows there instead where that wastes less, and a depthwise
  convolution its channels;
- the kernel is cut into tiles of _TILE_ROWS x granule, dealt over the cores; the last round may leave cores idle;
- every further core costs `core_loss` (a constant of the stack) of one core's time: forks, joins, uneven shares;
- a tile unit (AMX) multiplies whole tiles m x n x k; a dtype whose rate is more than two vector ports can give uses it,
  unless its padding costs more than the vector ports would take.

Winograd F(m x m, 3 x 3), where the engine declares it: (m+2)^2 products of (tiles, C) x (C, K) plus transforms, counted
in lane operations with their loads and stores (32 and 24 additions per tile and channel for m = 2, 156 and 90 for 4).

Caches feed the registers: a level of which S words are held further in moves at least 2 G / sqrt(S) words for G MACs,
and never less than the operands; `inner_s` is the slowest level, `off_chip_factor` the same rule for the last cache.

References:
    Lavin & Gray, arXiv:1509.09308, section 4 (transform costs); Georganas et al., "Anatomy of high-performance deep
    learning convolutions on SIMD architectures", SC 2018, arXiv:1808.05567 (blocking); Smith et al., arXiv:1702.02017
    (2 G / sqrt(S)); Intel 64 and IA-32 Architectures Optimization Reference Manual, chapter 20 (AMX tiles).
"""

import numpy as np

from roofwright.cost_model.rates import WINOGRAD_SHARE, ceil_div, dtype_bytes, impossible, issue_efficiency, round_up
from roofwright.cost_model.units import Bools, Floats, Ints, Nests, UnitTime
from roofwright.targets import Engine, Simd, Target

_TILE_ROWS = 8  # rows of a register tile: 8 accumulators per vector of channels hide the latency of two FMA ports
_REGISTERS = 32  # vector registers of a core (AArch64, AVX-512)
_PORTS = 2  # vector multiply ports of the widest cores
_WINOGRAD_CHANNELS = 8  # fewer leave the products of the transformed tiles no depth to block
# F(m x m, 3 x 3): lane operations per tile and (input channel, output channel), additions + loads + stores
_TRANSFORMS = {"winograd_2x2": (2, 32 + 16 + 16, 24 + 16 + 4), "winograd_4x4": (4, 156 + 36 + 36, 90 + 36 + 16)}


def time(nests: Nests, engine: Engine, target: Target, dtype: str) -> UnitTime:
    """Price nests on an engine of vector cores; each gets the cheapest algorithm that the engine declares."""
    unit = engine.geometry
    if not isinstance(unit, Simd) or dtype not in engine.macs_per_clock:
        return impossible(len(nests))
    padded, busy = _direct_s(nests, engine, unit, dtype)
    efficiency = _efficiency(nests, target, engine, dtype)
    sharing = 1 + target.stack.constants.get("core_loss", 0.0) * (engine.count - 1)
    padded, busy = padded / efficiency, busy * sharing / efficiency
    names = np.full(len(nests), "direct", dtype=object)
    for name in engine.algorithms:
        if name in _TRANSFORMS and dtype in engine.lanes_per_clock:
            steady = _winograd_s(nests, engine, unit, dtype, name) / issue_efficiency(target, engine, dtype)
            better = steady * sharing < busy
            padded, busy = np.where(better, steady, padded), np.where(better, steady * sharing, busy)
            names[better] = name
    ideal_s = nests.macs / engine.peak_macs_per_s(dtype)
    inner_s, factor = _caches(nests, engine, unit, target, dtype)
    tile = np.zeros((len(nests), 3), np.int64)
    return UnitTime(ideal_s, padded, busy, inner_s, factor, names, tile, np.ones(len(nests), np.int64))


def floor_s(nests: Nests, engine: Engine, target: Target, dtype: str) -> Floats:
    """Least seconds of each nest, however its rows are cut: every register tile full, every core busy."""
    unit = engine.geometry
    if not isinstance(unit, Simd) or dtype not in engine.macs_per_clock:
        return np.full(len(nests), np.inf)
    efficiency = _efficiency(nests, target, engine, dtype)
    vector_rate = min(engine.macs_per_clock[dtype], _PORTS * unit.vector_bits / 8 / dtype_bytes(dtype))
    padded = np.where(nests.kernel_h * nests.kernel_w > 1, _vector_macs(nests, unit.channel_granule)[0], 0.0)
    macs = np.maximum(padded, nests.macs / nests.steps)
    least = np.full(len(nests), np.inf) if unit.tile_unit is None else nests.macs / engine.peak_macs_per_s(dtype)
    least = np.minimum(least, nests.steps * macs / vector_rate / engine.count / engine.clock_hz) / efficiency
    share = min([1.0, *(WINOGRAD_SHARE[a] for a in engine.algorithms if a in _TRANSFORMS)])
    products = nests.macs * share / engine.peak_macs_per_s(dtype) / issue_efficiency(target, engine, dtype)
    return np.where(_suits_winograd(nests), np.minimum(least, products), least)


def is_depthwise(nests: Nests) -> Bools:
    """Convolutions whose groups have one input channel each."""
    return np.asarray((nests.in_channels == 1) & (nests.repeat > 1) & (nests.kernel_h * nests.kernel_w > 1))


def _efficiency(nests: Nests, target: Target, engine: Engine, dtype: str) -> Floats:
    """Issue efficiency of direct kernels; filters above 1 x 1 may have a share of their own.

    "simd.depthwise": one load per multiply; "simd.window": gathering the window of a dense filter.
    """
    shares, dense = target.stack.issue_efficiency, issue_efficiency(target, engine, dtype)
    wide = shares.get(f"{engine.kind}.window", dense)
    thin = shares.get(f"{engine.kind}.depthwise", dense)
    filtered = np.where(nests.kernel_h * nests.kernel_w > 1, wide, dense)
    return np.where(is_depthwise(nests), thin, filtered)


def _direct_s(nests: Nests, engine: Engine, unit: Simd, dtype: str) -> tuple[Floats, Floats]:
    """(steady state, real batch over the cores) seconds at full issue rate."""
    rate = engine.macs_per_clock[dtype]
    vector_rate = min(rate, _PORTS * unit.vector_bits / 8 / dtype_bytes(dtype))
    padded, tiles = _vector_macs(nests, unit.channel_granule)
    steady = padded / vector_rate
    if unit.tile_unit is not None and rate > vector_rate:
        tiled, blocks = _tiled_macs(nests, unit.tile_unit, dtype)
        use = tiled / rate < steady
        steady, tiles = np.where(use, tiled / rate, steady), np.where(use, blocks, tiles)
    rounds = ceil_div(tiles, engine.count) * engine.count
    seconds = nests.steps * steady / engine.count / engine.clock_hz
    return seconds, seconds * rounds / tiles


def _vector_macs(nests: Nests, granule: int) -> tuple[Floats, Ints]:
    """(MACs issued with padding, register tiles) of one step."""
    outputs = round_up(nests.out_channels, granule)
    inputs = np.where(nests.in_channels > granule, round_up(nests.in_channels, granule), nests.in_channels)
    depth = inputs * nests.kernel_h * nests.kernel_w
    across = nests.rows * outputs
    is_gemm = (nests.kernel_h * nests.kernel_w == 1) & (nests.out_w == 1)
    across = np.where(is_gemm, np.minimum(across, round_up(nests.rows, granule) * nests.out_channels), across)
    per_copy = across.astype(np.float64) * depth
    macs = np.where(
        is_depthwise(nests),
        per_copy / outputs * nests.out_channels * round_up(nests.repeat, granule),
        per_copy * nests.repeat,
    )
    copies = np.where(is_depthwise(nests), ceil_div(nests.repeat * nests.out_channels, granule), nests.repeat)
    blocks = np.where(is_depthwise(nests), 1, ceil_div(nests.out_channels, granule))
    return macs, copies * blocks * ceil_div(nests.rows, _TILE_ROWS)


def _tiled_macs(nests: Nests, tile: tuple[int, int, int], dtype: str) -> tuple[Floats, Ints]:
    """(MACs issued, tiles of the result) of one step on a tile unit whose depth is given for one-byte elements."""
    deep = max(1, int(tile[2] / dtype_bytes(dtype)))
    down, across = round_up(nests.rows, tile[0]), round_up(nests.out_channels, tile[1])
    macs = nests.repeat.astype(np.float64) * down * across * round_up(nests.depth, deep)
    return macs, nests.repeat * (down // tile[0]) * (across // tile[1])


def _winograd_s(nests: Nests, engine: Engine, unit: Simd, dtype: str, name: str) -> Floats:
    """Seconds of F(m x m, 3 x 3); inf where the filter is another or has a stride or holes."""
    m, into, out_of = _TRANSFORMS[name]
    tiles = nests.batch * ceil_div(nests.out_h, m) * ceil_div(nests.out_w, m)
    granule = unit.channel_granule
    channels = round_up(nests.in_channels, granule), round_up(nests.out_channels, granule)
    copies = nests.repeat.astype(np.float64) * nests.steps * tiles
    products = copies * (m + 2) ** 2 * channels[0] * channels[1]
    transforms = copies * (into * channels[0] + out_of * channels[1])
    clocks = products / engine.macs_per_clock[dtype] + transforms / engine.lanes_per_clock[dtype]
    blocks = tiles * (m + 2) ** 2 * nests.repeat
    seconds = clocks * ceil_div(blocks, engine.count) / blocks / engine.clock_hz
    return np.where(_suits_winograd(nests), seconds, np.inf)


def _suits_winograd(nests: Nests) -> Bools:
    ones = (nests.stride_h, nests.stride_w, nests.dilation_h, nests.dilation_w)
    plain = np.logical_and.reduce([field == 1 for field in ones])
    deep = np.minimum(nests.in_channels, nests.out_channels) >= _WINOGRAD_CHANNELS
    return np.asarray((nests.kernel_h == 3) & (nests.kernel_w == 3) & plain & deep)


def _caches(nests: Nests, engine: Engine, unit: Simd, target: Target, dtype: str) -> tuple[Floats, Floats]:
    """(least seconds of the slowest cache level, off-chip bytes over the compulsory ones)."""
    width = dtype_bytes(dtype)
    copies = nests.repeat.astype(np.float64) * nests.steps
    read = nests.batch * nests.in_h * nests.in_w * nests.in_channels + nests.depth * nests.out_channels
    touched = copies * (read + nests.rows * nests.out_channels)
    held_words = engine.count * _REGISTERS * unit.vector_bits / 8 / width
    slowest = np.zeros(len(nests))
    for level in target.memories[:-1]:
        words = np.maximum(touched, 2 * nests.macs / np.sqrt(held_words))
        slowest = np.maximum(slowest, words * width / level.bytes_per_s)
        held_words = level.capacity_bytes / width
    if len(target.memories) < 2 or target.memories[-2].managed != "cache":
        return slowest, np.ones(len(nests))
    return slowest, np.maximum(1.0, 2 * nests.macs / np.sqrt(held_words) / touched)
