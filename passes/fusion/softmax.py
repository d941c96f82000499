"""Softmax written out in exponentials."""

from typing import ClassVar

import onnx_graphsurgeon as gs

from roofwright.graph import View
from roofwright.passes.cleanup.constant_inputs import integers, normalised
from roofwright.passes.fusion.composite import Composite, Pattern


def _along(node: gs.Node | None, view: View, op: str) -> int | None:
    """The only axis, counted from the front, of a reduction `op` that keeps it."""
    if node is None or not view.is_op(node, op) or not view.attr(node, "keepdims", 1):
        return None
    axes, rank = integers(node, view, "axes", 1), view.rank(node.inputs[0])
    found = None if not axes or rank is None else normalised(axes, rank)
    return found[0] if found is not None and len(found) == 1 else None


class WriteSoftmax(Composite):
    """`e / ReduceSum(e)` with `e = Exp(x - ReduceMax(x))` --> Softmax(x): case 8."""

    name: ClassVar[str] = "to-softmax"
    anchors: ClassVar[tuple[str, ...]] = ("Exp",)

    @classmethod
    def find(cls, node: gs.Node, view: View) -> Pattern | None:
        """The maximum, the difference, the exponential, the sum and the division, all along one axis."""
        sub = view.producer(node.inputs[0])
        if sub is None or not view.is_op(sub, "Sub"):
            return None
        highest = view.producer(sub.inputs[1])
        axis = _along(highest, view, "ReduceMax")
        if highest is None or axis is None or highest.inputs[0] is not sub.inputs[0]:
            return None
        readers = view.consumers(node.outputs[0])
        total = next((reader for reader in readers if _along(reader, view, "ReduceSum") == axis), None)
        quotient = next((reader for reader in readers if view.is_op(reader, "Div")), None)
        if total is None or quotient is None or len(quotient.inputs) != 2:
            return None
        if quotient.inputs[0] is not node.outputs[0] or quotient.inputs[1] is not total.outputs[0]:
            return None
        return Pattern("Softmax", (highest, sub, node, total, quotient), (sub.inputs[0],), {"axis": axis})
