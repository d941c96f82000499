import numpy as np
import pytest

from roofwright.passes.cleanup import Shapes
from tests.passes.harness import PLACES, Case, check, float32, int64, same

CASES = [
    Case(
        "11. all parts in order",
        "(float[2,6] x) => (float[2,6] y) { a, b, c = Split<axis = 1>(x) d = Concat<axis = -1>(a, b, c) y = Neg(d) }",
        "Neg",
    ),
    Case(
        "11. parts in another order",
        "(float[2,6] x) => (float[2,6] y) { a, b, c = Split<axis = 1>(x) o = Concat<axis = 1>(b, a, c) y = Neg(o) }",
    ),
    Case(
        "11. not all parts",
        "(float[2,6] x) => (float[2,4] y) { a, b, c = Split<axis = 1>(x) o = Concat<axis = 1>(a, b) y = Neg(o) }",
    ),
    Case(
        "11. along another axis",
        "(float[2,6] x) => (float[6,2] y) { a, b, c = Split<axis = 1>(x) o = Concat<axis = 0>(a, b, c) y = Neg(o) }",
    ),
    Case(
        "11. parts of two tensors",
        "(float[2,6] x) => (float[2,6] y) { z = Neg(x) a, b = Split<axis = 1>(x) c, d = Split<axis = 1>(z) "
        "o = Concat<axis = 1>(a, d) y = Neg(o) }",
    ),
    Case(
        "11. between input and output",
        "(float[2,6] x) => (float[2,6] y) { a, b = Split<axis = 1>(x) y = Concat<axis = 1>(a, b) }",
    ),
    Case(
        "11. slices end to end, size unknown",
        '(float["n",2] x) => (float["n",2] y) '
        "{ a = Slice(x, s, m, k) b = Slice(x, m, e, k) c = Concat<axis = 0>(a, b) y = Neg(c) }",
        "Neg",
        arrays={"s": int64([0]), "m": int64([3]), "e": int64([2**62]), "k": int64([0])},
    ),
    Case(
        "11. slices up to the known size",
        "(float[5] x) => (float[5] y) { a = Slice(x, s, m) b = Slice(x, m, e) c = Concat<axis = 0>(a, b) y = Neg(c) }",
        "Neg",
        arrays={"s": int64([0]), "m": int64([3]), "e": int64([5])},
    ),
    Case(
        "11. slices with a gap",
        "(float[5] x) => (float[4] y) { a = Slice(x, s, m) b = Slice(x, t, e) o = Concat<axis = 0>(a, b) y = Neg(o) }",
        arrays={"s": int64([0]), "m": int64([2]), "t": int64([3]), "e": int64([5])},
    ),
    Case(
        "11. slices that stop short",
        "(float[5] x) => (float[4] y) { a = Slice(x, s, m) b = Slice(x, m, e) o = Concat<axis = 0>(a, b) y = Neg(o) }",
        arrays={"s": int64([0]), "m": int64([3]), "e": int64([4])},
    ),
    Case(
        "11. slices from the end",
        "(float[5] x) => (float[5] y) { a = Slice(x, s, m) b = Slice(x, m, e) o = Concat<axis = 0>(a, b) y = Neg(o) }",
        arrays={"s": int64([0]), "m": int64([-2]), "e": int64([5])},
    ),
    Case(
        "11. slices changed places",
        "(float[5] x) => (float[5] y) { a = Slice(x, s, m) b = Slice(x, m, e) o = Concat<axis = 0>(b, a) y = Neg(o) }",
        arrays={"s": int64([0]), "m": int64([3]), "e": int64([5])},
    ),
    Case(
        "11. slices of another axis",
        "(float[4,4] x) => (float[8,2] y) { a = Slice(x, s, m, k) b = Slice(x, m, e, k) o = Concat<axis = 0>(a, b)"
        " y = Neg(o) }",
        arrays={"s": int64([0]), "m": int64([2]), "e": int64([4]), "k": int64([1])},
    ),
    Case(
        "11. slices with a step",
        "(float[4] x) => (float[3] y) { a = Slice(x, s, m, k, d) b = Slice(x, m, e, k) o = Concat<axis = 0>(a, b)"
        " y = Neg(o) }",
        arrays={"s": int64([0]), "m": int64([2]), "e": int64([4]), "k": int64([0]), "d": int64([2])},
    ),
    Case(
        "11. slices of two tensors",
        "(float[5] x) => (float[5] y) { z = Neg(x) a = Slice(x, s, m) b = Slice(z, m, e) o = Concat<axis = 0>(a, b)"
        " y = Neg(o) }",
        arrays={"s": int64([0]), "m": int64([3]), "e": int64([5])},
    ),
    Case(
        "12. split at the seams",
        '(float["n",2] x, float["n",3] z) => (float["n",2] y, float["n",3] w) '
        "{ c = Concat<axis = 1>(x, z) a, b = Split<axis = 1>(c, p) y = Neg(a) w = Neg(b) }",
        "Neg Neg",
        arrays={"p": int64([2, 3])},
    ),
    Case(
        "12. split in equal parts",
        "(float[2] x, float[2] z) => (float[2] y) { c = Concat<axis = 0>(x, z) a, b = Split(c) y = Sub(b, a) }",
        "Sub",
    ),
    Case(
        "12. split elsewhere",
        "(float[2] x, float[3] z) => (float[3] y, float[2] w) "
        "{ c = Concat<axis = 0>(x, z) a, b = Split(c, p) y = Neg(a) w = Neg(b) }",
        arrays={"p": int64([3, 2])},
    ),
    Case(
        "12. split along another axis",
        "(float[2,2] x, float[2,2] z) => (float[1,4] y) "
        "{ c = Concat<axis = 1>(x, z) a, b = Split<axis = 0>(c, p) y = Sub(b, a) }",
        arrays={"p": int64([1, 1])},
    ),
    Case(
        "12. a part is an output",
        "(float[2] x, float[3] z) => (float[2] a, float[3] y) "
        "{ c = Concat<axis = 0>(x, z) a, b = Split(c, p) y = Neg(b) }",
        arrays={"p": int64([2, 3])},
    ),
    Case(
        "12. sizes that are not known",
        '(float["n"] x, float["n"] z) => (float["n"] y) { c = Concat<axis = 0>(x, z) a, b = Split(c) y = Sub(b, a) }',
    ),
    Case(
        "13. one whole part",
        "(float[2] x, float[3] z) => (float[3] y) { c = Concat<axis = 0>(x, z) b = Slice(c, s, e) y = Neg(b) }",
        "Neg",
        arrays={"s": int64([2]), "e": int64([99])},
    ),
    Case(
        "13. inside a part",
        "(float[2] x, float[3] z) => (float[1] y) { c = Concat<axis = 0>(x, z) y = Slice(c, s, e) }",
        "Slice",
        arrays={"s": int64([-2]), "e": int64([-1])},
    ),
    Case(
        "13. across a seam",
        "(float[2] x, float[3] z) => (float[2] y) { c = Concat<axis = 0>(x, z) o = Slice(c, s, e) y = Neg(o) }",
        arrays={"s": int64([1]), "e": int64([3])},
    ),
    Case(
        "13. with a step",
        "(float[2] x, float[3] z) => (float[2] y) { c = Concat<axis = 0>(x, z) o = Slice(c, s, e, k, d) y = Neg(o) }",
        arrays={"s": int64([2]), "e": int64([5]), "k": int64([0]), "d": int64([2])},
    ),
    Case(
        "13. of another axis",
        "(float[2,2] x, float[2,2] z) => (float[1,4] y) { c = Concat<axis = 1>(x, z) o = Slice(c, s, e) y = Neg(o) }",
        arrays={"s": int64([0]), "e": int64([1])},
    ),
    Case(
        "13. nothing of it",
        "(float[2] x, float[3] z) => (float[0] y) { c = Concat<axis = 0>(x, z) o = Slice(c, s, s) y = Neg(o) }",
        arrays={"s": int64([2])},
    ),
    Case(
        "13. a whole part that cannot take the name",
        "(float[2] x, float[3] z) => (float[3] y) { c = Concat<axis = 0>(x, z) y = Slice(c, s, e) }",
        arrays={"s": int64([2]), "e": int64([5])},
    ),
    Case(
        "14. constants without elements",
        '(float["n"] x) => (float["m"] y) { y = Concat<axis = 0>(x, none, x) }',
        "Concat",
        arrays={"none": float32([])},
    ),
    Case(
        "14. nothing but that",
        "(float[1] x) => (float[0] y, float[1] z) { y = Concat<axis = 0>(none, none) z = Neg(x) }",
        arrays={"none": float32([])},
    ),
    Case(
        "11. bounds that are not constant",
        "(float[5] x, float[1,5] z) => (float[5] y) { e = Shape(z) f = Slice(e, one, two) a = Slice(x, s, m) "
        "b = Slice(x, m, f) o = Concat<axis = 0>(a, b) y = Neg(o) }",
        arrays={"s": int64([0]), "m": int64([3]), "one": int64([1]), "two": int64([2])},
    ),
    Case(
        "11. slices that overlap",
        "(float[5] x) => (float[7] y) { a = Slice(x, s, m) b = Slice(x, m, t) c = Slice(x, t, e) "
        "o = Concat<axis = 0>(a, b, c) y = Neg(o) }",
        arrays={"s": int64([0]), "m": int64([3]), "t": int64([1]), "e": int64([5])},
    ),
    Case(
        "11. beside an input",
        "(float[5] x) => (float[10] y) { a = Slice(x, s, e) o = Concat<axis = 0>(a, x) y = Neg(o) }",
        arrays={"s": int64([0]), "e": int64([5])},
    ),
    Case(
        "11. not only slices",
        "(float[5] x) => (float[10] y) { a = Slice(x, s, e) b = Abs(x) o = Concat<axis = 0>(a, b) y = Neg(o) }",
        arrays={"s": int64([0]), "e": int64([5])},
    ),
    Case(
        "11. an axis counted from an end that is not known",
        "(float[2,2] x) => (float[2,2] y) { z = Relu(x) a, b = Split<axis = -2>(z) o = Concat<axis = -1>(a, b) "
        "p = Reshape(o, t) y = Neg(p) }",
        arrays={"t": int64([2, 2])},
        forget=("z", "a", "b", "o"),
    ),
    Case(
        "12. split in more parts than were put together",
        "(float[4] x, float[4] z) => (float[2] y) { c = Concat<axis = 0>(x, z) a, b, d, e = Split(c) "
        "y = Max(a, b, d, e) }",
    ),
    Case(
        "12. split in parts that are not constant",
        "(float[2] x, float[2] z, float[1,3] w) => (float[3] y) { c = Concat<axis = 0>(x, z) p = Shape(w) "
        "a, b = Split(c, p) y = Add(a, b) }",
    ),
    Case(
        "13. inside a part, opset 9",
        "(float[2] x, float[3] z) => (float[1] y) "
        "{ c = Concat<axis = 0>(x, z) y = Slice<starts = [3], ends = [4]>(c) }",
        opset=9,
    ),
    Case(
        "13. bounds that are not constant",
        "(float[2] x, float[3] z, float[5] w) => (float[3] y) { c = Concat<axis = 0>(x, z) e = Shape(w) "
        "b = Slice(c, s, e) y = Neg(b) }",
        arrays={"s": int64([2])},
    ),
    Case(
        "13. sizes that are not known",
        '(float["n"] x, float["n"] z) => (float["n"] y) { c = Concat<axis = 0>(x, z) b = Slice(c, s, e) y = Neg(b) }',
        arrays={"s": int64([0]), "e": int64([1])},
    ),
    Case(
        "14. no element, but along another axis",
        "(float[0,2] x) => (float[0,5] y) { y = Concat<axis = 1>(x, none) }",
        arrays={"none": float32(np.zeros((0, 3)))},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    after = check(Shapes(), case, place)
    for dim in (1, 5):
        same(case.model() if place == "alone" else after, after, dim=dim)
