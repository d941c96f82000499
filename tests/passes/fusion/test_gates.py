from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseComposites
from tests.passes.fusion.written_out import C, C16, HALF, X, case
from tests.passes.harness import PLACES, Case, attributes, build, check, float16, float32, int64, positive, run_pass

CUBE = "p = Pow(x, c3) q = Mul(p, a) w = Add(x, q)"
ERF = "d = Div(x, root) f = Erf(d) o = Add(f, c1)"
CASES = [
    case("gelu, halved last", f"{X} {{ {ERF} t = Mul(x, o) y = Mul(t, half) }}", "Gelu", opset=20),
    case("gelu, halved first", f"{X} {{ h = Mul(half, x) {ERF} y = Mul(h, o) }}", "Gelu"),
    case("gelu, gate halved", f"{X} {{ {ERF} t = Mul(o, half) y = Mul(t, x) }}", "Gelu"),
    case(
        "gelu by a product",
        f"{X} {{ d = Mul(x, inverse) f = Erf(d) o = Add(c1, f) t = Mul(x, o) y = Div(t, c2) }}",
        "Gelu",
    ),
    case("gelu, a sum", f"{X} {{ d = Div(x, root) f = Erf(d) h = Mul(x, half) t = Mul(h, f) y = Add(h, t) }}", "Gelu"),
    case(
        "gelu in float16",
        f"{HALF} {{ {ERF} t = Mul(x, o) y = Mul(t, half) }}",
        "Gelu",
        arrays=C16,
    ),
    case("tanh", f"{X} {{ {CUBE} u = Mul(w, s) t = Tanh(u) o = Add(t, c1) h = Mul(x, half) y = Mul(h, o) }}", "Gelu"),
    case(
        "tanh, cube by products",
        f"{X} {{ i = Mul(x, x) p = Mul(i, x) q = Mul(a, p) w = Add(q, x) u = Mul(s, w) t = Tanh(u) o = Add(c1, t)"
        " h = Mul(half, o) y = Mul(x, h) }",
        "Gelu",
    ),
    case("tanh by a sigmoid", f"{X} {{ {CUBE} u = Mul(w, s2) t = Sigmoid(u) y = Mul(x, t) }}", "Gelu"),
    case("mish", f"{X} {{ f = Softplus(x) t = Tanh(f) y = Mul(x, t) }}", "Mish"),
    case("swish", f"{X} {{ t = Sigmoid(x) y = Mul(t, x) }}", "Swish", opset=24),
    case("quick", f"{X} {{ q = Mul(x, quick) t = Sigmoid(q) y = Mul(x, t) }}", "Swish", opset=24),
    case("opset too old", f"{X} {{ {ERF} t = Mul(x, o) y = Mul(t, half) }}", None, "Gelu came with opset 20", opset=19),
    case(
        "inner reader",
        f"(float[2,5,8] x) => (float[2,5,8] y, float[2,5,8] k) {{ {ERF} t = Mul(x, o) y = Mul(t, half) k = Neg(t) }}",
        None,
        "also read by",
    ),
    case(
        "inner output",
        f"(float[2,5,8] x) => (float[2,5,8] y, float[2,5,8] o) {{ {ERF} t = Mul(x, o) y = Mul(t, half) }}",
        None,
        "output of a graph",
    ),
    case("another root", f"{X} {{ d = Div(x, c2) f = Erf(d) o = Add(f, c1) t = Mul(x, o) y = Mul(t, half) }}", None),
    case("not halved", f"{X} {{ {ERF} y = Mul(x, o) }}", None),
    case(
        "another factor",
        f"(float[2,5,8] x, float[2,5,8] z) => (float[2,5,8] y) {{ {ERF} t = Mul(z, o) y = Mul(t, half) }}",
        None,
    ),
    case(
        "a scalar with more dimensions",
        "(float[8] x) => (float[1,8] y) { d = Div(x, root) f = Erf(d) o = Add(f, c1) t = Mul(x, o) y = Mul(t, l) }",
        None,
        arrays={"l": float32([[0.5]])},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)
