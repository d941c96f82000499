from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest

from roofwright import optimize
from roofwright.passes.cleanup import Qdq
from tests.passes.harness import PLACES, Case, build, check, float32, int8, int64, positive, uint8

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
