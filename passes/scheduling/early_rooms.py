"""Where weights wait that are loaded ahead of their kernel: addresses for as long as it takes.

First all buffers are placed anew together, each for as long as it lives with the loads planned: the largest first, so
that a kernel's weights find room beside the smaller buffers of the kernels before it. Loads that leave others without
a place are taken out, those that occupy most room over time first; nearest kernel first, each of them then gets the
lowest gap that is left from the first of its planned loads on, or from a later one on, or for a part of its weights.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from roofwright.cost_model import ALIGNMENT_BYTES, Costing, Kernel, Placement, Prefetched, Room
from roofwright.passes.scheduling.allocation import Request, offsets

_ROUNDS = 3  # of placing all buffers together
_PARTS = (1, 2, 4)  # the whole of a kernel's planned loads, or a half or a quarter of them
_STARTS = 6  # of the planned loads that are tried as the first


@dataclass(frozen=True)
class Berth:
    """A kernel's buffers for its early loads, `bytes` of tensor after tensor: they wait from kernel `first` on."""

    first: int
    buffers: tuple[Placement, ...]
    bytes: tuple[int, ...]

    @property
    def room(self) -> Room:
        """What the timeline needs to know."""
        return Room(self.first, float(sum(self.bytes)))

    @property
    def tensors(self) -> set[str]:
        """What is loaded early."""
        return {buffer.tensor for buffer in self.buffers}


def berths(
    kernels: Sequence[Kernel], costing: Costing, plan: Sequence[Prefetched]
) -> tuple[Sequence[Kernel], dict[int, Berth]]:
    """The kernels, maybe at other addresses, and kernel -> buffers for as many of its planned loads as find room."""
    level = costing.target.on_chip
    wanted: dict[int, list[Prefetched]] = {}
    for item in plan:
        wanted.setdefault(item.kernel, []).append(item)
    if level is None or not wanted:
        return kernels, {}
    asked = {index: _asked(kernels[index], costing, items, level.name) for index, items in wanted.items()}
    kernels, found = _together(kernels, level.name, level.capacity_bytes, {k: b for k, b in asked.items() if b})
    shelf = Shelf(kernels, level.name, level.capacity_bytes, found)
    for index in sorted(set(wanted) - set(found)):
        berth = shelf.berth(kernels[index], costing, wanted[index])
        if berth is not None:
            found[index] = berth
    return kernels, found


def _asked(kernel: Kernel, costing: Costing, items: Sequence[Prefetched], level: str) -> Berth | None:
    """Buffers for all planned loads of a kernel, at no address yet."""
    own = _own(kernel, level)
    loads = list(_loads(kernel.index, costing, own, sum(item.bytes for item in items)))
    first = min(item.during for item in items)
    return Berth(first, _grown(own, loads), tuple(size for _, size in loads)) if loads else None


def _own(kernel: Kernel, level: str) -> dict[str, Placement]:
    """A kernel's buffers that may hold early loads, by tensor."""
    own = (b for b in kernel.buffers if b.level == level and b.first_node is None and not b.engine)
    return {b.tensor: b for b in own if b.until is None}


def _grown(own: Mapping[str, Placement], loads: Sequence[tuple[str, int]]) -> tuple[Placement, ...]:
    return tuple(replace(own[t], copies=max(own[t].copies, ceil(size / own[t].bytes))) for t, size in loads)


def _together(
    kernels: Sequence[Kernel], level: str, capacity_bytes: int, asked: dict[int, Berth]
) -> tuple[Sequence[Kernel], dict[int, Berth]]:
    """All buffers at new addresses with the berths that leave room for the rest; or kernels as they are, and none."""
    moments = max(len(kernel.nodes) for kernel in kernels)
    for _ in range(_ROUNDS):
        buffers = [(k.index, b) for k in kernels for b in _with(k, asked) if b.level == level]
        requests = [_request(at, b, asked, moments) for at, b in buffers]
        found = offsets(requests, capacity_bytes).tolist()
        if min(found) >= 0:
            homes = {(at, b.tensor, b.engine): o for (at, b), o in zip(buffers, found, strict=True)}
            return _settled(kernels, level, asked, homes)
        early = {at for (at, b), offset in zip(buffers, found, strict=True) if offset < 0 and _is_early(at, b, asked)}
        homeless = [
            request
            for (at, b), request, offset in zip(buffers, requests, found, strict=True)
            if offset < 0 and not _is_early(at, b, asked)
        ]
        asked = _fewer({at: berth for at, berth in asked.items() if at not in early}, homeless, moments)
    return kernels, {}


def _with(kernel: Kernel, asked: Mapping[int, Berth]) -> list[Placement]:
    """A kernel's buffers, those of its berth as large as that needs."""
    berth = asked.get(kernel.index)
    grown = {} if berth is None else {b.tensor: b for b in berth.buffers}
    return [grown.get(b.tensor, b) if b.until is None else b for b in kernel.buffers]


def _request(at: int, buffer: Placement, asked: Mapping[int, Berth], moments: int) -> Request:
    """A buffer's room over time, where every kernel lasts so many moments: one for each of its nodes."""
    if buffer.first_node is not None and buffer.last_node is not None:
        return Request(buffer.total_bytes, at * moments + buffer.first_node, at * moments + buffer.last_node)
    first, last = asked[at].first if _is_early(at, buffer, asked) else at, at if buffer.until is None else buffer.until
    return Request(buffer.total_bytes, first * moments, (last + 1) * moments - 1)


def _is_early(at: int, buffer: Placement, asked: Mapping[int, Berth]) -> bool:
    return at in asked and buffer.until is None and buffer.tensor in asked[at].tensors


def _settled(
    kernels: Sequence[Kernel], level: str, asked: Mapping[int, Berth], homes: Mapping[tuple[int, str, str], int]
) -> tuple[Sequence[Kernel], dict[int, Berth]]:
    def home(at: int, buffer: Placement) -> Placement:
        offset = homes[at, buffer.tensor, buffer.engine] if buffer.level == level else buffer.offset_bytes
        return buffer if offset == buffer.offset_bytes else replace(buffer, offset_bytes=offset)

    found = {at: replace(b, buffers=tuple(home(at, buffer) for buffer in b.buffers)) for at, b in asked.items()}
    kernels = tuple(replace(k, buffers=tuple(home(k.index, b) for b in _with(k, asked))) for k in kernels)
    return kernels, found


def _fewer(asked: Mapping[int, Berth], homeless: Sequence[Request], moments: int) -> dict[int, Berth]:
    """The berths without those that take most room over time beside what found no place."""
    left = dict(asked)
    ranked = sorted(asked, key=lambda at: -sum(asked[at].bytes) * (1 + at - asked[at].first))
    for request in homeless:
        missing = request.bytes
        for at in ranked:
            if missing > 0 and asked[at].first * moments <= request.last and request.first < (at + 1) * moments:
                missing -= sum(asked[at].bytes)
                left.pop(at, None)
    return left


class Shelf:
    """The memory over time: what is taken while each kernel runs."""

    def __init__(self, kernels: Sequence[Kernel], level: str, capacity_bytes: int, berths: Mapping[int, Berth]) -> None:
        """Take what the schedule holds, and what berths hold before their kernels."""
        self.level, self.capacity_bytes = level, capacity_bytes
        self.taken: list[set[tuple[int, int]]] = [set() for _ in kernels]
        for kernel in kernels:
            for buffer in kernel.buffers:
                first, last = kernel.live(buffer) if buffer.level == level else (0, -1)
                for index in range(first, last + 1):
                    self.taken[index].add(_span(buffer))
        for at, berth in berths.items():
            for index in range(berth.first, at):
                self.taken[index].update(_span(buffer) for buffer in berth.buffers)

    def berth(self, kernel: Kernel, costing: Costing, items: Sequence[Prefetched]) -> Berth | None:
        """The first way of loading a kernel's weights early that finds room; it is taken from then on."""
        total, starts = sum(item.bytes for item in items), sorted({item.during for item in items})
        own = _own(kernel, self.level)
        left = self.taken[kernel.index] - {_span(b) for b in own.values()}
        for part in _PARTS:
            loads = list(_loads(kernel.index, costing, own, total / part))
            grown = _grown(own, loads)
            beside = left | {_span(b) for b in own.values() if b.tensor not in dict(loads)}
            for first in starts[:_STARTS]:
                placed = self._place(grown, first, kernel.index, beside) if grown else None
                if placed is not None:
                    return Berth(first, tuple(placed), tuple(size for _, size in loads))
        return None

    def stays(self, at: int, buffers: Sequence[Placement]) -> list[Placement] | None:
        """Buffers of kernel `at` at addresses that are free while the next one runs as well; they are taken then."""
        left = self.taken[at] - {_span(buffer) for buffer in buffers}
        placed = self._fitted(buffers, self.taken[at + 1] | left)
        if placed is not None:
            spans = {_span(buffer) for buffer in placed}
            self.taken[at], self.taken[at + 1] = left | spans, self.taken[at + 1] | spans
        return placed

    def _place(
        self, buffers: Sequence[Placement], first: int, last: int, beside: set[tuple[int, int]]
    ) -> list[Placement] | None:
        placed = self._fitted(buffers, beside.union(*self.taken[first:last]))
        if placed is not None:
            spans = {_span(buffer) for buffer in placed}
            for index in range(first, last):
                self.taken[index] |= spans
            self.taken[last] = beside | spans
        return placed

    def _fitted(self, buffers: Sequence[Placement], taken: set[tuple[int, int]]) -> list[Placement] | None:
        """Buffers in the lowest gaps beside what is taken."""
        placed: list[Placement] = []
        for buffer in buffers:
            offset = _lowest_gap(taken, buffer.total_bytes)
            if offset + buffer.total_bytes > self.capacity_bytes:
                return None
            placed.append(replace(buffer, offset_bytes=offset))
            taken = taken | {_span(placed[-1])}
        return placed


def _span(buffer: Placement) -> tuple[int, int]:
    start = buffer.offset_bytes or 0
    return start, start + -(-buffer.total_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _lowest_gap(taken: set[tuple[int, int]], size: int) -> int:
    """The lowest address with `size` free bytes beside intervals that are taken."""
    free = 0
    for start, end in sorted(taken):
        if start - free >= size:
            break
        free = max(free, end)
    return free


def _loads(index: int, costing: Costing, own: Mapping[str, Placement], total: float) -> Iterator[tuple[str, int]]:
    """(tensor, bytes) of a kernel's constants that have buffers, one after the other, up to `total`; whole lines."""
    left = int(total)
    for operand in costing.kernels[index].reads:
        if not operand.constant or left <= 0 or operand.name not in own:
            continue
        whole = int(costing.bytes_of(operand))
        size = whole if whole <= left else left // ALIGNMENT_BYTES * ALIGNMENT_BYTES
        left -= whole
        if size > 0:
            yield operand.name, size
