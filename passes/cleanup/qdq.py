"""QuantizeLinear and DequantizeLinear: pairs that do nothing, pairs around what only moves values, activations."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline, LocalPass, Numerics, Rewrite
from roofwright.passes.fusion.weights import only_reader

_MOVES = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather", "Expand", "MaxPool")
_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535)}
_BYTES = ("int8", "uint8")
_FIRST_MAX_POOL_OF_BYTES, _FIRST_CLIP_WITH_INPUTS = 12, 11
_LARGEST_SCALE = 1e30  # 65535 of it are finite in float32, and so is the inverse


@dataclass(frozen=True)
class _Grid:
    """How a Q or DQ maps: constant scale and zero point, the integer type, the axis (None: one scale for all)."""

    scale: NDArray[Any]
    zero: NDArray[Any]
    dtype: str
    axis: int | None

    def equals(self, other: "_Grid") -> bool:
        """Whether both map every value alike."""
        same = np.array_equal(self.scale, other.scale) and np.array_equal(self.zero, other.zero)
        return same and (self.dtype, self.axis) == (other.dtype, other.axis)


def _grid(node: gs.Node, view: View) -> _Grid | None:
    """The mapping of a Q or DQ where it is constant, of integers, in float32 and not blocked; None otherwise."""
    scale, zero = view.constant_value(view.input(node, 1)), view.input(node, 2)
    dtype = view.dtype(node.outputs[0] if node.op == "QuantizeLinear" else node.inputs[0])
    if scale is None or scale.dtype != np.float32 or dtype not in _RANGES or view.attr(node, "block_size", 0):
        return None
    if not np.all((scale > 1 / _LARGEST_SCALE) & (scale < _LARGEST_SCALE)):
        return None
    zeros = np.zeros(scale.shape, np.int64) if zero is None else view.constant_value(zero)
    if zeros is None:
        return None
    axis, rank = view.attr(node, "axis", 1), view.rank(node.inputs[0])
    counted = axis + rank if axis < 0 and rank is not None else axis
    zeros = zeros.astype(np.int64).reshape(-1)
    return _Grid(scale.reshape(-1), zeros, dtype, counted if scale.size > 1 else None)


def _common(first: gs.Node, second: gs.Node, view: View) -> _Grid | None:
    """The mapping of a DQ and a Q; None where one is not known; Decline where they differ."""
    before, after = _grid(first, view), _grid(second, view)
    if before is None or after is None:
        return None
    if not before.equals(after):
        raise Decline("it quantizes to another scale, zero point or type than it was dequantized from")
    return before


@dataclass(frozen=True)
class CancelPair(Rewrite):
    """QuantizeLinear(DequantizeLinear(q)) --> q: case 1."""

    name: ClassVar[str] = "cancel-pair"
    anchors: ClassVar[tuple[str, ...]] = ("QuantizeLinear",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    source: gs.Tensor

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The second node and what the first one reads; the first stays for its other readers."""
        first = view.producer(node.inputs[0])
        if not view.is_op(first, "DequantizeLinear") or _common(first, node, view) is None:
            return None
        return cls(node, first.inputs[0]) if view.can_bypass(node, first.inputs[0]) else None

    def apply(self, edit: Edit) -> None:
        """Readers read the integers that were there before."""
        edit.bypass(self.node, self.source)


@dataclass(frozen=True)
class MoveIntegers(Rewrite):
    """QuantizeLinear(Move(DequantizeLinear(q))) --> Move(q): case 2."""

    name: ClassVar[str] = "move-integers"
    anchors: ClassVar[tuple[str, ...]] = ("QuantizeLinear",)
    numerics: ClassVar[Numerics] = "exact"
    first: gs.Node
    move: gs.Node
    node: gs.Node

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The DequantizeLinear, the node that only moves values, the QuantizeLinear."""
        move = view.producer(node.inputs[0])
        if not view.is_op(move, *_MOVES) or len(view.used_outputs(move)) != 1:
            return None
        first = view.producer(move.inputs[0])
        if not view.is_op(first, "DequantizeLinear"):
            return None
        grid = _common(first, node, view)
        if grid is None or grid.axis is not None:
            return None
        if move.op == "MaxPool" and (grid.dtype not in _BYTES or view.opset < _FIRST_MAX_POOL_OF_BYTES):
            return None
        only_reader(move.outputs[0], node, view)
        return cls(first, move, node)

    def apply(self, edit: Edit) -> None:
        """The node between makes what the QuantizeLinear made."""
        out, move, source = self.node.outputs[0], self.move, self.first.inputs[0]
        inputs, attrs, name = [source, *move.inputs[1:]], dict(move.attrs), move.name or out.name
        edit.remove(self.node)
        edit.remove(move)
        edit.node(move.op, inputs, [out], name=name, sources=(move, self.node), attrs=attrs, before=move)


@dataclass(frozen=True)
class ClampByQuantizing(Rewrite):
    """QuantizeLinear(Relu(x)) --> QuantizeLinear(x): case 3."""

    name: ClassVar[str] = "clamp-by-quantizing"
    anchors: ClassVar[tuple[str, ...]] = ("QuantizeLinear",)
    numerics: ClassVar[Numerics] = "exact"
    clamp: gs.Node
    node: gs.Node

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The Relu or Clip, and the node that saturates at the same values or earlier."""
        clamp = view.producer(node.inputs[0])
        if not view.is_op(clamp, "Relu", "Clip"):
            return None
        grid = _grid(node, view)
        bounds = _bounds(clamp, view)
        if grid is None or bounds is None:
            return None
        least, most = _RANGES[grid.dtype]
        with np.errstate(over="ignore"):
            low, high = (np.rint(np.float32(bound) / grid.scale) + grid.zero for bound in bounds)
        if not np.all((low <= least) & (high >= most)):
            raise Decline("the bounds of the activation lie inside of what the integers can hold")
        only_reader(clamp.outputs[0], node, view)
        return cls(clamp, node)

    def apply(self, edit: Edit) -> None:
        """The QuantizeLinear reads what the activation read."""
        source = self.clamp.inputs[0]
        edit.inherit(self.node, (self.clamp, self.node))
        edit.remove(self.clamp)
        edit.set_input(self.node, 0, source)


def _bounds(node: gs.Node, view: View) -> tuple[float, float] | None:
    """The bounds of a Relu or Clip, infinite where there is none; None where one is not a constant."""
    if node.op == "Relu":
        return 0.0, np.inf
    if view.opset < _FIRST_CLIP_WITH_INPUTS:
        return view.attr(node, "min", -np.inf), view.attr(node, "max", np.inf)
    found = []
    for position, absent in ((1, -np.inf), (2, np.inf)):
        given = view.input(node, position)
        value = absent if given is None else view.scalar(given)
        if value is None:
            return None
        found.append(float(value))
    return found[0], found[1]


@dataclass(frozen=True)
class Qdq(LocalPass):
    """`y = QuantizeLinear(DequantizeLinear(q))` --> `y = q`.

    The only pass that may take out QuantizeLinear or DequantizeLinear; a pair around what computes stays, since it says
    what runs in integers.

    1. A QuantizeLinear behind a DequantizeLinear with the same constant scale, zero point, type and axis returns the
       integers: `rint(((q - z) * s) / s) + z` is `q` for 8 and 16 bits in float32.
    2. The same with a node between that only moves values: Transpose, Reshape, Flatten, Squeeze, Unsqueeze, Slice,
       Gather, Expand, and a MaxPool of bytes (12), as scales are positive; one scale for the whole tensor.
    3. Relu and Clip in front of a QuantizeLinear that saturates at the bound or before it: zero point at the least
       integer for Relu.

    Declines when scales, zero points or types differ; an activation's bound lies inside of what the integers can hold;
    the value between has another reader. Left alone: scales that are computed, blocked, not float32, or not positive.

    Numerics: exact.
    References: ONNX, QuantizeLinear-25 (rounding to even, saturation).
    """

    name: ClassVar[str] = "qdq"
    on_request: ClassVar[bool] = True
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "drop quantize and dequantize pairs that do nothing, and activations that quantizing does"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (CancelPair, MoveIntegers, ClampByQuantizing)
