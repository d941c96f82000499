"""Convolutions on a GPU as matrix products: the implicit GEMMs of a forward kernel and of both gradients.

    forward            rows = output pixels     columns = filters          depth = channels x window
    data gradient      rows = input pixels      columns = channels         depth = filters x window     (every tap, also
                       those that a stride skips), or output pixels x (channels x window) added up in memory, atomically
    weight gradient    rows = channels x window columns = filters          depth = output pixels        always split

Tensor cores take whole groups of channels for each tap of the window. A result no wider than the narrowest tile gets
that tile; for any other, libraries keep the wider ones.

References: Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning", arXiv:1410.0759 (implicit GEMM);
Chellapilla et al., "High performance convolutional neural networks for document processing", IWFHR 2006 (im2col);
NVIDIA, cuDNN 7 API documentation, cudnnConvolutionBwdDataAlgo_t (ALGO_0: atomic sums).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from roofwright.cost_model.simt_gemm import Kernels, Products, best_kernels, fastest
from roofwright.cost_model.simt_machine import Machine
from roofwright.cost_model.units import Bools, Floats, Nests

Direction = Literal["forward", "data", "weights"]


@dataclass(frozen=True)
class Bytes:
    """Compulsory bytes of input, weights and output, all copies of one step, shape (n,)."""

    image: Floats
    weights: Floats
    result: Floats

    @property
    def total(self) -> Floats:
        """All three."""
        return self.image + self.weights + self.result


def compulsory(nests: Nests, gpu: Machine) -> Bytes:
    """Bytes that a step cannot avoid: rows of the input that a stride skips are not read, its columns share sectors."""
    copies = nests.repeat.astype(np.float64)
    height = np.where(nests.stride_h > nests.kernel_h, nests.out_h * nests.kernel_h, nests.in_h)
    image = copies * nests.batch * height * nests.in_w * nests.in_channels
    weights = copies * nests.depth * nests.out_channels
    result = copies * nests.rows * nests.out_channels
    return Bytes(image * gpu.width, weights * gpu.width, result * gpu.out_width)


def gemm(nests: Nests, gpu: Machine) -> Kernels:
    """Nests with a 1 x 1 window and one row of pixels: plain products."""
    moved = compulsory(nests, gpu)
    m, n, k = (pad(a, gpu.granule) for a in (nests.rows, nests.out_channels, nests.in_channels))
    work = Products(m, n, k, nests.repeat.astype(np.float64), moved.image, moved.weights, moved.result)
    least, split_columns = gpu.lib["gpu_narrow_columns"], gpu.lib["gpu_split_columns"]
    depth: float | Floats = gpu.split_depth
    if split_columns:
        depth = np.where(np.minimum(m, n) <= split_columns, gpu.split_depth, np.inf)
    if not least:
        return best_kernels(work, gpu, gpu.tiles, depth)
    narrow_depth = gpu.lib["gpu_split_depth_narrow"]
    return _narrowed(work, gpu, gpu.tiles, depth, gpu.issue, least=least, narrow_depth=narrow_depth)


def implicit_gemm(nests: Nests, gpu: Machine, direction: Direction) -> Kernels:
    """The implicit GEMM of a convolution, in any direction."""
    if direction == "forward":
        return _forward(nests, gpu)
    return _data(nests, gpu) if direction == "data" else _weights(nests, gpu)


def pad(sizes: object, granule: float) -> Floats:
    """Sizes rounded up to a multiple, as float64."""
    return np.ceil(np.asarray(sizes, np.float64) / granule) * granule


def _forward(nests: Nests, gpu: Machine) -> Kernels:
    moved = compulsory(nests, gpu)
    depth = _channels(nests.in_channels, nests, gpu)
    copies = nests.repeat.astype(np.float64)
    columns = pad(nests.out_channels, gpu.granule)
    work = Products(nests.rows.astype(np.float64), columns, depth, copies, moved.image, moved.weights, moved.result)
    return _convolved(work, gpu)


def _data(nests: Nests, gpu: Machine) -> Kernels:
    moved = compulsory(nests, gpu)
    copies = nests.repeat.astype(np.float64)
    window = nests.kernel_h * nests.kernel_w
    columns = pad(nests.in_channels, gpu.granule)
    pixels = (nests.batch * nests.in_h * nests.in_w).astype(np.float64)
    depth = _channels(nests.out_channels, nests, gpu)
    gather = _convolved(Products(pixels, columns, depth, copies, moved.result, moved.weights, moved.image), gpu)
    spread = Products(
        nests.rows.astype(np.float64),
        columns * window,
        depth / window,
        copies,
        moved.result,
        moved.weights,
        moved.image,
    )
    scatter = best_kernels(spread, gpu, gpu.conv_tiles, 0.0, issue=gpu.conv_issue)
    atomic_s = spread.m * spread.n * copies * gpu.lib["gpu_scatter_bytes"] / gpu.l2_bytes_per_s
    never = np.where(window > 1, 0.0, np.inf)
    return fastest(gather, _slower(scatter, atomic_s + never))


def _weights(nests: Nests, gpu: Machine) -> Kernels:
    moved = compulsory(nests, gpu)
    rows = _channels(nests.in_channels, nests, gpu)
    columns = pad(nests.out_channels, gpu.granule)
    copies = nests.repeat.astype(np.float64)
    work = Products(rows, columns, nests.rows.astype(np.float64), copies, moved.image, moved.result, moved.weights)
    return _narrowed(work, gpu, gpu.gradient_tiles, gpu.lib["gpu_split_depth_gradient"], gpu.gradient_issue)


def _convolved(work: Products, gpu: Machine) -> Kernels:
    depth = gpu.lib["gpu_split_depth_conv_tensor" if gpu.unit else "gpu_split_depth_conv"]
    return _narrowed(work, gpu, gpu.conv_tiles, depth, gpu.conv_issue)


def _narrowed(
    work: Products,
    gpu: Machine,
    tiles: tuple[tuple[int, int, int], ...],
    depth: float | Floats,
    issue: float,
    *,
    least: float = 0.0,
    narrow_depth: float | None = None,
) -> Kernels:
    """The best kernel, the narrow tiles only where the result is as narrow, but no narrower than `least`."""
    limit = gpu.lib["gpu_narrow_tile"]
    wide = [t for t in tiles if min(t[:2]) > limit] or list(tiles)
    narrow = [t for t in tiles if min(t[:2]) <= limit]
    best = best_kernels(work, gpu, wide, depth, issue=issue)
    side = np.minimum(work.m, work.n)
    fits: Bools = (side >= least) & (side <= limit)
    if not narrow or not fits.any():
        return best
    other = best_kernels(work, gpu, narrow, depth if narrow_depth is None else narrow_depth, issue=issue)
    return fastest(best, _slower(other, np.where(fits, 0.0, np.inf)))


def _channels(channels: object, nests: Nests, gpu: Machine) -> Floats:
    """Reduction length with the channels of each tap padded as the unit takes them."""
    granule = max(gpu.lib["gpu_tensor_channels"] if gpu.unit else 1.0, gpu.granule)
    return pad(channels, granule) * nests.kernel_h * nests.kernel_w


def _slower(kernels: Kernels, extra_s: Floats) -> Kernels:
    """The same kernels with a serial phase more."""
    k = kernels
    return Kernels(
        k.padded_s + extra_s,
        k.busy_s + extra_s,
        k.inner_s,
        k.dram_bytes,
        k.serial_s + extra_s,
        k.total_s + extra_s,
        k.tile,
        k.split,
    )
