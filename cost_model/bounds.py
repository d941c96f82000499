"""Proven lower bounds: bytes between chip and memory, seconds per kernel, seconds per graph.

Everything here holds for *every* schedule of the work on the declared machine, not only for those that this package
can find: any order, any tiling, any fusion, any packing of the matrix unit. Inputs are arrays, so that a caller prices
a whole graph at once. Sizes in bytes may be fractions (int4: 0.5 per element).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roofwright.cost_model.rates import ceil_div
from roofwright.cost_model.sharing import share
from roofwright.cost_model.units import Floats, Ints, Nests
from roofwright.targets import Engine, Systolic, Window

# Multiplications per output of F(m x m, 3 x 3) over those of the direct algorithm: (m + 2)^2 against 9 m^2 per tile.
# Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308, section 4.
WINOGRAD_SHARE = {"winograd_2x2": 16 / 36, "winograd_4x4": 36 / 144}


@dataclass(frozen=True)
class Traffic:
    """Elements of `n` nests that must cross at least once, all repeats and steps; float64, shape (n,)."""

    inputs: Floats
    weights: Floats
    outputs: Floats

    def bytes(self, in_bytes: Any, weight_bytes: Any, out_bytes: Any) -> Floats:
        """Total bytes, given the bytes of one element of each (scalars or arrays of shape (n,))."""
        return np.asarray(self.inputs * in_bytes + self.weights * weight_bytes + self.outputs * out_bytes, np.float64)


def touched(out: Any, kernel: Any, stride: Any, dilation: Any, size: Any) -> Ints:
    """Positions along one axis of the unpadded input that some window touches.

    Windows touch {o * stride + r * dilation}. Divide both by their common factor: taps r that agree modulo the stride
    then fall on the same residue class, where each run of `out` positions is moved on by `dilation` per tap. With
    c = min(stride, kernel) classes that makes c * out + (kernel - c) * min(dilation, out) positions. What hangs over
    the input's edge is padding; where positions are not consecutive all of it is taken to be touched, so the count is
    never too high.
    """
    out, kernel, stride, dilation, size = np.broadcast_arrays(
        *(np.asarray(a, np.int64) for a in (out, kernel, stride, dilation, size))
    )
    common = np.gcd(stride, dilation)
    step, hole = stride // common, dilation // common
    classes = np.minimum(step, kernel)
    count = classes * out + (kernel - classes) * np.minimum(hole, out)
    span = (out - 1) * step + (kernel - 1) * hole + 1
    padding = np.maximum((span - 1) * common + 1 - size, 0)
    held = np.where(padding > 0, np.maximum(size // common, 1), ceil_div(size, common))  # of one residue class
    inside = np.minimum(count, held)
    return np.asarray(np.where(count < span, np.maximum(count - padding, np.minimum(inside, 1)), inside), np.int64)


def real_taps(out: Any, kernel: Any, stride: Any, dilation: Any, size: Any) -> Floats:
    """Share of (output, tap) pairs along one axis that fall on the input and not on padding (half of it in front)."""
    out, kernel, stride, dilation, size = np.broadcast_arrays(
        *(np.asarray(a, np.int64) for a in (out, kernel, stride, dilation, size))
    )
    over = np.maximum((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    front = ceil_div(over, 2)
    pairs = np.zeros(out.shape)
    for tap in range(int(kernel.max(initial=0))):
        at = tap * dilation - front
        first, stop = np.clip(ceil_div(-at, stride), 0, out), np.clip(ceil_div(size - at, stride), 0, out)
        pairs += np.where(tap < kernel, np.maximum(stop - first, 0), 0)
    return np.asarray(pairs / (out * kernel), np.float64)


def compulsory(nests: Nests) -> Traffic:
    """What must be moved if everything is moved once: touched input pixels, weights once for all steps, all outputs."""
    copies = nests.repeat.astype(np.float64)
    rows = touched(nests.out_h, nests.kernel_h, nests.stride_h, nests.dilation_h, nests.in_h)
    cols = touched(nests.out_w, nests.kernel_w, nests.stride_w, nests.dilation_w, nests.in_w)
    return Traffic(
        inputs=copies * nests.steps * nests.batch * rows * cols * nests.in_channels,
        weights=copies * nests.depth * nests.out_channels,
        outputs=copies * nests.steps * nests.rows * nests.out_channels,
    )


def taps_per_input(nests: Nests) -> Ints:
    """The most window positions in which one input pixel takes part: ceil(kernel / stride) per axis, shape (n,)."""
    step_h = nests.stride_h // np.gcd(nests.stride_h, nests.dilation_h)
    step_w = nests.stride_w // np.gcd(nests.stride_w, nests.dilation_w)
    return ceil_div(nests.kernel_h, step_h) * ceil_div(nests.kernel_w, step_w)


def traffic_bound(nests: Nests, in_bytes: Any, weight_bytes: Any, out_bytes: Any, capacity_bytes: Any) -> Floats:
    """Least bytes between a fast memory of `capacity_bytes` (all on-chip storage together) and the one behind it.

    The larger of the compulsory bytes and

        2 G sqrt(p_I p_W p_O) / sqrt(n S) - 2 S

    for G MACs (without those on padding, which cost no load), S bytes of fast memory, p bytes per element and
    n = `taps_per_input` (1 for a GEMM). Proof: cut the run into segments in which 2 S bytes are loaded or created (an
    output's first partial sum). A segment can use 3 S bytes of distinct elements: I, W and O of them, with
    p_I I + p_W W + p_O O <= 3 S. For a fixed tap its MACs are at most sqrt(I_t W_t O) by Loomis and Whitney, at most
    sqrt(n I W O) over all taps by Cauchy and Schwarz, since a pixel is in at most n of the I_t. Under the byte
    constraint that is at most S^1.5 sqrt(n / (p_I p_W p_O)), so there are at least G / that - 1 whole segments. Each
    creation is paid back by a store (at the end, or at the eviction before the same output is created again), so
    loads + stores >= loads + creations. p_O is the smallest size of an output element anywhere. Repeats and steps only
    tighten it (the product of sums is at least the sum of products).

    References:
        Irony, Toledo, Tiskin, JPDC 64, 2004, doi:10.1016/j.jpdc.2004.03.021; Smith et al., arXiv:1702.02017;
        Demmel and Dinh, arXiv:1802.06905; Chen et al., arXiv:2204.08279 (convolutions, mixed precision).
    """
    p_in, p_weight, p_out = (np.asarray(p, np.float64) for p in (in_bytes, weight_bytes, out_bytes))
    capacity = np.asarray(capacity_bytes, np.float64)
    high = real_taps(nests.out_h, nests.kernel_h, nests.stride_h, nests.dilation_h, nests.in_h)
    wide = real_taps(nests.out_w, nests.kernel_w, nests.stride_w, nests.dilation_w, nests.in_w)
    reuse = 2 * nests.macs * high * wide * np.sqrt(p_in * p_weight * p_out) / np.sqrt(taps_per_input(nests) * capacity)
    least = compulsory(nests).bytes(p_in, p_weight, p_out)
    return np.asarray(np.maximum(least, reuse - 2 * capacity), np.float64)


def least_macs(nests: Nests, algorithms: Sequence[str]) -> Floats:
    """Multiplications of the cheapest declared algorithm, shape (n,).

    Winograd's forms apply to 3 x 3 windows of stride and dilation 1; no other convolution is credited with fewer
    multiplications than the direct algorithm's.
    """
    shares = [WINOGRAD_SHARE[a] for a in algorithms if a in WINOGRAD_SHARE]
    window = (nests.kernel_h == 3) & (nests.kernel_w == 3)
    dense = (nests.stride_h == 1) & (nests.stride_w == 1) & (nests.dilation_h == 1) & (nests.dilation_w == 1)
    return np.asarray(nests.macs * np.where(window & dense, min([1.0, *shares]), 1.0), np.float64)


def engine_floor_s(nests: Nests, engine: Engine, dtype: str) -> Floats:
    """Least seconds of each nest on one engine at its burst clock, whatever the lowering; inf where it cannot run.

    Products with padding count as work, as they do in every unit here.
    """
    peak = engine.peak_macs_per_s(dtype)
    if peak == 0:
        return np.full(len(nests), np.inf)
    geometry, macs = engine.geometry, nests.macs
    if isinstance(geometry, Systolic):
        macs = _systolic_macs(nests, geometry)
    if isinstance(geometry, Window):
        # An output element needs `depth` products and a window gives at most its own size of them to one output.
        size = geometry.kernel_h * geometry.kernel_w
        outputs = nests.steps.astype(np.float64) * nests.repeat * nests.rows * nests.out_channels
        macs = outputs * ceil_div(nests.depth, size) * size
    least = least_macs(nests, engine.algorithms)
    return np.asarray(np.where(least < nests.macs, least, macs) / peak, np.float64)


def _systolic_macs(nests: Nests, array: Systolic) -> Floats:
    """MAC slots that any use of an R x C array takes (cycles x R x C), packing of groups and pixels included.

    Per cycle a column adds at most R products to one output, so an output of depth K takes ceil(K / R) column-cycles;
    a row carries one input element, which has useful products with at most taps x N outputs of its own copy. A fold
    takes R cycles to shift in (hidden or not, the shifter does one at a time) and each of N outputs per pixel needs
    ceil(K / R) stationary columns at least once. An output-stationary array has neither rows nor folds to wait for.
    """
    macs = nests.macs
    if array.dataflow == "output_stationary":
        return macs
    rows, cols = array.rows, array.cols
    moving, reach = nests.rows, taps_per_input(nests) * nests.out_channels
    columns = nests.repeat.astype(np.float64) * nests.out_channels
    if array.dataflow == "input_stationary":
        moving, reach = nests.out_channels, nests.rows
        columns = nests.repeat.astype(np.float64) * nests.rows
    visits = columns * ceil_div(nests.depth, rows)
    streamed = nests.steps * visits * moving * rows
    spread = macs * cols / np.minimum(cols, reach)
    shifted = visits * rows * rows
    return np.asarray(np.maximum(np.maximum(streamed, spread), shifted), np.float64)


@dataclass(frozen=True)
class KernelBound:
    """Least seconds of `n` kernels, each alone; shape (n,)."""

    compute_s: Floats
    memory_s: Floats

    @property
    def total_s(self) -> Floats:
        """The busier resource."""
        return np.maximum(self.compute_s, self.memory_s)


def kernel_bound(engine_s: Floats, traffic_bytes: Floats, bytes_per_s: float) -> KernelBound:
    """Bound of each kernel run on its own.

    Args:
        engine_s: least seconds of kernel i on engine j, shape (n, engines); inf where it cannot run. Engines may share
            a kernel, so its bound is that of all of them working at once.
        traffic_bytes: least off-chip bytes, shape (n,) (`traffic_bound`, or compulsory bytes of all operands).
        bytes_per_s: peak bandwidth of the device memory.
    """
    rate = np.where(np.isfinite(engine_s), 1 / np.maximum(engine_s, 1e-300), 0.0).sum(axis=1)
    compute_s = np.divide(1.0, rate, out=np.zeros(len(rate)), where=rate > 0)
    return KernelBound(compute_s, np.asarray(traffic_bytes, np.float64) / bytes_per_s)


@dataclass(frozen=True)
class GraphBound:
    """Least seconds of one run of a whole graph on the device, its link left out.

    Attributes:
        compute_s: the busiest engine when work is shared perfectly.
        memory_s: graph inputs, weights and graph outputs once at peak bandwidth; all else could stay on chip.
        engine_price: weight of each engine's time in the proof of `compute_s`; sums to 1, 0 for engines with slack.
    """

    compute_s: float
    memory_s: float
    engine_price: Floats

    @property
    def total_s(self) -> float:
        """The busiest resource."""
        return max(self.compute_s, self.memory_s)


def graph_bound(engine_s: Floats, floor_bytes: float, bytes_per_s: float) -> GraphBound:
    """Bound of a whole graph, whatever is fused, kept on chip, reordered or run in parallel.

    Proof: each engine's busy time and the memory port's are below the makespan; perfect sharing of every piece of work
    between the engines that can do it only lowers the busiest engine's time; with infinite on-chip memory exactly the
    graph's inputs, weights and outputs cross.

    Args:
        engine_s: least seconds of piece of work i on engine j, shape (n, engines); inf where it cannot run. Matrix and
            vector parts of a kernel are separate pieces. A piece that no engine can run counts nothing.
        floor_bytes: bytes of graph inputs, weights and graph outputs, each once.
        bytes_per_s: peak bandwidth of the device memory.
    """
    compute_s, price = share(engine_s)
    return GraphBound(compute_s, floor_bytes / bytes_per_s, price)
