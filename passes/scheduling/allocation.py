"""Addresses: buffers that are live together share no byte. Largest first, each at the lowest gap that holds it.

Interval allocation by decreasing size is the heuristic of most on-device runtimes (Pisarchyk and Lee, "Efficient Memory
Management for Deep Neural Net Inference", arXiv:2001.03288, "greedy by size").
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roofwright.cost_model import ALIGNMENT_BYTES

_BRIEF = 16  # starts of requests that one lives through: what lives through more is compared with all others at once


class Request(NamedTuple):
    """A buffer that needs an address: `bytes` (all copies) from moment `first` to moment `last`, both included."""

    bytes: int
    first: int
    last: int


def offsets(requests: Sequence[Request], capacity_bytes: int) -> NDArray[np.int64]:
    """An offset for every request, -1 where none is left below the capacity; shape (len(requests),).

    By decreasing size; where gaps between them leave some without, by decreasing time, room over time and in order of
    their starts as well: the order that leaves the fewest bytes without an offset counts.
    """
    sizes = np.array([-(-r.bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES for r in requests], np.int64)
    first = np.array([r.first for r in requests], np.int64)
    last = np.array([r.last for r in requests], np.int64)
    spans, ends = last - first + 1, np.array([r.bytes for r in requests], np.int64)
    best, lost = np.full(len(requests), -1, np.int64), int(sizes.sum()) + 1
    for keys in ((first, -sizes), (-sizes, -spans), (first, -sizes * spans), (-sizes, first)):
        found = _in_order(np.lexsort(keys), sizes, capacity_bytes - ends, (first, last), lost)
        missing = int(sizes[found < 0].sum())
        if missing < lost:
            best, lost = found, missing
        if not missing or _peak(sizes, first, last) > capacity_bytes:
            break  # nothing is left out, or no order has room for all
    return best


def _peak(sizes: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]) -> int:
    """The most bytes that are live at a moment."""
    change = np.zeros(int(last.max(initial=0)) + 2, np.int64)
    np.add.at(change, first, sizes)
    np.add.at(change, last + 1, -sizes)
    return int(np.cumsum(change).max())


def _in_order(
    order: NDArray[np.int64],
    sizes: NDArray[np.int64],
    highest: NDArray[np.int64],
    lives: tuple[NDArray[np.int64], NDArray[np.int64]],
    most: int,
) -> NDArray[np.int64]:
    """Offsets, none above `highest`, of requests that are placed one after the other, each at the lowest gap.

    Two requests live together where one of them lives at the start of the other: what is placed is noted at the starts.
    Given up where `most` bytes are left without one.
    """
    starts = np.unique(lives[0])
    begin, end = np.searchsorted(starts, lives[0]), np.searchsorted(starts, lives[1], "right")
    begins, ends, tops, lengths = begin.tolist(), end.tolist(), highest.tolist(), sizes.tolist()
    taken: list[list[tuple[int, int]]] = [[] for _ in starts]  # by requests that live briefly
    found, lasting = np.full(len(sizes), -1, np.int64), False
    long = end - begin > _BRIEF
    for at, is_long in zip(order.tolist(), long[order].tolist(), strict=True):
        beside: Collection[tuple[int, int]] = ()
        if not is_long:
            beside = {part for moment in taken[begins[at] : ends[at]] for part in moment}
        if is_long or lasting:
            there = (found >= 0) & (begin < ends[at]) & (end > begins[at]) & (is_long | long)
            low = found[there]
            beside = [*beside, *zip(low.tolist(), (low + sizes[there]).tolist(), strict=True)]
        offset = _lowest_gap(sorted(beside), lengths[at])
        if offset > tops[at]:
            most -= lengths[at]
            if most <= 0:
                break
            continue
        found[at], lasting = offset, lasting or is_long
        for moment in () if is_long else taken[begins[at] : ends[at]]:
            moment.append((offset, offset + lengths[at]))
    return found


def _lowest_gap(taken: Sequence[tuple[int, int]], size: int) -> int:
    """The lowest address with `size` free bytes beside intervals that are taken, in order of their starts."""
    free = 0
    for start, end in taken:
        if start - free >= size:
            break
        free = max(free, end)
    return free
