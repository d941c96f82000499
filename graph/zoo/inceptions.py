"""Inception V1 (GoogLeNet) as published: local response normalization, no batch normalization."""

import onnx

from roofwright.graph.zoo.layers import concat, conv_relu, flatten, global_pool, linear, pool
from roofwright.graph.zoo.net import Net, Value

_MODULES = {  # 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pool projection (Table 1)
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
_POOL_AFTER = ("3b", "4e")


def inception_v1(*, size: int = 224, batch: int = 1, weights: bool = True) -> onnx.ModelProto:
    """GoogLeNet without its auxiliary classifiers (Szegedy et al., arXiv:1409.4842, Table 1).

    Args:
        size: of the square input in pixels.
        batch: images per request.
        weights: False leaves the weights without data.
    """
    net = Net("inception_v1", weights=weights)
    x = conv_relu(net, net.input("input", (batch, 3, size, size)), 64, "conv1", kernel=7, stride=2)
    x = _lrn(net, pool(net, x, "pool1", kernel=3, stride=2, ceil=True), "norm1")
    x = conv_relu(net, x, 64, "conv2.reduce")
    x = _lrn(net, conv_relu(net, x, 192, "conv2", kernel=3), "norm2")
    x = pool(net, x, "pool2", kernel=3, stride=2, ceil=True)
    for name, row in _MODULES.items():
        x = _module(net, x, row, f"inception{name}")
        if name in _POOL_AFTER:
            x = pool(net, x, f"pool{name}", kernel=3, stride=2, ceil=True)
    x = flatten(net, global_pool(net, x))
    return net.output(linear(net, x, 1000, "logits"))


def _lrn(net: Net, x: Value, name: str) -> Value:
    return net.op("LRN", name, [x], x.shape, alpha=1e-4, beta=0.75, bias=1.0, size=5)


def _module(net: Net, x: Value, row: tuple[int, int, int, int, int, int], name: str) -> Value:
    """Four branches side by side, joined along the channels."""
    narrow, reduce3, out3, reduce5, out5, projection = row
    pooled = pool(net, x, f"{name}.pool", kernel=3, stride=1, pad=1)
    branches = [
        conv_relu(net, x, narrow, f"{name}.1x1"),
        conv_relu(net, conv_relu(net, x, reduce3, f"{name}.3x3_reduce"), out3, f"{name}.3x3", kernel=3),
        conv_relu(net, conv_relu(net, x, reduce5, f"{name}.5x5_reduce"), out5, f"{name}.5x5", kernel=5),
        conv_relu(net, pooled, projection, f"{name}.projection"),
    ]
    return concat(net, branches, f"{name}.concat")
