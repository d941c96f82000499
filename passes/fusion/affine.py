"""Mul, Div, Add and Sub by one constant per channel, folded into weights."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline, Numerics, Rewrite
from roofwright.passes.fusion.channels import Channels, channels, fold_bias, fold_scale, write_fold
from roofwright.passes.fusion.gates import is_in_gate
from roofwright.passes.fusion.inputs import fold_into_input_channels, write_input_fold
from roofwright.passes.fusion.weights import FLOATS, NewWeight, Vector, WeightPass, only_reader

_OPS = ("Mul", "Div", "Add", "Sub")
_FIRST_BROADCASTING = 7


@dataclass(frozen=True)
class Affine:
    """`y = scale * x + shift` with one value per channel; None where the scale is 1 or the shift 0."""

    scale: Vector | None
    shift: Vector | None


def _sides(node: gs.Node, view: View) -> tuple[gs.Tensor, gs.Tensor] | None:
    """The operand that is computed and the one that is constant."""
    if view.opset < _FIRST_BROADCASTING or len(node.inputs) != 2:
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
    if value is None or view.dtype(constant) not in FLOATS:
        return None
    return np.broadcast_to(value.astype(np.float64).reshape(-1), (count,))


def per_channel_affine(node: gs.Node, source: gs.Tensor, count: int, view: View) -> Affine | None:
    """The arithmetic that a node does on each of the `count` channels of `source`, its second axis; None for other."""
    sides = _sides(node, view)
    rank = view.rank(source)
    if sides is None or sides[0] is not source or rank is None:
        return None
    values = _per_channel(sides[1], count, 1, rank, view)
    return None if values is None else _affine(node, sides[1], values)


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
        found = None if sides is None else channels(view.producer(sides[0]), view)
        if sides is None or found is None:
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
    consumer: gs.Node
    weights: tuple[NewWeight, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The arithmetic node, the convolution that alone reads it, and that one's new weights."""
        consumer = view.sole_consumer(node.outputs[0])
        if consumer is None or not view.is_op(consumer, "Conv") or consumer.inputs[0] is not node.outputs[0]:
            return None
        if is_in_gate(node, view):
            raise Decline("it is a factor of a Gelu written out, which runtimes and schedules take as a whole")
        sides, shape = _sides(node, view), view.static_shape(view.input(consumer, 1))
        source_shape = None if sides is None else sides[0].shape
        if sides is None or shape is None or source_shape is None or len(source_shape) != len(shape):
            return None
        count = shape[1] * view.attr(consumer, "group", 1)
        values = _per_channel(sides[1], count, 1, len(shape), view) if source_shape[1] == count else None
        if values is None:
            return None
        affine = _affine(node, sides[1], values)
        scale = np.ones(count) if affine.scale is None else affine.scale
        shift = np.zeros(count) if affine.shift is None else affine.shift
        return cls(node, sides[0], consumer, fold_into_input_channels(consumer, scale, shift, view))

    def apply(self, edit: Edit) -> None:
        """The convolution reads what the arithmetic node read."""
        write_input_fold(self.consumer, self.weights, self.node, self.source, edit)


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
    6. Before a Conv that alone reads it: Mul and Div scale the input channels of W; Add and Sub too, unless padding
       would have to be shifted.

    Declines when `c` is not one value per channel, or would broadcast the result up; the producer's result has another
    reader; a weight is not a constant or may be overridden; a folded value is not finite in the weight's type, or too
    small for it; a divisor is 0; a shared weight is too large to copy; `c` is a factor of a Gelu written out.

    Numerics: rounding; computed in float64.
    """

    name: ClassVar[str] = "fuse-affine"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "fold per-channel Mul, Div, Add and Sub into weights and biases"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (FoldAffine, FoldAffineForward)
