"""Operators that exporters write out in nodes: what a finder of such a pattern returns, and how it becomes one node.

A finder only says what the nodes mean; whether they may be written as the standard operator depends on opset, types and
target, and is decided here. The same finders tell the schedule which nodes make one kernel where they may not.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import Edit, View
from roofwright.passes.base import Context, Decline, Numerics, Rewrite
from roofwright.passes.fusion.weights import closed


@dataclass(frozen=True)
class Turned:
    """An operand that a new Transpose makes."""

    tensor: gs.Tensor
    perm: tuple[int, ...]


Input = gs.Tensor | NDArray[Any] | Turned | None
FIRST_OPSET = {
    "Attention": 23,
    "Gelu": 20,
    "GroupNormalization": 21,  # before, scale and bias were per group
    "HardSwish": 14,
    "InstanceNormalization": 6,
    "LayerNormalization": 17,
    "Mish": 18,
    "RMSNormalization": 23,
    "RotaryEmbedding": 23,
    "Softmax": 13,  # before, it joined all axes behind the given one
    "Swish": 24,
}
_AGES_AGO = ("InstanceNormalization", "Softmax")  # every runtime has them


@dataclass(frozen=True)
class Pattern:
    """Nodes that compute what one standard operator does.

    Attributes:
        op: the operator.
        nodes: all of them; the last one makes the result.
        inputs: the operator's operands; arrays become constants, `Turned` ones get a Transpose.
        attrs: the operator's attributes.
        obstacle: why the operator would not give the same result although the nodes belong together; "" where it does.
    """

    op: str
    nodes: tuple[gs.Node, ...]
    inputs: tuple[Input, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    obstacle: str = ""


def with_scalar(node: gs.Node | None, view: View, *ops: str) -> tuple[gs.Tensor, float] | None:
    """The computed operand and the value of the other, of a binary node with one constant scalar.

    The scalar is the second operand where the order counts, and never has more dimensions than the other.
    """
    if node is None or not view.is_op(node, *ops) or len(node.inputs) != 2:
        return None
    for position in (1, 0):
        other = node.inputs[1 - position]
        if position == 0 and node.op not in ("Add", "Mul", "Max", "Min"):
            return None
        value = None if view.is_constant(other) else view.scalar(node.inputs[position])
        if value is not None and len(node.inputs[position].shape or ()) <= (view.rank(other) or 0):
            return other, value
    return None


def pair(node: gs.Node | None, view: View, op: str, one: gs.Tensor) -> gs.Tensor | None:
    """The other operand of a binary node `op` that reads `one`."""
    if node is None or not view.is_op(node, op) or len(node.inputs) != 2:
        return None
    return node.inputs[1] if node.inputs[0] is one else node.inputs[0] if node.inputs[1] is one else None


@dataclass(frozen=True)
class Composite(Rewrite):
    """Nodes --> the standard operator that means the same; a concrete class says how to find them."""

    numerics: ClassVar[Numerics] = "rounding"
    pattern: Pattern

    @classmethod
    @abstractmethod
    def find(cls, node: gs.Node, view: View) -> Pattern | None:
        """The pattern around `node`, whatever the opset; None where it is not there."""

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The pattern, where nobody else reads what is inside and the operator exists and means the same."""
        pattern = cls.find(node, view)
        if pattern is None:
            return None
        closed(pattern.nodes, view)
        first = FIRST_OPSET[pattern.op]
        if view.opset < first:
            raise Decline(f"{pattern.op} came with opset {first}, the model has {view.opset}; its nodes stay")
        if pattern.obstacle:
            raise Decline(pattern.obstacle)
        return cls(pattern)

    def apply(self, edit: Edit) -> None:
        """One node replaces all."""
        nodes, last = self.pattern.nodes, self.pattern.nodes[-1]
        out, name = last.outputs[0], last.name or last.outputs[0].name
        for node in reversed(nodes):
            edit.remove(node)
        inputs = [self._operand(value, f"{out.name}_{at}", edit) for at, value in enumerate(self.pattern.inputs)]
        edit.node(self.pattern.op, inputs, [out], name=name, sources=nodes, attrs=self.pattern.attrs, before=last)

    def _operand(self, value: Input, name: str, edit: Edit) -> gs.Tensor | None:
        if isinstance(value, np.ndarray):
            return edit.constant(name, value)
        if not isinstance(value, Turned):
            return value
        last, shape = self.pattern.nodes[-1], value.tensor.shape
        turned = edit.variable(name, value.tensor.dtype, None if shape is None else [shape[at] for at in value.perm])
        attrs = {"perm": list(value.perm)}
        edit.node(
            "Transpose", [value.tensor], [turned], name=name, sources=self.pattern.nodes, attrs=attrs, before=last
        )
        return turned


def accept(op: str, ctx: Context) -> None:
    """Decline where the stack of the context's target has no kernel of its own for `op`."""
    if ctx.target is None or op in _AGES_AGO or op in ctx.target.stack.composites:
        return
    raise Decline(f"stack {ctx.target.stack.name} does not list {op} among its kernels; the nodes stay as they are")
