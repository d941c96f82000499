from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseActivations
from tests.passes.harness import PLACES, Case, attributes, check, float32, int64, run_pass

X = "(float[2,9] x) => (float[2,9] y)"
C = {
    **{"c0": float32(0), "c1": float32(1), "low": float32(-1), "high": float32(2), "slope": float32(0.1)},
    **{
        "a": float32(0.2),
        "b": float32(0.5),
        "big": float32(3),
        "flat": float32([[0.25]]),
        "slopes": float32([0.1] * 9),
    },
}


def case(name: str, text: str, after: str | None, declines: str | None = None, **options: Any) -> Case:
    words = set(text.replace(",", " ").replace("(", " ").replace(")", " ").split())
    return Case(name, text, after, declines, {k: v for k, v in C.items() if k in words}, **options)


CASES = [
    case("max, min", f"{X} {{ m = Max(x, low) y = Min(m, high) }}", "Clip"),
    case("min, max", f"{X} {{ m = Min(high, x) y = Max(low, m) }}", "Clip"),
    case("bounds crossed, min last", f"{X} {{ m = Max(x, high) y = Min(m, low) }}", "Clip"),
    case("bounds crossed, max last", f"{X} {{ m = Min(x, low) y = Max(m, high) }}", "Clip"),
    case("max, relu", f"{X} {{ m = Max(x, low) y = Relu(m) }}", "Clip", signs=False),
    case("clip, min", f"{X} {{ m = Clip(x, low) y = Min(m, high) }}", "Clip"),
    case("max of a value", "(float[2,9] x, float[2,9] z) => (float[2,9] y) { m = Max(x, z) y = Min(m, high) }", None),
    case(
        "max of three", "(float[2,9] x, float[2,9] z) => (float[2,9] y) { m = Max(x, z, low) y = Min(m, high) }", None
    ),
    case("a number that broadcasts up", "(float[9] x) => (float[1,9] y) { m = Max(x, flat) y = Relu(m) }", None),
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
    case("clipped line", f"{X} {{ m = Mul(x, a) s = Add(m, b) y = Clip(s, c0, c1) }}", "HardSigmoid", exact=False),
    case(
        "clipped line by a quotient",
        f"{X} {{ m = Div(x, big) s = Add(b, m) y = Clip(s, c0, c1) }}",
        "HardSigmoid",
        exact=False,
    ),
    case("clipped elsewhere", f"{X} {{ m = Mul(x, a) s = Add(m, b) y = Clip(s, c0, high) }}", None),
    case(
        "line read twice",
        "(float[2,9] x) => (float[2,9] y, float[2,9] k) { m = Mul(x, a) s = Add(m, b) y = Clip(s, c0, c1) k = Exp(s) }",
        None,
        "also read by",
    ),
    Case("slopes", f"{X} {{ y = PRelu(x, p) }}", None, arrays={"p": np.linspace(0, 1, 9, dtype=np.float32)}),
    Case(
        "wide integers",
        "(int64[9] x) => (int64[9] y) { m = Max(x, l) y = Min(m, h) }",
        "Clip",
        arrays={"l": int64(-(2**62) - 1), "h": int64(2**62 + 1)},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseActivations(), one, place)


def test_slopes_and_offsets_become_attributes() -> None:
    found = {
        op: attributes(run_pass(FuseActivations(), next(c for c in CASES if c.name == name).model())[1], op)
        for name, op in (("leaky", "LeakyRelu"), ("clipped line by a quotient", "HardSigmoid"))
    }
    assert found == {
        "LeakyRelu": {"alpha": pytest.approx(0.1)},
        "HardSigmoid": {"alpha": pytest.approx(1 / 3), "beta": 0.5},
    }
