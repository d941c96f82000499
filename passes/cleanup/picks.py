"""Gather, Slice and reductions together with the Squeeze, Unsqueeze or Concat behind them."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import integers, normalised, slice_bounds

_TO_THE_END = 2**31 - 1
_FIRST_NEGATIVE_INDEX = 11
_REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceProd", "ReduceSum", "ReduceSumSquare"),
)


def _axes(node: gs.Node, view: View, rank: int | None) -> list[int] | None:
    """The axes of a node, sorted, from the front where the rank is known; None where they are not constant."""
    axes = integers(node, view, "axes", 1)
    if axes is None:
        return None
    found = axes if rank is None else normalised(axes, rank)
    return None if found is None else sorted(found)


def _axis(node: gs.Node, view: View) -> int:
    """The axis of a node, from the front where the rank is known."""
    axis, rank = view.attr(node, "axis", 0), view.rank(view.input(node, 0))
    return int(axis) if axis >= 0 or rank is None else int(axis + rank)


def _sole_maker(node: gs.Node, view: View) -> gs.Node | None:
    """The node that makes the first input for this node alone."""
    tensor = view.input(node, 0)
    return view.producer(tensor) if tensor is not None and view.sole_consumer(tensor) is node else None


def _indices(node: gs.Node, view: View) -> list[int] | None:
    """The constant indices of a Gather."""
    values = view.constant_value(view.input(node, 1))
    return None if values is None or values.dtype.kind not in "iu" else [int(item) for item in values.reshape(-1)]


@dataclass(frozen=True)
class GatherKeepsAxis(Rewrite):
    """Unsqueeze(Gather(x, 3)) --> Gather(x, [3]) along one axis: case 7."""

    name: ClassVar[str] = "gather-keeps-axis"
    anchors: ClassVar[tuple[str, ...]] = ("Unsqueeze",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    inner: gs.Node
    index: int

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """Both nodes and the index."""
        inner = _sole_maker(node, view)
        if not view.is_op(inner, "Gather") or view.rank(view.input(inner, 1)) != 0:
            return None
        index = _indices(inner, view)
        if index is None or _axes(node, view, view.rank(view.input(inner, 0))) != [_axis(inner, view)]:
            return None
        return cls(node, inner, index[0])

    def apply(self, edit: Edit) -> None:
        """The Gather makes what the Unsqueeze made."""
        edit.set_constant(self.inner, 1, np.asarray([self.index], np.int64), f"{self.node.outputs[0].name}_index")
        edit.absorb(self.inner, self.node)


@dataclass(frozen=True)
class SqueezeOfPick(Rewrite):
    """Squeeze(Gather(x, [3])) and Squeeze(Slice(x, 3:4)) --> Gather(x, 3) along one axis: case 8."""

    name: ClassVar[str] = "squeeze-of-pick"
    anchors: ClassVar[tuple[str, ...]] = ("Squeeze",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    inner: gs.Node
    axis: int
    index: int

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """Both nodes, the axis, and which element of it is left."""
        inner = _sole_maker(node, view)
        if not view.is_op(inner, "Gather", "Slice"):
            return None
        picked = _gathered(inner, view) if inner.op == "Gather" else _sliced(inner, view)
        rank = view.rank(view.input(inner, 0))
        if picked is None or _axes(node, view, rank) != [picked[0]]:
            return None
        if picked[1] < 0 and view.opset < _FIRST_NEGATIVE_INDEX:
            return None
        return cls(node, inner, *picked)

    def apply(self, edit: Edit) -> None:
        """One Gather of a scalar index."""
        node, inner, out = self.node, self.inner, self.node.outputs[0]
        index = edit.constant(f"{out.name}_index", np.asarray(self.index, np.int64))
        source, name = inner.inputs[0], inner.name or out.name
        edit.remove(node)
        edit.remove(inner)
        attrs = {"axis": self.axis}
        edit.node("Gather", [source, index], [out], name=name, sources=(inner, node), attrs=attrs, before=node)


def _gathered(node: gs.Node, view: View) -> tuple[int, int] | None:
    index = _indices(node, view)
    if index is None or view.rank(view.input(node, 1)) != 1:
        return None
    return _axis(node, view), index[0]


def _sliced(node: gs.Node, view: View) -> tuple[int, int] | None:
    """The axis and the only element that a Slice leaves of it, where the dimension has that element at all."""
    bounds = slice_bounds(node, view)
    if bounds is None or len(bounds[0]) != 1:
        return None
    (start,), (end,), (axis,), (step,) = bounds
    is_last = start == -1 and end >= _TO_THE_END
    is_one = end == start + 1 and (start >= 0 or end < 0)
    return (axis, start) if step == 1 and (is_last or is_one) else None


@dataclass(frozen=True)
class ConcatOfGathers(Rewrite):
    """Concat(Gather(x, [3]), Gather(x, [5, 1])) --> Gather(x, [3, 5, 1]) along one axis: case 9."""

    name: ClassVar[str] = "concat-of-gathers"
    anchors: ClassVar[tuple[str, ...]] = ("Concat",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    first: int
    gathers: tuple[gs.Node, ...]
    indices: tuple[int, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The first run of neighbours that gather from one tensor."""
        rank, axis = view.rank(node.outputs[0]), view.attr(node, "axis", 1)
        axis = axis if axis >= 0 or rank is None else axis + rank
        makers = [_picker(tensor, axis, node, view) for tensor in node.inputs]
        for first, maker in enumerate(makers):
            last = first + 1
            while maker is not None and last < len(makers) and _reads_same(makers[last], maker):
                last += 1
            if last - first > 1:
                run = tuple(gather for gather in makers[first:last] if gather is not None)
                found = tuple(index for gather in run for index in _indices(gather, view) or ())
                return cls(node, first, run, found)
        return None

    def apply(self, edit: Edit) -> None:
        """The first Gather picks for all; without other inputs it makes what the Concat made."""
        kept, name = self.gathers[0], self.gathers[0].outputs[0].name
        rest = [*self.node.inputs[: self.first + 1], *self.node.inputs[self.first + len(self.gathers) :]]
        edit.set_constant(kept, 1, np.asarray(self.indices, np.int64), f"{name}_index")
        kept.outputs[0].shape = None
        edit.inherit(kept, self.gathers)
        edit.drop_inputs(self.node, 0)
        for gather in self.gathers[1:]:
            edit.remove(gather)
        if len(rest) == 1:
            edit.absorb(kept, self.node)
            return
        for position, tensor in enumerate(rest):
            edit.set_input(self.node, position, tensor)


def _picker(tensor: gs.Tensor, axis: int, node: gs.Node, view: View) -> gs.Node | None:
    """The Gather with constant indices along the axis that makes `tensor` for `node` alone."""
    maker = view.producer(tensor)
    if not view.is_op(maker, "Gather") or view.sole_consumer(tensor) is not node:
        return None
    is_list = view.rank(view.input(maker, 1)) == 1 and _indices(maker, view) is not None
    return maker if is_list and _axis(maker, view) == axis else None


def _reads_same(one: gs.Node | None, other: gs.Node) -> bool:
    return one is not None and one.inputs[0] is other.inputs[0]


@dataclass(frozen=True)
class ReduceKeepsDims(Rewrite):
    """Unsqueeze(Reduce(x, keepdims=0)) and Squeeze(Reduce(x)) over the same axes --> one Reduce: case 10."""

    name: ClassVar[str] = "reduce-keeps-dims"
    anchors: ClassVar[tuple[str, ...]] = ("Unsqueeze", "Squeeze")
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    inner: gs.Node

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """Both nodes."""
        inner = _sole_maker(node, view)
        if not view.is_op(inner, *_REDUCTIONS, "ArgMax", "ArgMin"):
            return None
        if bool(view.attr(inner, "keepdims", 1)) is not (node.op == "Squeeze"):
            return None
        rank = view.rank(view.input(inner, 0))
        axes = _axes(inner, view, rank) if inner.op in _REDUCTIONS else [_axis(inner, view)]
        return cls(node, inner) if axes and _axes(node, view, rank) == axes else None

    def apply(self, edit: Edit) -> None:
        """The reduction makes what the other node made."""
        edit.set_attrs(self.inner, keepdims=int(self.node.op == "Unsqueeze"))
        edit.absorb(self.inner, self.node)
