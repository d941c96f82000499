from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseComposites
from tests.passes.fusion.written_out import C, C16, HALF, X, case
from tests.passes.harness import PLACES, Case, attributes, build, check, float16, float32, int64, positive, run_pass

CENTRE = "m = ReduceMean(x, ax) d = Sub(x, m)"
VARIANCE = "p = Pow(d, c2) v = ReduceMean(p, ax) z = Add(v, e) r = Sqrt(z)"
SQUARES = "p = Pow(x, c2) v = ReduceMean(p, ax) z = Add(v, e) r = Sqrt(z)"
CASES = [
    case("layer", f"{X} {{ {CENTRE} {VARIANCE} n = Div(d, r) k = Mul(n, g) y = Add(k, b) }}", "LayerNormalization"),
    case(
        "layer, swapped",
        f"{X} {{ {CENTRE} {VARIANCE} n = Div(d, r) k = Mul(g, n) y = Add(b, k) }}",
        "LayerNormalization",
    ),
    case(
        "layer at opset 17",
        f"{X} {{ m = ReduceMean<axes = [2]>(x) d = Sub(x, m) p = Mul(d, d) v = ReduceMean<axes = [-1]>(p) z = Add(e, v)"
        " r = Sqrt(z) i = Reciprocal(r) n = Mul(d, i) k = Mul(n, g) y = Add(k, b) }",
        "LayerNormalization",
        opset=17,
    ),
    case("no bias", f"{X} {{ {CENTRE} {VARIANCE} n = Div(d, r) y = Mul(n, g) }}", "LayerNormalization"),
    case("no scale", f"{X} {{ {CENTRE} {VARIANCE} y = Div(d, r) }}", "LayerNormalization"),
    case(
        "a bias that broadcasts",
        f"{X} {{ {CENTRE} {VARIANCE} n = Div(d, r) k = Mul(n, g) y = Add(k, half) }}",
        "Add LayerNormalization",
    ),
    case(
        "two axes",
        f"{X} {{ m = ReduceMean(x, both) d = Sub(x, m) p = Pow(d, c2) v = ReduceMean(p, both) z = Add(v, e) r = Sqrt(z)"
        " n = Div(d, r) y = Mul(n, wide) }",
        "LayerNormalization",
    ),
    case(
        "scale with dimensions in front",
        f"{X} {{ {CENTRE} {VARIANCE} n = Div(d, r) k = Mul(n, l) y = Add(k, b) }}",
        "LayerNormalization",
        arrays={"l": positive(1, 1, 8)},
    ),
    case(
        "symbolic batch",
        f"(float[N,S,8] x) => (float[N,S,8] y) {{ {CENTRE} {VARIANCE} n = Div(d, r) k = Mul(n, g) y = Add(k, b) }}",
        "LayerNormalization",
    ),
    case("rms", f"{X} {{ {SQUARES} n = Div(x, r) y = Mul(n, g) }}", "RMSNormalization"),
    case(
        "rms by a reciprocal", f"{X} {{ {SQUARES} i = Reciprocal(r) n = Mul(x, i) y = Mul(g, n) }}", "RMSNormalization"
    ),
    case("rms by one over", f"{X} {{ {SQUARES} i = Div(c1, r) n = Mul(x, i) y = Mul(n, g) }}", "RMSNormalization"),
    case(
        "rms by a power",
        f"{X} {{ p = Mul(x, x) v = ReduceMean(p, ax) z = Add(v, e) i = Pow(z, power) n = Mul(x, i) y = Mul(n, g) }}",
        "RMSNormalization",
    ),
    case(
        "casts around",
        f"{HALF} {{ x32 = Cast<to = 1>(x) p = Pow(x32, c2) v = ReduceMean(p, ax) z = Add(v, e) r = Sqrt(z)"
        " n = Div(x32, r) n16 = Cast<to = 10>(n) y = Mul(l, n16) }",
        "RMSNormalization",
        arrays={"l": positive(8, dtype=np.float16)},
    ),
    case(
        "scale before the cast back",
        f"{HALF} {{ x32 = Cast<to = 1>(x) p = Pow(x32, c2) v = ReduceMean(p, ax) z = Add(v, e) r = Sqrt(z)"
        " n = Div(x32, r) k = Mul(n, g) y = Cast<to = 10>(k) }",
        "Cast Cast RMSNormalization",
    ),
    case(
        "another reader of the cast",
        "(float16[2,5,8] x) => (float16[2,5,8] y, float[2,5,8] k) { x32 = Cast<to = 1>(x) p = Pow(x32, c2)"
        " v = ReduceMean(p, ax) z = Add(v, e) r = Sqrt(z) n = Div(x32, r) y = Cast<to = 10>(n) k = Neg(x32) }",
        "Cast Neg RMSNormalization",
    ),
    case(
        "instance",
        "(float[2,5,4,4] x) => (float[2,5,4,4] y) { m = ReduceMean(x, both) d = Sub(x, m) p = Pow(d, c2)"
        " v = ReduceMean(p, both) z = Add(v, e) r = Sqrt(z) n = Div(d, r) k = Mul(n, l) y = Add(k, o) }",
        "InstanceNormalization",
        arrays={"l": positive(5, 1, 1), "o": positive(1, 5, 1, 1)},
    ),
    case(
        "float16 means",
        f"{HALF} {{ {CENTRE} {VARIANCE} y = Div(d, r) }}",
        None,
        "means are computed in float16",
        arrays=C16,
    ),
    case(
        "opset 16",
        f"{X} {{ m = ReduceMean<axes = [2]>(x) d = Sub(x, m) p = Pow(d, c2) v = ReduceMean<axes = [2]>(p)"
        " z = Add(v, e) r = Sqrt(z) y = Div(d, r) }",
        None,
        "came with opset 17",
        opset=16,
    ),
    case(
        "mean read twice",
        f"(float[2,5,8] x) => (float[2,5,8] y, float[2,5,1] k) {{ {CENTRE} {VARIANCE} y = Div(d, r) k = Neg(m) }}",
        None,
        "also read by",
    ),
    case(
        "another axis",
        f"{X} {{ m = ReduceMean(x, first) d = Sub(x, m) p = Pow(d, c2) v = ReduceMean(p, first)"
        " z = Add(v, e) r = Sqrt(z) y = Div(d, r) }",
        None,
    ),
    case(
        "axes that differ",
        f"{X} {{ m = ReduceMean(x, first) d = Sub(x, m) {VARIANCE} n = Div(d, r) y = Mul(n, g) }}",
        "RMSNormalization ReduceMean Sub",
    ),
    case("the quotient of something else", f"{X} {{ {SQUARES} k = Neg(x) y = Div(k, r) }}", None),
    case(
        "another power", f"{X} {{ p = Pow(x, c3) v = ReduceMean(p, ax) z = Add(v, e) r = Sqrt(z) y = Div(x, r) }}", None
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)
