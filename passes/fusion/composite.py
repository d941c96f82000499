"""Operators that exporters write out in nodes: what a finder of such a pattern returns, and how it becomes one node.

A finder only says what the nodes mean; whether they may be written as the standard operator depends on opset, types and
target, and is decided here. The same finders tell the schedule which nodes make one kernel where they may not.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

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
_SMALL, _ALL = ("float16", "float32"), ("float16", "float32", "float64")


@dataclass(frozen=True)
class Standard:
    """A standard operator: the opset that brought it, the types and the newest opset for which onnxruntime runs it.

    Results are checked on onnxruntime, so nothing is written that it does not load, whatever the target; types and
    opset are those for which version 1.32 has a kernel or expands the operator's function body.
    """

    first: int
    dtypes: tuple[str, ...] = _ALL
    last: int | None = None


STANDARDS = {
    "Attention": Standard(23),
    "Gelu": Standard(20, _SMALL),
    "GroupNormalization": Standard(21),  # before, scale and bias were per group
    "HardSwish": Standard(14, _SMALL),
    "InstanceNormalization": Standard(6, _SMALL),
    "LayerNormalization": Standard(17),
    "LogSoftmax": Standard(13),  # as Softmax
    "Mish": Standard(18, _SMALL),
    "RMSNormalization": Standard(23),
    "RotaryEmbedding": Standard(23, _SMALL),
    "Softmax": Standard(13),  # before, it joined all axes behind the given one
    "Swish": Standard(24, last=24),
}
_SYMMETRIC = ("Add", "Mul", "Max", "Min")
_AGES_AGO = ("InstanceNormalization", "LogSoftmax", "Softmax")  # every runtime has them


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


class WithScalar(NamedTuple):
    """A binary node with one constant scalar: the computed operand, the value of the other, the node."""

    operand: gs.Tensor
    value: float
    node: gs.Node


def lone(tensor: gs.Tensor | None, beside: gs.Tensor | None, view: View) -> float | None:
    """The value of a one-element constant that does not give `beside` more dimensions (U7); None for all else."""
    fits = (view.rank(tensor) or 0) <= (view.rank(beside) or 0)
    return view.scalar(tensor) if fits else None


def with_scalar(node: gs.Node | None, view: View, *ops: str) -> WithScalar | None:
    """What a binary node with one constant scalar reads; None for every other node.

    The scalar is the second operand where the order counts, and never has more dimensions than the other.
    """
    if not view.is_op(node, *ops) or len(node.inputs) != 2:
        return None
    for position in (1, 0) if node.op in _SYMMETRIC else (1,):
        other = node.inputs[1 - position]
        value = None if view.is_constant(other) else lone(node.inputs[position], other, view)
        if value is not None:
            return WithScalar(other, value, node)
    return None


def read_by(tensor: gs.Tensor, view: View, op: str) -> tuple[gs.Node, gs.Tensor] | None:
    """The only reader of a tensor and its other operand, where that reader is the binary node `op`."""
    node = view.sole_consumer(tensor)
    if not view.is_op(node, op):
        return None
    return node, node.inputs[1] if node.inputs[0] is tensor else node.inputs[0]


def pair(node: gs.Node | None, view: View, op: str, one: gs.Tensor) -> tuple[gs.Node, gs.Tensor] | None:
    """A binary node `op` that reads `one`, and its other operand."""
    if not view.is_op(node, op):
        return None
    other = next((node.inputs[1 - at] for at in (0, 1) if node.inputs[at] is one), None)
    return None if other is None else (node, other)


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
        standard, dtype = STANDARDS[pattern.op], view.dtype(pattern.nodes[-1].outputs[0])
        if view.opset < standard.first:
            raise Decline(f"{pattern.op} came with opset {standard.first}, the model has {view.opset}; its nodes stay")
        if dtype not in standard.dtypes or view.opset > (standard.last or view.opset):
            raise Decline(f"onnxruntime does not run {pattern.op} of {dtype} at opset {view.opset}; its nodes stay")
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
