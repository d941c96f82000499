import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model.bounds import (
    compulsory,
    graph_bound,
    kernel_bound,
    real_taps,
    taps_per_input,
    touched,
    traffic_bound,
)
from roofwright.cost_model.floors import Options
from roofwright.cost_model.units import Nests
from roofwright.cost_model.work import LoopNest

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


def ways(seconds: list[list[float]]) -> Options:
    """One way per finite entry of a table of pieces by engines."""
    table = np.array(seconds)
    piece, engine = np.nonzero(np.isfinite(table))
    return Options(piece, engine, table[piece, engine], np.zeros(len(piece)))


def test_engines_may_work_on_one_kernel_together() -> None:
    options = ways([[2.0, 2.0], [3.0, math.inf], [math.inf, math.inf]])
    assert kernel_bound(options, np.array([0, 1, 1]), 2, 3).tolist() == [1.0, 3.0, 0.0]


def test_the_best_lowering_on_an_engine_counts() -> None:
    options = Options(np.array([0, 0]), np.array([0, 0]), np.array([5.0, 4.0]), np.zeros(2))
    assert kernel_bound(options, np.array([0]), 1, 1).tolist() == [4.0]


def test_graph_bound_is_the_busiest_resource() -> None:
    options = ways([[4.0, math.inf], [2.0, 6.0], [math.inf, 1.0]])
    bound = graph_bound(options, 2, 3.0, np.zeros(4), request_s=0.5)
    # x of piece 1 on engine 0: 4 + 2 x = 1 + 6 (1 - x) at x = 3/8.
    assert bound.compute_s == pytest.approx(4.75)
    assert bound.price == pytest.approx([0.75, 0.25, 0.0])
    assert bound.memory_s == 3.0
    assert bound.total_s == pytest.approx(5.25)
    assert graph_bound(options, 2, 6.0, np.zeros(4)).total_s == 6.0
    assert graph_bound(options, 2, 3.0, np.zeros(4), turns_s=7.0).total_s == 7.0


def test_a_way_with_less_work_may_fetch_more() -> None:
    """One piece, two lowerings on one engine: 4 s, or 1 s and 9 s of the port beside the 1 s it has anyway."""
    options = Options(np.array([0, 0]), np.array([0, 0]), np.array([4.0, 1.0]), np.zeros(2))
    bound = graph_bound(options, 1, 1.0, np.array([0.0, 9.0]))
    assert (bound.compute_s, bound.memory_s) == (1.0, 1.0)
    # A share x of the second way: 4 - 3 x = 1 + 9 x at x = 1/4.
    assert bound.total_s == pytest.approx(3.25)
