"""Products that follow each other on one array, strip after strip: what each still waits for.

An array with two planes of weights works through the parts of all nodes as one chain of folds (`systolic.ends`). A part
that follows another streams

    at once                   if its tile is still in a plane: at most two tiles in the whole kernel
    when its tile is in       max(T, R) cycles after the start of the fold before it
    when that has drained     R + C - 2 cycles after the last row of a part whose results it needs

Results that are needed later drain behind what comes between. In this order every end is a maximum of sums of
durations: it never falls when one grows. Weights lie on chip before a kernel's first strip, those of an image before
its own, so that all shifts but the first, which is the kernel's, pass behind the part before them.

References:
    Jouppi et al., arXiv:1704.04760 (ISCA 2017), section 2: the shift hides behind the multiplication before it.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np

from roofwright.cost_model.engines import holds_constant
from roofwright.cost_model.strip_cost import StripCost
from roofwright.cost_model.strip_maps import Step
from roofwright.cost_model.strips import Strips
from roofwright.cost_model.systolic import Ends
from roofwright.cost_model.units import Floats, Ints

PLANES = 2
_SAME_S = 1e-15


@dataclass(frozen=True)
class Visits:
    """One node's parts on an array, step by step; 0 where it has none.

    Attributes:
        stream_s: rows of each part, without first shift and drain.
        wait_s: from the last row of each until the array takes rows for other weights.
        drain_s: from the last row to its last result.
        sources: which other nodes' latest results it needs.
    """

    stream_s: Sequence[float]
    wait_s: Sequence[float]
    drain_s: float
    sources: Sequence[int]


@dataclass
class _Progress:
    """How far an array has come: when it takes further rows, when every node's latest results are out, in seconds."""

    nodes: Sequence[Visits]
    free_s: float = 0.0
    ready_s: list[float] = field(default_factory=list)
    taken_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Nothing has run."""
        self.ready_s = [0.0] * len(self.nodes)
        self.taken_s = [0.0] * len(self.nodes)

    def step(self, at: int) -> None:
        """One part of every node that has one."""
        for node, visits in enumerate(self.nodes):
            stream_s = visits.stream_s[at]
            if stream_s:
                before_s = self.free_s
                end_s = max(before_s, *(self.ready_s[source] for source in visits.sources), 0.0) + stream_s
                self.ready_s[node] = end_s + visits.drain_s
                self.free_s = end_s + visits.wait_s[at]
                self.taken_s[node] += self.free_s - before_s

    @property
    def drained_s(self) -> float:
        """When all results are out."""
        return max(self.ready_s, default=0.0)


def in_turns(nodes: Sequence[Visits], images: int) -> list[float]:
    """Seconds of every node over all strips of all images, which are alike; the last one's results included."""
    if not nodes:
        return []
    chain, late = _Progress(nodes), None
    for image in range(images):
        begin_s, before_s = chain.free_s, list(chain.taken_s)
        for at in range(len(nodes[0].stream_s)):
            chain.step(at)
        now = [ready_s - chain.free_s for ready_s in chain.ready_s]
        if late is not None and all(abs(a - b) <= _SAME_S for a, b in zip(now, late, strict=True)):
            rest = images - 1 - image
            taken_s = zip(chain.taken_s, before_s, strict=True)
            chain.taken_s = [total + rest * (total - before) for total, before in taken_s]
            skip_s = rest * (chain.free_s - begin_s)
            chain.free_s += skip_s
            chain.ready_s = [ready_s + skip_s for ready_s in chain.ready_s]
            break
        late = now
    last = max(range(len(nodes)), key=chain.ready_s.__getitem__)
    chain.taken_s[last] += chain.drained_s - chain.free_s
    return chain.taken_s


def stepped(arrays: Sequence[Sequence[Visits]], beside_s: Sequence[float], late: bool) -> float:
    """Seconds of all steps of kernels whose engines overlap (`overlap`), without the first shift.

    Args:
        arrays: the parts that each array works on, step by step.
        beside_s: the longest of the other engines in every step.
        late: an array reads what others made in the step before.
    """
    drained_s = 0.0
    found = [_Progress(nodes) for nodes in arrays]
    for at, other_s in enumerate(beside_s):
        for chain in found:
            chain.free_s = max(chain.free_s, drained_s)
            chain.step(at)
        drained_s = max(drained_s + other_s, *(chain.drained_s for chain in found))
    if len(found) > 1:
        return drained_s
    chain, start_s, end_s = _Progress(arrays[0]), 0.0, 0.0
    drain_s = max(visits.drain_s for visits in arrays[0])
    for at, other_s in enumerate(beside_s):
        chain.free_s = max(chain.free_s, start_s)
        begin_s = chain.free_s
        chain.step(at)
        end_s = begin_s + other_s + drain_s
        start_s = end_s if late else begin_s + other_s
    return min(drained_s, max(end_s, chain.drained_s))


def chains(
    cost: StripCost, on: Sequence[int], pieces: Sequence[Ints], busy_s: Floats, ends: Ends, tiled: int = 1
) -> list[Visits]:
    """The parts of one kernel that an array works on, step by step (strip by strip where no node lags).

    Args:
        cost: the kernel's strips.
        on: which of its nests run on the array.
        pieces: of each of these, where its parts are in the arrays that follow, in the order of `cost.pieces`.
        busy_s: each part alone.
        ends: what of it others share.
        tiled: images, one after the other.
    """
    steps = cost.strips.stack.steps
    nodes = [at for at, step in enumerate(steps) for _ in step.work.work.nests]
    reached = _sources(cost, [nodes[n] for n in on])
    folds = sum(int(ends.folds[part].max()) for part in pieces)
    resident = folds <= PLANES and all(holds_constant(steps[nodes[n]].work) for n in on)
    found = []
    for n, part, sources in zip(on, pieces, reached, strict=True):
        where = np.tile(part_of_strip(cost.strips, steps[nodes[n]]), tiled)
        stream_s = np.append(busy_s[part] - ends.fill_s[part] - ends.drain_s[part], 0.0)[where]
        wait_s = np.append(ends.wait_s[part], 0.0)[where]
        if resident:
            wait_s[np.cumsum(where >= 0) > 1] = 0.0
        before, after = [0.0] * cost.lags[nodes[n]], [0.0] * (max(cost.lags) - cost.lags[nodes[n]])
        stream, wait = ([*before, *each.tolist(), *after] for each in (stream_s, wait_s))
        found.append(Visits(stream, wait, float(ends.drain_s[part[0]]), sources))
    return found


def part_of_strip(strips: Strips, step: Step) -> Ints:
    """Which of `StripCost.pieces` a node makes in every strip of one image; -1: nothing."""
    (row, _), (column, across) = (_sizes(values) for values in strips.new(step.makes[0][0]))
    either = (row[:, None] >= 0) & (column[None, :] >= 0)
    return strips.in_order(np.where(either, row[:, None] * across + column[None, :], -1))


def _sizes(values: Ints) -> tuple[Ints, int]:
    """Position of every value among the positive ones, by size, -1 for others; how many sizes there are."""
    sizes = np.unique(values[values > 0])
    return np.where(values > 0, np.searchsorted(sizes, values), -1), len(sizes)


def _sources(cost: StripCost, on: Sequence[int]) -> list[list[int]]:
    """Of every node of an array, positions in `on` of those whose results reach it, directly or past other work.

    Past other work of the same strip only: what that has made in an earlier step does not wait for the latest results.
    """
    place = {node: at for at, node in enumerate(on)}
    stack, lags = cost.strips.stack, cost.lags
    reach: list[AbstractSet[int]] = []  # of the same lag
    found: list[AbstractSet[int]] = []
    for at, step in enumerate(stack.steps):
        before = {stack.made[read.name] for read in step.reads if read.name in stack.made}
        here = {b: {b} if b in place else reach[b] for b in before}
        reach.append({n for b, nodes in here.items() if lags[b] == lags[at] for n in nodes})
        found.append({n for nodes in here.values() for n in nodes})
    return [sorted(place[source] for source in found[node]) for node in on]
