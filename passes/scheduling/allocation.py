"""Addresses: buffers that are live together share no byte. Largest first, each at the lowest gap that holds it.

Interval allocation by decreasing size is the heuristic of most on-device runtimes (Pisarchyk and Lee, "Efficient Memory
Management for Deep Neural Net Inference", arXiv:2001.03288, "greedy by size").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roofwright.cost_model import ALIGNMENT_BYTES


@dataclass(frozen=True)
class Request:
    """A buffer that needs an address: `bytes` (all copies) from kernel `first` to kernel `last`."""

    bytes: int
    first: int
    last: int


def offsets(requests: Sequence[Request], capacity_bytes: int) -> NDArray[np.int64]:
    """An offset for every request, -1 where none is left below the capacity; shape (len(requests),)."""
    sizes = np.array([-(-r.bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES for r in requests], np.int64)
    first = np.array([r.first for r in requests], np.int64)
    last = np.array([r.last for r in requests], np.int64)
    found = np.full(len(requests), -1, np.int64)
    for at in np.lexsort((first, -sizes)).tolist():
        clash = (found >= 0) & (first <= last[at]) & (last >= first[at])
        start = _lowest_gap(found[clash], found[clash] + sizes[clash], int(sizes[at]))
        if start + requests[at].bytes <= capacity_bytes:
            found[at] = start
    return found


def _lowest_gap(starts: NDArray[np.int64], ends: NDArray[np.int64], size: int) -> int:
    """The lowest address with `size` free bytes beside the taken intervals."""
    if not len(starts):
        return 0
    order = np.argsort(starts, kind="stable")
    begin, end = starts[order], np.maximum.accumulate(ends[order])
    free = begin - np.concatenate([[0], end[:-1]])
    fits = np.flatnonzero(free >= size)
    return int(end[-1]) if not len(fits) else int(end[fits[0] - 1]) if fits[0] else 0
