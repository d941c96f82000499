"""Kernels in strips whose nodes work on different strips at the same time, each on its engine.

A node of lag l computes strip t - l in step t. What it reads was made in an earlier step, or in this one by a node of
its own lag and engine, and stays in its buffer until the node that is furthest behind is done. All engines start a step
together:

    T = sum over steps t of max over engines e of sum over nodes v on e of d(v, t - lag v)

with d(v, s) the seconds of v's part of strip s, 0 where there is none. An engine's total is the sum of its steps, none
longer than the slowest engine's, so T is never below any engine's total; a step's maximum is never above its sum, so T
is never above that of turns. T is a sum of maxima of sums of durations: it never rises when a duration falls.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.engines import has_lanes, lane_seconds, matrix_table
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.schedule import Kernel, Schedule, ScheduleError
from roofwright.cost_model.strip_cost import StripCost, one_strip
from roofwright.cost_model.strip_maps import Step
from roofwright.cost_model.units import Floats, Ints, Nests
from roofwright.cost_model.work import LoopNest
from roofwright.targets import Target

_FIELDS = ("padded_s", "busy_s", "length_s")


def overlapped(
    prices: Prices,
    kernels: Sequence[KernelWork],
    schedule: Schedule | None,
    strips: Mapping[int, StripCost],
    target: Target,
) -> Prices:
    """Prices with those of kernels whose nodes overlap.

    Raises:
        ScheduleError: an engine is not the target's, cannot run its node, or waits for another within a step.
    """
    piped = [at for at, cost in strips.items() if cost.overlaps]
    if not piped or schedule is None:
        return prices
    padded_s, busy_s, inner_s = prices.padded_s.copy(), prices.busy_s.copy(), prices.inner_s.copy()
    engine, algorithm = prices.engine.copy(), list(prices.algorithm)
    for at in piped:
        kernel, cost = schedule.kernels[at], strips[at]
        on = _engines(kernel, cost, target)
        (matrix, lowering), lanes = _matrix(cost, on, target), _lanes(kernels[at], cost, target)
        engine[at], algorithm[at] = on[0], lowering
        padded_s[at], busy_s[at], inner_s[at] = (makespan(part + lanes, cost.lags) for part in matrix)
        if not np.isfinite(busy_s[at]):
            raise ScheduleError(f"{kernel}: one of its engines cannot run its nodes")
    return replace(prices, padded_s=padded_s, busy_s=busy_s, inner_s=inner_s, engine=engine, algorithm=algorithm)


def makespan(seconds: Floats, lags: Sequence[int]) -> float:
    """Length of all steps.

    Args:
        seconds: of every engine for every node's part of every strip, shape (engines, nodes, strips).
        lags: of every node.
    """
    engines, _, count = seconds.shape
    steps = np.zeros((engines, count + max(lags)))
    for node, lag in enumerate(lags):
        steps[:, lag : lag + count] += seconds[:, node]
    return float(steps.max(axis=0).sum())


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


def _matrix(cost: StripCost, on: Sequence[int], target: Target) -> tuple[list[Floats], str]:
    """Padded, busy and whole seconds of loop nests, each of shape (engines, nodes, strips), and a lowering."""
    parts, spans = list(_parts(cost)), []
    nests: list[LoopNest] = []
    for _, found, _ in parts:
        spans.append(slice(len(nests), len(nests) + len(found)))
        nests += found
    steps = cost.strips.stack.steps
    storage = [storage_of(steps[at].work.work.reads[0].dtype, target) for at, found, _ in parts for _ in found]
    classes = [steps[at].work.work.kind for at, found, _ in parts for _ in found]
    made = [np.zeros((len(target.engines), len(steps), cost.strips.count)) for _ in _FIELDS]
    if not nests:
        return made, ""
    table = matrix_table(Nests.of(nests), storage, classes, target)
    for field, out in zip(_FIELDS, made, strict=True):
        priced = getattr(table, field)
        for (at, _, which), span in zip(parts, spans, strict=True):
            each = np.concatenate([priced[on[at], span], [0.0]])
            out[on[at], at] += np.tile(each[which], steps[at].grid.images)
    return made, str(table.algorithm[on[parts[0][0]], 0])


def _parts(cost: StripCost) -> Iterator[tuple[int, list[LoopNest], Ints]]:
    """(node, its nests of different size, which of them every strip of one image is) of every node with a nest.

    A strip in which a node makes nothing is one past the last nest.
    """
    strips = cost.strips
    for at, step in enumerate(strips.stack.steps):
        for nest in step.work.work.nests:
            yield at, *_sizes(cost, step, nest)


def _sizes(cost: StripCost, step: Step, nest: LoopNest) -> tuple[list[LoopNest], Ints]:
    rows, columns = (np.broadcast_to(part, cost.strips.shape) for part in _new(cost, step))
    sizes, which = np.unique(np.stack([rows.reshape(-1), columns.reshape(-1)]), axis=1, return_inverse=True)
    real = np.flatnonzero(sizes.min(axis=0) > 0)
    place = np.full(sizes.shape[1], len(real), np.int64)
    place[real] = np.arange(len(real))
    nests = [one_strip(nest, step, int(r), int(c)) for r, c in sizes[:, real].T]
    return nests, cost.strips.in_order(place[which.reshape(rows.shape)])


def _new(cost: StripCost, step: Step) -> tuple[Ints, Ints]:
    rows, columns = cost.strips.new(step.makes[0][0])
    return rows[:, None], columns[None, :]


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
