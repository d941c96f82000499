"""What every pass does alone: the graph before, the graph after, and what it said."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest

from roofwright.graph import canonical_text, read, sort_nodes
from roofwright.passes import PASSES, Context, PassResult, build
from roofwright.passes.cleanup import DeadCode
from roofwright.targets import load_target
from tests.builders import model

HALVES = np.array([0.5, 1, 2, 4], np.float32)
NORM: dict[str, Any] = {
    "scale": HALVES,
    "shift": np.array([1, 0, -1, 2], np.float32),
    "mean": np.array([0, 1, 0, -1], np.float32),
    "var": np.array([0.25, 1, 4, 16], np.float32),
}
ONES = np.ones((4, 2, 1, 1), np.float32)
EXAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "inline-functions": (
        '<ir_version: 8, opset_import: ["": 17, "local": 1]> g (float[4] x) => (float[4] y) { y = local.twice(x) }'
        ' <domain: "local", opset_import: ["": 17]> twice (a) => (b) { c = Add(a, a)  b = Neg(c) }',
        {},
    ),
    "constants": ("(float[4] x) => (float[4] y) { c = Constant<value_floats=[1.0,2.0,3.0,4.0]>()  y = Add(x, c) }", {}),
    "fold-constants": (
        "(float[2,6] x) => (float[3,4] y) { s = Shape(x)  n = Size(x)  f = Concat<axis=0>(four, r)"
        "  g = Gather(f, order)  y = Reshape(x, g) }",
        {"four": np.array([4]), "r": np.array([3]), "order": np.array([1, 0])},
    ),
    "constant-if": (
        "(float[4] x) => (float[4] y) { y = If (yes) <then_branch = t () => (float[4] p) { p = Neg(x) },"
        " else_branch = e () => (float[4] q) { q = Abs(x) }> }",
        {"yes": np.array(True)},
    ),
    "identities": (
        "(float[2,3] x) => (float[2,3] y) { a = Identity(x)  b = Dropout(a)  c = Transpose<perm=[0,1]>(b)"
        "  d = Add(c, zero)  y = Cast<to=1>(d) }",
        {"zero": np.array(0, np.float32)},
    ),
    "split-einsum": (
        '(float[2,3,2] x) => (float[2,3,4] y) { y = Einsum<equation="bij,kj->bik">(x, w) }',
        {"w": ONES.reshape(4, 2)},
    ),
    "shapes": (
        "(float[2,3,4] x) => (float[4,6] y) { a = Transpose<perm=[2,0,1]>(x)  b = Reshape(a, flat)"
        "  y = Reshape(b, wide) }",
        {"flat": np.array([24]), "wide": np.array([4, 6])},
    ),
    "common-subexpressions": ("(float[4] x) => (float[4] y) { a = Exp(x)  b = Exp(x)  y = Add(a, b) }", {}),
    "move-transposes": (
        "(float[1,4,3,3] x) => (float[1,4,3,3] y) { a = Transpose<perm=[0,2,3,1]>(x)  b = Add(a, c)"
        "  y = Transpose<perm=[0,3,1,2]>(b) }",
        {"c": HALVES},
    ),
    "absorb-transposes": (
        "(float[2,2,1,2] x) => (float[2,2] y) { a = Transpose<perm=[0,2,3,1]>(x)  b = Flatten(a)  y = MatMul(b, w) }",
        {"w": HALVES.reshape(4, 1) * np.ones((1, 2), np.float32)},
    ),
    "fuse-composites": (
        "(float[2,4] x) => (float[2,4] y) { m = ReduceMean<axes=[-1]>(x)  d = Sub(x, m)  p = Pow(d, two)"
        "  v = ReduceMean<axes=[-1]>(p)  z = Add(v, e)  r = Sqrt(z)  n = Div(d, r)  k = Mul(n, g)  y = Add(k, g) }",
        {"two": np.array(2, np.float32), "e": np.array(1e-5, np.float32), "g": HALVES},
    ),
    "simplify-arithmetic": (
        "(float[4] x, float[4] z) => (float[4] y) { i = Reciprocal(z)  a = Mul(x, i)  y = Div(a, four) }",
        {"four": np.array(4, np.float32)},
    ),
    "fuse-pad": (
        "(float[1,2,4,4] x) => (float[1,4,6,6] y) { p = Pad(x, pads)  y = Conv(p, w) }",
        {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "w": ONES},
    ),
    "fuse-batch-norm": (
        "(float[1,2,3,3] x) => (float[1,4,3,3] y) { a = Conv(x, w)"
        "  y = BatchNormalization<epsilon=0.0>(a, scale, shift, mean, var) }",
        {"w": ONES, **NORM},
    ),
    "fuse-gemm": (
        "(float[2,3] x) => (float[2,4] y) { a = MatMul(x, w)  y = Add(a, b) }",
        {"w": np.ones((3, 4), np.float32), "b": HALVES},
    ),
    "fuse-affine": (
        "(float[1,2,3,3] x) => (float[1,4,3,3] y) { a = Conv(x, w)  b = Mul(a, m)  y = Add(b, c) }",
        {"w": ONES, "m": HALVES.reshape(4, 1, 1), "c": HALVES.reshape(4, 1, 1)},
    ),
    "fuse-scales": (
        "(float[2,2] x) => (float[4,2] y) { a = MatMul(x, w)  b = Transpose(a)  y = Mul(b, half) }",
        {"w": ONES.reshape(2, 4), "half": np.array(0.5, np.float32)},
    ),
    "fuse-joined": (
        "(float[1,2,3,3] x) => (float[1,4,3,3] y) { a = Conv(x, half)  b = Conv(x, half)  c = Concat<axis=1>(a, b)"
        "  y = BatchNormalization<epsilon=0.0>(c, scale, shift, mean, var) }",
        {"half": ONES[:2], **NORM},
    ),
    "fuse-linear-chain": (
        "(float[1,2,3,3] x) => (float[1,2,3,3] y) { a = Conv(x, w)  y = Conv(a, v) }",
        {"w": ONES, "v": ONES.reshape(2, 4, 1, 1)},
    ),
    "fuse-dead-channels": (
        "(float[1,2,3,3] x) => (float[1,2,3,3] y) { a = Conv(x, w, c)  b = Relu(a)  y = Conv(b, v) }",
        {
            "w": ONES * np.array([[[[1]]], [[[0]]], [[[1]]], [[[1]]]], np.float32),
            "c": HALVES,
            "v": ONES.reshape(2, 4, 1, 1),
        },
    ),
    "channel-shuffles": (
        "(float[1,2,3,3] x) => (float[1,2,3,3] y) { a = Conv(x, w)  b = Reshape(a, grid)"
        "  c = Transpose<perm=[0,2,1,3,4]>(b)  d = Reshape(c, back)  e = Relu(d)  y = Conv(e, v) }",
        {
            "w": ONES * HALVES.reshape(4, 1, 1, 1),
            "v": ONES.reshape(2, 4, 1, 1) * HALVES.reshape(1, 4, 1, 1),
            "grid": np.array([1, 2, 2, 3, 3]),
            "back": np.array([1, 4, 3, 3]),
        },
    ),
    "fuse-activations": (
        "(float[4] x) => (float[4] y) { a = Relu(x)  y = Clip(a, low, high) }",
        {"low": np.array(-1, np.float32), "high": np.array(6, np.float32)},
    ),
    "fuse-siblings": (
        "(float[1,2,3,3] x) => (float[1,4,3,3] y, float[1,4,3,3] z) { a = Conv(x, w)  b = Conv(x, w)  y = Relu(a)"
        "  z = Relu(b) }",
        {"w": ONES},
    ),
    "fuse-concat": (
        "(float[1,2,3,3] x) => (float[1,8,3,3] y) { a = Conv(x, w)  b = Conv<group=4, pads=[1,1,1,1]>(a, filters)"
        "  y = Concat<axis=1>(a, b) }",
        {"w": ONES, "filters": np.ones((4, 1, 3, 3), np.float32)},
    ),
    "qdq": (
        "(float[2,4] x) => (float[4,2] y) { a = Relu(x)  q = QuantizeLinear(a, s, z)  d = DequantizeLinear(q, s, z)"
        "  t = Transpose(d)  p = QuantizeLinear(t, s, z)  y = DequantizeLinear(p, s, z) }",
        {"s": np.array(0.5, np.float32), "z": np.array(0, np.uint8)},
    ),
    "dead-code": ("(float[4] x) => (float[4] y) { a = Exp(x)  b = Neg(a)  y = Abs(x) }", {}),
}


def example(name: str) -> onnx.ModelProto:
    text, weights = EXAMPLES[name]
    return model(text if text.startswith("<") else f"g {text}", **weights)


def said(result: PassResult) -> Iterator[str]:
    for record in result.records:
        change = f"{' '.join(record.removed) or '-'} --> {' '.join(record.added) or '-'}"
        yield f"{record.rewrite} at {record.anchor}: {change if record.applied else record.reason}"


def test_every_pass_that_rewrites_has_an_example() -> None:
    assert list(EXAMPLES) == [name for name in PASSES if not PASSES[name].schedules]


@pytest.mark.parametrize("name", EXAMPLES)
def test_pass(name: str, golden: Callable[[str], None]) -> None:
    (pass_,) = build([name])
    graph = read(example(name))
    before = canonical_text(graph)
    result = pass_.run(graph, Context(target=load_target("v100")))
    DeadCode().run(graph, Context())
    sort_nodes(graph)
    assert result.changed
    golden(f"{before}\n-->\n\n{canonical_text(graph)}\n" + "\n".join(said(result)))
