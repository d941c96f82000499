import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.floors import Options, nest_options
from roofwright.cost_model.matrix_unit import unit_time
from roofwright.cost_model.units import Nests
from roofwright.cost_model.work import LoopNest
from roofwright.targets import Target
from tests.cost_model import gpus
from tests.cost_model.machines import array, cores, machine, memory, window_unit
from tests.cost_model.nests import loop_nests

WINOGRAD = replace(cores(4), algorithms=("direct", "winograd_2x2", "winograd_4x4"))


def conv(channels: int, filters: int, size: int, window: int, **more: Any) -> LoopNest:
    shape = {"out_h": size, "out_w": size, "kernel_h": window, "kernel_w": window}
    return LoopNest(out_channels=filters, in_channels=channels, in_h=size, in_w=size, **shape, **more)


def gemm(m: int, n: int, k: int) -> LoopNest:
    return LoopNest(out_h=m, out_channels=n, in_channels=k, in_h=m)


def options(nest: LoopNest, target: Target, dtype: str = "int8", kind: str = "conv") -> Options:
    return nest_options(Nests.of([nest]), [storage_of(dtype, target)], [kind], target)


def least(nest: LoopNest, *engines: Any, dtype: str = "int8") -> list[float]:
    """Seconds of the best lowering on every engine."""
    target = replace(machine(engines[0]), engines=engines)
    found = options(nest, target, dtype)
    return [min(found.engine_s[found.engine == e], default=math.inf) for e in range(len(engines))]


def test_a_fold_counts_its_rows_or_its_shift() -> None:
    assert least(gemm(100, 4, 8), array(8, 4)) == [100]
    assert least(gemm(100, 4, 9), array(8, 4)) == [200]  # nine rows of weights take two folds
    assert least(gemm(100, 5, 8), array(8, 4)) == [200]  # and so do five columns
    assert least(gemm(3, 4, 8), array(8, 4)) == [8]  # the weight shift
    assert least(gemm(100, 4, 8), array(8, 4, row_granule=16)) == [112]
    assert least(gemm(10, 5, 100), array(8, 4, dataflow="output_stationary")) == [400]
    assert least(gemm(4, 100, 8), array(8, 4, dataflow="input_stationary")) == [100]
    assert least(gemm(100, 4, 9), array(8, 4, count=2)) == [100]


def test_a_tile_that_stays_is_not_shifted_in_again() -> None:
    steps = replace(gemm(3, 4, 8), steps=10)
    assert least(steps, array(8, 4)) == [30]
    assert least(replace(steps, in_channels=9), array(8, 4)) == [160]


def test_lowerings_are_the_declared_ones() -> None:
    stem = conv(3, 4, 10, 3)
    assert least(stem, array(32, 4)) == [100]
    assert least(stem, array(32, 4, conv_rows="channels")) == [900]  # one fold per tap
    thin = conv(1, 1, 10, 3, repeat=4)
    assert least(thin, array(36, 4, depthwise_packing=False)) == [400]
    assert least(thin, array(36, 4, depthwise_packing=True)) == [100]


def test_rows_that_engines_share_are_not_padded() -> None:
    padded = array(8, 4, row_granule=16)
    other = replace(padded, name="other")
    assert least(gemm(100, 4, 8), padded, other) == [100, 100]


def test_weights_that_stream_are_fetched_in_whole_tiles() -> None:
    unit = array(8, 4)
    streams = machine(unit, (replace(memory("chip", 1024, 1e12), holds=("activations",)), memory("dram", 2**33, 1e9)))
    assert options(gemm(100, 5, 9), streams).fetched.tolist() == [4 * 32]
    holds = machine(unit, (memory("chip", 1024, 1e12), memory("dram", 2**33, 1e9)))
    assert options(gemm(100, 5, 9), holds).fetched.tolist() == [45]


def test_windows_are_whole() -> None:
    unit = window_unit(lanes=100)
    assert least(conv(1, 1, 10, 3), unit, dtype="float16") == [1]
    assert least(conv(10, 1, 10, 1), unit, dtype="float16") == [10]
    assert least(conv(1, 1, 10, 3), unit) == [math.inf]


def test_winograd_counts_where_it_is_declared() -> None:
    dense = conv(8, 8, 16, 3)
    plain, fast = cores(4), WINOGRAD
    assert least(dense, fast, dtype="float32")[0] == pytest.approx(least(dense, plain, dtype="float32")[0] / 4)
    strided = replace(dense, stride_h=2, stride_w=2)
    assert least(strided, fast, dtype="float32") == least(strided, plain, dtype="float32")


@pytest.mark.parametrize(
    ("target", "dtype"),
    [
        (machine(array(16, 8)), "int8"),
        (machine(array(16, 8)), "int16"),
        (machine(array(16, 8, count=2, conv_rows="channels", weight_double_buffer=False)), "int8"),
        (machine(array(8, 16, dataflow="output_stationary")), "int8"),
        (machine(array(8, 16, dataflow="input_stationary")), "int8"),
        (machine(window_unit()), "float16"),
        (machine(cores(4)), "float32"),
        (machine(WINOGRAD), "float32"),
        (gpus.target(), "float32"),
        (gpus.target(gpus.engine((16, 16, 16))), "float16"),
    ],
    ids=["ws", "slow-dtype", "two-serial", "os", "is", "window", "cpu", "winograd", "gpu", "tensor"],
)
@given(nest=loop_nests(), cut=st.integers(1, 8))
def test_no_cut_of_a_nest_is_priced_below_its_floor(target: Target, dtype: str, nest: LoopNest, cut: int) -> None:
    nests = Nests.of([nest])
    engine = target.engines[0]
    floor = nest_options(nests, [storage_of(dtype, target)], [engine.runs[0]], target).engine_s.min()
    heights = [len(part) for part in np.array_split(np.arange(nest.out_h), min(cut, nest.out_h))]
    parts = Nests.of([replace(nest, out_h=height) for height in heights])
    assert unit_time(parts, engine, target, dtype).busy_s.sum() * (1 + 1e-12) >= floor
