import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofwright.cost_model.ahead import KernelTiles, Prefetched, Room, latest
from roofwright.cost_model.pipelining import Port, Run, johnson_order, makespan, stage_totals, tile_spans, without_early
from roofwright.cost_model.timeline import split_evenly, timeline

seconds = st.one_of(st.just(0.0), st.integers(1, 40).map(float))
runs_of = st.lists(st.builds(Run, st.integers(1, 12), seconds, seconds, seconds), min_size=1, max_size=5)
buffers = st.integers(1, 3)
ports = st.builds(Port, st.booleans(), st.integers(1, 4), st.sampled_from([0.0, 1.0, 3.0]))
taken = st.sampled_from([0.0, 2.0, 9.0])
SHARED, APART = Port(shared=True), Port(shared=False)
ROUNDING = 1 + 1e-12


Tile = tuple[float, float, float]


def plain(runs: Sequence[Run], in_buffers: int, out_buffers: int, port: Port, taken_s: float = 0.0) -> float:
    """The recurrence tile by tile, nothing skipped, at the best of the fixed port orders."""
    tiles = [(r.load_s, r.compute_s, r.store_s) for r in runs for _ in range(r.count)]
    orders = range(1, min(out_buffers, 3) + 1)
    return min(ordered(tiles, in_buffers, out_buffers, port, e, taken_s) for e in orders)


def ordered(tiles: list[Tile], b: int, out: int, port: Port, ahead: int, taken_s: float) -> float:
    ways: list[list[float]] = [[0.0] * 4, [0.0] * 4]
    ways = [ways[0], ways[0]] if port.shared else ways
    ways[1][-1] = taken_s
    computed: list[float] = []
    stored: list[float] = []

    def transfer(way: list[float], ready: float, seconds: float) -> float:
        if seconds <= 0:
            return ready
        way.append(max(way[-1], max(ready, way[-port.engines]) + port.setup_s) + seconds)
        return way[-1]

    for i, (load, compute, _) in enumerate(tiles):
        ready = transfer(ways[0], computed[i - b] if i >= b else 0.0, load)
        if i >= ahead:
            stored.append(transfer(ways[1], computed[i - ahead], tiles[i - ahead][2]))
        emptied = stored[i - out] if i >= out else 0.0
        computed.append(max(ready, computed[-1] if computed else 0.0, emptied) + compute)
    for i in range(len(stored), len(tiles)):
        stored.append(transfer(ways[1], computed[i], tiles[i][2]))
    return max(computed[-1], ways[0][-1], ways[1][-1])


def any_order(tiles: list[Tile], b: int, out: int, port: Port) -> float:
    """The least of all orders in which loads and stores may share the port, each kind in the order of its tiles."""
    n = len(tiles)
    return min(in_order(tiles, b, out, port, set(places)) for places in itertools.combinations(range(2 * n), n))


def in_order(tiles: list[Tile], b: int, out: int, port: Port, load_places: set[int]) -> float:
    """Length where the port's transfers at `load_places` are loads; infinite where one waits for a later one."""
    loaded, computed, stored, way = list[float](), list[float](), list[float](), [0.0] * 4

    def compute_all() -> None:
        while len(computed) < len(loaded) and (len(computed) < out or len(computed) - out < len(stored)):
            at = len(computed)
            emptied = stored[at - out] if at >= out else 0.0
            computed.append(max(loaded[at], computed[-1] if computed else 0.0, emptied) + tiles[at][1])

    for place in range(2 * len(tiles)):
        compute_all()
        is_load = place in load_places
        at, needed = (len(loaded), len(loaded) - b) if is_load else (len(stored), len(stored))
        if needed >= len(computed):
            return float("inf")
        ready, seconds = computed[needed] if needed >= 0 else 0.0, tiles[at][0 if is_load else 2]
        if seconds > 0:
            ready = max(way[-1], max(ready, way[-port.engines]) + port.setup_s) + seconds
            way.append(ready)
        (loaded if is_load else stored).append(ready)
    return max(computed[-1], way[-1])


few = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=4)


@settings(max_examples=40)
@given(few, st.integers(1, 2), st.integers(1, 2), st.integers(1, 3), st.sampled_from([0.0, 2.0, 5.0]))
def test_between_the_bounds_and_the_best_of_all_port_orders(
    tiles: list[Tile], b: int, out: int, engines: int, setup_s: float
) -> None:
    port = Port(True, engines, setup_s)
    best = any_order(tiles, b, out, port)
    moved = sum(load + store for load, _, store in tiles)
    assert best >= max(moved + setup_s, (2 * len(tiles) * setup_s + moved) / engines) - 1e-9
    assert best >= min(t[0] for t in tiles) + sum(t[1] for t in tiles) + min(t[2] for t in tiles) + 2 * setup_s - 1e-9
    got = makespan([Run(1, *tile) for tile in tiles], b, out, port).total_s
    serial = sum(sum(tile) + 2 * setup_s for tile in tiles)
    assert best - 1e-9 <= got <= serial + 1e-9


@settings(max_examples=40)
@given(st.integers(2, 5), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), ports, taken)
def test_equal_tiles_on_any_port_stay_below_the_turns_of_load_and_store(
    n: int, load: int, compute: int, store: int, port: Port, taken_s: float
) -> None:
    got = makespan([Run(n, load, compute, store)], 2, 2, port, taken_s).total_s
    each_load, each_store = load + port.setup_s, store + port.setup_s
    turns = each_load + (n - 1) * max(each_load + each_store, compute) + compute + each_store
    assert got <= turns + taken_s + 1e-9


@given(runs_of, buffers, buffers, ports, taken)
def test_skipping_steady_tiles_changes_nothing(runs: list[Run], b: int, out: int, port: Port, taken_s: float) -> None:
    got = makespan(runs, b, out, port, taken_s).total_s
    assert got == pytest.approx(plain(runs, b, out, port, taken_s), rel=1e-9)


@given(runs_of, buffers, buffers, ports, taken)
def test_the_spans_of_tiles_are_those_of_the_kernel(
    runs: list[Run], b: int, out: int, port: Port, taken_s: float
) -> None:
    whole, spans = makespan(runs, b, out, port, taken_s), list(tile_spans(runs, b, out, port, taken_s))
    assert len(spans) == sum(run.count for run in runs)
    ends = [span[1] for tile in spans for span in tile if span[1] > span[0]]
    assert max([*ends, taken_s, spans[-1][1][1]]) == pytest.approx(whole.total_s)
    assert spans[-1][1][1] == pytest.approx(whole.compute_end_s)
    for at, (load, compute, store) in enumerate(spans):
        assert compute[0] >= load[1] - 1e-9
        assert store[0] >= compute[1] - 1e-9
        assert at < b or load[0] >= spans[at - b][1][1] - 1e-9
        assert at < out or compute[0] >= spans[at - out][2][1] - 1e-9
    moved = [span for load, _, store in spans for span in ((load, store) if port.shared else (load,))]
    busy = sorted(span for span in moved if span[1] > span[0])
    assert all(first[1] <= second[0] + 1e-9 for first, second in itertools.pairwise(busy))


@given(runs_of, buffers, buffers, ports)
def test_between_the_busiest_stage_and_the_serial_sum(runs: list[Run], b: int, out: int, port: Port) -> None:
    tiles = [(r.load_s, r.compute_s, r.store_s) for r in runs for _ in range(r.count)]
    loads, computes, stores = (sum(column) for column in zip(*tiles, strict=True))
    setups = [sum(tile[at] > 0 for tile in tiles) * port.setup_s for at in (0, 2)]
    got = makespan(runs, b, out, port)
    busy = (loads + stores,) if port.shared else (loads, stores)
    held = (loads + stores + sum(setups),) if port.shared else (loads + setups[0], stores + setups[1])
    assert got.total_s * ROUNDING >= max(computes, *busy, *(seconds / port.engines for seconds in held))
    assert got.total_s <= (loads + computes + stores + sum(setups)) * ROUNDING
    assert got.compute_end_s <= got.total_s


@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 50), st.integers(1, 50))
def test_identical_tiles_on_separate_ports_have_a_closed_form(n: int, load: int, compute: int, store: int) -> None:
    got = makespan([Run(n, load, compute, store)], 2, 2, APART).total_s
    assert got == pytest.approx(load + (n - 1) * max(load, compute, store) + compute + store, rel=1e-12)


@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 50), st.integers(1, 50))
def test_identical_tiles_on_a_shared_port_stay_in_the_interval(n: int, load: int, compute: int, store: int) -> None:
    got = makespan([Run(n, load, compute, store)], 2, 2, SHARED).total_s
    assert max(n * (load + store), load + n * compute + store) <= got * ROUNDING
    assert got <= (load + (n - 1) * max(load + store, compute) + compute + store) * ROUNDING


more = st.integers(0, 2)
less = st.sampled_from([0.25, 0.5, 0.9])


@given(runs_of, buffers, buffers, ports, more, more, more)
def test_more_buffers_and_engines_never_hurt(
    runs: list[Run], b: int, out: int, port: Port, more_in: int, more_out: int, more_engines: int
) -> None:
    usual, better = makespan(runs, b, out, port).total_s, replace(port, engines=port.engines + more_engines)
    assert makespan(runs, b + more_in, out + more_out, better).total_s <= usual * ROUNDING


@given(runs_of, buffers, buffers, ports, less, less, less)
def test_a_faster_port_or_unit_never_hurts(
    runs: list[Run], b: int, out: int, port: Port, by: float, unit: float, setup: float
) -> None:
    faster = [replace(r, load_s=r.load_s * by, compute_s=r.compute_s * unit, store_s=r.store_s * by) for r in runs]
    quick = replace(port, setup_s=port.setup_s * setup)
    assert makespan(faster, b, out, quick).total_s <= makespan(runs, b, out, port).total_s * ROUNDING


@given(runs_of, buffers, buffers, ports, taken)
def test_ways_of_their_own_are_never_slower_and_what_takes_the_port_delays_by_no_more_than_it(
    runs: list[Run], b: int, out: int, port: Port, taken_s: float
) -> None:
    shared = makespan(runs, b, out, replace(port, shared=True)).total_s
    assert makespan(runs, b, out, replace(port, shared=False)).total_s <= shared * ROUNDING
    usual, later = (makespan(runs, b, out, port, seconds).total_s for seconds in (0.0, taken_s))
    assert usual <= later * ROUNDING
    assert later <= (usual + taken_s) * ROUNDING


def test_set_ups_overlap_on_several_engines_by_hand() -> None:
    # Set-up 3, bytes 1, computation 1. One engine: a tile every 4. Two: the second set-up runs beside the first.
    runs = [Run(4, 1.0, 1.0, 0.0)]
    assert [makespan(runs, 4, 1, Port(True, k, 3.0)).total_s for k in (1, 2, 4)] == [17.0, 10.0, 8.0]
    assert makespan([Run(1, 4.0, 0.0, 0.0, loads=4)], 1, 1, Port(True, 1, 3.0)).total_s == 16.0
    assert [Port(True, k, 3.0).slot_s(1.0) for k in (1, 2, 4, 8)] == [4.0, 2.0, 1.0, 1.0]


def test_hand_computed_single_buffers() -> None:
    # One input and one output buffer: load 2 waits for computation 1 (3), computation 2 for store 1 (7).
    assert makespan([Run(2, 1.0, 2.0, 4.0)], 1, 1, APART).total_s == 13.0
    # Two of each: loads 0-2, computations 1-3-5, stores 3-7-11.
    assert makespan([Run(2, 1.0, 2.0, 4.0)], 2, 2, APART).total_s == 11.0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6))
def test_johnsons_order_is_the_best_of_all(tiles: list[tuple[int, int]]) -> None:
    def length(order: Sequence[int]) -> float:
        runs = [Run(1, float(tiles[i][0]), float(tiles[i][1]), 0.0) for i in order]
        return makespan(runs, len(tiles), 1, APART).total_s

    order = johnson_order([t[0] for t in tiles], [t[1] for t in tiles])
    assert sorted(order.tolist()) == list(range(len(tiles)))
    assert length(order.tolist()) == min(length(p) for p in itertools.permutations(range(len(tiles))))


def test_johnsons_order_by_hand() -> None:
    # Loads shorter than computations first (by load 1, 3), then the others by falling computation (6, 2).
    assert johnson_order([4, 3, 1, 7], [2, 5, 3, 6]).tolist() == [2, 1, 3, 0]


def test_early_loads_leave_their_tiles_first_to_last() -> None:
    runs = (Run(1, 5.0, 1.0, 0.0, early_s=4.0), Run(3, 2.0, 1.0, 0.0, early_s=2.0), Run(2, 1.0, 1.0, 0.0))
    assert without_early(runs, 0.0) == runs
    assert without_early(runs, 7.0) == (
        Run(1, 1.0, 1.0, 0.0),
        Run(1, 0.0, 1.0, 0.0),
        Run(1, 1.0, 1.0, 0.0, early_s=1.0),
        Run(1, 2.0, 1.0, 0.0, early_s=2.0),
        Run(2, 1.0, 1.0, 0.0),
    )
    assert stage_totals(without_early(runs, 10.0), SHARED)[0] == 3.0


def test_weights_travel_in_the_idle_time_of_the_kernel_before() -> None:
    first = KernelTiles((Run(1, 1.0, 10.0, 1.0),), "mxu", spare_bytes=100.0)
    second = KernelTiles((Run(1, 6.0, 3.0, 1.0, early_s=4.0),), "mxu", early_bytes=40.0)
    alone = timeline([first, second], SHARED)
    assert (alone.end_s.tolist(), alone.start_s.tolist()) == ([12.0, 22.0], [0.0, 12.0])
    ahead = timeline([first, second], SHARED, window=1)
    assert ahead.prefetched == (Prefetched(1, 0, 4.0, 40.0),)
    assert ahead.total_s == 18.0
    assert ahead.prefetched_s.tolist() == [0.0, 4.0]
    assert ahead.busy_s() == {"load": 7.0, "store": 2.0, "mxu": 13.0}
    assert (ahead.exposed_load_s.tolist(), ahead.exposed_store_s.tolist()) == ([1.0, 2.0], [1.0, 1.0])


def test_prefetch_stops_at_the_room_there_is_and_at_the_idle_time() -> None:
    second = KernelTiles((Run(1, 20.0, 3.0, 0.0, early_s=20.0),), early_bytes=200.0)
    tight = KernelTiles((Run(1, 1.0, 10.0, 0.0),), spare_bytes=30.0)
    assert timeline([tight, second], SHARED, window=1).prefetched == (Prefetched(1, 0, 3.0, 30.0),)
    wide = replace(tight, spare_bytes=1e9)
    assert timeline([wide, second], SHARED, window=1).prefetched == (Prefetched(1, 0, 10.0, 100.0),)


def test_a_far_kernel_waits_until_the_near_one_has_its_weights() -> None:
    first = KernelTiles((Run(1, 0.0, 10.0, 0.0),), spare_bytes=1000.0)
    near = KernelTiles((Run(1, 6.0, 1.0, 0.0, early_s=6.0),), early_bytes=6.0, spare_bytes=1000.0)
    far = KernelTiles((Run(1, 9.0, 1.0, 0.0, early_s=9.0),), early_bytes=9.0)
    got = timeline([first, near, far], SHARED, window=2)
    assert got.prefetched == (Prefetched(1, 0, 6.0, 6.0), Prefetched(2, 0, 4.0, 4.0), Prefetched(2, 1, 1.0, 1.0))
    assert got.total_s == 10.0 + 1.0 + 4.0 + 1.0
    full = timeline([first, replace(near, spare_bytes=3.0), far], SHARED, window=2)
    assert full.prefetched == (Prefetched(1, 0, 6.0, 6.0), Prefetched(2, 0, 3.0, 3.0))
    blocked = timeline([replace(first, spare_bytes=5.0), near, far], SHARED, window=2)
    assert [p.kernel for p in blocked.prefetched if p.during == 0] == [1]


def test_a_plan_is_followed_as_far_as_the_port_is_idle() -> None:
    first = KernelTiles((Run(1, 1.0, 10.0, 1.0),))
    second = KernelTiles((Run(1, 20.0, 3.0, 0.0, early_s=20.0),), early_bytes=200.0)
    got = timeline([first, second], SHARED, plan=[Prefetched(1, 0, 5.0, 50.0)])
    assert got.prefetched == (Prefetched(1, 0, 5.0, 50.0),)
    over = timeline([first, second], SHARED, plan=[Prefetched(1, 0, 15.0, 150.0)])
    assert over.prefetched == (Prefetched(1, 0, 10.0, 100.0),)
    assert over.total_s == 12.0 + 10.0 + 3.0


def test_a_cache_spreads_transfers_under_the_computation() -> None:
    kernel = KernelTiles((Run(4, 1.0, 1.5, 1.0),), fluid=True)
    assert timeline([kernel], SHARED).total_s == 8.0
    assert timeline([kernel], APART).total_s == 6.0


def test_no_kernels_take_no_time() -> None:
    empty = timeline([], SHARED)
    assert (empty.total_s, empty.busy_s()) == (0.0, {"load": 0.0, "store": 0.0})


kernels_of = st.lists(
    st.builds(
        lambda first, even, count, compute, store, spare, fluid, late: KernelTiles(
            split_evenly(even, compute, store, count, first_s=first),
            early_bytes=first * 2,
            spare_bytes=spare,
            fluid=fluid,
            late=late,
        ),
        seconds,
        seconds,
        st.integers(1, 8),
        seconds,
        seconds,
        st.integers(0, 60).map(float),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)
plain_ports = st.sampled_from([SHARED, APART])


@given(kernels_of, ports, st.integers(0, 3), st.integers(0, 30), st.integers(0, 2))
def test_prefetch_never_hurts(kernels: list[KernelTiles], port: Port, window: int, spare: int, wider: int) -> None:
    usual = timeline(kernels, port, window=window)
    roomier = [replace(k, spare_bytes=k.spare_bytes + spare) for k in kernels]
    assert timeline(roomier, port, window=window + wider).total_s <= usual.total_s * ROUNDING + 1e-9
    assert usual.total_s <= timeline(kernels, port).total_s * ROUNDING + 1e-9


@given(kernels_of, plain_ports, st.integers(0, 3))
def test_a_timeline_adds_up(kernels: list[KernelTiles], port: Port, window: int) -> None:
    got = timeline(kernels, port, window=window)
    spans = got.compute_s + got.exposed_load_s + got.exposed_store_s
    assert spans == pytest.approx(got.end_s - got.start_s, abs=1e-9)
    totals = np.array([stage_totals(k.runs, port) for k in kernels]).sum(axis=0)
    busy = got.busy_s()
    assert (busy["load"], busy[""], busy["store"]) == pytest.approx(tuple(totals), abs=1e-9)
    floor = max(*totals, totals[0] + totals[2] if port.shared else 0.0)
    assert floor <= got.total_s * ROUNDING + 1e-9
    assert got.total_s <= totals.sum() * ROUNDING + 1e-9
    for during, kernel in enumerate(kernels):
        held = sum(p.bytes for p in got.prefetched if p.during <= during < p.kernel)
        assert held <= kernel.spare_bytes + 1e-6


@given(kernels_of, ports, st.integers(0, 3))
def test_a_plan_made_by_a_window_prices_the_same(kernels: list[KernelTiles], port: Port, window: int) -> None:
    made = timeline(kernels, port, window=window)
    again = timeline(kernels, port, plan=made.prefetched)
    assert again.total_s == pytest.approx(made.total_s, abs=1e-9)


@given(kernels_of, ports, st.lists(st.booleans(), min_size=6, max_size=6))
def test_storing_late_never_hurts(kernels: list[KernelTiles], port: Port, late: list[bool]) -> None:
    some = [replace(k, late=k.late and now) for k, now in zip(kernels, late, strict=False)]
    assert timeline(kernels, port).total_s <= timeline(some, port).total_s * ROUNDING + 1e-9


def test_the_last_results_are_stored_while_the_next_kernel_computes() -> None:
    first = KernelTiles((Run(2, 0.0, 5.0, 2.0),), "mxu")
    second = KernelTiles((Run(2, 1.0, 4.0, 0.0),), "mxu")
    assert timeline([first, second], SHARED).total_s == 12.0 + 9.0
    late = timeline([replace(first, late=True), second], SHARED)
    # The last store takes the port for 2, and the first load of the next kernel waits for it.
    assert (late.end_s.tolist(), late.taken_s.tolist()) == ([10.0, 21.0], [0.0, 2.0])
    there = replace(second, runs=(Run(2, 0.0, 4.0, 0.0),))
    assert timeline([replace(first, late=True), there], SHARED).total_s == 18.0
    assert timeline([first, replace(there, late=True)], SHARED).total_s == 20.0


@given(kernels_of, ports, st.integers(0, 5), st.integers(0, 60))
def test_rooms_are_filled_and_never_hurt(kernels: list[KernelTiles], port: Port, first: int, size: int) -> None:
    rooms = {at: Room(min(first, at - 1), float(size)) for at in range(1, len(kernels))}
    got = timeline(kernels, port, rooms=rooms)
    assert got.total_s <= timeline(kernels, port).total_s * ROUNDING + 1e-9
    for at, room in rooms.items():
        mine = [p for p in got.prefetched if p.kernel == at]
        assert sum(p.bytes for p in mine) <= room.bytes * ROUNDING
        assert all(room.first <= p.during < at for p in mine)


@given(kernels_of, ports, st.lists(seconds, min_size=6, max_size=6))
def test_the_latest_loads_fit_in_idle_time_and_room(kernels: list[KernelTiles], port: Port, idle: list[float]) -> None:
    found = latest(kernels, port, idle[: len(kernels)], 9)
    for at, kernel in enumerate(kernels):
        cost = sum(
            p.seconds * kernels[p.kernel].early_slot_s(port) / kernels[p.kernel].early_s
            for p in found
            if p.during == at
        )
        assert cost <= idle[at] * ROUNDING
        first = {p.kernel: min(q.during for q in found if q.kernel == p.kernel) for p in found}
        held = sum(p.bytes for p in found if first[p.kernel] <= at < p.kernel)
        assert held <= kernel.spare_bytes + 1e-6
        assert sum(p.bytes for p in found if p.kernel == at) <= kernel.early_bytes * ROUNDING


def test_the_latest_loads_by_hand() -> None:
    idle = KernelTiles((Run(1, 0.0, 10.0, 0.0),), spare_bytes=100.0)
    last = KernelTiles((Run(1, 12.0, 1.0, 0.0, early_s=12.0),), early_bytes=24.0)
    assert latest([idle, idle, last], SHARED, [10.0, 10.0, 0.0], 9) == [
        Prefetched(2, 1, 10.0, 20.0),
        Prefetched(2, 0, 2.0, 4.0),
    ]
    whole = replace(last, whole=True)
    assert latest([replace(idle, spare_bytes=23.0), idle, whole], SHARED, [10.0, 10.0, 0.0], 9) == [
        Prefetched(2, 1, 10.0, 20.0)
    ]
