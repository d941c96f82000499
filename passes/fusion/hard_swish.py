"""HardSigmoid and HardSwish written out in arithmetic."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline, Numerics, Rewrite
from roofwright.passes.fusion.composite import with_scalar
from roofwright.passes.fusion.weights import only_reader

_FIRST_HARD_SWISH = 14
_FIRST_CLIP_WITH_INPUTS = 11
_FLOATS = ("float16", "float32")
_ALPHA, _BETA = float(np.float32(1 / 6)), 0.5


def _is_about(value: float, wanted: float) -> bool:
    """Equal within one unit in the last place of float32."""
    return abs(value - wanted) <= float(np.spacing(np.float32(wanted)))


def _clip_of_shifted(tensor: gs.Tensor | None, view: View) -> tuple[gs.Tensor, tuple[gs.Node, ...]] | None:
    """`x` and the nodes, where `tensor` is Clip(x + 3, 0, 6)."""
    clip = view.producer(tensor)
    if not view.is_op(clip, "Clip") or _clip_bounds(clip, view) != (0.0, 6.0):
        return None
    shifted = with_scalar(view.producer(clip.inputs[0]), view, "Add")
    if shifted is None or shifted.value != 3.0:
        return None
    only_reader(clip.inputs[0], clip, view)
    return shifted.operand, (shifted.node, clip)


def _clip_bounds(clip: gs.Node, view: View) -> tuple[float | None, float | None]:
    if view.opset < _FIRST_CLIP_WITH_INPUTS:
        return view.attr(clip, "min"), view.attr(clip, "max")
    return view.scalar(view.input(clip, 1)), view.scalar(view.input(clip, 2))


def _sixth(node: gs.Node, view: View) -> gs.Tensor | None:
    """What the node divides by 6."""
    found = with_scalar(node, view, "Div", "Mul")
    if found is None:
        return None
    by_six = found.value == 6.0 if node.op == "Div" else _is_about(found.value, 1 / 6)
    return found.operand if by_six else None


@dataclass(frozen=True)
class ToHardSigmoid(Rewrite):
    """Clip(x + 3, 0, 6) / 6 --> HardSigmoid(x): case 2."""

    name: ClassVar[str] = "to-hard-sigmoid"
    anchors: ClassVar[tuple[str, ...]] = ("Div", "Mul")
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    source: gs.Tensor
    gone: tuple[gs.Node, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The division, `x`, and the nodes before the division."""
        if view.dtype(node.outputs[0]) not in _FLOATS:
            return None
        found = _clip_of_shifted(_sixth(node, view), view)
        if found is None:
            return None
        only_reader(found[1][-1].outputs[0], node, view)
        return cls(node, *found)

    def apply(self, edit: Edit) -> None:
        """One node replaces three."""
        _replace(edit, "HardSigmoid", self.source, self.node, self.gone, {"alpha": _ALPHA, "beta": _BETA})


@dataclass(frozen=True)
class ClippedLine(Rewrite):
    """Clip(a * x + b, 0, 1) --> HardSigmoid(x, a, b): case 4."""

    name: ClassVar[str] = "clipped-line"
    anchors: ClassVar[tuple[str, ...]] = ("Clip",)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    source: gs.Tensor
    gone: tuple[gs.Node, ...]
    alpha: float
    beta: float

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The Clip, `x`, and the product and the sum before."""
        if view.dtype(node.outputs[0]) not in _FLOATS or _clip_bounds(node, view) != (0.0, 1.0):
            return None
        shifted = with_scalar(view.producer(node.inputs[0]), view, "Add")
        if shifted is None:
            return None
        scaled = with_scalar(view.producer(shifted.operand), view, "Mul", "Div")
        if scaled is None:
            return None
        only_reader(shifted.operand, shifted.node, view)
        only_reader(node.inputs[0], node, view)
        with np.errstate(all="ignore"):
            alpha = scaled.value if scaled.node.op == "Mul" else float(1 / np.float32(scaled.value))
        if not np.isfinite(alpha):
            raise Decline(f"one over {scaled.value!r} is not finite in float32")
        return cls(node, scaled.operand, (scaled.node, shifted.node), alpha, shifted.value)

    def apply(self, edit: Edit) -> None:
        """One node replaces three."""
        _replace(edit, "HardSigmoid", self.source, self.node, self.gone, {"alpha": self.alpha, "beta": self.beta})


@dataclass(frozen=True)
class ToHardSwish(Rewrite):
    """x * HardSigmoid(x), x * Clip(x + 3, 0, 6) / 6 --> HardSwish(x): case 3."""

    name: ClassVar[str] = "to-hard-swish"
    anchors: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    source: gs.Tensor
    gone: tuple[gs.Node, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The last node, `x`, and the nodes between."""
        if view.opset < _FIRST_HARD_SWISH or view.dtype(node.outputs[0]) not in _FLOATS:
            return None
        found = _gated(node, view) or _gated_then_divided(node, view)
        return None if found is None else cls(node, *found)

    def apply(self, edit: Edit) -> None:
        """One node replaces all."""
        _replace(edit, "HardSwish", self.source, self.node, self.gone, {})


def _gated(node: gs.Node, view: View) -> tuple[gs.Tensor, tuple[gs.Node, ...]] | None:
    """X * HardSigmoid(x)."""
    if not view.is_op(node, "Mul"):
        return None
    for position in (0, 1):
        gate = view.producer(view.input(node, position))
        if not view.is_op(gate, "HardSigmoid") or gate.inputs[0] is not node.inputs[1 - position]:
            continue
        if _is_about(view.attr(gate, "alpha", 0.2), 1 / 6) and _is_about(view.attr(gate, "beta", 0.5), _BETA):
            only_reader(gate.outputs[0], node, view)
            return gate.inputs[0], (gate,)
    return None


def _gated_then_divided(node: gs.Node, view: View) -> tuple[gs.Tensor, tuple[gs.Node, ...]] | None:
    """(x * Clip(x + 3, 0, 6)) / 6."""
    product = view.producer(_sixth(node, view))
    if not view.is_op(product, "Mul"):
        return None
    for position in (0, 1):
        found = _clip_of_shifted(product.inputs[position], view)
        if found is None or found[0] is not product.inputs[1 - position]:
            continue
        only_reader(product.inputs[position], product, view)
        only_reader(product.outputs[0], node, view)
        return found[0], (*found[1], product)
    return None


def _replace(
    edit: Edit, op: str, source: gs.Tensor, node: gs.Node, gone: tuple[gs.Node, ...], attrs: dict[str, Any]
) -> None:
    out, name = node.outputs[0], node.name or node.outputs[0].name
    for old in (node, *reversed(gone)):
        edit.remove(old)
    edit.node(op, [source], [out], name=name, sources=(*gone, node), attrs=attrs, before=node)
