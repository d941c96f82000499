from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseAffine
from tests.passes.harness import PLACES, Array, Case, build, check, float32, positive, random, run_pass, same

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
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(FuseAffine(), case, place)


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
