"""Winograd convolutions F(m x m, 3 x 3) on a GPU, fused in one kernel or as transforms around batched GEMMs.

Fused F(2x2): a thread block keeps 32 tiles (4 x 8 of one image, 8 x 16 outputs) by 32 filters of all 16 products in
registers, transforms on the way in and out, and pays the transforms as if there were `extra` more input channels:

    busy = ceil(blocks / count) * 16 * 32 * 32 * (C + extra) / (MACs per clock * issue)

Non-fused F(4x4): input and filters are transformed through memory, 36 products (tiles, C) x (C, K) run as one batched
GEMM, the result is transformed back. The three transforms stream, so their time is their bytes over the bandwidth of
the device memory (or of the cache, where everything fits), and adds up with the GEMM's.

Multiplications over those of the direct algorithm: 16/36 and 36/144. The weight gradient F(3x3, 4x4) has the same 36
products with the roles of tiles and filters exchanged: (C, tiles) x (tiles, K).

References: Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308 (sections 3, 4 and 6:
the fused kernel with 32 x 32 blocks); NVIDIA, cuDNN 7 API documentation, cudnnConvolutionFwdAlgo_t.
"""

import numpy as np

from roofwright.cost_model.simt_conv import Direction, compulsory, pad
from roofwright.cost_model.simt_gemm import Kernels, Products, best_kernels
from roofwright.cost_model.simt_machine import Machine
from roofwright.cost_model.units import Bools, Floats, Nests

_BLOCK_H, _BLOCK_W, _FILTERS = 8, 16, 32  # outputs and filters of one thread block of the fused kernel
_BLOCK_MACS = 16 * 32 * _FILTERS  # products of a block per input channel: 16 positions, 32 tiles
_TILE, _POSITIONS = 4, 36  # F(4x4, 3x3)
_ROW_GRANULE = 128  # rows of the batched GEMM are padded to the largest tile
_FLOAT_BYTES = 4  # transformed data are float32
_TRANSFORM_KERNELS = 2  # launches that the GEMM's own does not cover and the stream does not hide


def suits(nests: Nests, gpu: Machine) -> Bools:
    """3 x 3 filters with unit stride and dilation and enough channels on both sides."""
    least = gpu.lib["gpu_winograd_min_channels"]
    window = (nests.kernel_h == 3) & (nests.kernel_w == 3)
    plain = (nests.stride_h == 1) & (nests.stride_w == 1) & (nests.dilation_h == 1) & (nests.dilation_w == 1)
    return np.asarray(window & plain & (nests.in_channels >= least) & (nests.out_channels >= least))


def fused(nests: Nests, gpu: Machine, direction: Direction) -> Kernels:
    """F(2x2, 3x3) in one kernel, forward or data gradient; infinite for the weight gradient."""
    height, width, channels, filters = _oriented(nests, direction)
    spots = np.ceil(height / _BLOCK_H) * np.ceil(width / _BLOCK_W)
    blocks = nests.repeat * nests.batch * spots * np.ceil(filters / _FILTERS)
    lib = gpu.lib
    rate = gpu.macs * lib["gpu_winograd_issue"] * gpu.clock_hz
    block_s = _BLOCK_MACS * (channels + lib["gpu_winograd_extra_channels"]) / rate
    busy_s = np.ceil(blocks / gpu.count) * block_s + lib["gpu_round_cycles"] / gpu.clock_hz
    if direction == "weights":
        busy_s = np.full(len(nests), np.inf)
    moved = compulsory(nests, gpu)
    dram = np.where(moved.total <= gpu.l2_bytes, 0.0, moved.total)
    total_s = np.maximum(busy_s, dram / gpu.dram_bytes_per_s)
    tile = np.broadcast_to(np.array((_BLOCK_H * _BLOCK_W, _FILTERS, 1), np.int64), (len(nests), 3))
    whole = np.ones(len(nests), np.int64)
    return Kernels(
        blocks * block_s / gpu.count, busy_s, np.zeros(len(nests)), dram, np.zeros(len(nests)), total_s, tile, whole
    )


def non_fused(nests: Nests, gpu: Machine, direction: Direction) -> Kernels:
    """F(4x4, 3x3) with transforms through memory, in any direction."""
    height, width, channels, filters = _oriented(nests, direction)
    tiles = np.asarray(nests.batch * np.ceil(height / _TILE) * np.ceil(width / _TILE), np.float64)
    copies = nests.repeat.astype(np.float64)
    moved = compulsory(nests, gpu)
    work = _products(tiles, channels, filters, copies, direction)
    weights = direction == "weights"
    depth = gpu.lib["gpu_split_depth_gradient"] if weights else 0.0
    product = best_kernels(work, gpu, gpu.gradient_tiles[:1] if weights else gpu.tiles, depth)
    through = moved.total + work.left_bytes + work.right_bytes + work.out_bytes
    rate = np.where(through <= gpu.l2_bytes, gpu.l2_bytes_per_s, gpu.dram_bytes_per_s)
    serial_s = through / rate + _TRANSFORM_KERNELS * gpu.launch_s / 2
    product_s = np.maximum(product.busy_s, product.dram_bytes / gpu.dram_bytes_per_s)
    dram = np.where(through <= gpu.l2_bytes, 0.0, through + product.dram_bytes)
    busy_s = product_s + serial_s
    padded_s = product.padded_s + through / rate
    return Kernels(padded_s, busy_s, product.inner_s, dram, np.zeros(len(nests)), busy_s, product.tile, product.split)


def _oriented(nests: Nests, direction: Direction) -> tuple[Floats, Floats, Floats, Floats]:
    """(height, width) of the tiled map, channels summed over, filters produced."""
    if direction == "data":
        sizes = (nests.in_h, nests.in_w, nests.out_channels, nests.in_channels)
    else:
        sizes = (nests.out_h, nests.out_w, nests.in_channels, nests.out_channels)
    height, width, channels, filters = (np.asarray(size, np.float64) for size in sizes)
    return height, width, channels, filters


def _products(tiles: Floats, channels: Floats, filters: Floats, copies: Floats, direction: Direction) -> Products:
    """The batched GEMM between the transforms, with the bytes of its three transformed operands."""
    scale = _POSITIONS * copies * _FLOAT_BYTES
    if direction == "weights":
        m, n, k = channels, filters, tiles
    else:
        m, n, k = pad(tiles, _ROW_GRANULE), filters, channels
    return Products(m, n, k, _POSITIONS * copies, scale * m * k, scale * k * n, scale * m * n)
