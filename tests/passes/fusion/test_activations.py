from itertools import product

import pytest

from roofwright.passes.fusion import FuseActivations
from tests.passes.harness import (
    PLACES,
    Case,
    attributes,
    build,
    check,
    float32,
    float64,
    int32,
    int64,
    ops,
    run_pass,
    same,
)

X = "(float[2,9] x) => (float[2,9] y)"
A = {"0": float32(0), "3": float32(3), "6": float32(6), "s": float32(1 / 6)}
A = {f"c{name}": value for name, value in A.items()}
SIXTH = "a = Add(x, c3) b = Clip(a, c0, c6)"
CASES = [
    Case("relu, clip", f"{X} {{ a = Relu(x) y = Clip(a, c3, c6) }}", "Clip", arrays=A),
    Case("clip, relu", f"{X} {{ a = Clip(x, , c6) y = Relu(a) }}", "Clip", arrays=A),
    Case("clip, clip", f"{X} {{ a = Clip(x, c0) y = Clip(a, , c3) }}", "Clip", arrays=A),
    Case("three", f"{X} {{ a = Relu(x) b = Clip(a, , c6) y = Relu(b) }}", "Clip", arrays=A),
    Case("opset 6 attributes", f"{X} {{ a = Relu(x) y = Clip<min = -1.0, max = 2.0>(a) }}", "Clip", opset=10),
    Case(
        "float64 at opset 12",
        "(double[9] x) => (double[9] y) { a = Relu(x) y = Clip(a, , h) }",
        "Clip",
        opset=12,
        arrays={"h": float64(0.7)},
    ),
    Case("integers", "(int32[9] x) => (int32[9] y) { a = Relu(x) y = Clip(a, , h) }", "Clip", arrays={"h": int32(5)}),
    Case(
        "wide integers stay integers",
        "(int64[9] x) => (int64[9] y) { a = Clip(x, l) y = Clip(a, , h) }",
        "Clip",
        arrays={"l": int64(-(2**62) - 1), "h": int64(2**62 + 1)},
    ),
    Case(
        "two readers",
        "(float[9] x) => (float[9] y, float[9] z) { a = Relu(x) y = Clip(a, , c6) z = Neg(a) }",
        None,
        "also read by",
        arrays=A,
    ),
    Case(
        "a bound that a caller gives",
        "(float[9] x, float h) => (float[9] y) { a = Relu(x) y = Clip(a, , h) }",
        None,
        "not a constant",
    ),
    Case("gate", f"{X} {{ {SIXTH} y = Div(b, c6) }}", "HardSigmoid", arrays=A, exact=False),
    Case(
        "gate by a product, opset 9",
        f"{X} {{ a = Add(c3, x) b = Clip<min = 0.0, max = 6.0>(a) y = Mul(cs, b) }}",
        "HardSigmoid",
        arrays=A,
        exact=False,
        opset=9,
    ),
    Case("another divisor", f"{X} {{ {SIXTH} y = Div(b, c3) }}", arrays=A),
    Case("another offset", f"{X} {{ a = Add(x, c6) b = Clip(a, c0, c6) y = Div(b, c6) }}", arrays=A),
    Case("hard swish", f"{X} {{ {SIXTH} c = Div(b, c6) y = Mul(x, c) }}", "HardSwish", arrays=A, exact=False),
    Case(
        "hard swish, divided last",
        f"{X} {{ {SIXTH} c = Mul(b, x) y = Div(c, c6) }}",
        "HardSwish",
        arrays=A,
        exact=False,
    ),
    Case(
        "hard swish, opset 13",
        f"{X} {{ {SIXTH} c = Div(b, c6) y = Mul(x, c) }}",
        "HardSigmoid Mul",
        arrays=A,
        exact=False,
        opset=13,
    ),
    Case(
        "another input",
        "(float[9] x, float[9] z) => (float[9] y) { c = HardSigmoid<alpha = 0.16666667>(x) y = Mul(z, c) }",
    ),
    Case("another slope", f"{X} {{ c = HardSigmoid<alpha = 0.2>(x) y = Mul(x, c) }}"),
    Case(
        "the gate has two readers",
        "(float[9] x) => (float[9] y, float[9] z) { c = HardSigmoid<alpha = 0.16666667>(x) y = Mul(x, c) z = Neg(c) }",
        None,
        "also read by",
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(FuseActivations(), case, place)


@pytest.mark.parametrize("opset", [10, 17])
def test_every_order_of_bounds(opset: int) -> None:
    bounds = [None, -1.0, 0.0, 2.0]
    for low, high, low2, high2 in product(bounds, repeat=4):
        crossed = [a is not None and b is not None and a > b for a, b in ((low, high), (low2, high2))]
        if opset < 11 and any(crossed):
            continue  # onnxruntime does not load these
        arrays = (
            {} if opset < 11 else {f"v{i}": float32(b) for i, b in enumerate((low, high, low2, high2)) if b is not None}
        )
        one, two = _clip("x", low, high, 0, opset), _clip("a", low2, high2, 2, opset)
        text = f"(float[99] x) => (float[99] y) {{ a = {one} y = {two} }}"
        before, after, result = run_pass(FuseActivations(), build(text, arrays, opset=opset))
        assert result.changed, (low, high, low2, high2)
        assert ops(after) == "Clip"
        same(before, after, signs=False)


def _clip(name: str, low: float | None, high: float | None, first: int, opset: int) -> str:
    if opset < 11:
        given = [f"{what} = {value}" for what, value in (("min", low), ("max", high)) if value is not None]
        return f"Clip<{', '.join(given)}>({name})" if given else f"Clip({name})"
    names = [f"v{first}" if low is not None else "", f"v{first + 1}" if high is not None else ""]
    return f"Clip({', '.join([name, *names])})".replace(", )", ")").replace(", )", ")")


def test_float64_before_opset_12_is_left_alone() -> None:
    text = "(double[9] x) => (double[9] y) { a = Relu(x) y = Clip(a, , h) }"
    _, _, result = run_pass(FuseActivations(), build(text, {"h": float64(1)}, opset=11))
    assert ["Clip does not take float64" in record.reason for record in result.records] == [True]


def test_the_bounds_have_the_type_of_the_data() -> None:
    _, after, _ = run_pass(FuseActivations(), CASES[5].model())
    assert {tensor.data_type for tensor in after.graph.initializer} == {11}


def test_hard_sigmoid_has_the_slope_of_one_sixth() -> None:
    case = next(case for case in CASES if case.name == "gate")
    found = attributes(run_pass(FuseActivations(), case.model())[1], "HardSigmoid")
    assert found == {"alpha": float(float32(1 / 6)), "beta": 0.5}
