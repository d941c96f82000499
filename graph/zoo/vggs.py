"""VGG-16 and VGG-19."""

from typing import Literal

import onnx

from roofwright.graph.zoo.layers import activate, conv_relu, flatten, linear, pool
from roofwright.graph.zoo.net import Net

_CHANNELS = (64, 128, 256, 512, 512)
_REPEATS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # Table 1, columns D and E


def vgg(*, depth: Literal[16, 19] = 16, size: int = 224, batch: int = 1, weights: bool = True) -> onnx.ModelProto:
    """VGG (Simonyan and Zisserman, arXiv:1409.1556, Table 1).

    Args:
        depth: 16 (column D) or 19 (column E).
        size: of the square input in pixels, a multiple of 32; the first fully connected layer follows it.
        batch: images per request.
        weights: False leaves the weights without data.
    """
    net = Net(f"vgg{depth}", weights=weights)
    x = net.input("input", (batch, 3, size, size))
    for stage, (channels, repeats) in enumerate(zip(_CHANNELS, _REPEATS[depth], strict=True), start=1):
        for index in range(1, repeats + 1):
            x = conv_relu(net, x, channels, f"conv{stage}_{index}", kernel=3)
        x = pool(net, x, f"pool{stage}", kernel=2, stride=2)
    x = flatten(net, x)
    for name in ("fc6", "fc7"):
        x = activate(net, linear(net, x, 4096, name), "relu", f"{name}.relu")
    return net.output(linear(net, x, 1000, "logits"))
