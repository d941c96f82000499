from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model import GraphModel, estimate
from roofwright.graph import read
from roofwright.passes import Context, build
from roofwright.passes.scheduling.engines import Engines, Way, shortest
from roofwright.passes.scheduling.kernels import Kernels
from roofwright.targets import Target
from tests.builders import model
from tests.cost_model.machines import cores, machine, memory, stack

PROTO = model(
    """g (float[4,16,16,16] x) => (float[4,16,16,16] y) {
    a = Conv<pads=[1,1,1,1]>(x, u)  b = Conv<pads=[1,1,1,1]>(a, v)  y = Conv<pads=[1,1,1,1]>(b, w) }""",
    u=(16, 16, 3, 3),
    v=(16, 16, 3, 3),
    w=(16, 16, 3, 3),
)


def phone(handover_s: float, managed: str = "explicit") -> Target:
    engines = (replace(cores(1, clock_hz=1e9), name="one"), replace(cores(1, clock_hz=1e9), name="two"))
    memories = (memory("chip", 1 << 20, 1e13, managed), memory("dram", 2**33, 1e12))
    return replace(machine(engines[0], memories, replace(stack(), handover_s=handover_s)), engines=engines)


def context(target: Target) -> Context:
    graph = read(PROTO)
    ctx = Context(target=target, model=GraphModel.of(graph))
    return ctx.with_schedule(Kernels().run(graph, ctx).schedule)


def test_samples_are_dealt_out_without_hand_overs() -> None:
    ctx = context(phone(1.0))
    made = Engines().run(read(PROTO), ctx).schedule
    assert made is not None
    assert ctx.model is not None
    assert [[(s.engine, s.rows) for s in k.shares] for k in made.kernels] == [[("one", 2), ("two", 2)]] * 3
    assert estimate(ctx.model, phone(1.0), made).device_s < 0.6 * estimate(ctx.model, phone(1.0), ctx.schedule).device_s


def test_nothing_is_shared_where_a_cache_decides() -> None:
    assert Engines().run(read(PROTO), context(phone(1.0, "cache"))).schedule is None
    assert Engines().run(read(PROTO), Context()).schedule is None


def test_a_schedule_without_kernels_has_nothing_to_share() -> None:
    graph, target = read(model("g (float[2] x) => (float[2] x) { }")), phone(0.0)
    ctx = Context(target=target, model=GraphModel.of(graph))
    ctx = ctx.with_schedule(Kernels().run(graph, ctx).schedule)
    assert ctx.schedule is not None
    assert ctx.schedule.kernels == ()
    assert Engines().run(graph, ctx).schedule is None


def test_lines_are_shared_where_hand_overs_are_free() -> None:
    ctx, target = context(phone(0.0)), phone(0.0)
    made = Engines().run(read(PROTO), ctx).schedule
    assert made is not None
    assert ctx.model is not None
    assert [[s.rows for s in kernel.shares] for kernel in made.kernels] == [[32, 32]] * 3
    assert estimate(ctx.model, target, made).device_s < 0.6 * estimate(ctx.model, target, ctx.schedule).device_s


def test_the_pipeline_ends_with_it() -> None:
    assert [pass_.name for pass_ in build(None)][-1] == "engines"


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.lists(st.lists(st.integers(1, 9), min_size=n, max_size=n), min_size=3, max_size=3)
    ),
    st.integers(0, 6),
)
def test_the_path_is_the_shortest_of_all(table: list[list[int]], handover: int) -> None:
    one, two = ((0, Fraction(1)),), ((0, Fraction(1, 2)), (1, Fraction(1, 2)))
    costs = [np.array(row, np.float64) for row in table]
    found = [Way(costs[0], one), Way(costs[1], two, samples=True), Way(costs[2], two)]

    def length(path: tuple[int, ...]) -> float:
        changes = sum(a != b or a == 2 for a, b in pairwise(path))
        return float(sum(costs[w][k] for k, w in enumerate(path))) + handover * changes

    chosen = shortest(found, float(handover))
    path = tuple(next(w for w, way in enumerate(found) if way is mine) for mine in chosen)
    assert length(path) == pytest.approx(min(length(p) for p in product(range(3), repeat=len(table[0]))))
