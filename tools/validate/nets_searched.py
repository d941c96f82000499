"""Networks of inverted residuals that the zoo does not have: searched ones, scaled ones, and IGCV3."""

import onnx

from roofwright.graph.zoo import Value
from roofwright.tools.validate.nets import Activation, Net, inverted_residual

Stage = tuple[int, int, int, int]  # expansion, channels, repeats, stride
# Sandler et al., arXiv:1801.04381, table 2
MOBILENET_V2: tuple[Stage, ...] = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
)  # fmt: skip
# (expansion, channels, repeats, stride, kernel)
_MNAS_B1 = (  # Tan et al., arXiv:1807.11626
    (3, 24, 3, 2, 3), (3, 40, 3, 2, 5), (6, 80, 3, 2, 5), (6, 96, 2, 1, 3), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)
)  # fmt: skip
_PROXYLESS = (  # Cai et al., arXiv:1812.00332, figure 4 (mobile), kernels and expansions at their stage's mean
    (3, 32, 2, 2, 5), (4, 40, 4, 2, 5), (5, 80, 4, 2, 6), (4, 96, 4, 1, 5), (5, 192, 4, 2, 7), (6, 320, 1, 1, 7)
)  # fmt: skip
_EFFICIENT_B0 = (  # Tan & Le, arXiv:1905.11946, table 1
    (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)
)  # fmt: skip


def stages(
    net: Net, x: Value, plan: tuple[Stage, ...], *, width: float = 1.0, deeper: int = 1, groups: int = 1
) -> Value:
    """Stages of MobileNet V2, their blocks repeated `deeper` times, pointwise convolutions in groups."""
    for expansion, channels, repeats, stride in plan:
        for block in range(repeats * deeper if stride == 2 or repeats > 1 else repeats):
            parts, step = groups if expansion > 1 else 1, stride if block == 0 else 1
            x = inverted_residual(net, x, _rounded(channels * width), x.channels * expansion, step, groups=parts)
    return x


def igcv3(width: float, batch: int) -> onnx.ModelProto:
    """IGCV3-D (Sun et al., arXiv:1806.00178): twice the blocks of MobileNet V2, pointwise convolutions in 2 groups."""
    net = Net(batch)
    x = net.conv(net.image(224), _rounded(32 * width), 3, 2)
    x = net.conv(stages(net, x, MOBILENET_V2, width=width, deeper=2, groups=2), max(1280, _rounded(1280 * width)))
    return net.output(net.linear(net.mean(x), 1000))


def searched(name: str, batch: int = 1) -> onnx.ModelProto:
    """MnasNet-B1, ProxylessNAS mobile, EfficientNet-B0."""
    gated = int(name == "efficientnet_b0")
    act: Activation = "swish" if gated else "relu"
    rows = {"mnasnet": _MNAS_B1, "proxylessnasnet": _PROXYLESS, "efficientnet_b0": _EFFICIENT_B0}[name]
    net = Net(batch)
    x = net.conv(net.image(224), 32, 3, 2, act=act)
    x = inverted_residual(net, x, 16, x.channels, 1, gates=8 * gated, act=act)
    for expansion, channels, repeats, stride, kernel in rows:
        for block in range(repeats):
            gates, step = gated * max(1, x.channels // 4), stride if block == 0 else 1
            x = inverted_residual(net, x, channels, x.channels * expansion, step, kernel, gates=gates, act=act)
    return net.output(net.linear(net.mean(net.conv(x, 1280, act=act)), 1000))


def efficientnet_v2_b0(batch: int = 1) -> onnx.ModelProto:
    """Tan & Le, arXiv:2104.00298, the B0 of the authors' repository: fused blocks first, then gated ones."""
    net = Net(batch)
    x = net.conv(net.image(224), 32, 3, 2, act="swish")
    x = net.conv(x, 16, 3, act="swish")
    for out, blocks, stride in ((32, 2, 2), (48, 2, 2)):
        for block in range(blocks):
            y = net.conv(x, 4 * x.channels, 3, stride if block == 0 else 1, act="swish")
            y = net.conv(y, out, act=None)
            x = net.add(x, y) if y.shape == x.shape else y
    for out, expansion, blocks, stride in ((96, 4, 3, 2), (112, 6, 5, 1), (192, 6, 8, 2)):
        for block in range(blocks):
            step, gates = stride if block == 0 else 1, max(1, x.channels // 4)
            x = inverted_residual(net, x, out, expansion * x.channels, step, gates=gates, act="swish")
    return net.output(net.linear(net.mean(net.conv(x, 1280, act="swish")), 1000))


def regnety_400m(batch: int = 1) -> onnx.ModelProto:
    """Radosavovic et al., arXiv:2003.13678: groups of 8 channels, gates of a quarter of the block's input."""
    net = Net(batch)
    x = net.conv(net.image(224), 32, 3, 2)
    for out, blocks in ((48, 1), (104, 3), (208, 6), (440, 6)):
        for block in range(blocks):
            stride = 2 if block == 0 else 1
            y = net.conv(net.conv(x, out), out, 3, stride, groups=out // 8)
            y = net.conv(net.squeeze_excite(y, max(8, x.channels // 4)), out, act=None)
            shortcut = net.conv(x, out, 1, 2, act=None) if block == 0 else x
            x = net.act(net.add(shortcut, y))
    return net.output(net.linear(net.mean(x), 1000))


def _rounded(channels: float, divisor: int = 8) -> int:
    """Channels to the nearest multiple, at most 10 % fewer than asked (MobileNet's rule)."""
    down = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return down + divisor if down < 0.9 * channels else down
