"""Composites as exporters write them out, activations in pieces, with the constants and forms nearly right."""

import numpy as np

from tests.properties.blocks_images import need
from tests.properties.draft import Draft


def gelu(d: Draft, x: str) -> str:
    """With the error function or one of its approximations, in any association."""
    form = d.pick("erf", "tanh", "sigmoid")
    if form == "erf":
        inner = d.add("Div", x, d.number(2**0.5)) if d.pick(True, False) else d.product(x, d.number(0.5**0.5))
        gate = d.sum(d.add("Erf", inner), d.number(1.0))
    elif form == "tanh":
        cube = d.add("Pow", x, d.number(3.0)) if d.pick(True, False) else d.product(x, d.product(x, x))
        inner = d.product(d.sum(x, d.product(cube, d.number(0.044715))), d.number((2 / np.pi) ** 0.5))
        gate = d.sum(d.add("Tanh", inner), d.number(1.0))
    else:
        return d.product(x, d.add("Sigmoid", d.product(x, d.number(1.702))))
    if d.pick(True, False):
        return d.product(d.product(x, gate), d.number(0.5))
    return d.product(d.product(x, d.number(0.5)), gate)


def smooth(d: Draft, x: str) -> str:
    """Silu, Mish, and products of an activation with its input."""
    if d.pick(True, False):
        return d.product(x, d.add(d.pick("Sigmoid", "Tanh", "HardSigmoid"), x))
    return d.product(x, d.add("Tanh", d.add("Softplus", x)))


def hard_swish(d: Draft, x: str) -> str:
    """x * Clip(x + 3, 0, 6) / 6 in any order, or its gate alone."""
    inner = d.clip(d.sum(x, d.number(3.0)), *d.pick((0.0, 6.0), (0.0, 6.0), (0.0, 5.0), (-0.5, 6.0)))
    sixth = d.pick(("Div", 6.0), ("Mul", 1 / 6))
    order = d.pick("gate", "product", "alone")
    if order == "product":
        return d.add(sixth[0], d.product(x, inner), d.number(sixth[1]))
    gate = d.add(sixth[0], inner, d.number(sixth[1]))
    return gate if order == "alone" else d.product(x, gate)


def clips(d: Draft, x: str) -> str:
    """Activations with bounds, one behind the other."""
    bounds = (0.0, 6.0, -1.0, 1.0, np.inf, -np.inf, -0.0)
    for _ in range(d.pick(2, 3)):
        op = d.pick("Relu", "Clip", "Max", "Min")
        if op == "Relu":
            x = d.add("Relu", x)
        elif op == "Clip":
            x = d.clip(x, d.pick(None, *bounds), d.pick(None, *bounds))
        else:
            x = d.add(op, *d.pick((x, d.number(d.pick(*bounds))), (d.number(d.pick(*bounds)), x)))
    return x


def leaky(d: Draft, x: str) -> str:
    """Activations as a maximum."""
    slope = d.number(d.pick(0.1, 1.0, -1.0, 2.0, 0.0))
    other = d.pick(d.product(x, slope), d.add("Neg", x))
    return d.add(d.pick("Max", "Max", "Min"), *d.pick((x, other), (other, x)))


def layer_norm(d: Draft, x: str) -> str:
    """Layer or RMS normalization over the last axes, perhaps in another type."""
    need(d.rank(x) >= 2)
    axes = d.pick([-1], [d.rank(x) - 1], [-2, -1], [1], [2, 3] if d.rank(x) == 4 else [0])
    keep = d.pick(1, 1, 1, 0)
    centred = x if d.pick(False, True) else d.add("Sub", x, d.add("ReduceMean", x, axes=axes, keepdims=keep))
    square = d.pick("Pow", "Mul")
    squares = d.add("Pow", centred, d.number(2.0)) if square == "Pow" else d.product(centred, centred)
    safe = d.sum(d.add("ReduceMean", squares, axes=axes), d.number(d.pick(1e-5, 0.1)))
    root = d.add("Sqrt", safe) if d.pick(True, False) else d.add("Pow", safe, d.number(0.5))
    form = d.pick("Div", "Reciprocal", "one over")
    if form == "Div":
        y = d.add("Div", centred, root)
    else:
        inverse = d.add("Reciprocal", root) if form == "Reciprocal" else d.add("Div", d.number(1.0), root)
        y = d.product(centred, inverse)
    for op in ("Mul", "Add"):
        if d.pick(True, False):
            size = d.shape(x)
            shape = d.pick(size[-1:], size[-1:], size[-2:], (1, *size[1:2], *(1,) * (len(size) - 2)), (), size)
            y = d.add(op, y, d.weight(*shape))
    return y


def in_wide(d: Draft, x: str) -> str:
    """A normalization with a Cast in front and the one back behind."""
    need(d.dtype.kind == "f")
    wide = 1 if d.dtype == np.float16 else 11
    y = layer_norm_of(d, d.add("Cast", x, to=wide))
    return d.add("Cast", y, to={"float16": 10, "float32": 1, "float64": 11}[d.dtype.name])


def layer_norm_of(d: Draft, x: str) -> str:
    """The plain form, in the type that the tensor has."""
    squares = d.add("Mul", x, x)
    mean = d.add("ReduceMean", squares, axes=[-1], keepdims=1)
    return d.add("Div", x, d.add("Sqrt", mean))


def group_norm(d: Draft, x: str) -> str:
    """Normalization of groups of channels."""
    need(d.rank(x) == 4)
    n, c, h, w = d.shape(x)
    groups = d.pick(2, 1, c)
    need(groups > 0 and c % max(1, groups) == 0)
    y = d.reshape(x, *d.pick((n, groups, -1), (0, groups, -1)))
    scale, shift = (d.const(np.full(groups, value)) for value in d.pick((1, 0), (1, 0), (2, 1)))
    y = d.add("InstanceNormalization", y, scale, shift, epsilon=d.pick(1e-5, 0.1))
    y = d.reshape(y, n, c, h, w)
    return d.add("Add", d.add("Mul", y, d.weight(c, 1, 1)), d.weight(*d.pick((c, 1, 1), (1, c, 1, 1), (1, 1, w))))


def softmax(d: Draft, x: str) -> str:
    """Exponentials divided by their sum."""
    axis = d.pick(-1, -1, 0, 1)
    need(-1 <= axis < d.rank(x))
    shifted = d.add("Sub", x, d.add("ReduceMax", x, axes=[axis])) if d.pick(True, True, False) else x
    e = d.add("Exp", shifted)
    return d.add("Div", e, d.add("ReduceSum", e, axes=[d.pick(axis, axis, axis, 0)]))


def rotary(d: Draft, x: str) -> str:
    """Rotary positions, or nearly: halves, signs and tables."""
    need(d.rank(x) == 4)
    _, _, s, w = d.shape(x)
    need(w % 2 == 0)
    left, right = d.slice(x, 0, w // 2, 3), d.slice(x, w // 2, d.pick(w, 2**31 - 1), 3)
    turned = d.add("Concat", *d.pick((d.add("Neg", right), left), (right, d.add("Neg", left)), (left, right)), axis=-1)
    angles = np.outer(np.arange(s), np.linspace(0.1, 1, max(1, w // 2)))[:, : w // 2]
    tables = [np.concatenate([f(angles)] * 2, 1) for f in (np.cos, np.sin)]
    if d.rarely():
        tables[1] = tables[1][:, ::-1]
    cos, sin = (d.const(table[None, None]) for table in tables)
    return d.sum(d.product(x, cos), d.product(turned, sin))


def division(d: Draft, x: str) -> str:
    """Reciprocals and divisions by powers of two."""
    if d.pick(True, False):
        return d.add("Div", x, d.number(d.pick(8.0, 0.25, 3.0, 2.0**-130, 0.0, -4.0)))
    other = d.add("Exp", x) if d.pick(True, False) else d.add("ReduceMax", d.add("Exp", x), axes=[-1])
    inverse = d.add("Reciprocal", other) if d.pick(True, False) else d.add("Div", d.number(1.0), other)
    return d.product(x, inverse)


WRITTEN_OUT = (gelu, smooth, hard_swish, clips, leaky, layer_norm, in_wide, group_norm, softmax, rotary, division)
