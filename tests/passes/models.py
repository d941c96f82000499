"""One small, readable model per clean-up and fusion pass: something to do and something to leave."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from tests.passes.harness import boolean, build, float32, int64, random

_NORM = {"gamma": float32([1, 2]), "beta": float32([0, 1]), "mean": float32([1, 1]), "variance": float32([1, 4])}
_KERNEL = np.ones((2, 1, 1, 1), np.float32)
_MODELS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "constants": (
        "(float[2] x) => (float[2] y, float z) "
        "{ c = Constant<value_floats = [1.0, 2.0]>() z = Constant<value_float = 3.0>() y = Mul(x, c) }",
        {},
    ),
    "fold-constants": (
        '(float["n", 2, 3] x) => (float["n", 6] y) '
        "{ shape = Shape(x) n = Gather(shape, first) target = Concat<axis = 0>(n, rest)"
        "  doubled = Add(c, c) sum = Add(x, doubled) y = Reshape(sum, target) }",
        {"first": int64([0]), "rest": int64([-1]), "c": float32([1, 2, 3])},
    ),
    "dead-code": (
        "(float[4] x) => (float[4] y) { a = Neg(x) unused = Exp(a) kept, mask = Dropout(x) y = Abs(kept) }",
        {},
    ),
    "identities": (
        "(float[4] x) => (float[4] y, float[4] z) "
        "{ a = Identity(x) b = Mul(a, one) c = Relu(b) d = Relu(c) y = Exp(d) z = Identity(x) }",
        {"one": float32(1)},
    ),
    "common-subexpressions": (
        "(float[4] x) => (float[4] y) { a = Mul(x, v) b = Mul(x, w) c = Neg(a) d = Neg(b) y = Add(c, d) }",
        {"v": float32([1, 2, 3, 4]), "w": float32([1, 2, 3, 4])},
    ),
    "shapes": (
        "(float[2, 3, 4] x) => (float[4, 6] y, float[4, 2, 3] z) "
        "{ a = Reshape(x, flat) y = Reshape(a, wide)"
        "  b = Transpose<perm = [1, 2, 0]>(x) z = Transpose<perm = [1, 2, 0]>(b) }",
        {"flat": int64([24]), "wide": int64([4, 6])},
    ),
    "fuse-batch-norm": (
        "(float[1, 1, 4, 4] x) => (float[1, 2, 4, 4] y, float[1, 2, 4, 4] z) "
        "{ a = Conv(x, w) b = BatchNormalization(a, gamma, beta, mean, variance) y = Relu(b)"
        "  z = BatchNormalization(y, gamma, beta, mean, variance) }",
        {"w": _KERNEL, **_NORM},
    ),
    "fuse-affine": (
        "(float[1, 1, 2, 2] x) => (float[1, 2, 2, 2] y) "
        "{ a = Conv(x, w) b = Mul(a, per_channel) y = Add(b, per_column) }",
        {"w": _KERNEL, "per_channel": float32([[[2]], [[3]]]), "per_column": float32([2, 3])},
    ),
    "fuse-pad": (
        "(float[1, 1, 4, 4] x) => (float[1, 1, 6, 6] y, float[1, 1, 5, 5] z) "
        "{ a = Pad(x, pads) y = Conv(a, w) b = Pad(x, pads) z = MaxPool<kernel_shape = [2, 2]>(b) }",
        {"pads": int64([0, 0, 1, 1, 0, 0, 1, 1]), "w": np.ones((1, 1, 1, 1), np.float32)},
    ),
    "fuse-gemm": (
        "(float[2, 3] x) => (float[2, 2] y) { a = MatMul(x, w) b = Add(a, bias) c = Transpose(b) y = Gemm(c, v) }",
        {"w": np.ones((3, 2), np.float32), "bias": float32([1, 2]), "v": np.ones((2, 2), np.float32)},
    ),
    "fuse-activations": (
        "(float[4] x) => (float[4] y) "
        "{ a = Relu(x) b = Clip(a, , six) c = Add(b, three) d = Clip(c, zero, six) e = Div(d, six) y = Mul(b, e) }",
        {"zero": float32(0), "three": float32(3), "six": float32(6)},
    ),
    "fuse-joined": (
        "(float[1, 1, 4, 4] x) => (float[1, 4, 4, 4] y, float[1, 2, 4, 4] z) "
        "{ a = Conv(x, w) b = Conv(x, w) c = Concat<axis = 1>(a, b) d = Mul(c, per_channel) y = Exp(d)"
        "  e = Conv(x, w) f = Relu(e) z = Mul(f, two) }",
        {"w": _KERNEL, "per_channel": float32([[[2]], [[3]], [[4]], [[5]]]), "two": float32(2)},
    ),
    "fuse-linear-chain": (
        "(float[2, 3] x) => (float[2, 3] y, float[2, 3] z) "
        "{ a = MatMul(x, v) b = MatMul(a, w) y = Exp(b) c = MatMul(x, w2) z = MatMul(c, v2) }",
        {"v": random(3, 4), "w": random(4, 3), "w2": random(3, 1), "v2": random(1, 3)},
    ),
    "fuse-dead-channels": (
        "(float[1, 1, 4, 4] x) => (float[1, 1, 4, 4] y) { a = Conv(x, w, c) b = Relu(a) y = Conv(b, v) }",
        {"w": _KERNEL * float32([[[[1]]], [[[0]]]]), "c": float32([1, 2]), "v": random(1, 2, 1, 1)},
    ),
    "fuse-siblings": (
        "(float[2, 64] x) => (float[2, 8] y, float[2, 8] z) { a = MatMul(x, v) y = Exp(a) z = MatMul(x, w) }",
        {"v": random(64, 8), "w": random(64, 8, seed=1)},
    ),
    "fuse-concat": (
        "(float[1, 2, 4, 4] x) => (float[1, 8, 4, 4] y) "
        "{ a = Conv(x, w) b = Conv<group = 4, pads = [1, 1, 1, 1]>(a, v) c = Concat<axis = 1>(a, b) y = Exp(c) }",
        {"w": random(4, 2, 1, 1), "v": random(4, 1, 3, 3)},
    ),
    "fuse-composites": (
        "(float[2, 4] x) => (float[2, 4] y) "
        "{ a = ReduceMean<axes = [-1]>(x) b = Sub(x, a) c = Mul(b, b) d = ReduceMean<axes = [-1]>(c)"
        "  e = Add(d, epsilon) f = Sqrt(e) g = Div(b, f) h = Mul(g, scale) y = Exp(h) }",
        {"epsilon": float32(1e-5), "scale": float32([1, 2, 3, 4])},
    ),
    "simplify-arithmetic": (
        "(float[4] x) => (float[4] y) { a = Exp(x) b = Reciprocal(a) c = Mul(x, b) d = Div(c, eight) y = Div(d, six) }",
        {"eight": float32(8), "six": float32(6)},
    ),
    "split-einsum": (
        '(float[2, 5, 4] x) => (float[2, 5, 2] y) { a = Einsum<equation = "bij,jk->bik">(x, w) y = Exp(a) }',
        {"w": random(4, 2)},
    ),
    "fuse-scales": (
        "(float[2, 4] x) => (float[6, 2] y) { a = MatMul(x, w) b = Transpose(a) c = Mul(b, half) y = Exp(c) }",
        {"w": random(4, 6), "half": float32(0.5)},
    ),
    "move-transposes": (
        "(float[1, 2, 3, 4] x) => (float[1, 2, 3, 4] y) { a = Transpose<perm = [0, 2, 3, 1]>(x) b = Add(a, bias)"
        "  c = Transpose<perm = [0, 3, 1, 2]>(b) y = Exp(c) }",
        {"bias": float32([1, 2])},
    ),
    "absorb-transposes": (
        "(float[1, 2, 3, 4] x) => (float[1, 2] y) { a = Transpose<perm = [0, 2, 3, 1]>(x) b = Flatten(a)"
        "  c = MatMul(b, w) y = Exp(c) }",
        {"w": random(24, 2)},
    ),
    "channel-shuffles": (
        "(float[1, 3, 2, 2] x) => (float[1, 2, 2, 2] y) { a = Conv(x, v) b = Reshape(a, grid)"
        "  c = Transpose<perm = [0, 2, 1, 3, 4]>(b) d = Reshape(c, back) e = Conv(d, w) y = Exp(e) }",
        {
            "v": random(6, 3, 1, 1),
            "w": random(2, 6, 1, 1),
            "grid": np.asarray([1, 2, 3, 2, 2]),
            "back": np.asarray([1, 6, 2, 2]),
        },
    ),
    "qdq": (
        "(float[4] x) => (float[4] y) { a = Relu(x) b = QuantizeLinear(a, scale, zero)"
        "  c = DequantizeLinear(b, scale, zero) d = QuantizeLinear(c, scale, zero)"
        "  e = DequantizeLinear(d, scale, zero) y = Exp(e) }",
        {"scale": float32(0.1), "zero": np.uint8(0)},
    ),
}
NAMES = (*_MODELS, "constant-if", "inline-functions")


def model_for(name: str) -> onnx.ModelProto:
    """The model of a pass, by the pass's name."""
    if name in _MODELS:
        return build(*_MODELS[name])
    return _constant_if() if name == "constant-if" else _function()


def _function() -> onnx.ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17, "local": 1]> g (float[4] x) => (float[4] y) '
        '{ z = local.twice(x) y = Exp(z) } <domain: "local", opset_import: ["": 17]> '
        "twice (a) => (b) { c = Add(a, a) b = Neg(c) }"
    )


def _constant_if() -> onnx.ModelProto:
    model = build("(float[4] x) => (float[4] y) { unused = Neg(x) y = Abs(chosen) }", {"condition": boolean(True)})
    then = onnx.parser.parse_graph("taken () => (float[4] t) { s = Sin(x) t = Neg(s) }")
    other = onnx.parser.parse_graph("left () => (float[4] e) { e = Exp(x) }")
    choice = onnx.helper.make_node("If", ["condition"], ["chosen"], "choice", then_branch=then, else_branch=other)
    model.graph.node[0].CopyFrom(choice)
    return model
