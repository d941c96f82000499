"""Where with a condition that is known or negated, and arithmetic whose result one operand decides."""

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import all_equal

_READ_ELEMENTS = 1 << 16
_DECIDES = {"Mul": 0, "And": False, "Or": True}


@dataclass(frozen=True)
class ConstantWhere(Rewrite):
    """Where(true, a, b) --> a: case 13."""

    name: ClassVar[str] = "constant-where"
    anchors: ClassVar[tuple[str, ...]] = ("Where",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    source: gs.Tensor

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The node and the branch that is always taken."""
        condition = view.small_constant(view.input(node, 0), _READ_ELEMENTS)
        if condition is None or not condition.size or condition.min() != condition.max():
            return None
        source, other = node.inputs[1:] if condition.flat[0] else node.inputs[:0:-1]
        shape, out = view.static_shape(source), view.static_shape(node.outputs[0])
        rank = view.rank(source)
        narrow = rank is not None and all(_is_single(tensor, rank, view) for tensor in (node.inputs[0], other))
        if not narrow and (shape is None or shape != out):
            return None  # the others may broadcast it up
        return cls(node, source) if view.can_bypass(node, source) else None

    def apply(self, edit: Edit) -> None:
        """Readers read the branch."""
        edit.bypass(self.node, self.source)


def _is_single(tensor: gs.Tensor, rank: int, view: View) -> bool:
    shape = view.static_shape(tensor)
    return shape is not None and prod(shape) == 1 and len(shape) <= rank


@dataclass(frozen=True)
class WhereOfNot(Rewrite):
    """Where(Not(c), a, b) --> Where(c, b, a): case 14."""

    name: ClassVar[str] = "where-of-not"
    anchors: ClassVar[tuple[str, ...]] = ("Where",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    condition: gs.Tensor

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The Where and what is negated."""
        inner = view.producer(view.input(node, 0))
        if not view.is_op(inner, "Not"):
            return None
        return cls(node, inner.inputs[0])

    def apply(self, edit: Edit) -> None:
        """The branches change places."""
        taken, other = self.node.inputs[1], self.node.inputs[2]
        edit.set_input(self.node, 0, self.condition)
        edit.set_input(self.node, 1, other)
        edit.set_input(self.node, 2, taken)


@dataclass(frozen=True)
class DecidedOperand(Rewrite):
    """Integer x*0, x and false, x or true --> a constant: case 15."""

    name: ClassVar[str] = "decided-operand"
    anchors: ClassVar[tuple[str, ...]] = tuple(_DECIDES)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    shape: tuple[int, ...]
    value: Any

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The node, and the shape and value of its result."""
        out = node.outputs[0]
        shape = view.static_shape(out)
        if shape is None or prod(shape) > _READ_ELEMENTS or view.is_output(out):
            return None
        for tensor in node.inputs:
            values = view.small_constant(tensor, _READ_ELEMENTS)
            if values is not None and values.dtype.kind in "iub" and all_equal(values, _DECIDES[node.op]):
                return cls(node, shape, values.reshape(-1)[0])
        return None

    def apply(self, edit: Edit) -> None:
        """Readers read the constant."""
        out = self.node.outputs[0]
        edit.replace_uses(out, edit.constant(f"{out.name}_value", np.full(self.shape, self.value)))
        edit.remove(self.node)
