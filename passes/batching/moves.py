"""Operators that pick, join or repeat parts of tensors."""

from collections.abc import Iterator
from math import prod

import numpy as np

from roofwright.passes.batching.layout import Batched, State, from_front
from roofwright.passes.batching.picks import SAMPLE
from roofwright.passes.batching.sight import Array, Sight

_FIRST_TILE = 6  # before, Tile repeats one axis


def concat(sight: Sight) -> list[State]:
    """Concat: along another axis, or of whole batches (which are then one factor of the axis)."""
    count = len(sight.node.inputs)
    sight.only(range(count))
    first = sight.used[0]
    if sight.axis(1) != first.axis:
        return [sight.shared(dict.fromkeys(range(count), first.axis))]
    states = [sight.state(position) for position in range(count)]
    if any(state != first for state in states):
        sight.refuse("it joins parts that hold different samples")
    return [Batched(first.axis, first.outer * count, first.inner, first.via)]


def split(sight: Sight) -> list[State]:
    """Split along another axis."""
    sight.only((0,))
    at = sight.data()
    return sight.refuse("it splits the samples") if sight.axis(0) == at.axis else sight.everywhere(at)


def slice_(sight: Sight) -> list[State]:
    """Slice along other axes; along the batch only where it takes everything."""
    sight.only((0,), sizes=(1, 2))
    at = sight.data()
    starts, ends = sight.operand("starts", 1), sight.operand("ends", 2)
    steps = sight.operand("steps", 4)
    if starts is None or ends is None:
        sight.refuse("its bounds are not given")
    axes = sight.axes(position=3) or list(range(starts[0].size))
    place = axes.index(at.axis) if at.axis in axes else -1
    if any(old != new for at_, old, new in _entries(starts, ends) if at_ != place):
        sight.refuse("its bounds on other axes depend on the size of the batch")
    if place < 0:
        return [at]
    step = 1 if steps is None else int(steps[0].reshape(-1)[place])
    if (
        step != 1
        or any(int(side.reshape(-1)[place]) for side in starts)
        or ends[0].reshape(-1)[place] < at.size(sight.old)
    ):
        sight.refuse(SAMPLE)
    if ends[1].reshape(-1)[place] < at.size(sight.new):
        sight.set_entry("ends", 2, ends[1], place, at.size(sight.new))
    return [at]


def _entries(*operands: tuple[Array, Array]) -> Iterator[tuple[int, int, int]]:
    """(place, entry at the old batch, entry at the new one) of every entry of some lists."""
    for old, new in operands:
        yield from zip(range(old.size), old.reshape(-1).tolist(), new.reshape(-1).tolist(), strict=True)


def pad(sight: Sight) -> list[State]:
    """Pad: nothing is added among the samples."""
    sight.only((0,))
    at, rank = sight.data(), sight.rank()
    pads = sight.operand("paddings" if "paddings" in sight.node.attrs else "pads", 1)
    axes = sight.axes(position=3) or list(range(rank))
    if pads is None:
        sight.refuse("its pads are not given")
    sizes = pads[0].reshape(-1).tolist()
    begin, end = sizes[: len(axes)], sizes[len(axes) :]
    if any(axis == at.axis and (low or high) for axis, low, high in zip(axes, begin, end, strict=True)):
        sight.refuse("it pads the axis of the batch")
    return [at]


def tile(sight: Sight) -> list[State]:
    """Tile: copies of the whole batch are another factor of its axis."""
    sight.only((0,), sizes=(1,))
    at, repeats = sight.data(), sight.operand("repeats", 1)
    if repeats is None or sight.view.opset < _FIRST_TILE:
        sight.refuse("its repeats are not given")
    if not np.array_equal(*repeats):
        sight.refuse("its repeats depend on the size of the batch")
    times = int(repeats[0].reshape(-1)[at.axis])
    return [Batched(at.axis, at.outer * times, at.inner, at.via)] if times else sight.refuse("it repeats zero times")


def expand(sight: Sight) -> list[State]:
    """Expand: the batch keeps its size; a target that was made for the old batch gets 1 there."""
    sight.only((0,), sizes=(1,))
    at, target, rank = sight.data(), sight.operand("shape", 1), sight.rank()
    if target is None:
        sight.refuse("its target is not given")
    old, new = (side.reshape(-1).tolist() for side in target)
    axis = at.axis + max(0, len(old) - rank)
    place = axis - max(0, rank - len(old))
    if place < 0:
        return [sight.moved(at, axis)]
    if old[place] not in (1, at.size(sight.old)):
        sight.refuse(f"it broadcasts the axis of the batch to {old[place]}")
    if new[place] not in (1, at.size(sight.new)):
        sight.set_entry("shape", 1, target[1], place, 1)
    return [sight.moved(at, axis)]


def resize(sight: Sight) -> list[State]:
    """Resize, Upsample: the batch is not resampled; sizes that were made for the old batch are written anew."""
    modern = sight.view.opset >= 11
    scales_at, sizes_at = (2, 3) if modern else (1, 4)
    sight.only((0,), sizes=(sizes_at,))
    at = sight.data()
    axes = [from_front(int(axis), sight.rank()) for axis in sight.attr("axes") or range(sight.rank())]
    if at.axis not in axes:
        return [at]
    place = axes.index(at.axis)
    sizes = sight.operand("sizes", sizes_at)
    if sizes is not None and sizes[0].size:
        return [_resized(sight, at, place, sizes_at, sizes)]
    scales = sight.operand("scales", scales_at)
    if scales is None or float(scales[0].reshape(-1)[place]) != 1.0:
        sight.refuse("it resamples the axis of the batch")
    return [at]


def _resized(sight: Sight, at: Batched, place: int, position: int, sizes: tuple[Array, Array]) -> Batched:
    old, new = (side.reshape(-1).tolist() for side in sizes)
    if old[place] != at.size(sight.old) or sight.attr("keep_aspect_ratio_policy", b"stretch") not in (
        b"stretch",
        "stretch",
    ):
        sight.refuse("it resamples the axis of the batch")
    if new[place] != at.size(sight.new):
        sight.set_entry("sizes", position, sizes[1], place, at.size(sight.new))
    return at


def affine_grid(sight: Sight) -> list[State]:
    """AffineGrid: the first of the sizes is the batch."""
    sight.only((0,), sizes=(1,))
    at, sizes = sight.shared({0: 0}), sight.operand("size", 1)
    if sizes is None:
        sight.refuse("its sizes are not given")
    new = sizes[1].reshape(-1).tolist()
    if new[0] != at.size(sight.new):
        sight.set_entry("size", 1, sizes[1], 0, at.size(sight.new))
    return [at]


def created(sight: Sight) -> list[State]:
    """ConstantOfShape, Expand or Tile of what no sample changes, to a size that follows the batch: equal copies."""
    old, new = _made(sight, 0), _made(sight, 1)
    grown = [axis for axis, (was, now) in enumerate(zip(old, new, strict=True)) if was != now]
    if len(grown) != 1 or old[grown[0]] % sight.old or prod(new) * sight.old != prod(old) * sight.new:
        sight.refuse("its size does not grow with the batch along one axis")
    return [Batched(grown[0], 1, old[grown[0]] // sight.old)]


def _made(sight: Sight, side: int) -> tuple[int, ...]:
    """The shape that the node makes at the old (0) or the new (1) batch."""
    name, position = ("input", 0) if sight.node.op == "ConstantOfShape" else ("shape", 1)
    given = sight.operand(name, position)
    if given is None or sight.view.opset < _FIRST_TILE:
        sight.refuse("its size is not given")
    sizes = tuple(int(size) for size in given[side].reshape(-1))
    if sight.node.op == "ConstantOfShape":
        return sizes
    shape = sight.shape(0)
    return tuple(np.multiply(shape, sizes)) if sight.node.op == "Tile" else np.broadcast_shapes(shape, sizes)
