"""Multiplications by one number, folded into constants that lie further up: behind views, sums and products."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite
from roofwright.passes.fusion.weights import FLOATS, NewWeight, WeightPass, given_weight, scaled

_VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Expand", "Identity")
_FIRST_BROADCASTING = 7
_MOST_STEPS = 32
Place = tuple[gs.Node, int]  # a constant: input of a node


def scalar_factor(node: gs.Node, view: View) -> tuple[gs.Tensor, float] | None:
    """What a Mul or Div by one constant number reads, and the number; None for other nodes."""
    if view.opset < _FIRST_BROADCASTING:
        return None
    for position in (1, 0) if node.op == "Mul" else (1,):
        number, other = view.constant_value(node.inputs[position]), node.inputs[1 - position]
        if number is None or number.size != 1 or number.dtype.name not in FLOATS:
            continue
        rank, factor = view.rank(other), float(number.reshape(()))
        if rank is None or number.ndim > rank or (node.op == "Div" and factor == 0):
            continue
        return other, 1.0 / factor if node.op == "Div" else factor
    return None


def places_above(tensor: gs.Tensor, reader: gs.Node, view: View) -> list[Place] | None:
    """The constants to be multiplied so that `tensor`, which `reader` alone reads, is; None where there are none."""
    found: list[Place] = []
    waiting = [(tensor, reader)]
    for _ in range(_MOST_STEPS):
        if not waiting:
            return found
        held, user = waiting.pop()
        maker = view.producer(held)
        if maker is None or view.sole_consumer(held) is not user:
            return None
        step = _step(maker, view)
        if step is None:
            return None
        places, further = step
        found += places
        waiting += [(maker.inputs[position], maker) for position in further]
    return None


def _step(maker: gs.Node, view: View) -> tuple[list[Place], list[int]] | None:
    """The constants of a node that scale its result, and the inputs to be scaled instead or as well."""
    if view.is_op(maker, *_VIEWS):
        return [], [0]
    constant = [position for position, held in enumerate(maker.inputs) if view.is_constant(held)]
    if view.is_op(maker, "Add", "Sub"):
        return [(maker, at) for at in constant], [at for at in range(len(maker.inputs)) if at not in constant]
    if view.is_op(maker, "Mul") and len(constant) == 1:  # a table that others read too is not copied for this
        return ([(maker, constant[0])], []) if len(maker.inputs[constant[0]].outputs) == 1 else None
    if view.is_op(maker, "MatMul"):
        return ([(maker, constant[0])], []) if constant else ([], [0])
    if not view.is_op(maker, "Gemm", "Conv", "ConvTranspose") or 1 not in constant:
        return None
    has_bias = view.input(maker, 2) is not None
    return ([(maker, 1), (maker, 2)] if has_bias else [(maker, 1)], []) if not has_bias or 2 in constant else None


@dataclass(frozen=True)
class ScaleUp(Rewrite):
    """Mul(MatMul(Reshape(MatMul(x, W)), k), c) --> MatMul(Reshape(MatMul(x, W * c)), k): cases 1 and 2."""

    name: ClassVar[str] = "fold-scale-up"
    anchors: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    source: gs.Tensor
    weights: tuple[NewWeight, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The multiplication, what it reads, and the constants that take its number in."""
        found = scalar_factor(node, view)
        if found is None:
            return None
        source, factor = found
        places = places_above(source, node, view)
        if not places:
            return None
        return cls(node, source, tuple(_scaled(place, factor, view) for place in places))

    def apply(self, edit: Edit) -> None:
        """The constants grow, the multiplication goes."""
        for new in self.weights:
            new.write(edit)
        edit.bypass(self.node, self.source)


def _scaled(place: Place, factor: float, view: View) -> NewWeight:
    node, position = place
    values = given_weight(node, position, view)
    return NewWeight(node, position, scaled(values, np.full((1,) * values.ndim, factor), "constant"))


@dataclass(frozen=True)
class ScaleDown(Rewrite):
    """MatMul(Reshape(Mul(x, c)), W) --> MatMul(Reshape(x), W * c): case 3."""

    name: ClassVar[str] = "fold-scale-down"
    anchors: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    source: gs.Tensor
    weights: tuple[NewWeight, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The multiplication, what it reads, and the weight of the product that alone reads it."""
        found = scalar_factor(node, view)
        if found is None or view.is_op(view.producer(found[0]), "Mul"):
            return None
        place = _place_below(node, view)
        return None if place is None else cls(node, found[0], (_scaled(place, found[1], view),))

    def apply(self, edit: Edit) -> None:
        """The weight grows, the multiplication goes."""
        for new in self.weights:
            new.write(edit)
        edit.bypass(self.node, self.source)


def _place_below(node: gs.Node, view: View) -> Place | None:
    """The constant matrix that a chain of views ends in."""
    held = node.outputs[0]
    for _ in range(_MOST_STEPS):
        reader = view.sole_consumer(held)
        if view.is_op(reader, "MatMul", "Gemm"):
            side = next(at for at, tensor in enumerate(reader.inputs) if tensor is held)
            return (reader, 1 - side) if side < 2 and view.is_constant(reader.inputs[1 - side]) else None
        if not view.is_op(reader, *_VIEWS):
            return None
        held = reader.outputs[0]
    return None


@dataclass(frozen=True)
class FuseScales(WeightPass):
    """`y = MatMul(Reshape(MatMul(x, W)), k) * c` --> `y = MatMul(Reshape(MatMul(x, W * c)), k)`.

    1. Mul or Div by a scalar constant climbs through views (Reshape, Transpose, Slice, Expand ...), to both sides of
       Add and Sub, and to the left side of a product of two computed matrices (the scale of attention logits, which is
       a pass over the largest tensor there is), as long as each value has one reader.
    2. It ends in constants: the weight and the bias of Gemm, Conv and ConvTranspose, the matrix of a MatMul, the
       operand of Add and Sub, and that of Mul where nobody else reads it (rotary tables stay shared).
    3. Downwards: through views into the constant matrix of the MatMul or Gemm that alone reads it.

    Declines when a weight may be overridden, a scaled value is not finite in its type or too small for it, or a shared
    weight is too large to copy; silently for what is multiplied already (`0.5 * x * (1 + erf(x))` stays in the form
    that runtimes know).

    Numerics: rounding; computed in float64.
    """

    name: ClassVar[str] = "fuse-scales"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "fold products with one number into weights further up or down"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (ScaleUp, ScaleDown)
