from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseActivations
from tests.passes.fusion.written_out import used
from tests.passes.harness import PLACES, Case, attributes, check, float32, float64, int64, run_pass

X = "(float[2,9] x) => (float[2,9] y)"
C = {
    **{"c0": float32(0), "c1": float32(1), "low": float32(-1), "slope": float32(0.1), "big": float32(3)},
    **{"slopes": float32([0.1] * 9), "p": np.linspace(0, 1, 9, dtype=np.float32)},
}


def case(name: str, text: str, after: str | None, declines: str | None = None, **options: Any) -> Case:
    options.setdefault("arrays", used(text, C))
    return Case(name, text, after, declines, **options)


CASES = [
    case("relu by a maximum", f"{X} {{ i = Neg(x) y = Max(i, c0) }}", "Neg Relu", signs=False),
    case("a maximum of another number", f"{X} {{ i = Neg(x) y = Max(i, c1) }}", None),
    case("leaky", f"{X} {{ m = Mul(x, slope) y = Max(x, m) }}", "LeakyRelu", signs=False),
    case("leaky, swapped", f"{X} {{ m = Mul(slope, x) y = Max(m, x) }}", "LeakyRelu", signs=False),
    case("too steep", f"{X} {{ m = Mul(x, big) y = Max(x, m) }}", None),
    case("downwards", f"{X} {{ m = Mul(x, low) y = Max(x, m) }}", None),
    case("abs", f"{X} {{ m = Neg(x) y = Max(m, x) }}", "Abs", signs=False),
    case(
        "leaky read twice",
        "(float[2,9] x) => (float[2,9] y, float[2,9] k) { m = Mul(x, slope) y = Max(x, m) k = Exp(m) }",
        None,
        "also read by",
    ),
    case("one slope", f"{X} {{ y = PRelu(x, slopes) }}", "LeakyRelu"),
    Case(
        "one slope of more dimensions",
        "(float[9] x) => (float[9] y) { p = PRelu(x, a) y = Reshape(p, s) }",
        arrays={"a": float32([[0.1]]), "s": int64([9])},
    ),
    case("slopes", f"{X} {{ y = PRelu(x, p) }}", None),
    case("a slope that a caller gives", "(float[9] x, float[1] a) => (float[9] y) { y = PRelu(x, a) }", None),
    Case("no slopes", "(float[0] x) => (float[0] y) { y = PRelu(x, a) }", arrays={"a": np.empty(0, np.float32)}),
    Case("one slope in float64", "(double[9] x) => (double[9] y) { y = PRelu(x, a) }", arrays={"a": float64([0.1])}),
    Case(
        "leaky in float64",
        "(double[9] x) => (double[9] y) { m = Mul(x, a) y = Max(x, m) }",
        arrays={"a": float64(0.1)},
    ),
    case("three values", f"{X} {{ m = Mul(x, slope) n = Neg(x) y = Max(x, m, n) }}", None),
    case(
        "downwards of another value",
        "(float[2,9] x, float[2,9] z) => (float[2,9] y) { m = Neg(z) y = Max(x, m) }",
        None,
    ),
    case(
        "a slope of another value",
        "(float[2,9] x, float[2,9] z) => (float[2,9] y) { m = Mul(z, slope) y = Max(x, m) }",
        None,
    ),
    case("another function", f"{X} {{ m = Exp(x) y = Max(x, m) }}", None),
    case("leaky at opset 7", f"{X} {{ m = Mul(x, slope) y = Max(x, m) }}", "LeakyRelu", signs=False, opset=7),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseActivations(), one, place)


def test_the_slope_becomes_an_attribute() -> None:
    one = next(one for one in CASES if one.name == "leaky")
    found = attributes(run_pass(FuseActivations(), one.model())[1], "LeakyRelu")
    assert found == {"alpha": pytest.approx(0.1)}
