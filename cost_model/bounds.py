"""Proven lower bounds: bytes between chip and memory, seconds per kernel, seconds per graph.

Everything here holds for *every* schedule of the work on the declared machine, not only for those that this package
can find: any order, any tiling, any fusion, any placement, any sharing of a nest's rows between engines. The declared
machine is the silicon with its stack: engines run a nest by the lowerings that they declare (`floors`), one nest per
fold of an array, at the stack's issue rate and the burst clock; the device memory gives what a long stream reaches.
Inputs are arrays: a caller prices a whole graph at once. Sizes in bytes may be fractions (int4: 0.5 per element).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from roofwright.cost_model.floors import Options
from roofwright.cost_model.rates import ceil_div
from roofwright.cost_model.sharing import busiest
from roofwright.cost_model.units import Floats, Ints, Nests


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
    out, kernel, stride, dilation, size = (np.asarray(a, np.int64) for a in (out, kernel, stride, dilation, size))
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


@dataclass(frozen=True)
class KernelBound:
    """Least seconds of `n` kernels, each alone; shape (n,)."""

    compute_s: Floats
    memory_s: Floats

    @property
    def total_s(self) -> Floats:
        """The busier resource."""
        return np.maximum(self.compute_s, self.memory_s)


@dataclass(frozen=True)
class GraphBound:
    """Least seconds of one run of a whole graph on the device, its link left out.

    Attributes:
        compute_s: the busiest engine when work is shared perfectly.
        memory_s: graph inputs, weights and graph outputs once; all else could stay on chip. Where weights stream past
            the chip, whole tiles of them.
        shared_s: the busiest resource when each piece of work goes one way, with its engine seconds and its bytes.
        turns_s: the longest sum of parts that cannot overlap: work, hand-overs and loads (`chain`, `turns`).
        request_s: what the call costs beside, whatever the graph.
        price: weight of each resource (engines, then memory) in the proof of `shared_s`; sums to 1.
    """

    compute_s: float
    memory_s: float
    shared_s: float
    turns_s: float
    request_s: float
    price: Floats

    @property
    def total_s(self) -> float:
        """The busiest resource, and the call."""
        return max(self.compute_s, self.memory_s, self.shared_s, self.turns_s) + self.request_s


def kernel_bound(options: Options, owner: Ints, engines: int, count: int) -> Floats:
    """Least compute of `count` kernels, each alone; engines may share its pieces of work, all working at once.

    Args:
        options: ways to run each piece.
        owner: kernel of each piece.
        engines: how many.
        count: kernels.
    """
    seconds = np.full((len(owner), engines), np.inf)
    np.minimum.at(seconds, (options.piece, options.engine), options.engine_s)
    with np.errstate(divide="ignore"):
        rate = (1 / seconds).sum(axis=1)
        alone = np.where(rate > 0, 1 / rate, 0.0)
    found = np.zeros(count)
    np.maximum.at(found, owner, alone)
    return found


def graph_bound(
    options: Options, engines: int, floor_s: float, fetched_s: Floats, turns_s: float = 0.0, request_s: float = 0.0
) -> GraphBound:
    """Bound of a whole graph, whatever is fused, kept on chip, reordered or run in parallel.

    Proof: each engine's busy time and the memory port's are below the makespan; perfect sharing of every piece of work
    between its ways only lowers the busiest resource's time; with infinite on-chip memory exactly the graph's inputs,
    weights and outputs cross.

    Args:
        options: ways to run each piece of work. Matrix and vector parts of a kernel are separate pieces. A piece that
            no engine can run counts nothing.
        engines: how many.
        floor_s: the port's seconds for graph inputs, weights and graph outputs, each once.
        fetched_s: the port's seconds beyond that of each way.
        turns_s: a bound that other reasons give.
        request_s: seconds of the call itself.
    """
    order = np.argsort(options.piece, kind="stable")
    ways = np.zeros((len(order), engines + 1))
    ways[np.arange(len(order)), options.engine[order]] = options.engine_s[order]
    ways[:, -1] = fetched_s[order]
    base, none = np.zeros(engines + 1), np.zeros(engines)
    base[-1] = floor_s
    compute_s, _ = busiest(ways[:, :-1], options.piece[order], none)
    memory_s, _ = busiest(ways[:, -1:], options.piece[order], base[-1:])
    shared_s, price = busiest(ways, options.piece[order], base)
    return GraphBound(compute_s, memory_s, shared_s, turns_s, request_s, price)
