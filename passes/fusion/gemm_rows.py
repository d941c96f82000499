"""Products between two Reshapes: of any rank where only rows are joined and parted, else a Gemm with its bias."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar, Self, TypeGuard

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Context, Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import integers
from roofwright.passes.fusion.weights import FLOATS, Array, only_reader
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
        first, last = view.producer(node.inputs[0]), view.sole_consumer(node.outputs[0])
        if not _is_view(first, view) or not _is_view(last, view) or not view.is_constant(node.inputs[1]):
            return None
        weight, bias = view.static_shape(node.inputs[1]) or (), view.input(node, 2)
        plain = not view.attr(node, "transA", 0) and view.attr(node, "alpha", 1.0) == 1 == view.attr(node, "beta", 1.0)
        if len(weight) != 2 or not plain:
            return None
        depth, width = reversed(weight) if view.attr(node, "transB", 0) else weight
        if not _same_rows(first.inputs[0].shape or [], last.outputs[0].shape or [], depth, width):
            return None
        if bias is not None and not is_row(bias, width, view):
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


def _is_view(node: gs.Node | None, view: View) -> TypeGuard[gs.Node]:
    return view.is_op(node, "Reshape", "Flatten")


def is_row(bias: gs.Tensor, width: Any, view: View) -> bool:
    """Whether every row of a product with `width` columns gets the same bias, by broadcasting that the opset has."""
    shape = view.static_shape(bias)
    if shape is None or view.opset < _FIRST_BROADCASTING:
        return False
    return shape[:-1] in ((), (1,)) and shape[-1:] in ((), (1,), (width,))


def _same_rows(source: list[Any], out: list[Any], depth: int, width: int) -> bool:
    """Whether only the last size changes, from `depth` to `width`; one other may be unknown."""
    if len(source) != len(out) or (source[-1:], out[-1:]) != ([depth], [width]):
        return False
    unequal = [(a, b) for a, b in zip(source[:-1], out[:-1], strict=True) if a != b or a is None]
    return not unequal or (len(unequal) == 1 and not all(isinstance(size, int) for size in unequal[0]))


def _matrix(node: gs.Node, edit: Edit) -> gs.Tensor:
    values: Array | None = edit.view.constant_value(node.inputs[1])
    if values is None or not edit.view.attr(node, "transB", 0):
        return node.inputs[1]
    return edit.constant(f"{node.inputs[1].name}_transposed", values.T)


@dataclass(frozen=True)
class BiasedRows(Rewrite):
    """Reshape(Add(MatMul(Reshape(x), W), b)) --> Reshape(Gemm(Reshape(x), W, b)): case 7."""

    name: ClassVar[str] = "biased-rows-to-gemm"
    anchors: ClassVar[tuple[str, ...]] = ("MatMul",)
    numerics: ClassVar[Numerics] = "rounding"
    first: gs.Node
    node: gs.Node
    add: gs.Node
    last: gs.Node
    bias: gs.Tensor
    target: Sequence[int]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The product, the Add that alone reads it, and the Reshapes around both."""
        first, add = view.producer(node.inputs[0]), view.sole_consumer(node.outputs[0])
        if not view.is_op(first, "Reshape") or not view.is_op(add, "Add") or view.dtype(add.outputs[0]) not in FLOATS:
            return None
        last, weight = view.sole_consumer(add.outputs[0]), view.static_shape(node.inputs[1]) or ()
        if not view.is_op(last, "Reshape") or len(weight) != 2:
            return None
        bias, target = next(held for held in add.inputs if held is not node.outputs[0]), _target(last, view)
        if target is None or not is_row(bias, weight[1], view):
            return None
        only_reader(first.outputs[0], node, view)
        return cls(first, node, add, last, bias, target)

    def apply(self, edit: Edit) -> None:
        """The first Reshape makes a matrix, the Gemm takes both places between, the last one says all its sizes."""
        first, node, add, last = parts = (self.first, self.node, self.add, self.last)
        source, weight, out = first.inputs[0], node.inputs[1], last.outputs[0]
        sizes, name = edit.view.static_shape(node.outputs[0]), node.name or node.outputs[0].name
        count = None if sizes is None else prod(sizes[:-1])
        depth, width = weight.shape or (-1, -1)
        for part in reversed(parts):
            edit.remove(part)
        rows = edit.variable(f"{name}_rows", out.dtype, [count, depth])
        made = edit.variable(f"{name}_product", out.dtype, [count, width])
        joined = edit.constant(f"{rows.name}_shape", np.asarray([-1, depth], np.int64))
        parted = edit.constant(f"{out.name}_shape", np.asarray(self.target, np.int64))
        edit.node("Reshape", [source, joined], [rows], name=first.name or rows.name, sources=[first], before=first)
        edit.node("Gemm", [rows, weight, self.bias], [made], name=name, sources=[node, add], before=first)
        edit.node("Reshape", [made, parted], [out], name=last.name or out.name, sources=[last], before=first)


def _target(last: gs.Node, view: View) -> Sequence[int] | None:
    """The sizes that it makes, without a copy of one that it reads: as it says them, or as they are known."""
    said, shape = integers(last, view, "shape", 1), last.outputs[0].shape
    if said is not None and 0 not in said:
        return said
    known = [size if isinstance(size, int) else -1 for size in shape or (0,)]
    return known if known.count(-1) < 2 and 0 not in known else None
