"""Layers of image networks, as exporters write them: batch normalization kept, one node per operation."""

from collections.abc import Sequence
from math import prod, sqrt
from typing import Literal

from roofwright.graph.zoo.net import Net, Value

Activation = Literal["relu", "relu6", "hardswish"]


def _he_spread(fan_in: int) -> float:
    """Half width of the uniform distribution that keeps the variance through a ReLU (He et al., arXiv:1502.01852)."""
    return sqrt(6 / fan_in)


def _slid(size: int, kernel: int, stride: int, pad: int, *, ceil: bool = False) -> int:
    """Output size of a window that slides over `size` pixels."""
    room = size + 2 * pad - kernel
    return (-(-room // stride) if ceil else room // stride) + 1


def conv(
    net: Net,
    x: Value,
    channels: int,
    name: str,
    *,
    kernel: int = 1,
    stride: int = 1,
    pad: int | None = None,
    groups: int = 1,
    bias: bool = True,
) -> Value:
    """A square convolution; `pad` None keeps the size at stride 1, 0 is a valid convolution."""
    pad = kernel // 2 if pad is None else pad
    batch, depth, height, width = x.shape
    fan_in = depth // groups * kernel * kernel
    inputs: list[Value | str] = [
        x,
        net.weight(f"{name}.weight", (channels, depth // groups, kernel, kernel), spread=_he_spread(fan_in)),
    ]
    if bias:
        inputs.append(net.weight(f"{name}.bias", (channels,), spread=0.1))
    shape = (batch, channels, _slid(height, kernel, stride, pad), _slid(width, kernel, stride, pad))
    return net.op(
        "Conv",
        name,
        inputs,
        shape,
        dilations=(1, 1),
        group=groups,
        kernel_shape=(kernel, kernel),
        pads=(pad,) * 4,
        strides=(stride, stride),
    )


def batch_norm(net: Net, x: Value, name: str, *, gain: float) -> Value:
    """Batch normalization in inference form, with every statistic off its neutral value; `gain` is the mean scale."""
    shape = (x.channels,)
    statistics = [
        net.weight(f"{name}.scale", shape, center=gain, spread=gain / 2),
        net.weight(f"{name}.bias", shape, spread=0.3),
        net.weight(f"{name}.mean", shape, spread=0.3),
        net.weight(f"{name}.var", shape, center=1.0, spread=0.5),
    ]
    return net.op("BatchNormalization", name, [x, *statistics], x.shape, epsilon=1e-5)


def activate(net: Net, x: Value, kind: Activation | None, name: str) -> Value:
    """An activation function; None returns the value itself."""
    if kind is None:
        return x
    if kind == "relu6":
        return net.op("Clip", name, [x, net.scalar("zero", 0.0), net.scalar("six", 6.0)], x.shape)
    return net.op({"relu": "Relu", "hardswish": "HardSwish"}[kind], name, [x], x.shape)


def conv_bn(
    net: Net,
    x: Value,
    channels: int,
    name: str,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    act: Activation | None = "relu",
    gain: float | None = None,
) -> Value:
    """Convolution without bias, batch normalization, activation.

    The default gain keeps the variance from layer to layer; a linear output gets less, as no ReLU halves it.
    """
    gain = (1.0 if act else 0.7) if gain is None else gain
    x = conv(net, x, channels, f"{name}.conv", kernel=kernel, stride=stride, groups=groups, bias=False)
    x = batch_norm(net, x, f"{name}.bn", gain=gain)
    return activate(net, x, act, f"{name}.act")


def conv_relu(
    net: Net, x: Value, channels: int, name: str, *, kernel: int = 1, stride: int = 1, pad: int | None = None
) -> Value:
    """Convolution with bias, ReLU."""
    x = conv(net, x, channels, f"{name}.conv", kernel=kernel, stride=stride, pad=pad)
    return activate(net, x, "relu", f"{name}.relu")


def pool(
    net: Net,
    x: Value,
    name: str,
    *,
    kind: Literal["Max", "Average"] = "Max",
    kernel: int,
    stride: int,
    pad: int = 0,
    ceil: bool = False,
) -> Value:
    """Maximum or average pooling; an average counts the padding, as exporters write it."""
    batch, channels, height, width = x.shape
    shape = (batch, channels, *(_slid(size, kernel, stride, pad, ceil=ceil) for size in (height, width)))
    extra = {"count_include_pad": 1} if kind == "Average" else {}
    return net.op(
        f"{kind}Pool",
        name,
        [x],
        shape,
        ceil_mode=int(ceil),
        kernel_shape=(kernel, kernel),
        pads=(pad,) * 4,
        strides=(stride, stride),
        **extra,
    )


def global_pool(net: Net, x: Value, name: str = "pool") -> Value:
    """Average over all pixels, which stay as 1 x 1."""
    return net.op("GlobalAveragePool", name, [x], (*x.shape[:2], 1, 1))


def flatten(net: Net, x: Value, name: str = "flatten") -> Value:
    """All but the batch in one dimension."""
    return net.op("Flatten", name, [x], (x.shape[0], prod(x.shape[1:])), axis=1)


def linear(net: Net, x: Value, features: int, name: str) -> Value:
    """A fully connected layer on (batch, features)."""
    batch, depth = x.shape
    weight = net.weight(f"{name}.weight", (features, depth), spread=_he_spread(depth))
    bias = net.weight(f"{name}.bias", (features,), spread=0.1)
    return net.op("Gemm", name, [x, weight, bias], (batch, features), alpha=1.0, beta=1.0, transB=1)


def add(net: Net, a: Value, b: Value, name: str) -> Value:
    """Elementwise sum of two tensors of one shape."""
    return net.op("Add", name, [a, b], a.shape)


def concat(net: Net, parts: Sequence[Value], name: str) -> Value:
    """Join along the channels."""
    batch, _, *pixels = parts[0].shape
    return net.op("Concat", name, parts, (batch, sum(part.channels for part in parts), *pixels), axis=1)


def reshape(net: Net, x: Value, shape: tuple[int, ...], name: str) -> Value:
    """Reshape to a shape with every dimension written out, the batch included."""
    return net.op("Reshape", name, [x, net.ints(f"{name}.shape", shape)], shape)


def transpose(net: Net, x: Value, order: tuple[int, ...], name: str) -> Value:
    """Permute the dimensions."""
    return net.op("Transpose", name, [x], tuple(x.shape[axis] for axis in order), perm=order)


def rounded(channels: float, divisor: int = 8) -> int:
    """Nearest multiple of `divisor`, but no less than 90 % of `channels`: the rule of MobileNet V2 and V3."""
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest
