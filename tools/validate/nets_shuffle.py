"""The networks that the ShuffleNet V2 paper (arXiv:1807.11164) compares with ShuffleNets and MobileNets.

The paper's own Xception-like, DenseNet and CondenseNet variants were not published in detail: they are built from its
stages with the channel count (or growth) that gives the multiply-accumulates it states.
"""

import onnx

from roofwright.graph.zoo import Value
from roofwright.tools.validate.nets import Activation, Net

_STAGES = (4, 8, 4)


def _stem(net: Net) -> Value:
    return net.pool(net.conv(net.image(224), 24, 3, 2), 3, 2)


def xception_like(channels: int, batch: int = 1) -> onnx.ModelProto:
    """Li et al., arXiv:1711.07264, table 1: residual units of three separable convolutions, c/4, c/4, c.

    A separable convolution has no normalization inside (Chollet, arXiv:1610.02357).
    """
    net = Net(batch)
    x = _stem(net)
    for stage, repeats in enumerate(_STAGES):
        out = channels * 2**stage
        for block in range(repeats):
            stride = 2 if block == 0 else 1
            y = net.conv(net.depthwise(x, 3, stride, norm=False, act=None), out // 4)
            y = net.conv(net.depthwise(y, norm=False, act=None), out // 4)
            y = net.conv(net.depthwise(y, norm=False, act=None), out, act=None)
            shortcut = net.conv(x, out, 1, 2, act=None) if block == 0 else x
            x = net.act(net.add(shortcut, y))
    return net.output(net.linear(net.mean(x), 1000))


def densenet_like(growth: int, batch: int = 1, groups: int = 1) -> onnx.ModelProto:
    """DenseNet-BC blocks (Huang et al., arXiv:1608.06993) in the stages of ShuffleNet, as that paper says.

    With groups it stands for CondenseNet (Huang et al., arXiv:1711.09224), whose index layers reorder every input.
    """
    net = Net(batch)
    x = _stem(net)
    for stage, layers in enumerate(_STAGES):
        x = net.pool(net.conv(x, 2 * growth * 2**stage), 2, 2)
        for _ in range(layers):
            y = net.act(net.norm(x))
            parts = groups if x.channels % groups == 0 else 1
            y = net.conv(net.shuffle(y, parts) if parts > 1 else y, 4 * growth, groups=parts)
            parts = groups if growth % groups == 0 else 1
            x = net.concat(x, net.conv(y, growth, 3, groups=parts, norm=False, act=None))
    return net.output(net.linear(net.mean(net.conv(x, 1024)), 1000))


def igcv2(channels: int, batch: int = 1) -> onnx.ModelProto:
    """Xie et al., arXiv:1804.06202: MobileNet V1 whose 1 x 1 convolutions are two complementary group convolutions."""
    net = Net(batch)
    x = net.conv(net.image(224), channels, 3, 2)
    plan = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *((16, 1),) * 5, (32, 2), (32, 1))
    for factor, stride in plan:
        out = channels * factor
        y = net.shuffle(net.depthwise(x, 3, stride), 8)
        y = net.shuffle(net.conv(y, out, groups=y.channels // 8, act=None), 8)
        x = net.conv(y, out, groups=8)
    return net.output(net.linear(net.mean(x), 1000))


def ratio(side: int, blocks: int, narrow: int, wide: int) -> onnx.ModelProto:
    """G1: two 1x1 convolutions c1 -> c2 -> c1."""
    net = Net()
    x = net.image(side, narrow)
    for _ in range(blocks):
        x = net.conv(net.conv(x, wide, norm=False), narrow, norm=False)
    return net.output(x)


def grouped(side: int, blocks: int, channels: int, groups: int) -> onnx.ModelProto:
    """G2: pointwise group convolutions."""
    net = Net()
    x = net.image(side, channels)
    for _ in range(blocks):
        x = net.conv(x, channels, groups=groups, norm=False)
    return net.output(x)


def fragments(side: int, blocks: int, channels: int, pieces: int, *, parallel: bool) -> onnx.ModelProto:
    """G3: 1, 2 or 4 pointwise convolutions in a row, or side by side on parts of the channels, concatenated."""
    net = Net()
    x = net.image(side, channels * (pieces if parallel else 1))
    for _ in range(blocks):
        if parallel:
            x = net.concat(*(net.conv(part, channels, norm=False) for part in net.parts(x, pieces)))
            continue
        for _ in range(pieces):
            x = net.conv(x, channels, norm=False)
    return net.output(x)


def bottlenecks(side: int, blocks: int, channels: int, *, relu: bool, shortcut: bool) -> onnx.ModelProto:
    """G4: 1x1, 3x3, 1x1 through a quarter of the channels, with or without ReLU and shortcut."""
    net = Net()
    act: Activation = "relu" if relu else None
    x = net.image(side, channels)
    for _ in range(blocks):
        y = net.conv(net.conv(x, channels // 4, norm=False, act=act), channels // 4, 3, norm=False, act=act)
        y = net.conv(y, channels, norm=False, act=None)
        y = net.add(x, y) if shortcut else y
        x = net.act(y) if relu else y
    return net.output(x)
