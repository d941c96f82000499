"""Skeletons around convolutions, for tensors [N, C, H, W]: what passes fold, join, move and take out."""

from typing import Any

import numpy as np

from tests.properties.draft import Draft, Invalid


def need(holds: bool) -> None:
    """Give a block up where its input does not suit."""
    if not holds:
        raise Invalid("the input does not suit")


def image(d: Draft, x: str) -> tuple[int, int, int, int]:
    """The sizes of an image."""
    need(d.rank(x) == 4)
    n, c, h, w = d.shape(x)
    return n, c, h, w


def conv(d: Draft, x: str, out: int = 0, kernel: int | None = None, **given: Any) -> str:
    """A convolution of any kind; with `kernel` a plain one of `out` channels."""
    _, c, _, _ = image(d, x)
    plain = kernel is not None
    kernel = d.pick(1, 3, 2) if kernel is None else kernel
    attrs: dict[str, Any] = {"kernel_shape": [kernel, kernel]} if d.pick(True, False) else {}
    if not plain:
        attrs |= d.pick({}, {}, {"group": c}, {"group": 2 if c % 2 == 0 else 1})
        attrs |= d.pick(
            {}, {"pads": [kernel // 2] * 4}, {"strides": [2, 2]}, {"pads": [0, 1, 1, 0]}, {"dilations": [2, 2]},
            {"auto_pad": "SAME_UPPER"}, {"auto_pad": "VALID"}, {"auto_pad": "SAME_LOWER"},
        )  # fmt: skip
    attrs |= given
    group = attrs.get("group", 1)
    out = out or group * d.pick(4, 1, 2, 6) // (1 if group == 1 else max(1, group // 2))
    weight = d.weight(out, c // group, kernel, kernel)
    return d.add("Conv", x, weight, *d.pick((), (d.weight(out),)), **attrs)


def conv_transpose(d: Draft, x: str) -> str:
    """A convolution the other way, grouped too."""
    _, c, _, _ = image(d, x)
    group = d.pick(1, c, 2)
    weight = d.weight(c, d.pick(1, 2), 2, 2)
    bias = d.pick((), (d.weight(group * d.arrays[weight].shape[1]),))
    return d.add("ConvTranspose", x, weight, *bias, group=group, strides=[d.pick(1, 2)] * 2)


def batch_norm(d: Draft, x: str) -> str:
    """A normalization at inference; now and then with a variance that cannot be folded."""
    need(d.rank(x) >= 2)
    c = d.shape(x)[1]
    variance = np.linspace(0.5, 2, c) * d.pick(1, 1, 1, 1e-30, -1e-8, 1e30)
    extra = {"training_mode": d.pick(0, 0)} if d.opset >= 14 else {}
    inputs = (d.weight(c), d.weight(c), d.weight(c), d.const(variance))
    return d.add("BatchNormalization", x, *inputs, epsilon=d.pick(1e-5, 0.0, 1e-3), **extra)


def conv_norm(d: Draft, x: str) -> str:
    """The two in either order, or something between them."""
    first, last = d.pick((conv, batch_norm), (batch_norm, conv), (conv_transpose, batch_norm))
    y = first(d, x)
    made: str = last(d, d.add("Identity", y) if d.rarely() else y)
    return made


def conv_affine(d: Draft, x: str) -> str:
    """A convolution between arithmetic with constants of all shapes."""
    if d.pick(False, True):
        return conv(d, arithmetic(d, x))
    y = arithmetic(d, conv(d, x))
    return arithmetic(d, y) if d.pick(False, True) else y


def arithmetic(d: Draft, x: str) -> str:
    """One operation with a constant on either side."""
    op = d.pick("Mul", "Add", "Sub", "Div")
    constant = d.broadcast(x)
    if op == "Div" and d.dtype.kind in "iu":
        d.arrays[constant] = np.maximum(np.abs(d.arrays[constant]), 1)
    return d.add(op, *d.pick((x, constant), (x, constant), (constant, x)))


def padded(d: Draft, x: str) -> str:
    """Pad in front of what has padding itself."""
    image(d, x)
    x = d.add("Relu", x) if d.pick(False, True) else x
    pads = d.pick(
        [0, 0, 1, 1, 0, 0, 1, 1], [0, 0, 0, 1, 0, 0, 1, 0], [0, 1, 0, 0, 0, 0, 0, 0], [0, 0, -1, 0, 0, 0, 1, 1],
        [1, 0, 0, 0, 0, 0, 0, 0], [0] * 8,
    )  # fmt: skip
    x = d.pad(x, pads, d.pick(0.0, 0.0, 1.0, -np.inf, -3e38, -0.0), d.pick("constant", "constant", "edge", "reflect"))
    made: str = d.pick(conv, pool, pool)(d, x)
    return made


def pool(d: Draft, x: str) -> str:
    """Average or maximum, in windows or over everything."""
    image(d, x)
    op = d.pick("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool")
    if op.startswith("Global"):
        return d.add(op, x)
    attrs: dict[str, Any] = d.pick({}, {"pads": [1, 1, 1, 1]}, {"strides": [2, 2]}, {"auto_pad": "SAME_UPPER"})
    if op == "AveragePool":
        attrs = attrs | d.pick({}, {"count_include_pad": 1})
    if d.opset >= 10:
        attrs = attrs | d.pick({}, {}, {"ceil_mode": 1})
    return d.add(op, x, kernel_shape=[d.pick(2, 3, 1)] * 2, **attrs)


def shuffle(d: Draft, x: str) -> str:
    """A shuffle of channels between convolutions, or nearly one."""
    if d.pick(True, False):
        x = conv(d, x, 4 * d.pick(1, 2), 1)
    n, c, h, w = image(d, x)
    groups = d.pick(2, 1, 3, c)
    need(groups > 0 and c % max(groups, 1) == 0)
    y = d.reshape(x, n, groups, c // groups, h, w)
    y = d.add("Transpose", y, perm=d.pick([0, 2, 1, 3, 4], [0, 2, 1, 3, 4], [0, 1, 2, 4, 3], [0, 2, 1, 4, 3]))
    y = d.reshape(y, *d.pick((n, c, h, w), (0, -1, h, w), (n, -1, w, h)))
    y = d.add("Relu", y) if d.pick(False, True) else y
    if d.pick(False, True):
        a, b = d.split(y, (c // 2, c - c // 2), 1)
        y = d.add("Concat", d.pick(a, b), conv(d, b, 2, 1), axis=1)
    return conv(d, y, 4, 1) if d.pick(True, False) else y


def siblings(d: Draft, x: str) -> str:
    """Several convolutions of one tensor, joined by a Concat or a sum, or left apart."""
    kernel, out = d.pick(1, 3), d.pick(2, 3)
    branches = [conv(d, x, out + d.pick(0, 0, at), kernel) for at in range(d.pick(2, 3))]
    op = d.pick("", "Relu", "Sigmoid")
    branches = [d.add(op, y) if op and not d.rarely() else y for y in branches]
    if d.pick(True, False):
        return d.add("Concat", *branches, *d.pick((), (), (x,), branches[:1]), axis=1)
    return d.sum(branches[0], branches[-1])


def chain(d: Draft, x: str) -> str:
    """Linear operators one behind the other, or beside each other (RepVGG)."""
    _, c, _, _ = image(d, x)
    if d.pick(True, False):
        return conv(d, conv(d, x, c, 1), c, d.pick(1, 3), **d.pick({}, {"pads": [1] * 4}, {"strides": [2, 2]}))
    wide, small = conv(d, x, c, 3, pads=[1] * 4), conv(d, x, c, 1)
    y = d.sum(wide, d.pick(small, x, wide))
    return d.sum(y, batch_norm(d, x)) if d.pick(False, True) else y


def dead_channels(d: Draft, x: str) -> str:
    """A convolution with rows of zeros, and what reads it."""
    _, c, _, _ = image(d, x)
    rows = np.random.default_rng(c).standard_normal((4, c, 1, 1))
    rows[:: d.pick(2, 1, 3)] = 0
    y = d.add("Conv", x, d.const(rows), *d.pick((), (d.weight(4),)))
    for _ in range(d.pick(0, 1, 2)):
        y = d.pick(activation, arithmetic, pool, batch_norm)(d, y)
    y = d.add("Concat", y, *d.pick((), (x,)), axis=1) if d.pick(False, True) else y
    return conv(d, y) if d.pick(True, False) else d.sum(y, conv(d, x, 4, 1))


def ghost(d: Draft, x: str) -> str:
    """GhostNet's module: a convolution and a cheap depthwise one of its result, together."""
    a = d.add("Relu", conv(d, x, 4, 1))
    b = conv(d, a, 4, d.pick(3, 1), group=4, pads=d.pick([1] * 4, [0] * 4))
    b = d.add("Relu", b) if d.pick(True, False) else b
    return d.add("Concat", *d.pick((a, b), (b, a), (a, a)), axis=1)


def joined(d: Draft, x: str) -> str:
    """A scale and shift behind a Concat or a pooling."""
    y = d.add("Concat", conv(d, x, 2, 1), d.pick(conv(d, x, 3, 1), x), axis=1) if d.pick(True, False) else conv(d, x)
    y = pool(d, y) if d.pick(False, True) else y
    made: str = d.pick(batch_norm, arithmetic)(d, y)
    return made


def excited(d: Draft, x: str) -> str:
    """Squeeze and excitation."""
    _, c, _, _ = image(d, x)
    y = d.add("GlobalAveragePool", x) if d.pick(True, False) else d.add("ReduceMean", x, axes=[2, 3])
    return d.product(x, d.add(d.pick("Sigmoid", "HardSigmoid"), conv(d, d.add("Relu", conv(d, y, 2, 1)), c, 1)))


def activation(d: Draft, x: str) -> str:
    """An activation of one operand."""
    op = d.pick("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "Abs", "PRelu", "Clip")
    if op == "PRelu":
        return d.add(op, x, d.broadcast(x) if d.pick(False, True) else d.number(0.25))
    if op == "Clip":
        return d.clip(x, *d.pick((0.0, 6.0), (None, 1.0), (-1.0, None), (3.0, -3.0), (None, None)))
    return d.add(op, x, **d.pick({}, {"alpha": 0.3} if op in ("LeakyRelu", "HardSigmoid") else {}))


IMAGES = (
    conv, conv_norm, conv_affine, batch_norm, arithmetic, padded, pool, shuffle, siblings, chain, dead_channels, ghost,
    joined, excited, conv_transpose, activation,
)  # fmt: skip
