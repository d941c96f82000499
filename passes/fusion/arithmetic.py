"""Divisions, reciprocals and squares in the form that costs least."""

from dataclasses import dataclass
from math import frexp, prod
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Context, Decline, LocalPass, Numerics, Rewrite
from roofwright.passes.fusion.composite import pair, with_scalar
from roofwright.passes.fusion.norms import WriteNorm
from roofwright.passes.fusion.weights import only_reader

_MOST_EXPONENT = {"float16": 14, "bfloat16": 126, "float32": 126, "float64": 1022}  # 1 / 2^k is a normal number
_FIRST_RMS = 23  # from here on, the operator itself is written


@dataclass(frozen=True)
class ReciprocalToDiv(Rewrite):
    """a * Reciprocal(b), a * (1 / b) --> a / b: cases 1 and 2."""

    name: ClassVar[str] = "reciprocal-to-div"
    anchors: ClassVar[tuple[str, ...]] = ("Mul",)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    inverse: gs.Node
    dividend: gs.Tensor
    divisor: gs.Tensor
    normalizes: bool

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The product, the Reciprocal and the other factor."""
        for tensor in node.inputs:
            inverse = view.producer(tensor)
            dividend = pair(node, view, "Mul", tensor)
            divisor = _inverted(inverse, view)
            if inverse is None or dividend is None or dividend is tensor or divisor is None:
                continue
            root = view.producer(divisor)
            only_reader(tensor, node, view)
            pattern = WriteNorm.find(root, view) if root is not None and view.is_op(root, "Sqrt") else None
            normalizes = pattern is not None and any(inside is node for inside in pattern.nodes)
            if not normalizes and not _as_many(divisor, dividend, view):
                raise Decline(f"{tensor.name!r} has fewer elements than the product, each of which would be a division")
            return cls(node, inverse, dividend, divisor, normalizes)
        return None

    def apply(self, edit: Edit) -> None:
        """A Div replaces both."""
        out = self.node.outputs[0]
        name = self.node.name or out.name
        edit.remove(self.node)
        edit.remove(self.inverse)
        sources = (self.inverse, self.node)
        edit.node("Div", [self.dividend, self.divisor], [out], name=name, sources=sources, before=self.node)


def _inverted(node: gs.Node | None, view: View) -> gs.Tensor | None:
    """`b` of Reciprocal(b) and of 1 / b."""
    if node is None or not view.is_op(node, "Reciprocal", "Div"):
        return None
    if node.op == "Reciprocal":
        return view.input(node, 0)
    one, divisor = node.inputs
    is_inverse = view.scalar(one) == 1.0 and len(one.shape or ()) <= (view.rank(divisor) or 0)
    return divisor if is_inverse else None


def _as_many(divisor: gs.Tensor, dividend: gs.Tensor, view: View) -> bool:
    shapes = view.static_shape(divisor), view.static_shape(dividend)
    return shapes[0] is not None and shapes[1] is not None and prod(shapes[0]) >= prod(shapes[1])


@dataclass(frozen=True)
class DivToMul(Rewrite):
    """a / 2^k --> a * 2^-k: case 3."""

    name: ClassVar[str] = "div-to-mul"
    anchors: ClassVar[tuple[str, ...]] = ("Div",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    factor: Any

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The division by a power of two, and its inverse in the type of the data."""
        found, dtype = with_scalar(node, view, "Div"), view.dtype(node.inputs[-1])
        if found is None or dtype not in _MOST_EXPONENT:
            return None
        mantissa, exponent = frexp(found[1])
        if abs(mantissa) != 0.5 or abs(exponent - 1) > _MOST_EXPONENT[dtype]:
            return None
        maker = view.producer(found[0])
        if maker is not None and view.is_op(maker, "MatMul"):
            return None  # case 3: the scale of attention, which runtimes look for as a Div
        divisor = view.constant_value(node.inputs[1])
        return None if divisor is None else cls(node, (1 / divisor.astype(np.float64)).astype(divisor.dtype))

    def apply(self, edit: Edit) -> None:
        """A Mul replaces the Div."""
        node, out = self.node, self.node.outputs[0]
        source, name = node.inputs[0], node.name or out.name
        edit.remove(node)
        factor = edit.constant(f"{out.name}_factor", self.factor)
        edit.node("Mul", [source, factor], [out], name=name, sources=(node,), before=node)


@dataclass(frozen=True)
class SimplifyArithmetic(LocalPass):
    """`y = a * Reciprocal(b)` --> `y = a / b`, and the like.

    1. A product with a Reciprocal (or 1 / b) that nobody else reads and that has as many elements is a division.
    2. So it is in an RMS normalization that is written out, where `b` has one element per row, if the target's stack
       says that it finds that form (`rms_by_division`) and the model's opset has no RMSNormalization.
    3. A division by a power of two is a product: both are rounded from the same number. Not behind a MatMul: runtimes
       recognise the scale of attention as a Div.

    Declines when the Reciprocal has another reader, or fewer elements than the product.

    Numerics: case 3 exact, cases 1 and 2 rounding (one rounding instead of two).
    References: IEEE 754-2019, 5.4.1 (correct rounding of both operations).
    """

    name: ClassVar[str] = "simplify-arithmetic"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "a division for a product with a reciprocal, a product for a division by a power of two"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (ReciprocalToDiv, DivToMul)

    def limits(self, rewrite: Rewrite, view: View, ctx: Context) -> None:
        """Decline case 2 where the stack does not gain by it."""
        if not isinstance(rewrite, ReciprocalToDiv) or not rewrite.normalizes:
            return
        if view.opset >= _FIRST_RMS:
            raise Decline("it belongs to an RMSNormalization, which the model's opset has")
        if ctx.target is None or not ctx.target.stack.constants.get("rms_by_division"):
            raise Decline("a division for each element would cost more than one per row")
