"""How large results are predicted to be, against what numpy makes; None where an operand that decides is not known."""

from typing import Any

import numpy as np
import pytest

from roofwright.passes.cleanup.fold_sizes import Operand, predicted_elements
from tests.passes.harness import float32, int64


def known(value: Any) -> Operand:
    """A small operand whose values are known."""
    array = np.asarray(value)
    return Operand(array.shape, array.size, array)


def shaped(*shape: int) -> Operand:
    return Operand(shape, int(np.prod(shape)))


def sized(elements: int) -> Operand:
    """Of unknown shape."""
    return Operand(None, elements)


CASES: list[tuple[str, list[Operand | None], dict[str, Any], int | None]] = [
    ("Add", [shaped(3, 1), shaped(4)], {}, 12),
    ("Add", [shaped(3, 0), shaped(1)], {}, 0),
    ("Add", [sized(3), sized(4)], {}, 12),
    ("Clip", [shaped(6), None, shaped()], {}, 6),
    ("Concat", [shaped(2, 3), shaped(4, 3)], {"axis": 0}, 18),
    ("ConstantOfShape", [known(int64([2, 3]))], {}, 6),
    ("ConstantOfShape", [known(int64([2, -3]))], {}, None),
    ("ConstantOfShape", [known(float32([2, 3]))], {}, None),
    ("ConstantOfShape", [shaped(2)], {}, None),
    ("ConstantOfShape", [None], {}, None),
    ("Expand", [shaped(3, 1), known(int64([2, 1, 4]))], {}, 24),
    ("Expand", [shaped(3, 1), shaped(3)], {}, None),
    ("Expand", [sized(3), known(int64([2, 1]))], {}, None),
    ("Expand", [None, known(int64([2, 1]))], {}, None),
    ("Tile", [sized(6), known(int64([2, 5]))], {}, 60),
    ("Tile", [sized(6), shaped(2)], {}, None),
    ("Tile", [None, known(int64([2]))], {}, None),
    ("Pad", [shaped(2, 3), known(int64([1, 0, 0, 2]))], {}, 15),
    ("Pad", [shaped(2, 3)], {"pads": [1, 0, 0, 2]}, 15),
    ("Pad", [shaped(2, 3), shaped(4)], {}, None),
    ("Pad", [sized(6), known(int64([1, 0, 0, 2]))], {}, None),
    ("Pad", [None, known(int64([1, 0, 0, 2]))], {}, None),
    ("Pad", [shaped(2, 3), known(int64([1, 2])), None, known(int64([1]))], {}, None),
    ("Range", [known(int64(2)), known(int64(9)), known(int64(2))], {}, 4),
    ("Range", [known(int64(9)), known(int64(2)), known(int64(2))], {}, 0),
    ("Range", [known(int64(2)), known(int64(9)), known(int64(0))], {}, None),
    ("Range", [known(float32(2)), known(float32(np.inf)), known(float32(1))], {}, None),
    ("Range", [known(int64(2)), shaped(), known(int64(2))], {}, None),
    ("Range", [known(int64(2)), None, known(int64(2))], {}, None),
    ("Range", [known(int64(2)), known(int64(9))], {}, None),
    ("Gather", [shaped(5, 4), shaped(2, 3)], {"axis": 1}, 30),
    ("Gather", [shaped(5, 4), shaped(2, 3)], {"axis": 2}, None),
    ("Gather", [shaped(5, 0), shaped(2)], {"axis": 1}, None),
    ("Gather", [sized(20), shaped(2)], {}, None),
    ("Gather", [None, shaped(2)], {}, None),
    ("Gather", [shaped(5), None], {}, None),
    ("GatherElements", [shaped(5), sized(2)], {}, 2),
    ("GatherElements", [shaped(5), None], {}, None),
    ("GatherND", [shaped(5, 4, 3), shaped(7, 2)], {}, 21),
    ("GatherND", [shaped(5, 4, 3), shaped(5, 1)], {"batch_dims": 1}, 15),
    ("GatherND", [sized(60), shaped(7, 2)], {}, None),
    ("GatherND", [None, shaped(7, 2)], {}, None),
    ("GatherND", [shaped(5), None], {}, None),
    ("GatherND", [shaped(5), sized(2)], {}, None),
    ("GatherND", [shaped(5), shaped(2, 0)], {}, None),
    ("NonZero", [shaped(5, 4)], {}, 40),
    ("NonZero", [shaped()], {}, 1),
    ("NonZero", [sized(5)], {}, None),
    ("OneHot", [sized(6), known(int64([5]))], {}, 30),
    ("OneHot", [sized(6), known(int64([5, 5]))], {}, None),
    ("OneHot", [sized(6), shaped(1)], {}, None),
    ("OneHot", [None, known(int64([5]))], {}, None),
    ("MatMul", [shaped(7, 2, 3), shaped(3, 5)], {}, 70),
    ("Gemm", [shaped(3, 2), shaped(5, 3)], {"transA": 1, "transB": 1}, 10),
    ("MatMul", [shaped(3), shaped(3, 5)], {}, None),
    ("MatMul", [sized(6), shaped(3, 5)], {}, None),
    ("MatMul", [shaped(2, 3), sized(6)], {}, None),
    ("MatMul", [None, shaped(3, 5)], {}, None),
    ("MatMul", [shaped(2, 3), None], {}, None),
    ("Relu", [], {}, None),
    ("Relu", [None], {}, None),
    ("NoSuchOperator", [shaped(2)], {}, None),
]


@pytest.mark.parametrize(("op", "operands", "attrs", "elements"), CASES)
def test_elements(op: str, operands: list[Operand | None], attrs: dict[str, Any], elements: int | None) -> None:
    assert predicted_elements(op, operands, attrs) == elements
