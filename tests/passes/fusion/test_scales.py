import numpy as np
import pytest

from roofwright.passes.fusion import FuseScales
from tests.passes.harness import PLACES, Case, build, check, float16, float32, int32, int64, random, run_pass
from tests.passes.perturb import Perturbation, check_perturbed, perturbed

HALF = {"c": float32(0.5), "w": random(6, 6), "b": random(6)}
LOGITS = "(float[2,3,6] x, float[2,2,3,3] k) => (float[2,2,3,3] y)"
HEADS = "m = MatMul(x, w) a = Add(m, b) r = Reshape(a, heads) t = Transpose<perm = [0,2,1,3]>(r)"


def case(name: str, text: str, after: str | None, **more: object) -> Case:
    arrays = {**HALF, "heads": int64([2, 3, 2, 3]), **more.pop("arrays", {})}  # type: ignore[dict-item] # a dict
    return Case(name, text, after, arrays=arrays, exact=False, **more)  # type: ignore[arg-type] # fields of Case


CASES = [
    case(
        "1: the scale of attention logits",
        f"{LOGITS} {{ {HEADS} p = MatMul(t, k) y = Mul(p, c) }}",
        "Add MatMul MatMul Reshape Transpose",
    ),
    case("1: divided", f"{LOGITS} {{ {HEADS} p = MatMul(t, k) y = Div(p, c) }}", "Add MatMul MatMul Reshape Transpose"),
    case("1: the number on the left", f"{LOGITS} {{ {HEADS} y = Mul(c, t) }}", "Add MatMul Reshape Transpose"),
    case(
        "2: Gemm",
        "(float[2,6] x) => (float[6,2] y) { g = Gemm(x, w, b) t = Transpose(g) y = Mul(t, c) }",
        "Gemm Transpose",
    ),
    case(
        "2: Conv",
        "(float[1,6,2,2] x) => (float[1,24] y) { g = Conv(x, v, b) t = Flatten(g) y = Mul(t, c) }",
        "Conv Flatten",
        arrays={"v": random(6, 6, 1, 1)},
    ),
    case(
        "2: a product with a constant",
        "(float[2,6] x) => (float[6,2] y) { g = Mul(x, b) t = Transpose(g) y = Mul(t, c) }",
        "Mul Transpose",
    ),
    case(
        "2: a shared table stays",
        "(float[2,6] x) => (float[6,2] y, float[2,6] z) { g = Mul(x, b) t = Transpose(g) y = Mul(t, c)"
        " n = Neg(x) z = Mul(n, b) }",
        None,
    ),
    case(
        "2: a difference",
        "(float[2,6] x) => (float[6,2] y) { m = MatMul(x, w) g = Sub(b, m) t = Transpose(g) y = Mul(t, c) }",
        "MatMul Sub Transpose",
    ),
    case(
        "3: before a product",
        "(float[2,6] x) => (float[3,6] y) { s = Mul(x, c) r = Reshape(s, to) y = MatMul(r, v) }",
        "MatMul Reshape",
        arrays={"to": int64([3, 4]), "v": random(4, 6)},
    ),
    case(
        "3: before a Gemm, on the right",
        "(float[2,6] x) => (float[6,2] y) { s = Div(x, c) y = Gemm<transB = 1>(w, s) }",
        "Gemm",
    ),
    case(
        "one number is a matrix",
        "(float[2,6] x) => (float[6,2] y) { g = MatMul(x, w) t = Transpose(g) y = Mul(t, m) }",
        None,
        arrays={"m": random(6, 2)},
    ),
    case(
        "a number that broadcasts up",
        "(float[2,6] x) => (float[1,6,2] y) { g = MatMul(x, w) t = Transpose(g) y = Mul(t, m) }",
        None,
        arrays={"m": random(1, 1, 1)},
    ),
    case("nothing takes it in", "(float[2,6] x) => (float[6,2] y) { g = Neg(x) t = Transpose(g) y = Mul(t, c) }", None),
    case(
        "read twice on the way",
        "(float[2,6] x) => (float[6,2] y, float[2,6] z) { g = MatMul(x, w) t = Transpose(g) y = Mul(t, c) z = Neg(g) }",
        None,
    ),
    case(
        "a division by the result",
        "(float[2,6] x) => (float[6,2] y) { g = MatMul(x, w) t = Transpose(g) y = Div(c, t) }",
        None,
    ),
    case(
        "divided by 0",
        "(float[2,6] x) => (float[6,2] y) { g = MatMul(x, w) t = Transpose(g) y = Div(t, zero) }",
        None,
        arrays={"zero": float32(0)},
    ),
    case(
        "the half of a Gelu stays",
        "(float[2,6] x, float[2,6] e) => (float[2,6] y) { g = Mul(x, e) h = Mul(g, c) y = MatMul(h, w) }",
        None,
    ),
    case(
        "2: a sum with one number",
        "(float[2,6] x) => (float[6,2] y) { m = MatMul(x, w) g = Add(m, d) t = Transpose(g) y = Mul(t, c) }",
        "Add MatMul Transpose",
        arrays={"d": float32(3)},
    ),
    case(
        "a product of integers",
        "(int32[2,6] x) => (int32[6,2] y) { g = Mul(x, d) t = Transpose(g) y = Mul(t, n) }",
        None,
        arrays={"d": int32([1, 2, 3, 4, 5, 6]), "n": int32(2)},
    ),
    case(
        "a Gemm of computed matrices",
        "(float[2,6] x, float[6,3] k) => (float[3,2] y) { g = Gemm(x, k) t = Transpose(g) y = Mul(t, c) }",
        None,
    ),
    case(
        "something else before the product",
        "(float[2,6] x) => (float[2,6] y) { s = Mul(x, c) r = Relu(s) y = MatMul(r, w) }",
        None,
    ),
    case(
        "a rank that is not known",
        "(float[2,6] x, bool[2] flags) => (float[2,6] y) { s = Compress(sizes, flags) g = MatMul(x, w)"
        " t = Reshape(g, s) m = Mul(t, c) y = Reshape(m, sizes) }",
        None,
        arrays={"sizes": int64([2, 6])},
    ),
    case(
        "declined: overflow in float16",
        "(float16[2,6] x) => (float16[6,2] y) { g = MatMul(x, w) t = Transpose(g) y = Mul(t, c) }",
        None,
        declines="not finite",
        arrays={"w": float16(np.full((6, 6), 6e4)), "c": float16(2)},
    ),
    case(
        "declined: a large shared weight",
        "(float[2,6] x) => (float[6,2] y, float[2,6] z) { g = MatMul(x, w) t = Transpose(g) y = Mul(t, c)"
        " n = Neg(x) z = MatMul(n, w) }",
        None,
        declines="is shared by 2 uses",
        context={"fold_limit_bytes": 10},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case_", CASES, ids=str)
def test_case(case_: Case, place: str) -> None:
    check(FuseScales(), case_, place)


@perturbed(CASES)
def test_short_of_a_precondition(case: Case, how: Perturbation) -> None:
    check_perturbed(FuseScales(), case, how)


def test_before_opset_7_broadcasting_is_an_attribute() -> None:
    text = "(float[2,6] x, float[6,6] w) => (float[2,6] y) { s = Mul<broadcast = 1>(x, c) y = MatMul(s, v) }"
    model = build(text, {"c": float32([2]), "v": random(6, 6)}, opset=6)
    assert run_pass(FuseScales(), model)[2].records == ()
