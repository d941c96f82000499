"""Convolutions of all kinds as loop nests.

One-dimensional convolutions run along the width. With three spatial dimensions the leading one is folded: output depth
into `out_h`, kernel depth into `in_channels`, so that the MACs are exact and each output plane is a 2-D convolution
over `channels x kernel depth` inputs. A bias is one lane operation per output.
"""

from math import prod

from roofwright.cost_model.ops.facts import Facts, Shape, Unmodelled
from roofwright.cost_model.work import Kind, LoopNest, Work

_REQUANTIZE_LANES = 5  # scale, round, zero point, two bounds


def begin_pads(
    ask: Facts, sizes: Shape, out: Shape, kernel: Shape, stride: list[int], dilation: list[int]
) -> list[int]:
    """Padding before the first element of every spatial axis, `auto_pad` resolved."""
    mode = ask.attr("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        return ask.ints("pads", 2 * len(sizes), 0)[: len(sizes)]
    if mode == "VALID":
        return [0] * len(sizes)
    axes = zip(sizes, out, kernel, stride, dilation, strict=True)
    totals = [max(0, (o - 1) * s + (k - 1) * d + 1 - i) for i, o, k, s, d in axes]
    return [total // 2 if mode == "SAME_UPPER" else total - total // 2 for total in totals]


def touched_positions(size: int, out: int, kernel: int, stride: int, dilation: int, pad: int) -> int:
    """How many of `size` input positions along one axis any window really reads (padding is not read)."""
    if dilation == 1 and stride <= kernel:  # windows overlap or touch: one run of positions
        return max(0, min(size, (out - 1) * stride - pad + kernel) - max(0, -pad))
    return len({p for o in range(out) for t in range(kernel) if 0 <= (p := o * stride + t * dilation - pad) < size})


def window_reads(ask: Facts, sizes: Shape, out: Shape, kernel: Shape) -> int:
    """Positions of the spatial axes that the windows of a convolution or pool touch."""
    rank = len(sizes)
    stride, dilation = ask.ints("strides", rank, 1), ask.ints("dilations", rank, 1)
    pads = begin_pads(ask, sizes, out, kernel, stride, dilation)
    return prod(map(touched_positions, sizes, out, kernel, stride, dilation, pads))


def _planes(sizes: Shape) -> tuple[int, int, int]:
    """(folded leading axes, height, width) of any number of spatial axes."""
    padded = (1, 1, *sizes)
    return prod(sizes[:-2]), padded[-2], padded[-1]


def conv_nest(ask: Facts, data: Shape, weights: Shape, out: Shape) -> LoopNest:
    """The nest of a convolution of `data` (N, C, ...) with `weights` (K, C / groups, ...) to `out` (N, K, ...)."""
    if len(data) < 3 or len(weights) != len(data):
        raise Unmodelled(f"a convolution of rank {len(data)} data with rank {len(weights)} weights")
    groups, rank = int(ask.attr("group", 1)), len(data) - 2
    out_depth, out_h, out_w = _planes(out[2:])
    in_depth, in_h, in_w = _planes(data[2:])
    kernel_depth, kernel_h, kernel_w = _planes(weights[2:])
    stride, dilation = [1, *ask.ints("strides", rank, 1)], [1, *ask.ints("dilations", rank, 1)]
    return LoopNest(
        repeat=groups,
        batch=data[0],
        out_h=out_depth * out_h,
        out_w=out_w,
        out_channels=weights[0] // groups,
        in_channels=weights[1] * kernel_depth,
        kernel_h=kernel_h,
        kernel_w=kernel_w,
        stride_h=stride[-2],
        stride_w=stride[-1],
        dilation_h=dilation[-2],
        dilation_w=dilation[-1],
        in_h=in_depth * in_h,
        in_w=in_w,
    )


def _kind(groups: int, weights: Shape) -> Kind:
    """Depthwise: every group reads a single channel."""
    return "depthwise" if groups > 1 and weights[1] == 1 else "conv"


def _plain(ask: Facts, weight: int, lanes_per_out: int) -> Work:
    data, weights, out = ask.shape(0), ask.shape(weight), ask.out_shape()
    nest = conv_nest(ask, data, weights, out)
    touched = data[0] * data[1] * window_reads(ask, data[2:], out[2:], weights[2:])
    return ask.work(_kind(nest.repeat, weights), lanes_per_out * prod(out), nests=(nest,), touched={0: touched})


def conv(ask: Facts) -> Work:
    """Conv."""
    return _plain(ask, weight=1, lanes_per_out=1 if ask.input(2) else 0)


def qlinear_conv(ask: Facts) -> Work:
    """QLinearConv: integer MACs, then requantisation."""
    return _plain(ask, weight=3, lanes_per_out=_REQUANTIZE_LANES + (1 if ask.input(8) else 0))


def conv_integer(ask: Facts) -> Work:
    """ConvInteger: a zero point costs one correction per output."""
    return _plain(ask, weight=1, lanes_per_out=sum(ask.input(position) is not None for position in (2, 3)))


def deform_conv(ask: Facts) -> Work:
    """DeformConv: the MACs of a convolution plus one bilinear sample (four taps) per window element and channel."""
    data, weights, out = ask.shape(0), ask.shape(1), ask.out_shape()
    samples = prod(out) // out[1] * data[1] * prod(weights[2:]) if out[1] else 0
    mask = samples if ask.input(4) else 0
    bias = prod(out) if ask.input(3) else 0
    return ask.work("conv", 4 * samples + mask + bias, nests=(conv_nest(ask, data, weights, out),))


def conv_transpose(ask: Facts) -> Work:
    """ConvTranspose as the product that it is: every input pixel times all taps, then an overlapping sum.

    MACs = input pixels x kernel x C x K / groups. The nest is a 1 x 1 convolution over the input whose output channels
    are (channels per group x kernel); adding the taps up is lane work where windows overlap (kernel > stride).
    """
    data, weights, out = ask.shape(0), ask.shape(1), ask.out_shape()
    groups, rank = int(ask.attr("group", 1)), len(data) - 2
    depth, in_h, in_w = _planes(data[2:])
    nest = LoopNest(
        repeat=groups,
        batch=data[0],
        out_h=depth * in_h,
        out_w=in_w,
        out_channels=weights[1] * prod(weights[2:]),
        in_channels=weights[0] // groups,
        in_h=depth * in_h,
        in_w=in_w,
    )
    overlap = any(k > s for k, s in zip(weights[2:], ask.ints("strides", rank, 1), strict=True))
    sums = nest.rows * nest.out_channels * groups if overlap else 0
    kind = _kind(groups, (weights[0], weights[0] // groups))
    return ask.work(kind, sums + (prod(out) if ask.input(2) else 0), nests=(nest,))


def causal_conv_with_state(ask: Facts) -> Work:
    """CausalConvWithState: a depthwise convolution along time, Swish on top where asked."""
    data, weights, out = ask.shape(0), ask.shape(1), ask.out_shape(0)
    nest = LoopNest(repeat=data[1], batch=data[0], out_w=out[2], kernel_w=weights[2], in_w=out[2] + weights[2] - 1)
    active = ask.attr("activation", "none") in ("silu", "swish")
    lanes = (1 if ask.input(2) else 0) + (2 if active else 0)
    return ask.work("depthwise", lanes * prod(out), (2 if active else 0) * prod(out), nests=(nest,))
