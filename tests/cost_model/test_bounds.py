import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model.bounds import (
    compulsory,
    engine_floor_s,
    graph_bound,
    kernel_bound,
    least_macs,
    real_taps,
    taps_per_input,
    touched,
    traffic_bound,
)
from roofwright.cost_model.matrix_unit import unit_time
from roofwright.cost_model.units import Nests
from roofwright.cost_model.work import LoopNest
from tests.cost_model.machines import array, cores, machine, window_unit
from tests.cost_model.nests import loop_nests

small = st.integers(1, 7)


def conv(channels: int, filters: int, size: int, window: int, stride: int = 1, **more: Any) -> LoopNest:
    pad = window // 2
    out = (size + 2 * pad - window) // stride + 1
    shape = {"out_h": out, "out_w": out, "kernel_h": window, "kernel_w": window, "stride_h": stride, "stride_w": stride}
    return LoopNest(out_channels=filters, in_channels=channels, in_h=size, in_w=size, **shape, **more)


@given(st.integers(1, 30), small, small, small)
def test_touched_positions_are_counted(out: int, kernel: int, stride: int, dilation: int) -> None:
    places = {o * stride + r * dilation for o in range(out) for r in range(kernel)}
    assert int(touched(out, kernel, stride, dilation, max(places) + 1)) == len(places)


@given(st.integers(1, 30), small, st.integers(1, 3), small, st.integers(0, 3))
def test_padding_is_not_touched(out: int, kernel: int, stride: int, dilation: int, pad: int) -> None:
    pad = min(pad, (kernel - 1) * dilation // 2)
    size = (out - 1) * stride + (kernel - 1) * dilation + 1 - 2 * pad
    if size < 1:
        return
    pairs = [o * stride + r * dilation - pad for o in range(out) for r in range(kernel)]
    inside = [p for p in pairs if 0 <= p < size]
    assert int(touched(out, kernel, stride, dilation, size)) <= max(len(set(inside)), 1)
    assert float(real_taps(out, kernel, stride, dilation, size)) == pytest.approx(len(inside) / len(pairs))


def test_compulsory_elements_by_hand() -> None:
    nests = Nests.of(
        [conv(64, 128, 56, 3, 2), conv(64, 128, 56, 1, 2), LoopNest(out_h=5, out_channels=7, in_channels=3, in_h=5)]
    )
    moved = compulsory(nests)
    assert moved.inputs.tolist() == [64 * 56 * 56, 64 * 28 * 28, 15]
    assert moved.weights.tolist() == [64 * 128 * 9, 64 * 128, 21]
    assert moved.outputs.tolist() == [128 * 28 * 28, 128 * 28 * 28, 35]
    assert moved.bytes(1, 0.5, 4)[2] == 15 + 10.5 + 140


def test_weights_of_a_recurrent_layer_are_read_once() -> None:
    moved = compulsory(Nests.of([LoopNest(out_h=2, out_channels=8, in_channels=4, in_h=2, steps=10)]))
    assert (moved.inputs[0], moved.weights[0], moved.outputs[0]) == (80, 32, 160)


def test_taps_per_input_follow_the_stride_classes() -> None:
    nests = Nests.of([conv(1, 1, 9, 3), conv(1, 1, 9, 3, 2), conv(1, 1, 9, 1), conv(1, 1, 15, 7, 2)])
    assert taps_per_input(nests).tolist() == [9, 4, 1, 16]


def test_traffic_bound_by_hand() -> None:
    gemm = Nests.gemm(4096, 4096, 4096)
    assert traffic_bound(gemm, 2, 2, 4, 65536)[0] == pytest.approx(2 * 4096**3 * 4 / 256 - 131072)
    assert traffic_bound(gemm, 2, 2, 4, 2**40)[0] == compulsory(gemm).bytes(2, 2, 4)[0]
    window = Nests.of([conv(512, 512, 512, 3)])
    products = 512 * 512 * (3 * 512 - 2) ** 2  # the first and the last row and column have one tap on padding
    assert traffic_bound(window, 1, 1, 1, 4096)[0] == pytest.approx(2 * products / math.sqrt(9 * 4096) - 8192)


def test_only_dense_3x3_windows_have_fewer_multiplications() -> None:
    nests = Nests.of([conv(8, 8, 16, 3), conv(8, 8, 16, 3, 2), conv(8, 8, 16, 5)])
    share = least_macs(nests, ("direct", "winograd_2x2", "winograd_4x4")) / nests.macs
    assert share.tolist() == [0.25, 1, 1]
    assert (least_macs(nests, ("direct", "winograd_2x2")) / nests.macs)[0] == pytest.approx(16 / 36)
    assert (least_macs(nests, ()) == nests.macs).all()


def test_a_systolic_array_is_held_to_its_geometry() -> None:
    def cycles(nest: LoopNest, **changes: Any) -> float:
        return float(engine_floor_s(Nests.of([nest]), array(8, 4, **changes), "int8")[0])

    def gemm(m: int, n: int, k: int) -> LoopNest:
        return LoopNest(out_h=m, out_channels=n, in_channels=k, in_h=m)

    assert cycles(gemm(100, 4, 8)) == 100
    assert cycles(gemm(100, 4, 9)) == 200  # nine rows of weights take two fillings
    assert cycles(gemm(3, 4, 8)) == 8  # the weight shift
    assert cycles(gemm(100, 1, 8)) == 100  # one output per streamed row: three columns idle
    assert cycles(gemm(100, 1, 8), dataflow="output_stationary") == 25
    assert cycles(gemm(4, 100, 8), dataflow="input_stationary") == 100
    # Depthwise: a pixel meets at most 9 weights, an output needs 9 products, that is two visits of 8 rows.
    assert cycles(conv(1, 1, 16, 3, repeat=4)) == 256 * 2


def test_an_output_of_a_window_unit_takes_whole_windows() -> None:
    floor = engine_floor_s(Nests.of([conv(1, 1, 10, 3), conv(10, 1, 10, 1)]), window_unit(lanes=100), "float16")
    assert floor.tolist() == [1, 2]
    assert engine_floor_s(Nests.of([conv(1, 1, 10, 3)]), window_unit(), "int8").tolist() == [math.inf]


@pytest.mark.parametrize(
    ("engine", "dtype"),
    [
        (array(16, 8), "int8"),
        (array(16, 8), "int16"),
        (array(16, 8, count=2, conv_rows="channels", weight_double_buffer=False), "int8"),
        (array(8, 16, dataflow="output_stationary"), "int8"),
        (array(8, 16, dataflow="input_stationary"), "int8"),
        (window_unit(), "float16"),
        (cores(4), "float32"),
    ],
    ids=["ws", "slow-dtype", "two-serial", "os", "is", "window", "cpu"],
)
@given(nest=loop_nests())
def test_no_engine_is_priced_below_its_floor(engine: Any, dtype: str, nest: LoopNest) -> None:
    nests = Nests.of([nest])
    floor = engine_floor_s(nests, engine, dtype)
    assert unit_time(nests, engine, machine(engine), dtype).busy_s[0] * (1 + 1e-12) >= floor[0]


def test_engines_may_work_on_one_kernel_together() -> None:
    bound = kernel_bound(np.array([[2.0, 2.0], [3.0, np.inf], [np.inf, np.inf]]), np.array([5.0, 40.0, 1.0]), 10.0)
    assert bound.compute_s.tolist() == [1.0, 3.0, 0.0]
    assert bound.total_s.tolist() == [1.0, 4.0, 0.1]


def test_graph_bound_is_the_busiest_resource() -> None:
    pieces = np.array([[4.0, np.inf], [2.0, 6.0], [np.inf, 1.0]])
    bound = graph_bound(pieces, 30.0, 10.0)
    # x of piece 1 on engine 0: 4 + 2 x = 1 + 6 (1 - x) at x = 3/8.
    assert bound.compute_s == pytest.approx(4.75)
    assert bound.engine_price == pytest.approx([0.75, 0.25])
    assert bound.memory_s == 3.0
    assert bound.total_s == pytest.approx(4.75)
    assert graph_bound(pieces, 60.0, 10.0).total_s == 6.0
