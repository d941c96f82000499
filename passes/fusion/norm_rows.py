"""A layer normalization without scale and bias, before its operator came, as an InstanceNormalization of its rows."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Self, cast

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Context, Decline, Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import all_equal
from roofwright.passes.fusion.composite import STANDARDS, Input, Pattern
from roofwright.passes.fusion.norms import WriteNorm
from roofwright.passes.fusion.weights import closed

_BYTES = np.dtype(np.float32).itemsize


@dataclass(frozen=True)
class NormOfRows(Rewrite):
    """`(x - Mean(x)) / Sqrt(Mean((x - Mean(x))^2) + e)` --> InstanceNormalization(x): case 12."""

    name: ClassVar[str] = "norm-of-rows"
    anchors: ClassVar[tuple[str, ...]] = WriteNorm.anchors
    numerics: ClassVar[Numerics] = "rounding"
    pattern: Pattern
    source: gs.Tensor
    rows: int
    rest: tuple[int, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The nodes of a normalization whose rows are known, with scale 1 and bias 0 where there are any."""
        pattern = WriteNorm.find(node, view) if view.opset < STANDARDS["LayerNormalization"].first else None
        if pattern is None or pattern.op != "LayerNormalization" or pattern.obstacle:
            return None
        source, (scale, *bias) = cast("gs.Tensor", pattern.inputs[0]), pattern.inputs[1:]
        if not _is(scale, 1, view) or not all(_is(one, 0, view) for one in bias):
            return None
        rest = tuple(source.shape[1:])
        axis = pattern.attrs["axis"] + len(rest)
        if axis < 0 or not all(isinstance(size, int) and size > 0 for size in rest):
            return None
        closed(pattern.nodes, view)
        return cls(pattern, source, prod(rest[:axis]), rest)

    @property
    def is_flat(self) -> bool:
        """Whether the tensor is (batch, rows, what is normalised) as it is."""
        return (self.rows, *self.rest[1:2]) == self.rest

    def apply(self, edit: Edit) -> None:
        """Every row is a channel of its own; around other shapes, two Reshapes."""
        nodes, last = self.pattern.nodes, self.pattern.nodes[-1]
        out, name = last.outputs[0], last.name or last.outputs[0].name
        for node in reversed(nodes):
            edit.remove(node)
        source, result = self.source, out
        if not self.is_flat:
            batch = self.source.shape[0]
            flat = [batch, self.rows, prod(self.rest) // self.rows]
            source, result = (edit.variable(f"{out.name}_{what}", out.dtype, flat) for what in ("rows", "normal"))
            into = edit.constant(f"{out.name}_flat", np.asarray([0, *flat[1:]], np.int64))
            edit.node("Reshape", [self.source, into], [source], name=source.name, sources=nodes, before=last)
        filled = [edit.constant(f"{out.name}_{kind}", np.full(self.rows, kind, np.float32)) for kind in (1, 0)]
        attrs = {"epsilon": self.pattern.attrs["epsilon"]}
        edit.node(
            "InstanceNormalization", [source, *filled], [result], name=name, sources=nodes, attrs=attrs, before=last
        )
        if not self.is_flat:
            back = edit.constant(f"{out.name}_back", np.asarray([0, *self.rest], np.int64))
            edit.node("Reshape", [result, back], [out], name=f"{name}_back", sources=nodes, before=last)


def _is(operand: Input, number: float, view: View) -> bool:
    """Whether an operand is constant and all its values are `number`."""
    value = operand if isinstance(operand, np.ndarray) else None
    value = view.constant_value(operand) if isinstance(operand, gs.Tensor) else value
    return value is not None and all_equal(value, number)


def accept_rows(found: NormOfRows, ctx: Context) -> None:
    """Decline where the stack does not gain by it, or the scale and bias of many rows would be too large."""
    if ctx.target is None or not ctx.target.stack.constants.get("layer_by_instance"):
        raise Decline("the target's stack is not known to normalise rows as channels without a loss")
    if found.rows * _BYTES > ctx.fold_limit_bytes:
        raise Decline(f"a scale for each of {found.rows} rows is larger than the limit of {ctx.fold_limit_bytes} bytes")
