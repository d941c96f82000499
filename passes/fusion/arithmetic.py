"""Divisions, reciprocals and squares in the form that costs least."""

from dataclasses import dataclass
from math import frexp, prod
from typing import Any, ClassVar, Self, TypeGuard

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View, dtype_number, numpy_dtype
from roofwright.passes.base import Context, Decline, LocalPass, Numerics, Rewrite
from roofwright.passes.fusion.composite import lone, with_scalar
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
        for tensor, dividend in (node.inputs, reversed(node.inputs)):
            inverse = view.producer(tensor)
            if dividend is tensor or not _is_inverse(inverse, view):
                continue
            divisor = inverse.inputs[-1]
            root = view.producer(divisor)
            only_reader(tensor, node, view)
            pattern = WriteNorm.find(root, view) if view.is_op(root, "Sqrt") else None
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


def _is_inverse(node: gs.Node | None, view: View) -> TypeGuard[gs.Node]:
    """Whether the node makes Reciprocal(b) or 1 / b."""
    is_one_over = view.is_op(node, "Div") and lone(node.inputs[0], node.inputs[1], view) == 1.0
    return is_one_over or view.is_op(node, "Reciprocal")


def _as_many(divisor: gs.Tensor, dividend: gs.Tensor, view: View) -> bool:
    """Whether the divisor is known to have as many elements as the dividend."""
    least, most = view.static_shape(divisor) or (0,), view.static_shape(dividend) or (np.inf,)
    return prod(least) >= prod(most)


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
        mantissa, exponent = frexp(found.value)
        if abs(mantissa) != 0.5 or abs(exponent - 1) > _MOST_EXPONENT[dtype]:
            return None
        if view.is_op(view.producer(found.operand), "MatMul"):
            return None  # case 3: the scale of attention, which runtimes look for as a Div
        return cls(node, np.asarray(1 / found.value, numpy_dtype(dtype_number(dtype))))

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
