"""Gemm between two Reshapes that only join and part the rows, as a MatMul of any rank."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Context, Numerics, Rewrite
from roofwright.passes.fusion.weights import Array, only_reader
from roofwright.passes.gains import Step, gain

_FIRST_BROADCASTING = 7


@dataclass(frozen=True)
class ReshapedGemm(Rewrite):
    """Reshape(Gemm(Reshape(x), W, b)) --> Add(MatMul(x, W), b): case 6."""

    name: ClassVar[str] = "reshaped-gemm-to-matmul"
    anchors: ClassVar[tuple[str, ...]] = ("Gemm", "MatMul")
    numerics: ClassVar[Numerics] = "rounding"
    first: gs.Node
    node: gs.Node
    last: gs.Node

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The product and the Reshapes around it, where its matrix is constant and its rows come back as they were."""
        first, last = view.producer(view.input(node, 0)), view.sole_consumer(node.outputs[0])
        if first is None or last is None or not (_is_view(first, view) and _is_view(last, view)):
            return None
        source, out = first.inputs[0], last.outputs[0]
        weight, bias = view.static_shape(view.input(node, 1)), view.input(node, 2)
        plain = not view.attr(node, "transA", 0) and view.attr(node, "alpha", 1.0) == 1 == view.attr(node, "beta", 1.0)
        if weight is None or len(weight) != 2 or not plain or not view.is_constant(node.inputs[1]):
            return None
        depth, width = reversed(weight) if view.attr(node, "transB", 0) else weight
        biased = (width,) if bias is None else view.static_shape(bias)
        if biased is None or int(np.prod(biased[:-1])) != 1 or view.opset < _FIRST_BROADCASTING:
            return None
        if view.rank(first.outputs[0]) != 2 or not _same_rows(source.shape, out.shape, depth, width):
            return None
        only_reader(first.outputs[0], node, view)
        return cls(first, node, last)

    def saving(self, ctx: Context) -> float | None:
        """Without a bias there is only less; a bias becomes a pass of its own."""
        if len(self.node.inputs) < 3:
            return None
        before = [Step.of(node, ctx) for node in (self.first, self.node, self.last)]
        source, out, weight = before[0].inputs[0], before[2].outputs[0], before[1].weights[0]
        product = replace(Step("MatMul", (source,), (out,), (weight,)), dtype=before[1].dtype)
        added = replace(Step("Add", (out,), (out,), ((out[-1],),)), dtype=before[1].dtype)
        return gain(before, [product, added], ctx)

    def apply(self, edit: Edit) -> None:
        """The product reads and makes tensors of full rank."""
        node, view, parts = self.node, edit.view, (self.first, self.node, self.last)
        source, out, bias = self.first.inputs[0], self.last.outputs[0], view.input(node, 2)
        weight, name = _matrix(node, edit), node.name or out.name
        for part in reversed(parts):
            edit.remove(part)
        made = out if bias is None else edit.variable(f"{out.name}_product", out.dtype, out.shape)
        edit.node("MatMul", [source, weight], [made], name=name, sources=parts, before=self.first)
        if bias is not None:
            edit.node("Add", [made, bias], [out], name=f"{name}_bias", sources=parts, before=self.first)


def _is_view(node: gs.Node, view: View) -> bool:
    return view.is_op(node, "Reshape", "Flatten") and view.input(node, 0) is not None


def _same_rows(source: list[Any] | None, out: list[Any] | None, depth: int, width: int) -> bool:
    """Whether only the last size changes, from `depth` to `width`; one other may be unknown."""
    if source is None or out is None or len(source) != len(out) or (source[-1], out[-1]) != (depth, width):
        return False
    unequal = [(a, b) for a, b in zip(source[:-1], out[:-1], strict=True) if a != b or a is None]
    return not unequal or (len(unequal) == 1 and not all(isinstance(size, int) for size in unequal[0]))


def _matrix(node: gs.Node, edit: Edit) -> gs.Tensor:
    values: Array | None = edit.view.constant_value(node.inputs[1])
    if values is None or not edit.view.attr(node, "transB", 0):
        return node.inputs[1]
    return edit.constant(f"{node.inputs[1].name}_transposed", values.T)
