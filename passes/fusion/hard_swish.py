"""HardSigmoid and HardSwish written out in arithmetic."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite
from roofwright.passes.fusion.composite import with_scalar
from roofwright.passes.fusion.weights import only_reader

_FIRST_HARD_SWISH = 14
_FIRST_HARD_SIGMOID = 6
_FIRST_CLIP_WITH_INPUTS = 11
_FLOATS = ("float16", "float32")
_ALPHA, _BETA = float(np.float32(1 / 6)), 0.5


def _is_about(value: float | None, wanted: float) -> bool:
    """Equal within one unit in the last place of float32."""
    return value is not None and abs(value - wanted) <= float(np.spacing(np.float32(wanted)))


def _clip_of_shifted(tensor: gs.Tensor | None, view: View) -> tuple[gs.Tensor, tuple[gs.Node, ...]] | None:
    """`x` and the nodes, where `tensor` is Clip(x + 3, 0, 6)."""
    clip = view.producer(tensor)
    if clip is None or not view.is_op(clip, "Clip"):
        return None
    add = view.producer(view.input(clip, 0))
    found = with_scalar(add, view, "Add")
    if _clip_bounds(clip, view) != (0.0, 6.0) or add is None or found is None or found[1] != 3.0:
        return None
    only_reader(add.outputs[0], clip, view)
    return found[0], (add, clip)


def _clip_bounds(clip: gs.Node, view: View) -> tuple[float | None, float | None]:
    if view.opset < _FIRST_CLIP_WITH_INPUTS:
        return view.attr(clip, "min"), view.attr(clip, "max")
    return view.scalar(view.input(clip, 1)), view.scalar(view.input(clip, 2))


def _sixth(node: gs.Node, view: View) -> gs.Tensor | None:
    """What the node divides by 6."""
    found = with_scalar(node, view, "Div", "Mul")
    if found is None:
        return None
    by_six = (node.op == "Div" and found[1] == 6.0) or (node.op == "Mul" and _is_about(found[1], 1 / 6))
    return found[0] if by_six else None


def _is_ready(node: gs.Node, view: View, first_opset: int) -> bool:
    return view.opset >= first_opset and view.dtype(node.outputs[0]) in _FLOATS


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
        if not _is_ready(node, view, _FIRST_HARD_SIGMOID):
            return None
        divided = _sixth(node, view)
        found = _clip_of_shifted(divided, view)
        if divided is None or found is None:
            return None
        only_reader(divided, node, view)
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
        if not _is_ready(node, view, _FIRST_HARD_SIGMOID) or _clip_bounds(node, view) != (0.0, 1.0):
            return None
        add = view.producer(view.input(node, 0))
        shifted = with_scalar(add, view, "Add")
        mul = None if shifted is None else view.producer(shifted[0])
        scaled = with_scalar(mul, view, "Mul", "Div")
        if add is None or shifted is None or mul is None or scaled is None or not scaled[1]:
            return None
        only_reader(mul.outputs[0], add, view)
        only_reader(add.outputs[0], node, view)
        alpha = scaled[1] if mul.op == "Mul" else 1 / scaled[1]
        return cls(node, scaled[0], (mul, add), alpha, shifted[1])

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
        if not _is_ready(node, view, _FIRST_HARD_SWISH):
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
        if gate is None or not view.is_op(gate, "HardSigmoid") or gate.inputs[0] is not node.inputs[1 - position]:
            continue
        if _is_about(view.attr(gate, "alpha", 0.2), 1 / 6) and _is_about(view.attr(gate, "beta", 0.5), _BETA):
            only_reader(gate.outputs[0], node, view)
            return gate.inputs[0], (gate,)
    return None


def _gated_then_divided(node: gs.Node, view: View) -> tuple[gs.Tensor, tuple[gs.Node, ...]] | None:
    """(x * Clip(x + 3, 0, 6)) / 6."""
    divided = _sixth(node, view)
    product = view.producer(divided)
    if divided is None or product is None or not view.is_op(product, "Mul") or len(product.inputs) != 2:
        return None
    for position in (0, 1):
        found = _clip_of_shifted(product.inputs[position], view)
        if found is None or found[0] is not product.inputs[1 - position]:
            continue
        only_reader(product.inputs[position], product, view)
        only_reader(divided, node, view)
        return found[0], (*found[1], product)
    return None


def _replace(
    edit: Edit, op: str, source: gs.Tensor, node: gs.Node, gone: tuple[gs.Node, ...], attrs: dict[str, Any]
) -> None:
    out, name = node.outputs[0], node.name or node.outputs[0].name
    for old in (node, *reversed(gone)):
        edit.remove(old)
    edit.node(op, [source], [out], name=name, sources=(*gone, node), attrs=attrs, before=node)
