"""Runs of kernels that could be one kernel in groups of channels, and what each would take: candidates for a pass.

A run starts where a product opens it or something channel-wise reads a tensor by groups, and goes on as long as every
node can join. It is priced where it may gain at all: its busiest engine and its transfers must be shorter than its
kernels are one after the other in the timeline. Runs that look alike, as those of the layers of a network do, are
looked at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model.channel_maps import ChannelStack, NotByChannels
from roofwright.cost_model.channel_walk import Walk, view_of
from roofwright.cost_model.channel_ways import Asked, Ways
from roofwright.cost_model.costing import Costing
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.schedule import Schedule
from roofwright.cost_model.timeline import Timeline
from roofwright.cost_model.work import Operand

LONGEST = 12  # kernels in one run
WALK = 20_000  # kernels looked at for all runs together: bounds the time on very large graphs
_WORTH = 0.03  # of its kernels' time: what a run must gain at least to be looked at
_SHARE = 2e-4  # of the device time, likewise


@dataclass(frozen=True)
class ChannelRun:
    """Kernels `first` to `last` as one, in groups of `size` channels.

    Attributes:
        lags, engines: of every node.
        seconds: what it takes; `before_s`: its kernels one after the other.
    """

    first: int
    last: int
    size: int
    lags: tuple[int, ...]
    engines: tuple[int, ...]
    seconds: float
    before_s: float


class ChannelRuns:
    """All runs of a costing's kernels."""

    def __init__(self, costing: Costing, usual: Timeline, schedule: Schedule) -> None:
        """Look at the kernels of `costing`, which is that of `schedule` and takes what the timeline `usual` says."""
        self.costing, self.target, self.kernels = costing, costing.target, costing.kernels
        stay = [(b.bytes, k.index, b.until or 0) for k in schedule.kernels for b in k.resident]
        self.stay_bytes, self.stay_first, self.stay_last = np.array(stay, np.int64).reshape(-1, 3).T
        self.span_s: list[float] = np.diff(usual.end_s, prepend=0.0).tolist()
        self.least_s = _SHARE * usual.total_s
        self.early = [(item.kernel, item.during, item.seconds) for item in usual.prefetched]
        self.last_read: dict[str, int] = {}
        for at, kernel in enumerate(self.kernels):
            self.last_read.update((operand.name, at) for operand in kernel.reads)
        self.last_read.update(dict.fromkeys(costing.outputs, len(self.kernels)))
        self.ways = Ways(costing)
        self.tokens = self._tokens()
        self.runs: dict[tuple[int, ...], bool | None] = {}  # kernels -> whether they run; None: nor with more
        self.stacks: dict[tuple[int, ...], ChannelStack] = {}

    def best(self) -> list[ChannelRun]:
        """The best way of every run that gains, alone."""
        alike: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for first, last in self._windows():
            alike.setdefault(self._key(first, last), []).append((first, last))
        found = []
        for key, ways in self.ways.of({key: self._asked(spans) for key, spans in alike.items()}).items():
            for first, last in alike[key]:
                before_s, room = sum(self.span_s[first : last + 1]), self._room(first, last)
                way = next((way for way in ways if way.bytes <= room), None)
                if way is not None and way.seconds < before_s:
                    found.append(ChannelRun(first, last, way.size, way.lags, way.on, way.seconds, before_s))
        return found

    # ---- windows
    def _windows(self) -> Iterator[tuple[int, int]]:
        """Runs that can be and may gain."""
        longest = max(2, min(LONGEST, WALK // max(len(self.kernels), 1)))
        for first in range(len(self.kernels) - 1):
            near: set[str] = set()
            walk: Walk | None = None
            for last in range(first, min(first + longest, len(self.kernels))):
                kernel = self.kernels[last]
                joins = last == first or any(operand.name in near for operand in kernel.reads)
                if not joins or last in self.costing.apart or not kernel.nodes:
                    break
                near.update(operand.name for operand in (*kernel.reads, *kernel.writes) if not operand.constant)
                key = self._key(first, last)
                if key not in self.runs:
                    walk = self._walked(walk, first, last)
                    self.runs[key] = None if walk is None else walk.runs
                if self.runs[key] is None:
                    break
                if last > first and self.runs[key] and self._may_gain(first, last):
                    if key not in self.stacks:
                        walk = self._walked(walk, first, last)
                        assert walk is not None
                        self.stacks[key] = walk.stack(frozenset(o.name for o in self._leaving(first, last)))
                    yield first, last

    def _key(self, first: int, last: int) -> tuple[int, ...]:
        return self.tokens[first : last + 1]

    def _walked(self, walk: Walk | None, first: int, last: int) -> Walk | None:
        """The nodes of a run, of which `walk` may have all but those of the last kernel; None: they do not run."""
        nodes = [node for kernel in self.kernels[first : last + 1] for node in kernel.nodes]
        try:
            behind = self.kernels[last].nodes
            if walk is not None and len(walk.parts) == len(nodes):
                return walk
            if walk is None or walk.view != view_of(nodes) or len(walk.parts) + len(behind) != len(nodes):
                return Walk.of(self.costing.model.maps, nodes)
            for node in behind:
                walk.add(node)
        except NotByChannels:
            return None
        return walk

    def _tokens(self) -> tuple[int, ...]:
        """A number for every kernel: kernels of one number do the same, to what lies as far back."""
        made: dict[str, int] = {}
        read: dict[str, int] = {}
        known: dict[object, int] = {}
        found = []
        for at, kernel in enumerate(self.kernels):
            kept = self.costing.held.kept[at]
            nodes = tuple(
                (n.op, n.work.nests, n.work.lane_ops, n.work.special_ops, str(n.node.attrs), _shape(n.node.outputs))
                for n in kernel.nodes
            )
            reads = tuple(
                (_back(made, o.name, at), _back(read, o.name, at), o.elements, o.dtype, o.constant, o.name in kept)
                for o in kernel.reads
            )
            writes = tuple((o.elements, o.name in kept, self._leaves(o.name, at)) for o in kernel.writes)
            key = (nodes, reads, writes, int(self.costing.prices.engine[at]), at in self.costing.apart)
            found.append(known.setdefault(key, len(known)))
            made.update((operand.name, at) for operand in kernel.writes)
            read.update((operand.name, at) for operand in kernel.reads)
        return tuple(found)

    def _leaves(self, name: str, at: int) -> int:
        return min(self.last_read.get(name, at) - at, LONGEST)

    # ---- gains
    def _may_gain(self, first: int, last: int) -> bool:
        """Whether the busiest engine and the transfers are shorter than the kernels are now."""
        before_s = sum(self.span_s[first : last + 1])
        engine_s = (sum(column) for column in zip(*self.ways.engine_s[first : last + 1], strict=True))
        gain_s: float = before_s - max(*engine_s, self._moved_s(first, last))
        return gain_s > max(_WORTH * before_s, self.least_s)

    def _moved_s(self, first: int, last: int) -> float:
        """Transfers of a run: weights, and what comes in and leaves and does not stay on chip."""
        made = {operand.name for k in self.kernels[first:last] for operand in k.writes}
        moved = 0.0
        for at in range(first, last + 1):
            kernel, kept = self.kernels[at], self.costing.held.kept[at]
            moved += sum(self.costing.bytes_of(o) for o in kernel.reads if o.name not in kept and o.name not in made)
            leaves = (o for o in kernel.writes if o.name not in kept and self.last_read.get(o.name, -1) > last)
            moved += sum(self.costing.bytes_of(o) for o in leaves)
        return moved / self.ways.rate

    def _asked(self, spans: Sequence[tuple[int, int]]) -> Asked:
        """Runs that look alike as one kernel."""
        first, last = spans[0]
        members = self.kernels[first : last + 1]
        made = {operand.name for kernel in members for operand in kernel.writes}
        reads = {o.name: o for kernel in members for o in reversed(kernel.reads) if o.name not in made}
        writes = self._leaving(first, last)
        nodes = tuple(node for kernel in members for node in kernel.nodes)
        own = tuple(
            int(self.costing.prices.engine[at]) for at in range(first, last + 1) for _ in self.kernels[at].nodes
        )
        stays = {name for at in range(first, last + 1) for name in self.costing.held.kept[at]}
        kept = frozenset(o.name for o in (*reads.values(), *writes) if o.name in stays)
        early_s = sum(s for kernel, during, s in self.early if first <= kernel <= last and during < first)
        most_s = max(sum(self.span_s[first : last + 1]) for first, last in spans)
        work = KernelWork(nodes, tuple(reads.values()), writes)
        return Asked(work, self.stacks[self._key(first, last)], own, kept, early_s, most_s)

    def _leaving(self, first: int, last: int) -> tuple[Operand, ...]:
        """Results of a run that others need."""
        members = self.kernels[first : last + 1]
        return tuple(o for kernel in members for o in kernel.writes if self.last_read.get(o.name, -1) > last)

    def _room(self, first: int, last: int) -> int:
        """Bytes on chip beside tensors that stay there through a run, or from before it, or beyond it."""
        there = (self.stay_first <= last) & (self.stay_last >= first)
        inside = (self.stay_first >= first) & (self.stay_last <= last)
        level = self.target.on_chip
        assert level is not None
        return level.capacity_bytes - int(self.stay_bytes[there & ~inside].sum())


def _back(seen: Mapping[str, int], name: str, at: int) -> int:
    """How many kernels before this one a tensor was seen last; 0: never, or too long ago for one run."""
    back = at - seen.get(name, at)
    return back if back < LONGEST else 0


def _shape(outputs: Sequence[object]) -> tuple[object, ...]:
    return tuple(tuple(getattr(tensor, "shape", None) or ()) for tensor in outputs)
