"""RotaryEmbedding written out: halves of the last axis swapped, one negated, and two products."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import View
from roofwright.passes.cleanup.constant_inputs import integers, slice_bounds
from roofwright.passes.fusion.composite import Composite, Input, Pattern, pair

_RANK = 4  # (batch, heads, sequence, head)


@dataclass(frozen=True)
class _Swapped:
    """`Concat(-x[..., half:], x[..., :half])`: its nodes and `x`."""

    nodes: tuple[gs.Node, ...]
    source: gs.Tensor


def _half(tensor: gs.Tensor, size: int, view: View) -> tuple[gs.Node, gs.Tensor, int] | None:
    """Node, whole and number of the half of the last axis that `tensor` is; None where it is none."""
    node = view.producer(tensor)
    if node is None or not view.is_op(node, "Slice", "Split") or view.rank(node.inputs[0]) != _RANK:
        return None
    if node.op == "Split":
        parts = integers(node, view, "split", 1)
        is_even = parts == [size // 2] * 2 or (parts is None and len(node.outputs) == 2)
        is_last = view.attr(node, "axis", 0) in (-1, _RANK - 1)
        return (node, node.inputs[0], int(tensor is node.outputs[1])) if is_even and is_last else None
    bounds = slice_bounds(node, view)
    if bounds is None or bounds[2] != [_RANK - 1] or bounds[3] != [1]:
        return None
    start, end = bounds[0][0], bounds[1][0]
    if (start, end) == (0, size // 2):
        return node, node.inputs[0], 0
    return (node, node.inputs[0], 1) if start == size // 2 and end >= size else None


def _swapped(concat: gs.Node, view: View) -> _Swapped | None:
    shape = concat.outputs[0].shape
    if len(concat.inputs) != 2 or shape is None or len(shape) != _RANK or not isinstance(shape[-1], int):
        return None
    neg = view.producer(concat.inputs[0])
    if neg is None or not view.is_op(neg, "Neg") or view.attr(concat, "axis", 0) not in (-1, _RANK - 1):
        return None
    high, low = _half(neg.inputs[0], shape[-1], view), _half(concat.inputs[1], shape[-1], view)
    if high is None or low is None or (high[2], low[2]) != (1, 0) or high[1] is not low[1] or shape[-1] % 2:
        return None
    cuts = (high[0],) if high[0] is low[0] else (low[0], high[0])
    return _Swapped((*cuts, neg, concat), low[1])


class WriteRotary(Composite):
    """`x * c + Concat(-x[half:], x[:half]) * s` --> RotaryEmbedding(x, c[:half], s[:half]): case 9."""

    name: ClassVar[str] = "to-rotary-embedding"
    anchors: ClassVar[tuple[str, ...]] = ("Concat",)

    @classmethod
    def find(cls, node: gs.Node, view: View) -> Pattern | None:
        """The two cuts, the Neg, the Concat, both products and their sum."""
        swapped = _swapped(node, view)
        by_sine = None if swapped is None else view.sole_consumer(node.outputs[0])
        sine = pair(by_sine, view, "Mul", node.outputs[0])
        if swapped is None or by_sine is None or sine is None:
            return None
        add = view.sole_consumer(by_sine.outputs[0])
        straight = pair(add, view, "Add", by_sine.outputs[0])
        by_cosine = view.producer(straight)
        cosine = pair(by_cosine, view, "Mul", swapped.source)
        if add is None or by_cosine is None or cosine is None:
            return None
        nodes = (*swapped.nodes, by_sine, by_cosine, add)
        tables = [_table(tensor, swapped.source, view) for tensor in (cosine, sine)]
        if any(table is None for table in tables):
            reason = "its cosines and sines are not constants with two equal halves for every place of the sequence"
            return Pattern("RotaryEmbedding", nodes, (swapped.source, cosine, sine), {}, reason)
        return Pattern("RotaryEmbedding", nodes, (swapped.source, *tables, _places(swapped.source)))


def _table(tensor: gs.Tensor, source: gs.Tensor, view: View) -> Input:
    """One half of a constant (1, 1, sequence, head) as (sequence, half); None where it is not that."""
    sequence, head = source.shape[-2:]
    shape = view.static_shape(tensor)
    if shape is None or view.static_shape(source) is None or shape not in ((1, 1, sequence, head), (sequence, head)):
        return None
    value = view.constant_value(tensor)
    if value is None:
        return None
    flat = value.reshape(sequence, head)
    return flat[:, : head // 2] if np.array_equal(flat[:, : head // 2], flat[:, head // 2 :]) else None


def _places(source: gs.Tensor) -> Input:
    """The place in the sequence of every row: the tables are shared by all samples."""
    batch, _, sequence, _ = source.shape
    return np.broadcast_to(np.arange(sequence, dtype=np.int64), (batch, sequence))
