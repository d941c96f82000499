"""AlexNet to Inception v4, and the detectors built on them, from the tables of their papers."""

from roofwright.tools.validate.nets import Map, Net
from roofwright.tools.validate.nets_mobile import inverted_residual, mobilenet_v1, mobilenet_v2

_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
# Szegedy et al., arXiv:1409.4842, table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection; (): pool
_INCEPTION_V1 = (
    (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), (), (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128), (), (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
)  # fmt: skip
_FIRE = ((16, 64), (16, 64), (), (32, 128), (32, 128), (), (48, 192), (48, 192), (64, 256), (64, 256))
_RESNETS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


def alexnet(net: Net) -> Map:
    """Krizhevsky et al., NeurIPS 2012, with its two groups."""
    x = net.pool(net.conv(Map(227, 227, 3), 96, 11, 4, norm=False, same=False), 3, 2, same=False)
    x = net.pool(net.conv(x, 256, 5, groups=2, norm=False), 3, 2, same=False)
    for out, groups in ((384, 1), (384, 2), (256, 2)):
        x = net.conv(x, out, 3, groups=groups, norm=False)
    x = net.pool(x, 3, 2, same=False)
    return net.linear(net.linear(net.linear(x, 4096, act=True), 4096, act=True), 1000)


def vgg16(net: Net) -> Map:
    """Simonyan & Zisserman, arXiv:1409.1556, configuration D."""
    x = Map(224, 224, 3)
    for out in _VGG16:
        x = net.conv(x, out, 3, norm=False) if out else net.pool(x, 2, 2)
    return net.linear(net.linear(net.linear(x, 4096, act=True), 4096, act=True), 1000)


def resnet(net: Net, depth: int) -> Map:
    """He et al., arXiv:1512.03385, table 1."""
    x = net.pool(net.conv(Map(224, 224, 3), 64, 7, 2), 3, 2)
    for stage, blocks in enumerate(_RESNETS[depth]):
        mid = 64 * 2**stage
        for block in range(blocks):
            x = _residual(net, x, mid, 2 if stage and block == 0 else 1, bottleneck=depth >= 50)
    return net.linear(net.mean(x), 1000)


def _residual(net: Net, x: Map, mid: int, stride: int, *, bottleneck: bool) -> Map:
    out = 4 * mid if bottleneck else mid
    y = net.conv(x, mid, 1 if bottleneck else 3, 1 if bottleneck else stride)
    y = net.conv(y, mid, 3, stride if bottleneck else 1, act=bottleneck)
    y = net.conv(y, out, act=False) if bottleneck else y
    if x.c != out or stride > 1:
        net.conv(x, out, 1, stride, act=False)
    return net.elementwise(net.add(y), "act")


def squeezenet(net: Net, *, classes: int = 1000) -> Map:
    """SqueezeNet 1.1 (Iandola et al., arXiv:1602.07360, and its repository)."""
    x = net.pool(net.conv(Map(227, 227, 3), 64, 3, 2, norm=False, same=False), 3, 2, same=False)
    for fire in _FIRE:
        if not fire:
            x = net.pool(x, 3, 2, same=False)
            continue
        y = net.conv(x, fire[0], norm=False)
        x = net.concat(net.conv(y, fire[1], norm=False), net.conv(y, fire[1], 3, norm=False))
    return net.mean(net.conv(x, classes, norm=False)) if classes else x


def inception_v1(net: Net, *, norm: bool = False) -> Map:
    """GoogLeNet."""
    x = net.pool(net.conv(Map(224, 224, 3), 64, 7, 2, norm=norm), 3, 2)
    x = net.pool(net.conv(net.conv(x, 64, norm=norm), 192, 3, norm=norm), 3, 2)
    for row in _INCEPTION_V1:
        if not row:
            x = net.pool(x, 3, 2)
            continue
        one, three_in, three, five_in, five, projected = row
        parts = [net.conv(x, one, norm=norm), net.conv(net.conv(x, three_in, norm=norm), three, 3, norm=norm)]
        parts += [net.conv(net.conv(x, five_in, norm=norm), five, 5, norm=norm)]
        x = net.concat(*parts, net.conv(net.pool(x, 3, 1), projected, norm=norm))
    return net.linear(net.mean(x), 1000)


def inception_v4(net: Net) -> Map:
    """Szegedy et al., arXiv:1602.07261, figures 3 to 9."""
    x = net.conv(Map(299, 299, 3), 32, 3, 2, same=False)
    x = net.conv(net.conv(x, 32, 3, same=False), 64, 3)
    x = net.concat(net.pool(x, 3, 2, same=False), net.conv(x, 96, 3, 2, same=False))
    y = net.conv(net.conv(net.conv(net.conv(x, 64), 64, (7, 1)), 64, (1, 7)), 96, 3, same=False)
    x = net.concat(net.conv(net.conv(x, 64), 96, 3, same=False), y)
    x = net.concat(net.conv(x, 192, 3, 2, same=False), net.pool(x, 3, 2, same=False))
    for _ in range(4):
        deep = net.conv(net.conv(net.conv(x, 64), 96, 3), 96, 3)
        x = net.concat(net.conv(net.pool(x, 3, 1), 96), net.conv(x, 96), net.conv(net.conv(x, 64), 96, 3), deep)
    deep = net.conv(net.conv(net.conv(x, 192), 224, 3), 256, 3, 2, same=False)
    x = net.concat(net.pool(x, 3, 2, same=False), net.conv(x, 384, 3, 2, same=False), deep)
    for _ in range(7):
        wide = net.conv(net.conv(net.conv(x, 192), 224, (1, 7)), 256, (7, 1))
        deep = net.conv(net.conv(net.conv(x, 192), 192, (1, 7)), 224, (7, 1))
        deep = net.conv(net.conv(deep, 224, (1, 7)), 256, (7, 1))
        x = net.concat(net.conv(net.pool(x, 3, 1), 128), net.conv(x, 384), wide, deep)
    deep = net.conv(net.conv(net.conv(net.conv(x, 256), 256, (1, 7)), 320, (7, 1)), 320, 3, 2, same=False)
    x = net.concat(net.pool(x, 3, 2, same=False), net.conv(net.conv(x, 192), 192, 3, 2, same=False), deep)
    for _ in range(3):
        split = net.conv(x, 384)
        pair = [net.conv(split, 256, (1, 3)), net.conv(split, 256, (3, 1))]
        split = net.conv(net.conv(net.conv(x, 384), 448, (1, 3)), 512, (3, 1))
        pair += [net.conv(split, 256, (1, 3)), net.conv(split, 256, (3, 1))]
        x = net.concat(net.conv(net.pool(x, 3, 1), 256), net.conv(x, 256), *pair)
    return net.linear(net.mean(x), 1000)


def ssd(net: Net, backbone: str, size: int = 300, classes: int = 21) -> Map:
    """Single-shot detector heads (Liu et al., arXiv:1512.02325) on a MobileNet: six maps, 3 or 6 boxes each."""
    if backbone == "v1":
        x, middle, kernel = mobilenet_v1(net, size=size, classes=0), 512, 1
    else:
        x, middle, kernel = mobilenet_v2(net, size=size, classes=0), 576, 1
    maps = [Map(2 * x.h - x.h % 2, 2 * x.w - x.w % 2, middle), x]
    for out in (512, 256, 256, 128):
        x = net.conv(net.conv(x, out // 2), out, 3, 2)
        maps.append(x)
    for index, m in enumerate(maps):
        boxes = 3 if index == 0 else 6
        net.conv(m, boxes * 4, kernel, norm=False, act=False)
        net.conv(m, boxes * classes, kernel, norm=False, act=False)
    return x


def yolo_on_mobilenet(net: Net) -> Map:
    """A YOLO v2 head on MobileNet v1 at 416: two separable 1024-channel convolutions and 125 outputs."""
    x = mobilenet_v1(net, size=416, classes=0)
    for _ in range(2):
        x = net.conv(net.depthwise(x), 1024)
    return net.conv(x, 125, norm=False, act=False)


def yolo_v4_tiny(net: Net) -> Map:
    """Wang et al., arXiv:2011.08036: cross-stage partial blocks at 416, heads of 255 channels."""
    x = net.conv(net.conv(Map(416, 416, 3), 32, 3, 2), 64, 3, 2)
    for channels in (64, 128, 256):
        x = net.conv(x, channels, 3)
        half = net.copy(Map(x.h, x.w, channels // 2), "slice")
        y = net.conv(half, channels // 2, 3)
        z = net.conv(net.concat(y, net.conv(y, channels // 2, 3)), channels)
        x = net.pool(net.concat(x, z), 2, 2)
    x = net.conv(net.conv(x, 512, 3), 256)
    net.conv(net.conv(x, 512, 3), 255, norm=False, act=False)
    up = net.conv(x, 128)
    y = net.concat(Map(2 * up.h, 2 * up.w, 128), Map(2 * up.h, 2 * up.w, 256))
    return net.conv(net.conv(y, 256, 3), 255, norm=False, act=False)


def regnety_400m(net: Net) -> Map:
    """Radosavovic et al., arXiv:2003.13678: groups of 8 channels, gates of a quarter of the block's input."""
    x = net.conv(Map(224, 224, 3), 32, 3, 2)
    for out, blocks in ((48, 1), (104, 3), (208, 6), (440, 6)):
        for block in range(blocks):
            stride = 2 if block == 0 else 1
            y = net.conv(net.conv(x, out), out, 3, stride, groups=out // 8)
            y = net.conv(net.squeeze_excite(y, max(8, x.c // 4)), out, act=False)
            if block == 0:
                net.conv(x, out, 1, 2, act=False)
            x = net.elementwise(net.add(y), "act")
    return net.linear(net.mean(x), 1000)


def efficientnet_v2_b0(net: Net) -> Map:
    """Tan & Le, arXiv:2104.00298, the B0 of the authors' repository: fused blocks first, then gated ones."""
    x = net.conv(Map(224, 224, 3), 32, 3, 2, swish=True)
    x = net.conv(x, 16, 3, swish=True)
    for out, blocks, stride in ((32, 2, 2), (48, 2, 2)):
        for block in range(blocks):
            y = net.conv(x, 4 * x.c, 3, stride if block == 0 else 1, swish=True)
            y = net.conv(y, out, act=False)
            x = net.add(y) if y == x else y
    for out, expansion, blocks, stride in ((96, 4, 3, 2), (112, 6, 5, 1), (192, 6, 8, 2)):
        for block in range(blocks):
            step, gates = stride if block == 0 else 1, max(1, x.c // 4)
            x = inverted_residual(net, x, out, expansion * x.c, step, gates=gates, swish=True)
    return net.linear(net.mean(net.conv(x, 1280, swish=True)), 1000)


def blazeface(net: Net) -> Map:
    """Bazarevsky et al., arXiv:1907.05047, table 2: separable 5 x 5 blocks at 128."""
    x = net.conv(Map(128, 128, 3), 24, 5, 2, norm=False)
    single = ((24, 1), (24, 1), (48, 2), (48, 1), (48, 1))
    double = ((96, 2), (96, 1), (96, 1), (96, 2), (96, 1), (96, 1))
    for out, stride in single:
        x = net.add(net.conv(net.depthwise(x, 5, stride, act=False), out, norm=False))
    for out, stride in double:
        y = net.conv(net.depthwise(x, 5, stride, act=False), 24, norm=False)
        x = net.add(net.conv(net.depthwise(y, 5, act=False), out, norm=False))
    net.conv(Map(16, 16, 96), 2 * 17, norm=False, act=False)
    return net.conv(x, 6 * 17, norm=False, act=False)
