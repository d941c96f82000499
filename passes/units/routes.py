"""Routes: nodes that only move whole channels, each as a table of which input channel goes where."""

from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import View
from roofwright.passes.cleanup.constant_inputs import integers, permutation, slice_bounds

CHANNEL_AXIS = 1
_FIRST_SPLIT_INPUT = 13
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
    if node is None:
        return None
    if view.is_op(node, "Concat"):
        return _concat(node, view)
    if view.is_op(node, "Split"):
        return _split(node, view)
    if view.is_op(node, "Slice", "Gather"):
        return _selection(node, view)
    if view.is_op(node, "Transpose"):
        return shuffle(node, view)
    if not view.is_op(node, "Reshape"):
        return None
    inner = view.producer(view.input(node, 0))
    if inner is not None and view.is_op(inner, "Transpose"):
        return shuffle(inner, view)
    outer = view.sole_consumer(node.outputs[0])
    return shuffle(outer, view) if outer is not None and view.is_op(outer, "Transpose") else None


def shuffle(node: gs.Node, view: View) -> Route | None:
    """The shuffle around a Transpose: channels seen as a grid of two or more axes, which are permuted."""
    first = view.producer(view.input(node, 0))
    last = view.sole_consumer(node.outputs[0])
    if first is None or last is None or not view.is_op(first, "Reshape") or not view.is_op(last, "Reshape"):
        return None
    if view.sole_consumer(first.outputs[0]) is not node or last.inputs[0] is not node.outputs[0]:
        return None
    source, grid, out, perm = first.inputs[0], first.outputs[0], last.outputs[0], permutation(node, view)
    count, axes = channel_count(source), _grid_axes(source, grid, perm)
    if count is None or axes is None or perm is None or not _same(source.shape or [], out.shape):
        return None
    sizes = [int(size) for size in grid.shape[1 : 1 + axes]]
    order = np.arange(count).reshape(sizes).transpose([axis - 1 for axis in perm[1 : 1 + axes]])
    return Route((first, node, last), (source,), ((out, order.reshape(-1)),), is_shuffle=True)


def _grid_axes(source: gs.Tensor, grid: gs.Tensor, perm: list[int] | None) -> int | None:
    """How many axes of the grid are channels; None where it permutes any other, or other sizes change."""
    if perm is None or source.shape is None or grid.shape is None or len(grid.shape) != len(perm):
        return None
    axes = len(grid.shape) - len(source.shape) + 1
    sizes = grid.shape[1 : 1 + axes]
    if axes < 2 or perm[0] != 0 or perm[1 + axes :] != list(range(1 + axes, len(perm))):
        return None
    if not all(isinstance(size, int) for size in sizes) or np.prod(sizes) != channel_count(source):
        return None
    return axes if _same([source.shape[0], *source.shape[2:]], [grid.shape[0], *grid.shape[1 + axes :]]) else None


def _same(one: list[object], other: list[object] | None) -> bool:
    """Whether two views of the same elements have equal sizes: one pair may be unknown, the others decide it."""
    if other is None or len(one) != len(other):
        return False
    unequal = [(a, b) for a, b in zip(one, other, strict=True) if a != b or a is None]
    return not unequal or (len(unequal) == 1 and not all(isinstance(size, int) for size in unequal[0]))


def _concat(node: gs.Node, view: View) -> Route | None:
    rank, counts = view.rank(node.outputs[0]), [channel_count(tensor) for tensor in node.inputs]
    known = [count for count in counts if count is not None]
    axis = view.attr(node, "axis", CHANNEL_AXIS)
    if rank is None or len(known) != len(counts) or (axis + rank if axis < 0 else axis) != CHANNEL_AXIS:
        return None
    return Route((node,), tuple(node.inputs), ((node.outputs[0], np.arange(sum(known))),))


def _split(node: gs.Node, view: View) -> Route | None:
    rank, total = view.rank(node.inputs[0]), channel_count(node.inputs[0])
    axis, counts = view.attr(node, "axis", 0), [channel_count(tensor) for tensor in node.outputs]
    known = [count for count in counts if count is not None]
    if rank is None or len(known) != len(counts) or (axis + rank if axis < 0 else axis) != CHANNEL_AXIS:
        return None
    sizes = view.input(node, 1) if view.opset >= _FIRST_SPLIT_INPUT else None
    if sum(known) != total or (sizes is not None and integers(node, view, "split", 1) != known):
        return None
    ends = np.cumsum(known)
    picks = (np.arange(end - count, end) for count, end in zip(known, ends, strict=True))
    return Route((node,), (node.inputs[0],), tuple(zip(node.outputs, picks, strict=True)))


def _selection(node: gs.Node, view: View) -> Route | None:
    source, total = node.inputs[0], channel_count(node.inputs[0])
    picks = None if total is None else (_sliced if node.op == "Slice" else _gathered)(node, total, view)
    if picks is None or picks.size == 0 or picks.size != channel_count(node.outputs[0]):
        return None
    return Route((node,), (source,), ((node.outputs[0], picks),))


def _sliced(node: gs.Node, total: int, view: View) -> Picks | None:
    bounds = slice_bounds(node, view)
    if bounds is None or bounds[2] != [CHANNEL_AXIS] or bounds[3][0] == 0:
        return None
    return np.arange(total)[slice(bounds[0][0], _end(bounds[1][0], bounds[3][0]), bounds[3][0])]


def _end(end: int, step: int) -> int | None:
    """A backward Slice runs to the first channel where its end is far below zero, which Python counts from the end."""
    return None if step < 0 and end < -(2**30) else end


def _gathered(node: gs.Node, total: int, view: View) -> Picks | None:
    indices, rank = view.constant_value(view.input(node, 1)), view.rank(node.inputs[0])
    axis = view.attr(node, "axis", 0)
    if indices is None or indices.ndim != 1 or rank is None or (axis + rank if axis < 0 else axis) != CHANNEL_AXIS:
        return None
    picks = np.where(indices < 0, indices + total, indices).astype(np.int64)
    return picks if picks.size and picks.min() >= 0 and picks.max() < total else None
