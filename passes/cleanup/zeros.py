"""Tensors that hold nothing but +0, whatever their size."""

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import View

_MOVES = ("Identity", "Slice", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile", "Gather")
_READ_ELEMENTS = 1 << 16  # larger constants are not read for this
_MOST_NODES = 64


def is_zeros(tensor: gs.Tensor, view: View) -> bool:
    """Whether every element is +0: a constant, a ConstantOfShape, or these moved about."""
    waiting, seen = [tensor], 0
    while waiting:
        held, seen = waiting.pop(), seen + 1
        if seen > _MOST_NODES:
            return False
        node = view.producer(held)
        if view.is_op(node, "Concat"):
            waiting += node.inputs
        elif view.is_op(node, *_MOVES, "Split"):
            waiting.append(node.inputs[0])
        elif view.is_op(node, "ConstantOfShape"):
            fill = view.attr(node, "value")
            if fill is not None and not _holds_zeros(view.index.values(fill)):
                return False
        elif not _is_zero_constant(held, view):
            return False
    return True


def _is_zero_constant(tensor: gs.Tensor, view: View) -> bool:
    value = view.small_constant(tensor, _READ_ELEMENTS)
    return value is not None and _holds_zeros(value)


def _holds_zeros(values: NDArray[Any]) -> bool:
    return not np.any(values) and not (values.dtype.kind == "f" and bool(np.any(np.signbit(values))))
