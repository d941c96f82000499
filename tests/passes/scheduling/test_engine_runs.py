"""Runs and engines chosen together: the shortest path, and what it may take for granted."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from roofwright.cost_model import Costing, GraphModel, Schedule
from roofwright.graph import read
from roofwright.passes import Context
from roofwright.passes.scheduling.blocks import planned, with_runs
from roofwright.passes.scheduling.engine_runs import Assigned, EngineRuns, _modes, assigned, dealt, roams
from roofwright.passes.scheduling.kernels import Kernels
from roofwright.passes.scheduling.scratchpad import Scratchpad
from roofwright.targets import Target
from tests.builders import model
from tests.cost_model.machines import cores, machine, memory, stack

PROTO = model(
    """g (float[3,8,12,12] x) => (float[3,8,12,12] y) {
    a = Conv<pads=[1,1,1,1]>(x, u)  b = Conv<pads=[1,1,1,1]>(a, v)  c = Sigmoid(b)  y = Conv<pads=[1,1,1,1]>(c, w) }""",
    u=(8, 8, 3, 3),
    v=(8, 8, 3, 3),
    w=(8, 8, 3, 3),
)


def phone(handover_s: float, bytes_per_s: float = 1e9, capacity_bytes: int = 1 << 14) -> Target:
    """Two cores, the second of two thirds of the clock."""
    first = replace(cores(1, clock_hz=1e9), name="one")
    engines = (first, replace(first, name="two", clock_hz=first.clock_hz * 2 / 3))
    memories = (memory("chip", capacity_bytes, 1e13, "explicit"), memory("dram", 2**33, bytes_per_s))
    return replace(machine(engines[0], memories, replace(stack(), handover_s=handover_s)), engines=engines)


def context(target: Target) -> tuple[Context, GraphModel, Schedule]:
    graph = read(PROTO)
    found = GraphModel.of(graph)
    schedule = Kernels().run(graph, Context(target=target, model=found)).schedule
    assert schedule is not None
    return Context(target=target, model=found, schedule=schedule), found, schedule


def every(target: Target) -> EngineRuns:
    _, found, schedule = context(target)
    return EngineRuns(Costing.of(found, target, schedule))


def lengths(runs: EngineRuns) -> Iterator[float]:
    """Of all paths: runs one after the other, each in some mode, with what is alive on chip or not between them."""
    busy, rest = runs.busy_s[:, :, None, None], runs.rest_s
    seconds = np.where(runs.fits, np.maximum(busy, rest[0]) + rest[1], np.inf)
    count, found = len(runs.costing.kernels), runs.found
    at = {cut: np.flatnonzero(found.first == cut).tolist() for cut in range(count)}
    open_: list[tuple[int, int, int, float]] = [(0, -1, 0, 0.0)]
    while open_:
        cut, mode, came, total = open_.pop()
        if cut == count:
            yield total if not came else np.inf
            continue
        for run in at[cut]:
            for now in range(len(runs.modes)):
                change_s = runs.target.stack.handover_s * (mode not in (-1, now))
                for goes in (0, 1):
                    after = total + change_s + float(seconds[now, run, came, goes])
                    if np.isfinite(after):
                        open_.append((int(found.last[run]) + 1, now, goes, after))


@pytest.mark.parametrize("handover_s", [1e-9, 3e-6, 1e-3])
@pytest.mark.parametrize("bytes_per_s", [1e8, 1e9, 1e11])
def test_the_path_is_the_shortest_of_all(handover_s: float, bytes_per_s: float) -> None:
    runs = every(phone(handover_s, bytes_per_s))
    path = runs.path()
    came = [False, *(taken.stays for taken in path[::-1])]
    assert all(runs.fits[t.mode, t.run, int(c), int(t.stays)] for t, c in zip(path[::-1], came, strict=False))
    assert runs.length_s(path) == pytest.approx(min(lengths(runs)), rel=1e-9)


def test_modes_are_useful_engines_and_ways_to_deal_out_samples() -> None:
    costing, third, whole = every(phone(1e-6)).costing, Fraction(1, 3), Fraction(1)
    slower = list(_modes(np.array([[2.0, 2.0], [3.0, 3.0]]), costing))
    assert slower == [((0, whole),), ((0, 2 * third), (1, third))]  # one of three on the faster: no gain
    by_turns = list(_modes(np.array([[2.0, 6.0], [6.0, 2.0]]), costing))
    assert by_turns == [((0, whole),), ((1, whole),)]
    unable = list(_modes(np.array([[2.0, 2.0], [np.inf, 2.0]]), costing))
    assert unable[0] == ((0, whole),)
    assert ((0, 2 * third), (1, third)) in unable


def test_a_shared_run_holds_its_constants_once_and_its_strips_twice() -> None:
    runs = every(phone(1e-6))
    (alone,), (shared,) = ([at for at, parts in enumerate(runs.modes) if len(parts) == many] for many in (1, 2))
    assert np.all(runs.fits[alone] | ~runs.fits[shared])  # whatever two hold fits for one
    assert 0 < runs.fits[shared][~runs.single].sum() < runs.fits[alone][~runs.single].sum()
    assert np.array_equal(runs.fits[shared][runs.single], runs.fits[alone][runs.single])


def test_what_was_taken_for_shorter_than_it_is_is_chosen_again() -> None:
    target = phone(1e-6, bytes_per_s=4e9)
    _, found, schedule = context(target)
    seen: list[Assigned] = []

    def price(choice: Assigned) -> Costing:
        made = with_runs(dealt(schedule, choice.parts, target), choice.runs)
        priced = Costing.of(found, target, made)
        seen.append(choice)
        return replace(
            priced, prices=replace(priced.prices, busy_s=priced.prices.busy_s * (10 if len(seen) == 1 else 1))
        )

    choice = assigned(Costing.of(found, target, schedule), price)
    assert [len(parts) for parts in seen[0].parts] == [2] * 4
    assert len(seen) > 1
    assert choice in seen[1:]
    assert choice != seen[0]


def test_the_schedule_deals_out_the_samples_of_strips() -> None:
    ctx, _, _ = context(phone(1e-6, bytes_per_s=4e9))
    pad = Scratchpad.of(read(PROTO), ctx)
    assert pad is not None
    made = planned(pad)
    assert made is not None
    strips = [kernel for kernel in made.kernels if kernel.strip_rows is not None]
    assert [[share.rows for share in kernel.shares] for kernel in strips] == [[2, 1]] * 2
    assert {buffer.engine for kernel in strips for buffer in kernel.buffers} == {"", "one", "two"}


@pytest.mark.parametrize(("handover_s", "moves"), [(0.0, False), (1e-6, True)])
def test_kernels_move_where_a_hand_over_costs_time(handover_s: float, moves: bool) -> None:
    target = phone(handover_s)
    assert roams(target) == moves
    assert not roams(replace(target, engines=target.engines[:1]))
