"""A scale and a shift of channels that come out of a Concat or a pooling, folded into the convolutions above it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline, Numerics, Rewrite
from roofwright.passes.fusion.affine import per_channel_affine
from roofwright.passes.fusion.batch_norm import scale_and_shift
from roofwright.passes.fusion.channels import CONVOLUTIONS, channels, fold_bias, fold_scale
from roofwright.passes.fusion.images import is_padded
from roofwright.passes.fusion.weights import NewWeight, Vector, WeightPass, only_reader

_POOLS = ("AveragePool", "GlobalAveragePool")
_ARITHMETIC = ("Mul", "Div", "Add", "Sub")
_ABOVE = ("Concat", *_POOLS)


@dataclass(frozen=True)
class _Part:
    """Channels of one tensor that are scaled and shifted before `reader` sees them."""

    tensor: gs.Tensor
    reader: gs.Node
    scale: Vector
    shift: Vector


@dataclass(frozen=True)
class FoldThrough(Rewrite):
    """BatchNormalization(Concat(Conv(x, V), Conv(y, W))) --> Concat(Conv(x, V'), Conv(y, W')): cases 1 to 3."""

    name: ClassVar[str] = "fold-through"
    anchors: ClassVar[tuple[str, ...]] = ("BatchNormalization", *_ARITHMETIC)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    source: gs.Tensor
    weights: tuple[NewWeight, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The node, what it reads, and the new weights of all convolutions above."""
        source = next((t for t in node.inputs if view.is_op(view.producer(t), *_ABOVE)), None)
        if source is None or source.shape is None or len(source.shape) < 3:
            return None
        count = source.shape[1]
        if not isinstance(count, int) or not _leads_to_convolutions(source, view):
            return None
        found = _factors(node, source, count, view)
        if found is None:
            return None
        return cls(node, source, tuple(_weights(_Part(source, node, *found), view)))

    def apply(self, edit: Edit) -> None:
        """The convolutions make what came out of the node."""
        for new in self.weights:
            new.write(edit)
        edit.bypass(self.node, self.source)


def _factors(node: gs.Node, source: gs.Tensor, count: int, view: View) -> tuple[Vector, Vector] | None:
    if node.op == "BatchNormalization":
        return scale_and_shift(node, count, view)
    affine = per_channel_affine(node, source, count, view)
    if affine is None:
        return None
    scale = np.ones(count) if affine.scale is None else affine.scale
    return scale, np.zeros(count) if affine.shift is None else affine.shift


def _above(node: gs.Node, view: View) -> list[gs.Tensor]:
    """What a Concat of channels or a pooling reads; nothing where it is another Concat."""
    if node.op != "Concat":
        return [node.inputs[0]]
    rank = view.rank(node.outputs[0])
    axis = view.attr(node, "axis", 1)
    known = all(view.rank(t) and isinstance(t.shape[1], int) for t in node.inputs)
    return list(node.inputs) if known and rank and axis % rank == 1 else []


def _leads_to_convolutions(source: gs.Tensor, view: View) -> bool:
    """Cheap look ahead: everything above is a Concat, a pooling, or in the end a convolution."""
    waiting = [source]
    while waiting:
        maker = view.producer(waiting.pop())
        if not view.is_op(maker, *_ABOVE, *CONVOLUTIONS):
            return False
        if maker.op in CONVOLUTIONS:
            continue
        above = _above(maker, view)
        if not above:
            return False
        waiting += above
    return True


def _weights(part: _Part, view: View) -> Iterator[NewWeight]:
    """The new weights of every convolution above, each with its slice of the scale and shift."""
    waiting = [part]
    while waiting:
        part = waiting.pop()
        only_reader(part.tensor, part.reader, view)
        maker = part.tensor.inputs[0]
        if maker.op in CONVOLUTIONS:
            found = channels(maker, view)
            if found is None:
                raise Decline(f"the channels of {part.tensor.name!r} are not known")
            yield fold_scale(found, part.scale, view)
            bias = fold_bias(found, part.scale, part.shift if np.any(part.shift) else None, view)
            yield from () if bias is None else (bias,)
            continue
        if maker.op == "AveragePool" and np.any(part.shift) and _averages_padding(maker, view):
            raise Decline("the AveragePool before it counts padding, which would not be shifted")
        waiting += _sliced(part, maker, view)


def _averages_padding(node: gs.Node, view: View) -> bool:
    beyond = is_padded(node, view) or view.attr(node, "ceil_mode", 0)
    return bool(view.attr(node, "count_include_pad", 0) and beyond)


def _sliced(part: _Part, maker: gs.Node, view: View) -> Iterator[_Part]:
    if maker.op != "Concat":
        yield replace(part, tensor=maker.inputs[0], reader=maker)
        return
    start = 0
    for tensor in maker.inputs:
        span = slice(start, start + tensor.shape[1])
        yield _Part(tensor, maker, part.scale[span], part.shift[span])
        start = span.stop


@dataclass(frozen=True)
class FuseJoined(WeightPass):
    """`y = BatchNormalization(Concat(Conv(x, V), Conv(z, W)))` --> `y = Concat(Conv(x, V'), Conv(z, W'))`.

    1. A normalisation, or Mul, Div, Add and Sub by one constant per channel, of a Concat of channels: every operand's
       convolution takes its slice of the scale and shift.
    2. Of an AveragePool or GlobalAveragePool: an average of scaled values is the scaled average, and so with a shift.
    3. Any nesting of the two.

    Declines when one of the values between has another reader (in a DenseNet every Concat reads what earlier ones did:
    its normalisations stay); an AveragePool counts padding and there is a shift; what `fuse-batch-norm` and
    `fuse-affine` decline. Where something above is neither a convolution nor such a node, nothing is done.

    Numerics: rounding; computed in float64.
    """

    name: ClassVar[str] = "fuse-joined"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "fold a scale and shift behind Concat or pooling into the convolutions above"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (FoldThrough,)
