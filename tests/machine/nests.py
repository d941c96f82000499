"""Which elements a loop nest touches: arrays of flat indices, -1 for padding.

left[g, p, w, c, t] and right[g, k, c, t] are multiplied and summed over c (in channels) and t (taps) into
out[g, p, w, k]; g are the copies, p the output rows of all images, k the out channels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Nest:
    """The three operands of a nest; `image_rows` output rows belong to one image."""

    left: Ints
    right: Ints
    out: Ints
    image_rows: int


def _flat(shape: Sequence[int]) -> Ints:
    return np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)


def nest_of(node: gs.Node, shapes: Shapes) -> Nest | None:
    """The nest of a Conv, Gemm or MatMul; None for other operators."""
    made = {"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul}.get(node.op)
    return made(node, shapes) if made else None


def padded_windows(size: int, out: int, kernel: int, stride: int, dilation: int, begin: int) -> Ints:
    """Input position of every (output, tap) along one axis, -1 where it is padding."""
    at = np.arange(out)[:, None] * stride + np.arange(kernel) * dilation - begin
    return np.where((at >= 0) & (at < size), at, -1)


def window_ints(node: gs.Node, name: str, default: int, count: int) -> list[int]:
    """A per-axis attribute of a convolution or pool."""
    return list(node.attrs.get(name) or [default] * count)


def _conv(node: gs.Node, shapes: Shapes) -> Nest:
    (n, channels, in_h, in_w), weights = shapes[node.inputs[0].name], shapes[node.inputs[1].name]
    _, many, out_h, out_w = shapes[node.outputs[0].name]
    groups = int(node.attrs.get("group", 1))
    strides, dilations = window_ints(node, "strides", 1, 2), window_ints(node, "dilations", 1, 2)
    pads = window_ints(node, "pads", 0, 4)
    at_h = padded_windows(in_h, out_h, weights[2], strides[0], dilations[0], pads[0])
    at_w = padded_windows(in_w, out_w, weights[3], strides[1], dilations[1], pads[1])
    image = (np.arange(n) * channels)[:, None] + np.arange(channels)  # [n, c]
    each = channels // groups
    image = image.reshape(n, groups, each).transpose(1, 0, 2)  # [g, n, c]
    plane = at_h[:, None, :, None] * in_w + at_w[None, :, None, :]  # [oh, ow, r, s]
    plane = np.where((at_h[:, None, :, None] >= 0) & (at_w[None, :, None, :] >= 0), plane, -1)
    plane = plane.reshape(out_h, out_w, -1)
    left = image[:, :, None, None, :, None] * in_h * in_w + plane[None, None, :, :, None, :]
    left = np.where(plane[None, None, :, :, None, :] >= 0, left, -1).reshape(groups, n * out_h, out_w, each, -1)
    right = _flat(weights).reshape(groups, many // groups, each, -1)
    out = _flat((n, groups, many // groups, out_h, out_w)).transpose(1, 0, 3, 4, 2)
    return Nest(left, right, out.reshape(groups, n * out_h, out_w, many // groups), out_h)


def _gemm(node: gs.Node, shapes: Shapes) -> Nest:
    left, right = _flat(shapes[node.inputs[0].name]), _flat(shapes[node.inputs[1].name])
    left = left.T if node.attrs.get("transA", 0) else left
    right = right if node.attrs.get("transB", 0) else right.T
    out = _flat(shapes[node.outputs[0].name])
    return Nest(left[None, :, None, :, None], right[None, :, :, None], out[None, :, None, :], len(left))


def _matmul(node: gs.Node, shapes: Shapes) -> Nest:
    left, right = _flat(shapes[node.inputs[0].name]), _flat(shapes[node.inputs[1].name])
    assert min(left.ndim, right.ndim) >= 2
    rank = max(left.ndim, right.ndim) - 2
    left, right = (a.reshape((1,) * (rank + 2 - a.ndim) + a.shape) for a in (left, right))
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    out = _flat((*batch, left.shape[-2], right.shape[-1]))
    left = np.broadcast_to(left, (*batch, *left.shape[-2:]))
    copies = [axis for axis in range(rank) if right.shape[axis] != 1]
    folded = [axis for axis in range(rank) if right.shape[axis] == 1]
    order = (*copies, *folded, rank, rank + 1)
    repeat = int(np.prod([batch[axis] for axis in copies], dtype=np.int64))
    left, out = (a.transpose(order).reshape(repeat, -1, a.shape[-1]) for a in (left, out))
    right = right.transpose(order).reshape(repeat, *right.shape[-2:]).transpose(0, 2, 1)
    return Nest(left[:, :, None, :, None], right[:, :, :, None], out[:, :, None, :], left.shape[1])


def product(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Sum over in channels and taps."""
    return np.asarray(np.einsum("gpwct,gkct->gpwk", left.astype(np.float64), right.astype(np.float64)))
