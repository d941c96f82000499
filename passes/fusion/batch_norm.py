"""BatchNormalization at inference, folded into the weights of the node before or after it."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline, Numerics, Rewrite
from roofwright.passes.fusion.channels import Channels, channels, fold_bias, fold_scale, write_fold
from roofwright.passes.fusion.inputs import (
    convolutions_below,
    fold_into_input_channels,
    input_channels,
    write_input_fold,
)
from roofwright.passes.fusion.weights import NewWeight, Vector, WeightPass, given_weight, only_reader

_FIRST_BATCH_NORM = 7  # before, inference was an attribute
_DEFAULT_EPSILON = float(np.float32(1e-5))
_PARAMETERS = (1, 2, 3, 4)  # inputs: scale, bias, mean, variance


def scale_and_shift(node: gs.Node, count: int, view: View) -> tuple[Vector, Vector]:
    """`(s, t)` with `BatchNormalization(x) = s * x + t` for each of `count` channels; Decline where it is not that."""
    if view.opset < _FIRST_BATCH_NORM:
        raise Decline("before opset 7 it is another operator")
    if view.attr(node, "training_mode", 0):
        raise Decline("it is in training mode")
    if not view.attr(node, "spatial", 1):
        raise Decline("it normalises every element on its own (spatial = 0)")
    if len(view.used_outputs(node)) > 1:
        raise Decline("it has more than one output, which before opset 14 means that it trains")
    vectors = [given_weight(node, position, view).astype(np.float64) for position in _PARAMETERS]
    if {vector.shape for vector in vectors} != {(count,)}:
        raise Decline(f"its parameters are not four vectors of {count} values")
    gamma, beta, mean, variance = vectors
    spread = variance + float(view.attr(node, "epsilon", _DEFAULT_EPSILON))
    if not np.all(spread > 0):
        raise Decline("variance + epsilon is not positive everywhere")
    scale = gamma / np.sqrt(spread)
    shift = beta - mean * scale
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        raise Decline("its scale or shift is not finite")
    return scale, shift


@dataclass(frozen=True)
class FoldBackward(Rewrite):
    """BatchNormalization(Conv(x, W, b)) --> Conv(x, W', b'): cases 1 to 5."""

    name: ClassVar[str] = "fold-batch-norm"
    anchors: ClassVar[tuple[str, ...]] = ("BatchNormalization",)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    found: Channels
    weights: tuple[NewWeight, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The normalisation, its producer and the producer's new weights."""
        found = channels(view.producer(node.inputs[0]), view)
        if found is None or (found.axis != 1 and found.rank != 2):
            return None
        only_reader(node.inputs[0], node, view)
        scale, shift = scale_and_shift(node, found.count, view)
        weight, bias = fold_scale(found, scale, view), fold_bias(found, scale, shift, view)
        return cls(node, found, (weight,) if bias is None else (weight, bias))

    def apply(self, edit: Edit) -> None:
        """The producer makes what the normalisation made."""
        write_fold(self.found, self.weights, self.node, edit)


@dataclass(frozen=True)
class FoldForward(Rewrite):
    """Conv(BatchNormalization(x), W, b) --> Conv(x, W', b'): cases 6 and 7."""

    name: ClassVar[str] = "fold-batch-norm-forward"
    anchors: ClassVar[tuple[str, ...]] = ("BatchNormalization",)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    readers: tuple[gs.Node, ...]
    weights: tuple[NewWeight, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The normalisation, the convolutions that alone read it, and their new weights."""
        readers = convolutions_below(node, view)
        count = input_channels(readers[0], view) if readers else None
        if count is None:
            return None
        scale, shift = scale_and_shift(node, count, view)
        return cls(node, readers, fold_into_input_channels(readers, scale, shift, view))

    def apply(self, edit: Edit) -> None:
        """The convolutions read what the normalisation read."""
        write_input_fold(self.readers, self.weights, self.node, self.node.inputs[0], edit)


@dataclass(frozen=True)
class FuseBatchNorm(WeightPass):
    """`y = BatchNormalization(Conv(x, W, b))` --> `y = Conv(x, W * s, b * s + t)`.

    with `s = gamma / sqrt(variance + epsilon)` and `t = beta - mean * s`, one number per output channel.

    1. Conv: channels are the first axis of W.
    2. ConvTranspose: W is (C, M/g, k...), channel `g*(M/g) + m` belongs to group `g`.
    3. Gemm: columns, or rows with `transB`; `alpha` stays, `beta` is folded into the bias.
    4. MatMul of rank 2 with a constant right side: becomes a Gemm.
    5. Another BatchNormalization: its scale and bias.
    6. The normalisation comes first and a Conv alone reads it: `s` scales the input channels of W, and `t` adds
       `sum(W * t)` to the bias. Padding would be zeros before the shift and not after it, so the Conv must have none,
       unless `t` is 0.
    7. Several convolutions and nothing else read the normalisation: case 6 in each of them.

    Declines when the producer's result has another reader; a weight, bias or parameter is not a constant or may be
    overridden; the parameters do not fit the channels; `variance + epsilon` is not positive; it trains; a folded value
    is not finite in the weight's type (65504 in float16) or so small that it would lose its precision; a shared weight
    is too large to copy. A normalisation without such a neighbour stays.

    Numerics: rounding; computed in float64.
    References: Jacob et al., CVPR 2018, arXiv:1712.05877, section 3.2.
    """

    name: ClassVar[str] = "fuse-batch-norm"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "fold BatchNormalization into Conv, ConvTranspose, Gemm and MatMul"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (FoldBackward, FoldForward)
