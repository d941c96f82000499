"""What `SymbolicShapes` says of tensors, and how it cancels products."""

from typing import Any

import numpy as np
import pytest

from roofwright.graph import View, read
from roofwright.passes.cleanup.dims import SymbolicShapes
from roofwright.passes.cleanup.symbols import Symbols
from tests.passes.harness import build, float32, int64


@pytest.fixture
def shapes() -> SymbolicShapes:
    arrays = {
        "flat": int64([3, 4]),
        "deep": int64([[3], [4]]),
        "real": float32([3.5]),
        "one": int64(7),
        "half": float32(0.5),
    }
    text = "(float[2] x) => (float[2] y) { y = custom.Read(x, flat, deep, real, one, half) }"
    return SymbolicShapes(View(read(build(text, arrays))), Symbols(), {})


def operand(shapes: SymbolicShapes, position: int) -> Any:
    return shapes.view.graph.nodes[0].inputs[position]


def test_values_are_integers_in_a_row(shapes: SymbolicShapes) -> None:
    assert shapes.value(operand(shapes, 1)) == [3, 4]
    assert [shapes.value(operand(shapes, position)) for position in (0, 2, 3)] == [None] * 3
    assert shapes.value(None) is None
    assert shapes.of(None) is None


def test_scalars_are_single_integers(shapes: SymbolicShapes) -> None:
    assert shapes.scalar(operand(shapes, 4)) == 7
    assert [shapes.scalar(operand(shapes, position)) for position in (0, 5)] == [None] * 2
    shapes.values[id(operand(shapes, 1))] = int64([3, 4])
    assert shapes.scalar(operand(shapes, 1)) is None


def test_a_rank_beyond_all_reason_is_not_followed(shapes: SymbolicShapes) -> None:
    tensor = operand(shapes, 0)
    tensor.shape = [1] * 65
    assert shapes.of(tensor) is None


def test_products_cancel_or_nothing_is_said(shapes: SymbolicShapes) -> None:
    n, m = shapes.symbols.named("n"), shapes.symbols.named("m")
    assert shapes.quotient([n, 6], [n, 2]) == 3
    assert shapes.quotient([n, m, 6], [m]) is shapes.quotient([6, n], [1])
    assert shapes.quotient([n, 6], [m]) is None
    assert shapes.quotient([n, 6], [4]) is None
    assert shapes.quotient([n, 6], [0]) is None
    assert shapes.quotient([n, 6], [-2]) is None
    assert np.array_equal(shapes.quotient([4, 6], [3]), 8)


def test_without_a_rank_nothing_is_known(shapes: SymbolicShapes) -> None:
    operand(shapes, 0).shape = None
    assert shapes.of(operand(shapes, 0)) is None


def test_outputs_keep_what_they_declare(shapes: SymbolicShapes) -> None:
    output = shapes.view.graph.outputs[0]
    shapes.note(output, [3])
    assert output.shape == [2]
