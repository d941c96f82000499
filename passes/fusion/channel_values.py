"""What the channels of a convolution carry on their way to the next ones: constants, followed node by node."""

from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import View
from roofwright.passes.fusion.affine import per_channel_affine
from roofwright.passes.fusion.batch_norm import scale_and_shift
from roofwright.passes.fusion.images import IMAGE_RANK, POOLS, is_depthwise, is_padded, joins_channels
from roofwright.passes.fusion.weights import Array, Vector, constant_weight, given_weight

ARITHMETIC = ("Mul", "Div", "Add", "Sub")
Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Channel:
    """What is known of the channels of one tensor that come from the producer.

    Attributes:
        tensor: the tensor.
        start: the first of them, behind the channels that a Concat put before it.
        value: per channel its constant value; not a number where it varies.
    """

    tensor: gs.Tensor
    start: int
    value: Vector


@dataclass
class Region:
    """A producer, everything that works on its channels one by one, and the convolutions at the ends."""

    inner: list[tuple[gs.Node, int]] = field(default_factory=list)
    tensors: list[tuple[gs.Tensor, int]] = field(default_factory=list)
    ends: list[tuple[gs.Node, Channel]] = field(default_factory=list)


def zero_rows(weight: Array) -> Bits:
    """Output channels whose weights are all 0."""
    return ~np.asarray(weight.reshape(weight.shape[0], -1).any(axis=1))


def region_of(start: Channel, view: View) -> Region | None:
    """Everything down to the next convolutions; None where something else reads a value on the way."""
    region, waiting, met = Region(), [start], set[int]()
    while waiting:
        here = waiting.pop()
        tensor = here.tensor
        known = tensor.shape and len(tensor.shape) == IMAGE_RANK and isinstance(tensor.shape[1], int)
        if not known or view.is_output(tensor):
            return None
        region.tensors.append((tensor, here.start))
        for reader in view.consumers(tensor):
            if id(reader) in met or sum(t is tensor for t in reader.inputs) != 1:
                return None  # a node that is reached twice would lose two sets of channels
            met.add(id(reader))
            if view.is_op(reader, "Conv") and view.attr(reader, "group", 1) == 1 and reader.inputs[0] is tensor:
                region.ends.append((reader, here))
                continue
            below = _through(reader, here, view)
            if below is None:
                return None
            region.inner.append((reader, here.start))
            waiting.append(below)
    return region


def _through(node: gs.Node, here: Channel, view: View) -> Channel | None:
    """The same channels behind a node that works on each by itself; None where it does not."""
    out = node.outputs[0]
    if len(view.used_outputs(node)) != 1:
        return None
    if joins_channels(node, view):
        before = node.inputs[: next(k for k, t in enumerate(node.inputs) if t is here.tensor)]
        return Channel(out, here.start + sum(t.shape[1] for t in before), here.value)
    value = _value(node, here, view)
    return None if value is None else Channel(out, here.start, value)


def _value(node: gs.Node, here: Channel, view: View) -> Vector | None:
    """The constants behind a node; None where it mixes channels or is not known."""
    if view.is_op(node, "Relu"):
        return np.maximum(here.value, 0.0)
    if view.is_op(node, "LeakyRelu"):
        return np.where(here.value < 0, here.value * float(view.attr(node, "alpha", 0.01)), here.value)
    if view.is_op(node, "Clip"):
        return _clipped(node, here, view)
    if view.is_op(node, *POOLS):
        return _pooled(node, here, view)
    if is_depthwise(node, view):
        return _filtered(node, here, view)
    span = slice(here.start, here.start + here.value.size)
    if view.is_op(node, "BatchNormalization"):
        scale, shift = scale_and_shift(node, here.tensor.shape[1], view)
        return here.value * scale[span] + shift[span]
    if view.is_op(node, *ARITHMETIC):
        affine = per_channel_affine(node, here.tensor, here.tensor.shape[1], view)
        if affine is None:
            return None
        scaled = here.value if affine.scale is None else here.value * affine.scale[span]
        return scaled if affine.shift is None else scaled + affine.shift[span]
    return None


def _clipped(node: gs.Node, here: Channel, view: View) -> Vector | None:
    bounds = []
    for position, what in ((1, "min"), (2, "max")):
        given = view.input(node, position)
        value = view.attr(node, what) if given is None else view.scalar(given)
        if given is not None and value is None:
            return None
        bounds.append(value)
    low, high = bounds
    value = here.value if low is None else np.maximum(here.value, low)
    return value if high is None else np.minimum(value, high)


def _pooled(node: gs.Node, here: Channel, view: View) -> Vector:
    """An average over counted padding is no constant, unless that is 0 itself."""
    counts = node.op == "AveragePool" and view.attr(node, "count_include_pad", 0)
    if counts and (is_padded(node, view) or view.attr(node, "ceil_mode", 0)):
        return np.where(here.value == 0, 0.0, np.nan)
    return here.value


def _filtered(node: gs.Node, here: Channel, view: View) -> Vector:
    """A depthwise convolution: a filter of zeros makes a channel constant, and padding makes one vary at the border."""
    weight, bias = given_weight(node, 1, view), constant_weight(node, 2, view)
    span = slice(here.start, here.start + here.value.size)
    filters = weight[span].astype(np.float64)
    value = here.value * filters.sum(axis=(1, 2, 3))
    if is_padded(node, view):
        value = np.where(here.value == 0, 0.0, np.nan)
    value = np.where(zero_rows(filters), 0.0, value)
    return value if bias is None else value + bias[span].astype(np.float64)
