"""Questions about convolutions of images and what joins their channels, shared by several passes."""

from typing import Any, TypeGuard

import onnx_graphsurgeon as gs

from roofwright.graph import View

IMAGE_RANK = 4
POOLS = ("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool")


def joins_channels(node: gs.Node | None, view: View) -> TypeGuard[gs.Node]:
    """Whether a node is a Concat of the second axis of images whose channel counts are known."""
    if not view.is_op(node, "Concat") or len(node.inputs) < 2:
        return False
    shapes = [tensor.shape for tensor in node.inputs]
    if any(shape is None or len(shape) != IMAGE_RANK or not isinstance(shape[1], int) for shape in shapes):
        return False
    return view.attr(node, "axis", 1) in (1, 1 - IMAGE_RANK)


def is_depthwise(node: gs.Node | None, view: View) -> TypeGuard[gs.Node]:
    """Whether a node is a convolution with one filter per channel."""
    if not view.is_op(node, "Conv"):
        return False
    return (view.static_shape(node.inputs[1]) or ())[:2] == (view.attr(node, "group", 1), 1)


def is_padded(node: gs.Node, view: View) -> bool:
    """Whether a convolution or pooling reads beyond the border."""
    return view.attr(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID") or any(view.attr(node, "pads", ()))


def with_channels(shape: Any, count: int) -> list[Any]:
    """The shape of an image with another number of channels."""
    return [shape[0], count, *shape[2:]]
