"""U-Net with valid convolutions, as published."""

from math import sqrt

import onnx

from roofwright.graph.zoo.layers import concat, conv, conv_relu, pool
from roofwright.graph.zoo.net import Net, Value

_LEVELS = 4


def unet(*, size: int = 572, batch: int = 1, weights: bool = True) -> onnx.ModelProto:
    """U-Net (Ronneberger et al., arXiv:1505.04597, Figure 1): grey image in, two maps out, 184 pixels smaller.

    Args:
        size: of the square input tile in pixels: 188 + 16 n, so that every pooling meets an even size.
        batch: tiles per request.
        weights: False leaves the weights without data.

    Raises:
        ValueError: the size does not fit.
    """
    if size < 188 or (size - 188) % 16:
        raise ValueError(f"a U-Net tile is 188 + 16 n pixels wide, not {size}")
    net = Net("unet", weights=weights)
    x = net.input("input", (batch, 1, size, size))
    skips = []
    for level in range(_LEVELS):
        skips.append(_double(net, x, 64 * 2**level, f"down{level + 1}"))
        x = pool(net, skips[-1], f"down{level + 1}.pool", kernel=2, stride=2)
    x = _double(net, x, 64 * 2**_LEVELS, "bottom")
    for level in reversed(range(_LEVELS)):
        name = f"up{level + 1}"
        x = _up(net, x, f"{name}.up")
        x = concat(net, [_crop(net, skips[level], x.shape[2], f"{name}.crop"), x], f"{name}.concat")
        x = _double(net, x, 64 * 2**level, name)
    return net.output(conv(net, x, 2, "logits"))


def _double(net: Net, x: Value, channels: int, name: str) -> Value:
    """Two valid 3x3 convolutions: four pixels fewer."""
    x = conv_relu(net, x, channels, f"{name}.first", kernel=3, pad=0)
    return conv_relu(net, x, channels, f"{name}.second", kernel=3, pad=0)


def _up(net: Net, x: Value, name: str) -> Value:
    """Twice the size, half the channels: a 2x2 transposed convolution at stride 2."""
    batch, depth, height, width = x.shape
    weight = net.weight(f"{name}.weight", (depth, depth // 2, 2, 2), spread=sqrt(6 / depth))
    bias = net.weight(f"{name}.bias", (depth // 2,), spread=0.1)
    shape = (batch, depth // 2, 2 * height, 2 * width)
    return net.op("ConvTranspose", name, [x, weight, bias], shape, kernel_shape=(2, 2), strides=(2, 2))


def _crop(net: Net, x: Value, size: int, name: str) -> Value:
    """The central pixels of a skip connection."""
    start = (x.shape[2] - size) // 2
    bounds = [
        net.ints(f"{name}.starts", [start] * 2),
        net.ints(f"{name}.ends", [start + size] * 2),
        net.ints(f"{name}.axes", [2, 3]),
    ]
    return net.op("Slice", name, [x, *bounds], (*x.shape[:2], size, size))
