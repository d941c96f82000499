import numpy as np
import pytest

from roofwright.passes.fusion import FuseGemm
from tests.passes.harness import PLACES, Case, attributes, check, float32, random, run_pass

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
        "a matrix is no bias",
        "(float[2,3] x) => (float[2,4] y) { c = MatMul(x, w) y = Add(c, b) }",
        arrays={"w": W, "b": random(2, 4)},
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
