"""Vector cores: padding, cores, tile units, Winograd, caches, and what must hold of any nest."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model import simd
from roofwright.cost_model.units import Nests, UnitTime
from roofwright.cost_model.work import LoopNest
from tests.cost_model.machines import array, cores, machine, memory, stack
from tests.cost_model.nests import loop_nests


def _price(nest: LoopNest, engine: Any, dtype: str = "float32", **software: float) -> UnitTime:
    return simd.time(Nests.of([nest]), engine, machine(engine, software=stack(**software)), dtype)


def _gemm(m: int, n: int, k: int) -> LoopNest:
    return LoopNest(1, 1, m, 1, n, k, in_h=m)


def _conv(channels: int = 64, filters: int = 64, kernel: int = 3, stride: int = 1) -> LoopNest:
    size = 56 * stride
    return LoopNest(1, 1, 56, 56, filters, channels, kernel, kernel, stride, stride, 1, 1, size, size)


def test_a_product_without_padding_runs_at_the_peak() -> None:
    priced = _price(_gemm(64, 64, 64), cores())
    assert priced.busy_s[0] == priced.ideal_s[0] == 64**3 / 32


def test_channels_are_padded_to_the_granule() -> None:
    assert _price(_conv(9, 18), cores()).busy_s[0] == _price(_conv(12, 20), cores()).busy_s[0]
    three = _price(_conv(3, 64), cores())
    assert three.busy_s[0] == pytest.approx(three.ideal_s[0])  # fewer input channels than the granule: no padding
    depthwise = LoopNest(10, 1, 56, 56, 1, 1, 3, 3, 1, 1, 1, 1, 56, 56)
    padded = _price(depthwise, cores())
    assert padded.busy_s[0] == pytest.approx(padded.ideal_s[0] * 12 / 10)


def test_a_matrix_vector_product_puts_rows_along_the_vector() -> None:
    priced = _price(_gemm(1024, 1, 1024), cores())
    assert priced.busy_s[0] == priced.ideal_s[0]


def test_the_last_round_leaves_cores_idle() -> None:
    four, three = cores(4), cores(3)
    nest = _gemm(8, 16, 64)  # 4 register tiles
    assert _price(nest, four).busy_s[0] == _price(nest, cores()).busy_s[0] / 4
    assert _price(nest, three).busy_s[0] == _price(nest, cores()).busy_s[0] / 2


def test_issue_efficiency_belongs_to_the_stack() -> None:
    full, half = _price(_gemm(64, 64, 64), cores()), _price(_gemm(64, 64, 64), cores(), simd=0.5)
    assert half.busy_s[0] == 2 * full.busy_s[0]
    assert _price(_gemm(64, 64, 64), cores(), simd=0.5, simd__float32=1.0).busy_s[0] == full.busy_s[0]
    depthwise = LoopNest(64, 1, 56, 56, 1, 1, 3, 3, 1, 1, 1, 1, 56, 56)
    ratio = _price(depthwise, cores(), simd=0.8, simd__depthwise=0.2).busy_s[0] / _price(depthwise, cores()).busy_s[0]
    assert ratio == pytest.approx(5)


def test_filters_above_one_by_one_may_have_a_share_of_their_own() -> None:
    assert _price(_conv(), cores(), simd=1.0, simd__window=0.25).busy_s == 4 * _price(_conv(), cores()).busy_s
    one = _price(_conv(kernel=1), cores(), simd=1.0, simd__window=0.25).busy_s
    assert one == _price(_conv(kernel=1), cores()).busy_s


def test_every_further_core_costs_a_share_of_one() -> None:
    lossy = dataclasses.replace(stack(), constants={"core_loss": 0.25})
    for count, factor in ((1, 1.0), (4, 1.75)):
        target = machine(cores(count), software=lossy)
        priced = simd.time(Nests.of([_gemm(64, 64, 64)]), cores(count), target, "float32")
        assert priced.busy_s[0] == pytest.approx(factor * _price(_gemm(64, 64, 64), cores(count)).busy_s[0])
        assert priced.padded_s[0] == _price(_gemm(64, 64, 64), cores(count)).padded_s[0]


def _amx() -> Any:
    engine = cores(1, 512, tile_unit=(16, 16, 64))
    return dataclasses.replace(engine, macs_per_clock={"float32": 32.0, "bfloat16": 512.0, "int8": 1024.0})


def test_a_tile_unit_multiplies_whole_tiles() -> None:
    assert _price(_gemm(16, 16, 64), _amx(), "int8").busy_s[0] == 16
    assert _price(_gemm(16, 16, 32), _amx(), "bfloat16").busy_s[0] == 16  # two bytes: half as deep
    assert _price(_gemm(17, 17, 65), _amx(), "int8").busy_s[0] == 16 * 8


def test_narrow_products_leave_the_tile_unit_for_the_vector_ports() -> None:
    one_row = _price(_gemm(1, 16, 64), _amx(), "int8").busy_s[0]
    assert one_row == 16 * 64 / 128
    assert _price(_gemm(16, 16, 64), _amx(), "float32").busy_s[0] == 16 * 16 * 64 / 32


def _with(engine: Any, *algorithms: str) -> Any:
    return dataclasses.replace(engine, algorithms=("direct", *algorithms))


def test_winograd_only_where_declared_and_only_for_dense_3x3() -> None:
    both = _with(cores(), "winograd_2x2", "winograd_4x4")
    wide = _conv(256, 256)
    assert _price(wide, cores()).algorithm[0] == "direct"
    fast = _price(wide, both)
    assert fast.algorithm[0] == "winograd_4x4"
    assert fast.busy_s[0] < fast.ideal_s[0]
    assert fast.busy_s[0] >= fast.ideal_s[0] * 36 / 144  # never below its multiplications
    for other in (_conv(256, 256, kernel=5), _conv(256, 256, stride=2), _conv(3, 8)):
        assert _price(other, both).algorithm[0] == "direct"
    assert _price(wide, _with(cores(), "winograd_2x2")).algorithm[0] == "winograd_2x2"


def test_caches_bound_a_product_from_below() -> None:
    levels = (memory("l1", 2**15, 100.0, "cache"), memory("l2", 2**20, 1.0, "cache"), memory("dram", 2**33, 1.0))
    target = machine(cores(), levels)
    m = 4096
    priced = simd.time(Nests.gemm(m, m, m), cores(), target, "float32")
    assert priced.inner_s[0] == pytest.approx(2 * m**3 / np.sqrt(2**15 / 4) * 4)
    assert priced.off_chip_factor[0] == pytest.approx(2 * m**3 / np.sqrt(2**20 / 4) / (3 * m * m))
    small = simd.time(Nests.gemm(64, 64, 64), cores(), target, "float32")
    assert small.off_chip_factor[0] == 1.0
    assert small.inner_s[0] == pytest.approx(3 * 64 * 64 * 4)


def test_what_the_cores_cannot_run() -> None:
    assert np.isinf(_price(_gemm(8, 8, 8), cores(), "float16").busy_s).all()
    assert np.isinf(_price(_gemm(8, 8, 8), array(4, 4), "int8").busy_s).all()


ENGINES = [cores(), cores(7, 128, channel_granule=16), _amx(), _with(cores(3), "winograd_2x2", "winograd_4x4")]


@given(st.lists(loop_nests(), min_size=1, max_size=8), st.sampled_from(ENGINES), st.sampled_from(["float32", "int8"]))
def test_ideal_padded_busy_are_in_order_and_vectorised_equals_scalar(
    nests: list[LoopNest], engine: Any, dtype: str
) -> None:
    target = machine(engine)
    together = simd.time(Nests.of(nests), engine, target, dtype)
    direct = together.algorithm == "direct"
    assert (together.ideal_s <= together.padded_s * (1 + 1e-12))[direct].all()
    assert (together.padded_s <= together.busy_s * (1 + 1e-12)).all()
    alone = [simd.time(Nests.of([nest]), engine, target, dtype) for nest in nests]
    assert together.busy_s.tolist() == [float(one.busy_s[0]) for one in alone]
    assert together.algorithm.tolist() == [one.algorithm[0] for one in alone]
