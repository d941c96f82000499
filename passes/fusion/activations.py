"""Relu and Clip merged into one Clip."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeGuard

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View, dtype_number, numpy_dtype
from roofwright.passes.base import Context, Decline, LocalPass, Numerics, Rewrite
from roofwright.passes.fusion.composite import accept, with_scalar
from roofwright.passes.fusion.hard_swish import ClippedLine, ToHardSigmoid, ToHardSwish
from roofwright.passes.fusion.leaky import MaximumToActivation, OneSlope
from roofwright.passes.fusion.weights import only_reader

_FIRST_CLIP_WITH_INPUTS, _FIRST_CLIP_OF_ALL = 11, 12
_SINGLE = ("float16", "float32")
_ALL = (*_SINGLE, "float64", "int8", "uint8", "int32", "uint32", "int64", "uint64")
_CLAMPS = ("Clip", "Relu", "Max", "Min")
Number = int | float
Bound = Number | None


def _clamping(node: gs.Node | None, view: View) -> tuple[gs.Node, gs.Tensor] | None:
    """A Relu, a Clip, or a Max or Min with one number, and what it clamps; None for every other node."""
    if view.is_op(node, "Clip", "Relu"):
        return node, node.inputs[0]
    found = with_scalar(node, view, "Max", "Min")
    return None if found is None else (found.node, found.operand)


def _finite(dtype: np.dtype[Any]) -> tuple[Number, Number]:
    """The least and the largest finite number: the bounds of a Clip that names none."""
    info = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.asarray(info.min).item(), np.asarray(info.max).item()


def _bounds(node: gs.Node, view: View, dtype: np.dtype[Any]) -> tuple[Number, Number]:
    """The bounds of a Relu, Clip, Max or Min; Decline where one is not a constant."""
    low, high = _finite(dtype)
    if view.is_op(node, "Clip"):
        given = _given(node, view)
        return low if given[0] is None else given[0], high if given[1] is None else given[1]
    if dtype.kind == "f":
        low, high = -np.inf, np.inf
    if view.is_op(node, "Relu"):
        return 0, high
    values = [view.constant_value(tensor) for tensor in node.inputs]
    number = next(value.reshape(()).item() for value in values if value is not None)
    return (number, high) if node.op == "Max" else (low, number)


def _given(node: gs.Node, view: View) -> tuple[Bound, Bound]:
    """The bounds that a Clip names."""
    if view.opset < _FIRST_CLIP_WITH_INPUTS:
        return view.attr(node, "min"), view.attr(node, "max")
    found: list[Bound] = []
    for position in (1, 2):
        given = view.input(node, position)
        value = view.constant_value(given)
        if given is not None and (value is None or value.size != 1):
            raise Decline(f"its bound {given.name!r} is not a constant")
        found.append(None if value is None else value.reshape(()).item())
    return found[0], found[1]


def _merged(first: tuple[Number, Number], second: tuple[Number, Number]) -> tuple[Number, Number]:
    """Bounds of `clip(clip(x, first), second)`: the second clip applied to the bounds of the first.

    A clip never decreases, so the image of [low, high] is [clip(low), clip(high)]. Where low > high the operator gives
    high, `min(max(value, low), high)`, and so does this.
    """
    low, high = (min(max(bound, second[0]), second[1]) for bound in first)
    return low, high


def _is_supported(name: str | None, view: View) -> TypeGuard[str]:
    return name in _SINGLE or (name in _ALL and view.opset >= _FIRST_CLIP_OF_ALL)


@dataclass(frozen=True)
class MergeClips(Rewrite):
    """Clip(Relu(x)), Relu(Clip(x)), Min(Max(x, a), b) ... --> Clip(x): case 1."""

    name: ClassVar[str] = "merge-clips"
    anchors: ClassVar[tuple[str, ...]] = _CLAMPS
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    first: gs.Node
    source: gs.Tensor
    bounds: tuple[Bound, Bound]
    dtype: Any

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The second node, the first, and the bounds of both."""
        second = _clamping(node, view)
        if second is None:
            return None
        clamped = _clamping(view.producer(second[1]), view)
        if clamped is None:
            return None
        first, source = clamped
        if first.op == node.op == "Relu":
            return None  # pass identities
        name = view.dtype(node.outputs[0]) or view.dtype(source)
        if not _is_supported(name, view):
            raise Decline(f"Clip does not take {name or 'an unknown type'} at opset {view.opset}")
        only_reader(second[1], node, view)
        dtype = numpy_dtype(dtype_number(name))
        one, two = _bounds(first, view, dtype), _bounds(node, view, dtype)
        if any(isinstance(bound, float) and np.isnan(bound) for bound in (*one, *two)):
            raise Decline("a bound is not a number")
        low, high = (
            None if bound == end else bound for bound, end in zip(_merged(one, two), _finite(dtype), strict=True)
        )
        return cls(node, first, source, (low, high), dtype)

    def apply(self, edit: Edit) -> None:
        """A Clip (a Relu where only 0 is left as a bound) reads what the first node read."""
        node, out = self.node, self.node.outputs[0]
        inputs: list[gs.Tensor | None] = [self.source]
        attrs: dict[str, Any] = {}
        name = node.name or out.name
        if edit.view.opset < _FIRST_CLIP_WITH_INPUTS:
            attrs = {key: float(v) for key, v in zip(("min", "max"), self.bounds, strict=True) if v is not None}
        else:
            for what, bound in zip(("min", "max"), self.bounds, strict=True):
                value = None if bound is None else np.asarray(bound, self.dtype)
                inputs.append(None if value is None else edit.constant(f"{out.name}_{what}", value))
            if self.bounds[1] is None:
                inputs.pop()
        edit.remove(node)
        edit.remove(self.first)
        edit.node("Clip", inputs, [out], name=name, sources=(self.first, node), attrs=attrs, before=node)


@dataclass(frozen=True)
class FuseActivations(LocalPass):
    """`y = Clip(Relu(x), a, b)` --> `y = Clip(x, max(a, 0), b)`, and the like.

    1. Relu, Clip, or Max or Min with one number, after another of these that it alone reads: one Clip. The order
       counts: the second clip is applied to the bounds of the first, and where min > max the operator gives max. Bounds
       are attributes before opset 11 and constant inputs from there on, in the type of the data, integers too. A Clip
       without a bound ends at the last finite number, the others are told to end at infinity.
    2. Clip(x + 3, 0, 6) / 6 is HardSigmoid with alpha = 1/6 (file `hard_swish`).
    3. x * HardSigmoid(x, 1/6, 1/2) is HardSwish, from opset 14 on; so is x * Clip(x + 3, 0, 6) / 6 in any order.
    4. Clip(a * x + b, 0, 1) is HardSigmoid with alpha = a and beta = b.
    5. Max(x, a * x) with 0 < a < 1 is LeakyRelu, Max(x, -x) is Abs, Max(x, 0) is Relu, in float32 (file `leaky`).
    6. A PRelu whose slopes are one number is LeakyRelu, in float32.

    Declines when the first result has another reader; a bound is not a constant or not a number; Clip does not take the
    type at the model's opset (float64 and integers: from 12 on); a slope is not finite in float32; the target's stack
    does not list HardSwish.

    Numerics: cases 1, 5 and 6 exact, the others rounding.
    References: Howard et al., ICCV 2019, arXiv:1905.02244, section 5.2 (h-swish).
    """

    name: ClassVar[str] = "fuse-activations"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "merge Relu and Clip; recognise HardSigmoid and HardSwish"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (
        MergeClips,
        ToHardSigmoid,
        ToHardSwish,
        ClippedLine,
        MaximumToActivation,
        OneSlope,
    )

    def limits(self, rewrite: Rewrite, view: View, ctx: Context) -> None:
        """Decline a HardSwish that the target's stack does not run as one kernel."""
        if isinstance(rewrite, ToHardSwish):
            accept("HardSwish", ctx)
