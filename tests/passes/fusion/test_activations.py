import dataclasses
from itertools import product
from typing import Any

import numpy as np
import pytest

from roofwright.graph import run_model
from roofwright.passes.fusion import FuseActivations
from roofwright.targets import load_target
from tests.passes.fusion.written_out import used
from tests.passes.harness import (
    PLACES,
    Case,
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
A = {
    **{"c0": float32(0), "c3": float32(3), "c6": float32(6), "low": float32(-1), "high": float32(2)},
    **{"top": float32(np.inf), "bottom": float32(-np.inf), "nan": float32(np.nan), "flat": float32([[0.25]])},
}


def case(name: str, text: str, after: str | None, declines: str | None = None, **options: Any) -> Case:
    return Case(name, text, after, declines, used(text, A), **options)


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
    case("max, min", f"{X} {{ m = Max(x, low) y = Min(m, high) }}", "Clip"),
    case("min, max", f"{X} {{ m = Min(high, x) y = Max(low, m) }}", "Clip"),
    case("bounds crossed, min last", f"{X} {{ m = Max(x, high) y = Min(m, low) }}", "Clip"),
    case("bounds crossed, max last", f"{X} {{ m = Min(x, low) y = Max(m, high) }}", "Clip"),
    case("max, relu", f"{X} {{ m = Max(x, low) y = Relu(m) }}", "Clip", signs=False),
    case("max of infinity", f"{X} {{ m = Relu(x) y = Max(m, top) }}", "Clip"),
    case("max of infinity, then the largest number", f"{X} {{ m = Max(x, top) y = Clip(m, low) }}", "Clip"),
    case("min, then the largest number", f"{X} {{ m = Min(high, x) y = Clip(m, top) }}", "Clip"),
    case("min of infinity, then the least number", f"{X} {{ m = Min(x, bottom) y = Clip(m, , high) }}", "Clip"),
    case("the largest number of a clip, then a max", f"{X} {{ m = Clip(x, top) y = Max(m, low) }}", "Clip"),
    case("clip, min", f"{X} {{ m = Clip(x, low) y = Min(m, high) }}", "Clip"),
    case("max of a value", "(float[2,9] x, float[2,9] z) => (float[2,9] y) { m = Max(x, z) y = Min(m, high) }", None),
    case(
        "max of three", "(float[2,9] x, float[2,9] z) => (float[2,9] y) { m = Max(x, z, low) y = Min(m, high) }", None
    ),
    case("a number that broadcasts up", "(float[9] x) => (float[1,9] y) { m = Max(x, flat) y = Relu(m) }", None),
    case("two rectifiers", f"{X} {{ a = Relu(x) y = Relu(a) }}", None),  # pass identities
    case("a bound that is no number", f"{X} {{ a = Relu(x) y = Clip(a, nan) }}", None, "a bound is not a number"),
    case("what does not clamp, first", f"{X} {{ a = Exp(x) y = Clip(a, low, high) }}", None),
    case("what does not clamp, last", f"{X} {{ a = Clip(x, low, high) y = Max(a, x) }}", None),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseActivations(), one, place)


@pytest.mark.parametrize("opset", [10, 17])
def test_every_order_of_bounds(opset: int) -> None:
    bounds = [None, -1.0, 2.0]
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


@pytest.mark.parametrize(
    ("nodes", "largest"),
    [
        ("m = Max(x, low) y = Relu(m)", np.inf),
        ("m = Clip(x, low) y = Relu(m)", 65504),
        ("m = Relu(x) y = Clip(m, low)", 65504),
    ],
)
def test_only_a_clip_ends_at_the_largest_finite_number(nodes: str, largest: float) -> None:
    text = f"(float16[3] x) => (float16[3] y) {{ {nodes} }}"
    before, after, _ = run_pass(FuseActivations(), build(text, {"low": np.array(0.5, np.float16)}))
    assert ops(after) == "Clip"
    feed = {"x": np.array([1, np.inf, -np.inf], np.float16)}
    for model in (before, after):
        assert run_model(model, feed)["y"].tolist() == [1, largest, 0.5]


def test_the_bounds_have_the_type_of_the_data() -> None:
    _, after, _ = run_pass(FuseActivations(), CASES[5].model())
    assert {tensor.data_type for tensor in after.graph.initializer} == {11}


@pytest.mark.parametrize("stack_has_it", [False, True])
def test_the_stack_says_whether_hard_swish_is_written(stack_has_it: bool) -> None:
    target = load_target("host")
    stack = dataclasses.replace(target.stack, composites=("HardSwish",) if stack_has_it else ())
    model = build(f"{X} {{ g = HardSigmoid<alpha = 0.16666667>(x) y = Mul(x, g) }}")
    result = run_pass(FuseActivations(), model, target=dataclasses.replace(target, stack=stack))[2]
    assert result.changed is stack_has_it
    assert any("does not list HardSwish" in record.reason for record in result.records) is not stack_has_it


def test_what_is_no_hard_swish_needs_no_stack() -> None:
    target = load_target("host")
    none = dataclasses.replace(target, stack=dataclasses.replace(target.stack, composites=()))
    assert run_pass(FuseActivations(), CASES[0].model(), target=none)[2].changed
