"""Softmax written out in exponentials."""

from typing import ClassVar

import onnx_graphsurgeon as gs

from roofwright.graph import View
from roofwright.passes.cleanup.constant_inputs import integers, normalised
from roofwright.passes.fusion.composite import Composite, Pattern


def _axis(node: gs.Node, view: View) -> int | None:
    """The only axis, counted from the front, of a reduction that keeps it."""
    if not view.attr(node, "keepdims", 1):
        return None
    axes, rank = integers(node, view, "axes", 1), view.rank(node.inputs[0])
    found = None if not axes or rank is None else normalised(axes, rank)
    return found[0] if found is not None and len(found) == 1 else None


def _below_zero(tensor: gs.Tensor, view: View) -> tuple[gs.Node, gs.Node] | None:
    """The ReduceMax and the Sub where `tensor` is x - ReduceMax(x)."""
    sub = view.producer(tensor)
    if not view.is_op(sub, "Sub"):
        return None
    highest = view.producer(sub.inputs[1])
    if not view.is_op(highest, "ReduceMax") or highest.inputs[0] is not sub.inputs[0]:
        return None
    return highest, sub


class WriteSoftmax(Composite):
    """`e / ReduceSum(e)` with `e = Exp(x - ReduceMax(x))` --> Softmax(x): case 8."""

    name: ClassVar[str] = "to-softmax"
    anchors: ClassVar[tuple[str, ...]] = ("Exp",)

    @classmethod
    def find(cls, node: gs.Node, view: View) -> Pattern | None:
        """The maximum, the difference, the exponential, the sum and the division, all along one axis."""
        below = _below_zero(node.inputs[0], view)
        if below is None:
            return None
        total = next((reader for reader in view.consumers(node.outputs[0]) if view.is_op(reader, "ReduceSum")), None)
        if total is None:
            return None
        quotient = view.sole_consumer(total.outputs[0])
        if not view.is_op(quotient, "Div") or quotient.inputs[0] is not node.outputs[0]:
            return None
        axis = _axis(below[0], view)
        if axis is None or axis != _axis(total, view):
            return None
        return Pattern("Softmax", (*below, node, total, quotient), (below[0].inputs[0],), {"axis": axis})


class WriteLogSoftmax(Composite):
    """`d - Log(ReduceSum(Exp(d)))` with `d = x - ReduceMax(x)` --> LogSoftmax(x): case 8."""

    name: ClassVar[str] = "to-log-softmax"
    anchors: ClassVar[tuple[str, ...]] = ("Log",)

    @classmethod
    def find(cls, node: gs.Node, view: View) -> Pattern | None:
        """The maximum, the difference, the exponential, the sum, the logarithm and what it is taken off."""
        total = view.producer(node.inputs[0])
        if not view.is_op(total, "ReduceSum"):
            return None
        exponential = view.producer(total.inputs[0])
        if not view.is_op(exponential, "Exp"):
            return None
        below, result = _below_zero(exponential.inputs[0], view), view.sole_consumer(node.outputs[0])
        if below is None or not view.is_op(result, "Sub") or result.inputs[0] is not exponential.inputs[0]:
            return None
        axis = _axis(below[0], view)
        if axis is None or axis != _axis(total, view):
            return None
        return Pattern("LogSoftmax", (*below, exponential, total, node, result), (below[0].inputs[0],), {"axis": axis})
