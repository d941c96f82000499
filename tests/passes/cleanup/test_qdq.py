from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest

from roofwright import optimize
from roofwright.passes.cleanup import Qdq
from tests.passes.harness import PLACES, Case, build, check, float16, float32, int8, int64, positive, uint8

X = "(float[1,4,6,6] x) => (float[1,4,6,6] y)"
S = {"s": float32(0.05), "z": uint8(0), "s2": float32(0.06), "zi": int8(-128), "z0": int8(0), "z3": uint8(3)}
IN = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)"
SHAPE = {"n": int64([1, 4, 36])}


def _arrays(text: str) -> dict[str, np.ndarray]:
    words = set(text.replace(",", " ").replace("(", " ").replace(")", " ").split())
    rows = {
        "rows": positive(4),
        "zeros": uint8([0, 0, 0, 0]),
        "six": float32(6),
        "zero": float32(0),
        "top": float32(12.75),
        "words": np.asarray(0, np.uint16),
        "s16": float16(0.05),
        "nothing": float32(1e-40),
        "blocks": positive(2, 2),
        "none": uint8([[0, 0], [0, 0]]),
    }
    return {name: value for name, value in {**S, **SHAPE, **rows}.items() if name in words}


def case(name: str, text: str, after: str | None, declines: str | None = None, **options: Any) -> Case:
    return Case(name, text, after, declines, _arrays(text), **options)


PAIR = "DequantizeLinear QuantizeLinear"
CASES = [
    case("twice", f"{X} {{ {IN} p = QuantizeLinear(d, s, z) y = DequantizeLinear(p, s, z) }}", PAIR),
    case(
        "twice, first read elsewhere",
        "(float[1,4,6,6] x) => (float[1,4,6,6] y, float[1,4,6,6] k)"
        f" {{ {IN} p = QuantizeLinear(d, s, z) y = DequantizeLinear(p, s, z) k = Neg(d) }}",
        "DequantizeLinear DequantizeLinear Neg QuantizeLinear",
    ),
    case(
        "per channel",
        f"{X} {{ q = QuantizeLinear(x, rows, zeros) d = DequantizeLinear(q, rows, zeros)"
        " p = QuantizeLinear<axis = -3>(d, rows, zeros) y = DequantizeLinear(p, rows, zeros) }",
        PAIR,
    ),
    case(
        "another axis",
        "(float[4,4] x) => (float[4,4] y) { q = QuantizeLinear<axis = 0>(x, rows, zeros)"
        " d = DequantizeLinear<axis = 0>(q, rows, zeros) p = QuantizeLinear<axis = 1>(d, rows, zeros)"
        " y = DequantizeLinear<axis = 1>(p, rows, zeros) }",
        None,
        "another scale",
    ),
    case(
        "another scale",
        f"{X} {{ {IN} p = QuantizeLinear(d, s2, z) y = DequantizeLinear(p, s2, z) }}",
        None,
        "another scale",
    ),
    case(
        "another zero point",
        f"{X} {{ {IN} p = QuantizeLinear(d, s, z3) y = DequantizeLinear(p, s, z3) }}",
        None,
        "another scale",
    ),
    case(
        "another type",
        f"{X} {{ {IN} p = QuantizeLinear(d, s, z0) y = DequantizeLinear(p, s, z0) }}",
        None,
        "another scale",
    ),
    case(
        "a scale that a caller gives",
        "(float[4] x, float t) => (float[4] y) { q = QuantizeLinear(x, t, z)"
        " d = DequantizeLinear(q, t, z) p = QuantizeLinear(d, t, z) y = DequantizeLinear(p, t, z) }",
        None,
    ),
    case(
        "transpose",
        f"{X} {{ {IN} t = Transpose<perm = [0, 1, 3, 2]>(d) p = QuantizeLinear(t, s, z)"
        " y = DequantizeLinear(p, s, z) }",
        f"{PAIR} Transpose",
    ),
    case(
        "reshape",
        f"(float[1,4,6,6] x) => (float[1,4,36] y) {{ {IN} t = Reshape(d, n) p = QuantizeLinear(t, s, z)"
        " y = DequantizeLinear(p, s, z) }",
        "DequantizeLinear QuantizeLinear Reshape",
    ),
    case(
        "max pool",
        f"(float[1,4,6,6] x) => (float[1,4,3,3] y) {{ {IN}"
        " t = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 0, 0]>(d)"
        " p = QuantizeLinear(t, s, z) y = DequantizeLinear(p, s, z) }",
        "DequantizeLinear MaxPool QuantizeLinear",
    ),
    case(
        "max pool at opset 11",
        f"(float[1,4,6,6] x) => (float[1,4,5,5] y) {{ {IN} t = MaxPool<kernel_shape = [2, 2]>(d)"
        " p = QuantizeLinear(t, s, z) y = DequantizeLinear(p, s, z) }",
        None,
        opset=11,
    ),
    case(
        "moved and read twice",
        "(float[1,4,6,6] x) => (float[1,4,6,6] y, float[1,4,6,6] k)"
        f" {{ {IN} t = Transpose<perm = [0, 1, 3, 2]>(d) p = QuantizeLinear(t, s, z) y = DequantizeLinear(p, s, z)"
        " k = Neg(t) }",
        None,
        "also read by",
    ),
    case(
        "moved to another scale",
        f"{X} {{ {IN} t = Transpose<perm = [0, 1, 3, 2]>(d) p = QuantizeLinear(t, s2, z)"
        " y = DequantizeLinear(p, s2, z) }",
        None,
        "another scale",
    ),
    case(
        "moved per channel",
        f"{X} {{ q = QuantizeLinear(x, rows, zeros) d = DequantizeLinear(q, rows, zeros)"
        " t = Transpose<perm = [0, 1, 3, 2]>(d) p = QuantizeLinear(t, rows, zeros)"
        " y = DequantizeLinear(p, rows, zeros) }",
        None,
    ),
    case(
        "what computes",
        f"{X} {{ {IN} t = Sigmoid(d) p = QuantizeLinear(t, s, z) y = DequantizeLinear(p, s, z) }}",
        None,
    ),
    case("relu", f"{X} {{ a = Relu(x) q = QuantizeLinear(a, s, z) y = DequantizeLinear(q, s, z) }}", PAIR),
    case("relu, signed", f"{X} {{ a = Relu(x) q = QuantizeLinear(a, s, zi) y = DequantizeLinear(q, s, zi) }}", PAIR),
    case(
        "relu, per channel",
        f"{X} {{ a = Relu(x) q = QuantizeLinear(a, rows, zeros) y = DequantizeLinear(q, rows, zeros) }}",
        PAIR,
    ),
    case("clip", f"{X} {{ a = Clip(x, zero, top) q = QuantizeLinear(a, s, z) y = DequantizeLinear(q, s, z) }}", PAIR),
    case(
        "clip at opset 10",
        f"{X} {{ a = Clip<min = 0.0, max = 12.75>(x) q = QuantizeLinear(a, s, z) y = DequantizeLinear(q, s, z) }}",
        PAIR,
        opset=10,
    ),
    case(
        "a bound inside",
        f"{X} {{ a = Clip(x, zero, six) q = QuantizeLinear(a, s, z) y = DequantizeLinear(q, s, z) }}",
        None,
        "lie inside",
    ),
    case(
        "relu over signed integers",
        f"{X} {{ a = Relu(x) q = QuantizeLinear(a, s, z0) y = DequantizeLinear(q, s, z0) }}",
        None,
        "lie inside",
    ),
    case(
        "relu read twice",
        "(float[1,4,6,6] x) => (float[1,4,6,6] y, float[1,4,6,6] k)"
        " { a = Relu(x) q = QuantizeLinear(a, s, z) y = DequantizeLinear(q, s, z) k = Neg(a) }",
        None,
        "also read by",
    ),
    case(
        "a bound that a caller gives",
        "(float[4] x, float t) => (float[4] y) { a = Clip(x, t) q = QuantizeLinear(a, s, z)"
        " y = DequantizeLinear(q, s, z) }",
        None,
    ),
    case(
        "a zero point that a caller gives",
        "(float[4] x, uint8 t) => (float[4] y) { q = QuantizeLinear(x, s, t)"
        " d = DequantizeLinear(q, s, t) p = QuantizeLinear(d, s, t) y = DequantizeLinear(p, s, t) }",
        None,
    ),
    case(
        "a scale that a caller gives, first",
        "(float[4] x, float t) => (float[4] y) { q = QuantizeLinear(x, s, z)"
        " d = DequantizeLinear(q, t, z) p = QuantizeLinear(d, s, z) y = DequantizeLinear(p, s, z) }",
        None,
    ),
    case(
        "a scale that a caller gives, last",
        "(float[4] x, float t) => (float[4] y) { q = QuantizeLinear(x, s, z)"
        " d = DequantizeLinear(q, s, z) p = QuantizeLinear(d, t, z) y = DequantizeLinear(p, s, z) }",
        None,
    ),
    case(
        "nothing to move",
        "(float[4] x) => (float[4] y) { p = QuantizeLinear(x, s, z) y = DequantizeLinear(p, s, z) }",
        None,
    ),
    case(
        "moved, a scale that a caller gives",
        "(float[4] x, float t) => (float[4] y) { q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, t, z)"
        " m = Transpose(d) p = QuantizeLinear(m, t, z) y = DequantizeLinear(p, s, z) }",
        None,
    ),
    case(
        "moved without a scale before",
        f"{X} {{ t = Transpose<perm = [0, 1, 3, 2]>(x) p = QuantizeLinear(t, s, z) y = DequantizeLinear(p, s, z) }}",
        None,
    ),
    case(
        "the places of the largest",
        f"(float[1,4,6,6] x) => (float[1,4,3,3] y, int64[1,4,3,3] i) {{ {IN}"
        " t, i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(d)"
        " p = QuantizeLinear(t, s, z) y = DequantizeLinear(p, s, z) }",
        None,
    ),
    case(
        "max pool of words",
        "(float[1,4,6,6] x) => (float[1,4,5,5] y) { q = QuantizeLinear(x, s, words) d = DequantizeLinear(q, s, words)"
        " t = MaxPool<kernel_shape = [2, 2]>(d) p = QuantizeLinear(t, s, words) y = DequantizeLinear(p, s, words) }",
        None,
        opset=21,
        ir=10,
    ),
    case(
        "words",
        "(float[4] x) => (float[4] y) { q = QuantizeLinear(x, s, words) d = DequantizeLinear(q, s, words)"
        " p = QuantizeLinear(d, s, words) y = DequantizeLinear(p, s, words) }",
        PAIR,
        opset=21,
        ir=10,
    ),
    case(
        "an activation that does not clamp",
        f"{X} {{ a = Exp(x) q = QuantizeLinear(a, s, z) y = DequantizeLinear(q, s, z) }}",
        None,
    ),
    case(
        "relu before a scale that a caller gives",
        "(float[4] x, float t) => (float[4] y) { a = Relu(x) q = QuantizeLinear(a, t, z)"
        " y = DequantizeLinear(q, s, z) }",
        None,
    ),
    case(
        "no zero point",
        "(float[4] x) => (float[4] y) { a = Relu(x) q = QuantizeLinear(a, s) d = DequantizeLinear(q, s)"
        " p = QuantizeLinear(d, s, z) y = DequantizeLinear(p, s, z) }",
        PAIR,
    ),
    case(
        "a scale in float16",
        "(float16[4] x) => (float16[4] y) { q = QuantizeLinear(x, s16, z) d = DequantizeLinear(q, s16, z)"
        " p = QuantizeLinear(d, s16, z) y = DequantizeLinear(p, s16, z) }",
        None,
        opset=19,
        ir=9,
    ),
    case(
        "a scale of nothing",
        "(float[4] x) => (float[4] y) { q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, nothing, z)"
        " p = QuantizeLinear(d, nothing, z) y = DequantizeLinear(p, s, z) }",
        None,
    ),
    case(
        "integers of four bits",
        "(float[4] x) => (float[4] y) { q = QuantizeLinear<output_dtype = 22>(x, s) d = DequantizeLinear(q, s)"
        " p = QuantizeLinear<output_dtype = 22>(d, s) y = DequantizeLinear(p, s) }",
        None,
        opset=21,
        ir=10,
    ),
    case(
        "scales of blocks",
        "(float[4,2] x) => (float[4,2] y) { q = QuantizeLinear<axis = 0, block_size = 2>(x, blocks, none)"
        " d = DequantizeLinear<axis = 0, block_size = 2>(q, blocks, none)"
        " p = QuantizeLinear<axis = 0, block_size = 2>(d, blocks, none)"
        " y = DequantizeLinear<axis = 0, block_size = 2>(p, blocks, none) }",
        None,
        opset=21,
        ir=10,
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(Qdq(), one, place)


@pytest.mark.parametrize("scale", [1e-6, 0.003921569, 0.0235294122, 1.0, 3e5])
def test_every_integer_survives_its_scale(scale: float) -> None:
    integers = np.arange(-32768, 32768)
    there = ((integers - 77).astype(np.float32) * np.float32(scale)) / np.float32(scale)
    assert np.array_equal(np.rint(there) + 77, integers)


def test_no_other_pass_takes_pairs_out() -> None:
    text = (
        "(float[1,4,6,6] x) => (float[1,4,6,6] y) { q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)"
        " w = DequantizeLinear(k, rows, z4) a = Conv(d, w) r = Relu(a) p = QuantizeLinear(r, s2, z)"
        " y = DequantizeLinear(p, s2, z) }"
    )
    arrays = {**S, "rows": positive(4), "z4": int8([0] * 4), "k": int8(np.arange(16).reshape(4, 4, 1, 1))}
    model = build(text, {name: arrays[name] for name in ("s", "z", "s2", "rows", "z4", "k")}, opset=17)
    before, after = _pairs(model), _pairs(optimize(model, "host", skip=("qdq",)).model)
    assert before == after == {"QuantizeLinear": 2, "DequantizeLinear": 3}
    assert _pairs(optimize(model, "host").model) == before


def _pairs(model: onnx.ModelProto) -> Counter[str]:
    return Counter(
        node.op_type for node in model.graph.node if "Quantize" in node.op_type or "quantize" in node.op_type
    )
