import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model.pipelining import Run, johnson_order, makespan, stage_totals, without_early
from roofwright.cost_model.timeline import KernelTiles, Prefetched, split_evenly, timeline

seconds = st.one_of(st.just(0.0), st.integers(1, 40).map(float))
runs_of = st.lists(st.builds(Run, st.integers(1, 12), seconds, seconds, seconds), min_size=1, max_size=5)
buffers = st.integers(1, 3)
ROUNDING = 1 + 1e-12


def plain(runs: Sequence[Run], in_buffers: int, out_buffers: int, shared: bool) -> float:
    """The recurrence tile by tile, nothing skipped, at the best of the fixed port orders."""
    tiles = [(r.load_s, r.compute_s, r.store_s) for r in runs for _ in range(r.count)]
    return min(ordered(tiles, in_buffers, out_buffers, shared, e) for e in range(1, min(out_buffers, 3) + 1))


def ordered(tiles: list[tuple[float, float, float]], b: int, out: int, shared: bool, ahead: int) -> float:
    free, store_free = 0.0, 0.0
    computed: list[float] = []
    stored: list[float] = []

    def store(i: int) -> None:
        nonlocal free, store_free
        stored.append(computed[i])
        if tiles[i][2] > 0:
            stored[i] = max(free if shared else store_free, computed[i]) + tiles[i][2]
            store_free = stored[i]
            free = stored[i] if shared else free

    for i, (load, compute, _) in enumerate(tiles):
        ready = computed[i - b] if i >= b else 0.0
        if load > 0:
            free = ready = max(free, ready) + load
        if i >= ahead:
            store(i - ahead)
        emptied = stored[i - out] if i >= out else 0.0
        computed.append(max(ready, computed[-1] if computed else 0.0, emptied) + compute)
    for i in range(len(stored), len(tiles)):
        store(i)
    return max(computed[-1], free, store_free)


@given(runs_of, buffers, buffers, st.booleans())
def test_skipping_steady_tiles_changes_nothing(runs: list[Run], b: int, out: int, shared: bool) -> None:
    assert makespan(runs, b, out, shared).total_s == pytest.approx(plain(runs, b, out, shared), rel=1e-9)


@given(runs_of, buffers, buffers, st.booleans())
def test_between_the_busiest_stage_and_the_serial_sum(runs: list[Run], b: int, out: int, shared: bool) -> None:
    loads, computes, stores = stage_totals(runs)
    got = makespan(runs, b, out, shared)
    assert got.total_s * ROUNDING >= max(loads, computes, stores, loads + stores if shared else 0.0)
    assert got.total_s <= (loads + computes + stores) * ROUNDING
    assert got.compute_end_s <= got.total_s


@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 50), st.integers(1, 50))
def test_identical_tiles_on_separate_ports_have_a_closed_form(n: int, load: int, compute: int, store: int) -> None:
    got = makespan([Run(n, load, compute, store)], 2, 2, shared_port=False).total_s
    assert got == pytest.approx(load + (n - 1) * max(load, compute, store) + compute + store, rel=1e-12)


@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 50), st.integers(1, 50))
def test_identical_tiles_on_a_shared_port_stay_in_the_interval(n: int, load: int, compute: int, store: int) -> None:
    got = makespan([Run(n, load, compute, store)], 2, 2, shared_port=True).total_s
    assert max(n * (load + store), load + n * compute + store) <= got * ROUNDING
    assert got <= (load + (n - 1) * max(load + store, compute) + compute + store) * ROUNDING


@given(runs_of, buffers, buffers, st.booleans(), st.integers(0, 2), st.integers(0, 2))
def test_more_buffers_never_hurt(runs: list[Run], b: int, out: int, shared: bool, more: int, more_out: int) -> None:
    usual = makespan(runs, b, out, shared).total_s
    assert makespan(runs, b + more, out + more_out, shared).total_s <= usual * ROUNDING


@given(runs_of, buffers, buffers, st.booleans(), st.sampled_from([0.25, 0.5, 0.9]), st.sampled_from([0.25, 0.5, 0.9]))
def test_a_faster_port_or_unit_never_hurts(
    runs: list[Run], b: int, out: int, shared: bool, port: float, unit: float
) -> None:
    faster = [replace(r, load_s=r.load_s * port, compute_s=r.compute_s * unit, store_s=r.store_s * port) for r in runs]
    assert makespan(faster, b, out, shared).total_s <= makespan(runs, b, out, shared).total_s * ROUNDING


@given(runs_of, buffers, buffers)
def test_separate_ports_are_never_slower_than_a_shared_one(runs: list[Run], b: int, out: int) -> None:
    assert makespan(runs, b, out, False).total_s <= makespan(runs, b, out, True).total_s * ROUNDING


def test_hand_computed_single_buffers() -> None:
    # One input and one output buffer: load 2 waits for computation 1 (3), computation 2 for store 1 (7).
    assert makespan([Run(2, 1.0, 2.0, 4.0)], 1, 1, shared_port=False).total_s == 13.0
    # Two of each: loads 0-2, computations 1-3-5, stores 3-7-11.
    assert makespan([Run(2, 1.0, 2.0, 4.0)], 2, 2, shared_port=False).total_s == 11.0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6))
def test_johnsons_order_is_the_best_of_all(tiles: list[tuple[int, int]]) -> None:
    def length(order: Sequence[int]) -> float:
        runs = [Run(1, float(tiles[i][0]), float(tiles[i][1]), 0.0) for i in order]
        return makespan(runs, len(tiles), 1, shared_port=False).total_s

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
    assert stage_totals(without_early(runs, 10.0))[0] == 3.0


def test_weights_travel_in_the_idle_time_of_the_kernel_before() -> None:
    first = KernelTiles((Run(1, 1.0, 10.0, 1.0),), "mxu", spare_bytes=100.0)
    second = KernelTiles((Run(1, 6.0, 3.0, 1.0, early_s=4.0),), "mxu", early_bytes=40.0)
    alone = timeline([first, second], shared_port=True)
    assert (alone.end_s.tolist(), alone.start_s.tolist()) == ([12.0, 22.0], [0.0, 12.0])
    ahead = timeline([first, second], shared_port=True, window=1)
    assert ahead.prefetched == (Prefetched(1, 0, 4.0, 40.0),)
    assert ahead.total_s == 18.0
    assert ahead.prefetched_s.tolist() == [0.0, 4.0]
    assert ahead.busy_s() == {"load": 7.0, "store": 2.0, "mxu": 13.0}
    assert (ahead.exposed_load_s.tolist(), ahead.exposed_store_s.tolist()) == ([1.0, 2.0], [1.0, 1.0])


def test_prefetch_stops_at_the_room_there_is_and_at_the_idle_time() -> None:
    second = KernelTiles((Run(1, 20.0, 3.0, 0.0, early_s=20.0),), early_bytes=200.0)
    tight = KernelTiles((Run(1, 1.0, 10.0, 0.0),), spare_bytes=30.0)
    assert timeline([tight, second], shared_port=True, window=1).prefetched == (Prefetched(1, 0, 3.0, 30.0),)
    wide = replace(tight, spare_bytes=1e9)
    assert timeline([wide, second], shared_port=True, window=1).prefetched == (Prefetched(1, 0, 10.0, 100.0),)


def test_a_far_kernel_waits_until_the_near_one_has_its_weights() -> None:
    first = KernelTiles((Run(1, 0.0, 10.0, 0.0),), spare_bytes=1000.0)
    near = KernelTiles((Run(1, 6.0, 1.0, 0.0, early_s=6.0),), early_bytes=6.0, spare_bytes=1000.0)
    far = KernelTiles((Run(1, 9.0, 1.0, 0.0, early_s=9.0),), early_bytes=9.0)
    got = timeline([first, near, far], shared_port=True, window=2)
    assert got.prefetched == (Prefetched(1, 0, 6.0, 6.0), Prefetched(2, 0, 4.0, 4.0), Prefetched(2, 1, 1.0, 1.0))
    assert got.total_s == 10.0 + 1.0 + 4.0 + 1.0
    full = timeline([first, replace(near, spare_bytes=3.0), far], shared_port=True, window=2)
    assert full.prefetched == (Prefetched(1, 0, 6.0, 6.0), Prefetched(2, 0, 3.0, 3.0))
    blocked = timeline([replace(first, spare_bytes=5.0), near, far], shared_port=True, window=2)
    assert [p.kernel for p in blocked.prefetched if p.during == 0] == [1]


def test_a_plan_is_followed_as_far_as_the_port_is_idle() -> None:
    first = KernelTiles((Run(1, 1.0, 10.0, 1.0),))
    second = KernelTiles((Run(1, 20.0, 3.0, 0.0, early_s=20.0),), early_bytes=200.0)
    got = timeline([first, second], shared_port=True, plan=[Prefetched(1, 0, 5.0, 50.0)])
    assert got.prefetched == (Prefetched(1, 0, 5.0, 50.0),)
    over = timeline([first, second], shared_port=True, plan=[Prefetched(1, 0, 15.0, 150.0)])
    assert over.prefetched == (Prefetched(1, 0, 10.0, 100.0),)
    assert over.total_s == 12.0 + 10.0 + 3.0


def test_a_cache_spreads_transfers_under_the_computation() -> None:
    kernel = KernelTiles((Run(4, 1.0, 1.5, 1.0),), fluid=True)
    assert timeline([kernel], shared_port=True).total_s == 8.0
    assert timeline([kernel], shared_port=False).total_s == 6.0


def test_no_kernels_take_no_time() -> None:
    empty = timeline([], shared_port=True)
    assert (empty.total_s, empty.busy_s()) == (0.0, {"load": 0.0, "store": 0.0})


kernels_of = st.lists(
    st.builds(
        lambda first, even, count, compute, store, spare, fluid: KernelTiles(
            split_evenly(even, compute, store, count, first_s=first),
            early_bytes=first * 2,
            spare_bytes=spare,
            fluid=fluid,
        ),
        seconds,
        seconds,
        st.integers(1, 8),
        seconds,
        seconds,
        st.integers(0, 60).map(float),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@given(kernels_of, st.booleans(), st.integers(0, 3), st.integers(0, 30), st.integers(0, 2))
def test_prefetch_never_hurts(kernels: list[KernelTiles], shared: bool, window: int, spare: int, wider: int) -> None:
    usual = timeline(kernels, shared_port=shared, window=window)
    roomier = [replace(k, spare_bytes=k.spare_bytes + spare) for k in kernels]
    assert timeline(roomier, shared_port=shared, window=window + wider).total_s <= usual.total_s * ROUNDING + 1e-9
    assert usual.total_s <= timeline(kernels, shared_port=shared).total_s * ROUNDING + 1e-9


@given(kernels_of, st.booleans(), st.integers(0, 3))
def test_a_timeline_adds_up(kernels: list[KernelTiles], shared: bool, window: int) -> None:
    got = timeline(kernels, shared_port=shared, window=window)
    spans = got.compute_s + got.exposed_load_s + got.exposed_store_s
    assert spans == pytest.approx(got.end_s - got.start_s, abs=1e-9)
    totals = np.array([stage_totals(k.runs) for k in kernels]).sum(axis=0)
    busy = got.busy_s()
    assert (busy["load"], busy[""], busy["store"]) == pytest.approx(tuple(totals), abs=1e-9)
    floor = max(*totals, totals[0] + totals[2] if shared else 0.0)
    assert floor <= got.total_s * ROUNDING + 1e-9
    assert got.total_s <= totals.sum() * ROUNDING + 1e-9
    for during, kernel in enumerate(kernels):
        held = sum(p.bytes for p in got.prefetched if p.during <= during < p.kernel)
        assert held <= kernel.spare_bytes + 1e-6


@given(kernels_of, st.booleans(), st.integers(0, 3))
def test_a_plan_made_by_a_window_prices_the_same(kernels: list[KernelTiles], shared: bool, window: int) -> None:
    made = timeline(kernels, shared_port=shared, window=window)
    again = timeline(kernels, shared_port=shared, plan=made.prefetched)
    assert again.total_s == pytest.approx(made.total_s, abs=1e-9)
