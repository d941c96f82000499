from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from roofwright.passes.cleanup import Shapes
from tests.passes.harness import PLACES, Case, attributes, check, run_pass, same


def i64(*values: int) -> Any:
    return np.asarray(values, np.int64)


CASES = [
    Case(
        "reshape of reshape",
        "(float[2,3,4] x) => (float[4,6] y) { a = Reshape(x, r) y = Reshape(a, s) }",
        "Reshape",
        arrays={"r": i64(24), "s": i64(4, -1)},
    ),
    Case(
        "0 copies the middle's dimension",
        "(float[2,3,4] x) => (float[6,2,2] y) { a = Reshape(x, r) y = Reshape(a, s) }",
        "Reshape",
        arrays={"r": i64(6, 4), "s": i64(0, 2, 2)},
    ),
    Case(
        "0 copies an unknown dimension",
        '(float["n",3,4] x) => (float["n",2,6] y) { a = Reshape(x, r) y = Reshape(a, s) }',
        "Reshape",
        arrays={"r": i64(0, 12), "s": i64(0, 2, 6)},
    ),
    Case(
        "two unknown dimensions",
        '(float["n","m",4] x) => (float["n","k",2] y) { a = Reshape(x, r) y = Reshape(a, s) }',
        arrays={"r": i64(0, 0, 4), "s": i64(0, -1, 2)},
    ),
    Case(
        "reshape of flatten",
        "(float[2,3,4] x) => (float[4,6] y) { a = Flatten(x) y = Reshape(a, s) }",
        "Reshape",
        arrays={"s": i64(4, 6)},
    ),
    Case(
        "flatten of reshape",
        "(float[2,3,4] x) => (float[2,12] y) { a = Reshape(x, s) y = Flatten(a) }",
        "Reshape",
        arrays={"s": i64(2, 6, 2)},
    ),
    Case(
        "unsqueeze of unsqueeze",
        "(float[2,3] x) => (float[1,2,1,3] y) { a = Unsqueeze(x, s) y = Unsqueeze(a, t) }",
        "Reshape",
        arrays={"s": i64(1), "t": i64(0)},
    ),
    Case(
        "squeeze of squeeze, one dimension unknown",
        '(float["n",1,3,1] x) => (float["n",3] y) { a = Squeeze(x, s) y = Squeeze(a, t) }',
        "Reshape",
        arrays={"s": i64(-1), "t": i64(1)},
    ),
    Case(
        "opset 11 attributes",
        "(float[2,3] x) => (float[1,2,1,3] y) { a = Unsqueeze<axes = [1]>(x) y = Unsqueeze<axes = [0]>(a) }",
        "Reshape",
        opset=11,
    ),
    Case(
        "squeeze undoes unsqueeze",
        '(float["n","m"] x) => (float["n","m"] y) { z = Neg(x) a = Unsqueeze(z, s) b = Squeeze(a, t) y = Neg(b) }',
        "Neg Neg",
        arrays={"s": i64(1), "t": i64(-2)},
    ),
    Case(
        "two unknown dimensions stay",
        '(float["n","m"] x) => (float[1,"n",1,"m"] y) { a = Unsqueeze(x, s) y = Unsqueeze(a, t) }',
        arrays={"s": i64(1), "t": i64(0)},
    ),
    Case(
        "the middle is read elsewhere",
        "(float[2,3] x) => (float[1,2,1,3] y, float[2,1,3] z) { a = Unsqueeze(x, s) y = Unsqueeze(a, t) z = Neg(a) }",
        arrays={"s": i64(1), "t": i64(0)},
    ),
    Case(
        "transposes compose",
        "(float[2,3,4] x) => (float[4,2,3] y) "
        "{ a = Transpose<perm = [1, 2, 0]>(x) y = Transpose<perm = [1, 2, 0]>(a) }",
        "Transpose",
    ),
    Case(
        "transposes cancel",
        "(float[2,3,4] x) => (float[2,3,4] y) "
        "{ z = Neg(x) a = Transpose<perm = [1, 2, 0]>(z) b = Transpose<perm = [2, 0, 1]>(a) y = Neg(b) }",
        "Neg Neg",
    ),
    Case(
        "default permutation",
        "(float[2,3] x) => (float[2,3] y) { a = Transpose(x) b = Transpose(a) y = Neg(b) }",
        "Neg",
    ),
    Case(
        "between input and output a transpose stays",
        "(float[2,3] x) => (float[2,3] y) { a = Transpose(x) y = Transpose(a) }",
        "Transpose",
    ),
    Case(
        "concat of concat",
        "(float[2,3] x) => (float[2,9] y) { a = Concat<axis = 1>(x, x) y = Concat<axis = -1>(x, a) }",
        "Concat",
    ),
    Case(
        "concat along another axis",
        "(float[2,3] x) => (float[4,6] y) { a = Concat<axis = 1>(x, x) y = Concat<axis = 0>(a, a) }",
    ),
    Case(
        "concat read twice",
        "(float[2,3] x) => (float[2,12] y) { a = Concat<axis = 1>(x, x) y = Concat<axis = 1>(a, a) }",
    ),
    Case(
        "slices of two axes",
        "(float[5,6] x) => (float[2,2] y) { a = Slice(x, s, e, n) y = Slice(a, t, f, m, p) }",
        "Slice",
        arrays={"s": i64(1), "e": i64(3), "n": i64(0), "t": i64(-1), "f": i64(-4), "m": i64(1), "p": i64(-2)},
    ),
    Case(
        "slices of one axis of unknown size, counted from the end",
        '(float["n"] x) => (float["m"] y) { a = Slice(x, s, e) y = Slice(a, s, e) }',
        arrays={"s": i64(0), "e": i64(-1)},
    ),
    Case(
        "slices of one axis of unknown size",
        '(float["n"] x) => (float["m"] y) { a = Slice(x, s, e) y = Slice(a, t, f) }',
        "Slice",
        arrays={"s": i64(1), "e": i64(4), "t": i64(1), "f": i64(2**62)},
    ),
    Case(
        "slices of one axis of unknown size, the second ends first",
        '(float["n"] x) => (float["m"] y) { a = Slice(x, s, e) y = Slice(a, t, f) }',
        "Slice",
        arrays={"s": i64(1), "e": i64(2**62), "t": i64(0), "f": i64(2)},
    ),
    Case(
        "slices of one axis of unknown size with a step",
        '(float["n"] x) => (float["m"] y) { a = Slice(x, s, e, n, p) y = Slice(a, s, e) }',
        arrays={"s": i64(1), "e": i64(8), "n": i64(0), "p": i64(2)},
    ),
    Case(
        "slices of one axis with steps",
        "(float[9] x) => (float[2] y) { a = Slice(x, s, e, n, p) y = Slice(a, s, e, n, p) }",
        "Slice",
        arrays={"s": i64(0), "e": i64(8), "n": i64(0), "p": i64(2)},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    after = check(Shapes(), case, place)
    same(case.model() if place == "alone" else after, after, dim=5)


@pytest.mark.parametrize("bounds", [(2, 7, 1, 3), (-7, -1, -4, -1), (2, 99, -99, 99), (5, 2, 0, 3), (0, 9, 3, 1)])
def test_slices_of_one_axis(bounds: tuple[int, int, int, int]) -> None:
    size = len(range(9)[bounds[0] : bounds[1]][bounds[2] : bounds[3]])
    text = f"(float[9] x) => (float[{size}] y) {{ a = Slice(x, s, e) y = Slice(a, t, f) }}"
    case = Case("slices", text, "Slice", arrays={name: i64(value) for name, value in zip("setf", bounds, strict=True)})
    check(Shapes(), case, "alone")


STEPS = [
    (8, -99, -1, 1, 5, 2),
    (0, 9, 2, -1, -99, -1),
    (1, 9, 3, 2, 0, -1),
    (-1, -10, -2, 0, 9, 3),
    (7, 2, -1, 4, 0, -2),
]


@pytest.mark.parametrize("bounds", STEPS)
def test_slices_of_one_axis_with_steps(bounds: tuple[int, ...]) -> None:
    size = len(range(9)[slice(*bounds[:3])][slice(*bounds[3:])])
    text = f"(float[9] x) => (float[{size}] y) {{ a = Slice(x, s, e, n, p) y = Slice(a, t, f, n, q) }}"
    arrays = {name: i64(value) for name, value in zip("septfq", (bounds[i] for i in (0, 1, 2, 3, 4, 5)), strict=True)}
    check(Shapes(), Case("slices", text, "Slice", arrays=arrays | {"n": i64(0)}), "alone")


def test_the_composed_permutation() -> None:
    case = next(case for case in CASES if case.name == "transposes compose")
    assert attributes(run_pass(Shapes(), case.model())[1], "Transpose") == {"perm": [2, 0, 1]}


def test_allowzero_is_a_size() -> None:
    text = "(float[0,6] x) => (float[0,3,2] y) { a = Reshape(x, r) y = Reshape<allowzero = 1>(a, s) }"
    case = Case("allowzero", text, "Reshape", arrays={"r": i64(0, 2, 3), "s": i64(0, 3, 2)})
    after = check(Shapes(), case, "alone")
    assert numpy_helper.to_array(after.graph.initializer[0]).tolist() == [0, 3, 2]
    assert attributes(after, "Reshape") == {"allowzero": 1}
