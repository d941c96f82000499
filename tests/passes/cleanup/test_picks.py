import pytest

from roofwright.passes.cleanup import Shapes
from tests.passes.harness import PLACES, Case, attributes, check, int64, run_pass, same

CASES = [
    Case(
        "7. the index gets the axis",
        "(float[2,3,4] x) => (float[2,1,4] y) { a = Gather<axis = 1>(x, i) y = Unsqueeze(a, k) }",
        "Gather",
        arrays={"i": int64(2), "k": int64([1])},
    ),
    Case(
        "7. axes counted from the end",
        "(float[2,3,4] x) => (float[2,3,1] y) { a = Gather<axis = -1>(x, i) y = Unsqueeze(a, k) }",
        "Gather",
        arrays={"i": int64(-1), "k": int64([-1])},
    ),
    Case(
        "7. unknown sizes, opset 11",
        '(float["n","m"] x) => (float[1,"m"] y) { a = Gather(x, i) y = Unsqueeze<axes = [0]>(a) }',
        "Gather",
        arrays={"i": int64(0)},
        opset=11,
    ),
    Case(
        "7. another axis",
        "(float[2,3,4] x) => (float[1,2,4] y) { a = Gather<axis = 1>(x, i) o = Unsqueeze(a, k) y = Neg(o) }",
        arrays={"i": int64(2), "k": int64([0])},
    ),
    Case(
        "7. two axes",
        "(float[2,3] x) => (float[2,1,1] y) { a = Gather<axis = 1>(x, i) o = Unsqueeze(a, k) y = Neg(o) }",
        arrays={"i": int64(2), "k": int64([1, 2])},
    ),
    Case(
        "7. the scalar is read elsewhere",
        "(float[3] x) => (float[1] y, float z) { a = Gather(x, i) y = Unsqueeze(a, k) z = Neg(a) }",
        arrays={"i": int64(2), "k": int64([0])},
    ),
    Case(
        "7. a list of indices",
        "(float[3] x) => (float[1,2] y) { a = Gather(x, i) o = Unsqueeze(a, k) y = Neg(o) }",
        arrays={"i": int64([2, 0]), "k": int64([0])},
    ),
    Case(
        "7. an index that is not constant",
        "(float[9] x, int64 i) => (float[1] y) { a = Gather(x, i) o = Unsqueeze(a, k) y = Neg(o) }",
        arrays={"k": int64([0])},
    ),
    Case(
        "8. squeeze of one index",
        "(float[2,3] x) => (float[2] y) { a = Gather<axis = 1>(x, i) y = Squeeze(a, k) }",
        "Gather",
        arrays={"i": int64([-1]), "k": int64([-1])},
    ),
    Case(
        "8. squeeze of the last element",
        '(float["n",3] x) => (float[3] y) { a = Slice(x, s, e, k) y = Squeeze(a, k) }',
        "Gather",
        arrays={"s": int64([-1]), "e": int64([2**62]), "k": int64([0])},
    ),
    Case(
        "8. squeeze of an element, opset 9",
        "(float[5,3] x) => (float[3] y) "
        "{ a = Slice<axes = [0], starts = [1], ends = [2]>(x) y = Squeeze<axes = [0]>(a) }",
        "Gather",
        opset=9,
    ),
    Case(
        "8. no negative index before opset 11",
        "(float[5,3] x) => (float[3] y) "
        "{ a = Slice<axes = [0], starts = [-2], ends = [-1]>(x) o = Squeeze<axes = [0]>(a) y = Neg(o) }",
        opset=9,
    ),
    Case(
        "8. more than one element",
        "(float[1,3] x) => (float[3] y) { a = Slice(x, s, e, k) o = Squeeze(a, k) y = Neg(o) }",
        arrays={"s": int64([0]), "e": int64([2]), "k": int64([0])},
    ),
    Case(
        "8. from the end to the front",
        "(float[1,3] x) => (float[3] y) { a = Slice(x, s, e, k) o = Squeeze(a, k) y = Neg(o) }",
        arrays={"s": int64([-1]), "e": int64([1]), "k": int64([0])},
    ),
    Case(
        "8. another axis is squeezed",
        "(float[4,1] x) => (float[1] y) { a = Slice(x, s, e, k) o = Squeeze(a, m) y = Neg(o) }",
        arrays={"s": int64([1]), "e": int64([2]), "k": int64([0]), "m": int64([1])},
    ),
    Case(
        "9. neighbours",
        "(float[6,2] x) => (float[4,2] y) "
        "{ a = Gather(x, i) b = Gather(x, j) c = Neg(x) d = Gather(c, i) y = Concat<axis = 0>(a, b, d) }",
        "Concat Gather Gather Neg",
        arrays={"i": int64([5]), "j": int64([1, 3])},
    ),
    Case(
        "9. nothing else is left",
        "(float[2,6] x) => (float[2,3] y) "
        "{ a = Gather<axis = 1>(x, i) b = Gather<axis = -1>(x, j) y = Concat<axis = -1>(a, b) }",
        "Gather",
        arrays={"i": int64([5]), "j": int64([1, 3])},
    ),
    Case(
        "9. another axis",
        "(float[6,6] x) => (float[2,6] y) { a = Gather<axis = 0>(x, i) b = Gather<axis = 0>(x, j) "
        "c = Transpose(a) d = Transpose(b) e = Concat<axis = 1>(c, d) y = Transpose(e) }",
        arrays={"i": int64([5]), "j": int64([1])},
    ),
    Case(
        "9. along the rows, side by side",
        "(float[6,2] x) => (float[1,4] y) { a = Gather(x, i) b = Gather(x, j) o = Concat<axis = 1>(a, b) y = Neg(o) }",
        arrays={"i": int64([5]), "j": int64([1])},
    ),
    Case(
        "9. one is read elsewhere",
        "(float[6] x) => (float[2] y, float[1] z) "
        "{ a = Gather(x, i) b = Gather(x, j) y = Concat<axis = 0>(a, b) z = Neg(a) }",
        arrays={"i": int64([5]), "j": int64([1])},
    ),
    Case(
        "9. the same one twice",
        "(float[6] x) => (float[2] y) { a = Gather(x, i) o = Concat<axis = 0>(a, a) y = Neg(o) }",
        arrays={"i": int64([5])},
    ),
    Case(
        "10. unsqueeze of a reduction",
        '(float["n",3] x) => (float["n",1] y) { a = ReduceMax<axes = [-1], keepdims = 0>(x) y = Unsqueeze(a, k) }',
        "ReduceMax",
        arrays={"k": int64([1])},
    ),
    Case(
        "10. squeeze of a reduction",
        "(float[2,3,4] x) => (float[3] y) { a = ReduceSum(x, j) y = Squeeze(a, k) }",
        "ReduceSum",
        arrays={"j": int64([0, 2]), "k": int64([-1, 0])},
    ),
    Case(
        "10. argmax",
        "(float[2,3] x) => (int64[2,1] y) { a = ArgMax<axis = 1, keepdims = 0>(x) y = Unsqueeze(a, k) }",
        "ArgMax",
        arrays={"k": int64([1])},
    ),
    Case(
        "10. other axes",
        "(float[2,2] x) => (float[2,1] y) { a = ReduceMax<axes = [0], keepdims = 0>(x) o = Unsqueeze(a, k)"
        " y = Neg(o) }",
        arrays={"k": int64([1])},
    ),
    Case(
        "10. a dimension of 1 that was there already",
        "(float[2,1] x) => (float[1,1] y) { a = ReduceMax<axes = [0]>(x) b = Squeeze(a, k) y = Unsqueeze(b, k) }",
        "ReduceMax",
        arrays={"k": int64([0])},
    ),
    Case(
        "10. dimensions that are kept already",
        "(float[2,3] x) => (float[2,1,1] y) { a = ReduceMax<axes = [1]>(x) o = Unsqueeze(a, k) y = Neg(o) }",
        arrays={"k": int64([1])},
    ),
    Case(
        "10. over all axes",
        "(float[2,3] x) => (float[1] y) { a = ReduceMax<keepdims = 0>(x) o = Unsqueeze(a, k) y = Neg(o) }",
        arrays={"k": int64([0])},
    ),
    Case(
        "10. read elsewhere",
        "(float[2,3] x) => (float[2,1] y, float[2] z) "
        "{ a = ReduceMax<axes = [1], keepdims = 0>(x) y = Unsqueeze(a, k) z = Neg(a) }",
        arrays={"k": int64([1])},
    ),
    Case(
        "7. what only looks like a gather",
        "(int64[3] x) => (int64[1,3] y) { a = Mul(x, i) o = Unsqueeze(a, k) y = Neg(o) }",
        arrays={"i": int64(2), "k": int64([0])},
    ),
    Case(
        "7. axes that are not constant",
        "(float[2,3] x, float[1] z) => (float[2,1] y) "
        "{ a = Gather<axis = 1>(x, i) n = Shape(z) o = Unsqueeze(a, n) y = Neg(o) }",
        arrays={"i": int64(2)},
    ),
    Case(
        "7. an unknown rank, the axis counted from the end",
        "(float[2,3] x) => (float[2,1] y) { z = Abs(x) a = Gather<axis = -1>(z, i) o = Unsqueeze(a, k) y = Neg(o) }",
        "Abs Gather Neg",
        arrays={"i": int64(2), "k": int64([-1])},
        forget=("z", "a", "o"),
    ),
    Case(
        "8. what only looks like a slice",
        "(int64[1,3] x) => (int64[3] y) { a = Clip(x, s, e) o = Squeeze(a, k) y = Neg(o) }",
        arrays={"s": int64(0), "e": int64(1), "k": int64([0])},
    ),
    Case(
        "8. an index that is not constant",
        "(float[3] x, float[2] z) => (float y) { i = Shape(z) a = Gather(x, i) o = Squeeze(a, k) y = Neg(o) }",
        arrays={"k": int64([0])},
    ),
    Case(
        "8. an index of two dimensions",
        "(float[3] x) => (float[1] y) { a = Gather(x, i) o = Squeeze(a, k) y = Neg(o) }",
        arrays={"i": int64([[2]]), "k": int64([0])},
    ),
    Case(
        "8. bounds that are not constant",
        "(float[3,4] x, float[2] z) => (float[4] y) "
        "{ n = Shape(z) a = Slice(x, s, n, k) o = Squeeze(a, k) y = Neg(o) }",
        arrays={"s": int64([1]), "k": int64([0])},
    ),
    Case(
        "8. a slice of two axes",
        "(float[3,4] x) => (float[1] y) { a = Slice(x, s, e) o = Squeeze(a, k) y = Neg(o) }",
        arrays={"s": int64([1, 1]), "e": int64([2, 2]), "k": int64([0])},
    ),
    Case(
        "9. what only looks like a gather",
        "(int64[1] x) => (int64[2] y) { a = Add(x, i) b = Add(x, j) o = Concat<axis = 0>(a, b) y = Neg(o) }",
        arrays={"i": int64([5]), "j": int64([1])},
    ),
    Case(
        "9. beside something else",
        "(float[6] x, float[2] z) => (float[3] y) { a = Gather(x, i) y = Concat<axis = 0>(a, z) }",
        arrays={"i": int64([5])},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    after = check(Shapes(), case, place)
    same(case.model() if place == "alone" else after, after, dim=5)


def test_keepdims_and_indices() -> None:
    kept = next(case for case in CASES if case.name == "10. unsqueeze of a reduction")
    assert attributes(run_pass(Shapes(), kept.model())[1], "ReduceMax")["keepdims"] == 1
    last = next(case for case in CASES if case.name == "8. squeeze of the last element")
    assert attributes(run_pass(Shapes(), last.model())[1], "Gather") == {"axis": 0}
