import numpy as np
import pytest

from roofwright.passes.fusion import FuseGemm
from tests.passes.harness import PLACES, Case, attributes, build, check, float32, random, run_pass
from tests.passes.perturb import Perturbation, check_perturbed, perturbed

W, B = random(3, 4), random(4, seed=1)
CASES = [
    Case(
        "bias",
        "(float[2,3] x) => (float[2,4] y) { c = MatMul(x, w) y = Add(c, b) }",
        "Gemm",
        arrays={"w": W, "b": B},
        exact=False,
    ),
    Case(
        "bias first",
        "(float[2,3] x) => (float[2,4] y) { c = MatMul(x, w) y = Add(b, c) }",
        "Gemm",
        arrays={"w": W, "b": B[None]},
        exact=False,
    ),
    Case(
        "scalar bias",
        "(float[2,3] x) => (float[2,4] y) { c = MatMul(x, w) y = Add(b, c) }",
        "Gemm",
        arrays={"w": W, "b": float32(2)},
        exact=False,
    ),
    Case(
        "nothing constant",
        "(float[2,3] x, float[3,4] w, float[4] b) => (float[2,4] y) { c = MatMul(x, w) y = Add(c, b) }",
        "Gemm",
        exact=False,
    ),
    Case(
        "an unknown number of rows",
        '(float["n",3] x) => (float["n",4] y) { c = MatMul(x, w) y = Add(c, b) }',
        "Gemm",
        arrays={"w": W, "b": B},
        exact=False,
    ),
    Case("rank 3", "(float[5,2,3] x) => (float[5,2,4] y) { c = MatMul(x, w) y = Add(c, b) }", arrays={"w": W, "b": B}),
    Case(
        "a matrix of the same shape",
        "(float[2,3] x) => (float[2,4] y) { c = MatMul(x, w) y = Sum(c, b) }",
        "Gemm",
        arrays={"w": W, "b": random(2, 4)},
        exact=False,
    ),
    Case(
        "a computed matrix of the same symbolic shape",
        '(float["n",3] x, float["n",4] r) => (float["n",4] y) { c = MatMul(x, w) y = Add(r, c) }',
        "Gemm",
        arrays={"w": W},
        exact=False,
    ),
    Case(
        "a matrix with other rows",
        '(float["n",3] x, float["m",4] r) => (float["k",4] y) { c = MatMul(x, w) y = Add(r, c) }',
        arrays={"w": W},
    ),
    Case(
        "a Gemm takes a bias",
        "(float[3,2] x) => (float[2,4] y) { c = Gemm<transA = 1, alpha = 2.0, beta = 3.0>(x, w) y = Add(c, b) }",
        "Gemm",
        arrays={"w": W, "b": B},
        exact=False,
    ),
    Case(
        "a Gemm with a flag takes a bias",
        "(float[2,3] x) => (float[2,4] y) { c = Gemm<transB = 1>(x, w) y = Add(c, b) }",
        "Gemm",
        arrays={"w": random(4, 3), "b": B},
        exact=False,
    ),
    Case(
        "a Gemm has a bias",
        "(float[2,3] x, float[4] c) => (float[2,4] y) { g = Gemm(x, w, c) y = Add(g, b) }",
        arrays={"w": W, "b": B},
    ),
    Case(
        "a scale of computed matrices",
        "(float[2,3] x, float[3,4] z, float[4] c) => (float[2,4] y) { g = Gemm<alpha = 2.0>(x, z, c) y = Mul(s, g) }",
        "Gemm",
        arrays={"s": float32(3)},
        exact=False,
    ),
    Case(
        "a MatMul divided by a number",
        "(float[2,3] x, float[3,4] z) => (float[2,4] y) { g = MatMul(x, z) y = Div(g, s) }",
        "Gemm",
        arrays={"s": float32([3])},
        exact=False,
    ),
    Case(
        "a scale of a constant matrix goes elsewhere",
        "(float[2,3] x) => (float[2,4] y) { g = MatMul(x, w) y = Mul(g, s) }",
        arrays={"w": W, "s": float32(3)},
    ),
    Case(
        "a scale, two readers",
        "(float[2,3] x, float[3,4] z) => (float[2,4] y, float[2,4] q) { g = MatMul(x, z) y = Mul(g, s) q = Neg(g) }",
        None,
        "also read by",
        arrays={"s": float32(3)},
    ),
    Case(
        "MatMul of Transposes",
        "(float[3,2] x, float[4,3] z) => (float[2,4] y) { t = Transpose(x) u = Transpose(z) y = MatMul(t, u) }",
        "Gemm",
        exact=False,
    ),
    Case(
        "MatMul of a Transpose of rank 3",
        "(float[1,3,2] x, float[3,4] z) => (float[1,2,4] y) { t = Transpose<perm = [0, 2, 1]>(x) y = MatMul(t, z) }",
    ),
    Case(
        "MatMul of a Transpose before opset 11",
        "(float[3,2] x, float[3,4] z) => (float[2,4] y) { t = Transpose(x) y = MatMul(t, z) }",
        opset=10,
    ),
    Case(
        "a bias that broadcasts up",
        "(float[1,3] x) => (float[2,4] y) { c = MatMul(x, w) y = Add(c, b) }",
        arrays={"w": W, "b": random(2, 1)},
    ),
    Case(
        "a bias of rank 3",
        "(float[2,3] x) => (float[1,2,4] y) { c = MatMul(x, w) y = Add(c, b) }",
        arrays={"w": W, "b": B[None, None]},
    ),
    Case(
        "one column broadcasts up",
        "(float[2,3] x) => (float[2,4] y) { c = MatMul(x, w) y = Add(c, b) }",
        arrays={"w": random(3, 1), "b": B},
    ),
    Case(
        "two readers",
        "(float[2,3] x) => (float[2,4] y, float[2,4] z) { c = MatMul(x, w) y = Add(c, b) z = Neg(c) }",
        None,
        "also read by",
        arrays={"w": W, "b": B},
    ),
    Case(
        "integers",
        "(int32[2,3] x) => (int32[2,4] y) { c = MatMul(x, w) y = Add(c, b) }",
        arrays={"w": np.ones((3, 4), np.int32), "b": np.ones(4, np.int32)},
    ),
    Case(
        "transposed left",
        "(float[3,2] x) => (float[2,4] y) { t = Transpose(x) y = Gemm(t, w) }",
        "Gemm",
        arrays={"w": W},
    ),
    Case(
        "transposed right",
        "(float[2,3] a, float[4,3] x) => (float[2,4] y) { t = Transpose<perm = [1, 0]>(x) y = Gemm(a, t) }",
        "Gemm",
    ),
    Case(
        "transposed twice",
        "(float[2,3] x) => (float[2,4] y) { t = Transpose(x) y = Gemm<transA = 1>(t, w) }",
        "Gemm",
        arrays={"w": W},
    ),
    Case(
        "the transposed matrix is read elsewhere",
        "(float[3,2] x) => (float[2,4] y, float[2,3] z) { t = Transpose(x) y = Gemm(t, w) z = Neg(t) }",
        None,
        "also read by",
        arrays={"w": W},
    ),
    Case(
        "both sides the same",
        "(float[3,3] x) => (float[3,3] y) { t = Transpose(x) y = Gemm(t, t) }",
        None,
        "the same node again",
    ),
    Case(
        "exact only",
        "(float[2,3] x) => (float[2,4] y) { c = MatMul(x, w) y = Add(c, b) }",
        None,
        "numerics",
        arrays={"w": W, "b": B},
        context={"numerics": "exact"},
    ),
    Case(
        "three terms",
        "(float[2,3] x) => (float[2,4] y) { c = MatMul(x, w) y = Sum(c, b, b) }",
        arrays={"w": W, "b": B},
    ),
    Case(
        "a scalar for many products",
        "(float[2,3] x) => (float[5,2,4] y) { c = MatMul(x, w) y = Add(c, b) }",
        arrays={"w": random(5, 3, 4), "b": float32(2)},
    ),
    Case(
        "an unknown number of columns",
        '(float[2,3] x, float[3,"n"] z) => (float[2,"n"] y) { c = MatMul(x, z) y = Add(c, b) }',
        "Gemm",
        arrays={"b": float32([2])},
        exact=False,
    ),
    Case(
        "a bias of unknown size",
        '(float[2,3] x, float["n",4] z) => (float["k",4] y) { c = MatMul(x, w) y = Add(c, z) }',
        arrays={"w": W},
    ),
    Case(
        "a scale that is a matrix",
        "(float[2,3] x, float[3,4] z) => (float[2,4] y) { g = MatMul(x, z) y = Mul(g, s) }",
        arrays={"s": random(2, 4)},
    ),
    Case(
        "a scale of something else",
        "(float[2,3] x) => (float[2,3] y) { g = Neg(x) y = Mul(g, s) }",
        arrays={"s": float32(3)},
    ),
    Case(
        "a scale that is not finite",
        "(float[2,3] x, float[3,4] z, float[4] c) => (float[2,4] y) { g = Gemm(x, z, c) y = Mul(s, g) }",
        arrays={"s": float32(np.inf)},
    ),
    Case(
        "a scale of a MatMul before opset 11",
        "(float[2,3] x, float[3,4] z) => (float[2,4] y) { g = MatMul(x, z) y = Mul(g, s) }",
        arrays={"s": float32(3)},
        opset=10,
    ),
    Case(
        "a Transpose that moves nothing",
        "(float[2,3] x) => (float[2,4] y) { t = Transpose<perm = [0, 1]>(x) y = Gemm(t, w) }",
        arrays={"w": W},
    ),
    Case(
        "MatMul of a Transpose and many matrices",
        "(float[3,2] x, float[5,3,4] z) => (float[5,2,4] y) { t = Transpose(x) y = MatMul(t, z) }",
    ),
    Case(
        "MatMul of integers",
        "(int32[3,2] x, int32[3,4] z) => (int32[2,4] y) { t = Transpose(x) y = MatMul(t, z) }",
    ),
    Case(
        "the second of two Transposes is read by nobody else",
        "(float[3,2] x, float[4,3] z) => (float[2,4] y, float[2,3] q) { t = Transpose(x) u = Transpose(z)"
        " y = Gemm(t, u) q = Neg(t) }",
        "Gemm Neg Transpose",
        "also read by",
    ),
    Case(
        "the transposed matrix is an output",
        "(float[3,2] x) => (float[2,4] y, float[2,3] t) { t = Transpose(x) y = Gemm(t, w) }",
        None,
        "is an output",
        arrays={"w": W},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(FuseGemm(), case, place)


@perturbed(CASES)
def test_short_of_a_precondition(case: Case, how: Perturbation) -> None:
    check_perturbed(FuseGemm(), case, how)


@pytest.mark.parametrize(
    "text",
    [
        "c = MatMul(x, w) y = Add<broadcast = 1>(c, b)",
        "g = Gemm<broadcast = 1>(x, w, b) y = Mul<broadcast = 1>(g, s)",
    ],
)
def test_before_opset_7_broadcasting_is_not_what_a_gemm_does(text: str) -> None:
    model = build(f"(float[2,3] x, float[3,4] w) => (float[2,4] y) {{ {text} }}", {"b": B, "s": float32([2])}, opset=6)
    assert run_pass(FuseGemm(), model)[2].records == ()


def test_the_flag_flips() -> None:
    flags = [
        attributes(run_pass(FuseGemm(), case.model())[1], "Gemm")
        for case in CASES
        if case.name.startswith("transposed")
    ]
    assert flags == [{"transA": 1}, {"transB": 1}, {"transA": 0}]
