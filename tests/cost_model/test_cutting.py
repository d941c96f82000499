"""How kernels are cut: into tiles that fit, as the schedule states them, the same in both directions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model import Costing, GraphModel, Schedule, from_json, to_json
from roofwright.cost_model.schedule import Tiling
from roofwright.passes.scheduling import Kernels, Tiles
from roofwright.targets import Target
from tests.scheduling import modelled, scheduled, scratchpad, with_memory

# 64 rows of 64 pixels, 16 -> 32 channels: 262,144 B in, 2,048 B of weights, 524,288 B out.
TALL = modelled("g (float[1,16,64,64] x) => (float[1,32,64,64] y) { y = Conv(x, w) }", w=(32, 16, 1, 1))
# 16 -> 4096 features of 8 rows: 512 B in, 262,144 B of weights, 131,072 B out.
WIDE = modelled("g (float[8,16] x) => (float[8,4096] y) { y = MatMul(x, w) }", w=(16, 4096))
# 12 products of (32, 64) and (64, 32): 98,304 B each side, 49,152 B out.
HEADS = modelled("g (float[12,32,64] a, float[12,64,32] b) => (float[12,32,32] y) { y = MatMul(a, b) }")
POINTS = modelled("g (float[100,50] x) => (float[100,50] y) { y = Exp(x) }")  # 5,000 elements
# 256 rows, 256 -> 256: 262,144 B each of input, weights and result.
CUBE = modelled("g (float[256,256] x) => (float[256,256] y) { y = MatMul(x, w) }", w=(256, 256))
ALL = (TALL, WIDE, HEADS, POINTS, CUBE)


def cut(graph: GraphModel, target: Target, schedule: Schedule | None = None) -> Costing:
    return Costing.of(graph, target, schedule)


def stated(graph: GraphModel, target: Target, **tile: int) -> Schedule:
    """One kernel with its tiles at the scratchpad."""
    schedule = scheduled(graph, target, Kernels())
    tiling = Tiling(level="sram", order=tuple(tile), tile=tile)  # type: ignore[arg-type]  # names of loops
    return replace(schedule, kernels=(replace(schedule.kernels[0], tilings=(tiling,)),))


def test_the_smaller_operand_stays() -> None:
    target = scratchpad(1 << 22)
    assert cut(TALL, target).cut.weights_stay.tolist() == [True]
    assert cut(WIDE, target).cut.weights_stay.tolist() == [False]


def test_footprint_is_one_operand_and_two_slices_of_the_rest() -> None:
    plan = cut(TALL, scratchpad(1 << 22)).cut
    tiles = int(plan.tiles[0])
    assert tiles > 1
    assert plan.footprint_bytes.tolist() == [2048 + 2 * (262144 + 524288) / tiles]


def test_a_small_memory_gets_more_tiles() -> None:
    # 16,384 B: 2,048 of weights leave 14,336; two copies of 786,432 / n fit from n = 110 on, but there are 64 rows.
    roomy, tight = cut(TALL, scratchpad(32768)).cut, cut(TALL, scratchpad(1 << 22)).cut
    assert roomy.footprint_bytes[0] <= 32768
    assert roomy.tiles[0] >= 52  # 2 x 786,432 / (32,768 - 2,048) = 51.2
    assert tight.tiles[0] <= roomy.tiles[0]


def test_what_no_single_loop_makes_fit_is_searched() -> None:
    costing = cut(CUBE, scratchpad(65536))
    assert list(costing.cut.searched) == [0]
    assert costing.cut.footprint_bytes[0] <= 65536
    assert costing.moved.total_bytes[0] > costing.moved.least_bytes[0] == 3 * 262144


def test_nothing_is_cut_for_a_cache() -> None:
    costing = cut(CUBE, with_memory(scratchpad(65536), managed="cache"))
    assert costing.cut.tiles.tolist() == [1]
    assert costing.estimate().on_chip_bytes == 0
    assert costing.tiling(0) is None


def test_weights_that_have_no_place_stream_past_the_memory() -> None:
    costing = cut(TALL, with_memory(scratchpad(1 << 22), holds=("activations",)))
    assert costing.cut.weights_stay.tolist() == [False]
    assert "w" not in {part.tensor for part in costing.slices(0)}


@pytest.mark.parametrize(
    ("graph", "tile", "tiles", "stays"),
    [
        (TALL, {"rows": 16}, 4, True),
        (TALL, {"rows": 10}, 7, True),
        (TALL, {"out_channels": 8}, 4, False),
        (WIDE, {"out_channels": 1000}, 5, False),
        (WIDE, {"rows": 8}, 1, True),
        (HEADS, {"repeat": 5}, 3, None),
        (HEADS, {"repeat": 1, "rows": 8}, 48, True),
        (HEADS, {"repeat": 2, "out_channels": 16}, 12, False),
        (POINTS, {"rows": 1000}, 5, None),
    ],
)
def test_a_schedule_is_priced_as_written(
    graph: GraphModel, tile: dict[str, int], tiles: int, stays: bool | None
) -> None:
    target = scratchpad(1 << 22)
    costing = cut(graph, target, stated(graph, target, **tile))
    assert costing.cut.tiles.tolist() == [tiles]
    assert stays is None or costing.cut.weights_stay.tolist() == [stays]
    assert dict(costing.tiling(0).tile) == tile  # type: ignore[union-attr]  # explicit memory: never None


def test_tiles_along_several_loops_move_what_the_formula_says() -> None:
    # MAPPING section 4, output-stationary: A once per column tile, B once per row tile, C once.
    target = scratchpad(1 << 22)
    written = stated(CUBE, target, rows=64, out_channels=128, in_channels=256)
    costing = cut(CUBE, target, written)
    assert list(costing.cut.searched) == [0]
    assert costing.moved.input_bytes.tolist() == [262144]  # all of K at once: rows outermost, A stays
    assert costing.moved.weight_bytes.tolist() == [4 * 262144]
    assert costing.moved.output_bytes.tolist() == [262144]


@given(graph=st.sampled_from(ALL), capacity=st.integers(9, 23).map(lambda power: 2**power))
def test_a_schedule_read_back_costs_the_same(graph: GraphModel, capacity: int) -> None:
    target = scratchpad(capacity)
    schedule = scheduled(graph, target, Kernels(), Tiles())
    first, again = cut(graph, target, schedule), cut(graph, target, from_json(to_json(schedule)))
    assert np.array_equal(first.cut.tiles, again.cut.tiles)
    assert np.array_equal(first.moved.total_bytes, again.moved.total_bytes)
    assert np.array_equal(first.cut.footprint_bytes, again.cut.footprint_bytes)
    bare = cut(graph, target, scheduled(graph, target, Kernels()))
    assert first.estimate().latency_s == bare.estimate().latency_s


@given(graph=st.sampled_from(ALL), capacity=st.integers(9, 22).map(lambda power: 2**power))
def test_more_room_never_moves_more(graph: GraphModel, capacity: int) -> None:
    small, large = cut(graph, scratchpad(capacity)).moved, cut(graph, scratchpad(2 * capacity)).moved
    assert large.total_bytes[0] <= small.total_bytes[0]


@given(graph=st.sampled_from(ALL), capacity=st.integers(12, 22).map(lambda power: 2**power))
def test_slices_are_the_footprint(graph: GraphModel, capacity: int) -> None:
    costing = cut(graph, scratchpad(capacity))
    held = sum(part.bytes * part.copies for part in costing.slices(0))
    footprint = float(costing.cut.footprint_bytes[0])
    assert held <= footprint + 2 * len(costing.slices(0)) or 0 in costing.cut.searched
    assert footprint <= capacity or 0 in costing.cut.searched
    if 0 not in costing.cut.searched:
        assert held >= footprint - 1e-6


def test_slices_are_thicker_where_every_transfer_is_set_up() -> None:
    free = scratchpad(65536)
    dear = replace(free, memories=(free.memories[0], replace(free.memories[1], setup_s=1e-6)))
    thin, thick = cut(CUBE, free), cut(CUBE, dear)
    assert thick.cut.tiles[0] < thin.cut.tiles[0]
    assert thick.cut.footprint_bytes[0] <= 65536
    assert thick.estimate().device_s <= cut(CUBE, dear, scheduled(CUBE, free, Kernels(), Tiles())).estimate().device_s


def test_weights_stay_for_all_steps_of_a_recurrent_layer() -> None:
    graph = modelled(
        "g (float[20,1,8] x) => (float[20,1,1,64] y) { y = LSTM<hidden_size=64>(x, w, r) }",
        w=(1, 256, 8),
        r=(1, 256, 64),
    )
    weights = 4 * 256 * (8 + 64)
    roomy = cut(graph, scratchpad(1 << 20))
    assert roomy.cut.weights_stay.tolist() == [True]
    assert roomy.moved.weight_bytes.tolist() == [weights]
    assert roomy.cut.footprint_bytes[0] >= weights
    assert cut(graph, scratchpad(16384)).moved.weight_bytes[0] > 5 * weights  # loaded again in most steps
