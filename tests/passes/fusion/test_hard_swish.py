from typing import Any

import pytest

from roofwright.passes.fusion import FuseActivations
from tests.passes.fusion.written_out import used
from tests.passes.harness import PLACES, Case, attributes, build, check, float32, float64, run_pass

X = "(float[2,9] x) => (float[2,9] y)"
A = {
    **{"c0": float32(0), "c3": float32(3), "c6": float32(6), "cs": float32(1 / 6)},
    **{"c1": float32(1), "slope": float32(0.2), "half": float32(0.5), "big": float32(3), "high": float32(2)},
    **{"tiny": float32(1e-40), "low": float32(-1)},
}
SIXTH = "a = Add(x, c3) b = Clip(a, c0, c6)"
LINE = "m = Mul(x, slope) s = Add(m, half) y = Clip(s, c0, c1)"


def case(name: str, text: str, after: str | None, declines: str | None = None, **options: Any) -> Case:
    options.setdefault("arrays", used(text, A))
    return Case(name, text, after, declines, exact=False, **options)


CASES = [
    case("gate", f"{X} {{ {SIXTH} y = Div(b, c6) }}", "HardSigmoid"),
    case(
        "gate by a product, opset 9",
        f"{X} {{ a = Add(c3, x) b = Clip<min = 0.0, max = 6.0>(a) y = Mul(cs, b) }}",
        "HardSigmoid",
        opset=9,
    ),
    case("another divisor", f"{X} {{ {SIXTH} y = Div(b, c3) }}", None),
    case("another offset", f"{X} {{ a = Add(x, c6) b = Clip(a, c0, c6) y = Div(b, c6) }}", None),
    case("hard swish", f"{X} {{ {SIXTH} c = Div(b, c6) y = Mul(x, c) }}", "HardSwish"),
    case(
        "hard swish, divided last",
        f"{X} {{ {SIXTH} c = Mul(b, x) y = Div(c, c6) }}",
        "HardSwish",
    ),
    case(
        "hard swish, opset 13",
        f"{X} {{ {SIXTH} c = Div(b, c6) y = Mul(x, c) }}",
        "HardSigmoid Mul",
        opset=13,
    ),
    case(
        "another input",
        "(float[9] x, float[9] z) => (float[9] y) { c = HardSigmoid<alpha = 0.16666667>(x) y = Mul(z, c) }",
        None,
    ),
    case("another slope", f"{X} {{ c = HardSigmoid<alpha = 0.2>(x) y = Mul(x, c) }}", None),
    case(
        "the gate has two readers",
        "(float[9] x) => (float[9] y, float[9] z) { c = HardSigmoid<alpha = 0.16666667>(x) y = Mul(x, c) z = Neg(c) }",
        None,
        "also read by",
    ),
    case("clipped line", f"{X} {{ {LINE} }}", "HardSigmoid"),
    case(
        "clipped line by a quotient",
        f"{X} {{ m = Div(x, big) s = Add(half, m) y = Clip(s, c0, c1) }}",
        "HardSigmoid",
    ),
    case("clipped elsewhere", f"{X} {{ m = Mul(x, slope) s = Add(m, half) y = Clip(s, c0, high) }}", None),
    case(
        "line read twice",
        f"(float[2,9] x) => (float[2,9] y, float[2,9] k) {{ {LINE} k = Exp(s) }}",
        None,
        "also read by",
    ),
    case("clipped elsewhere than at six", f"{X} {{ s = Add(x, c3) l = Clip(s, c0, c3) y = Div(l, c6) }}", None),
    case("nothing added", f"{X} {{ s = Exp(x) l = Clip(s, c0, c6) y = Div(l, c6) }}", None),
    case("no gate", f"{X} {{ s = Exp(x) y = Div(s, c6) }}", None),
    case(
        "the sum is read twice",
        f"(float[2,9] x) => (float[2,9] y, float[2,9] k) {{ {SIXTH} y = Div(b, c6) k = Neg(a) }}",
        None,
        "also read by",
    ),
    case(
        "gate in float64",
        "(double[9] x) => (double[9] y) { a = Add(x, k3) b = Clip(a, k0, k6) y = Div(b, k6) }",
        None,
        arrays={f"k{value}": float64(value) for value in (0, 3, 6)},
    ),
    case(
        "hard swish in float64",
        "(double[9] x) => (double[9] y) { a = Add(x, k3) b = Clip(a, k0, k6) c = Mul(b, x) y = Div(c, k6) }",
        None,
        arrays={f"k{value}": float64(value) for value in (0, 3, 6)},
    ),
    case(
        "line in float64",
        "(double[9] x) => (double[9] y) { m = Mul(x, k3) s = Add(m, k3) y = Clip(s, k0, k1) }",
        None,
        arrays={f"k{value}": float64(value) for value in (0, 1, 3)},
    ),
    case("one over nothing", f"{X} {{ m = Div(x, c0) s = Add(m, half) y = Clip(s, c0, c1) }}", None, "not finite"),
    case(
        "one over little",
        f"{X} {{ m = Div(x, tiny) s = Add(m, half) y = Clip(s, c0, c1) }}",
        None,
        "not finite",
    ),
    case("no line", f"{X} {{ m = Exp(x) y = Clip(m, c0, c1) }}", None),
    case("no slope", f"{X} {{ m = Exp(x) s = Add(m, half) y = Clip(s, c0, c1) }}", None),
    case(
        "product read twice",
        f"(float[2,9] x) => (float[2,9] y, float[2,9] k) {{ {LINE} k = Exp(m) }}",
        None,
        "also read by",
    ),
    case("by a gate", f"{X} {{ g = HardSigmoid<alpha = 0.16666667>(x) y = Div(x, g) }}", None),
    case("leaky instead of hard", f"{X} {{ g = LeakyRelu<alpha = 0.16666667>(x) y = Mul(x, g) }}", None),
    case("the sum divided", f"{X} {{ {SIXTH} c = Add(b, x) y = Div(c, c6) }}", None),
    case("something else divided", f"{X} {{ c = Mul(x, x) y = Div(c, c6) }}", None),
    case(
        "gated by another value",
        f"(float[2,9] x, float[2,9] z) => (float[2,9] y) {{ {SIXTH} c = Mul(b, z) y = Div(c, c6) }}",
        None,
    ),
    case(
        "gated, read twice, divided",
        f"(float[2,9] x) => (float[2,9] y, float[2,9] k) {{ {SIXTH} c = Mul(b, x) y = Div(c, c6) k = Neg(c) }}",
        None,
        "also read by",
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseActivations(), one, place)


@pytest.mark.parametrize(
    ("name", "alpha"),
    [("gate", float(float32(1 / 6))), ("clipped line", float(float32(0.2))), ("clipped line by a quotient", 1 / 3)],
)
def test_slopes_become_attributes(name: str, alpha: float) -> None:
    one = next(one for one in CASES if one.name == name)
    found = attributes(run_pass(FuseActivations(), one.model())[1], "HardSigmoid")
    assert found == {"alpha": pytest.approx(alpha), "beta": 0.5}


def test_a_clip_of_another_domain_is_none() -> None:
    text = f"{X} {{ a = Add(x, c3) b = custom.Clip(a, c0, c6) y = Div(b, c6) }}"
    assert not run_pass(FuseActivations(), build(text, used(text, A)))[2].changed
