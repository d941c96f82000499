"""Nodes that return their input."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline, LocalPass, Numerics, Rewrite
from roofwright.passes.cleanup.casts import CastOfFill, MergeCasts, is_noop_cast
from roofwright.passes.cleanup.constant_inputs import has_operand, integers, permutation, slice_bounds
from roofwright.passes.cleanup.defaults import OmitZeroState
from roofwright.passes.cleanup.selections import ConstantWhere, DecidedOperand, WhereOfNot
from roofwright.passes.cleanup.unit_elements import AddZero, UnitElement

_TO_THE_END = 2**31 - 1  # the operator's own advice for "up to the end of a dimension of unknown size"
_ONE_INPUT = ("Concat", "Sum", "Max", "Min", "Mean")
_IDEMPOTENT = {
    "Relu": ("Relu",),
    "Abs": ("Abs",),
    "Sign": ("Sign",),
    "Ceil": ("Ceil", "Floor", "Round"),
    "Floor": ("Ceil", "Floor", "Round"),
    "Round": ("Ceil", "Floor", "Round"),
}
_INVOLUTIONS = ("Not", "Neg")
_LAST_DROPOUT_WITH_FLAG = 6


def _dropout(node: gs.Node, view: View) -> bool:
    """Case 2."""
    if view.opset <= _LAST_DROPOUT_WITH_FLAG and not view.attr(node, "is_test", 0):
        return False
    mode = view.input(node, 2)
    if mode is not None and view.scalar(mode) != 0:
        raise Decline("it is in training mode, or a caller may switch that on")
    for mask in node.outputs[1:]:
        if mask.outputs or view.is_output(mask):
            raise Decline(f"its mask {mask.name!r} is used")
    return True


def _transpose(node: gs.Node, view: View) -> bool:
    perm = permutation(node, view)
    return perm is not None and perm == list(range(len(perm)))


def _same_shape(node: gs.Node, view: View) -> bool:
    """Case 4a: both shapes are static and equal."""
    shape = view.static_shape(view.input(node, 0))
    return shape is not None and shape == view.static_shape(node.outputs[0])


def _reshape(node: gs.Node, view: View) -> bool:
    """Case 4b: every dimension of the target is the input's own, but for at most one -1."""
    if _same_shape(node, view):
        return True
    source, target = view.input(node, 0), integers(node, view, "shape", 1)
    shape = None if source is None else source.shape
    if shape is None or target is None or len(target) != len(shape):
        return False
    copies = 0 if not view.attr(node, "allowzero", 0) else None
    return all(want in (-1, copies) or want == have for want, have in zip(target, shape, strict=True))


def _expand(node: gs.Node, view: View) -> bool:
    """Case 4c: every wanted dimension is 1 or the input's own."""
    if _same_shape(node, view):
        return True
    source, target = view.input(node, 0), integers(node, view, "shape", 1)
    shape = None if source is None else source.shape
    if shape is None or target is None or len(target) > len(shape):
        return False
    tail = shape[len(shape) - len(target) :]
    return all(want in (1, have) for want, have in zip(target, tail, strict=True))


def _pad(node: gs.Node, view: View) -> bool:
    pads = integers(node, view, "pads", 1)
    return pads is not None and not any(pads)


def _tile(node: gs.Node, view: View) -> bool:
    repeats = integers(node, view, "repeats", 1)
    return repeats is not None and all(count == 1 for count in repeats)


def _slice(node: gs.Node, view: View) -> bool:
    """Case 6."""
    bounds, shape = slice_bounds(node, view), node.inputs[0].shape
    if bounds is None:
        return False
    for start, end, axis, step in zip(*bounds, strict=True):
        size = shape[axis] if shape is not None and axis < len(shape) else None
        reaches = end >= (size if isinstance(size, int) else _TO_THE_END)
        if step != 1 or not reaches or start != 0:
            return False
    return True


def _resize(node: gs.Node, view: View) -> bool:
    """Case 5b."""
    if view.attr(node, "coordinate_transformation_mode") == "tf_crop_and_resize":
        return False
    scales = view.constant_value(view.input(node, 2))
    if scales is not None and scales.size:
        return bool(np.all(scales == 1))
    return view.input(node, 3) is not None and _same_shape(node, view)


def _single(node: gs.Node, view: View) -> bool:
    return len(node.inputs) == 1 and len(node.outputs) == 1


def _squeeze(node: gs.Node, view: View) -> bool:
    """Case 4a, or an empty list of axes that is really given."""
    empty = has_operand(node, view, "axes", 1) and integers(node, view, "axes", 1) == []
    return empty or _same_shape(node, view)


_RULES: dict[str, Callable[[gs.Node, View], bool]] = {
    "Identity": lambda node, view: True,
    "Dropout": _dropout,
    "Cast": is_noop_cast,
    "CastLike": is_noop_cast,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _same_shape,
    "Squeeze": _squeeze,
    "Expand": _expand,
    "Pad": _pad,
    "Tile": _tile,
    "Slice": _slice,
    "Resize": _resize,
    "Split": _single,
    **dict.fromkeys(_ONE_INPUT, _single),
}


@dataclass(frozen=True)
class BypassNoop(Rewrite):
    """A node whose output is its first input: cases 1 to 7."""

    name: ClassVar[str] = "bypass-noop"
    anchors: ClassVar[tuple[str, ...]] = tuple(_RULES)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    source: gs.Tensor

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The node and the value it returns."""
        source = node.inputs[0]
        if not view.can_bypass(node, source) or not _RULES[node.op](node, view):
            return None
        return cls(node, source)

    def apply(self, edit: Edit) -> None:
        """Readers read the source."""
        edit.bypass(self.node, self.source)


@dataclass(frozen=True)
class Idempotent(Rewrite):
    """A second application of what changes nothing any more, or undoes itself: cases 8 and 9."""

    name: ClassVar[str] = "idempotent"
    anchors: ClassVar[tuple[str, ...]] = (*_IDEMPOTENT, *_INVOLUTIONS)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    source: gs.Tensor

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The second node, and the value to read instead of its output."""
        source = node.inputs[0]
        first = view.producer(source)
        if not view.is_op(first, node.op, *_IDEMPOTENT.get(node.op, ())):
            return None
        origin = first.inputs[0] if node.op in _INVOLUTIONS else source
        return cls(node, origin) if view.can_bypass(node, origin) else None

    def apply(self, edit: Edit) -> None:
        """Readers read the source."""
        edit.bypass(self.node, self.source)


@dataclass(frozen=True)
class Identities(LocalPass):
    """`y = f(x)` where `f(x)` is `x` --> readers of `y` read `x`.

    1. Identity.
    2. Dropout at inference: no `training_mode`, or a constant false; its mask unused.
    3. Cast and CastLike to the type that the value has; Cast of Cast where the first loses nothing; Cast of
       a ConstantOfShape of 0 or 1, read once (file `casts`).
    4. Reshape, Flatten, Squeeze, Expand: (a) static shapes that are equal; (b) a Reshape whose target repeats the
       input's own dimensions, with at most one -1, and 0 read as `allowzero` says; (c) an Expand to 1 or the own size.
       Transpose with the identity permutation.
    5. (a) Pad by nothing, Tile by ones; (b) Resize by ones, or to the static size that is there.
    6. Slice from 0 with step 1 to the end: at least the static size, or 2^31-1 and above where the size is not known.
    7. Concat, Sum, Max, Min, Mean of one input; Split into one output.
    8. Relu, Abs, Sign twice; Ceil, Floor, Round after one of these three.
    9. Not and Neg twice give the first one's input.
    10. x*1, x/1, x^1, x-0, x and true, x or false, with the constant on either side where the operator is symmetric;
       the constant must not broadcast x up (file `unit_elements`).
    11. x+0 likewise.
    12. Bias, initial states and peepholes of LSTM, GRU and RNN that hold nothing but +0, whatever their size: left out
       (files `defaults`, `zeros`).
    13. Where with a condition that is constant and the same everywhere, where the result has the branch's shape.
    14. Where of Not: the branches change places.
    15. Integer x*0, x and false, x or true: a constant, where the shape is known (file `selections`).

    Declines when x*1 or x+0 are scale and bias of a normalization written out, which runtimes take as a whole; when the
    output is an output of a graph and x cannot take its name (x is an input, a constant, or an output
    too); when a Dropout's mask is used.

    Numerics: exact; case 11 is `rounding` for floats when the zero is positive, since -0 + 0 is +0.
    """

    name: ClassVar[str] = "identities"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "bypass nodes that return their input"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (
        BypassNoop,
        MergeCasts,
        CastOfFill,
        Idempotent,
        UnitElement,
        AddZero,
        DecidedOperand,
        OmitZeroState,
        ConstantWhere,
        WhereOfNot,
    )
