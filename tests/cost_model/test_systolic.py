"""Systolic closed forms against SCALE-Sim's answers, and what must hold of any nest."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model import systolic
from roofwright.cost_model.units import Nests
from roofwright.cost_model.work import LoopNest
from roofwright.targets import Systolic, load_target
from roofwright.targets.spec import Dataflow
from tests.cost_model.machines import array, machine, memory
from tests.cost_model.nests import loop_nests
from tests.shared import ORACLES, needs_oracles

FLOWS: dict[str, Dataflow] = {
    "ws": "weight_stationary",
    "is": "input_stationary",
    "os": "output_stationary",
}


def _networks() -> list[Any]:
    path = ORACLES / "cycles.json"
    targets = json.loads(path.read_text())["targets"] if path.is_file() else {}
    return [
        pytest.param(t["R"], t["C"], network, id=f"{name}-{title}")
        for name, t in targets.items()
        for title, network in t["networks"].items()
    ]


@needs_oracles
@pytest.mark.parametrize(("rows", "cols", "network"), _networks())
def test_every_layer_of_the_networks_equals_scale_sim(rows: int, cols: int, network: dict[str, Any]) -> None:
    layers = network["layers"]
    m, n, k, repeat = (np.array([layer[f] for layer in layers]) for f in ("M", "N", "K", "repeat"))
    serial = systolic.cycles(m, n, k, rows, cols, "weight_stationary", False)
    by_output = systolic.cycles(m, n, k, rows, cols, "output_stationary", False)
    chained = systolic.cycles(m, n, k, rows, cols, "weight_stationary", True, repeat)
    assert serial.tolist() == [layer["ws_scalesim"] for layer in layers]
    assert by_output.tolist() == [layer["os_scalesim"] for layer in layers]
    assert chained.tolist() == [layer["ws_dbuf"] for layer in layers]
    assert chained.sum() == network["total_ws_dbuf"]
    assert (serial * repeat).sum() == network["total_ws_scalesim"]


@needs_oracles
def test_random_products_equal_scale_sim_in_all_dataflows() -> None:
    cases = json.loads((ORACLES / "systolic_random.json").read_text())
    assert len(cases) == 90
    for case in cases:
        m, n, k, rows, cols = (case[f] for f in "MNKRC")
        flow = FLOWS[case["dataflow"]]
        assert systolic.cycles(m, n, k, rows, cols, flow, False) == case["total_cycles"]
        words = [int(w) for w in systolic.sram_words(m, n, k, rows, cols, flow)]
        assert words[:2] == case["sram"][:2]
        idle = 0 if case["dataflow"] != "os" else -(-m // rows) * -(-n // cols) * (rows + cols)
        assert words[2] + idle == case["sram"][2]


def test_resnet50_totals_with_double_buffered_weights() -> None:
    # (side, in, mid, out, blocks, stride of the first block): He et al., arXiv:1512.03385, table 1
    layers = [(112 * 112, 64, 147)]
    for side, into, mid, out, blocks, stride in (
        (56, 64, 64, 256, 3, 1), (28, 256, 128, 512, 4, 2), (14, 512, 256, 1024, 6, 2), (7, 1024, 512, 2048, 3, 2)
    ):  # fmt: skip
        for block in range(blocks):
            channels = into if block == 0 else out
            first = (side * stride) ** 2 if block == 0 else side**2
            layers += [(first, mid, channels), (side**2, mid, mid * 9), (side**2, out, mid)]
            layers += [(side**2, out, into)] if block == 0 else []
    layers.append((1, 1000, 2048))
    m, n, k = np.array(layers).T
    assert systolic.cycles(m, n, k, 256, 256).sum() == 227_450
    assert systolic.cycles(m, n, k, 128, 128).sum() == 420_078


SIZES = st.integers(1, 3000)


@given(SIZES, SIZES, SIZES, st.integers(1, 300), st.integers(1, 300), st.sampled_from(list(FLOWS.values())))
def test_double_buffering_lies_between_the_ideal_and_scale_sim(
    m: int, n: int, k: int, rows: int, cols: int, flow: Dataflow
) -> None:
    serial = int(systolic.cycles(m, n, k, rows, cols, flow, False))
    chained = int(systolic.cycles(m, n, k, rows, cols, flow, True))
    assert m * n * k / (rows * cols) <= chained <= serial + 1


@pytest.mark.parametrize(("rows", "batch"), [(256, 6), (128, 3)])
def test_smallest_batch_hiding_the_weight_shift_of_7x7_maps(rows: int, batch: int) -> None:
    assert systolic.smallest_batch_hiding_shift(7, 7, rows) == batch

    def exposed(batch: int) -> int:
        rows_streamed = batch * 49
        two = systolic.cycles(rows_streamed, rows, 2 * rows, rows, rows)
        one = systolic.cycles(rows_streamed, rows, rows, rows, rows)
        return int(two - one) - rows_streamed

    assert exposed(batch) == 0
    assert exposed(batch - 1) > 0


def _cycles(nest: LoopNest, dtype: str = "int8", count: int = 1, **changes: Any) -> float:
    engine = array(128, 128, count, **changes)
    return float(systolic.time(Nests.of([nest]), engine, machine(engine), dtype).busy_s[0])


def test_a_kernel_of_one_array_takes_the_closed_form() -> None:
    nest = LoopNest(1, 1, 300, 1, 500, 400, in_h=300)
    assert _cycles(nest) == int(systolic.cycles(300, 500, 400, 128, 128))
    serial = int(systolic.cycles(300, 500, 400, 128, 128, "weight_stationary", False))
    assert _cycles(nest, weight_double_buffer=False) == serial


def test_int16_runs_at_a_quarter_of_the_speed() -> None:
    nest = LoopNest(1, 1, 300, 1, 500, 400, in_h=300)
    assert _cycles(nest, "int16") == 4 * _cycles(nest)


def test_rows_are_padded_to_the_granule() -> None:
    odd, even = LoopNest(1, 1, 301, 1, 128, 128, in_h=301), LoopNest(1, 1, 304, 1, 128, 128, in_h=304)
    assert _cycles(odd, row_granule=8) == _cycles(even, row_granule=8) > _cycles(odd)


STEM = LoopNest(1, 1, 112, 112, 64, 3, 7, 7, 2, 2, 1, 1, 224, 224)


def test_window_rows_pack_a_stem_and_channel_rows_do_not() -> None:
    assert _cycles(STEM) == int(systolic.cycles(12544, 64, 147, 128, 128))
    assert _cycles(STEM, conv_rows="channels") == 128 + 48 * 12544 + 12544 + 254


DEPTHWISE = LoopNest(96, 1, 56, 56, 1, 1, 3, 3, 1, 1, 1, 1, 56, 56)


def test_depthwise_channels_share_a_tile_block_diagonally() -> None:
    # 128 // 9 = 14 channels in a tile, so 96 channels take 7 folds
    assert _cycles(DEPTHWISE) == 128 + 6 * 3136 + 3136 + 254
    assert _cycles(DEPTHWISE, depthwise_packing=False) == 128 + 95 * 3136 + 3136 + 254
    engine = array(256, 256)
    packed = systolic.time(Nests.of([DEPTHWISE]), engine, machine(engine), "int8")
    assert packed.algorithm[0] == "pack_depthwise"
    assert packed.busy_s[0] == 256 + 3 * 3136 + 3136 + 510  # 28 to a tile


def test_copies_of_a_batched_matmul_do_not_share_a_tile() -> None:
    heads = LoopNest(12, 1, 128, 1, 8, 8, in_h=128)
    assert _cycles(heads) == 128 + 11 * 128 + 128 + 254


def test_recurrent_steps_wait_for_each_other() -> None:
    fits = LoopNest(1, 1, 8, 1, 128, 128, in_h=8, steps=10)
    assert _cycles(fits) == 128 + 10 * (8 + 254)  # resident: one shift
    spills = dataclasses.replace(fits, out_channels=512)
    assert _cycles(spills) == 128 + 10 * (3 * 128 + 8 + 254)
    assert _cycles(fits, weight_double_buffer=False) == 128 + 10 * (8 + 254)


def test_several_arrays_share_the_folds_or_the_rows() -> None:
    folds = LoopNest(1, 1, 1000, 1, 512, 128, in_h=1000)
    assert _cycles(folds, count=4) == int(systolic.cycles(1000, 128, 128, 128, 128))
    rows = LoopNest(1, 1, 1000, 1, 128, 128, in_h=1000)
    assert _cycles(rows, count=4) == int(systolic.cycles(250, 128, 128, 128, 128))


def test_a_slow_feed_shows_in_inner_time() -> None:
    engine = array(128, 128)
    target = machine(engine, (memory("sram", 2**20, 10.0), memory("dram", 2**30, 1.0)))
    priced = systolic.time(Nests.gemm(100, 256, 64), engine, target, "int8")
    assert priced.inner_s[0] == pytest.approx(100 * 64 * 2 / 10)


def test_whole_tiles_stream_where_no_memory_on_chip_holds_weights() -> None:
    target = load_target("tpuv1")
    engine = target.engine("mxu")

    def tiles(nests: Nests) -> float:
        again = float(systolic.time(nests, engine, target, "int8").off_chip_factor[0])
        return again * int(nests.depth[0] * nests.out_channels[0]) / 65536

    assert tiles(Nests.gemm(96, 600, 600)) == pytest.approx(9)
    assert tiles(Nests.gemm(4097, 600, 600)) == pytest.approx(18)  # the accumulators hold 4096 rows
    resident = Nests.of([LoopNest(1, 1, 96, 1, 256, 256, in_h=96, steps=10)])
    assert tiles(resident) == pytest.approx(1)


def test_a_dtype_that_the_array_lacks_takes_for_ever() -> None:
    engine = array(128, 128)
    assert np.isinf(systolic.time(Nests.gemm(8, 8, 8), engine, machine(engine), "float32").busy_s).all()


ARRAYS = [array(128, 128, 4, row_granule=8), array(64, 32), array(16, 16, 2, weight_double_buffer=False)]
ARRAYS += [array(256, 256, conv_rows="channels"), array(32, 32, dataflow="output_stationary")]
ARRAYS += [array(32, 64, dataflow="input_stationary")]


@given(st.lists(loop_nests(), min_size=1, max_size=8), st.sampled_from(ARRAYS))
def test_ideal_padded_busy_are_in_order_and_vectorised_equals_scalar(nests: list[LoopNest], engine: Any) -> None:
    target = machine(engine)
    together = systolic.time(Nests.of(nests), engine, target, "int8")
    slack = 1 + 1e-12
    assert (together.ideal_s <= together.padded_s * slack).all()
    assert (together.padded_s <= together.busy_s * slack).all()
    assert np.isfinite(together.busy_s).all()
    alone = [systolic.time(Nests.of([nest]), engine, target, "int8") for nest in nests]
    assert together.busy_s.tolist() == [float(one.busy_s[0]) for one in alone]
    assert together.padded_s.tolist() == [float(one.padded_s[0]) for one in alone]
    assert together.algorithm.tolist() == [one.algorithm[0] for one in alone]


def _tiles(nest: LoopNest, *met: tuple[int, int], **changes: Any) -> list[int]:
    unit = array(8, 4, **changes).geometry
    assert isinstance(unit, Systolic)
    return [int(systolic.streamed_tiles(Nests.of([nest]), taps, channels, unit)[0]) for taps, channels in met]


def test_tiles_that_some_taps_and_channels_need() -> None:
    """Tap by tap a tile has 8 channels of one tap, else 8 rows of all taps' channels; and 4 filters of one group."""
    thin = LoopNest(repeat=12, out_h=9, out_w=9, kernel_h=3, kernel_w=3, in_h=9, in_w=9)
    dense = dataclasses.replace(thin, repeat=1, out_channels=9, in_channels=20)
    assert _tiles(dense, (9, 20), (9, 1), (1, 20), (1, 8), (0, 0), conv_rows="channels") == [81, 27, 9, 3, 0]
    assert _tiles(dense, (9, 20), (9, 1), (1, 1)) == [69, 6, 3]
    met = ((9, 12), (9, 1), (1, 12))
    assert _tiles(thin, *met, conv_rows="channels") == [27, 9, 3]
    assert _tiles(thin, *met, conv_rows="channels", depthwise_packing=False) == [108, 9, 12]
    six = dataclasses.replace(thin, repeat=3, in_channels=6)  # of 18 channels, 7 are in two groups at least
    assert _tiles(six, (1, 6), (1, 7), (1, 18), conv_rows="channels") == [1, 2, 3]
