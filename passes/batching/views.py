"""Operators that only name or order the dimensions anew; the batch must come out as a factor of one axis."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from roofwright.passes.batching.layout import Batched, Dims, State, carried, resolved, scaled
from roofwright.passes.batching.sight import Sight


def transpose(sight: Sight) -> list[State]:
    """Transpose: the batch goes where its axis goes."""
    at, rank = sight.data(), sight.rank()
    perm = list(sight.attr("perm") or reversed(range(rank)))
    return [sight.moved(at, perm.index(at.axis))]


def unsqueeze(sight: Sight) -> list[State]:
    """Unsqueeze: axes that appear ahead of the batch push it back."""
    sight.only((0,))
    at = sight.data()
    added = sight.axes(rank=len(sight.out_shape()))
    if added is None:
        sight.refuse("its axes are not given")
    left = [axis for axis in range(len(sight.out_shape())) if axis not in added]
    return [sight.moved(at, left[at.axis])]


def squeeze(sight: Sight) -> list[State]:
    """Squeeze: the batch must stay."""
    sight.only((0,))
    at, shape = sight.data(), sight.shape()
    axes = sight.axes()
    if axes is None and at.size(sight.new) == 1:
        sight.refuse("it drops every axis of size 1, which the batch would then be")
    gone = [axis for axis, size in enumerate(shape) if size == 1] if axes is None else axes
    if at.axis in gone:
        sight.refuse("it drops the axis of the batch")
    return [sight.moved(at, at.axis - sum(axis < at.axis for axis in gone))]


def flatten(sight: Sight) -> list[State]:
    """Flatten: the two products follow the batch by themselves."""
    at, shape = sight.data(), sight.shape()
    axis = sight.axis(1)
    natural = _flattened(sight.new_shape(), axis)
    readings = [
        reading
        for reading in carried(shape, at, _flattened(shape, axis), sight.old)
        if scaled(_flattened(shape, axis), reading, sight.new) == natural
    ]
    return [_chosen(sight, at, readings)] if readings else sight.refuse("it folds samples into each other")


def _flattened(shape: Dims, axis: int) -> Dims:
    return int(np.prod(shape[:axis], dtype=np.int64)), int(np.prod(shape[axis:], dtype=np.int64))


def _chosen(sight: Sight, at: Batched, readings: list[Batched]) -> Batched:
    if len(readings) == 1:
        return replace(readings[0], via=at.via)
    return sight.choose(readings)


def reshape(sight: Sight) -> list[State]:
    """Reshape: a target that was made for the old batch gets new entries.

    1. The target follows the batch by itself (-1, 0, computed from shapes): nothing is written.
    2. It holds the old batch, alone or in a product: that entry is written anew.
    3. With a batch of 1 it may be read in more than one way. An axis of the samples alone goes before a folded one,
       then what the target says by itself, then the axis that the batch came in. A reading that fails is revised.
    """
    sight.only((0,), sizes=(1,))
    at, shape = sight.data(), sight.shape()
    target = sight.operand("shape", 1)
    if target is None:
        sight.refuse("its target is not given")
    zeros = bool(sight.attr("allowzero", 0))
    before = resolved(target[0].reshape(-1).tolist(), shape, allow_zero=zeros)
    if before is None:
        sight.refuse(f"its target {target[0].tolist()} does not fit the input's shape {list(shape)}")
    new = [int(entry) for entry in target[1].reshape(-1)]
    natural = resolved(new, sight.new_shape(), allow_zero=zeros)
    readings = carried(shape, at, before, sight.old)
    if not readings:
        sight.refuse(f"from {list(shape)} to {list(before)} it folds samples into each other")
    readings.sort(key=lambda r: (not r.is_pure, scaled(before, r, sight.new) != natural, r.axis != at.axis, r.axis))
    found = _chosen(sight, at, readings)
    wanted = scaled(before, found, sight.new)
    if wanted != natural:
        sight.set_integers("shape", 1, _target(sight, new, wanted, found.axis, zeros))
    return [found]


def _target(sight: Sight, base: Sequence[int], wanted: Dims, axis: int, zeros: bool) -> Sequence[int]:
    """A target that gives `wanted`, with as little changed as possible."""
    least = [wanted[place] if place == axis else entry for place, entry in enumerate(base)]
    is_constant = "shape" in sight.node.attrs or sight.view.is_constant(sight.node.inputs[1])
    if resolved(least, sight.new_shape(), allow_zero=zeros) == wanted and (
        not sight.known.free_dims or (is_constant and base[axis] > 0)
    ):
        return least
    if sight.known.free_dims:
        sight.refuse("its target holds the batch, and other dimensions that are not known")
    return wanted
