"""Mul, Div, Add and Sub by one constant per channel, folded into weights."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline, Numerics, Rewrite
from roofwright.passes.fusion.channels import Channels, channels, fold_bias, fold_scale, write_fold
from roofwright.passes.fusion.gates import is_in_gate
from roofwright.passes.fusion.inputs import (
    convolutions_below,
    fold_into_input_channels,
    input_channels,
    write_input_fold,
)
from roofwright.passes.fusion.weights import (
    FLOATS,
    NewWeight,
    Vector,
    WeightPass,
    given_weight,
    only_reader,
    scaled,
)
from roofwright.passes.fusion.zero_bias import DropZeroBias

_OPS = ("Mul", "Div", "Add", "Sub")
_FIRST_BROADCASTING = 7


@dataclass(frozen=True)
class Affine:
    """`y = scale * x + shift` with one value per channel; None where the scale is 1 or the shift 0."""

    scale: Vector | None
    shift: Vector | None


def _sides(node: gs.Node, view: View) -> tuple[gs.Tensor, gs.Tensor] | None:
    """The operand that is computed and the one that is constant."""
    if view.opset < _FIRST_BROADCASTING:
        return None
    left, right = node.inputs
    if view.is_constant(right) and not view.is_constant(left):
        return left, right
    if view.is_constant(left) and not view.is_constant(right) and node.op != "Div":
        return right, left
    return None


def _per_channel(constant: gs.Tensor, count: int, axis: int, rank: int | None, view: View) -> Vector | None:
    """The constant as one value per channel; None where it varies along another axis or broadcasts the result up.

    Shapes align at their ends, so a constant of rank 1 lies along the last axis: it is one value per channel of a Gemm,
    and of a convolution only where it has a single element.
    """
    shape = view.static_shape(constant)
    if shape is None or (len(shape) > 1 and (rank is None or len(shape) > rank)):
        return None
    from_end = axis if axis < 0 else axis - (rank or 0)
    for position, size in enumerate(shape):
        if size not in ((1, count) if position - len(shape) == from_end else (1,)):
            return None
    value = view.constant_value(constant)
    assert value is not None
    return np.broadcast_to(value.astype(np.float64).reshape(-1), (count,))


def per_channel_affine(node: gs.Node, source: gs.Tensor, count: int, view: View) -> Affine | None:
    """The arithmetic that a node does on each of the `count` channels of `source`, its second axis; None for other."""
    sides = _sides(node, view)
    values = None if sides is None else _per_channel(sides[1], count, 1, view.rank(source), view)
    return None if sides is None or values is None else _affine(node, sides[1], values)


def _affine(node: gs.Node, constant: gs.Tensor, values: Vector) -> Affine:
    if node.op == "Mul":
        return Affine(values, None)
    if node.op == "Add":
        return Affine(None, values)
    if node.op == "Sub":
        subtrahend = node.inputs[1] is constant
        return Affine(None, -values) if subtrahend else Affine(-np.ones_like(values), values)
    if not np.all(values):
        raise Decline("it divides by 0")
    return Affine(1.0 / values, None)


@dataclass(frozen=True)
class FoldAffine(Rewrite):
    """Mul(Conv(x, W, b), c) --> Conv(x, W * c, b * c), and so on: cases 1 to 5."""

    name: ClassVar[str] = "fold-affine"
    anchors: ClassVar[tuple[str, ...]] = _OPS
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    found: Channels
    weights: tuple[NewWeight, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The arithmetic node, its producer and the producer's new weights."""
        sides = _sides(node, view)
        if sides is None:
            return None
        found = channels(view.producer(sides[0]), view)
        if found is None:
            return None
        values = _per_channel(sides[1], found.count, found.axis, found.rank, view)
        if values is None:
            raise Decline(f"its constant {sides[1].name!r} is not one value per channel of {found.node.op}")
        affine = _affine(node, sides[1], values)
        if found.node.op == "MatMul" and affine.shift is not None and found.rank != 2:
            return None  # case 4: no bias to put it into
        only_reader(sides[0], node, view)
        return cls(node, found, _weights(found, affine, view))

    def apply(self, edit: Edit) -> None:
        """The producer makes what the arithmetic node made."""
        write_fold(self.found, self.weights, self.node, edit)


def _weights(found: Channels, affine: Affine, view: View) -> tuple[NewWeight, ...]:
    weights = [] if affine.scale is None else [fold_scale(found, affine.scale, view)]
    bias = fold_bias(found, affine.scale, affine.shift, view)
    return (*weights, bias) if bias is not None else tuple(weights)


@dataclass(frozen=True)
class FoldAffineForward(Rewrite):
    """Conv(Mul(x, c), W, b) --> Conv(x, W * c, b): case 6."""

    name: ClassVar[str] = "fold-affine-forward"
    anchors: ClassVar[tuple[str, ...]] = _OPS
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    source: gs.Tensor
    readers: tuple[gs.Node, ...]
    weights: tuple[NewWeight, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The arithmetic node, the convolutions that alone read it, and their new weights."""
        readers, sides = convolutions_below(node, view), _sides(node, view)
        count = input_channels(readers[0], view) if readers else None
        if sides is None or count is None:
            return None
        source, rank = sides[0], view.rank(readers[0].inputs[1])
        if source.shape is None or len(source.shape) != rank or source.shape[1] != count:
            return None
        values = _per_channel(sides[1], count, 1, rank, view)
        if values is None:
            return None
        if is_in_gate(node, view):
            raise Decline("it is a factor of a Gelu written out, which runtimes and schedules take as a whole")
        affine = _affine(node, sides[1], values)
        scale = np.ones(count) if affine.scale is None else affine.scale
        shift = np.zeros(count) if affine.shift is None else affine.shift
        return cls(node, source, readers, fold_into_input_channels(readers, scale, shift, view))

    def apply(self, edit: Edit) -> None:
        """The convolutions read what the arithmetic node read."""
        write_input_fold(self.readers, self.weights, self.node, self.source, edit)


@dataclass(frozen=True)
class FoldScaleForward(Rewrite):
    """MatMul(Mul(x, c), W) --> MatMul(x, W * c): case 7."""

    name: ClassVar[str] = "fold-scale-forward"
    anchors: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    source: gs.Tensor
    reader: gs.Node
    weights: tuple[NewWeight, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The multiplication, the product that alone reads it, and that one's new matrix."""
        reader, sides = view.sole_consumer(node.outputs[0]), _sides(node, view)
        if sides is None or not view.is_op(reader, "MatMul", "Gemm") or reader.inputs[0] is not node.outputs[0]:
            return None
        source, shape = sides[0], view.static_shape(reader.inputs[1])
        if shape is None or len(shape) < 2 or view.attr(reader, "transA", 0):
            return None
        by_columns = bool(view.attr(reader, "transB", 0))
        count = shape[-1 if by_columns else -2]
        if source.shape is None or list(source.shape[-1:]) != [count] or view.dtype(reader.inputs[1]) not in FLOATS:
            return None
        values = _per_channel(sides[1], count, -1, len(source.shape), view)
        if values is None:
            return None
        if _ends_norm(source, view) or is_in_gate(node, view):
            raise Decline("it is part of a function written out, which runtimes take as a whole")
        factors = _affine(node, sides[1], values).scale
        assert factors is not None
        weight = scaled(given_weight(reader, 1, view), factors.reshape((1, -1) if by_columns else (-1, 1)), "weight")
        return cls(node, source, reader, (NewWeight(reader, 1, weight),))

    def apply(self, edit: Edit) -> None:
        """The product reads what the multiplication read."""
        write_input_fold((self.reader,), self.weights, self.node, self.source, edit)


def _ends_norm(tensor: gs.Tensor, view: View) -> bool:
    """Whether a value is something divided by a root, as LayerNormalization and its like are before their scale."""
    maker = view.producer(tensor)
    return view.is_op(maker, "Mul", "Div") and any(
        view.is_op(view.producer(operand), "Sqrt", "Reciprocal") for operand in maker.inputs
    )


@dataclass(frozen=True)
class FuseAffine(WeightPass):
    """`y = Conv(x, W, b) * c` --> `y = Conv(x, W * c, b * c)`.

    1. Mul or Div by `c`: weight and bias; Div by `c` scales by `1 / c`.
    2. Add or Sub of `c`: the bias alone (the weight need not be a constant).
    3. `c - Conv(x)`: the weight is negated.
    4. Producers: Conv, ConvTranspose (grouped), Gemm (`transB`, `alpha`, `beta`), MatMul with a constant matrix (a
       shift needs rank 2, and makes it a Gemm), BatchNormalization at inference (its scale and bias).
    5. `c` is a scalar or has one value per channel *as broadcasting aligns it*: [1, C, 1, 1] or [C, 1, 1] for a
       convolution, [N] or [1, N] for a Gemm. [W] is not per channel for a convolution, even where W = C.
    6. Before convolutions that alone read it: Mul and Div scale the input channels of W; Add and Sub add to the bias,
       unless padding would have to be shifted.
    7. Before a MatMul or Gemm with constant matrices that alone reads it: Mul and Div scale the rows of W.
    8. A bias of zeros of a Conv, ConvTranspose or Gemm goes (opset 11 for a Gemm).

    Declines when `c` is not one value per channel, or would broadcast the result up; the producer's result has another
    reader; a weight is not a constant or may be overridden; a folded value is not finite in the weight's type, or too
    small for it; a divisor is 0; a shared weight is too large to copy; `c` is a factor of a Gelu or a normalisation
    written out.

    Numerics: rounding; computed in float64. Case 8 is exact but for the sign of zeros.
    """

    name: ClassVar[str] = "fuse-affine"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "fold per-channel Mul, Div, Add and Sub into weights and biases"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (
        FoldAffine,
        FoldAffineForward,
        FoldScaleForward,
        DropZeroBias,
    )
