import pytest

from roofwright.passes.layout import AbsorbTransposes
from tests.passes.harness import PLACES, Case, check, int64, random

LAST, SECOND = "perm = [0,2,3,1]", "perm = [0,3,1,2]"
DENSE = "(float[2,3,2,4] x) => (float[2,5] y)"
W = {"w": random(24, 5)}
CONV = "(float[2,5,4,3] x) => (float[2,5,4,6] y)"
V = {"v": random(6, 3, 1, 1), "b": random(6)}


def dense(name: str, text: str, after: str | None = "Flatten MatMul", **more: object) -> Case:
    ports = more.pop("ports", DENSE)
    arrays = {**W, **more.pop("arrays", {})}  # type: ignore[dict-item] # a dict
    return Case(name, f"{ports} {{ t = Transpose<{LAST}>(x) {text} }}", after, arrays=arrays, exact=False, **more)  # type: ignore[arg-type] # fields of Case


def pointwise(name: str, text: str, after: str | None = None, **more: object) -> Case:
    ports = more.pop("ports", CONV)
    arrays = {**V, **more.pop("arrays", {})}  # type: ignore[dict-item] # a dict
    return Case(name, f"{ports} {{ {text} }}", after, arrays=arrays, exact=False, **more)  # type: ignore[arg-type] # fields of Case


FLAT = "f = Flatten(t) y = MatMul(f, w)"
CASES = [
    dense("1: MatMul", FLAT),
    dense(
        "1: Gemm",
        "f = Flatten(t) y = Gemm<transB = 1>(f, w, c)",
        "Flatten Gemm",
        arrays={"w": random(5, 24), "c": random(5)},
    ),
    dense("1: Reshape", "f = Reshape(t, to) y = MatMul(f, w)", "MatMul Reshape", arrays={"to": int64([2, -1])}),
    dense(
        "1: an unknown batch",
        "f = Reshape(t, to) y = MatMul(f, w)",
        "MatMul Reshape",
        arrays={"to": int64([0, 24])},
        ports='(float["n",3,2,4] x) => (float["n",5] y)',
    ),
    dense(
        "1: another permutation",
        "u = Transpose<perm = [0,2,1,3]>(x) f = Flatten(u) y = MatMul(f, w) z = Neg(t)",
        "Flatten MatMul Neg Transpose",
        ports="(float[2,3,2,4] x) => (float[2,5] y, float[2,2,4,3] z)",
    ),
    dense(
        "declined: the rows are read twice",
        f"{FLAT} z = Neg(f)",
        None,
        ports="(float[2,3,2,4] x) => (float[2,5] y, float[2,24] z)",
        declines="also read by",
    ),
    dense(
        "declined: the transposed tensor is read twice",
        f"{FLAT} z = Neg(t)",
        None,
        ports="(float[2,3,2,4] x) => (float[2,5] y, float[2,2,4,3] z)",
        declines="also read by",
    ),
    dense(
        "declined: a computed weight",
        "f = Flatten(t) y = MatMul(f, k)",
        None,
        ports="(float[2,3,2,4] x, float[24,5] k) => (float[2,5] y)",
        declines="not a constant",
    ),
    dense(
        "declined: a large shared weight",
        "f = Flatten(t) y0 = MatMul(f, w) y1 = Flatten(x) y2 = MatMul(y1, w) y = Add(y0, y2)",
        None,
        declines="is shared by 2 uses",
        context={"fold_limit_bytes": 10},
    ),
    dense(
        "rows that mix samples",
        "f = Reshape(t, to) y = MatMul(f, w)",
        None,
        arrays={"to": int64([4, 12]), "w": random(12, 5)},
        ports="(float[2,3,2,4] x) => (float[4,5] y)",
    ),
    dense(
        "a flattening elsewhere",
        "f = Flatten<axis = 2>(t) y = MatMul(f, w)",
        None,
        arrays={"w": random(12, 5)},
        ports="(float[2,3,2,4] x) => (float[4,5] y)",
    ),
    dense(
        "the batch moves",
        "u = Transpose<perm = [1,0,2,3]>(x) f = Flatten(u) y = MatMul(f, w) z = Neg(t)",
        None,
        arrays={"w": random(16, 5)},
        ports="(float[2,3,2,4] x) => (float[3,5] y, float[2,2,4,3] z)",
    ),
    pointwise("2: without a bias", f"s = Transpose<{SECOND}>(x) c = Conv(s, v) y = Transpose<{LAST}>(c)", "MatMul"),
    pointwise(
        "2: with a bias",
        f"s = Transpose<{SECOND}>(x) c = Conv<strides = [1,1]>(s, v, b) y = Transpose<{LAST}>(c)",
        "Add MatMul",
    ),
    dense(
        "the rows are transposed",
        "f = Flatten(t) y = Gemm<transA = 1>(f, w)",
        None,
        arrays={"w": random(6, 5)},
        ports="(float[6,3,2,1] x) => (float[6,5] y)",
    ),
    dense(
        "a flattening of which the sizes change with the layout",
        "u = Transpose<perm = [0,2,1]>(k) f = Flatten<axis = 2>(u) y = MatMul(f, w) z = Neg(t)",
        None,
        ports="(float[2,3,2,4] x, float[2,24,1] k) => (float[2,5] y, float[2,2,4,3] z)",
    ),
    dense(
        "a Reshape that copies a size which moves",
        "u = Transpose<perm = [0,2,1]>(k) f = Reshape(u, to) y = MatMul(f, w) z = Neg(t)",
        None,
        arrays={"to": int64([0, 0, -1])},
        ports="(float[2,3,2,4] x, float[2,24,1] k) => (float[2,1,5] y, float[2,2,4,3] z)",
    ),
    dense(
        "a Reshape to sizes that are computed",
        "s = Shape(k) f = Reshape(t, s) y = MatMul(f, w)",
        None,
        ports="(float[2,3,2,4] x, float[2,24] k) => (float[2,5] y)",
    ),
    dense(
        "the flattened operand is something else",
        "f = Neg(t) y = MatMul(f, w)",
        None,
        arrays={"w": random(3, 5)},
        ports="(float[2,3,2,4] x) => (float[2,2,4,5] y)",
    ),
    dense(
        "no Transpose",
        "f = Flatten(x) y = MatMul(f, w) z = Neg(t)",
        None,
        ports="(float[2,3,2,4] x) => (float[2,5] y, float[2,2,4,3] z)",
    ),
    dense(
        "many matrices",
        "u = Transpose<perm = [0,2,1]>(k) f = Flatten(u) y = MatMul(f, w) z = Neg(t)",
        None,
        arrays={"w": random(6, 6, 5)},
        ports="(float[2,3,2,4] x, float[4,2,3] k) => (float[6,4,5] y, float[2,2,4,3] z)",
    ),
    dense(
        "sizes that are not known",
        "f = Flatten(t) y = MatMul(f, w)",
        None,
        arrays={"w": random(12, 5)},
        ports='(float[2,3,"h","w"] x) => (float[2,5] y)',
    ),
    dense(
        "a rank that is not known",
        "s = Compress(sizes, flags) u = Reshape(x, s) v = Transpose<perm = [0,2,1]>(u) f = Flatten(v) y = MatMul(f, w)"
        " z = Neg(t)",
        None,
        arrays={"sizes": int64([6, 2, 2]), "w": random(4, 5)},
        ports="(float[2,3,2,2] x, bool[3] flags) => (float[6,5] y, float[2,2,2,3] z)",
    ),
    pointwise(
        "2: one axis of pixels",
        's = Transpose<perm = [0,2,1]>(k) c = Conv<auto_pad = "SAME_UPPER">(s, v) y = Transpose<perm = [0,2,1]>(c)',
        "MatMul",
        arrays={"v": random(6, 3, 1)},
        ports="(float[2,5,3] k) => (float[2,5,6] y)",
    ),
    pointwise(
        "2: a bias that is computed",
        f"s = Transpose<{SECOND}>(x) c = Conv(s, v, k) y = Transpose<{LAST}>(c)",
        "Add MatMul",
        ports="(float[2,5,4,3] x, float[6] k) => (float[2,5,4,6] y)",
    ),
    pointwise(
        "a kernel of more than one pixel",
        f"s = Transpose<{SECOND}>(x) c = Conv(s, k) y = Transpose<{LAST}>(c)",
        arrays={"k": random(6, 3, 1, 3)},
        ports="(float[2,5,4,3] x) => (float[2,5,2,6] y)",
    ),
    pointwise(
        "strides",
        f"s = Transpose<{SECOND}>(x) c = Conv<strides = [2,1]>(s, v) y = Transpose<{LAST}>(c)",
        ports="(float[2,5,4,3] x) => (float[2,3,4,6] y)",
    ),
    pointwise(
        "padding",
        f"s = Transpose<{SECOND}>(x) c = Conv<pads = [0,1,0,1]>(s, v) y = Transpose<{LAST}>(c)",
        ports="(float[2,5,4,3] x) => (float[2,5,6,6] y)",
    ),
    pointwise(
        "groups",
        f"s = Transpose<{SECOND}>(x) c = Conv<group = 3>(s, k) y = Transpose<{LAST}>(c)",
        arrays={"k": random(6, 1, 1, 1)},
    ),
    pointwise(
        "before opset 7",
        f"s = Transpose<{SECOND}>(x) c = Conv(s, v, b) y = Transpose<{LAST}>(c)",
        opset=6,
    ),
    pointwise(
        "no Transpose before",
        f"c = Conv(x, v) y = Transpose<{LAST}>(c)",
        ports="(float[2,3,5,4] x) => (float[2,5,4,6] y)",
    ),
    pointwise(
        "no Transpose behind",
        f"s = Transpose<{SECOND}>(x) y = Conv(s, v)",
        ports="(float[2,5,4,3] x) => (float[2,6,5,4] y)",
    ),
    pointwise(
        "another one behind",
        f"s = Transpose<{SECOND}>(x) c = Conv(s, v) y = Transpose<{SECOND}>(c)",
        ports="(float[2,5,4,3] x) => (float[2,4,6,5] y)",
    ),
    pointwise(
        "pixels change places",
        "s = Transpose<perm = [0,1,3,2]>(x) c = Conv(s, v) y = Transpose<perm = [0,1,3,2]>(c)",
        ports="(float[2,3,5,4] x) => (float[2,6,5,4] y)",
    ),
    pointwise(
        "the result is read twice",
        f"s = Transpose<{SECOND}>(x) c = Conv(s, v) y0 = Transpose<{LAST}>(c) y1 = Transpose<{LAST}>(c)"
        " y = Add(y0, y1)",
    ),
    pointwise(
        "declined: the transposed tensor is read twice",
        f"s = Transpose<{SECOND}>(x) c = Conv(s, v) y0 = Transpose<{LAST}>(c) y1 = Transpose<{LAST}>(s)"
        " y = Concat<axis = 3>(y0, y1)",
        declines="also read by",
        ports="(float[2,5,4,3] x) => (float[2,5,4,9] y)",
    ),
    pointwise(
        "declined: a computed weight",
        f"s = Transpose<{SECOND}>(x) c = Conv(s, k) y = Transpose<{LAST}>(c)",
        declines="not a constant",
        ports="(float[2,5,4,3] x, float[6,3,1,1] k) => (float[2,5,4,6] y)",
    ),
    pointwise(
        "declined: a large weight that is shared",
        f"s = Transpose<{SECOND}>(x) c = Conv(s, v) y0 = Transpose<{LAST}>(c) d = Conv(k, v) y1 = Transpose<{LAST}>(d)"
        " y = Add(y0, y1)",
        declines="is shared by 2 uses",
        ports="(float[2,5,4,3] x, float[2,3,5,4] k) => (float[2,5,4,6] y)",
        context={"fold_limit_bytes": 10},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case_", CASES, ids=str)
def test_case(case_: Case, place: str) -> None:
    check(AbsorbTransposes(), case_, place)
