"""Transposes absorbed into weights: before a flattening, and around a 1x1 convolution."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import integers
from roofwright.passes.fusion.weights import Array, NewWeight, WeightPass, given_weight, only_reader
from roofwright.passes.layout.axes import Perm, inverse
from roofwright.passes.layout.region import transpose_of

_FIRST_BROADCASTING = 7


@dataclass(frozen=True)
class FlattenedTranspose(Rewrite):
    """Gemm(Flatten(Transpose(x)), W) --> Gemm(Flatten(x), permuted W): case 1."""

    name: ClassVar[str] = "transpose-into-dense"
    anchors: ClassVar[tuple[str, ...]] = ("Gemm", "MatMul")
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    transpose: gs.Node
    flat: gs.Node
    weights: tuple[NewWeight, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The dense layer, the flattening, the Transpose, and the rows of the weight in the order without it."""
        flat = view.producer(node.inputs[0])
        if not view.is_op(flat, "Flatten", "Reshape") or view.attr(node, "transA", 0):
            return None
        turned = transpose_of(view.producer(flat.inputs[0]), view)
        if turned is None or turned[1][0] != 0 or not _is_same_view(flat, view):
            return None
        transpose, perm = turned
        shape = flat.inputs[0].shape or [None] * len(perm)
        sizes = [size if isinstance(size, int) else 0 for size in shape[1:]]  # one not known fits no weight
        weight, axis = view.static_shape(node.inputs[1]) or (), 1 if view.attr(node, "transB", 0) else 0
        if len(weight) != 2 or weight[axis] != np.prod(sizes):
            return None
        only_reader(flat.outputs[0], node, view)
        only_reader(transpose.outputs[0], flat, view)
        new = NewWeight(node, 1, _reordered(given_weight(node, 1, view), axis, sizes, perm))
        return cls(node, transpose, flat, (new,))

    def apply(self, edit: Edit) -> None:
        """The flattening reads what the Transpose read."""
        edit.inherit(self.flat, (self.transpose, self.flat))
        edit.set_input(self.flat, 0, self.transpose.inputs[0])
        edit.remove(self.transpose)
        self.weights[0].write(edit)


def _is_same_view(flat: gs.Node, view: View) -> bool:
    """Whether it says what it joins in words that hold for the source as well."""
    if flat.op == "Flatten":
        return bool(view.attr(flat, "axis", 1) == 1)
    target = integers(flat, view, "shape", 1)
    return target is not None and 0 not in target[1:]


def _reordered(weight: Array, axis: int, sizes: list[int], perm: Perm) -> Array:
    """The rows that belong to the transposed axes, for the axes as they come."""
    order = np.arange(int(np.prod(sizes))).reshape(sizes).transpose([at - 1 for at in inverse(perm)[1:]])
    return np.take(weight, order.reshape(-1), axis)


@dataclass(frozen=True)
class PointwiseBetweenTransposes(Rewrite):
    """Transpose(Conv(Transpose(x), W, b)) --> Add(MatMul(x, W'), b): case 2."""

    name: ClassVar[str] = "pointwise-to-matmul"
    anchors: ClassVar[tuple[str, ...]] = ("Conv",)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    before: gs.Node
    after: gs.Node
    weights: tuple[NewWeight, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """A 1x1 convolution between a Transpose to channels second and one back."""
        before = transpose_of(view.producer(node.inputs[0]), view)
        after = transpose_of(view.sole_consumer(node.outputs[0]), view)
        if before is None or after is None or not _is_pointwise(node, view):
            return None
        rank = len(before[1])
        if before[1] != (0, rank - 1, *range(1, rank - 1)) or after[1] != inverse(before[1]):
            return None
        only_reader(before[0].outputs[0], node, view)
        weight = given_weight(node, 1, view)
        return cls(node, before[0], after[0], (NewWeight(node, 1, weight.reshape(weight.shape[:2]).T),))

    def apply(self, edit: Edit) -> None:
        """A product along the last axis, where the channels are."""
        node, parts = self.node, (self.before, self.node, self.after)
        source, out, bias = self.before.inputs[0], self.after.outputs[0], edit.view.input(node, 2)
        matrix = edit.constant(f"{node.inputs[1].name}_matrix", self.weights[0].values)
        name = node.name or out.name
        for part in reversed(parts):
            edit.remove(part)
        made = out if bias is None else edit.variable(f"{out.name}_product", out.dtype, out.shape)
        edit.node("MatMul", [source, matrix], [made], name=name, sources=parts, before=self.before)
        if bias is not None:
            edit.node("Add", [made, bias], [out], name=f"{name}_bias", sources=parts, before=self.before)


def _is_pointwise(node: gs.Node, view: View) -> bool:
    """Whether each pixel is multiplied by one matrix."""
    kernel, strides = view.static_shape(node.inputs[1]) or (), view.attr(node, "strides", [])
    is_dense = view.attr(node, "group", 1) == 1
    is_padded = any(view.attr(node, "pads", []))
    is_small = all(size == 1 for size in (*kernel[2:], *strides))
    return is_dense and not is_padded and is_small and view.opset >= _FIRST_BROADCASTING


@dataclass(frozen=True)
class AbsorbTransposes(WeightPass):
    """`y = Gemm(Flatten(Transpose(x)), W)` --> `y = Gemm(Flatten(x), W')`.

    1. A Transpose that leaves the batch in place, before Flatten or Reshape to rows, before Gemm (`transB`) or MatMul
       with a constant matrix: the matrix takes its rows in the order without the Transpose (Keras flattens channels
       last).
    2. A 1x1 convolution (dense, stride 1, no padding) between a Transpose to channels second and one back is a product
       along the last axis: MatMul, and Add where there is a bias.

    Declines when the transposed or flattened tensor has another reader, the weight is not a constant or may be
    overridden, or a shared weight is too large to copy; silently where a size is not known.

    Numerics: rounding (sums in another order).
    """

    name: ClassVar[str] = "absorb-transposes"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "absorb Transposes into the weights of dense layers and 1x1 convolutions"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (FlattenedTranspose, PointwiseBetweenTransposes)
