"""Chains of Reshape, Flatten, Squeeze and Unsqueeze: nodes that only name the dimensions anew."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import integers, normalised

VIEW_OPS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
_FIRST_RESHAPE_WITH_INPUT = 5


def _view_maker(tensor: gs.Tensor | None, view: View) -> gs.Node | None:
    node = view.producer(tensor)
    return node if view.is_op(node, *VIEW_OPS) else None


def _without_copies(target: list[int], allow_zero: bool, source: gs.Tensor) -> list[int] | None:
    """The target with each "copy my input's dimension" spelled out; None where that needs more than one -1."""
    if allow_zero or 0 not in target:
        return target
    if source.shape is None:
        return None
    spelled = list(target)
    for position, want in enumerate(target):
        if want == 0:
            have = source.shape[position] if position < len(source.shape) else None
            if have == 0:
                return None  # nothing to infer a -1 from
            spelled[position] = have if isinstance(have, int) else -1
    return spelled if spelled.count(-1) <= 1 else None


@dataclass(frozen=True)
class ReshapeOfView(Rewrite):
    """Reshape(view(x)) --> Reshape(x): case 1."""

    name: ClassVar[str] = "reshape-of-view"
    anchors: ClassVar[tuple[str, ...]] = ("Reshape",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    source: gs.Tensor
    target: tuple[int, ...]
    is_new: bool

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The outer Reshape, what the inner node read, and the target that needs no copies."""
        middle = node.inputs[0]
        inner, target = _view_maker(middle, view), integers(node, view, "shape", 1)
        if inner is None or target is None or view.opset < _FIRST_RESHAPE_WITH_INPUT:
            return None
        spelled = _without_copies(target, bool(view.attr(node, "allowzero", 0)), middle)
        if spelled is None:
            return None
        return cls(node, inner.inputs[0], tuple(spelled), spelled != target)

    def apply(self, edit: Edit) -> None:
        """The outer node reads the source; the inner one is left to dead-code."""
        edit.set_input(self.node, 0, self.source)
        if self.is_new:
            edit.set_constant(self.node, 1, np.asarray(self.target, np.int64), f"{self.node.outputs[0].name}_shape")


@dataclass(frozen=True)
class ViewOfView(Rewrite):
    """Flatten, Squeeze or Unsqueeze of a view --> one Reshape: case 2."""

    name: ClassVar[str] = "view-of-view"
    anchors: ClassVar[tuple[str, ...]] = ("Flatten", "Squeeze", "Unsqueeze")
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    inner: gs.Node
    target: tuple[int, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """Both nodes and the final shape, with -1 for the one dimension that may be unknown."""
        inner = _view_maker(view.input(node, 0), view)
        shape = node.outputs[0].shape
        if inner is None or shape is None or view.sole_consumer(node.inputs[0]) is not node:
            return None
        target = tuple(size if isinstance(size, int) else -1 for size in shape)
        if 0 in target or target.count(-1) > 1 or view.opset < _FIRST_RESHAPE_WITH_INPUT:
            return None
        return cls(node, inner, target)

    def apply(self, edit: Edit) -> None:
        """A Reshape replaces both."""
        node, out = self.node, self.node.outputs[0]
        source, name = self.inner.inputs[0], node.name or out.name
        shape = edit.constant(f"{out.name}_shape", np.asarray(self.target, np.int64))
        edit.remove(node)
        edit.remove(self.inner)
        edit.node("Reshape", [source, shape], [out], name=name, sources=(self.inner, node), before=node)


@dataclass(frozen=True)
class InverseViews(Rewrite):
    """Squeeze(Unsqueeze(x)) and Unsqueeze(Squeeze(x)) over the same axes --> x: case 3."""

    name: ClassVar[str] = "inverse-views"
    anchors: ClassVar[tuple[str, ...]] = ("Squeeze", "Unsqueeze")
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    source: gs.Tensor

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The outer node and what the inner one read."""
        inner = _view_maker(view.input(node, 0), view)
        if inner is None or {node.op, inner.op} != {"Squeeze", "Unsqueeze"}:
            return None
        source, axes = inner.inputs[0], integers(inner, view, "axes", 1)
        rank = view.rank(source)
        if rank is not None and inner.op == "Unsqueeze":
            rank += len(axes or ())
        outer_axes, inner_axes = _long_axes(node, rank, view), _long_axes(inner, rank, view)
        if outer_axes is None or outer_axes != inner_axes or not view.can_bypass(node, source):
            return None
        return cls(node, source)

    def apply(self, edit: Edit) -> None:
        """Readers read the source."""
        edit.bypass(self.node, self.source)


def _long_axes(node: gs.Node, rank: int | None, view: View) -> set[int] | None:
    """The axes of a Squeeze or Unsqueeze in the tensor that has them, of this rank; None where not known."""
    axes = integers(node, view, "axes", 1)
    if axes is None:
        return None
    if all(axis >= 0 for axis in axes):
        return set(axes)
    found = None if rank is None else normalised(axes, rank)
    return None if found is None else set(found)
