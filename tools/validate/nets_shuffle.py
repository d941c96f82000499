"""ShuffleNets and the networks that the ShuffleNet V2 paper (arXiv:1807.11164) compares them with.

The paper's own Xception-like, DenseNet and CondenseNet variants were not published in detail: they are built from its
stages with the channel count (or growth) that gives the multiply-accumulates it states.
"""

from collections.abc import Callable

from roofwright.tools.validate.nets import Map, Net
from roofwright.tools.validate.nets_mobile import mobilenet_v2

_V1_CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # Zhang et al., arXiv:1707.01083, table 1, stage 2
_V2_CHANNELS = {  # Ma et al., arXiv:1807.11164, table 5
    0.5: (48, 96, 192, 1024), 1.0: (116, 232, 464, 1024), 1.5: (176, 352, 704, 1024), 2.0: (244, 488, 976, 2048)
}  # fmt: skip
_STAGES = (4, 8, 4)


def _stem(net: Net, channels: int = 24, size: int = 224) -> Map:
    return net.pool(net.conv(Map(size, size, 3), channels, 3, 2), 3, 2)


def shufflenet_v1(net: Net, width: float = 1.0, groups: int = 3) -> Map:
    """Zhang et al.: pointwise group convolutions with a channel shuffle between them."""
    x = _stem(net, int(24 * width) if width >= 1 else 24)
    for stage, repeats in enumerate(_STAGES):
        out = int(_V1_CHANNELS[groups] * width) * 2**stage // groups * groups
        for block in range(repeats):
            x = _unit_v1(net, x, out, groups, down=block == 0, first=stage == 0 and block == 0)
    return net.linear(net.mean(x), 1000)


def _unit_v1(net: Net, x: Map, out: int, groups: int, *, down: bool, first: bool) -> Map:
    new = out - x.c if down else out
    mid = max(groups, out // 4 // groups * groups)
    y = net.copy(net.conv(x, mid, groups=1 if first else groups), "shuffle")
    y = net.depthwise(y, 3, 2 if down else 1, act=False)
    y = net.conv(y, new, groups=groups if new % groups == 0 else 1, act=False)
    if not down:
        return net.elementwise(net.add(y), "act")
    return net.elementwise(net.concat(net.pool(x, 3, 2), y), "act")


def shufflenet_v2(net: Net, width: float = 1.0) -> Map:
    """Ma et al.: split, one branch of 1x1, depthwise, 1x1, concatenate and shuffle."""
    *stages, last = _V2_CHANNELS[width]
    x = _stem(net)
    for out, repeats in zip(stages, _STAGES, strict=True):
        left = net.conv(net.depthwise(x, 3, 2, act=False), out // 2)
        x = net.copy(net.concat(left, _branch_v2(net, x, out // 2, 2)), "shuffle")
        for _ in range(repeats - 1):
            half = Map(x.h, x.w, out // 2)
            net.copy(net.concat(half, _branch_v2(net, half, out // 2, 1)), "shuffle")
    return net.linear(net.mean(net.conv(x, last)), 1000)


def _branch_v2(net: Net, x: Map, out: int, stride: int) -> Map:
    return net.conv(net.depthwise(net.conv(x, out), 3, stride, act=False), out)


def xception_like(net: Net, channels: int) -> Map:
    """Li et al., arXiv:1711.07264, table 1: residual units of three separable convolutions, c/4, c/4, c.

    A separable convolution has no normalization inside (Chollet, arXiv:1610.02357).
    """
    x = _stem(net)
    for stage, repeats in enumerate(_STAGES):
        out = channels * 2**stage
        for block in range(repeats):
            stride = 2 if block == 0 else 1
            y = net.conv(net.depthwise(x, 3, stride, norm=False, act=False), out // 4)
            y = net.conv(net.depthwise(y, norm=False, act=False), out // 4)
            y = net.conv(net.depthwise(y, norm=False, act=False), out, act=False)
            if block == 0:
                net.conv(x, out, 1, 2, act=False)
            x = net.elementwise(net.add(y), "act")
    return net.linear(net.mean(x), 1000)


def densenet_like(net: Net, growth: int, groups: int = 1) -> Map:
    """DenseNet-BC blocks (Huang et al., arXiv:1608.06993) in the stages of ShuffleNet, as that paper says.

    With groups it stands for CondenseNet (Huang et al., arXiv:1711.09224), whose index layers reorder every input.
    """
    x = _stem(net)
    for stage, layers in enumerate(_STAGES):
        x = net.pool(net.conv(x, 2 * growth * 2**stage), 2, 2)
        for _ in range(layers):
            net.elementwise(net.elementwise(x, "norm"), "act")
            if groups > 1:
                net.copy(x, "index")
            y = net.conv(x, 4 * growth, groups=groups if x.c % groups == 0 else 1)
            y = net.conv(y, growth, 3, groups=groups if growth % groups == 0 else 1, norm=False, act=False)
            x = net.concat(x, y)
    return net.linear(net.mean(net.conv(x, 1024)), 1000)


def igcv2(net: Net, channels: int) -> Map:
    """Xie et al., arXiv:1804.06202: MobileNet v1 whose 1 x 1 convolutions are two complementary group convolutions."""
    x = net.conv(Map(224, 224, 3), channels, 3, 2)
    plan = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *((16, 1),) * 5, (32, 2), (32, 1))
    for factor, stride in plan:
        out = channels * factor
        y = net.copy(net.depthwise(x, 3, stride), "shuffle")
        y = net.copy(net.conv(y, out, groups=y.c // 8, act=False), "shuffle")
        x = net.conv(y, out, groups=8)
    return net.linear(net.mean(x), 1000)


def sized(build: Callable[[Net, int], Map], macs: float, options: range, batch: int) -> Net:
    """The network of the family whose multiply-accumulates per sample are nearest to `macs`."""
    built = []
    for option in options:
        net = Net(batch)
        build(net, option)
        built.append(net)
    return min(built, key=lambda net: abs(net.macs / batch - macs))


def igcv3(net: Net, width: float) -> Map:
    """IGCV3-D: twice the blocks of MobileNet v2, its pointwise convolutions in two groups."""
    return mobilenet_v2(net, width, depth=2, groups=2)
