import pytest

from roofwright.passes.fusion import FuseComposites
from tests.passes.fusion.written_out import case
from tests.passes.harness import PLACES, Case, attributes, check, run_pass

QKV = "(float[2,3,5,8] q, float[2,3,7,8] k, float[2,3,7,4] v{}) => (float[2,3,5,4] y)"
TURNED = "t = Transpose<perm = [0, 1, 3, 2]>(k)"
WEIGHED = "p = Softmax<axis = -1>({}) y = MatMul(p, v)"
CASES = [
    case(
        "attention",
        f"{QKV.format('')} {{ {TURNED} l = MatMul(q, t) w = Mul(l, a) {WEIGHED.format('w')} }}",
        "Attention",
    ),
    case("attention, no scale", f"{QKV.format('')} {{ {TURNED} l = MatMul(q, t) {WEIGHED.format('l')} }}", "Attention"),
    case(
        "attention, scaled before",
        f"{QKV.format('')} {{ {TURNED} i = Mul(q, half) j = Mul(t, a) l = MatMul(i, j)"
        f" w = Div(l, c2) {WEIGHED.format('w')} }}",
        "Attention",
    ),
    case(
        "masked",
        f"{QKV.format(', float[2,1,5,7] m')} {{ {TURNED} l = MatMul(q, t) w = Mul(l, a) n = Add(w, m)"
        f" {WEIGHED.format('n')} }}",
        "Attention",
    ),
    case(
        "masked by a matrix",
        f"{QKV.format(', float[5,7] m')} {{ {TURNED} l = MatMul(q, t) n = Add(m, l) {WEIGHED.format('n')} }}",
        "Attention",
    ),
    case(
        "keys turned twice",
        "(float[2,3,5,8] q, float[2,7,3,8] k, float[2,3,7,4] v) => (float[2,3,5,4] y) {"
        f" t = Transpose<perm = [0, 2, 3, 1]>(k) l = MatMul(q, t) {WEIGHED.format('l')} }}",
        "Attention Transpose",
    ),
    case(
        "a mask for keys alone",
        f"{QKV.format(', float[2,1,1,7] m')} {{ {TURNED} l = MatMul(q, t) n = Add(l, m) {WEIGHED.format('n')} }}",
        None,
        "one value for every query and key",
    ),
    case(
        "a mask for queries alone",
        f"{QKV.format(', float[5,1] m')} {{ {TURNED} l = MatMul(q, t) n = Add(l, m) {WEIGHED.format('n')} }}",
        None,
        "one value for every query and key",
    ),
    case(
        "shared keys",
        "(float[2,3,5,8] q, float[1,3,7,8] k, float[2,3,7,4] v) => (float[2,3,5,4] y) {"
        f" {TURNED} l = MatMul(q, t) {WEIGHED.format('l')} }}",
        None,
        "not known to be equal",
    ),
    case(
        "weights read twice",
        f"{QKV.format('').replace('y)', 'y, float[2,3,5,7] o)')} {{ {TURNED} l = MatMul(q, t)"
        f" {WEIGHED.format('l')} o = Neg(p) }}",
        None,
    ),
    case(
        "logits read twice",
        f"{QKV.format('').replace('y)', 'y, float[2,3,5,7] o)')} {{ {TURNED} l = MatMul(q, t)"
        f" {WEIGHED.format('l')} o = Neg(l) }}",
        None,
        "also read by",
    ),
    case(
        "softmax of another axis",
        f"{QKV.format('').replace('5,4]', '5,4]')} {{ {TURNED} l = MatMul(q, t)"
        " p = Softmax<axis = 2>(l) y = MatMul(p, v) }",
        None,
    ),
    case(
        "softmax of a value",
        "(float[2,3,5,7] l, float[2,3,7,4] v) => (float[2,3,5,4] y) { " + WEIGHED.format("l") + " }",
        None,
    ),
    case(
        "softmax of a sum",
        "(float[2,3,5,7] l, float[2,3,5,7] k, float[2,3,7,4] v) => (float[2,3,5,4] y)"
        f" {{ t = Sub(l, k) {WEIGHED.format('t')} }}",
        None,
    ),
    case(
        "keys that are not turned",
        "(float[2,3,5,8] q, float[2,3,8,7] k, float[2,3,7,4] v) => (float[2,3,5,4] y)"
        f" {{ t = Exp(k) l = MatMul(q, t) {WEIGHED.format('l')} }}",
        None,
    ),
    case(
        "keys of two axes",
        "(float[2,3,5,8] q, float[7,8] k, float[2,3,7,4] v) => (float[2,3,5,4] y)"
        f" {{ t = Transpose<perm = [1, 0]>(k) l = MatMul(q, t) {WEIGHED.format('l')} }}",
        None,
    ),
    case(
        "no product behind",
        f"(float[2,3,5,8] q, float[2,3,7,8] k) => (float[2,3,5,7] y) {{ {TURNED} l = MatMul(q, t)"
        " p = Softmax<axis = -1>(l) y = Mul(p, half) }",
        None,
    ),
    case(
        "weights as the second factor",
        "(float[2,3,5,8] q, float[2,3,7,8] k, float[2,3,4,5] v) => (float[2,3,4,7] y)"
        f" {{ {TURNED} l = MatMul(q, t) p = Softmax<axis = -1>(l) y = MatMul(v, p) }}",
        None,
    ),
    case(
        "a mask for more samples",
        "(float[1,3,5,8] q, float[1,3,7,8] k, float[1,3,7,4] v, float[2,3,5,7] m) => (float[2,3,5,4] y)"
        f" {{ {TURNED} l = MatMul(q, t) n = Add(l, m) {WEIGHED.format('n')} }}",
        None,
        "one value for every query and key",
    ),
    case(
        "a mask with more axes",
        "(float[2,3,5,8] q, float[2,3,7,8] k, float[2,3,7,4] v, float[1,1,1,5,7] m) => (float[1,2,3,5,4] y)"
        f" {{ {TURNED} l = MatMul(q, t) n = Add(l, m) {WEIGHED.format('n')} }}",
        None,
        "one value for every query and key",
    ),
    case(
        "a batch that is not known",
        "(float[N,3,5,8] q, float[M,3,7,8] k, float[N,3,7,4] v) => (float[N,3,5,4] y)"
        f" {{ {TURNED} l = MatMul(q, t) {WEIGHED.format('l')} }}",
        None,
        "not known to be equal",
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)


def test_the_scale_is_the_product_of_all() -> None:
    one = next(one for one in CASES if one.name == "attention, scaled before")
    found = attributes(run_pass(FuseComposites(), one.model())[1], "Attention")
    assert found == {"scale": pytest.approx(0.5 * 0.044715 / 2)}
