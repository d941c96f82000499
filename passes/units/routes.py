"""Routes: nodes that only move whole channels, each as a table of which input channel goes where."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import View, slice_of
from roofwright.passes.cleanup.constant_inputs import permutation, slice_bounds

CHANNEL_AXIS = 1
Picks = NDArray[np.int64]


@dataclass(frozen=True)
class Route:
    """Channels in, channels out.

    Attributes:
        nodes: one node, or Reshape, Transpose and Reshape of a shuffle.
        inputs: what it reads, in order.
        picks: per output, positions in the channels of all inputs one after another.
        is_shuffle: made of three nodes.
    """

    nodes: tuple[gs.Node, ...]
    inputs: tuple[gs.Tensor, ...]
    picks: tuple[tuple[gs.Tensor, Picks], ...] = field(repr=False)
    is_shuffle: bool = False

    @property
    def moved_channels(self) -> int:
        """How many channels it writes."""
        return sum(picks.size for _, picks in self.picks)


def channel_count(tensor: gs.Tensor | None) -> int | None:
    """The size of axis 1 where it is a known number."""
    shape = None if tensor is None else tensor.shape
    count = shape[CHANNEL_AXIS] if shape is not None and len(shape) > CHANNEL_AXIS else None
    return int(count) if isinstance(count, int | np.integer) and count > 0 else None


def route_of(node: gs.Node | None, view: View) -> Route | None:
    """The route that `node` is, or is a part of; None for all other nodes."""
    return _RULES[node.op](node, view) if view.is_op(node, *_RULES) else None


def _reshape(node: gs.Node, view: View) -> Route | None:
    """The shuffle that it ends or begins."""
    inner, outer = view.producer(node.inputs[0]), view.sole_consumer(node.outputs[0])
    if view.is_op(inner, "Transpose"):
        return shuffle(inner, view)
    return shuffle(outer, view) if view.is_op(outer, "Transpose") else None


def shuffle(node: gs.Node, view: View) -> Route | None:
    """The shuffle around a Transpose: channels seen as a grid of two or more axes, which are permuted."""
    first, last = view.producer(node.inputs[0]), view.sole_consumer(node.outputs[0])
    if not view.is_op(first, "Reshape") or not view.is_op(last, "Reshape"):
        return None
    source, grid, out, perm = first.inputs[0], first.outputs[0], last.outputs[0], permutation(node, view) or []
    sizes = _grid_sizes(source, grid, perm)
    if sizes is None or view.sole_consumer(grid) is not node or not _same(source.shape or [], out.shape or []):
        return None
    order = np.arange(prod(sizes)).reshape(sizes).transpose([axis - 1 for axis in perm[1 : 1 + len(sizes)]])
    return Route((first, node, last), (source,), ((out, order.reshape(-1)),), is_shuffle=True)


def _grid_sizes(source: gs.Tensor, grid: gs.Tensor, perm: list[int]) -> list[int] | None:
    """The axes of the grid that are channels; None where it permutes any other, or other sizes change."""
    before, after = source.shape or [], grid.shape or []
    axes = len(after) - len(before) + 1
    sizes = [size if isinstance(size, int) else 0 for size in after[1 : 1 + axes]]
    if axes < 2 or perm[:1] != [0] or perm[1 + axes :] != list(range(1 + axes, len(perm))):
        return None
    if prod(sizes) != channel_count(source):
        return None
    return sizes if _same([before[0], *before[2:]], [after[0], *after[1 + axes :]]) else None


def _same(one: list[Any], other: list[Any]) -> bool:
    """Whether two views of the same elements have equal sizes: one pair may be unknown, the others decide it."""
    if len(one) != len(other):
        return False
    unequal = [(a, b) for a, b in zip(one, other, strict=True) if a != b or a is None]
    return not unequal or (len(unequal) == 1 and not all(isinstance(size, int) for size in unequal[0]))


def _known_counts(tensors: Sequence[gs.Tensor]) -> list[int]:
    """Channels of each; empty where one is not known."""
    counts = [channel_count(tensor) for tensor in tensors]
    known = [count for count in counts if count is not None]
    return known if len(known) == len(counts) else []


def _is_along_channels(node: gs.Node, default: int, view: View) -> bool:
    axis = view.attr(node, "axis", default)
    return bool(CHANNEL_AXIS in (axis, axis + (view.rank(node.inputs[0]) or 0)))


def _concat(node: gs.Node, view: View) -> Route | None:
    counts = _known_counts(node.inputs)
    if not counts or not _is_along_channels(node, CHANNEL_AXIS, view):
        return None
    return Route((node,), tuple(node.inputs), ((node.outputs[0], np.arange(sum(counts))),))


def _split(node: gs.Node, view: View) -> Route | None:
    counts = _known_counts(node.outputs)
    if not counts or not _is_along_channels(node, 0, view):
        return None
    picks = (np.arange(end - count, end) for count, end in zip(counts, np.cumsum(counts), strict=True))
    return Route((node,), (node.inputs[0],), tuple(zip(node.outputs, picks, strict=True)))


def _slice(node: gs.Node, view: View) -> Route | None:
    bounds = slice_bounds(node, view)
    if bounds is None or bounds[2] != [CHANNEL_AXIS]:
        return None
    start, end, step, count = bounds[0][0], bounds[1][0], bounds[3][0], channel_count(node.inputs[0]) or 0
    return _selection(node, np.arange(count)[slice_of(count, start, end, step)])


def _gather(node: gs.Node, view: View) -> Route | None:
    indices, total = view.constant_value(node.inputs[1]), channel_count(node.inputs[0])
    if indices is None or indices.ndim != 1 or total is None or not _is_along_channels(node, 0, view):
        return None
    return _selection(node, np.where(indices < 0, indices + total, indices).astype(np.int64))


def _selection(node: gs.Node, picks: Picks) -> Route | None:
    return Route((node,), (node.inputs[0],), ((node.outputs[0], picks),)) if picks.size else None


_RULES: Mapping[str, Callable[[gs.Node, View], Route | None]] = {
    "Concat": _concat,
    "Gather": _gather,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Transpose": shuffle,
}
