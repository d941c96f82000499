"""GroupNormalization written as an InstanceNormalization of groups, between two Reshapes."""

from typing import ClassVar

import onnx_graphsurgeon as gs

from roofwright.graph import View
from roofwright.passes.cleanup.constant_inputs import all_equal
from roofwright.passes.fusion.composite import Composite, Pattern
from roofwright.passes.fusion.norms import Scaled, filled, operand, with_affine


class WriteGroupNorm(Composite):
    """Reshape(InstanceNormalization(Reshape(x, [0, g, -1]), 1, 0)) * s + b --> GroupNormalization(x, s, b): case 7."""

    name: ClassVar[str] = "to-group-normalization"
    anchors: ClassVar[tuple[str, ...]] = ("InstanceNormalization",)

    @classmethod
    def find(cls, node: gs.Node, view: View) -> Pattern | None:
        """The Reshapes around the normalization of groups, and scale and bias behind."""
        before, after = view.producer(node.inputs[0]), view.sole_consumer(node.outputs[0])
        if not view.is_op(before, "Reshape") or not view.is_op(after, "Reshape"):
            return None
        groups, source = _groups(node, view), before.inputs[0]
        shape, grouped, result = (list(t.shape or ()) for t in (source, node.inputs[0], after.outputs[0]))
        if groups is None or None in shape or shape != result or shape[:1] != grouped[:1]:
            return None
        channels = shape[1] if len(shape) > 1 else None
        if not isinstance(channels, int) or channels % groups:
            return None
        found = with_affine(Scaled((before, node, after), source), (channels, *(1,) * (len(shape) - 2)), True, view)
        if not all(tensor is None or view.is_constant(tensor) for tensor in (found.scale, found.bias)):
            found = Scaled((before, node, after), source)
        scale, bias = (operand(tensor, (channels,), view) for tensor in (found.scale, found.bias))
        dtype = view.dtype(source)
        ones, zeros = filled((channels,), dtype), filled((channels,), dtype, 0.0)
        inputs = (source, ones if scale is None else scale, zeros if bias is None else bias)
        attrs = {"num_groups": groups, "epsilon": view.attr(node, "epsilon", 1e-5)}
        obstacle = "" if dtype == "float32" else f"its means are computed in {dtype}, those of the operator in float32"
        return Pattern("GroupNormalization", found.nodes, inputs, attrs, obstacle)


def _groups(node: gs.Node, view: View) -> int | None:
    """The number of groups, where the normalization itself has scale 1 and bias 0."""
    scale, bias = view.constant_value(view.input(node, 1)), view.constant_value(view.input(node, 2))
    if scale is None or bias is None or not all_equal(bias, 0):
        return None
    return int(scale.size) if all_equal(scale, 1) else None
