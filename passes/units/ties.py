"""Ties: which tensors around a node keep their channels in the same order, and which parameters follow that order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import View
from roofwright.passes.cleanup.constant_inputs import integers, normalised
from roofwright.passes.fusion.weights import Array
from roofwright.passes.units.routes import CHANNEL_AXIS, channel_count

_MAPS = (
    *("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Clip", "Sigmoid", "HardSigmoid", "Tanh"),
    *("HardSwish", "Softplus", "Softsign", "Mish", "Gelu", "Swish", "Erf", "Exp", "Log", "Sqrt", "Abs", "Neg", "Sign"),
    *("Floor", "Ceil", "Round", "Reciprocal", "Cast", "Identity", "Add", "Sub", "Mul", "Div", "Min", "Max"),
    *("Sum", "Mean", "Pow", "Where", "Equal", "Greater", "Less", "And", "Or", "Not", "Xor"),
)
_POOLS = ("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
_REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceProd")
_VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
_FIRST_BROADCASTING = 7


@dataclass(frozen=True)
class Follower:
    """A constant with one entry per channel along `axis`; with `groups`, along that axis of each group's own part."""

    node: gs.Node
    position: int
    axis: int
    groups: int = 1

    def permuted(self, values: Array, order: NDArray[np.int64]) -> Array:
        """The constant for channels in another order: entry i is the old entry `order[i]`."""
        if self.groups == 1:
            return np.take(values, order, self.axis)
        parts = values.reshape(self.groups, -1, *values.shape[1:])
        size = order.size // self.groups
        inside = (order % size).reshape(self.groups, 1, size, *(1,) * (values.ndim - 2))
        return np.take_along_axis(parts, inside, 2).reshape(values.shape)


@dataclass(frozen=True)
class Tie:
    """Inputs and outputs of a node whose channels are in one order.

    Attributes:
        inputs, outputs: positions.
        followers: parameters in the same order.
        groups: channels may be permuted inside this many equal parts only.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    followers: tuple[Follower, ...] = ()
    groups: int = 1


def ties(node: gs.Node, view: View) -> tuple[Tie, ...]:
    """The ties of a node; empty where its channels must stay as they are."""
    rule = _RULES.get(node.op) if view.is_op(node, node.op) else None
    if rule is None or view.opset < _FIRST_BROADCASTING or len(view.used_outputs(node)) != 1:
        return ()
    return rule(node, view)


def _map(node: gs.Node, view: View) -> tuple[Tie, ...]:
    """Elementwise, operands aligned at their last axes."""
    whole, count = node.outputs[0].shape, channel_count(node.outputs[0])
    if whole is None:
        return ()
    tied, followers = [], []
    for position, tensor in enumerate(node.inputs):
        if not tensor.name:
            continue
        if tensor.shape is None:
            return ()
        axis = len(tensor.shape) - len(whole) + CHANNEL_AXIS
        if axis < 0 or tensor.shape[axis] == 1:
            continue
        if tensor.shape[axis] != count:
            return ()
        if view.is_constant(tensor):
            followers.append(Follower(node, position, axis))
        elif axis == CHANNEL_AXIS:
            tied.append(position)
        else:
            return ()
    return (Tie(tuple(tied), (0,), tuple(followers)),)


def _along(node: gs.Node, view: View) -> tuple[Tie, ...]:
    """Channel by channel, nothing to permute."""
    return (Tie((0,), (0,)),)


def _view(node: gs.Node, view: View) -> tuple[Tie, ...]:
    """The first two sizes stay, so that only what is inside a channel is named anew."""
    before, after = (node.inputs[0].shape or [None])[:2], (node.outputs[0].shape or [])[:2]
    return (Tie((0,), (0,)),) if before == after and None not in before else ()


def _reduction(node: gs.Node, view: View) -> tuple[Tie, ...]:
    axes, rank = integers(node, view, "axes", 1), view.rank(node.inputs[0])
    found = None if axes is None or rank is None else normalised(axes, rank)
    return (Tie((0,), (0,)),) if found and min(found) > CHANNEL_AXIS else ()


def _normalisation(node: gs.Node, view: View) -> tuple[Tie, ...]:
    if not all(view.is_constant(tensor) for tensor in node.inputs[1:]):
        return ()
    return (Tie((0,), (0,), tuple(Follower(node, position, 0) for position in range(1, len(node.inputs)))),)


def _convolution(node: gs.Node, view: View) -> tuple[Tie, ...]:
    """Dense and grouped ones take an order apart from the one they give; a depthwise one hands it on."""
    weight, bias = view.input(node, 1), view.input(node, 2)
    shape, groups = view.static_shape(weight) or (), view.attr(node, "group", 1)
    if not view.is_constant(weight) or not (bias is None or view.is_constant(bias)):
        return ()
    biases = () if bias is None else (Follower(node, 2, 0),)
    if node.op == "ConvTranspose":
        taken, given = Tie((0,), (), (Follower(node, 1, 0),)), Tie((), (0,), (Follower(node, 1, 1), *biases))
        return (taken, given) if groups == 1 else ()
    if groups > 1 and shape[:2] == (groups, 1):
        return (Tie((0,), (0,), (Follower(node, 1, 0), *biases)),)
    taken = Tie((0,), (), (Follower(node, 1, 1, groups),), groups)
    return (taken, Tie((), (0,), (Follower(node, 1, 0), *biases), groups))


def _matrix(node: gs.Node, view: View) -> tuple[Tie, ...]:
    """Rank 2: channels are the columns."""
    weight, bias = view.input(node, 1), view.input(node, 2)
    shape = view.static_shape(weight) or ()
    if len(shape) != 2 or view.rank(node.inputs[0]) != 2 or view.attr(node, "transA", 0):
        return ()
    if not view.is_constant(weight) or not (bias is None or view.is_constant(bias)):
        return ()
    flipped = 1 if view.attr(node, "transB", 0) else 0
    columns, biased = shape[1 - flipped], view.static_shape(bias) or ()
    biases = (Follower(node, 2, len(biased) - 1),) if columns > 1 and biased[-1:] == (columns,) else ()
    return (Tie((0,), (), (Follower(node, 1, flipped),)), Tie((), (0,), (Follower(node, 1, 1 - flipped), *biases)))


_RULES: Mapping[str, Callable[[gs.Node, View], tuple[Tie, ...]]] = {
    **dict.fromkeys(_MAPS, _map),
    **dict.fromkeys(_POOLS, _along),
    **dict.fromkeys(_REDUCTIONS, _reduction),
    **dict.fromkeys(_VIEWS, _view),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization"), _normalisation),
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolution),
    **dict.fromkeys(("Gemm", "MatMul"), _matrix),
}
