"""RotaryEmbedding written out: halves of the last axis swapped, one negated, and two products."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import View
from roofwright.passes.cleanup.constant_inputs import has_operand, integers, slice_bounds
from roofwright.passes.fusion.composite import Composite, Input, Pattern, pair, read_by

_RANK = 4  # (batch, heads, sequence, head)


@dataclass(frozen=True)
class _Swapped:
    """`Concat(-x[..., half:], x[..., :half])`: its nodes and `x`."""

    nodes: tuple[gs.Node, ...]
    source: gs.Tensor


def _half(tensor: gs.Tensor, number: int, size: int, view: View) -> gs.Node | None:
    """The node that makes `tensor`, where that is half `number` of the last of four axes of what the node reads."""
    node = view.producer(tensor)
    if view.is_op(node, "Split"):
        parts = integers(node, view, "split", 1)
        is_even = parts == [size // 2] * 2 if has_operand(node, view, "split", 1) else len(node.outputs) == 2
        is_last = view.attr(node, "axis", 0) in (-1, _RANK - 1)
        return node if is_even and is_last and tensor is node.outputs[number] else None
    bounds = slice_bounds(node, view) if view.is_op(node, "Slice") else None
    if bounds is None or bounds[2:] != ([_RANK - 1], [1]):
        return None
    start, end = bounds[0][0], bounds[1][0]
    is_half = (start, end) == (0, size // 2) if number == 0 else start == size // 2 and end >= size
    return node if is_half else None


def _swapped(concat: gs.Node, view: View) -> _Swapped | None:
    shape = concat.outputs[0].shape or []
    if len(shape) != _RANK or not isinstance(shape[-1], int) or shape[-1] % 2:
        return None
    neg = view.producer(concat.inputs[0])
    if not view.is_op(neg, "Neg") or len(concat.inputs) != 2:
        return None
    high, low = _half(neg.inputs[0], 1, shape[-1], view), _half(concat.inputs[1], 0, shape[-1], view)
    if high is None or low is None or high.inputs[0] is not low.inputs[0]:
        return None
    cuts = (high,) if high is low else (low, high)
    return _Swapped((*cuts, neg, concat), low.inputs[0])


class WriteRotary(Composite):
    """`x * c + Concat(-x[half:], x[:half]) * s` --> RotaryEmbedding(x, c[:half], s[:half]): case 9."""

    name: ClassVar[str] = "to-rotary-embedding"
    anchors: ClassVar[tuple[str, ...]] = ("Concat",)

    @classmethod
    def find(cls, node: gs.Node, view: View) -> Pattern | None:
        """The two cuts, the Neg, the Concat, both products and their sum."""
        swapped = _swapped(node, view)
        if swapped is None:
            return None
        by_sine = read_by(node.outputs[0], view, "Mul")
        if by_sine is None:
            return None
        add = read_by(by_sine[0].outputs[0], view, "Add")
        if add is None:
            return None
        by_cosine = pair(view.producer(add[1]), view, "Mul", swapped.source)
        if by_cosine is None:
            return None
        nodes = (*swapped.nodes, by_sine[0], by_cosine[0], add[0])
        cosine, sine = by_cosine[1], by_sine[1]
        tables = [_table(tensor, swapped.source, view) for tensor in (cosine, sine)]
        if any(table is None for table in tables):
            reason = "its cosines and sines are not constants with two equal halves for every place of the sequence"
            return Pattern("RotaryEmbedding", nodes, (swapped.source, cosine, sine), {}, reason)
        return Pattern("RotaryEmbedding", nodes, (swapped.source, *tables, _places(swapped.source)))


def _table(tensor: gs.Tensor, source: gs.Tensor, view: View) -> Input:
    """One half of a constant (1, 1, sequence, head) as (sequence, half); None where it is not that."""
    shape, value = view.static_shape(source), view.constant_value(tensor)
    if shape is None or value is None:
        return None
    sequence, head = shape[-2:]
    if value.shape not in ((1, 1, sequence, head), (sequence, head)):
        return None
    flat = value.reshape(sequence, head)
    return flat[:, : head // 2] if np.array_equal(flat[:, : head // 2], flat[:, head // 2 :]) else None


def _places(source: gs.Tensor) -> Input:
    """The place in the sequence of every row: the tables are shared by all samples."""
    batch, _, sequence, _ = source.shape
    return np.broadcast_to(np.arange(sequence, dtype=np.int64), (batch, sequence))
