"""MobileNet V1 and V2: depthwise separable convolutions and inverted residuals."""

import onnx

from roofwright.graph.zoo.layers import add, conv_bn, flatten, global_pool, linear, rounded
from roofwright.graph.zoo.net import Net, Value

_V1 = (  # channels, stride of each depthwise separable layer (Table 1)
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)
_V2 = (  # expansion, channels, repeats, stride (Table 2)
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v1(*, width: float = 1.0, size: int = 224, batch: int = 1, weights: bool = True) -> onnx.ModelProto:
    """MobileNet V1 (Howard et al., arXiv:1704.04861, Table 1), batch normalization and ReLU after every convolution.

    Args:
        width: multiplier of all channels.
        size: of the square input in pixels.
        batch: images per request.
        weights: False leaves the weights without data.
    """
    net = Net(_named("mobilenet_v1", width), weights=weights)
    *_, x = mobilenet_v1_layers(net, net.input("input", (batch, 3, size, size)), width)
    x = flatten(net, global_pool(net, x))
    return net.output(linear(net, x, 1000, "logits"))


def mobilenet_v1_layers(net: Net, x: Value, width: float = 1.0) -> list[Value]:
    """The feature maps of MobileNet V1 on `x`, one per layer: what detectors are built on."""
    maps = [conv_bn(net, x, max(8, int(32 * width)), "stem", kernel=3, stride=2)]
    for index, (channels, stride) in enumerate(_V1, start=1):
        x = conv_bn(
            net,
            maps[-1],
            maps[-1].channels,
            f"layer{index}.depthwise",
            kernel=3,
            stride=stride,
            groups=maps[-1].channels,
        )
        maps.append(conv_bn(net, x, max(8, int(channels * width)), f"layer{index}.pointwise"))
    return maps


def mobilenet_v2(*, width: float = 1.0, size: int = 224, batch: int = 1, weights: bool = True) -> onnx.ModelProto:
    """MobileNet V2 (Sandler et al., arXiv:1801.04381, Table 2).

    Args:
        width: multiplier of all channels; the last convolution never gets narrower than 1280.
        size: of the square input in pixels.
        batch: images per request.
        weights: False leaves the weights without data.
    """
    net = Net(_named("mobilenet_v2", width), weights=weights)
    x = net.input("input", (batch, 3, size, size))
    x = conv_bn(net, x, rounded(32 * width), "stem", kernel=3, stride=2, act="relu6")
    index = 0
    for expansion, channels, repeats, first_stride in _V2:
        for repeat in range(repeats):
            index += 1
            stride = first_stride if repeat == 0 else 1
            x = _inverted_residual(net, x, rounded(channels * width), expansion, stride, f"block{index}")
    x = conv_bn(net, x, rounded(1280 * max(1.0, width)), "head", act="relu6")
    x = flatten(net, global_pool(net, x))
    return net.output(linear(net, x, 1000, "logits"))


def _inverted_residual(net: Net, x: Value, channels: int, expansion: int, stride: int, name: str) -> Value:
    """Expand, filter, project without activation; added to the input where the shapes agree."""
    hidden = x.channels * expansion
    y = x if expansion == 1 else conv_bn(net, x, hidden, f"{name}.expand", act="relu6")
    y = conv_bn(net, y, hidden, f"{name}.depthwise", kernel=3, stride=stride, groups=hidden, act="relu6")
    y = conv_bn(net, y, channels, f"{name}.project", act=None)
    return add(net, x, y, f"{name}.add") if x.shape == y.shape else y


def _named(family: str, width: float) -> str:
    return family if width == 1.0 else f"{family}_{width:g}"
