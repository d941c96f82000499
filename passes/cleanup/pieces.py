"""What is cut apart only to be put together again, and what is put together only to be cut apart."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import has_operand, integers, slice_bounds

_TO_THE_END = 2**31 - 1


def _axis(node: gs.Node, view: View, default: int) -> int | None:
    """The axis of a node from the front."""
    axis, rank = view.attr(node, "axis", default), view.rank(view.input(node, 0))
    if axis >= 0:
        return int(axis)
    return None if rank is None else int(axis + rank)


def _sizes(node: gs.Node, view: View) -> tuple[int, list[int]] | None:
    """The axis of a Concat from the front, and the sizes of its inputs along it, where all are known."""
    axis = view.attr(node, "axis", 1)
    shapes = [tensor.shape for tensor in node.inputs if tensor.shape is not None]
    sizes = [size for shape in shapes for size in shape[axis:][:1] if isinstance(size, int)]
    return (axis % len(shapes[0]), sizes) if len(sizes) == len(node.inputs) else None


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
        first, axis = view.producer(node.inputs[0]), _axis(node, view, 1)
        if axis is None or not view.is_op(first, "Split", "Slice"):
            return None
        source, is_whole = first.inputs[0], _is_whole_split if first.op == "Split" else _is_whole_slices
        return cls(node, source) if view.can_bypass(node, source) and is_whole(node, first, axis, view) else None

    def apply(self, edit: Edit) -> None:
        """Readers read what was cut."""
        edit.bypass(self.node, self.source)


def _is_whole_split(node: gs.Node, split: gs.Node, axis: int, view: View) -> bool:
    outputs = view.used_outputs(split)
    same = len(outputs) == len(node.inputs) and all(a is b for a, b in zip(outputs, node.inputs, strict=True))
    return same and _axis(split, view, 0) == axis


def _is_whole_slices(node: gs.Node, first: gs.Node, axis: int, view: View) -> bool:
    """Slices of one tensor along the axis alone, from 0 to the end; bounds from the front need no known size."""
    reached, source = 0, first.inputs[0]
    for maker in (view.producer(tensor) for tensor in node.inputs):
        if not view.is_op(maker, "Slice") or maker.inputs[0] is not source:
            return False
        bounds = slice_bounds(maker, view)
        if bounds is None or bounds[0] != [reached] or bounds[2:] != ([axis], [1]) or bounds[1][0] < reached:
            return False
        reached = bounds[1][0]
    size = None if source.shape is None else source.shape[axis]
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
        inner = view.producer(node.inputs[0])
        if not view.is_op(inner, "Concat") or any(view.is_output(out) for out in node.outputs):
            return None
        known, wanted, count = _sizes(inner, view), integers(node, view, "split", 1), len(node.outputs)
        if known is not None and not has_operand(node, view, "split", 1):
            wanted = [sum(known[1]) // count] * count
        return cls(node, tuple(inner.inputs)) if known == (_axis(node, view, 0), wanted) else None

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
        inner = view.producer(node.inputs[0])
        if not view.is_op(inner, "Concat") or "starts" in node.attrs:
            return None
        bounds, known = slice_bounds(node, view), _sizes(inner, view)
        if bounds is None or known is None or bounds[2:] != ([known[0]], [1]):
            return None
        low, high, _ = slice(bounds[0][0], bounds[1][0]).indices(sum(known[1]))
        for size, part in zip(known[1], inner.inputs, strict=True):
            if (low, high) == (0, size):
                return cls(node, part, None) if view.can_bypass(node, part) else None
            if 0 <= low < high <= size:
                return cls(node, part, (low, high))
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
        axis = view.attr(node, "axis", 1)
        kept = tuple(tensor for tensor in node.inputs if not _is_empty(tensor, axis, view))
        return cls(node, kept) if 0 < len(kept) < len(node.inputs) else None

    def apply(self, edit: Edit) -> None:
        """The others stay."""
        edit.drop_inputs(self.node, 0)
        for position, tensor in enumerate(self.kept):
            edit.set_input(self.node, position, tensor)


def _is_empty(tensor: gs.Tensor, axis: int, view: View) -> bool:
    shape = view.static_shape(tensor) if view.is_constant(tensor) else None
    return shape is not None and 0 in shape[axis:][:1]
