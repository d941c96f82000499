"""Channels that carry a constant, or that nobody weighs, removed from between convolutions."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline, LocalPass, Numerics, Rewrite
from roofwright.passes.fusion.channel_values import ARITHMETIC, Bits, Channel, Region, region_of, zero_rows
from roofwright.passes.fusion.images import IMAGE_RANK, is_padded, with_channels
from roofwright.passes.fusion.weights import Array, NewWeight, Vector, constant_weight, given_weight, stored


@dataclass(frozen=True)
class RemoveChannels(Rewrite):
    """Conv(f(Conv(x, V, c)), W, b) with constant channels of f --> the same without them: cases 1 to 3."""

    name: ClassVar[str] = "remove-channels"
    anchors: ClassVar[tuple[str, ...]] = ("Conv",)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    inner: tuple[tuple[gs.Node, int], ...]
    tensors: tuple[tuple[gs.Tensor, int], ...]
    dead: tuple[int, ...]
    weights: tuple[NewWeight, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The producer, what lies between it and the ends, and all new weights."""
        if view.attr(node, "group", 1) != 1:
            return None
        weight = view.constant_value(view.input(node, 1))
        if weight is None or view.rank(node.outputs[0]) != IMAGE_RANK or not weight.size:
            return None
        rows = zero_rows(weight) if not weight[:, 0, 0, 0].all() else np.zeros(len(weight), bool)
        if not rows.any() and not _somebody_weighs_less(node, view):
            return None
        start = Channel(node.outputs[0], 0, _constant_rows(node, rows, view))
        region = region_of(start, view)
        if region is None:
            return None
        dead = np.ones(len(rows), bool)
        for end, seen in region.ends:
            dead &= _unneeded(end, seen, view)
        if dead.all():
            dead[0] = False  # a tensor without channels is no image
        if not dead.any():
            return None
        gone = np.flatnonzero(dead)
        return cls(
            node, tuple(region.inner), tuple(region.tensors), tuple(gone.tolist()),
            tuple(_new_weights(node, region, gone, view)),
        )  # fmt: skip

    def apply(self, edit: Edit) -> None:
        """Every tensor between becomes narrower; the ends carry what was constant in their bias."""
        for new in self.weights:
            new.write(edit)
        for node, _ in self.inner:
            if is_depthwise_by_group(node):
                edit.set_attrs(node, group=node.inputs[1].shape[0])
        for tensor, _ in self.tensors:
            shape = with_channels(tensor.shape, tensor.shape[1] - len(self.dead))
            edit.hand_over(tensor, edit.variable(f"{tensor.name}_kept", tensor.dtype, shape))


def is_depthwise_by_group(node: gs.Node) -> bool:
    """Whether a convolution of the region has one filter per channel: only those have groups there."""
    return bool(node.op == "Conv" and node.attrs.get("group", 1) != 1)


def _somebody_weighs_less(node: gs.Node, view: View) -> bool:
    """Cheap guard: the next convolution below may have a column of zeros."""
    tensor = node.outputs[0]
    for _ in range(3):
        reader = view.sole_consumer(tensor)
        if reader is None:
            return False
        if view.is_op(reader, "Conv") and view.attr(reader, "group", 1) == 1:
            weight = view.constant_value(reader.inputs[1])
            return weight is not None and not weight[:1, :, *[slice(1)] * (weight.ndim - 2)].all()
        tensor = reader.outputs[0]
    return False


def _constant_rows(node: gs.Node, rows: Bits, view: View) -> Vector:
    """Per output channel its constant value: the bias where all weights are 0."""
    bias = constant_weight(node, 2, view) if view.input(node, 2) is not None else None
    values = np.zeros(len(rows)) if bias is None else bias.astype(np.float64)
    return np.where(rows, values, np.nan)


def _unneeded(end: gs.Node, seen: Channel, view: View) -> Bits:
    """Channels that a convolution can do without: no weights for them, or a constant that its bias can carry."""
    weight = view.constant_value(end.inputs[1])
    if weight is None:
        return np.zeros(seen.value.size, bool)
    part = weight[:, seen.start : seen.start + seen.value.size]
    unweighed = ~np.asarray(part.any(axis=(0, *range(2, part.ndim))))
    carried = seen.value == 0 if is_padded(end, view) else np.isfinite(seen.value)
    return np.asarray(unweighed | carried)


def _new_weights(node: gs.Node, region: Region, gone: NDArray[np.int64], view: View) -> Iterator[NewWeight]:
    yield from _without(node, (1, 2), gone, 0, view)
    for inner, start in region.inner:
        if inner.op == "Conv":
            yield from _without(inner, (1, 2), gone + start, 0, view)
        elif inner.op == "BatchNormalization":
            yield from _without(inner, (1, 2, 3, 4), gone + start, 0, view)
        elif inner.op in ARITHMETIC:
            yield from _narrower(inner, gone + start, view)
    yield from _end_weights(region, gone, view)


def _without(
    node: gs.Node, positions: tuple[int, ...], gone: NDArray[np.int64], axis: int, view: View
) -> Iterator[NewWeight]:
    for position in positions:
        value = constant_weight(node, position, view)
        if value is not None:
            yield NewWeight(node, position, np.delete(value, gone, axis))


def _narrower(node: gs.Node, gone: NDArray[np.int64], view: View) -> Iterator[NewWeight]:
    """The constant of an arithmetic node, where it has one value per channel."""
    for position, tensor in enumerate(node.inputs):
        value = view.constant_value(tensor)
        if value is not None and value.size > 1:
            axis = next(axis for axis, size in enumerate(value.shape) if size > 1)
            yield NewWeight(node, position, np.delete(value, gone, axis))


def _end_weights(region: Region, gone: NDArray[np.int64], view: View) -> Iterator[NewWeight]:
    for end, seen in region.ends:
        weight, bias = given_weight(end, 1, view), constant_weight(end, 2, view)
        yield NewWeight(end, 1, np.delete(weight, gone + seen.start, 1))
        value = np.nan_to_num(seen.value[gone])
        if not np.any(value):
            continue
        sums = weight[:, gone + seen.start].astype(np.float64).sum(axis=tuple(range(2, weight.ndim)))
        total = sums @ value + (0.0 if bias is None else bias.astype(np.float64))
        yield NewWeight(end, 2, stored(np.asarray(total), weight.dtype, "bias"))


@dataclass(frozen=True)
class DropZeroSum(Rewrite):
    """Add(x, Conv(y, 0)) --> x: case 4."""

    name: ClassVar[str] = "drop-zero-branch"
    anchors: ClassVar[tuple[str, ...]] = ("Add",)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    kept: gs.Tensor

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The Add and the operand that is not zero."""
        for position, operand in enumerate(node.inputs[:2]):
            maker, other = view.producer(operand), node.inputs[1 - position]
            if not view.is_op(maker, "Conv") or not _is_zero(maker, view):
                continue
            shape = operand.shape
            if shape is None or list(shape) != list(other.shape or ()) or None in shape:
                raise Decline(f"{operand.name!r} is 0, but its shape is not known to be that of {other.name!r}")
            return cls(node, other) if view.can_bypass(node, other) else None
        return None

    def apply(self, edit: Edit) -> None:
        """Readers of the sum read the other operand."""
        edit.bypass(self.node, self.kept)


def _is_zero(node: gs.Node, view: View) -> bool:
    for tensor in node.inputs[1:]:
        value = view.constant_value(tensor)
        if tensor.name and (value is None or _has_any(value)):
            return False
    return True


def _has_any(values: Array) -> bool:
    """Whether something is not 0; mostly the first element is."""
    return bool(values.reshape(-1)[:1].any()) or bool(values.any())


@dataclass(frozen=True)
class FuseDeadChannels(LocalPass):
    """`y = Conv(Relu(Conv(x, V, c)), W, b)` with rows of zeros in V --> the same without those channels.

    1. A row of zeros in a convolution's weight makes a channel that is its bias everywhere. The constant is followed
       through Relu, LeakyRelu, Clip, BatchNormalization, arithmetic with constants, depthwise convolutions, pooling and
       Concat to the convolutions below, whose bias takes it up. Then the channel goes, everywhere.
    2. Padding (of a depthwise convolution, of a pooling that counts it, of the last convolution) would be 0 and not the
       constant: there only a constant of 0 is followed.
    3. Channels for which none of the convolutions below has a weight go too, whatever they carry.
    4. A sum with a convolution whose weights and bias are all 0 is its other operand.

    Left alone where anything else reads a value on the way. Declines when a constant would not be finite in the
    weight's type; a zero operand may have another shape.

    Numerics: rounding; exact for finite values otherwise (0 times infinity is not 0).
    References: Li et al., ICLR 2017, arXiv:1608.08710 (filters pruned away).
    """

    name: ClassVar[str] = "fuse-dead-channels"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "remove channels that are constant or that nobody weighs"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (RemoveChannels, DropZeroSum)
