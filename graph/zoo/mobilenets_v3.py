"""MobileNet V3, large, small and minimalistic."""

from typing import Literal

import onnx

from roofwright.graph.zoo.layers import (
    Activation,
    activate,
    add,
    conv,
    conv_bn,
    flatten,
    global_pool,
    linear,
    rounded,
)
from roofwright.graph.zoo.net import Net, Value

_Row = tuple[
    int, int, int, bool, Activation, int
]  # kernel, expanded channels, channels, squeeze-excite, activation, stride
_LARGE: tuple[_Row, ...] = (  # Table 1
    (3, 16, 16, False, "relu", 1),
    (3, 64, 24, False, "relu", 2),
    (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2),
    (5, 120, 40, True, "relu", 1),
    (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "hardswish", 2),
    (3, 200, 80, False, "hardswish", 1),
    (3, 184, 80, False, "hardswish", 1),
    (3, 184, 80, False, "hardswish", 1),
    (3, 480, 112, True, "hardswish", 1),
    (3, 672, 112, True, "hardswish", 1),
    (5, 672, 160, True, "hardswish", 2),
    (5, 960, 160, True, "hardswish", 1),
    (5, 960, 160, True, "hardswish", 1),
)
_SMALL: tuple[_Row, ...] = (  # Table 2
    (3, 16, 16, True, "relu", 2),
    (3, 72, 24, False, "relu", 2),
    (3, 88, 24, False, "relu", 1),
    (5, 96, 40, True, "hardswish", 2),
    (5, 240, 40, True, "hardswish", 1),
    (5, 240, 40, True, "hardswish", 1),
    (5, 120, 48, True, "hardswish", 1),
    (5, 144, 48, True, "hardswish", 1),
    (5, 288, 96, True, "hardswish", 2),
    (5, 576, 96, True, "hardswish", 1),
    (5, 576, 96, True, "hardswish", 1),
)


def mobilenet_v3(
    *,
    version: Literal["large", "small"] = "large",
    width: float = 1.0,
    minimalistic: bool = False,
    size: int = 224,
    batch: int = 1,
    weights: bool = True,
) -> onnx.ModelProto:
    """MobileNet V3 (Howard et al., arXiv:1905.02244, Tables 1 and 2).

    Args:
        version: which of the two tables.
        width: multiplier of all channels but the last hidden layer's; expansions keep the tables' ratios.
        minimalistic: without squeeze-excite, hard-swish and 5 x 5 filters, as the authors' model collection has it.
        size: of the square input in pixels.
        batch: images per request.
        weights: False leaves the weights without data.
    """
    name = f"mobilenet_v3_{version}" + ("_minimalistic" if minimalistic else "") + ("" if width == 1 else f"_{width:g}")
    net = Net(name, weights=weights)
    last: Activation = "relu" if minimalistic else "hardswish"
    x = net.input("input", (batch, 3, size, size))
    x = conv_bn(net, x, rounded(16 * width), "stem", kernel=3, stride=2, act=last)
    base = 16  # channels that the row's expansion refers to
    for index, row in enumerate(_LARGE if version == "large" else _SMALL, start=1):
        hidden = rounded(x.channels * row[1] / base)
        x = _bottleneck(net, x, _plain(row) if minimalistic else row, hidden, rounded(row[2] * width), f"block{index}")
        base = row[2]
    x = conv_bn(net, x, 6 * x.channels, "head", act=last)
    x = flatten(net, global_pool(net, x))
    x = linear(net, x, 1280 if version == "large" else 1024, "hidden")
    return net.output(linear(net, activate(net, x, last, "hidden.act"), 1000, "logits"))


def _plain(row: _Row) -> _Row:
    _, expanded, channels, _, _, stride = row
    return 3, expanded, channels, False, "relu", stride


def _bottleneck(net: Net, x: Value, row: _Row, hidden: int, channels: int, name: str) -> Value:
    """Expand, filter, squeeze-excite, project; added to the input where the shapes agree."""
    kernel, _, _, excite, act, stride = row
    y = x if hidden == x.channels else conv_bn(net, x, hidden, f"{name}.expand", act=act)
    y = conv_bn(net, y, hidden, f"{name}.depthwise", kernel=kernel, stride=stride, groups=hidden, act=act)
    y = _squeeze_excite(net, y, f"{name}.excite") if excite else y
    y = conv_bn(net, y, channels, f"{name}.project", act=None)
    return add(net, x, y, f"{name}.add") if x.shape == y.shape else y


def _squeeze_excite(net: Net, x: Value, name: str) -> Value:
    """Scale every channel by a gate computed from all channels' means (Hu et al., arXiv:1709.01507)."""
    y = global_pool(net, x, f"{name}.pool")
    y = activate(net, conv(net, y, rounded(x.channels // 4), f"{name}.reduce"), "relu", f"{name}.relu")
    y = conv(net, y, x.channels, f"{name}.restore")
    gate = net.op("HardSigmoid", f"{name}.gate", [y], y.shape, alpha=1 / 6, beta=0.5)
    return net.op("Mul", f"{name}.scale", [x, gate], x.shape)
