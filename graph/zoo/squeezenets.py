"""SqueezeNet 1.0 and 1.1."""

from typing import Literal

import onnx

from roofwright.graph.zoo.layers import concat, conv_relu, flatten, global_pool, pool
from roofwright.graph.zoo.net import Net, Value

_FIRES = (
    (16, 64),
    (16, 64),
    (32, 128),
    (32, 128),
    (48, 192),
    (48, 192),
    (64, 256),
    (64, 256),
)  # squeeze, expand (Table 1)
_POOL_AFTER = {"1.0": (4, 8), "1.1": (3, 5)}  # the fire modules that a pooling follows


def squeezenet(
    *, version: Literal["1.0", "1.1"] = "1.0", size: int = 224, batch: int = 1, weights: bool = True
) -> onnx.ModelProto:
    """SqueezeNet (Iandola et al., arXiv:1602.07360, Table 1).

    Args:
        version: "1.0" is the paper's; "1.1" (github.com/forresti/SqueezeNet) has a 3x3 stem and earlier pooling.
        size: of the square input in pixels.
        batch: images per request.
        weights: False leaves the weights without data.
    """
    net = Net("squeezenet" if version == "1.0" else "squeezenet1_1", weights=weights)
    channels, kernel = (96, 7) if version == "1.0" else (64, 3)
    x = net.input("input", (batch, 3, size, size))
    x = conv_relu(net, x, channels, "conv1", kernel=kernel, stride=2, pad=0)
    x = pool(net, x, "pool1", kernel=3, stride=2, ceil=True)
    for index, (squeeze, expand) in enumerate(_FIRES, start=2):
        x = _fire(net, x, squeeze, expand, f"fire{index}")
        if index in _POOL_AFTER[version]:
            x = pool(net, x, f"pool{index}", kernel=3, stride=2, ceil=True)
    x = conv_relu(net, x, 1000, "conv10")
    return net.output(flatten(net, global_pool(net, x), "logits"))


def _fire(net: Net, x: Value, squeeze: int, expand: int, name: str) -> Value:
    """Squeeze by 1x1, expand by 1x1 and 3x3 side by side."""
    x = conv_relu(net, x, squeeze, f"{name}.squeeze")
    left = conv_relu(net, x, expand, f"{name}.expand1x1")
    right = conv_relu(net, x, expand, f"{name}.expand3x3", kernel=3)
    return concat(net, [left, right], f"{name}.concat")
