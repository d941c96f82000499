"""Reading of constant operands that moved from attributes to inputs between opsets."""

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import View


def integers(node: gs.Node, view: View, name: str, position: int) -> list[int] | None:
    """A list of integers given as attribute `name` or as the constant input at `position`; None where it is neither."""
    if name in node.attrs:
        value = node.attrs[name]
        return [int(item) for item in (value if isinstance(value, list) else [value])]
    values = view.constant_value(view.input(node, position))
    return None if values is None or values.dtype.kind not in "iu" else [int(item) for item in values.reshape(-1)]


def has_operand(node: gs.Node, view: View, name: str, position: int) -> bool:
    """Whether the operand is given at all, as an attribute or as an input."""
    return name in node.attrs or view.input(node, position) is not None


def normalised(axes: list[int], rank: int) -> list[int] | None:
    """Axes counted from the front; None where one is out of range or named twice."""
    found = [axis + rank if axis < 0 else axis for axis in axes]
    fits = all(0 <= axis < rank for axis in found) and len(set(found)) == len(found)
    return found if fits else None


def permutation(node: gs.Node, view: View) -> list[int] | None:
    """The axes of a Transpose; None where they are not known or not a permutation."""
    perm = view.attr(node, "perm")
    rank = view.rank(view.input(node, 0))
    if perm is None:
        return None if rank is None else list(reversed(range(rank)))
    return list(perm) if sorted(perm) == list(range(len(perm))) else None


def slice_bounds(node: gs.Node, view: View) -> tuple[list[int], list[int], list[int], list[int]] | None:
    """Starts, ends, axes and steps of a Slice where all are constant and the axes are distinct."""
    starts, ends = integers(node, view, "starts", 1), integers(node, view, "ends", 2)
    if starts is None or ends is None:
        return None
    axes: list[int] | None = list(range(len(starts)))
    steps: list[int] | None = [1] * len(starts)
    if has_operand(node, view, "axes", 3):
        axes = integers(node, view, "axes", 3)
    if view.input(node, 4) is not None:
        steps = integers(node, view, "steps", 4)
    if axes is None or steps is None:
        return None
    rank = view.rank(node.inputs[0])
    places = [axis + (rank or 0) if axis < 0 else axis for axis in axes]
    distinct = {place for place in places if place >= 0}
    return (starts, ends, places, steps) if len(distinct) == len(starts) else None


def all_equal(values: NDArray[Any], number: float) -> bool:
    """Whether every element of a non-empty array is `number`."""
    return values.size > 0 and bool(np.all(values == number))
