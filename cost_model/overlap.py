"""Kernels in strips whose nodes work on different strips at the same time, each on its engine.

A node of lag l computes strip t - l in step t. What it reads was made in an earlier step, or in this one by a node of
its own lag and engine, and stays in its buffer until the node that is furthest behind is done. All engines start a step
together:

    T = sum over steps t of max over engines e of sum over nodes v on e of d(v, t - lag v)

with d(v, s) the seconds of v's part of strip s, 0 where there is none. An engine's total is the sum of its steps, none
longer than the slowest engine's, so T is never below any engine's total; a step's maximum is never above its sum, so T
is never above that of turns. T is a sum of maxima of sums of durations: it never rises when a duration falls.

On an array with two planes of weights a step's parts are one chain (`visits`), and a step ends in one of two ways,
whichever is shorter for the kernel:

    drained     when all results are out and the other engines are done
    streaming   when the array takes other rows: the others start every step a drain later than the array, when its
                first results come out, and are a drain later done with what the array reads in the next step. They
                write and read everything that much later, so that buffers hold the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roofwright.cost_model.assume import Storage, storage_of
from roofwright.cost_model.engines import MatrixTable, array_ends, has_lanes, lane_seconds, matrix_table
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.memo import Memo
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.schedule import Kernel, Schedule, ScheduleError
from roofwright.cost_model.strip_cost import StripCost
from roofwright.cost_model.systolic import Ends
from roofwright.cost_model.units import Floats, Ints, Nests
from roofwright.cost_model.visits import chains, part_of_strip, stepped
from roofwright.targets import Target


def overlapped(
    prices: Prices,
    kernels: Sequence[KernelWork],
    schedule: Schedule | None,
    strips: Mapping[int, StripCost],
    target: Target,
    memo: Memo,
) -> Prices:
    """Prices with those of kernels whose nodes overlap; `memo`: of other schedules of the same graph.

    Raises:
        ScheduleError: an engine is not the target's, cannot run its node, or waits for another within a step.
    """
    piped = [at for at, cost in strips.items() if cost.overlaps]
    if not piped or schedule is None:
        return prices
    made = {name: getattr(prices, name).copy() for name in ("padded_s", "busy_s", "inner_s", "fill_s", "engine")}
    algorithm = list(prices.algorithm)
    for at in piped:
        kernel, cost = schedule.kernels[at], strips[at]
        known: dict[object, tuple[dict[str, float], str]] = memo.once("overlap", (cost.strips, target), dict)
        asked = (kernel.engine, kernel.nodes)
        if asked not in known:
            parts = _Parts.of(cost, _engines(kernel, cost, target), target)
            found = parts.seconds(_lanes(kernels[at], cost, target))
            known[asked] = {**found, "engine": parts.on[0]}, parts.algorithm
        columns, algorithm[at] = known[asked]
        for name, value in columns.items():
            made[name][at] = value
        if not np.isfinite(made["busy_s"][at]):
            raise ScheduleError(f"{kernel}: one of its engines cannot run its nodes")
    return replace(prices, algorithm=algorithm, **made)


def makespan(seconds: Floats, lags: Sequence[int]) -> float:
    """Length of all steps.

    Args:
        seconds: of every engine for every node's part of every strip, shape (engines, nodes, strips).
        lags: of every node.
    """
    return float(in_steps(seconds, lags).max(axis=0).sum())


def engine_steps(kernel: Kernel, work: KernelWork, cost: StripCost, target: Target) -> Floats:
    """Busy seconds of every engine in every step of a kernel whose nodes overlap, shape (engines, steps)."""
    return _Parts.of(cost, _engines(kernel, cost, target), target).steps(_lanes(work, cost, target))


def in_steps(seconds: Floats, lags: Sequence[int]) -> Floats:
    """Seconds of every engine in every step, shape (engines, steps); arguments as those of `makespan`."""
    engines, _, count = seconds.shape
    steps = np.zeros((engines, count + max(lags)))
    for node, lag in enumerate(lags):
        steps[:, lag : lag + count] += seconds[:, node]
    return steps


def _engines(kernel: Kernel, cost: StripCost, target: Target) -> list[int]:
    """Where every node runs; between engines a node is a strip behind what it reads, elementwise work apart."""
    names = {engine.name: at for at, engine in enumerate(target.engines)}
    asked = [node.engine or kernel.engine for node in kernel.nodes]
    for name in asked:
        if name not in names:
            raise ScheduleError(f"{kernel}: the target has no engine {name}")
    stack = cost.strips.stack
    for name, reads in stack.readers.items():
        for at in (at for at, *_ in reads if name in stack.made):
            before = stack.made[name]
            if asked[before] != asked[at] and cost.lags[before] == cost.lags[at]:
                raise ScheduleError(f"{kernel}: {asked[at]} waits for {asked[before]} within a step")
    return [names[name] for name in asked]


@dataclass(frozen=True)
class _Parts:
    """What every node with a loop nest does in every strip.

    Attributes:
        cost: the strips.
        on: engine of every node.
        nodes: those with a loop nest, in order.
        pieces: of each of them, where its parts of different size are in `table`.
        table: all parts on all engines.
        ends: engine -> what its parts share, where they are chained.
    """

    cost: StripCost
    on: Sequence[int]
    nodes: Sequence[int]
    pieces: Sequence[Ints]
    table: MatrixTable
    ends: Mapping[int, Ends]

    @classmethod
    def of(cls, cost: StripCost, on: Sequence[int], target: Target) -> "_Parts":
        """Price all parts."""
        steps = cost.strips.stack.steps
        nodes = [at for at, step in enumerate(steps) for _ in step.work.work.nests]
        owner = np.array([n for n, pieces in enumerate(cost.pieces) for _ in pieces], np.int64)
        works = [steps[nodes[n]].work.work for n in owner]
        nests = Nests.of([nest for pieces in cost.pieces for nest, _ in pieces])
        held: list[Storage] = [storage_of(work.reads[0].dtype, target) for work in works]
        table = matrix_table(nests, held, [work.kind for work in works], target)
        used = {on[at] for at in nodes}
        rows = [row for row in np.flatnonzero(table.fill_s.any(axis=1)).tolist() if row in used]
        ends = {row: array_ends(nests, held, target.engines[row], target) for row in rows}
        return cls(cost, on, nodes, [np.flatnonzero(owner == n) for n in range(len(nodes))], table, ends)

    @property
    def algorithm(self) -> str:
        """A lowering: that of the first node with a nest."""
        return str(self.table.algorithm[self.on[self.nodes[0]], 0]) if self.nodes else ""

    def seconds(self, lanes: Floats) -> dict[str, float]:
        """Padded, busy, whole (with what feeds the engines) and fill seconds; `lanes`: elementwise work."""
        fed = self.table.length_s.copy()
        for row, ends in self.ends.items():
            fed[row] = np.maximum(fed[row], self.table.inner_s[row] + ends.fill_s + ends.drain_s)
        fill_s = max((float(self.table.fill_s[row].max()) for row in self.ends), default=0.0)
        return {
            "padded_s": makespan(self._placed(self.table.padded_s) + lanes, self.cost.lags),
            "busy_s": fill_s + self._length(self.table.busy_s, lanes),
            "inner_s": fill_s + self._length(fed, lanes),
            "fill_s": fill_s,
        }

    def steps(self, lanes: Floats) -> Floats:
        """Busy seconds of every engine in every step, without what passes before or behind the rows of a chain."""
        each = self.table.busy_s.copy()
        for row, ends in self.ends.items():
            each[row] -= ends.fill_s + ends.drain_s
        return in_steps(self._placed(each) + lanes, self.cost.lags)

    def _length(self, each: Floats, lanes: Floats) -> float:
        """Length of all steps; `each`: of every part alone on every engine."""
        if not self.ends:
            return makespan(self._placed(each) + lanes, self.cost.lags)
        images, found = self.cost.strips.stack.last.images, []
        for row, ends in self.ends.items():
            mine = [n for n, at in enumerate(self.nodes) if self.on[at] == row]
            found.append(chains(self.cost, mine, [self.pieces[n] for n in mine], each[row], ends, images))
        chained = np.isin(np.arange(len(each)), list(self.ends))
        beside = in_steps(self._placed(np.where(chained[:, None], 0.0, each)) + lanes, self.cost.lags).max(axis=0)
        return stepped(found, beside.tolist(), self._late(lanes))

    def _late(self, lanes: Floats) -> bool:
        """Whether an array reads what others make for it in the step before."""
        stack, lags = self.cost.strips.stack, self.cost.lags
        for name, reads in stack.readers.items():
            made = stack.made.get(name)
            later = made is not None and any(lags[at] > lags[made] and self.on[at] in self.ends for at, *_ in reads)
            if made is not None and later and (self.on[made] not in self.ends or lanes[:, made].any()):
                return True
        return False

    def _placed(self, each: Floats) -> Floats:
        """Seconds of all parts on the engine of their node, shape (engines, nodes, strips)."""
        strips, images = self.cost.strips, self.cost.strips.stack.last.images
        made = np.zeros((len(each), len(self.on), strips.count))
        for at, pieces in zip(self.nodes, self.pieces, strict=True):
            where = part_of_strip(strips, strips.stack.steps[at])
            made[self.on[at], at] += np.tile(np.append(each[self.on[at], pieces], 0.0)[where], images)
        return made


def _lanes(work: KernelWork, cost: StripCost, target: Target) -> Floats:
    """Elementwise seconds, shape (engines, nodes, strips): all on the engine that is fastest at them."""
    steps = cost.strips.stack.steps
    found = np.zeros((len(target.engines), len(steps), cost.strips.count))
    here = [at for at, node in enumerate(work.nodes) if has_lanes(node)]
    if not here:
        return found
    whole = np.stack([lane_seconds([work.nodes[at] for at in here], engine, target) for engine in target.engines])
    fastest = int(np.argmin(whole.sum(axis=1)))
    for at, seconds in zip(here, whole[fastest].tolist(), strict=True):
        grid = steps[at].grid
        share = cost.strips.made_by_strip(steps[at].makes[0][0]) / (grid.images * grid.rows * grid.columns)
        found[fastest, at] = np.tile(share * seconds, grid.images)
    return found
