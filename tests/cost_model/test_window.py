"""The 3 x 3 window unit: how filters of any size are covered, and what must hold of any nest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model import window
from roofwright.cost_model.units import Nests
from roofwright.cost_model.work import LoopNest
from tests.cost_model.machines import array, machine, memory, window_unit
from tests.cost_model.nests import loop_nests


def _conv(kernel: int, dilation: int = 1, stride: int = 1, groups: int = 1) -> LoopNest:
    return LoopNest(groups, 1, 50, 50, 40, 30, kernel, kernel, stride, stride, dilation, dilation, 60, 60)


@pytest.mark.parametrize(("kernel", "expected"), [(1, 1), (2, 1), (3, 1), (4, 4), (5, 4), (6, 4), (7, 9), (11, 16)])
def test_filters_are_covered_by_whole_windows(kernel: int, expected: int) -> None:
    assert window.windows(Nests.of([_conv(kernel)]), 3, 3) == expected


def test_a_dilated_filter_takes_the_cheaper_cover() -> None:
    assert window.windows(Nests.of([_conv(3, dilation=2)]), 3, 3) == 4  # extent 5
    assert window.windows(Nests.of([_conv(3, dilation=6)]), 3, 3) == 9  # one window per tap


def _share_of_peak(nest: LoopNest) -> float:
    engine = window_unit(lanes=100)
    priced = window.time(Nests.of([nest]), engine, machine(engine), "float16")
    return float(priced.ideal_s[0] / priced.busy_s[0])


def test_share_of_the_multipliers_that_a_filter_uses() -> None:
    assert _share_of_peak(_conv(3)) == pytest.approx(1)
    assert _share_of_peak(_conv(3, stride=2)) == pytest.approx(1)
    assert _share_of_peak(_conv(1)) == pytest.approx(1 / 9)
    assert _share_of_peak(_conv(5)) == pytest.approx(25 / 36)
    assert _share_of_peak(_conv(7)) == pytest.approx(49 / 81)
    assert _share_of_peak(LoopNest(1, 1, 1000, 1, 100, 64, in_h=1000)) == pytest.approx(1 / 9)
    assert _share_of_peak(LoopNest(64, 1, 50, 50, 1, 1, 3, 3, 1, 1, 1, 1, 50, 50)) == pytest.approx(1)


def test_a_single_output_leaves_lanes_idle() -> None:
    assert _share_of_peak(LoopNest(1, 1, 1, 1, 1, 1, 3, 3, 1, 1, 1, 1, 3, 3)) == pytest.approx(1 / 100)


def test_what_the_unit_cannot_run() -> None:
    engine = window_unit()
    assert np.isinf(window.time(Nests.of([_conv(3)]), engine, machine(engine), "int8").busy_s).all()
    other = array(4, 4)
    assert np.isinf(window.time(Nests.of([_conv(3)]), other, machine(other), "int8").busy_s).all()


def test_a_slow_feed_shows_in_inner_time() -> None:
    engine = window_unit()
    target = machine(engine, (memory("sram", 2**20, 10.0), memory("dram", 2**30, 1.0)))
    words = 60 * 60 * 30 + 270 * 40 + 50 * 50 * 40
    assert window.time(Nests.of([_conv(3)]), engine, target, "float16").inner_s[0] == pytest.approx(words * 2 / 10)


@given(st.lists(loop_nests(), min_size=1, max_size=8), st.integers(1, 200))
def test_ideal_padded_busy_are_in_order_and_vectorised_equals_scalar(nests: list[LoopNest], lanes: int) -> None:
    engine = window_unit(lanes)
    together = window.time(Nests.of(nests), engine, machine(engine), "float16")
    assert (together.ideal_s <= together.padded_s * (1 + 1e-12)).all()
    assert (together.padded_s <= together.busy_s).all()
    alone = [window.time(Nests.of([nest]), engine, machine(engine), "float16").busy_s[0] for nest in nests]
    assert together.busy_s.tolist() == alone
