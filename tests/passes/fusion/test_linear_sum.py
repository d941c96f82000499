from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseLinearChain
from tests.passes.harness import PLACES, Array, Case, build, check, positive, random, run_pass
from tests.passes.perturb import Perturbation, check_perturbed, perturbed

FOUND: dict[str, Array] = {
    "v": random(4, 4, 3, 3),
    "w": random(4, 4, 1, 1, seed=1),
    "c": random(4, seed=2),
    "b": random(4, seed=3),
    "m": random(6, 5, seed=4),
    "n": random(6, 5, seed=5),
    "p": random(6, 2, seed=6),
    "q": random(2, 5, seed=7),
}
PARAMETERS: dict[str, Any] = {
    "g": random(4, seed=8),
    "h": random(4, seed=9),
    "k": random(4, seed=10),
    "l": positive(4, seed=11),
}
NORM = "BatchNormalization(x, g, h, k, l)"
SAME = "<pads = [1, 1, 1, 1]>"


def images(name: str, body: str, after: str | None = None, declines: str | None = None, **more: Array) -> Case:
    text = f"(float[2,4,6,6] x) => (float[2,4,H,W] y) {{ {body} }}"
    held = {key: value for key, value in (FOUND | more).items() if f" {key}" in body}
    return Case(name, text, after, declines, arrays=held, exact=False)


def rows(name: str, body: str, after: str | None = None, declines: str | None = None, **more: Array) -> Case:
    text = f"(float[N,3,6] x) => (float[N,3,5] y) {{ {body} }}"
    held = {key: value for key, value in (FOUND | more).items() if f" {key}" in body}
    return Case(name, text, after, declines, arrays=held, exact=False)


BOTH = f"s = Conv{SAME}(x, v, c) t = Conv(x, w, b) y = Add(s, t)"
CASES = [
    # 4
    images("3x3 and 1x1", BOTH, "Conv"),
    images("the other order", BOTH.replace("(s, t)", "(t, s)"), "Conv"),
    images("no biases", BOTH.replace(", c)", ")").replace(", b)", ")"), "Conv"),
    images("one bias", BOTH.replace(", c)", ")"), "Conv"),
    images(
        "strides and groups",
        "s = Conv<pads = [1, 1, 1, 1], strides = [2, 2], group = 2>(x, v, c)"
        " t = Conv<strides = [2, 2], group = 2>(x, w) y = Add(s, t)",
        "Conv",
        v=random(4, 2, 3, 3),
        w=random(4, 2, 1, 1),
    ),
    images("3x3 and 1x3", BOTH.replace("t = Conv", "t = Conv<pads = [0, 1, 0, 1]>"), "Conv", w=random(4, 4, 1, 3)),
    images(
        "dilated",
        "s = Conv<pads = [2, 2, 2, 2], dilations = [2, 2]>(x, v, c)"
        " t = Conv<dilations = [2, 2]>(x, w, b) y = Add(s, t)",
        "Conv",
    ),
    images("three of them", f"{BOTH.replace('y =', 'r =')} u = Conv(x, w) y = Add(r, u)", "Conv"),
    images(
        "other strides",
        "s = Conv<strides = [5, 5]>(x, v) t = Conv<strides = [3, 3]>(x, w) i = GlobalAveragePool(t) y = Add(s, i)",
    ),
    images("not in the middle", "s = Conv<pads = [0, 0, 2, 2]>(x, v) t = Conv(x, w) y = Add(s, t)", "Conv"),
    images(
        "outside of the kernel", "s = Conv<pads = [3, 3, 0, 0]>(x, v) t = Conv<pads = [0, 0, 1, 1]>(x, w) y = Add(s, t)"
    ),
    images("another tensor", f"z = Neg(x) s = Conv{SAME}(x, v) t = Conv(z, w) y = Add(s, t)"),
    images("another reader", f"s = Conv{SAME}(x, v) t = Conv(x, w) r = Add(s, t) y = Mul(r, t)", None, "also read by"),
    images(
        "overflow",
        "s = Conv(x, w) t = Conv(x, u) y = Add(s, t)",
        None,
        "not finite",
        w=np.full((4, 4, 1, 1), 3e38, np.float32),
        u=np.full((4, 4, 1, 1), 3e38, np.float32),
    ),
    images("auto_pad", """s = Conv<auto_pad = "SAME_UPPER">(x, v) t = Conv(x, w) y = Add(s, t)"""),
    images(
        "auto_pad of the small one", f"""s = Conv{SAME}(x, v) t = Conv<auto_pad = "SAME_UPPER">(x, w) y = Add(s, t)"""
    ),
    images(
        "between two steps of a dilated kernel",
        "s = Conv<pads = [1, 1, 3, 3], dilations = [2, 2]>(x, v) t = Conv<dilations = [2, 2]>(x, w) y = Add(s, t)",
    ),
    images(
        "before the kernel", "s = Conv<pads = [0, 0, 3, 3]>(x, v) t = Conv<pads = [1, 1, 0, 0]>(x, w) y = Add(s, t)"
    ),
    images("one channel for all", f"s = Conv{SAME}(x, v) t = Conv(x, w) y = Add(s, t)", w=random(1, 4, 1, 1)),
    Case(
        "one dimension",
        "(float[1,4,6] x) => (float[1,4,6] y) { s = Conv<pads = [1, 1]>(x, v) t = Conv(x, w) y = Add(s, t) }",
        arrays={"v": random(4, 4, 3), "w": random(4, 4, 1)},
    ),
    Case("no convolution", "(float[1,4,6] x) => (float[1,4,6] y) { s = Relu(x) t = Neg(x) y = Add(s, t) }"),
    # 5
    images("what it reads", f"s = Conv{SAME}(x, v, c) y = Add(x, s)", "Conv"),
    images("groups", "s = Conv<pads = [1, 1, 1, 1], group = 2>(x, v) y = Add(s, x)", "Conv", v=random(4, 2, 3, 3)),
    images("depthwise", "s = Conv<pads = [1, 1, 1, 1], group = 4>(x, v) y = Add(s, x)", "Conv", v=random(4, 1, 3, 3)),
    images("a normalisation of it", f"s = Conv{SAME}(x, v, c) t = {NORM} y = Add(s, t)", "Conv", **PARAMETERS),
    images("a normalisation of it, no bias", f"s = Conv{SAME}(x, v) t = {NORM} y = Add(t, s)", "Conv", **PARAMETERS),
    images(
        "a normalisation with another reader",
        f"s = Conv{SAME}(x, v) t = {NORM} r = Add(t, s) y = Mul(r, t)",
        None,
        "also read by",
        **PARAMETERS,
    ),
    images("RepVGG", f"{BOTH.replace('y =', 'r =')} z = {NORM} y = Add(r, z)", "Conv", **PARAMETERS),
    images("it broadcasts", "s = Conv(x, v) y = Add(s, x)", v=random(4, 4, 6, 6)),
    images("one channel to many", "g = ReduceMean<axes = [1]>(x) s = Conv(g, v) y = Add(s, g)", v=random(4, 1, 1, 1)),
    Case(
        "a larger stride, whose image broadcasts",
        "(float[1,4,2,2] x) => (float[1,4,2,2] y) "
        "{ s = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, v) y = Add(s, x) }",
        arrays={"v": FOUND["v"]},
    ),
    Case(
        "between two steps of a dilated kernel with strides",
        "(float[1,4,5,5] x) => (float[1,4,3,3] y) "
        "{ s = Conv<pads = [3, 3, 2, 2], strides = [2, 2], dilations = [2, 2]>(x, v)"
        "  t = Conv<strides = [2, 2], dilations = [2, 2]>(x, w) y = Add(s, t) }",
        arrays={"v": FOUND["v"], "w": FOUND["w"]},
    ),
    # 6
    rows("two products", "s = MatMul(x, m) t = MatMul(x, n) y = Add(s, t)", "MatMul"),
    rows("low rank", "s = MatMul(x, m) r = MatMul(x, p) t = MatMul(r, q) y = Add(s, t)", "MatMul"),
    rows("low rank first", "s = MatMul(x, m) r = MatMul(x, p) t = MatMul(r, q) y = Add(t, s)", "MatMul"),
    Case(
        "a matrix that is an input",
        "(float[2,6] x, float[6,5] o) => (float[2,5] y) { s = MatMul(x, m) t = MatMul(x, o) y = Add(s, t) }",
        arrays={"m": FOUND["m"]},
    ),
    Case(
        "stacks of matrices",
        "(float[2,3,6] x) => (float[2,3,5] y) { s = MatMul(x, m) t = MatMul(x, n) y = Add(s, t) }",
        arrays={"m": random(2, 6, 5), "n": random(6, 5)},
    ),
    Case(
        "vectors",
        "(float[2,3,6] x) => (float[2,3] y) { s = MatMul(x, m) t = MatMul(x, n) y = Add(s, t) }",
        arrays={"m": random(6), "n": random(6)},
    ),
    Case(
        "integers",
        "(int32[2,6] x) => (int32[2,5] y) { s = MatMul(x, m) t = MatMul(x, n) y = Add(s, t) }",
        declines="not a float tensor",
        arrays={"m": np.ones((6, 5), np.int32), "n": np.ones((6, 5), np.int32)},
    ),
    rows("the same product twice", "s = MatMul(x, m) y = Add(s, s)"),
    rows("a row more", "s = MatMul(x, m) t = MatMul(x, o) y = Add(s, t)", o=random(6, 1)),
    rows("low rank of another tensor", "z = Neg(x) s = MatMul(x, m) r = MatMul(z, p) t = MatMul(r, q) y = Add(s, t)"),
    rows(
        "low rank with another reader",
        "s = MatMul(x, m) r = MatMul(x, p) t = MatMul(r, q) u = Add(s, t) i = ReduceMean(r) y = Add(u, i)",
        None,
        "also read by",
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(FuseLinearChain(), case, place)


@perturbed(CASES)
def test_short_of_a_precondition(case: Case, how: Perturbation) -> None:
    check_perturbed(FuseLinearChain(), case, how)


def test_a_one_beside_small_weights_needs_digits() -> None:
    text = "(float16[1,4,6,6] x) => (float16[1,4,6,6] y) { s = Conv(x, w) y = Add(s, x) }"
    _, _, result = run_pass(FuseLinearChain(), build(text, {"w": FOUND["w"].astype(np.float16)}))
    assert not result.changed
    assert "lose its digits in float16" in result.records[0].reason
