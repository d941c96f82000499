"""Transposes absorbed into weights: before a flattening, and around a 1x1 convolution."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline, Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import integers
from roofwright.passes.fusion.weights import Array, NewWeight, WeightPass, constant_weight, only_reader
from roofwright.passes.layout.axes import Perm, inverse
from roofwright.passes.layout.region import perm_of

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
        flat = view.producer(view.input(node, 0))
        if flat is None or not view.is_op(flat, "Flatten", "Reshape") or view.attr(node, "transA", 0):
            return None
        transpose = view.producer(view.input(flat, 0))
        perm, shape = perm_of(transpose, view), flat.inputs[0].shape
        if transpose is None or perm is None or perm[0] != 0 or shape is None or not _keeps_rows(flat, view):
            return None
        sizes = [size for size in shape[1:] if isinstance(size, int)]
        weight = view.static_shape(view.input(node, 1))
        axis = 1 if view.attr(node, "transB", 0) else 0
        if len(sizes) + 1 != len(shape) or weight is None or len(weight) != 2 or weight[axis] != np.prod(sizes):
            return None
        only_reader(flat.outputs[0], node, view)
        only_reader(transpose.outputs[0], flat, view)
        values = constant_weight(node, 1, view)
        if values is None:
            return None
        new = NewWeight(node, 1, _reordered(values, axis, sizes, perm))
        return cls(node, transpose, flat, (new,))

    def apply(self, edit: Edit) -> None:
        """The flattening reads what the Transpose read."""
        edit.inherit(self.flat, (self.transpose, self.flat))
        edit.set_input(self.flat, 0, self.transpose.inputs[0])
        edit.remove(self.transpose)
        self.weights[0].write(edit)


def _keeps_rows(flat: gs.Node, view: View) -> bool:
    """Whether it makes one row per sample, and says so in numbers that hold for the source as well."""
    if flat.op == "Flatten":
        return bool(view.attr(flat, "axis", 1) == 1)
    target, source, out = integers(flat, view, "shape", 1), flat.inputs[0].shape, flat.outputs[0].shape
    if target is None or len(target) != 2 or target[1] == 0 or source is None or out is None:
        return False
    return target[0] == 0 or (len(out) == 2 and source[0] is not None and source[0] == out[0])


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

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """A 1x1 convolution between a Transpose to channels second and one back."""
        before, shape = view.producer(view.input(node, 0)), view.static_shape(view.input(node, 1))
        perm = perm_of(before, view)
        if before is None or perm is None or shape is None or perm != (0, len(perm) - 1, *range(1, len(perm) - 1)):
            return None
        after = view.sole_consumer(node.outputs[0])
        if after is None or perm_of(after, view) != inverse(perm) or not _is_pointwise(node, shape, view):
            return None
        only_reader(before.outputs[0], node, view)
        if constant_weight(node, 1, view) is None or any(not view.is_constant(held) for held in node.inputs[2:]):
            return None
        return cls(node, before, after)

    def apply(self, edit: Edit) -> None:
        """A product along the last axis, where the channels are."""
        node, view = self.node, edit.view
        source, out, parts = self.before.inputs[0], self.after.outputs[0], (self.before, node, self.after)
        weight, bias = view.constant_value(node.inputs[1]), view.input(node, 2)
        if weight is None:
            raise Decline("the weight is not a constant")
        matrix = edit.constant(f"{node.inputs[1].name}_matrix", weight.reshape(weight.shape[:2]).T)
        name = node.name or out.name
        for part in reversed(parts):
            edit.remove(part)
        made = out if bias is None else edit.variable(f"{out.name}_product", out.dtype, out.shape)
        edit.node("MatMul", [source, matrix], [made], name=name, sources=parts, before=self.before)
        if bias is not None:
            edit.node("Add", [made, bias], [out], name=f"{name}_bias", sources=parts, before=self.before)


def _is_pointwise(node: gs.Node, shape: tuple[int, ...], view: View) -> bool:
    ones = all(size == 1 for size in (*shape[2:], *view.attr(node, "strides", [])))
    free = not any(view.attr(node, "pads", [])) or view.attr(node, "auto_pad", "NOTSET") != "NOTSET"
    return ones and free and view.attr(node, "group", 1) == 1 and view.opset >= _FIRST_BROADCASTING


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
