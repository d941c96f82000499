from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseAffine
from tests.passes.harness import (
    PLACES,
    Array,
    Case,
    build,
    check,
    check_unrun,
    float32,
    positive,
    random,
    run_pass,
    same,
)
from tests.passes.perturb import Perturbation, check_perturbed, perturbed

W = random(4, 3, 2, 2)
PER_CHANNEL = positive(4, 1, 1, seed=5)


def after_conv(name: str, node: str, constant: Any, after: str | None = "Conv", **options: Any) -> Case:
    """Conv, then one arithmetic node; the result is as wide as it has channels (4)."""
    arrays: dict[str, Array] = {"w": W, "b": random(4, seed=3), "k": np.asarray(constant)}
    text = f"(float[1,3,3,5] x) => (float[1,4,2,4] y) {{ c = Conv(x, w, b) y = {node} }}"
    return Case(name, text, after, arrays=arrays, exact=False, **options)


CASES = [
    after_conv("times", "Mul(c, k)", PER_CHANNEL),
    after_conv("times, swapped", "Mul(k, c)", PER_CHANNEL),
    after_conv("times, rank 4", "Mul(c, k)", PER_CHANNEL[None]),
    after_conv("times a scalar", "Mul(c, k)", float32(3)),
    after_conv("times a vector of one", "Mul(c, k)", float32([3])),
    after_conv("divided by", "Div(c, k)", PER_CHANNEL),
    after_conv("divides", "Div(k, c)", PER_CHANNEL, after=None),
    after_conv("divided by 0", "Div(c, k)", np.zeros((4, 1, 1), np.float32), after=None, declines="divides by 0"),
    after_conv("plus", "Add(c, k)", PER_CHANNEL),
    after_conv("plus, swapped", "Add(k, c)", PER_CHANNEL),
    after_conv("minus", "Sub(c, k)", PER_CHANNEL),
    after_conv("subtracted from", "Sub(k, c)", PER_CHANNEL),
    after_conv(
        "a vector as long as the width is not per channel",
        "Mul(c, k)",
        positive(4),
        after=None,
        declines="not one value per channel",
    ),
    after_conv(
        "a bias over the image", "Add(c, k)", random(1, 4, 2, 4), after=None, declines="not one value per channel"
    ),
    after_conv("overflow", "Mul(c, k)", float32(3e38), after=None, declines="not finite"),
    Case(
        "one channel is not broadcast up",
        "(float[1,3,3,3] x) => (float[1,4,2,2] y) { c = Conv(x, w) y = Mul(c, k) }",
        None,
        "not one value per channel",
        arrays={"w": random(1, 3, 2, 2), "k": PER_CHANNEL},
    ),
    Case(
        "a constant of higher rank adds a dimension",
        "(float[1,3,3,3] x) => (float[1,1,4,2,2] y) { c = Conv(x, w) y = Mul(c, k) }",
        None,
        "not one value per channel",
        arrays={"w": W, "k": np.ones((1, 1, 1, 1, 1), np.float32)},
    ),
    Case(
        "a residual is not a bias",
        "(float[1,4,3,3] x) => (float[1,4,3,3] y) { c = Conv(x, w) y = Add(c, x) }",
        arrays={"w": random(4, 4, 1, 1)},
    ),
    Case(
        "the weight of a bias need not be a constant",
        "(float[1,3,3,3] x, float[4,3,2,2] w) => (float[1,4,2,2] y) { c = Conv(x, w) y = Add(c, k) }",
        "Conv",
        arrays={"k": PER_CHANNEL},
        exact=False,
    ),
    Case(
        "the weight of a factor must be",
        "(float[1,3,3,3] x, float[4,3,2,2] w) => (float[1,4,2,2] y) { c = Conv(x, w) y = Mul(c, k) }",
        None,
        "is not a constant",
        arrays={"k": PER_CHANNEL},
    ),
    Case(
        "a chain of four",
        "(float[1,3,3,3] x) => (float[1,4,2,2] y) "
        "{ c = Conv(x, w) d = Mul(c, k) e = Add(d, k) f = Div(e, k) y = Sub(f, k) }",
        "Conv",
        arrays={"w": W, "k": PER_CHANNEL},
        exact=False,
    ),
    Case(
        "transposed convolution in groups",
        "(float[1,4,3,3] x) => (float[1,6,4,4] y) { c = ConvTranspose<group = 2>(x, w) d = Mul(c, k) y = Add(d, k) }",
        "ConvTranspose",
        arrays={"w": random(4, 3, 2, 2), "k": positive(6, 1, 1)},
        exact=False,
    ),
    Case(
        "gemm",
        "(float[2,3] x) => (float[2,4] y) "
        "{ c = Gemm<transB = 1, alpha = 2.0, beta = 0.5>(x, w, b) d = Mul(c, k) y = Sub(k, d) }",
        "Gemm",
        arrays={"w": random(4, 3), "b": random(1, 4), "k": positive(4)},
        exact=False,
    ),
    Case(
        "gemm, one value per row",
        "(float[2,3] x) => (float[2,4] y) { c = Gemm(x, w) y = Mul(c, k) }",
        None,
        "not one value per channel",
        arrays={"w": random(3, 4), "k": positive(2, 1)},
    ),
    Case(
        "matmul of rank 3, scaled",
        "(float[2,5,3] x) => (float[2,5,4] y) { c = MatMul(x, w) y = Mul(c, k) }",
        "MatMul",
        arrays={"w": random(3, 4), "k": positive(4)},
        exact=False,
    ),
    Case(
        "matmul of rank 3, shifted",
        "(float[2,5,3] x) => (float[2,5,4] y) { c = MatMul(x, w) y = Add(c, k) }",
        arrays={"w": random(3, 4), "k": positive(4)},
    ),
    Case(
        "matmul of rank 2, shifted",
        "(float[2,3] x) => (float[2,4] y) { c = MatMul(x, w) y = Add(c, k) }",
        "Gemm",
        arrays={"w": random(3, 4), "k": positive(4)},
        exact=False,
    ),
    Case(
        "batch normalisation",
        "(float[2,4,3] x) => (float[2,4,3] y) { c = BatchNormalization(x, s, s, s, s) d = Mul(c, k) y = Add(d, k) }",
        "BatchNormalization",
        arrays={"s": positive(4), "k": positive(4, 1)},
        exact=False,
    ),
    Case(
        "two readers",
        "(float[1,3,3,3] x) => (float[1,4,2,2] y, float[1,4,2,2] z) { c = Conv(x, w) y = Mul(c, k) z = Neg(c) }",
        None,
        "also read by",
        arrays={"w": W, "k": PER_CHANNEL},
    ),
    Case(
        "before a convolution with padding: a factor",
        "(float[1,3,3,3] x) => (float[1,4,4,4] y) { c = Mul(x, k) y = Conv<pads = [1, 1, 1, 1]>(c, w) }",
        "Conv",
        arrays={"w": W, "k": positive(3, 1, 1)},
        exact=False,
    ),
    Case(
        "before a convolution with padding: a shift",
        "(float[1,3,3,3] x) => (float[1,4,4,4] y) { c = Sub(x, k) y = Conv<pads = [1, 1, 1, 1]>(c, w) }",
        None,
        "has padding",
        arrays={"w": W, "k": positive(3, 1, 1)},
    ),
    Case(
        "before a convolution without padding: mean and deviation",
        "(float[1,3,3,3] x) => (float[1,4,2,2] y) { c = Sub(x, k) d = Div(c, k) y = Conv(d, w) }",
        "Conv",
        arrays={"w": W, "k": positive(3, 1, 1)},
        exact=False,
    ),
    Case(
        "before a convolution: a vector along the width",
        "(float[1,3,3,3] x) => (float[1,4,2,2] y) { c = Mul(x, k) y = Conv(c, w) }",
        arrays={"w": W, "k": positive(3)},
    ),
    Case(
        "before two convolutions",
        "(float[1,3,3,3] x) => (float[1,4,2,2] y, float[1,4,2,2] z) { c = Sub(x, k) y = Conv(c, w) z = Conv(c, w, b) }",
        "Conv Conv",
        arrays={"w": W, "b": random(4), "k": positive(3, 1, 1)},
        exact=False,
    ),
    Case(
        "before a convolution: its weight",
        "(float[1,3,3,3] x, float[4,3,2,2] v) => (float[1,4,2,2] y) { c = Mul(v, k) y = Conv(x, c) }",
        arrays={"k": positive(3, 1, 1)},
    ),
    Case(
        "before a convolution: the constant adds a dimension",
        "(float[3,3,3] x) => (float[1,4,2,2] y) { c = Mul(x, k) y = Conv(c, w) }",
        arrays={"w": W, "k": positive(1, 3, 1, 1)},
    ),
    Case(
        "before a convolution: the constant makes the channels",
        "(float[1,1,3,3] x) => (float[1,4,2,2] y) { c = Mul(x, k) y = Conv(c, w) }",
        arrays={"w": W, "k": positive(3, 1, 1)},
    ),
    Case(
        "before a convolution: the end of a Gelu",
        "(float[1,3,3,3] x) => (float[1,4,2,2] y)"
        " { q = Div(x, r) e = Erf(q) s = Add(e, i) m = Mul(x, s) g = Mul(m, h) y = Conv(g, w) }",
        None,
        "a factor of a Gelu",
        arrays={"w": W, "r": float32(np.sqrt(2)), "i": float32(1), "h": float32(0.5)},
    ),
    Case(
        "a constant that a node makes",
        "(float[2,5,3] x) => (float[2,5,2] y)"
        " { k = Constant<value_floats = [2.0, 3.0]>() c = MatMul(x, w) y = Mul(c, k) }",
        "MatMul",
        arrays={"w": random(3, 2)},
        exact=False,
    ),
    Case(
        "a channel that was tiny already",
        "(float[1,3,3,3] x) => (float[1,4,2,2] y) { c = Conv(x, w) y = Mul(c, k) }",
        "Conv",
        arrays={"w": W * float32([1, 1e-39, 1, 1]).reshape(4, 1, 1, 1), "k": PER_CHANNEL},
        exact=False,
    ),
    Case(
        "a product of integers",
        "(int32[2,3] x) => (int32[2,4] y) { c = MatMul(x, w) y = Mul(c, k) }",
        arrays={"w": np.ones((3, 4), np.int32), "k": np.full(4, 2, np.int32)},
    ),
    Case(
        "a product with a stack of matrices",
        "(float[2,5,3] x) => (float[2,5,4] y) { c = MatMul(x, w) y = Mul(c, k) }",
        arrays={"w": random(2, 3, 4), "k": positive(4)},
    ),
    # 7
    Case(
        "before a product",
        "(float[2,5,3] x) => (float[2,5,4] y) { c = Mul(x, k) y = MatMul(c, w) }",
        "MatMul",
        arrays={"w": random(3, 4), "k": positive(3)},
        exact=False,
    ),
    Case(
        "before a Gemm",
        "(float[2,3] x) => (float[2,4] y) { c = Div(x, k) y = Gemm<alpha = 2.0, beta = 0.5>(c, w, b) }",
        "Gemm",
        arrays={"w": random(3, 4), "b": random(4), "k": positive(1, 3)},
        exact=False,
    ),
    Case(
        "before a Gemm, transB",
        "(float[2,3] x) => (float[2,4] y) { c = Mul(k, x) y = Gemm<transB = 1>(c, w) }",
        "Gemm",
        arrays={"w": random(4, 3), "k": positive(3)},
        exact=False,
    ),
    Case(
        "before a Gemm, transA",
        "(float[3,3] x) => (float[3,4] y) { c = Mul(x, k) y = Gemm<transA = 1>(c, w) }",
        arrays={"w": random(3, 4), "k": positive(3)},
    ),
    Case(
        "before a product: one factor per row",
        "(float[3,3] x) => (float[3,4] y) { c = Mul(x, k) y = MatMul(c, w) }",
        arrays={"w": random(3, 4), "k": positive(3, 1)},
    ),
    Case(
        "before a product: the constant makes the columns",
        "(float[2,1] x) => (float[2,4] y) { c = Mul(x, k) y = MatMul(c, w) }",
        arrays={"w": random(3, 4), "k": positive(3)},
    ),
    Case(
        "before a product: on the right",
        "(float[2,3] x, float[3,3] v) => (float[2,3] y) { c = Mul(v, k) y = MatMul(x, c) }",
        arrays={"k": positive(3)},
    ),
    Case(
        "before a product: on the right of a constant",
        "(float[3,3] v) => (float[3,3] y) { c = Mul(v, k) y = MatMul(w, c) }",
        arrays={"w": random(3, 3), "k": positive(3)},
    ),
    Case(
        "before a product: a stack of matrices",
        "(float[2,2,3] x) => (float[2,2,4] y) { c = Mul(x, k) y = MatMul(c, w) }",
        "MatMul",
        arrays={"w": random(2, 3, 4), "k": positive(3)},
        exact=False,
    ),
    Case(
        "before a product: a vector",
        "(float[2,3] x) => (float[2] y) { c = Mul(x, k) y = MatMul(c, w) }",
        arrays={"w": random(3), "k": positive(3)},
    ),
    Case(
        "before a product: a gate",
        "(float[2,3] x, float[2,3] v) => (float[2,4] y) { g = Mul(x, v) c = Mul(g, k) y = MatMul(c, w) }",
        "MatMul Mul",
        arrays={"w": random(3, 4), "k": positive(3)},
        exact=False,
    ),
    Case(
        "before a product: integers",
        "(int32[2,3] x) => (int32[2,4] y) { c = Mul(x, k) y = MatMul(c, w) }",
        arrays={"w": np.ones((3, 4), np.int32), "k": np.full(3, 2, np.int32)},
    ),
    Case(
        "before a product: the matrix is computed",
        "(float[2,3] x, float[3,4] v) => (float[2,4] y) { c = Mul(x, k) y = MatMul(c, v) }",
        None,
        "is not a constant",
        arrays={"k": positive(3)},
    ),
    Case(
        "before a product: the scale of a normalisation",
        "(float[2,3] x, float[2,1] v) => (float[2,4] y) { r = Sqrt(v) n = Div(x, r) c = Mul(n, k) y = MatMul(c, w) }",
        None,
        "part of a function written out",
        arrays={"w": random(3, 4), "k": positive(3)},
    ),
    Case(
        "before a product: the end of a Gelu",
        "(float[2,3] x) => (float[2,4] y)"
        " { q = Div(x, r) e = Erf(q) s = Add(e, i) m = Mul(x, s) g = Mul(m, h) y = MatMul(g, w) }",
        None,
        "part of a function written out",
        arrays={"w": random(3, 4), "r": float32(np.sqrt(2)), "i": float32(1), "h": float32(0.5)},
    ),
    # 8
    Case(
        "a bias of zeros",
        "(float[1,3,3,3] x) => (float[1,4,2,2] y) { y = Conv(x, w, b) }",
        "Conv",
        arrays={"w": W, "b": float32([0, -0.0, 0, 0])},
    ),
    Case(
        "a bias of zeros, transposed",
        "(float[1,3,3,3] x) => (float[1,2,4,4] y) { y = ConvTranspose(x, w, b) }",
        "ConvTranspose",
        arrays={"w": random(3, 2, 2, 2), "b": float32([0, 0])},
    ),
    Case(
        "a bias of zeros of a Gemm",
        "(float[2,3] x) => (float[2,4] y) { y = Gemm<beta = 2.0>(x, w, b) }",
        "Gemm",
        arrays={"w": random(3, 4), "b": np.zeros((2, 4), np.float32)},
    ),
    Case(
        "a bias of zeros of a Gemm that needs one",
        "(float[2,3] x) => (float[2,4] y) { y = Gemm(x, w, b) }",
        arrays={"w": random(3, 4), "b": np.zeros(4, np.float32)},
        opset=10,
    ),
    Case(
        "a bias with one value",
        "(float[1,3,3,3] x) => (float[1,4,2,2] y) { y = Conv(x, w, b) }",
        arrays={"w": W, "b": float32([0, 0, 1e-30, 0])},
    ),
]
UNRUN = [
    Case(
        "before opset 7 broadcasting is an attribute",
        "(float[1,3,3,3] x) => (float[1,4,2,2] y) { c = Conv(x, w) y = Mul<broadcast = 1, axis = 1>(c, k) }",
        arrays={"w": W, "k": positive(4)},
        opset=6,
    ),
    Case(
        "a convolution whose weight has no known size",
        "(float[1,3,3,3] x, float[M,C,P,Q] v) => (float[1,4,2,2] y) { c = Mul(x, k) y = Conv(c, v) }",
        arrays={"k": positive(3, 1, 1)},
    ),
    Case(
        "a product with a matrix of no known size",
        "(float[2,3] x, float[K,N] v) => (float[2,4] y) { c = Mul(x, k) y = MatMul(c, v) }",
        arrays={"k": positive(3)},
    ),
    Case(
        "a normalisation that trains",
        "(float[2,4,3] x) => (float[2,4,3] y)"
        " { c, m, v = BatchNormalization<training_mode = 1>(x, s, s, s, s) y = Mul(c, k) }",
        arrays={"s": positive(4), "k": positive(4, 1)},
    ),
    Case(
        "a normalisation with more outputs",
        "(float[2,4,3] x) => (float[2,4,3] y) { c, m, v, a, b = BatchNormalization(x, s, s, s, s) y = Mul(c, k) }",
        arrays={"s": positive(4), "k": positive(4, 1)},
        opset=9,
    ),
    Case(
        "a normalisation element by element",
        "(float[2,4,3] x) => (float[2,4,3] y) { c = BatchNormalization<spatial = 0>(x, s, s, s, s) y = Mul(c, k) }",
        arrays={"s": positive(4, 3), "k": positive(4, 1)},
        opset=7,
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(FuseAffine(), case, place)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", UNRUN, ids=str)
def test_what_no_runtime_takes(case: Case, place: str) -> None:
    check_unrun(FuseAffine(), case, place)


def test_a_reader_in_a_body() -> None:
    body = """c = Mul(x, k) y = Conv(c, w)
        z = If (yes) <then_branch = t () => (float[1,4,2,2] p) { p = Conv(c, w) },
                      else_branch = e () => (float[1,4,2,2] q) { q = Conv(x, w) }>"""
    text = f"(float[1,3,3,3] x, bool yes) => (float[1,4,2,2] y, float[1,4,2,2] z) {{ {body} }}"
    assert not run_pass(FuseAffine(), build(text, {"w": W, "k": positive(3, 1, 1)}))[2].changed


@perturbed(CASES)
def test_short_of_a_precondition(case: Case, how: Perturbation) -> None:
    check_perturbed(FuseAffine(), case, how)


def test_a_factor_that_a_caller_may_override() -> None:
    text = "(float[1,3,3,3] x, float k) => (float[1,4,2,2] y) { c = Conv(x, w) y = Mul(c, k) }"
    before, after, result = run_pass(FuseAffine(), build(text, {"w": W, "k": float32(2)}))
    assert not result.changed
    same(before, after)


def test_a_batch_of_unknown_size() -> None:
    text = '(float["n",3,3,3] x) => (float["n",4,2,2] y) { c = Conv(x, w) y = Mul(c, k) }'
    before, after, result = run_pass(FuseAffine(), build(text, {"w": W, "k": PER_CHANNEL}))
    assert result.changed
    for dim in (1, 3):
        same(before, after, exact=False, dim=dim)


def test_a_shared_weight_keeps_its_values() -> None:
    text = "(float[1,3,3,3] x) => (float[1,4,2,2] y, float[1,4,2,2] z) { c = Conv(x, w) y = Mul(c, k) z = Conv(x, w) }"
    before, after, result = run_pass(FuseAffine(), build(text, {"w": W, "k": PER_CHANNEL}))
    assert result.changed
    assert sorted(tensor.name for tensor in after.graph.initializer) == ["c_weight", "w"]
    same(before, after, exact=False)
