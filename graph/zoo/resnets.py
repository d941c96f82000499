"""Residual networks of 18, 34, 50 and 101 layers."""

from typing import Literal

import onnx

from roofwright.graph.zoo.layers import activate, add, conv_bn, flatten, global_pool, linear, pool
from roofwright.graph.zoo.net import Net, Value

_REPEATS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # Table 1
_BRANCH_GAIN = 0.25  # scale of a branch's last batch norm: small, so that many sums do not grow without bound


def resnet(
    *,
    depth: Literal[18, 34, 50, 101] = 50,
    version: Literal["1", "1.5"] = "1.5",
    size: int = 224,
    batch: int = 1,
    weights: bool = True,
) -> onnx.ModelProto:
    """ResNet (He et al., arXiv:1512.03385, Table 1; option B: projections where the shape changes).

    Args:
        depth: counted layers; 18 and 34 use basic blocks, 50 and 101 bottlenecks.
        version: where a bottleneck strides: in its first 1x1 ("1", as in the paper) or in its 3x3 ("1.5", as in
            torchvision and NVIDIA's benchmarks). Basic blocks are the same in both.
        size: of the square input in pixels.
        batch: images per request.
        weights: False leaves the weights without data.
    """
    net = Net(f"resnet{depth}" if version == "1.5" or depth < 50 else f"resnet{depth}_v1", weights=weights)
    x = conv_bn(net, net.input("input", (batch, 3, size, size)), 64, "stem", kernel=7, stride=2)
    x = pool(net, x, "stem.pool", kernel=3, stride=2, pad=1)
    for stage, repeats in enumerate(_REPEATS[depth], start=1):
        for block in range(1, repeats + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            name = f"stage{stage}.block{block}"
            if depth < 50:
                x = _join(net, x, _basic(net, x, 32 * 2**stage, stride, name), stride, name)
            else:
                strides = (stride, 1) if version == "1" else (1, stride)
                x = _join(net, x, _bottleneck(net, x, 32 * 2**stage, strides, name), stride, name)
    x = flatten(net, global_pool(net, x))
    return net.output(linear(net, x, 1000, "logits"))


def _basic(net: Net, x: Value, channels: int, stride: int, name: str) -> Value:
    y = conv_bn(net, x, channels, f"{name}.first", kernel=3, stride=stride)
    return conv_bn(net, y, channels, f"{name}.second", kernel=3, act=None, gain=_BRANCH_GAIN)


def _bottleneck(net: Net, x: Value, channels: int, strides: tuple[int, int], name: str) -> Value:
    y = conv_bn(net, x, channels, f"{name}.reduce", stride=strides[0])
    y = conv_bn(net, y, channels, f"{name}.filter", kernel=3, stride=strides[1])
    return conv_bn(net, y, 4 * channels, f"{name}.restore", act=None, gain=_BRANCH_GAIN)


def _join(net: Net, x: Value, y: Value, stride: int, name: str) -> Value:
    """Add the branch to the shortcut, projected where the shapes differ, and rectify."""
    if x.shape != y.shape:
        x = conv_bn(net, x, y.channels, f"{name}.shortcut", stride=stride, act=None, gain=0.9)
    return activate(net, add(net, x, y, f"{name}.add"), "relu", f"{name}.relu")
