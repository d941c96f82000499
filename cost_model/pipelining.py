"""Software pipelining inside one kernel: how long load, compute and store of its tiles take when they overlap."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np

from roofwright.cost_model.units import Ints

_MAX_LOOKAHEAD = 3
_STEADY = 1e-12  # relative difference below which two steps count as the same


@dataclass(frozen=True, slots=True)
class Port:
    """The way to the device memory and the engines that move data over it.

    A transfer holds its engine from its set-up to its last byte, and the port while its bytes move: set-ups on
    different engines overlap, bytes share the bandwidth one after the other.

    Attributes:
        shared: loads and stores take turns; otherwise each way has `engines` of its own.
        engines: transfers in flight at once.
        setup_s: from the start of a transfer to its first byte.
    """

    shared: bool = True
    engines: int = 1
    setup_s: float = 0.0

    def slot_s(self, seconds: float, transfers: int = 1) -> float:
        """What so many equal transfers of `seconds` together take of the port, whatever goes on beside them.

        The port is busy for d per transfer and an engine for setup + d; transfers that take max(d, (setup + d) / k)
        each of a span leave time enough of the port and of k engines for all of them.
        """
        if seconds <= 0:
            return 0.0
        return max(seconds, (transfers * self.setup_s + seconds) / self.engines)

    def after_setup_s(self, seconds: float, transfers: int) -> float:
        """From the first byte of the first of `transfers` equal ones to the last byte of the last."""
        if transfers <= 1 or seconds <= 0:
            return seconds
        one = seconds / transfers
        return one + (transfers - 1) * max(one, (self.setup_s + one) / self.engines)


@dataclass(frozen=True, slots=True)
class Run:
    """`count` identical tiles, one after the other; seconds are per tile, of moving bytes alone.

    `early_s` is the part of `load_s` that needs no earlier kernel's result (weights), so it may be loaded ahead; it is
    one transfer of the `loads` that a tile has. `stores` are the transfers of its results.
    """

    count: int
    load_s: float
    compute_s: float
    store_s: float
    early_s: float = 0.0
    loads: int = 1
    stores: int = 1


@dataclass(frozen=True, slots=True)
class Makespan:
    """One kernel alone: its length, when the last computation ends, and how long each stage is busy.

    `load_s` and `store_s` are what the transfers take of the port, set-ups that no other engine hides included.
    """

    total_s: float
    compute_end_s: float
    load_s: float
    compute_s: float
    store_s: float


def makespan(runs: Sequence[Run], in_buffers: int, out_buffers: int, port: Port, taken_s: float = 0.0) -> Makespan:
    """The kernel's length, at the best lookahead of the port's fixed orders.

    For `taken_s` from its start on the port stores results of the kernel before it; where it has two ways, the way out.

    Bounds that hold for every schedule: the busy time of the unit, of the port (of each way, where there are two) and
    of its engines from below, the sum of all stages from above. For n identical tiles, two buffers, two ways and no
    set-up it equals L + (n - 1) max(L, X, Y) + X + Y.
    """
    load_s, compute_s, store_s = stage_totals(runs, port)
    lookaheads = range(1, min(out_buffers, _MAX_LOOKAHEAD) + 1) if port.shared and store_s > 0 else (1,)
    total_s, compute_end_s = min(_simulate(runs, in_buffers, out_buffers, port, e, taken_s) for e in lookaheads)
    return Makespan(total_s, compute_end_s, load_s, compute_s, store_s)


def stage_totals(runs: Sequence[Run], port: Port) -> tuple[float, float, float]:
    """What all loads take of the port, seconds of all computation, and what all stores take."""
    load_s = compute_s = store_s = 0.0
    for run in runs:
        load_s += run.count * port.slot_s(run.load_s, run.loads)
        compute_s += run.count * run.compute_s
        store_s += run.count * port.slot_s(run.store_s, run.stores)
    return load_s, compute_s, store_s


def _simulate(
    runs: Sequence[Run], in_buffers: int, out_buffers: int, port: Port, lookahead: int, taken_s: float
) -> tuple[float, float]:
    """End of everything and end of the last computation, for one order of the port.

    Per tile: its load, the store of the tile `lookahead` before, its computation. The transfer after k others waits for
    the engine of the first of them. Once all ends move by the same amount from tile to tile they do so for the rest of
    the run (max-plus linearity), and the rest is skipped.
    """
    engines = min(port.engines, in_buffers + out_buffers) if port.setup_s else 1  # more are never in flight
    depth = max(in_buffers, out_buffers, lookahead, engines)
    x_end, y_end, waiting = [0.0] * depth, [0.0] * depth, [0.0] * lookahead
    freed, setup = -1 - (out_buffers - lookahead), port.setup_s
    loads = [0.0] * depth  # ends of the transfers on the way in, and out: the same list where they share it
    stores = loads if port.shared else [0.0] * depth
    stores[-1] = taken_s
    load_end = 0.0
    for run in runs:
        load, compute = port.after_setup_s(run.load_s, run.loads), run.compute_s
        store = port.after_setup_s(run.store_s, run.stores)
        left, steady, settled, pace = run.count, 0, 0, -1.0
        while left:
            new_load_end = x_end[-in_buffers]
            if load > 0:
                new_load_end = max(loads[-1], max(new_load_end, loads[-engines]) + setup) + load
                loads.append(new_load_end)
            stored, new_y_end = waiting[-lookahead], x_end[-lookahead]
            if stored > 0:
                new_y_end = max(stores[-1], max(new_y_end, stores[-engines]) + setup) + stored
                stores.append(new_y_end)
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
                if load > 0 or (port.shared and store > 0):
                    loads[:] = [t + skip for t in loads[-depth:]]
                if store > 0 and not port.shared:
                    stores[:] = [t + skip for t in stores[-depth:]]
    for ready, stored in zip(x_end[-lookahead:], waiting[-lookahead:], strict=True):
        if stored > 0:
            stores.append(max(stores[-1], max(ready, stores[-engines]) + setup) + stored)
    return max(x_end[-1], loads[-1], stores[-1]), x_end[-1]


def without_early(runs: Sequence[Run], done_s: float) -> tuple[Run, ...]:
    """The runs left when the first `done_s` of their early loads have been done before."""
    out: list[Run] = []
    for run in runs:
        if done_s <= 0 or run.early_s <= 0:
            out.append(run)
            continue
        whole = min(run.count, int(done_s / run.early_s + 1e-9))
        done_s = max(0.0, done_s - whole * run.early_s)
        rest_s, loads = max(0.0, run.load_s - run.early_s), max(1, run.loads - 1)
        rest_s = 0.0 if rest_s <= _STEADY * run.load_s else rest_s  # what rounding leaves is no transfer
        out.append(replace(run, count=whole, load_s=rest_s, early_s=0.0, loads=loads))
        if whole < run.count:
            left_s = run.early_s - done_s
            out.append(replace(run, count=1, load_s=run.load_s - done_s, early_s=left_s))
            out.append(replace(run, count=run.count - whole - 1))
            done_s = 0.0
    return tuple(run for run in out if run.count)


def tiles_of(runs: Sequence[Run], done_s: float) -> int:
    """Tiles that the first `done_s` of all early loads are for: so many buffers hold them."""
    tiles = 0
    for run in runs:
        if done_s > 0 and run.early_s > 0:
            tiles += min(run.count, ceil(done_s / run.early_s - 1e-9))
            done_s -= run.count * run.early_s
    return tiles


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


def tile_spans(
    runs: Sequence[Run], in_buffers: int, out_buffers: int, port: Port, taken_s: float = 0.0
) -> Iterator[tuple[tuple[float, float], tuple[float, float], tuple[float, float]]]:
    """(start, end) of the load, the computation and the store of every tile, in the order that `makespan` takes.

    Loads and stores begin with their first byte; one that moves nothing ends when its buffer is free, or full.
    """
    store_s = stage_totals(runs, port)[2]
    lookaheads = range(1, min(out_buffers, _MAX_LOOKAHEAD) + 1) if port.shared and store_s > 0 else range(1, 2)
    ahead = min(lookaheads, key=lambda e: _simulate(runs, in_buffers, out_buffers, port, e, taken_s))
    engines = min(port.engines, in_buffers + out_buffers) if port.setup_s else 1
    tiles = [run for run in runs for _ in range(run.count)]
    ways = [0.0] * (engines - 1) + [taken_s]
    out = ways if port.shared else ways.copy()
    loads: list[tuple[float, float]] = []
    computed: list[tuple[float, float]] = []
    stored: list[tuple[float, float]] = []

    def transfer(way: list[float], ready_s: float, seconds: float) -> tuple[float, float]:
        if seconds <= 0:
            return ready_s, ready_s
        start_s = max(way[-1], max(ready_s, way[-engines]) + port.setup_s)
        way.append(start_s + seconds)
        return start_s, way[-1]

    if not port.shared:
        ways[-1] = 0.0
    for at in range(len(tiles) + ahead):
        if at < len(tiles):
            ready_s = computed[at - in_buffers][1] if at >= in_buffers else 0.0
            loads.append(transfer(ways, ready_s, port.after_setup_s(tiles[at].load_s, tiles[at].loads)))
        if at >= ahead:
            tile = tiles[at - ahead]
            stored.append(transfer(out, computed[at - ahead][1], port.after_setup_s(tile.store_s, tile.stores)))
        if at < len(tiles):
            emptied_s = stored[at - out_buffers][1] if at >= out_buffers else 0.0
            start_s = max(loads[at][1], computed[-1][1] if computed else 0.0, emptied_s)
            computed.append((start_s, start_s + tiles[at].compute_s))
    yield from zip(loads, computed, stored, strict=True)
