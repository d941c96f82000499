from typing import Any

import numpy as np
import pytest

from roofwright.graph import View, read
from roofwright.passes.fusion import FuseComposites
from roofwright.passes.fusion.norms import is_in_norm
from tests.passes.fusion.written_out import C16, HALF, X, case
from tests.passes.harness import PLACES, Case, attributes, build, check, float32, int64, positive, run_pass

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
    case("a maximum", f"{X} {{ {SQUARES.replace('ReduceMean', 'ReduceMax')} n = Div(x, r) y = Mul(n, g) }}", None),
    case(
        "means without their axis",
        "(float[8,8] x) => (float[8,8] y) { p = Pow(x, c2) v = ReduceMean<keepdims = 0>(p, ax) z = Add(v, e)"
        " r = Sqrt(z) n = Div(x, r) y = Mul(n, g) }",
        None,
    ),
    case("no square", f"{X} {{ p = Add(x, x) v = ReduceMean(p, ax) z = Add(v, e) r = Sqrt(z) y = Div(x, r) }}", None),
    case("no mean", f"{X} {{ p = Pow(x, c2) z = Add(p, e) r = Sqrt(z) y = Div(x, r) }}", None),
    case("no epsilon", f"{X} {{ p = Pow(x, c2) v = ReduceMean(p, ax) r = Sqrt(v) y = Div(x, r) }}", None),
    case(
        "the distance from something else",
        f"{X} {{ d = Sub(x, row) {VARIANCE} n = Div(d, r) y = Mul(n, g) }}",
        "RMSNormalization Sub",
    ),
    case(
        "the distance from the mean of something else",
        "(float[2,5,8] x, float[2,5,8] i) => (float[2,5,8] y)"
        f" {{ m = ReduceMean(i, ax) d = Sub(x, m) {VARIANCE} n = Div(d, r) y = Mul(n, g) }}",
        "RMSNormalization ReduceMean Sub",
    ),
    case("no inverse", f"{X} {{ {SQUARES} i = Neg(r) n = Mul(x, i) y = Mul(n, g) }}", None),
    case("two over the root", f"{X} {{ {SQUARES} i = Div(c2, r) n = Mul(x, i) y = Mul(n, g) }}", None),
    case(
        "the inverse beside something else", f"{X} {{ {SQUARES} i = Reciprocal(r) n = Mul(g, i) y = Mul(x, n) }}", None
    ),
    case("the inverse behind a sum", f"{X} {{ {SQUARES} i = Reciprocal(r) n = Add(x, i) y = Mul(n, g) }}", None),
    case(
        "another root",
        f"{X} {{ p = Mul(x, x) v = ReduceMean(p, ax) z = Add(v, e) i = Pow(z, c2) n = Mul(x, i) y = Mul(n, g) }}",
        None,
    ),
    case(
        "one over with more dimensions",
        f"{X.replace('] y', ',8] y').replace('[2,5,8,8]', '[1,2,5,8]')} {{ {SQUARES} i = Div(l, r) y = Mul(x, i) }}",
        None,
        arrays={"l": float32([[[[1]]]])},
    ),
    case(
        "a power with more dimensions",
        "(float[2,5,8] x) => (float[1,2,5,8] y)"
        " { p = Pow(x, l) v = ReduceMean(p, ax) z = Add(v, e) r = Sqrt(z) y = Div(x, r) }",
        None,
        arrays={"l": float32([[[[2]]]])},
    ),
    case(
        "a root with more dimensions",
        "(float[2,5,8] x) => (float[1,2,5,8] y)"
        " { p = Mul(x, x) v = ReduceMean(p, ax) z = Add(v, e) i = Pow(z, l) y = Mul(x, i) }",
        None,
        arrays={"l": float32([[[[-0.5]]]])},
    ),
    case(
        "a scale of unknown size",
        f"(float[2,5,2] x, float[K] k) => (float[2,5,2] y) {{ {SQUARES} n = Div(x, r) y = Mul(n, k) }}",
        "Mul RMSNormalization",
    ),
    case(
        "a scale of unknown size with dimensions in front",
        f"(float[2,5,8] x, float[1,8] k) => (float[2,5,8] y) {{ {SQUARES} n = Div(x, r) y = Mul(n, k) }}",
        "Mul RMSNormalization",
    ),
    case("a size that is not known", f"(float[2,5,D] x) => (float[2,5,D] y) {{ {SQUARES} y = Div(x, r) }}", None),
    case(
        "a number of channels that is not known",
        "(float[2,C,4,4] x) => (float[2,C,4,4] y) { m = ReduceMean(x, both) d = Sub(x, m) p = Pow(d, c2)"
        " v = ReduceMean(p, both) z = Add(v, e) r = Sqrt(z) y = Div(d, r) }",
        "LayerNormalization",
    ),
    case(
        "instance of one axis is a layer",
        "(float[2,5,8] x) => (float[2,5,8] y) { " + CENTRE + " " + VARIANCE + " n = Div(d, r) y = Mul(n, l) }",
        "InstanceNormalization",
        arrays={"l": positive(5, 1)},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("layer", {"axis": -1, "epsilon": pytest.approx(1e-5)}),
        ("two axes", {"axis": -2, "epsilon": pytest.approx(1e-5)}),
    ],
)
def test_attributes(name: str, found: dict[str, Any]) -> None:
    one = next(one for one in CASES if one.name == name)
    assert attributes(run_pass(FuseComposites(), one.model())[1], "LayerNormalization") == found


def test_an_input_of_unknown_rank_is_left_alone() -> None:
    text = (
        "(float[80] w, int64[K] s) => (float[2,5,8] y) <float[2,5,8] p>"
        f" {{ x = Reshape(w, s) {SQUARES} y = Div(x, r) }}"
    )
    arrays = {"c2": float32(2), "e": float32(1e-5), "ax": int64([-1])}
    assert not run_pass(FuseComposites(), build(text, arrays, opset=23, ir=11))[2].changed


def test_what_belongs_to_a_normalization() -> None:
    graph = read(CASES[0].model())
    view = View(graph)
    inside = [node.op for node in graph.nodes if node.outputs[0].name in "ky" and is_in_norm(node, view)]
    assert inside == ["Mul", "Add"]


def test_what_follows_a_normalization_does_not_belong_to_it() -> None:
    text = f"{X} {{ {CENTRE} {VARIANCE} n = Div(d, r) k = Mul(n, g) y = Mul(k, b) }}"
    graph = read(case("behind", text, None).model())
    assert not is_in_norm(graph.nodes[-1], View(graph))
    other = read(case("none", f"{X} {{ r = Sqrt(x) y = Mul(r, g) }}", None).model())
    assert not is_in_norm(other.nodes[-1], View(other))
