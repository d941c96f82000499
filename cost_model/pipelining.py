"""Software pipelining inside one kernel: how long load, compute and store of its tiles take when they overlap."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roofwright.cost_model.units import Ints

_MAX_LOOKAHEAD = 3
_STEADY = 1e-12  # relative difference below which two steps count as the same


@dataclass(frozen=True, slots=True)
class Run:
    """`count` identical tiles, one after the other; seconds are per tile.

    `early_s` is the part of `load_s` that needs no earlier kernel's result (weights), so it may be loaded ahead.
    """

    count: int
    load_s: float
    compute_s: float
    store_s: float
    early_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Makespan:
    """One kernel alone: its length, when the last computation ends, and how long each stage is busy."""

    total_s: float
    compute_end_s: float
    load_s: float
    compute_s: float
    store_s: float


def makespan(runs: Sequence[Run], in_buffers: int, out_buffers: int, shared_port: bool) -> Makespan:
    """The kernel's length, at the best lookahead of the port's fixed orders.

    Bounds that hold for every schedule: the busy time of each stage (of loads and stores together on a shared port)
    from below, the sum of all stages from above. For n identical tiles, two buffers and separate ports it equals
    L + (n - 1) max(L, X, Y) + X + Y.
    """
    load_s, compute_s, store_s = stage_totals(runs)
    lookaheads = range(1, min(out_buffers, _MAX_LOOKAHEAD) + 1) if shared_port and store_s > 0 else (1,)
    total_s, compute_end_s = min(_simulate(runs, in_buffers, out_buffers, shared_port, e) for e in lookaheads)
    return Makespan(total_s, compute_end_s, load_s, compute_s, store_s)


def stage_totals(runs: Sequence[Run]) -> tuple[float, float, float]:
    """Seconds of all loads, all computation and all stores."""
    load_s = compute_s = store_s = 0.0
    for run in runs:
        load_s += run.count * run.load_s
        compute_s += run.count * run.compute_s
        store_s += run.count * run.store_s
    return load_s, compute_s, store_s


def _simulate(
    runs: Sequence[Run], in_buffers: int, out_buffers: int, shared_port: bool, lookahead: int
) -> tuple[float, float]:
    """End of everything and end of the last computation, for one order of the port.

    Per tile: its load, the store of the tile `lookahead` before, its computation. Once all ends move by the same amount
    from tile to tile they do so for the rest of the run (max-plus linearity), and the rest is skipped.
    """
    depth = max(in_buffers, out_buffers, lookahead)
    x_end, y_end, waiting = [0.0] * depth, [0.0] * depth, [0.0] * lookahead
    freed = -1 - (out_buffers - lookahead)
    load_free = store_free = load_end = 0.0
    for run in runs:
        load, compute, store = run.load_s, run.compute_s, run.store_s
        left, steady, settled, pace = run.count, 0, 0, -1.0
        while left:
            new_load_end = x_end[-in_buffers]
            if load > 0:
                load_free = new_load_end = max(load_free, new_load_end) + load
            stored, new_y_end = waiting[-lookahead], x_end[-lookahead]
            if stored > 0:
                new_y_end = max(load_free if shared_port else store_free, new_y_end) + stored
                store_free = new_y_end
                load_free = new_y_end if shared_port else load_free
            y_end.append(new_y_end)
            new_x_end = max(new_load_end, x_end[-1], y_end[freed]) + compute
            step = (new_x_end - x_end[-1], new_load_end - load_end, new_y_end - y_end[-2])
            x_end.append(new_x_end)
            waiting.append(store)
            load_end = new_load_end
            left -= 1
            settled += 1
            tolerance = _STEADY * new_x_end
            uniform = max(step) - min(step) <= tolerance and abs(step[0] - pace) <= tolerance and settled > lookahead
            steady, pace = (steady + 1 if uniform else 0), step[0]
            if steady > depth and left:
                skip, left = pace * left, 0
                x_end, y_end = [t + skip for t in x_end[-depth:]], [t + skip for t in y_end[-depth:]]
                load_end += skip
                load_free += skip if load > 0 or (shared_port and store > 0) else 0.0
                store_free += skip if store > 0 else 0.0
    store_free = max(store_free, load_free) if shared_port else store_free
    for ready, stored in zip(x_end[-lookahead:], waiting[-lookahead:], strict=True):
        if stored > 0:
            store_free = max(store_free, ready) + stored
    return max(x_end[-1], load_free, store_free), x_end[-1]


def without_early(runs: Sequence[Run], done_s: float) -> tuple[Run, ...]:
    """The runs left when the first `done_s` of their early loads have been done before."""
    out: list[Run] = []
    for run in runs:
        if done_s <= 0 or run.early_s <= 0:
            out.append(run)
            continue
        whole = min(run.count, int(done_s / run.early_s + 1e-9))
        done_s = max(0.0, done_s - whole * run.early_s)
        out.append(Run(whole, max(0.0, run.load_s - run.early_s), run.compute_s, run.store_s))
        if whole < run.count:
            left_s = run.early_s - done_s
            out.append(Run(1, run.load_s - done_s, run.compute_s, run.store_s, left_s))
            out.append(replace(run, count=run.count - whole - 1))
            done_s = 0.0
    return tuple(run for run in out if run.count)


def johnson_order(load_s: Any, compute_s: Any) -> Ints:
    """The order of tiles that makes load-then-compute shortest when buffers are unbounded.

    First the tiles with load < compute, by rising load, then the others, by falling compute (S. M. Johnson, "Optimal
    two- and three-stage production schedules with setup times included", Naval Research Logistics Quarterly 1, 1954,
    doi:10.1002/nav.3800010110).

    Args:
        load_s: seconds of each tile's load, shape (n,).
        compute_s: seconds of each tile's computation, shape (n,).

    Returns:
        Indices of the tiles in the best order; ties by index.
    """
    load, compute = np.asarray(load_s, np.float64), np.asarray(compute_s, np.float64)
    late = load >= compute
    return np.lexsort((np.arange(len(load)), np.where(late, -compute, load), late)).astype(np.int64)
