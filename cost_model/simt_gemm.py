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

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model.simt_machine import Machine, Tile
from roofwright.cost_model.units import Floats, Ints

_SUM_BYTES = 4  # a partial sum is a float32


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
    work: Products, gpu: Machine, tiles: Sequence[Tile], split_depth: float, *, issue: float | None = None
) -> Kernels:
    """The fastest kernel of each product.

    Args:
        work: the products, M, N and K as the library pads them.
        gpu: the machine.
        tiles: what may be used; a tile also stands for its transpose.
        split_depth: least reduction length of one split; 0: none.
        issue: share of the peak issue rate, where it is not that of a GEMM.
    """
    best: Kernels | None = None
    for tile in tiles:
        for kernels in _of_tile(work, gpu, tile, split_depth, gpu.issue if issue is None else issue):
            best = kernels if best is None else fastest(best, kernels)
    assert best is not None, "a library has at least one tile"
    return best


def fastest(first: Kernels, second: Kernels) -> Kernels:
    """Elementwise the kernel with the lower total; the first where they tie."""
    take = second.total_s < first.total_s
    if not take.any():
        return first
    fields = ((getattr(first, f), getattr(second, f)) for f in Kernels.__dataclass_fields__)
    return Kernels(*(np.where(take[:, None] if a.ndim == 2 else take, b, a) for a, b in fields))


def _of_tile(work: Products, gpu: Machine, tile: Tile, split_depth: float, issue: float) -> list[Kernels]:
    """Kernels of one tile: without splits, and where any product leaves multiprocessors idle, split to fill them."""
    tall = work.m >= work.n
    rows = np.ceil(work.m / np.where(tall, tile[0], tile[1]))
    cols = np.ceil(work.n / np.where(tall, tile[1], tile[0]))
    blocks = rows * cols * work.copies
    whole = np.ones_like(blocks)
    kernels = [_priced(work, gpu, tile, rows, cols, whole, issue)]
    deepest = np.floor(work.k / split_depth) if split_depth else whole
    for blocks_each in sorted({1, 2, 3, 4, gpu.resident(tile)}):
        split = np.minimum(np.floor(blocks_each * gpu.count / blocks), deepest)
        if (split > 1).any():
            kernels.append(_priced(work, gpu, tile, rows, cols, np.maximum(split, 1), issue))
    return kernels


def _priced(
    work: Products, gpu: Machine, tile: Tile, rows: Floats, cols: Floats, split: Floats, issue: float
) -> Kernels:
    """One tile and split for every product."""
    m, n, k = tile
    resident = gpu.resident(tile)
    tile_cycles = m * n * k / (gpu.macs * gpu.tile_efficiency(tile, issue))
    store_cycles = m * n * _SUM_BYTES / gpu.l2
    results = rows * cols * work.copies
    blocks = results * split
    slabs = np.ceil(work.k / (split * k))
    busiest = np.ceil(blocks / gpu.count)
    full = np.floor(busiest / resident)
    rest = busiest - full * resident
    latency, around = _latency(work, gpu), gpu.lib["gpu_round_cycles"]
    last = np.where(rest > 0, rest, resident)
    cycles = full * (slabs * np.maximum(resident * tile_cycles, latency) + around) + last * store_cycles
    cycles += np.where(rest > 0, slabs * np.maximum(rest * tile_cycles, latency) + around, 0.0)
    sums_s, sums_bytes = _reduction(work, gpu, split)
    loaded = blocks * ((m + n) * k * gpu.width * slabs + m * n * _SUM_BYTES)
    busy_s = cycles / gpu.clock_hz + sums_s
    inner_s = loaded / gpu.l2_bytes_per_s
    dram_bytes = _dram_bytes(work, gpu) + sums_bytes
    total_s = np.maximum(busy_s, np.maximum(inner_s, dram_bytes / gpu.dram_bytes_per_s) + sums_s)
    endless = work.m * (cols / np.where(work.m >= work.n, m, n)) * work.copies * np.ceil(work.k / k)
    padded_s = np.minimum(endless * tile_cycles / gpu.count / gpu.clock_hz, busy_s)
    shape = np.broadcast_to(np.array(tile, np.int64), (len(total_s), 3))
    return Kernels(padded_s, busy_s, inner_s, dram_bytes, sums_s, total_s, shape, split.astype(np.int64))


def _latency(work: Products, gpu: Machine) -> Floats:
    """Cycles from the load of a slab to its use: longer where operands come from the device memory."""
    cached = work.left_bytes + work.right_bytes + work.out_bytes <= gpu.l2_bytes
    return np.where(cached, gpu.lib["gpu_slab_latency_cycles"], gpu.lib["gpu_slab_miss_cycles"])


def _reduction(work: Products, gpu: Machine, split: Floats) -> tuple[Floats, Floats]:
    """(seconds, DRAM bytes) of writing every split's partial sums and adding them up; both 0 without a split."""
    partial = work.m * work.n * work.copies * _SUM_BYTES * split
    moved = np.where(split > 1, 2 * partial, 0.0)
    cached = partial <= gpu.l2_bytes
    seconds = np.where(split > 1, gpu.lib["gpu_split_reduction_s"], 0.0)
    seconds = seconds + moved / np.where(cached, gpu.l2_bytes_per_s, gpu.dram_bytes_per_s)
    return seconds, np.where(cached, 0.0, moved)


def _dram_bytes(work: Products, gpu: Machine) -> Floats:
    """Bytes from and to the device memory: none where the cache holds operands and result."""
    compulsory = work.left_bytes + work.right_bytes + work.out_bytes
    return np.where(compulsory <= gpu.l2_bytes, 0.0, compulsory)
