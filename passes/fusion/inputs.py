"""A scale and a shift of a convolution's input channels, folded into its weights."""

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline
from roofwright.passes.fusion.images import is_padded
from roofwright.passes.fusion.weights import Array, NewWeight, Vector, constant_weight, scaled, stored


def fold_into_input_channels(node: gs.Node, scale: Vector, shift: Vector, view: View) -> tuple[NewWeight, ...]:
    """New weight and bias of `Conv(scale * x + shift)` as a Conv of x; Decline where there is none."""
    if np.any(shift) and is_padded(node, view):
        raise Decline("the convolution after it has padding, which would not be shifted")
    weight = constant_weight(node, 1, view)
    groups = view.attr(node, "group", 1)
    if weight is None or weight.ndim < 3 or weight.shape[0] % groups or weight.shape[1] * groups != scale.size:
        raise Decline(f"it has {scale.size} channels, the convolution after it expects others")
    new = NewWeight(node, 1, _scaled(weight, scale, groups))
    if not np.any(shift):
        return (new,)
    bias = constant_weight(node, 2, view)
    added = _shifted(weight, shift, groups)
    total = added if bias is None else bias.astype(np.float64) + added
    return new, NewWeight(node, 2, stored(total, weight.dtype, "bias"))


def _by_input_channel(weight: Array, vector: Vector, groups: int) -> tuple[Array, Vector]:
    """W as (g, M/g, C/g, k...) and the vector beside its third axis."""
    grouped = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    return grouped, vector.reshape(groups, 1, weight.shape[1], *(1,) * (weight.ndim - 2))


def _scaled(weight: Array, scale: Vector, groups: int) -> Array:
    grouped, factors = _by_input_channel(weight, scale, groups)
    return scaled(grouped, factors, "weight").reshape(weight.shape)


def _shifted(weight: Array, shift: Vector, groups: int) -> Vector:
    """What a constant `shift` per input channel adds to each output channel."""
    grouped, terms = _by_input_channel(weight, shift, groups)
    products = grouped.astype(np.float64) * terms
    return np.asarray(products.sum(axis=tuple(range(2, products.ndim))).reshape(-1), np.float64)


def write_input_fold(
    consumer: gs.Node, weights: tuple[NewWeight, ...], absorbed: gs.Node, source: gs.Tensor, edit: Edit
) -> None:
    """Give the convolution its new weights and `source` to read; `absorbed` goes."""
    for new in weights:
        new.write(edit)
    edit.inherit(consumer, (absorbed, consumer))
    edit.remove(absorbed)
    edit.set_input(consumer, 0, source)
