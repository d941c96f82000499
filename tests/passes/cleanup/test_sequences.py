import pytest

from roofwright.passes.cleanup import Shapes
from tests.passes.harness import PLACES, Case, build, check, int64, run_pass, same

CASES = [
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
        '(float["n"] x) => (float["m"] y) { s = SplitToSequence(x, k) o = SequenceAt(s, i) y = Neg(o) }',
        arrays={"k": int64(2), "i": int64(0)},
    ),
    Case(
        "16. rows without their axis",
        "(float[2,3] x) => (float[3] y) { s = SplitToSequence<keepdims = 0>(x) o = SequenceAt(s, i) y = Neg(o) }",
        arrays={"i": int64(0)},
    ),
    Case(
        "16. an index that is not constant",
        "(float[40] x, int64 i) => (float[2] y) { s = SplitToSequence(x, k) o = SequenceAt(s, i) y = Neg(o) }",
        arrays={"k": int64(2)},
    ),
    Case(
        "16. sizes that are not constant",
        "(float[4] x, float[1,3] z) => (float[1] y) { k = Shape(z) s = SplitToSequence(x, k) y = SequenceAt(s, i) }",
        arrays={"i": int64(0)},
    ),
    Case(
        "16. a source of unknown rank",
        "(float[4] x) => (float[2] y) { z = Neg(x) s = SplitToSequence(z, k) y = SequenceAt(s, i) }",
        arrays={"k": int64(2), "i": int64(0)},
        forget=("z",),
    ),
    Case(
        "16. more parts than a Split should have",
        "(float[300] x) => (float[1] y) { s = SplitToSequence(x, k) y = SequenceAt(s, i) }",
        arrays={"k": int64(1), "i": int64(0)},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    after = check(Shapes(), case, place)
    same(case.model() if place == "alone" else after, after, dim=5)


def test_a_sequence_that_is_an_output() -> None:
    text = "(float[4] x) => (seq(float[2]) s, float[2] y) { s = SplitToSequence(x, k) y = SequenceAt(s, i) }"
    assert not run_pass(Shapes(), build(text, {"k": int64(2), "i": int64(0)}))[2].changed


def test_a_part_that_is_not_there() -> None:
    text = "(float[4] x) => (float[2] y) { s = SplitToSequence(x, k) y = SequenceAt(s, i) }"
    assert not run_pass(Shapes(), build(text, {"k": int64(2), "i": int64(2)}))[2].changed


def test_a_part_that_a_body_takes() -> None:
    text = (
        "(float[4] x, bool c) => (float[2] y) { s = SplitToSequence(x, k) "
        "y = If(c) <then_branch = a () => (float[2] t) { t = SequenceAt(s, i) },"
        "else_branch = b () => (float[2] e) { e = SequenceAt(s, j) }> }"
    )
    assert not run_pass(Shapes(), build(text, {"k": int64(2), "i": int64(0), "j": int64(1)}))[2].changed
