"""MobileNets and their searched descendants, from the tables of their papers."""

from roofwright.tools.validate.nets import Map, Net, rounded

# (expansion, channels, repeats, stride, kernel): Sandler et al., arXiv:1801.04381, table 2
_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# (kernel, expanded, out, squeeze-excite, hard swish, stride): Howard et al., arXiv:1905.02244, tables 1 and 2
_V3_LARGE = (
    (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2), (5, 120, 40, 1, 0, 1),
    (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1),
    (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1), (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1),
    (5, 960, 160, 1, 1, 1),
)  # fmt: skip
_V3_SMALL = (
    (3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2), (5, 240, 40, 1, 1, 1),
    (5, 240, 40, 1, 1, 1), (5, 120, 48, 1, 1, 1), (5, 144, 48, 1, 1, 1), (5, 288, 96, 1, 1, 2), (5, 576, 96, 1, 1, 1),
    (5, 576, 96, 1, 1, 1),
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


def mobilenet_v1(net: Net, width: float = 1.0, size: int = 224, *, classes: int = 1000) -> Map:
    """Howard et al., arXiv:1704.04861, table 1; `classes` 0 leaves the last feature map."""
    x = net.conv(Map(size, size, 3), rounded(32 * width), 3, 2)
    plan = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
    for channels, stride in plan:
        x = net.conv(net.depthwise(x, 3, stride), rounded(channels * width))
    return net.linear(net.mean(x), classes) if classes else x


def inverted_residual(
    net: Net, x: Map, out: int, expanded: int, stride: int, kernel: int = 3, *, groups: int = 1, gates: int = 0,
    swish: bool = False,
) -> Map:  # fmt: skip
    """Expand, depthwise, project; added to the input where the shapes agree; `gates`: squeeze-excite width."""
    y = net.conv(x, expanded, groups=groups, swish=swish) if expanded != x.c else x
    y = net.depthwise(y, kernel, stride, swish=swish)
    if gates:
        y = net.squeeze_excite(y, gates)
    y = net.conv(y, out, groups=groups, act=False)
    return net.add(y) if y == x else y


def mobilenet_v2(
    net: Net, width: float = 1.0, size: int = 224, *, depth: int = 1, groups: int = 1, classes: int = 1000
) -> Map:
    """Sandler et al.; with `depth` 2 and `groups` 2 it is IGCV3-D (Sun et al., arXiv:1806.00178)."""
    x = net.conv(Map(size, size, 3), rounded(32 * width), 3, 2)
    for expansion, channels, repeats, stride in _V2:
        times = repeats * depth if stride == 2 or repeats > 1 else repeats
        for block in range(times):
            parts = groups if expansion > 1 else 1
            step = stride if block == 0 else 1
            x = inverted_residual(net, x, rounded(channels * width), x.c * expansion, step, groups=parts)
    x = net.conv(x, max(1280, rounded(1280 * width)))
    return net.linear(net.mean(x), classes) if classes else x


def mobilenet_v3(
    net: Net, version: str = "large", width: float = 1.0, size: int = 224, *, minimalistic: bool = False
) -> Map:
    """Howard et al.; minimalistic nets have 3 x 3 filters, ReLU and no gates (their README)."""
    rows, last, head = (_V3_LARGE, 960, 1280) if version == "large" else (_V3_SMALL, 576, 1024)
    x = net.conv(Map(size, size, 3), rounded(16 * width), 3, 2, swish=not minimalistic)
    for kernel, expanded, out, gated, swish, stride in rows:
        wide = rounded(expanded * width)
        gates = rounded(wide / 4) if gated and not minimalistic else 0
        kernel = 3 if minimalistic else kernel
        act = bool(swish) and not minimalistic
        x = inverted_residual(net, x, rounded(out * width), wide, stride, kernel, gates=gates, swish=act)
    x = net.conv(x, rounded(last * width), swish=not minimalistic)
    return net.linear(net.linear(net.mean(x), head, act=True), 1000)


def searched(net: Net, name: str) -> Map:
    """MnasNet-B1, ProxylessNAS mobile, EfficientNet-B0."""
    rows, first, gated = {
        "mnasnet": (_MNAS_B1, (32, 16), 0),
        "proxylessnasnet": (_PROXYLESS, (32, 16), 0),
        "efficientnet_b0": (_EFFICIENT_B0, (32, 16), 1),
    }[name]
    x = net.conv(Map(224, 224, 3), first[0], 3, 2, swish=bool(gated))
    x = inverted_residual(net, x, first[1], x.c, 1, gates=8 * gated, swish=bool(gated))
    for expansion, channels, repeats, stride, kernel in rows:
        for block in range(repeats):
            gates, step = gated * max(1, x.c // 4), stride if block == 0 else 1
            x = inverted_residual(net, x, channels, x.c * expansion, step, kernel, gates=gates, swish=bool(gated))
    return net.linear(net.mean(net.conv(x, 1280, swish=bool(gated))), 1000)
