"""BatchNormalization at inference, folded into the weights of the node before or after it."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline, Numerics, Rewrite
from roofwright.passes.fusion.channels import PRODUCERS, Channels, channels, fold_bias, fold_scale, write_fold
from roofwright.passes.fusion.inputs import fold_into_input_channels, write_input_fold
from roofwright.passes.fusion.weights import NewWeight, Vector, WeightPass, constant_weight, only_reader

FIRST_BATCH_NORM = 7  # before, inference was an attribute
_DEFAULT_EPSILON = float(np.float32(1e-5))
_PARAMETERS = ("scale", "bias", "mean", "variance")


def scale_and_shift(node: gs.Node, view: View) -> tuple[Vector, Vector]:
    """`(s, t)` with `BatchNormalization(x) = s * x + t` per channel; Decline where it is not that."""
    if view.attr(node, "training_mode", 0):
        raise Decline("it is in training mode")
    if not view.attr(node, "spatial", 1):
        raise Decline("it normalises every element on its own (spatial = 0)")
    if len(view.used_outputs(node)) > 1:
        raise Decline("it has more than one output, which before opset 14 means that it trains")
    vectors = []
    for position, what in enumerate(_PARAMETERS, start=1):
        value = constant_weight(node, position, view)
        if value is None or value.ndim != 1:
            raise Decline(f"its {what} is not a vector")
        vectors.append(value.astype(np.float64))
    if len({vector.size for vector in vectors}) != 1:
        raise Decline("its four vectors differ in length")
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
        producer = view.producer(view.input(node, 0))
        if producer is None or not view.is_op(producer, *PRODUCERS) or view.opset < FIRST_BATCH_NORM:
            return None
        found = channels(producer, view)
        if found is None or (found.axis != 1 and found.rank != 2):
            return None
        only_reader(node.inputs[0], node, view)
        scale, shift = scale_and_shift(node, view)
        if scale.size != found.count:
            raise Decline(f"it has {scale.size} channels, its {producer.op} has {found.count}")
        weight, bias = fold_scale(found, scale, view), fold_bias(found, scale, shift, view)
        return cls(node, found, (weight,) if bias is None else (weight, bias))

    def apply(self, edit: Edit) -> None:
        """The producer makes what the normalisation made."""
        write_fold(self.found, self.weights, self.node, edit)


@dataclass(frozen=True)
class FoldForward(Rewrite):
    """Conv(BatchNormalization(x), W, b) --> Conv(x, W', b'): case 6."""

    name: ClassVar[str] = "fold-batch-norm-forward"
    anchors: ClassVar[tuple[str, ...]] = ("BatchNormalization",)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    consumer: gs.Node
    weights: tuple[NewWeight, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The normalisation, the convolution that alone reads it, and that one's new weights."""
        consumer = view.sole_consumer(node.outputs[0])
        if consumer is None or not view.is_op(consumer, "Conv") or view.opset < FIRST_BATCH_NORM:
            return None
        if consumer.inputs[0] is not node.outputs[0]:
            return None
        scale, shift = scale_and_shift(node, view)
        return cls(node, consumer, fold_into_input_channels(consumer, scale, shift, view))

    def apply(self, edit: Edit) -> None:
        """The convolution reads what the normalisation read."""
        write_input_fold(self.consumer, self.weights, self.node, self.node.inputs[0], edit)


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
