"""Chains of shape and layout nodes as one node."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View, slice_of
from roofwright.passes.base import LocalPass, Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import slice_bounds
from roofwright.passes.cleanup.permutations import TransposeOfTranspose
from roofwright.passes.cleanup.picks import ConcatOfGathers, GatherKeepsAxis, ReduceKeepsDims, SqueezeOfPick
from roofwright.passes.cleanup.pieces import ConcatOfNothing, ConcatOfParts, SliceOfConcat, SplitOfConcat
from roofwright.passes.cleanup.sequences import SplitOfSequence
from roofwright.passes.cleanup.unit_axes import SqueezeOfTranspose
from roofwright.passes.cleanup.views import InverseViews, ReshapeOfView, ViewOfView

_FIRST_SLICE_WITH_INPUTS = 10
_BEFORE_THE_FRONT = -(2**31)
Bounds = tuple[list[int], list[int], list[int], list[int]]
Range = tuple[int, int, int]  # start, end, step


@dataclass(frozen=True)
class ConcatOfConcat(Rewrite):
    """Concat(a, Concat(b, c)) --> Concat(a, b, c) along one axis: case 5."""

    name: ClassVar[str] = "concat-of-concat"
    anchors: ClassVar[tuple[str, ...]] = ("Concat",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    inner: tuple[gs.Node, ...]
    spliced: tuple[gs.Tensor, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The outermost node of a tree, the inner ones, and the leaves in order: the whole tree goes at once."""
        reader = view.sole_consumer(node.outputs[0])
        if reader is not None and _inner(reader, node.outputs[0], view) is node:
            return None
        gone: list[gs.Node] = []
        leaves: list[gs.Tensor] = []
        waiting = [(node, tensor) for tensor in reversed(node.inputs)]
        while waiting:
            outer, tensor = waiting.pop()
            inner = _inner(outer, tensor, view)
            if inner is None:
                leaves.append(tensor)
                continue
            gone.append(inner)
            waiting += [(inner, held) for held in reversed(inner.inputs)]
        return cls(node, tuple(gone), tuple(leaves)) if gone else None

    def apply(self, edit: Edit) -> None:
        """The leaves become the inputs."""
        edit.inherit(self.node, (*self.inner, self.node))
        edit.drop_inputs(self.node, 0)
        for inner in self.inner:
            edit.remove(inner)
        for position, tensor in enumerate(self.spliced):
            edit.set_input(self.node, position, tensor)


def _inner(node: gs.Node, tensor: gs.Tensor, view: View) -> gs.Node | None:
    """The Concat that makes `tensor` for `node` alone, along the same axis."""
    inner = view.producer(tensor)
    if not view.is_op(inner, "Concat") or not view.is_op(node, "Concat"):
        return None
    return inner if view.sole_consumer(tensor) is node and _same_axis(node, inner, view) else None


def _same_axis(node: gs.Node, inner: gs.Node, view: View) -> bool:
    first, second = view.attr(inner, "axis", 1), view.attr(node, "axis", 1)
    rank = view.rank(node.outputs[0]) or view.rank(inner.outputs[0])
    return first == second or (rank is not None and (first - second) % rank == 0)


@dataclass(frozen=True)
class SliceOfSlice(Rewrite):
    """Slice(Slice(x)) --> Slice(x): case 6."""

    name: ClassVar[str] = "slice-of-slice"
    anchors: ClassVar[tuple[str, ...]] = ("Slice",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    inner: gs.Node
    bounds: Bounds

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """Both nodes and the bounds of the one that does the work of both."""
        inner = view.producer(node.inputs[0])
        if not view.is_op(inner, "Slice") or view.opset < _FIRST_SLICE_WITH_INPUTS:
            return None
        first, second = slice_bounds(inner, view), slice_bounds(node, view)
        if first is None or second is None or view.sole_consumer(node.inputs[0]) is not node:
            return None
        bounds = _composed(first, second, inner.inputs[0].shape)
        return None if bounds is None else cls(node, inner, bounds)

    def apply(self, edit: Edit) -> None:
        """The outer node reads the source with the composed bounds."""
        node, name = self.node, self.node.outputs[0].name
        edit.inherit(node, (self.inner, node))
        edit.set_input(node, 0, self.inner.inputs[0])
        edit.remove(self.inner)
        for position, (values, what) in enumerate(zip(self.bounds, ("starts", "ends", "axes", "steps"), strict=True)):
            edit.set_input(node, 1 + position, edit.constant(f"{name}_{what}", np.asarray(values, np.int64)))


def _composed(first: Bounds, second: Bounds, shape: tuple[int | str | None, ...] | None) -> Bounds | None:
    """The bounds of `second` after `first`.

    (a) Other axes are listed side by side; (b) a shared axis of known size picks from the range that is left, whatever
    the steps; (c) of unknown size, both steps 1 and counted from the front, the offsets add up.
    """
    ranges = {axis: (start, end, step) for start, end, axis, step in zip(*first, strict=True)}
    for start, end, axis, step in zip(*second, strict=True):
        if axis not in ranges:
            ranges[axis] = (start, end, step)
            continue
        size = shape[axis] if shape is not None and axis < len(shape) else None
        found = _picked(ranges[axis], (start, end, step), size)
        if found is None:
            return None
        ranges[axis] = found
    listed = [(*bounds, axis) for axis, bounds in ranges.items()]
    return [r[0] for r in listed], [r[1] for r in listed], [r[3] for r in listed], [r[2] for r in listed]


def _picked(first: Range, second: Range, size: int | str | None) -> Range | None:
    if isinstance(size, int):
        taken = range(size)[slice_of(size, *first)]
        left = taken[slice_of(len(taken), *second)]
        if not left:
            return 0, 0, 1
        return left.start, left.stop if left.stop >= 0 else _BEFORE_THE_FRONT, left.step
    if first[2] != 1 or second[2] != 1 or min(*first[:2], *second[:2]) < 0:
        return None
    return first[0] + second[0], min(first[1], first[0] + second[1]), 1


@dataclass(frozen=True)
class Shapes(LocalPass):
    """`y = shape2(shape1(x))` --> `y = shape3(x)`.

    1. Reshape of Reshape, Flatten, Squeeze or Unsqueeze: the outer target decides alone. A 0 in it copies a dimension
       of the middle tensor, so it is spelled out first (with -1 where one size is unknown); with `allowzero` it is a
       size.
    2. Flatten, Squeeze or Unsqueeze of such a node, read by nothing else: one Reshape to the final shape, of which at
       most one dimension is unknown and none is 0.
    3. Squeeze and Unsqueeze over the same axes cancel, whatever the sizes.
    4. Transpose of Transpose: the permutations compose; an identity goes where the names allow. Where the first one
       stays for another reader, only if both together move no data: else the source would be read twice.
    5. Concat of Concat along the same axis, the inner one read once.
    6. Slice of Slice: (a) different axes; (b) the same axis of known size, whatever the steps; (c) of unknown size,
       with steps of 1 and bounds counted from the front.
    7. Unsqueeze of a Gather with a scalar index along the same axis: the index gets the axis.
    8. Squeeze of a Gather of one index, or of a Slice that leaves one element: a Gather with a scalar index.
    9. Concat of Gathers from one tensor along the same axis, neighbours read once: one Gather with all indices.
    10. Unsqueeze or Squeeze of a reduction, ArgMax or ArgMin over the same axes: `keepdims`.
    11. Concat of all parts of a Split in order, or of slices end to end from the first element to the last.
    12. Split of a Concat at its own seams.
    13. Slice of a Concat inside one part.
    14. Concat with constants that have no element.
    15. Squeeze of a Transpose of an Unsqueeze or Reshape, each read once, that takes out the axes of size 1 again.
    16. SplitToSequence of which every reader is a SequenceAt with a constant index: one Split.

    Declines silently: these are not worth a near miss. Transposes that only move dimensions of size 1 stay.

    Numerics: exact.
    """

    name: ClassVar[str] = "shapes"
    summary: ClassVar[str] = "merge chains of Reshape, Transpose, Concat, Slice, Split and Gather"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (
        InverseViews,
        ReshapeOfView,
        ViewOfView,
        TransposeOfTranspose,
        ConcatOfConcat,
        SliceOfSlice,
        GatherKeepsAxis,
        SqueezeOfPick,
        ConcatOfGathers,
        ReduceKeepsDims,
        ConcatOfParts,
        SplitOfConcat,
        SliceOfConcat,
        ConcatOfNothing,
        SqueezeOfTranspose,
        SplitOfSequence,
    )
