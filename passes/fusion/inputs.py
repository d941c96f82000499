"""A scale and a shift of the input channels of convolutions, folded into their weights."""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline
from roofwright.passes.fusion.images import is_padded
from roofwright.passes.fusion.weights import (
    Array,
    NewWeight,
    Vector,
    constant_weight,
    given_weight,
    in_groups,
    scaled,
    stored,
)


def convolutions_below(node: gs.Node, view: View) -> tuple[gs.Node, ...]:
    """The convolutions that read a node's result as their image; none where anything else reads it (U1)."""
    out = node.outputs[0]
    if view.is_output(out):
        return ()
    for reader in view.consumers(out):
        if not view.is_op(reader, "Conv") or not view.is_local(reader) or reader.inputs[0] is not out:
            return ()
    return tuple(view.consumers(out))


def input_channels(node: gs.Node, view: View) -> int | None:
    """How many channels a convolution reads, where its weight has a known shape."""
    shape = view.static_shape(node.inputs[1])
    return None if shape is None else int(shape[1] * view.attr(node, "group", 1))


def fold_into_input_channels(
    readers: Sequence[gs.Node], scale: Vector, shift: Vector, view: View
) -> tuple[NewWeight, ...]:
    """New weights and biases of `Conv(scale * x + shift)` as convolutions of x; Decline where there are none."""
    return tuple(new for reader in readers for new in _folded(reader, scale, shift, view))


def _folded(node: gs.Node, scale: Vector, shift: Vector, view: View) -> Iterator[NewWeight]:
    if np.any(shift) and is_padded(node, view):
        raise Decline("the convolution after it has padding, which would not be shifted")
    weight, groups = given_weight(node, 1, view), view.attr(node, "group", 1)
    yield NewWeight(node, 1, _scaled(weight, scale, groups))
    if np.any(shift):
        bias, added = constant_weight(node, 2, view), _shifted(weight, shift, groups)
        total = added if bias is None else bias.astype(np.float64) + added
        yield NewWeight(node, 2, stored(total, weight.dtype, "bias"))


def _by_input_channel(weight: Array, vector: Vector, groups: int) -> tuple[Array, Vector]:
    """W as (g, M/g, C/g, k...) and the vector beside its third axis."""
    return in_groups(weight, groups), vector.reshape(groups, 1, weight.shape[1], *(1,) * (weight.ndim - 2))


def _scaled(weight: Array, scale: Vector, groups: int) -> Array:
    grouped, factors = _by_input_channel(weight, scale, groups)
    return scaled(grouped, factors, "weight").reshape(weight.shape)


def _shifted(weight: Array, shift: Vector, groups: int) -> Vector:
    """What a constant `shift` per input channel adds to each output channel."""
    grouped, terms = _by_input_channel(weight, shift, groups)
    products = grouped.astype(np.float64) * terms
    return np.asarray(products.sum(axis=tuple(range(2, products.ndim))).reshape(-1), np.float64)


def write_input_fold(
    readers: Sequence[gs.Node], weights: tuple[NewWeight, ...], absorbed: gs.Node, source: gs.Tensor, edit: Edit
) -> None:
    """Give the readers of `absorbed` their new weights and `source` to read; `absorbed` goes."""
    for new in weights:
        new.write(edit)
    for reader in readers:
        edit.inherit(reader, (absorbed, reader))
        edit.set_input(reader, 0, source)
    edit.remove(absorbed)
