import numpy as np
import pytest

from roofwright.passes.fusion import FuseGemm
from roofwright.targets import load_target
from tests.passes.harness import PLACES, Case, attributes, check, float32, int64, random, run_pass

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
        "between Reshapes",
        '(float["n",5,3] x) => (float["n",5,4] y) { r = Reshape(x, rows) g = Gemm<transB = 1>(r, w)'
        " y = Reshape(g, back) }",
        "MatMul",
        arrays={"w": random(4, 3), "rows": int64([-1, 3]), "back": int64([-1, 5, 4])},
        exact=False,
    ),
    Case(
        "MatMul between Reshapes",
        "(float[2,5,3] x) => (float[2,5,4] y) { r = Reshape(x, rows) g = MatMul(r, w) y = Reshape(g, back) }",
        "MatMul",
        arrays={"w": W, "rows": int64([10, 3]), "back": int64([2, 5, 4])},
        exact=False,
    ),
    Case(
        "Reshapes that part other axes",
        "(float[2,5,3] x) => (float[5,2,4] y) { r = Reshape(x, rows) g = MatMul(r, w) y = Reshape(g, back) }",
        arrays={"w": W, "rows": int64([10, 3]), "back": int64([5, 2, 4])},
    ),
    Case(
        "between Reshapes, read twice",
        "(float[2,5,3] x) => (float[2,5,4] y, float[10,3] z) { r = Reshape(x, rows) g = MatMul(r, w)"
        " y = Reshape(g, back) z = Neg(r) }",
        None,
        "also read by",
        arrays={"w": W, "rows": int64([10, 3]), "back": int64([2, 5, 4])},
    ),
    Case(
        "between Reshapes, a bias without a price",
        "(float[2,5,3] x) => (float[2,5,4] y) { r = Reshape(x, rows) g = Gemm(r, w, b) y = Reshape(g, back) }",
        None,
        "only where a target prices it",
        arrays={"w": W, "b": B, "rows": int64([10, 3]), "back": int64([2, 5, 4])},
    ),
    Case(
        "between Reshapes, a bias that costs a pass",
        "(float[2,5,3] x) => (float[2,5,4] y) { r = Reshape(x, rows) g = Gemm(r, w, b) y = Reshape(g, back) }",
        None,
        "as a loss",
        arrays={"w": W, "b": B, "rows": int64([10, 3]), "back": int64([2, 5, 4])},
        context={"target": load_target("host")},
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
        "another reader",
        arrays={"w": W},
    ),
    Case("both sides the same", "(float[3,3] x) => (float[3,3] y) { t = Transpose(x) y = Gemm(t, t) }"),
    Case(
        "exact only",
        "(float[2,3] x) => (float[2,4] y) { c = MatMul(x, w) y = Add(c, b) }",
        None,
        "numerics",
        arrays={"w": W, "b": B},
        context={"numerics": "exact"},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(FuseGemm(), case, place)


def test_the_flag_flips() -> None:
    flags = [
        attributes(run_pass(FuseGemm(), case.model())[1], "Gemm")
        for case in CASES
        if case.name.startswith("transposed")
    ]
    assert flags == [{"transA": 1}, {"transB": 1}, {"transA": 0}]
