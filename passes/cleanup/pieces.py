"""What is cut apart only to be put together again, and what is put together only to be cut apart."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import integers, slice_bounds

_TO_THE_END = 2**31 - 1


def _axis(node: gs.Node, view: View, default: int) -> int | None:
    """The axis of a node from the front."""
    axis, rank = view.attr(node, "axis", default), view.rank(view.input(node, 0))
    if axis >= 0:
        return int(axis)
    return None if rank is None else int(axis + rank)


def _sizes(node: gs.Node, view: View, axis: int) -> list[int] | None:
    """The sizes of a Concat's inputs along its axis, where all are known."""
    shapes = [tensor.shape for tensor in node.inputs]
    found = [
        shape[axis] for shape in shapes if shape is not None and axis < len(shape) and isinstance(shape[axis], int)
    ]
    return found if len(found) == len(shapes) else None


@dataclass(frozen=True)
class ConcatOfParts(Rewrite):
    """Concat of all parts of a Split, or of slices that lie end to end --> what was cut, or one Slice: case 11."""

    name: ClassVar[str] = "concat-of-parts"
    anchors: ClassVar[tuple[str, ...]] = ("Concat",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    source: gs.Tensor

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The node and what its inputs were cut from."""
        makers = [view.producer(tensor) for tensor in node.inputs]
        first, axis = makers[0] if makers else None, _axis(node, view, 1)
        if first is None or axis is None or not view.is_op(first, "Split", "Slice"):
            return None
        source = view.input(first, 0)
        cut = _is_whole_split if first.op == "Split" else _is_whole_slices
        if source is None or not cut(node, makers, axis, view) or not view.can_bypass(node, source):
            return None
        return cls(node, source)

    def apply(self, edit: Edit) -> None:
        """Readers read what was cut."""
        edit.bypass(self.node, self.source)


def _is_whole_split(node: gs.Node, makers: list[gs.Node | None], axis: int, view: View) -> bool:
    split = makers[0]
    if split is None or any(maker is not split for maker in makers) or _axis(split, view, 0) != axis:
        return False
    outputs = view.used_outputs(split)
    return len(outputs) == len(node.inputs) and all(a is b for a, b in zip(outputs, node.inputs, strict=True))


def _is_whole_slices(node: gs.Node, makers: list[gs.Node | None], axis: int, view: View) -> bool:
    """Slices of one tensor along the axis alone, from 0 to the end; bounds from the front need no known size."""
    first, reached = makers[0], 0
    for maker in makers:
        if first is None or maker is None or not view.is_op(maker, "Slice") or maker.inputs[0] is not first.inputs[0]:
            return False
        bounds = slice_bounds(maker, view)
        if bounds is None or bounds[2] != [axis] or bounds[3] != [1] or bounds[0] != [reached]:
            return False
        reached = bounds[1][0]
        if reached < 0:
            return False
    shape = node.outputs[0].shape if first is None else first.inputs[0].shape
    size = shape[axis] if shape is not None and axis < len(shape) else None
    return reached >= (size if isinstance(size, int) else _TO_THE_END)


@dataclass(frozen=True)
class SplitOfConcat(Rewrite):
    """Split(Concat(a, b)) into a and b again --> a, b: case 12."""

    name: ClassVar[str] = "split-of-concat"
    anchors: ClassVar[tuple[str, ...]] = ("Split",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    parts: tuple[gs.Tensor, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The Split and what was put together."""
        inner, axis = view.producer(view.input(node, 0)), _axis(node, view, 0)
        if inner is None or axis is None or not view.is_op(inner, "Concat") or _axis(inner, view, 1) != axis:
            return None
        sizes = _sizes(inner, view, axis)
        if sizes is None or len(sizes) != len(node.outputs) or any(view.is_output(out) for out in node.outputs):
            return None
        wanted = integers(node, view, "split", 1) or [sum(sizes) // len(sizes)] * len(sizes)
        return cls(node, tuple(inner.inputs)) if wanted == sizes else None

    def apply(self, edit: Edit) -> None:
        """Readers of each output read the part."""
        for out, part in zip(self.node.outputs, self.parts, strict=True):
            edit.replace_uses(out, part)
        edit.remove(self.node)


@dataclass(frozen=True)
class SliceOfConcat(Rewrite):
    """Slice(Concat(a, b)) inside b --> b, or a Slice of b: case 13."""

    name: ClassVar[str] = "slice-of-concat"
    anchors: ClassVar[tuple[str, ...]] = ("Slice",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    part: gs.Tensor
    bounds: tuple[int, int] | None

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The Slice, the part that it lies in, and its bounds there (None: all of it)."""
        inner = view.producer(view.input(node, 0))
        bounds = None if inner is None or not view.is_op(inner, "Concat") else slice_bounds(node, view)
        if inner is None or bounds is None or len(bounds[0]) != 1 or bounds[3] != [1] or "starts" in node.attrs:
            return None
        axis = _axis(inner, view, 1)
        sizes = _sizes(inner, view, axis) if axis is not None and bounds[2] == [axis] else None
        if sizes is None:
            return None
        low, high, _ = slice(bounds[0][0], bounds[1][0]).indices(sum(sizes))
        for size, part in zip(sizes, inner.inputs, strict=True):
            if 0 <= low < high <= size:
                whole = low == 0 and high == size
                return (
                    cls(node, part, None if whole else (low, high))
                    if not whole or view.can_bypass(node, part)
                    else None
                )
            low, high = low - size, high - size
        return None

    def apply(self, edit: Edit) -> None:
        """The Slice goes, or reads the part."""
        if self.bounds is None:
            edit.bypass(self.node, self.part)
            return
        name = self.node.outputs[0].name
        edit.set_input(self.node, 0, self.part)
        for position, (value, what) in enumerate(zip(self.bounds, ("starts", "ends"), strict=True)):
            edit.set_input(self.node, 1 + position, edit.constant(f"{name}_{what}", np.asarray([value], np.int64)))


@dataclass(frozen=True)
class ConcatOfNothing(Rewrite):
    """Concat(a, nothing, b) --> Concat(a, b) where a constant has no element: case 14."""

    name: ClassVar[str] = "concat-of-nothing"
    anchors: ClassVar[tuple[str, ...]] = ("Concat",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    kept: tuple[gs.Tensor, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The node and the inputs that have elements."""
        axis = _axis(node, view, 1)
        if axis is None or len(node.inputs) < 2:
            return None
        kept = tuple(tensor for tensor in node.inputs if not _is_empty(tensor, axis, view))
        return cls(node, kept) if 0 < len(kept) < len(node.inputs) else None

    def apply(self, edit: Edit) -> None:
        """The others stay."""
        edit.drop_inputs(self.node, 0)
        for position, tensor in enumerate(self.kept):
            edit.set_input(self.node, position, tensor)


def _is_empty(tensor: gs.Tensor, axis: int, view: View) -> bool:
    shape = view.static_shape(tensor) if view.is_constant(tensor) else None
    return shape is not None and axis < len(shape) and shape[axis] == 0
