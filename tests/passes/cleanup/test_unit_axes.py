import pytest

from roofwright.passes.cleanup import Shapes
from tests.passes.harness import PLACES, Case, check, int64, same

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
        "{ a = Unsqueeze(x, i) b = Transpose<perm = [3, 2, 1, 0]>(a) y = Squeeze(b, j) }",
        arrays={"i": int64([0]), "j": int64([2])},
    ),
    Case(
        "15. two sizes that a reshape does not know",
        '(float["n","m",6] x) => (float["m","n",6] y) '
        "{ a = Reshape(x, s) b = Transpose<perm = [1, 0, 2, 3]>(a) y = Squeeze(b, j) }",
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
        "16. a sequence taken apart",
        "(float[2,7] x) => (float[2,3] y, float[2,1] z) { s = SplitToSequence<axis = 1>(x, k) "
        "a = SequenceAt(s, first) b = SequenceAt(s, last) y = Neg(a) z = Neg(b) }",
        "Neg Neg Split",
        arrays={"k": int64(3), "first": int64(0), "last": int64(-1)},
    ),
    Case(
        "16. a list of sizes, opset 11",
        "(float[5] x) => (float[2] y) { s = SplitToSequence(x, k) y = SequenceAt(s, i) }",
        "Split",
        arrays={"k": int64([3, 2]), "i": int64(1)},
        opset=11,
    ),
    Case(
        "16. one part taken twice",
        "(float[4] x) => (float[2] y) "
        "{ s = SplitToSequence(x, k) a = SequenceAt(s, i) b = SequenceAt(s, i) y = Add(a, b) }",
        arrays={"k": int64(2), "i": int64(1)},
    ),
    Case(
        "16. the sequence is read as a whole",
        "(float[4] x) => (int64 y, float[2] z) "
        "{ s = SplitToSequence(x, k) y = SequenceLength(s) z = SequenceAt(s, i) }",
        arrays={"k": int64(2), "i": int64(1)},
    ),
    Case(
        "16. parts of a size that is not known",
        '(float["n"] x) => (float["m"] y) { s = SplitToSequence(x, k) y = SequenceAt(s, i) }',
        arrays={"k": int64(2), "i": int64(0)},
    ),
    Case(
        "16. rows without their axis",
        "(float[2,3] x) => (float[3] y) { s = SplitToSequence<keepdims = 0>(x) y = SequenceAt(s, i) }",
        arrays={"i": int64(0)},
    ),
    Case(
        "16. an index that is not constant",
        "(float[40] x, int64 i) => (float[2] y) { s = SplitToSequence(x, k) y = SequenceAt(s, i) }",
        arrays={"k": int64(2)},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    after = check(Shapes(), case, place)
    same(case.model() if place == "alone" else after, after, dim=5)
