"""Skeletons of what moves data and computes shapes: views, slices, casts, quantization, no-ops, bodies."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.properties.blocks_images import activation, arithmetic, conv, need
from tests.properties.blocks_rows import matmul
from tests.properties.draft import Draft

_NUMBERS = {"float32": 1, "float16": 10, "float64": 11, "int32": 6, "int64": 7}


def transposes(d: Draft, x: str) -> str:
    """Transposes with something between them that they may pass, or may not."""
    perm = perm_of(d, x)
    y = d.add("Transpose", x, perm=perm)
    for _ in range(d.pick(1, 2, 0)):
        y = d.pick(activation, arithmetic, reduced, sliced, joined_twice, shifted, padded_plain)(d, y)
    back = [int(at) for at in np.argsort(perm)]
    return d.add("Transpose", y, perm=d.pick(back, back, perm) if d.rank(y) == len(perm) else [*range(d.rank(y))][::-1])


def perm_of(d: Draft, x: str) -> list[int]:
    """A permutation of the axes."""
    rank = d.rank(x)
    usual = {4: ([0, 2, 3, 1], [0, 3, 1, 2], [0, 2, 1, 3], [1, 0, 2, 3]), 3: ([0, 2, 1], [1, 0, 2], [2, 0, 1])}
    return list(d.pick(*usual.get(rank, ([*range(rank)][::-1], [*range(rank)]))))


def reduced(d: Draft, x: str) -> str:
    """A reduction."""
    need(d.rank(x) >= 2)
    op = d.pick("ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2")
    return d.add(op, x, axes=d.pick([-1], [1], [1, -1]), keepdims=d.pick(1, 1, 0))


def sliced(d: Draft, x: str) -> str:
    """Slices: of everything, of a part, twice along one axis, backwards."""
    axis = d.pick(-1, *range(d.rank(x)))
    for _ in range(d.pick(1, 2)):
        size = d.shape(x)[axis]
        start, end, step = d.pick(
            (0, size, 1), (0, 2**31 - 1, 1), (1, 2**31 - 1, 1), (0, max(1, size - 1), 1), (-2, -1, 1), (0, size, 2),
            (-1, -(2**31), -1), (0, 2**62, 1), (size, 2 * size, 1), (-100, 1, 1),
        )  # fmt: skip
        need(step > 0 or d.opset >= 10)
        need(step == 1 or d.opset >= 10)
        x = d.slice(x, start, end, axis, step)
    return x


def parts(d: Draft, x: str) -> str:
    """Pieces of a tensor, put together again as they were, or in another order."""
    axis = d.pick(1, -1, 0) if d.rank(x) > 1 else 0
    size = d.shape(x)[axis]
    cut = size // 2
    pieces = (
        d.split(x, (cut, size - cut), axis)
        if d.pick(True, False)
        else [d.slice(x, 0, cut, axis), d.slice(x, cut, size, axis)]
    )
    pieces = [activation(d, piece) if d.rarely() else piece for piece in pieces]
    return d.add("Concat", *(pieces if d.pick(True, False) else pieces[::-1]), *d.pick((), (x,)), axis=axis)


def joined_twice(d: Draft, x: str) -> str:
    """A Concat of a tensor and itself or something else."""
    axis = d.pick(1, -1, 0) if d.rank(x) > 1 else 0
    other = d.pick(x, activation(d, x))
    y = d.add("Concat", x, other, axis=axis)
    return d.add("Concat", y, x, axis=axis) if d.pick(False, True) else y


def shifted(d: Draft, x: str) -> str:
    """A sum with another tensor of the same size."""
    twins = [name for name in d.values if name in d._known and d.shape(name) == d.shape(x)]
    return d.add(d.pick("Add", "Mul", "Sub"), *d.pick((x, d.pick(*twins)), (d.pick(*twins), x)))


def padded_plain(d: Draft, x: str) -> str:
    """Pad by something or by nothing."""
    rank = d.rank(x)
    return d.pad(x, d.pick([0] * rank + [1] + [0] * (rank - 1), [0] * 2 * rank, [0] * (2 * rank - 1) + [2]))


def reshapes(d: Draft, x: str) -> str:
    """Chains of views, back to where they started or not."""
    size = d.shape(x)
    for _ in range(d.pick(1, 2, 3)):
        now, rank = d.shape(x), d.rank(x)
        kind = d.pick("flat", "join", "squeeze", "unsqueeze", "part", "flatten", "copy")
        if kind == "unsqueeze":
            x = d.add("Unsqueeze", x, axes=[d.pick(0, rank, 1 if rank else 0)])
        elif kind == "squeeze":
            x = d.add("Squeeze", x, axes=[at for at, dim in enumerate(now) if dim == 1][:1] or [0])
        elif kind == "flatten":
            x = d.add("Flatten", x, axis=d.pick(1, 0, rank))
        else:
            whole = int(np.prod(now))
            targets = {"flat": (-1,), "join": (*now[:1], -1), "part": (2, -1), "copy": (0, -1, *now[2:])}
            x = d.reshape(x, *d.pick(targets[kind], targets[kind], (whole,)))
    return d.reshape(x, *size) if d.pick(True, False) else x


def shape_arithmetic(d: Draft, x: str) -> str:
    """A view or an Expand to a shape that is computed."""
    rank = d.rank(x)
    need(rank >= 2)
    shape = d.add("Shape", x)
    first = d.add("Gather", shape, d.const(d.pick([0], [-1], [1]), np.int64), axis=0)
    if d.pick(True, False):
        rest = d.slice(shape, 1, d.pick(rank, 2**31 - 1), 0) if d.pick(True, False) else d.ints(-1)
        return d.add("Reshape", x, d.add("Concat", first, rest, axis=0))
    if d.pick(True, False):
        return d.add("Expand", x, d.pick(shape, d.add("Concat", d.ints(1), shape, axis=0), d.ints(*(1,) * rank)))
    zeros = d.add("ConstantOfShape", shape, value=numpy_helper.from_array(np.asarray([d.pick(0, 1)], d.dtype)))
    return d.add(d.pick("Add", "Mul"), x, zeros)


def casts(d: Draft, x: str) -> str:
    """There and back, with or without loss."""
    kinds = ("float32", "float64", "float16", "int32", "int64")
    through = d.pick(*kinds)
    y = d.add("Cast", x, to=_NUMBERS[through])
    y = d.add("Cast", y, to=_NUMBERS[d.pick(*kinds)]) if d.pick(False, True) else y
    return d.add("Cast", y, to=_NUMBERS[d.dtype.name])


def nothing(d: Draft, x: str) -> str:
    """Nodes that return their input, or nearly."""
    kind = d.pick("Identity", "Dropout", "unit", "Sum", "Expand", "Neg", "Not", "Tile", "Where", "Abs", "one part")
    if kind == "Dropout":
        return d.add("Dropout", x)
    if kind == "unit":
        op, one = d.pick(("Mul", 1), ("Add", 0), ("Sub", 0), ("Div", 1), ("Pow", 1), ("Add", -0.0))
        constant = d.const(np.full(d.pick((), (1,), (1,) * d.rank(x), d.shape(x), (2, *(1,) * d.rank(x))), one))
        return d.add(op, *d.pick((x, constant), (constant, x)))
    if kind == "Expand":
        return d.add("Expand", x, d.ints(*d.pick((1,), d.shape(x), (1, *d.shape(x)))))
    if kind == "Not":
        mask = d.add("Greater", x, d.number(0.0))
        mask = d.add("Not", d.add("Not", mask)) if d.pick(True, False) else d.add("Not", mask)
        return d.add("Where", mask, x, d.number(0.0))
    if kind == "Where":
        mask = d.const(np.full(d.pick((), (1,), d.shape(x), (2, *(1,) * d.rank(x))), d.pick(True, False)), bool)
        return d.add("Where", mask, x, d.number(2.0))
    if kind == "one part":
        return d.split(x, d.shape(x)[:1], 0)[0]
    if kind == "Tile":
        return d.add("Tile", x, d.ints(*[1] * (d.rank(x) - 1), d.pick(1, 2)))
    y = d.add(kind, x)
    return d.add(kind, y) if d.pick(True, False) else y


def quantized(d: Draft, x: str) -> str:
    """Quantized and back, twice, with an activation in front; weights too."""
    need(d.opset >= 13 and d.dtype == np.float32)
    scale = d.const(d.pick(0.05, 0.5))
    kind = d.pick(np.uint8, np.int8)
    zero = d.const(d.pick(0, 3), kind)
    x = d.add(d.pick("Relu", "Relu", "Tanh"), x) if d.pick(False, True) else x
    y = d.add("DequantizeLinear", d.add("QuantizeLinear", x, scale, zero), scale, zero)
    other = d.pick((scale, zero), (scale, zero), (d.const(0.07), zero))
    y = d.pick(lambda _, y: y, activation, lambda d, y: d.add("Transpose", y))(d, y)
    y = d.add("DequantizeLinear", d.add("QuantizeLinear", y, *other), *other)
    if d.rank(y) == 4 and d.pick(False, True):
        weight = d.const(np.arange(2 * d.shape(y)[1]).reshape(2, -1, 1, 1) % 7 - 3, np.int8)
        y = d.add("Conv", y, d.add("DequantizeLinear", weight, scale, d.const(0, np.int8)))
    return y


def constants(d: Draft, x: str) -> str:
    """Arithmetic between constants, and results larger than what they are made of."""
    c = d.broadcast(x)
    kind = d.pick("sum", "Expand", "Transpose", "Cast", "Tile", "views")
    if kind == "sum":
        c = d.add(d.pick("Add", "Mul"), c, c)
    elif kind == "Expand":
        c = d.add("Expand", c, d.ints(*d.shape(x)))
    elif kind == "Tile":
        c = d.add("Tile", c, d.ints(*[1] * d.rank(c)))
    elif kind == "Cast":
        c = d.add("Cast", d.const(d.arrays[c], np.float32), to=_NUMBERS[d.dtype.name])
    else:
        c = d.add("Transpose", d.add("Identity", c))
    return d.add(d.pick("Add", "Mul"), x, c)


def twice(d: Draft, x: str) -> str:
    """The same thing written twice."""
    block, at = d.pick(activation, arithmetic, matmul, conv), len(d.nodes)
    y = block(d, x)
    names: dict[str, str] = {}
    for node in d.nodes[at:]:
        made = d.many(node.op_type, len(node.output), *(names.get(i, i) for i in node.input),
                      **{a.name: helper.get_attribute_value(a) for a in node.attribute})  # fmt: skip
        names |= dict(zip(node.output, made, strict=True))
    return d.add(d.pick("Add", "Sub", "Mul"), y, names[y])


def branch(d: Draft, x: str) -> str:
    """An If that reads `x` from outside; its condition is constant, or computed."""
    need(d.opset >= 9)
    always = d.const(d.pick(True, False), bool)
    total = d.add("ReduceMax", x, keepdims=0)
    condition = d.pick(always, d.add("Greater", total, d.const(0.5)))
    inner = Draft(d.draw, d.opset, d.dtype, d.shape(x))
    inner._count, inner.input.name = 1000 + d._count * 10, x
    inner._known, inner.values = {x: inner.input}, [x]
    y = d.pick(nothing, arithmetic, activation, transposes)(inner, x)
    d._count = inner._count
    need(inner.shape(y) == d.shape(x))
    graph = inner.proto([y]).graph
    del graph.input[:]
    if d.pick(True, False):  # constants of the body, or of the graph around it
        d.arrays |= inner.arrays
        del graph.initializer[:]
    port = helper.make_tensor_value_info(y, _NUMBERS[d.dtype.name], d.shape(x))
    other = helper.make_graph(
        [helper.make_node("Identity", [x], [f"{y}_e"])], "e", [], [onnx.ValueInfoProto(name=f"{y}_e")]
    )
    other.output[0].CopyFrom(port)
    other.output[0].name = f"{y}_e"
    return d.add("If", condition, then_branch=graph, else_branch=other)


SHAPES = (
    transposes, sliced, parts, joined_twice, reshapes, shape_arithmetic, casts, nothing, quantized, constants, twice,
    branch, shifted, reduced, padded_plain,
)  # fmt: skip
