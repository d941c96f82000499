"""Parts of a network that cannot overlap, whatever the schedule, and what it takes to hand over between them.

A gate (`order`) parts the work of one image: let u be the time when all that its operand needs is done. Work that needs
one of its results begins after u. So between the times of two gates lies all work that follows the one and that the
other needs, and its engines share it at best as in `sharing`; segments add up, where the whole graph's bound lets work
of all parts run at once. Work on a branch beside them counts in no segment.

Arrays with two planes of weights count max(rows streamed, R) cycles for a fold, since the next but one tile is shifted
in while it streams. Between two gates that may fail at both ends. The last fold's next tile is for another segment; but
its own results leave the array R cycles after its rows, and end the segment no earlier. Two tiles may lie in the planes
when the segment begins: of n folds the last then begins (n - 2) R after the first has streamed, so that an array is
taken to begin R cycles before the gate's result. From the run's start no tile lies there: all n shifts come first.

Where a hand-over takes h seconds, what engine k computes is on other engines h later, at the earliest. With f_e the
time when all that a gate needs may be on engine e, results of the gate are there at

    r_e = min over engines k of f_k + (the gate's own latency on k) + (h where k is not e)

and the next gate's f_e is the least T for which shares x of the segment's work exist with

    work of engine k  <=  T - r_k - (h where k is not e)        for every engine k that has any

since work that ends later on k cannot be seen on e by T. So one engine alone pays nothing, and several pay the way back
as far as their work is long enough to be worth it. Every set U of engines is tried; the least T of U is, by duality,
the largest over prices p >= 0 on U with sum 1 of

    sum of p_k (r_k + h where k is not e) + sum over pieces of min over ways on U of (price x seconds)

so that any list of prices gives a valid bound: one grid of them is priced for all segments at once. All that grows
with an f grows, so lower bounds go in and lower bounds come out. Several samples may be dealt out to engines and be in
different segments; a gate has one position of one image, so that with more there is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement, pairwise

import numpy as np

from roofwright.cost_model.floors import Options
from roofwright.cost_model.order import following, gates, needed
from roofwright.cost_model.pieces import Pieces
from roofwright.cost_model.sharing import share
from roofwright.cost_model.traffic import is_cache
from roofwright.cost_model.units import Bools, Floats, Ints
from roofwright.targets import Engine, Systolic, Target

_MOST_GATES = 64  # looked at, evenly spread
_NEAR = 4  # gates back from which a segment may begin
_STEPS = {1: 1, 2: 24, 3: 8}  # of a price, by the number of engines
_MANY_STEPS = 4
_BLENDS = (0.02, 0.05, 0.1, 0.2, 0.4)  # shares of one engine's price beside those that prove the whole graph's bound
_NEVER = 1e30  # seconds of work that no engine of a set can run


def arrivals_s(pieces: Pieces, target: Target, weights_s: Floats, room_s: float, lasts: Sequence[int]) -> list[float]:
    """Least time until all is done that each of some nodes needs whole, and, as the last entry, until everything is.

    Args:
        pieces: the work.
        target: the machine.
        weights_s: the port's seconds for each node's weights, once; shape (nodes,).
        room_s: seconds of weights that lie on the chip at a time.
        lasts: the nodes.
    """
    works, maps = pieces.works, pieces.maps
    found = gates(works, maps)
    found = found[:: max(1, -(-len(found) // _MOST_GATES))]
    after = following(works, maps, found)
    ends = np.concatenate([needed(works, maps, found, lasts), np.ones((1, len(works)), bool)])
    edges = _edges(found, after, lasts)
    starts = np.concatenate([np.ones((1, len(works)), bool), after])
    members = (starts[[s for s, _ in edges]] & ends[[e for _, e in edges]]).astype(np.float64)
    grid = Grid.of(pieces, target)
    priced = members @ grid.priced(pieces)
    port_s = np.maximum(members @ weights_s - room_s, 0.0)
    known = np.zeros((len(found) + 1, len(target.engines)))
    known[0] = _first_s(pieces, target)
    arrival = np.zeros((len(ends), len(target.engines)))
    shifted = np.array([_rows_s(engine) for engine in target.engines])
    latency = _latency(pieces, shifted, found)
    waits = target.stack.handover_s * (1 - np.eye(len(target.engines)))
    for (start, end), value, port in zip(edges, priced, port_s.tolist(), strict=True):
        begins = known[start] + (waits if end < len(found) else 0.0 * waits)
        worked = grid.least(begins - (shifted if start else 0.0), value)
        reached = np.maximum(begins.min(axis=1), known[start].min() + port)
        arrival[end] = np.maximum(arrival[end], np.maximum(worked, reached))
        if end < len(found):
            known[end + 1] = (arrival[end] + latency[end] + waits).min(axis=1)
    return [float(each.min()) for each in arrival[len(found) :]]


def _edges(found: Sequence[int], after: Bools, lasts: Sequence[int]) -> list[tuple[int, int]]:
    """(start, end) of segments: from the run's start (0) or a gate (from 1), to a gate, a node or the run's end."""
    ends = [*found, *lasts]
    edges = []
    for end, at in enumerate(ends):
        edges += [(0, end), *((start + 1, end) for start in np.flatnonzero(after[:, at])[-_NEAR:].tolist())]
    whole = range(max(0, len(found) - _NEAR), len(found))
    return [*edges, (0, len(ends)), *((start + 1, len(ends)) for start in whole)]


def _first_s(pieces: Pieces, target: Target) -> Floats:
    """Seconds before each engine can begin: something was loaded, and an array's first weights were shifted in."""
    worked = {pieces.node[piece] for piece in pieces.options.piece.tolist()}
    loads = not is_cache(target) and all(pieces.works[at].work.reads for at in worked)
    setup_s = target.device_memory.setup_s if loads else 0.0
    return np.array([setup_s + (0.0 if engine.lanes_per_clock else _rows_s(engine)) for engine in target.engines])


def _rows_s(engine: Engine) -> float:
    """Seconds in which a result runs down an array, or a weight; 0 for others."""
    array = engine.geometry
    if not isinstance(array, Systolic) or array.dataflow == "output_stationary" or not engine.macs_per_clock:
        return 0.0
    fastest = max(engine.macs_per_clock.values()) / (array.rows * array.cols)
    return array.rows / (engine.clock_hz * max(fastest, 1.0))


def _latency(pieces: Pieces, rows_s: Floats, found: Sequence[int]) -> Floats:
    """Seconds from the last of a gate's operand to its first result, on every engine; shape (gates, engines)."""
    latency = np.full((len(pieces.works), len(rows_s)), np.inf)
    nests = pieces.options.piece < len(pieces.nests)
    latency[pieces.node[pieces.options.piece[nests]], pieces.options.engine[nests]] = 0.0
    rows = latency[list(found)] + rows_s
    return np.where(np.isfinite(rows).any(axis=1, keepdims=True), rows, 0.0)


@dataclass(frozen=True)
class Grid:
    """Prices of engines: a block for every set of engines that may share a segment.

    Attributes:
        prices: of every engine, shape (prices, engines).
        members: engines of the set of each price, the same shape.
        first: where the blocks begin.
    """

    prices: Floats
    members: Bools
    first: Ints

    @classmethod
    def of(cls, pieces: Pieces, target: Target) -> "Grid":
        """All sets of the engines that have work; only the whole set where handing over is free."""
        engines = np.unique(pieces.options.engine).tolist()
        sizes = range(1, len(engines) + 1) if target.stack.handover_s > 0 else [len(engines)]
        chosen = [list(each) for size in sizes for each in combinations(engines, size)]
        parts = [np.concatenate([_simplex(len(each)), *_around(pieces.options, each)]) for each in chosen]
        prices = np.zeros((sum(map(len, parts)), len(target.engines)))
        members = np.zeros(prices.shape, bool)
        first = np.cumsum([0, *map(len, parts)])
        for each, part, (start, stop) in zip(chosen, parts, pairwise(first.tolist()), strict=True):
            prices[start:stop, each] = part
            members[start:stop, each] = True
        return cls(prices, members, first[:-1])

    def priced(self, pieces: Pieces) -> Floats:
        """Seconds of every node's work at every price, each piece the cheapest way; shape (nodes, prices)."""
        order = np.argsort(pieces.options.piece, kind="stable")
        piece, engine = pieces.options.piece[order], pieces.options.engine[order]
        ways = np.where(self.members.T, self.prices.T, _NEVER)[engine] * pieces.options.engine_s[order, None]
        first = np.flatnonzero(np.diff(piece, prepend=-1))
        least = np.minimum(np.minimum.reduceat(ways, first, axis=0), _NEVER)
        found = np.zeros((len(pieces.works), len(self.prices)))
        np.add.at(found, pieces.node[piece[first]], least)
        return found

    def least(self, begins: Floats, priced: Floats) -> Floats:
        """The least T of some work, for every row of times at which engines may begin.

        Args:
            begins: seconds, shape (rows, engines).
            priced: seconds of the work at every price.
        """
        values = self.prices @ begins.T + priced[:, None]
        return np.asarray(np.maximum.reduceat(values, self.first, axis=0).min(axis=0), np.float64)


def _simplex(size: int) -> Floats:
    """Prices of `size` engines that sum to 1, evenly spread."""
    steps = _STEPS.get(size, _MANY_STEPS)
    cuts = np.array(list(combinations_with_replacement(range(steps + 1), size - 1)), np.float64)
    cuts = cuts.reshape(len(cuts), size - 1)
    edges = np.concatenate([np.zeros((len(cuts), 1)), cuts, np.full((len(cuts), 1), steps)], axis=1)
    return np.asarray(np.diff(edges, axis=1) / steps, np.float64)


def _around(options: Options, engines: Sequence[int]) -> list[Floats]:
    """The prices that prove the whole work's least time on these engines, and some between them and one engine's."""
    if len(engines) == 1:
        return []
    seconds = np.full((int(options.piece.max()) + 1, int(options.engine.max()) + 1), np.inf)
    np.minimum.at(seconds, (options.piece, options.engine), options.engine_s)
    best = share(seconds[:, engines])[1]
    return [best[None], *((1 - blend) * best + blend * np.eye(len(engines)) for blend in _BLENDS)]
