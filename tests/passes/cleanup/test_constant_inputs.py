"""What is read of the operands of a Slice, and which arrays are all one number."""

from typing import Any

import numpy as np
import pytest

from roofwright.graph import View, read
from roofwright.passes.cleanup.constant_inputs import all_equal, slice_bounds
from tests.passes.harness import build, int64

CONSTANTS = {"s": int64([1]), "e": int64([3]), "k": int64([1]), "t": int64([2])}


@pytest.mark.parametrize("given", CONSTANTS)
def test_every_operand_must_be_constant(given: str) -> None:
    operands = ", ".join("w" if name == given else name for name in CONSTANTS)
    text = f"(float[4,4] x, int64[1] w) => (float y) {{ a = Slice(x, {operands}) y = ReduceMax<keepdims = 0>(a) }}"
    arrays = {name: value for name, value in CONSTANTS.items() if name != given}
    assert slice_bounds(*_first(build(text, arrays))) is None


@pytest.mark.parametrize(("axes", "found"), [([1, 0], [1, 0]), ([-1, 0], [1, 0]), ([1, -1], None), ([0, 0], None)])
def test_axes_are_distinct_and_counted_from_the_front(axes: list[int], found: list[int] | None) -> None:
    arrays = {"s": int64([1, 1]), "e": int64([3, 3]), "k": int64(axes)}
    text = "(float[4,4] x) => (float[2,2] y) { y = Slice(x, s, e, k) }"
    bounds = slice_bounds(*_first(build(text, arrays)))
    assert (None if bounds is None else bounds[2]) == found


def test_axes_counted_from_an_end_that_is_not_known() -> None:
    node, view = _first(
        build("(float[4] x) => (float[2] y) { y = Slice<starts = [1], ends = [3], axes = [-1]>(x) }", opset=9)
    )
    node.inputs[0].shape = None
    assert slice_bounds(node, view) is None


def test_nothing_is_not_all_one() -> None:
    assert all_equal(np.ones(3), 1)
    assert not all_equal(np.asarray([1, 2]), 1)
    assert not all_equal(np.ones(0), 1)


def _first(model: Any) -> tuple[Any, View]:
    graph = read(model)
    return graph.nodes[0], View(graph)
