"""Time of matrix products on a GPU: thread-block tiles, K slabs, split-K, waves over the multiprocessors.

One thread block computes a tile of m x n results, a slab of k after another, from shared memory that holds two slabs:
the next is loaded while this one is multiplied. `resident` blocks share a multiprocessor and hide each other's loads.

    blocks = ceil(M/m) ceil(N/n) splits copies         the busiest multiprocessor gets ceil(blocks / count) of them,
    slab   = max(r work, latency)                      in rounds of r = resident, the last one partial;
    round  = prologue + slabs * slab
    serial = adding up the splits' partial sums, which overlaps with nothing
    busy   = (rounds + store of the last round) / clock + serial
    inner  = bytes that all blocks load and store / bandwidth of L2
    dram   = 0 where everything stays in the cache, else operands, result and the partial sums that it cannot hold

`work` is m n k over the MACs per clock that the tile reaches: reading m + n operand elements per m n multiplies takes
issue slots too. Every product takes the tile and the split whose kernel is fastest: a library's heuristics are taken
to be good. Tile orientation follows the product (the longer side of a tile lies along the longer side of the result).

References: Volkov & Demmel, "Benchmarking GPUs to tune dense linear algebra", SC 2008; Kerr et al., "CUTLASS: Fast
Linear Algebra in CUDA C++", 2017 (tiles, slabs, split-K); Jia et al., arXiv:1804.06826 (latencies, L2 bandwidth);
Osama et al., "Stream-K", arXiv:2301.03598, section 3 (wave quantisation and splitting).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model.simt_machine import Machine, Tile
from roofwright.cost_model.units import Floats, Ints

_SUM_BYTES = 4  # a partial sum is a float32
_COSTS = 6  # float fields of Kernels
_FILLS = (1, 2, 3, 4, 6, 8, 12)  # thread blocks per multiprocessor that splits aim at; with more little is left idle
_TIE = 1e-6  # of two kernels that a memory holds to the same time, the one that computes less wins


@dataclass(frozen=True)
class Products:
    """`copies` products (m, k) x (k, n) each; float64 arrays of shape (n,). Bytes are compulsory, of all copies."""

    m: Floats
    n: Floats
    k: Floats
    copies: Floats
    left_bytes: Floats
    right_bytes: Floats
    out_bytes: Floats

    def take(self, at: slice | Ints) -> "Products":
        """The products at a slice or at indices."""
        return Products(*(getattr(self, f)[at] for f in Products.__dataclass_fields__))


@dataclass(frozen=True)
class Kernels:
    """The kernel chosen for each product, shape (n,).

    Attributes:
        padded_s: tiles of an endless batch of rows at the tile's issue rate.
        busy_s, inner_s, dram_bytes: as the module's docstring says; `dram_bytes` is 0 where the cache holds all.
        serial_s: the part of busy_s that neither loads nor multiplications can hide.
        total_s: the longest of busy, inner + serial and dram + serial, without launch.
        tile: shape (n, 3).
        split: reduction splits.
    """

    padded_s: Floats
    busy_s: Floats
    inner_s: Floats
    dram_bytes: Floats
    serial_s: Floats
    total_s: Floats
    tile: Ints
    split: Ints


def best_kernels(
    work: Products, gpu: Machine, tiles: Sequence[Tile], split_depth: float | Floats, *, issue: float | None = None
) -> Kernels:
    """The fastest kernel of each product.

    Args:
        work: the products, M, N and K as the library pads them.
        gpu: the machine.
        tiles: what may be used; a tile also stands for its transpose.
        split_depth: least reduction length of one split, of all products or shape (n,); 0 for all, or infinite: none.
        issue: share of the peak issue rate, where it is not that of a GEMM.
    """
    count, rate = len(work.m), gpu.issue if issue is None else issue
    best = np.full((_COSTS, count), np.inf)
    chosen, splits = np.zeros(count, np.int64), np.ones(count, np.int64)
    for number, tile in enumerate(tiles):
        grid = _grid(work, tile)
        least_s = _least_s(work, gpu, tile, grid, rate)
        for at, split in _splits(work, gpu, tile, grid, split_depth, least_s, best[-1]):
            costs = _priced(work.take(at), gpu, tile, grid[:, at], split, rate)
            won = costs[-1] + _TIE * costs[1] < best[-1, at] + _TIE * best[1, at]
            best[:, at[won]] = costs[:, won]
            chosen[at[won]], splits[at[won]] = number, split[won]
    padded_s, busy_s, inner_s, dram_bytes, serial_s, total_s = best
    shapes = np.array(tiles, np.int64)[chosen]
    return Kernels(padded_s, busy_s, inner_s, dram_bytes, serial_s, total_s, shapes, splits)


def fastest(first: Kernels, second: Kernels) -> Kernels:
    """Elementwise the kernel with the lower total; the first where they tie."""
    take = second.total_s < first.total_s
    if not take.any():
        return first
    fields = ((getattr(first, f), getattr(second, f)) for f in Kernels.__dataclass_fields__)
    return Kernels(*(np.where(take[:, None] if a.ndim == 2 else take, b, a) for a, b in fields))


def _grid(work: Products, tile: Tile) -> Floats:
    """(tile rows, tile columns, length of a tile along M) of every product, shape (3, n)."""
    along_m = np.where(work.m >= work.n, tile[0], tile[1])
    return np.stack([np.ceil(work.m / along_m), np.ceil(work.n / (tile[0] + tile[1] - along_m)), along_m])


def _least_s(work: Products, gpu: Machine, tile: Tile, grid: Floats, issue: float) -> Floats:
    """Seconds that a tile's multiplications take at least, however well spread: what cannot win is not priced."""
    per_clock = gpu.macs * gpu.tile_efficiency(tile, issue) * gpu.count
    slabs = grid[0] * grid[1] * work.copies * np.ceil(work.k / tile[2])
    return np.asarray(slabs * (tile[0] * tile[1] * tile[2] / (per_clock * gpu.clock_hz)))


def _splits(
    work: Products, gpu: Machine, tile: Tile, grid: Floats, split_depth: float | Floats, least_s: Floats, best_s: Floats
) -> Iterator[tuple[Ints, Floats]]:
    """(which products, their splits): without, then such that fill the multiprocessors 1, 2, ... times.

    `best_s` falls while this runs; products whose least time is no better are left out.
    """
    at = np.flatnonzero(least_s < best_s)
    yield at, np.ones(len(at))
    if not np.any(split_depth):
        return
    depth = np.broadcast_to(np.asarray(split_depth, np.float64), work.k.shape)
    fills = sorted({*_FILLS, gpu.resident(tile)})
    blocks = np.maximum(grid[0] * grid[1] * work.copies, 1)
    idle = np.flatnonzero((least_s < best_s) & (2 * blocks <= fills[-1] * gpu.count) & (work.k >= 2 * depth))
    deepest = np.floor(work.k[idle] / depth[idle])
    for fill in fills:
        split = np.minimum(np.floor(fill * gpu.count / blocks[idle]), deepest)
        yield idle[split > 1], split[split > 1]


def _priced(work: Products, gpu: Machine, tile: Tile, grid: Floats, split: Floats, issue: float) -> Floats:
    """Float fields of `Kernels`, in order, for one tile and given splits: shape (6, n)."""
    m, n, k = tile
    rows, cols, along_m = grid
    resident = gpu.resident(tile)
    tile_cycles = m * n * k / (gpu.macs * gpu.tile_efficiency(tile, issue))
    store_cycles = m * n * _SUM_BYTES / gpu.l2
    blocks = rows * cols * work.copies * split
    slabs = np.ceil(work.k / (split * k))
    busiest = np.ceil(blocks / gpu.count)
    full = np.floor(busiest / resident)
    rest = busiest - full * resident
    moved = work.left_bytes + work.right_bytes + work.out_bytes
    cached = moved <= gpu.l2_bytes
    latency = np.where(cached, gpu.lib["gpu_slab_latency_cycles"], gpu.lib["gpu_slab_miss_cycles"])
    around = gpu.lib["gpu_round_cycles"]
    cycles = full * (slabs * np.maximum(resident * tile_cycles, latency) + around)
    cycles += np.where(rest > 0, slabs * np.maximum(rest * tile_cycles, latency) + around, 0.0)
    cycles += np.where(rest > 0, rest, resident) * store_cycles
    sums_s, sums_bytes = _reduction(work, gpu, split)
    busy_s = cycles / gpu.clock_hz + sums_s
    inner_s = blocks * ((m + n) * k * gpu.width * slabs + m * n * _SUM_BYTES) / gpu.l2_bytes_per_s
    dram_bytes = np.where(cached, 0.0, moved) + sums_bytes
    total_s = np.maximum(busy_s, np.maximum(inner_s, dram_bytes / gpu.dram_bytes_per_s) + sums_s)
    endless = work.m / along_m * cols * work.copies * np.ceil(work.k / k)
    padded_s = np.minimum(endless * tile_cycles / gpu.count / gpu.clock_hz, busy_s)
    return np.stack([padded_s, busy_s, inner_s, dram_bytes, sums_s, total_s])


def _reduction(work: Products, gpu: Machine, split: Floats) -> tuple[Floats, Floats]:
    """(seconds, DRAM bytes) of writing every split's partial sums and adding them up; both 0 without a split."""
    partial = work.m * work.n * work.copies * _SUM_BYTES * split
    moved = np.where(split > 1, 2 * partial, 0.0)
    cached = partial <= gpu.l2_bytes
    seconds = np.where(split > 1, gpu.lib["gpu_split_reduction_s"], 0.0)
    seconds = seconds + moved / np.where(cached, gpu.l2_bytes_per_s, gpu.dram_bytes_per_s)
    return seconds, np.where(cached, 0.0, moved)
