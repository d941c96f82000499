"""Nodes with one weight vector per output channel: how a scale and a shift of their output go into them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View, dtype_number, numpy_dtype
from roofwright.passes.base import Decline
from roofwright.passes.fusion.weights import (
    FLOATS,
    Array,
    NewWeight,
    Vector,
    constant_weight,
    given_weight,
    in_groups,
    scaled,
    stored,
)

CONVOLUTIONS = ("Conv", "ConvTranspose")
PRODUCERS = (*CONVOLUTIONS, "Gemm", "MatMul", "BatchNormalization")


@dataclass(frozen=True)
class Channels:
    """The output channels of a producer.

    Attributes:
        node: Conv, ConvTranspose, Gemm, MatMul or BatchNormalization.
        count: how many.
        axis: counted from the front of the output (1: convolutions, normalisation) or from its end (-1: Gemm, MatMul).
        rank: dimensions of the output where known.
    """

    node: gs.Node
    count: int
    axis: int
    rank: int | None


def channels(node: gs.Node | None, view: View) -> Channels | None:
    """The channels of a producer whose weight has a known shape; None for other nodes."""
    if not view.is_op(node, *PRODUCERS):
        return None
    shape = view.static_shape(view.input(node, 1))
    if shape is None or view.dtype(node.inputs[1]) not in FLOATS:
        return None
    if node.op in CONVOLUTIONS:
        count = shape[0] if node.op == "Conv" else shape[1] * view.attr(node, "group", 1)
        return Channels(node, count, 1, len(shape))
    if node.op == "BatchNormalization":
        return Channels(node, shape[0], 1, view.rank(node.outputs[0])) if _is_inference(node, view) else None
    if len(shape) != 2:
        return None
    if node.op == "MatMul":
        return Channels(node, shape[1], -1, view.rank(node.outputs[0]) or view.rank(node.inputs[0]))
    return Channels(node, shape[0 if view.attr(node, "transB", 0) else 1], -1, 2)


def _is_inference(node: gs.Node, view: View) -> bool:
    trains = bool(view.attr(node, "training_mode", 0)) or len(view.used_outputs(node)) > 1
    return not trains and bool(view.attr(node, "spatial", 1))


def fold_scale(found: Channels, scale: Vector, view: View) -> NewWeight:
    """The weight whose output channel `m` is multiplied by `scale[m]`; Decline where that cannot be stored."""
    node = found.node
    weight = given_weight(node, 1, view)
    if node.op == "ConvTranspose":
        return NewWeight(node, 1, _scaled_transposed(weight, scale, view.attr(node, "group", 1)))
    by_rows = node.op in ("Conv", "BatchNormalization") or bool(node.op == "Gemm" and view.attr(node, "transB", 0))
    shape = (-1, *(1,) * (weight.ndim - 1)) if by_rows else (1, -1)
    return NewWeight(node, 1, scaled(weight, scale.reshape(shape), "weight"))


def _scaled_transposed(weight: Array, scale: Vector, groups: int) -> Array:
    """W is (C, M/g, k...): rows of group `g` make the channels g*(M/g) to (g+1)*(M/g)."""
    factors = scale.reshape(groups, 1, weight.shape[1], *(1,) * (weight.ndim - 2))
    return scaled(in_groups(weight, groups), factors, "weight").reshape(weight.shape)


def fold_bias(found: Channels, scale: Vector | None, shift: Vector | None, view: View) -> NewWeight | None:
    """The bias `b * scale + shift`; None where there is neither a bias nor a shift.

    The `beta` of a Gemm, which multiplies its bias, is folded in; `write_fold` sets it to 1.
    """
    node = found.node
    bias = constant_weight(node, 2, view)
    if bias is None and shift is None:
        return None
    dtype = numpy_dtype(dtype_number(view.dtype(node.inputs[1]) or "float32")) if bias is None else bias.dtype
    values = np.zeros(found.count) if bias is None else bias.astype(np.float64) * _beta(node, view)
    if values.size not in (1, found.count) or values.shape[:-1] not in ((), (1,)):
        return _matrix_bias(found, values, scale, shift, dtype)
    total = np.broadcast_to(values.reshape(-1), (found.count,)) * (1.0 if scale is None else scale)
    return NewWeight(node, 2, stored(total + (0.0 if shift is None else shift), dtype, "bias"))


def _matrix_bias(found: Channels, values: Vector, scale: Vector | None, shift: Vector | None, dtype: Any) -> NewWeight:
    """A bias of a Gemm that differs by row."""
    if values.shape[-1] != found.count:
        raise Decline(f"the bias of {found.node.op} has shape {list(values.shape)}, not one value per channel")
    total = values * (1.0 if scale is None else scale) + (0.0 if shift is None else shift)
    return NewWeight(found.node, 2, stored(total, dtype, "bias"))


def _beta(node: gs.Node, view: View) -> float:
    return float(view.attr(node, "beta", 1.0)) if node.op == "Gemm" else 1.0


def write_fold(found: Channels, weights: tuple[NewWeight, ...], absorbed: gs.Node, edit: Edit) -> None:
    """Give the producer its new weights; it makes what `absorbed` made. A MatMul that gets a bias becomes a Gemm."""
    node = found.node
    for new in weights:
        new.write(edit)
    if any(new.position == 2 for new in weights) and node.op == "Gemm":
        edit.set_attrs(node, beta=None)  # the default is 1
    if node.op != "MatMul" or len(node.inputs) == 2:
        edit.absorb(node, absorbed)
        return
    inputs, out, name = list(node.inputs), absorbed.outputs[0], node.name or absorbed.outputs[0].name
    edit.remove(absorbed)
    edit.remove(node)
    edit.node("Gemm", inputs, [out], name=name, sources=(node, absorbed), before=node)
