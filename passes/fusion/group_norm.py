"""GroupNormalization written as an InstanceNormalization of groups, between two Reshapes."""

from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import View
from roofwright.passes.fusion.composite import Composite, Pattern
from roofwright.passes.fusion.norms import Scaled, filled, operand, with_affine

_GROUPED_RANK = 3  # (batch, group, what is normalised together)


class WriteGroupNorm(Composite):
    """Reshape(InstanceNormalization(Reshape(x, [0, g, -1]), 1, 0)) * s + b --> GroupNormalization(x, s, b): case 7."""

    name: ClassVar[str] = "to-group-normalization"
    anchors: ClassVar[tuple[str, ...]] = ("InstanceNormalization",)

    @classmethod
    def find(cls, node: gs.Node, view: View) -> Pattern | None:
        """The Reshapes around the normalization of groups, and scale and bias behind."""
        before, after = view.producer(node.inputs[0]), view.sole_consumer(node.outputs[0])
        if before is None or after is None or not (view.is_op(before, "Reshape") and view.is_op(after, "Reshape")):
            return None
        source, grouped = before.inputs[0], node.inputs[0].shape
        groups = _groups(node, view)
        if groups is None or grouped is None or len(grouped) != _GROUPED_RANK or grouped[1] != groups:
            return None
        shape, result = source.shape, after.outputs[0].shape
        if shape is None or result is None or list(shape) != list(result) or None in shape or shape[0] != grouped[0]:
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
    if scale is None or bias is None:
        return None
    return int(scale.size) if np.all(scale == 1) and np.all(bias == 0) else None
