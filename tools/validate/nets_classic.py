"""AlexNet, Inception v4, BlazeFace, and the detectors built on MobileNets, from the tables of their papers."""

import onnx

from roofwright.graph import zoo
from roofwright.graph.zoo import Value
from roofwright.tools.validate.nets import Net
from roofwright.tools.validate.nets_searched import MOBILENET_V2, stages


def alexnet(batch: int = 1) -> onnx.ModelProto:
    """Krizhevsky et al., NeurIPS 2012, with its two groups."""
    net = Net(batch)
    x = net.pool(net.conv(net.image(227), 96, 11, 4, norm=False, same=False), 3, 2, same=False)
    x = net.pool(net.conv(x, 256, 5, groups=2, norm=False), 3, 2, same=False)
    for out, groups in ((384, 1), (384, 2), (256, 2)):
        x = net.conv(x, out, 3, groups=groups, norm=False)
    x = net.linear(net.linear(net.pool(x, 3, 2, same=False), 4096, act="relu"), 4096, act="relu")
    return net.output(net.linear(x, 1000))


def inception_v4(batch: int = 1) -> onnx.ModelProto:
    """Szegedy et al., arXiv:1602.07261, figures 3 to 9."""
    net = Net(batch)
    x = _stem_v4(net)
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
    return net.output(net.linear(net.mean(x), 1000))


def _stem_v4(net: Net) -> Value:
    x = net.conv(net.image(299), 32, 3, 2, same=False)
    x = net.conv(net.conv(x, 32, 3, same=False), 64, 3)
    x = net.concat(net.pool(x, 3, 2, same=False), net.conv(x, 96, 3, 2, same=False))
    y = net.conv(net.conv(net.conv(net.conv(x, 64), 64, (7, 1)), 64, (1, 7)), 96, 3, same=False)
    x = net.concat(net.conv(net.conv(x, 64), 96, 3, same=False), y)
    return net.concat(net.conv(x, 192, 3, 2, same=False), net.pool(x, 3, 2, same=False))


def ssd_v1(size: int = 300, classes: int = 21, batch: int = 1) -> onnx.ModelProto:
    """Single-shot detector heads (Liu et al., arXiv:1512.02325) on MobileNet V1."""
    net = Net(batch)
    maps = zoo.mobilenet_v1_layers(net, net.image(size))
    return _heads(net, [maps[11], maps[-1]], classes, kernel=1)


def ssd_v2(size: int = 300, classes: int = 21, batch: int = 1) -> onnx.ModelProto:
    """The same on MobileNet V2, whose first map is the expansion of the first block at the coarsest size."""
    net = Net(batch)
    x = stages(net, net.conv(net.image(size), 32, 3, 2), MOBILENET_V2[:5])
    middle = net.conv(x, 576)
    x = net.conv(net.depthwise(middle, 3, 2), 160, act=None)
    x = stages(net, x, ((6, 160, 2, 1), (6, 320, 1, 1)))
    return _heads(net, [middle, net.conv(x, 1280)], classes, kernel=1)


def _heads(net: Net, maps: list[Value], classes: int, kernel: int) -> onnx.ModelProto:
    """Four more maps, and 3 or 6 boxes at every pixel of all six."""
    for out in (512, 256, 256, 128):
        maps.append(net.conv(net.conv(maps[-1], out // 2), out, 3, 2))
    found = []
    for index, m in enumerate(maps):
        boxes = 3 if index == 0 else 6
        found.append(net.conv(m, boxes * 4, kernel, norm=False, act=None))
        found.append(net.conv(m, boxes * classes, kernel, norm=False, act=None))
    return net.output(*found)


def yolo_on_mobilenet(batch: int = 1) -> onnx.ModelProto:
    """A YOLO v2 head on MobileNet V1 at 416: two separable 1024-channel convolutions and 125 outputs."""
    net = Net(batch)
    *_, x = zoo.mobilenet_v1_layers(net, net.image(416))
    for _ in range(2):
        x = net.conv(net.depthwise(x), 1024)
    return net.output(net.conv(x, 125, norm=False, act=None))


def yolo_v4_tiny(batch: int = 1) -> onnx.ModelProto:
    """Wang et al., arXiv:2011.08036: cross-stage partial blocks at 416, heads of 255 channels."""
    net = Net(batch)
    x = net.conv(net.conv(net.image(416), 32, 3, 2), 64, 3, 2)
    finer = x
    for channels in (64, 128, 256):
        x = net.conv(x, channels, 3)
        y = net.conv(net.half(x), channels // 2, 3)
        finer = net.conv(net.concat(y, net.conv(y, channels // 2, 3)), channels)
        x = net.pool(net.concat(x, finer), 2, 2)
    x = net.conv(net.conv(x, 512, 3), 256)
    coarse = net.conv(net.conv(x, 512, 3), 255, norm=False, act=None)
    y = net.concat(net.upsample(net.conv(x, 128)), finer)
    return net.output(coarse, net.conv(net.conv(y, 256, 3), 255, norm=False, act=None))


def blazeface(batch: int = 1) -> onnx.ModelProto:
    """Bazarevsky et al., arXiv:1907.05047, table 2: separable 5 x 5 blocks at 128."""
    net = Net(batch)
    x = net.conv(net.image(128), 24, 5, 2, norm=False)
    for out, stride in ((24, 1), (24, 1), (48, 2), (48, 1), (48, 1)):
        x = _blaze(net, x, net.depthwise(x, 5, stride, act=None), out)
    maps = []
    for out, stride in ((96, 2), (96, 1), (96, 1), (96, 2), (96, 1), (96, 1)):
        y = net.conv(net.depthwise(x, 5, stride, act=None), 24, norm=False)
        x = _blaze(net, x, net.depthwise(y, 5, act=None), out)
        maps.append(x)
    return net.output(*(net.conv(m, n * 17, norm=False, act=None) for m, n in ((maps[2], 2), (maps[-1], 6))))


def _blaze(net: Net, x: Value, filtered: Value, out: int) -> Value:
    """Back to `out` channels; added to the input where the shapes agree."""
    y = net.conv(filtered, out, norm=False)
    return net.add(x, y) if x.shape == y.shape else y
