import pytest

from roofwright.passes.cleanup import Shapes
from tests.passes.harness import PLACES, Case, build, check, float32, int64, run_pass, same

CASES = [
    Case(
        "15. an axis made and taken out",
        '(float["n","m",3,4] x) => (float[3,"n","m",4] y) { a = Unsqueeze(x, i) '
        "b = Transpose<perm = [3, 1, 2, 0, 4]>(a) y = Squeeze(b, j) }",
        "Transpose",
        arrays={"i": int64([0]), "j": int64([-2])},
    ),
    Case(
        "15. made by a reshape",
        '(float["n",24] x) => (float[4,"n",6] y) '
        "{ a = Reshape(x, s) b = Transpose<perm = [2, 1, 0, 3]>(a) y = Squeeze(b, j) }",
        "Reshape Transpose",
        arrays={"s": int64([1, -1, 4, 6]), "j": int64([2])},
    ),
    Case(
        "15. another axis is taken out",
        "(float[1,2,3] x) => (float[3,2,1] y) "
        "{ a = Unsqueeze(x, i) b = Transpose<perm = [3, 2, 1, 0]>(a) o = Squeeze(b, j) y = Neg(o) }",
        arrays={"i": int64([0]), "j": int64([2])},
    ),
    Case(
        "15. two sizes that a reshape does not know",
        '(float["n","m",6] x) => (float["m","n",6] y) '
        "{ a = Reshape(x, s) b = Transpose<perm = [1, 0, 2, 3]>(a) o = Squeeze(b, j) y = Neg(o) }",
        arrays={"s": int64([0, 0, 1, 6]), "j": int64([2])},
    ),
    Case(
        "15. the transposed value is read elsewhere",
        "(float[2,3] x) => (float[3,2] y, float[3,2,1] z) "
        "{ a = Unsqueeze(x, i) b = Transpose<perm = [2, 1, 0]>(a) y = Squeeze(b, j) z = Neg(b) }",
        arrays={"i": int64([0]), "j": int64([2])},
    ),
    Case(
        "15. the value with the axis is read elsewhere",
        "(float[2,3] x) => (float[3,2] y, float[1,2,3] z) "
        "{ a = Unsqueeze(x, i) b = Transpose<perm = [2, 1, 0]>(a) y = Squeeze(b, j) z = Neg(a) }",
        arrays={"i": int64([0]), "j": int64([2])},
    ),
    Case(
        "15. something else than a transpose",
        "(float[2,3] x) => (float[2,3] y) { a = Unsqueeze(x, i) b = Neg(a) o = Squeeze(b, i) y = Neg(o) }",
        arrays={"i": int64([1])},
    ),
    Case(
        "15. something else than a reshape",
        "(float[2,1,3] x) => (float[3,2] y) "
        "{ a = Add(x, two) b = Transpose<perm = [2, 1, 0]>(a) o = Squeeze(b, i) y = Neg(o) }",
        arrays={"i": int64([1]), "two": float32([2])},
    ),
    Case(
        "15. made by nothing here",
        "(float[2,1,3] x) => (float[3,2] y) { b = Transpose<perm = [2, 1, 0]>(x) o = Squeeze(b, i) y = Neg(o) }",
        arrays={"i": int64([1])},
    ),
    Case(
        "15. a permutation that is not known",
        "(float[2,3] x) => (float[3,2] y) { a = Unsqueeze(x, i) b = Transpose(a) o = Squeeze(b, i) y = Neg(o) }",
        arrays={"i": int64([1])},
        forget=("a",),
    ),
    Case(
        "15. no axes named",
        "(float[2,3] x) => (float[3,2] y) { a = Unsqueeze(x, i) b = Transpose(a) o = Squeeze(b) y = Neg(o) }",
        arrays={"i": int64([1])},
    ),
    Case(
        "15. a reshape to a shape that is not known",
        "(float[6] x) => (float[3,2] y) "
        "{ a = Reshape(x, s) b = Transpose<perm = [2, 1, 0]>(a) o = Squeeze(b, i) y = Neg(o) }",
        arrays={"i": int64([1]), "s": int64([2, 1, 3])},
        forget=("a",),
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    after = check(Shapes(), case, place)
    same(case.model() if place == "alone" else after, after, dim=5)


def test_before_opset_5_a_reshape_has_no_input() -> None:
    text = (
        "(float[6] x) => (float[3,2] y) <float[2,1,3] a> "
        "{ a = Reshape<shape = [2, 1, 3]>(x) b = Transpose<perm = [2, 1, 0]>(a) "
        "y = Squeeze<axes = [1]>(b) }"
    )
    assert not run_pass(Shapes(), build(text, opset=4))[2].changed
