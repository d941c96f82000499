"""ShuffleNet V1 and V2: grouped or split pointwise convolutions and channel shuffles."""

import onnx

from roofwright.graph.zoo.layers import (
    activate,
    add,
    concat,
    conv_bn,
    flatten,
    global_pool,
    linear,
    pool,
    reshape,
    transpose,
)
from roofwright.graph.zoo.net import Net, Value

_REPEATS = (4, 8, 4)
_V1_STEM = {0.5: 12, 1.0: 24, 1.5: 24, 2.0: 48}
_V2_CHANNELS = {  # stages 2 to 4 and conv5 (Table 5)
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}


def shufflenet_v1(*, width: float = 1.0, size: int = 224, batch: int = 1, weights: bool = True) -> onnx.ModelProto:
    """ShuffleNet V1 with three groups (Zhang et al., arXiv:1707.01083, Table 1).

    The first layer's widths are those of the authors' models (github.com/megvii-model/ShuffleNet-Series).

    Args:
        width: 0.5, 1.0, 1.5 or 2.0.
        size: of the square input in pixels.
        batch: images per request.
        weights: False leaves the weights without data.
    """
    net = Net("shufflenet_v1" if width == 1.0 else f"shufflenet_v1_{width:g}", weights=weights)
    x = _stem(net, net.input("input", (batch, 3, size, size)), _V1_STEM[width])
    for stage, repeats in enumerate(_REPEATS, start=2):
        channels = int(240 * width) * 2 ** (stage - 2)
        for unit in range(repeats):
            x = _unit_v1(
                net, x, channels, f"stage{stage}.unit{unit + 1}", down=unit == 0, first=stage == 2 and unit == 0
            )
    x = flatten(net, global_pool(net, x))
    return net.output(linear(net, x, 1000, "logits"))


def shufflenet_v2(*, width: float = 1.0, size: int = 224, batch: int = 1, weights: bool = True) -> onnx.ModelProto:
    """ShuffleNet V2 (Ma et al., arXiv:1807.11164, Table 5).

    Args:
        width: 0.5, 1.0, 1.5 or 2.0.
        size: of the square input in pixels.
        batch: images per request.
        weights: False leaves the weights without data.
    """
    net = Net("shufflenet_v2" if width == 1.0 else f"shufflenet_v2_{width:g}", weights=weights)
    *stages, last = _V2_CHANNELS[width]
    x = _stem(net, net.input("input", (batch, 3, size, size)), 24)
    for stage, (channels, repeats) in enumerate(zip(stages, _REPEATS, strict=True), start=2):
        x = _down_unit_v2(net, x, channels, f"stage{stage}.unit1")
        for unit in range(2, repeats + 1):
            x = _unit_v2(net, x, f"stage{stage}.unit{unit}")
    x = flatten(net, global_pool(net, conv_bn(net, x, last, "head")))
    return net.output(linear(net, x, 1000, "logits"))


def _stem(net: Net, x: Value, channels: int) -> Value:
    x = conv_bn(net, x, channels, "stem", kernel=3, stride=2)
    return pool(net, x, "stem.pool", kernel=3, stride=2, pad=1)


def _shuffle(net: Net, x: Value, groups: int, name: str) -> Value:
    """Interleave the channels of `groups` groups."""
    batch, channels, *pixels = x.shape
    y = reshape(net, x, (batch, groups, channels // groups, *pixels), f"{name}.grouped")
    y = transpose(net, y, (0, 2, 1, 3, 4), f"{name}.interleaved")
    return reshape(net, y, x.shape, name)


def _unit_v1(net: Net, x: Value, channels: int, name: str, *, down: bool, first: bool) -> Value:
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1 beside an identity (added) or an average pooling (joined)."""
    new, hidden = (channels - x.channels if down else channels), channels // 4
    y = conv_bn(net, x, hidden, f"{name}.reduce", groups=1 if first else 3)
    y = _shuffle(net, y, 3, f"{name}.shuffle")
    y = conv_bn(net, y, hidden, f"{name}.depthwise", kernel=3, stride=2 if down else 1, groups=hidden, act=None)
    y = conv_bn(net, y, new, f"{name}.restore", groups=3, act=None)
    if not down:
        return activate(net, add(net, x, y, f"{name}.add"), "relu", f"{name}.relu")
    shortcut = pool(net, x, f"{name}.shortcut", kind="Average", kernel=3, stride=2, pad=1)
    return activate(net, concat(net, [shortcut, y], f"{name}.concat"), "relu", f"{name}.relu")


def _branch_v2(net: Net, x: Value, channels: int, stride: int, name: str) -> Value:
    x = conv_bn(net, x, channels, f"{name}.expand")
    x = conv_bn(net, x, channels, f"{name}.depthwise", kernel=3, stride=stride, groups=channels, act=None)
    return conv_bn(net, x, channels, f"{name}.project")


def _unit_v2(net: Net, x: Value, name: str) -> Value:
    """Half of the channels pass, half are worked on; then both are shuffled."""
    batch, channels, *pixels = x.shape
    halves = [Value(f"{name}.{side}", (batch, channels // 2, *pixels)) for side in ("keep", "work")]
    keep, work = net.split_op(
        "Split", f"{name}.split", [x, net.ints(f"{name}.sizes", [channels // 2] * 2)], halves, axis=1
    )
    work = _branch_v2(net, work, channels // 2, 1, name)
    return _shuffle(net, concat(net, [keep, work], f"{name}.concat"), 2, f"{name}.shuffle")


def _down_unit_v2(net: Net, x: Value, channels: int, name: str) -> Value:
    """Both branches see all channels at stride 2; then both are shuffled."""
    left = conv_bn(net, x, x.channels, f"{name}.left.depthwise", kernel=3, stride=2, groups=x.channels, act=None)
    left = conv_bn(net, left, channels // 2, f"{name}.left.project")
    right = _branch_v2(net, x, channels // 2, 2, f"{name}.right")
    return _shuffle(net, concat(net, [left, right], f"{name}.concat"), 2, f"{name}.shuffle")
