from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from roofwright.passes.cleanup import Shapes
from tests.passes.harness import PLACES, Case, attributes, build, check, run_pass, same


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
        '(float["n","m",4] x) => (float["n","k",2] y) { a = Reshape(x, r) o = Reshape(a, s) y = Neg(o) }',
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
        '(float["n","m"] x) => (float[1,"n",1,"m"] y) { a = Unsqueeze(x, s) o = Unsqueeze(a, t) y = Neg(o) }',
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
        "transposes of one that all compose",
        "(float[2,3,4] x) => (float[4,2,3] y, float[3,2,4] z) { a = Transpose<perm = [1, 2, 0]>(x)"
        " y = Transpose<perm = [1, 2, 0]>(a) z = Transpose<perm = [0, 2, 1]>(a) }",
        "Transpose Transpose",
    ),
    Case(
        "the first of two transposes is an output: the source would be read twice",
        "(float[2,3,4] x) => (float[4,2,3] y, float[3,4,2] a) { a = Transpose<perm = [1, 2, 0]>(x)"
        " y = Transpose<perm = [1, 2, 0]>(a) }",
    ),
    Case(
        "the first of two transposes has another reader",
        "(float[2,3,4] x) => (float[4,2,3] y, float[3,4,2] z) { a = Transpose<perm = [1, 2, 0]>(x)"
        " y = Transpose<perm = [1, 2, 0]>(a) z = Relu(a) }",
    ),
    Case(
        "the first of two transposes is an output, together they move an axis of size 1",
        "(float[1,3,4] x) => (float[3,1,4] y, float[3,4,1] a) { a = Transpose<perm = [1, 2, 0]>(x)"
        " y = Transpose<perm = [0, 2, 1]>(a) }",
        "Transpose Transpose",
    ),
    Case(
        "the first of two transposes that cancel has another reader",
        "(float[2,3,4] x) => (float[2,3,4] y, float[3,4,2] z) { b = Neg(x) a = Transpose<perm = [1, 2, 0]>(b)"
        " c = Transpose<perm = [2, 0, 1]>(a) y = Neg(c) z = Relu(a) }",
        "Neg Neg Relu Transpose",
    ),
    Case(
        "a slice backwards from before the axis takes the first element",
        "(float[2,1] x) => (float[2,1] y) { a = Slice(x, two, two, one, two) b = Slice(a, two, two, one, two)"
        " y = Neg(b) }",
        "Neg Slice",
        arrays={"two": i64(-2), "one": i64(1)},
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
        "(float[2,3] x) => (float[4,6] y) { a = Concat<axis = 1>(x, x) o = Concat<axis = 0>(a, a) y = Neg(o) }",
    ),
    Case(
        "concat read twice",
        "(float[2,3] x) => (float[2,12] y) { a = Concat<axis = 1>(x, x) o = Concat<axis = 1>(a, a) y = Neg(o) }",
    ),
    Case(
        "slices of two axes",
        "(float[5,6] x) => (float[2,2] y) { a = Slice(x, s, e, n) y = Slice(a, t, f, m, p) }",
        "Slice",
        arrays={"s": i64(1), "e": i64(3), "n": i64(0), "t": i64(-1), "f": i64(-4), "m": i64(1), "p": i64(-2)},
    ),
    Case(
        "slices of one axis of unknown size, counted from the end",
        '(float["n"] x) => (float["m"] y) { a = Slice(x, s, e) o = Slice(a, s, e) y = Neg(o) }',
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
        '(float["n"] x) => (float["m"] y) { a = Slice(x, s, e, n, p) o = Slice(a, s, e) y = Neg(o) }',
        arrays={"s": i64(1), "e": i64(8), "n": i64(0), "p": i64(2)},
    ),
    Case(
        "slices of one axis with steps",
        "(float[9] x) => (float[2] y) { a = Slice(x, s, e, n, p) y = Slice(a, s, e, n, p) }",
        "Slice",
        arrays={"s": i64(0), "e": i64(8), "n": i64(0), "p": i64(2)},
    ),
    Case(
        "0 copies a dimension of a tensor of unknown rank",
        "(float[2,3,4] x) => (float[6,4] y) { a = Reshape(x, r) o = Reshape(a, s) y = Neg(o) }",
        arrays={"r": i64(6, 4), "s": i64(0, 4)},
        forget=("a",),
    ),
    Case(
        "0 copies a dimension of size 0",
        "(float[3,0] x) => (float[0,3] y) { a = Reshape<allowzero = 1>(x, s) o = Reshape(a, s) y = Neg(o) }",
        arrays={"s": i64(0, 3)},
    ),
    Case(
        "a target that is not constant",
        "(float[2,3] x, float[3,2] z) => (float[3,2] y) { a = Flatten(x) s = Shape(z) o = Reshape(a, s) y = Neg(o) }",
    ),
    Case(
        "a view to a shape that is not known",
        "(float[2,3] x) => (float[1,2,1,3] y) { a = Unsqueeze(x, s) o = Unsqueeze(a, t) y = Neg(o) }",
        arrays={"s": i64(1), "t": i64(0)},
        forget=("o",),
    ),
    Case(
        "a view with a dimension of size 0",
        "(float[0,3] x) => (float[1,0,1,3] y) { a = Unsqueeze(x, s) o = Unsqueeze(a, t) y = Neg(o) }",
        arrays={"s": i64(1), "t": i64(0)},
    ),
    Case(
        "squeeze twice over the same axis",
        "(float[1,1,3] x) => (float[3] y) { a = Squeeze(x, s) b = Squeeze(a, s) y = Neg(b) }",
        "Neg Reshape",
        arrays={"s": i64(0)},
    ),
    Case(
        "squeeze over another axis than unsqueeze",
        "(float[1,3] x) => (float[3,1] y) { a = Unsqueeze(x, s) b = Squeeze(a, t) y = Neg(b) }",
        "Neg Reshape",
        arrays={"s": i64(2), "t": i64(0)},
    ),
    Case(
        "squeeze and unsqueeze over axes that are not constant",
        "(float[1,3] x, float[2] v, float[0] w) => (float[3,1] y) "
        "{ s = Shape(v) t = Shape(w) a = Unsqueeze(x, s) o = Squeeze(a, t) y = Neg(o) }",
        forget=("a", "o"),
    ),
    Case(
        "squeeze undoes unsqueeze between input and output",
        "(float[2,3] x) => (float[2,3] y) { a = Unsqueeze(x, s) y = Squeeze(a, s) }",
        "Reshape",
        arrays={"s": i64(1)},
    ),
    Case(
        "default permutation of an unknown rank, inside",
        "(float[2,3,4] x) => (float[3,4,2] y) "
        "{ z = Neg(x) a = Transpose(z) o = Transpose<perm = [1, 0, 2]>(a) y = Neg(o) }",
        forget=("z", "a"),
    ),
    Case(
        "default permutation of an unknown rank, outside",
        "(float[2,3,4] x) => (float[4,2,3] y) { a = Transpose<perm = [1, 0, 2]>(x) o = Transpose(a) y = Neg(o) }",
        forget=("a",),
    ),
    Case(
        "concat of concat read by another operator",
        "(float[2,3] x) => (float[2,9] y) { a = Concat<axis = 1>(x, x) b = Concat<axis = 1>(x, a) y = Neg(b) }",
        "Concat Neg",
    ),
    Case(
        "concat of another operator",
        "(float[2,3] x) => (float[2,6] y) { a = Neg(x) y = Concat<axis = 1>(x, a) }",
    ),
    Case(
        "concat along another axis, read once",
        "(float[2,3] x, float[2,6] z) => (float[4,6] y) { a = Concat<axis = 1>(x, x) y = Concat<axis = 0>(a, z) }",
    ),
    Case(
        "concat along axes of which one is counted from an end that is not known",
        "(float[2,3] x) => (float[2,9] y) "
        "{ z = Abs(x) a = Concat<axis = 1>(z, z) o = Concat<axis = -1>(z, a) y = Neg(o) }",
        forget=("z", "a", "o"),
    ),
    Case(
        "slices of two axes, opset 9",
        "(float[5,6] x) => (float[2,2] y) { a = Slice<starts = [1], ends = [3], axes = [0]>(x) "
        "y = Slice<starts = [1], ends = [3], axes = [1]>(a) }",
        opset=9,
    ),
    Case(
        "the first slice is not constant",
        "(float[5,6] x, float[3] z) => (float[3,2] y) { n = Shape(z) a = Slice(x, k, n, k) y = Slice(a, s, e, p) }",
        arrays={"k": i64(0), "s": i64(1), "e": i64(3), "p": i64(1)},
    ),
    Case(
        "the second slice is not constant",
        "(float[5,6] x, float[3] z) => (float[3,2] y) { n = Shape(z) a = Slice(x, s, e, p) y = Slice(a, k, n, k) }",
        arrays={"k": i64(0), "s": i64(1), "e": i64(3), "p": i64(1)},
    ),
    Case(
        "the first slice is read elsewhere",
        "(float[5,6] x) => (float[2,2] y, float[2,6] w) { a = Slice(x, s, e, k) y = Slice(a, s, e, p) w = Neg(a) }",
        arrays={"k": i64(0), "s": i64(1), "e": i64(3), "p": i64(1)},
    ),
    Case(
        "slices of one axis of unknown size, a step second",
        '(float["n"] x) => (float["m"] y) { a = Slice(x, s, e) y = Slice(a, s, e, n, p) }',
        arrays={"s": i64(1), "e": i64(8), "n": i64(0), "p": i64(2)},
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


def test_a_tree_of_concats_goes_at_once() -> None:
    text = (
        "(float[3] x) => (float[12] y) { a = Concat<axis=0>(x, x) b = Concat<axis=0>(a, x) y = Concat<axis=0>(b, x) }"
    )
    assert len(run_pass(Shapes(), build(text))[2].records) == 1


@pytest.mark.parametrize("node", ["Squeeze<axes = [0]>(a)", "Reshape<shape = [3, 2]>(a)", "Reshape<shape = [3, 0]>(b)"])
def test_before_opset_5_a_reshape_has_no_input(node: str) -> None:
    text = (
        "(float[2,3] x) => (float[3,2] y) <float[1,3,2] a, float[3,2] b> "
        f"{{ a = Reshape<shape = [1, 3, 2]>(x) b = Reshape<shape = [3, 2]>(x) y = {node} }}"
    )
    assert not run_pass(Shapes(), build(text, opset=4))[2].changed


def test_the_composed_permutation() -> None:
    case = next(case for case in CASES if case.name == "transposes compose")
    assert attributes(run_pass(Shapes(), case.model())[1], "Transpose") == {"perm": [2, 0, 1]}


def test_allowzero_is_a_size() -> None:
    text = "(float[0,6] x) => (float[0,3,2] y) { a = Reshape(x, r) y = Reshape<allowzero = 1>(a, s) }"
    case = Case("allowzero", text, "Reshape", arrays={"r": i64(0, 2, 3), "s": i64(0, 3, 2)})
    after = check(Shapes(), case, "alone")
    assert numpy_helper.to_array(after.graph.initializer[0]).tolist() == [0, 3, 2]
    assert attributes(after, "Reshape") == {"allowzero": 1}
