"""What every pass does alone: the graph before, the graph after, and what it said."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest

from roofwright.graph import canonical_text, read, sort_nodes
from roofwright.passes import PASSES, Context, PassResult, build
from roofwright.passes.cleanup import DeadCode
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
    "shapes": (
        "(float[2,3,4] x) => (float[4,6] y) { a = Transpose<perm=[2,0,1]>(x)  b = Reshape(a, flat)"
        "  y = Reshape(b, wide) }",
        {"flat": np.array([24]), "wide": np.array([4, 6])},
    ),
    "common-subexpressions": ("(float[4] x) => (float[4] y) { a = Exp(x)  b = Exp(x)  y = Add(a, b) }", {}),
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
    "fuse-activations": (
        "(float[4] x) => (float[4] y) { a = Relu(x)  y = Clip(a, low, high) }",
        {"low": np.array(-1, np.float32), "high": np.array(6, np.float32)},
    ),
    "dead-code": ("(float[4] x) => (float[4] y) { a = Exp(x)  b = Neg(a)  y = Abs(x) }", {}),
}


def example(name: str) -> onnx.ModelProto:
    text, weights = EXAMPLES[name]
    return model(f"g {text}", **weights)


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
    result = pass_.run(graph, Context())
    DeadCode().run(graph, Context())
    sort_nodes(graph)
    assert result.changed
    golden(f"{before}\n-->\n\n{canonical_text(graph)}\n" + "\n".join(said(result)))
