"""Products that follow each other on an array with two planes of weights, against an array that is stepped through."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model import GraphModel, estimate, systolic
from roofwright.cost_model.ahead import KernelTiles
from roofwright.cost_model.first_shift import known_before
from roofwright.cost_model.kernels import gather, op_by_op
from roofwright.cost_model.pipelining import Port, Run
from roofwright.cost_model.timeline import timeline
from roofwright.cost_model.units import Nests
from roofwright.cost_model.visits import Visits, in_turns, stepped
from roofwright.cost_model.work import LoopNest
from roofwright.graph import read
from roofwright.graph.zoo.mobilenets import mobilenet_v1
from roofwright.passes import Options, optimize_graph
from roofwright.targets import load_target
from tests.builders import model
from tests.cost_model.machines import array, machine
from tests.passes.test_tile_machine_strips import stated

Part = tuple[Sequence[int], int, Sequence[int]]  # rows of each strip, folds, sources
R, C = 6, 4
DRAIN = R + C - 2


def stepped_through(parts: Sequence[Part], strips: int) -> int:
    """Cycles from the first streamed row, fold by fold: (rows of each strip, folds, sources) of every node.

    A plane takes the next tile once the fold before streams from the other one; rows stream once their tile is in, the
    array is free and the results that they need are out.
    """
    shifted, streams, free = 0, -R, 0
    out = [0] * len(parts)
    for strip in range(strips):
        for at, (rows, folds, sources) in enumerate(parts):
            for fold in range(folds if rows[strip] else 0):
                shifted = max(shifted, streams + R) if (strip, at, fold) != (0, 0, 0) else 0
                needed = [out[source] for source in sources]
                streams = max(free, shifted, *needed, 0)
                free = streams + rows[strip]
                out[at] = free + DRAIN
    return max(out)


def visits(parts: Sequence[Part]) -> list[Visits]:
    """The same as the cost model has it: whole cycles less first shift and drain."""
    engine = array(R, C)
    found = []
    for rows, folds, sources in parts:
        nests = Nests.of([LoopNest(1, 1, max(many, 1), 1, C, R * folds, in_h=max(many, 1)) for many in rows])
        whole = systolic.time(nests, engine, machine(engine), "int8")
        ends = systolic.ends(nests, engine, machine(engine), "int8")
        here = np.array(rows) > 0
        stream = np.where(here, whole.busy_s - ends.fill_s - ends.drain_s, 0.0)
        found.append(Visits(stream.tolist(), np.where(here, ends.wait_s, 0.0).tolist(), DRAIN, sources))
    return found


@st.composite
def chains_of_parts(draw: Any) -> list[tuple[list[int], int, list[int]]]:
    strips = draw(st.integers(1, 4))
    found = []
    for at in range(draw(st.integers(1, 4))):
        rows = draw(st.lists(st.integers(0 if at else 1, 9), min_size=strips, max_size=strips))
        sources = draw(st.lists(st.integers(0, at - 1), unique=True)) if at else []
        found.append((rows, draw(st.integers(1, 3)), sources))
    return found


@given(chains_of_parts())
def test_a_chain_takes_what_an_array_takes_that_is_stepped_through(parts: list[Any]) -> None:
    assert sum(in_turns(visits(parts), 1)) == stepped_through(parts, len(parts[0][0]))


@given(chains_of_parts(), st.integers(2, 6))
def test_images_are_alike_and_follow_each_other(parts: list[Any], images: int) -> None:
    repeated = [(rows * images, folds, sources) for rows, folds, sources in parts]
    assert sum(in_turns(visits(parts), images)) == pytest.approx(sum(in_turns(visits(repeated), 1)))


def test_parts_that_do_not_need_each_other_pay_one_drain_and_no_shift() -> None:
    long: Part
    short: Part
    long, short = ([9, 9], 2, []), ([2, 2], 1, [])
    assert sum(in_turns(visits([long, long]), 1)) == 2 * 2 * 2 * 9 + DRAIN
    assert sum(in_turns(visits([short, short]), 1)) == 3 * R + 2 + DRAIN  # the shift of the next one takes longer
    needs = ([2, 2], 1, [0])
    assert sum(in_turns(visits([short, needs]), 1)) == 2 * (2 + DRAIN + 2) + (R - 2) + DRAIN


PARTS = st.lists(st.floats(0, 9), min_size=4, max_size=4)


@given(st.lists(PARTS, min_size=1, max_size=3), PARTS, st.booleans(), st.integers(0, 3))
def test_steps_are_above_every_engine_and_never_gain_from_more_work(
    streams: list[list[float]], beside: list[float], late: bool, longer: int
) -> None:
    nodes = [Visits(each, [0.5] * 4, 3.0, [at - 1] if at else []) for at, each in enumerate(streams)]
    found = stepped([nodes], beside, late)
    assert found >= max(sum(map(sum, streams)), sum(beside)) * (1 - 1e-9)
    more = [replace(nodes[0], stream_s=[s + (at == longer) for at, s in enumerate(nodes[0].stream_s)]), *nodes[1:]]
    assert stepped([more], beside, late) >= found * (1 - 1e-9)
    assert stepped([nodes], [b + (at == longer) for at, b in enumerate(beside)], late) >= found * (1 - 1e-9)


def test_an_array_that_is_busiest_streams_on_and_one_that_waits_drains_meanwhile() -> None:
    busy, idle = Visits([9.0] * 5, [0.0] * 5, 4.0, []), Visits([2.0] * 5, [0.0] * 5, 4.0, [])
    assert stepped([[busy]], [1.0] * 5, late=True) == 5 * 9 + 4
    assert stepped([[idle]], [8.0] * 5, late=True) == 5 * 8  # six of them left for the drain
    assert stepped([[busy]], [8.0] * 5, late=True) == 4 * (8 + 4) + 9 + 4
    assert stepped([[busy]], [8.0] * 5, late=False) == 5 * 9 + 4
    assert stepped([[busy], [idle]], [8.0] * 5, late=False) == 5 * (9 + 4)


@pytest.mark.parametrize(
    "changes", [{"weight_double_buffer": False}, {"dataflow": "output_stationary"}, {"dataflow": "input_stationary"}]
)
def test_without_a_second_plane_of_weights_nothing_is_shared(changes: dict[str, Any]) -> None:
    engine = array(R, C, **changes)
    ends = systolic.ends(Nests.gemm(3, 5, 7), engine, machine(engine), "int8")
    assert (float(ends.fill_s[0]), float(ends.wait_s[0]), float(ends.drain_s[0]), int(ends.folds[0])) == (0, 0, 0, 0)
    assert systolic.fill_s(engine, machine(engine), "int8") == 0


CONVS = "g (float[1,8,16,16] x) => (float[1,N,16,16] y) { a = Conv(x, v)  b = Relu(a)  y = Conv(b, w) }"
CYCLE_S = 1 / 700e6


@pytest.mark.parametrize(
    ("filters", "cycles"),
    [
        (8, 8 * (32 + 254 + 32) + 96 + 254),  # 8 strips of 32 rows; the second tile is shifted in once
        (256, 8 * (32 + 254 + 2 * 128) - 96 + 254),  # the last shift is not there
    ],
)
def test_two_tiles_stay_in_the_planes_and_three_do_not(filters: int, cycles: int) -> None:
    target, proto = load_target("tpuv2"), model(CONVS.replace("N", str(filters)), v=(8, 8, 1, 1), w=(filters, 8, 1, 1))
    prices = stated(proto, target, [3], strip_rows=2, halo="both")[0].prices
    assert prices.busy_s[0] / CYCLE_S == pytest.approx(128 + cycles)
    assert prices.fill_s[0] / CYCLE_S == pytest.approx(128)


def test_weights_are_known_before_where_they_are_constant_or_stay_from_an_earlier_kernel() -> None:
    text = "g (float[4,4] x) => (float[4,4] y) { k = MatMul(x, v)  q = MatMul(x, w)  y = MatMul(q, k) }"
    graph = GraphModel.of(read(model(text, v=(4, 4), w=(4, 4))))
    kernels = gather(op_by_op(graph.works), graph.works, graph.outputs)
    none, stays = frozenset[str](), frozenset("qk")
    assert known_before(kernels, [none, none, stays], {}).tolist() == [True, True, True]
    assert known_before(kernels, [none, none, none], {}).tolist() == [True, True, False]
    turned = [kernels[1], kernels[0], kernels[2]]  # the kernel just before makes it
    assert known_before(turned, [none, none, stays], {}).tolist() == [True, True, False]


def test_a_first_shift_is_hidden_where_the_weights_were_loaded_ahead() -> None:
    first, then = Run(1, 0.0, 10.0, 0.0), Run(1, 2.0, 5.0, 0.0, early_s=2.0)
    kernels = [KernelTiles((first,), spare_bytes=9.0), KernelTiles((then,), early_bytes=1.0, fill_s=1.0)]
    ahead, late = (timeline(kernels, Port(shared=True), window=window).total_s for window in (1, 0))
    assert (ahead, late) == (10 + 5, 10 + 2 + 1 + 5)


def test_every_kernel_of_a_network_pays_for_its_first_shift_or_hides_it_and_the_first_pays() -> None:
    graph, report = optimize_graph(read(mobilenet_v1(size=64)), load_target("tpuv2"), Options(check=False))
    found = estimate(GraphModel.of(graph), load_target("tpuv2"), report.schedule)
    hidden = np.maximum(found.prices.busy_s, found.prices.inner_s) - found.timeline.compute_s
    fills = np.flatnonzero(found.prices.fill_s)
    assert hidden[fills[0]] == pytest.approx(0, abs=1e-12)
    assert len(fills) > 3
    assert hidden[fills[1:]].sum() == pytest.approx(128 * CYCLE_S * np.count_nonzero(hidden > 1e-12))
    assert found.device_s >= found.bound.total_s
