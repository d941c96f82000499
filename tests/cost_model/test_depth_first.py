"""Products whose operands lie with the reduction contiguous, against bytes counted by hand."""

import numpy as np
import pytest

from roofwright.cost_model.depth_first import slowed
from roofwright.cost_model.units import Nests
from roofwright.targets import Target
from tests.cost_model import gpus

YES, NO = np.array([True]), np.array([False])


def _slowed(made: Target, nests: Nests, seconds: float, depth_first: np.ndarray = YES) -> float:
    return float(slowed(np.array([seconds]), nests, made, made.engines[0], "float32", depth_first)[0])


def test_a_stack_that_says_nothing_slows_nothing() -> None:
    made = gpus.target()
    assert _slowed(made, Nests.gemm(8192, 8192, 4096), 1e-3) == 1e-3


def test_narrow_and_wide_products_have_a_factor_each_and_launches_none() -> None:
    made = gpus.target(gpu_depth_first_factor=1.5, gpu_depth_first_wide_factor=1.1)
    launch_s = made.stack.launch_s
    assert _slowed(made, Nests.gemm(4096, 128, 512), launch_s + 1e-3) == pytest.approx(launch_s + 1.5e-3)
    assert _slowed(made, Nests.gemm(4096, 129, 512), launch_s + 1e-3) == pytest.approx(launch_s + 1.1e-3)
    assert _slowed(made, Nests.gemm(4096, 129, 512), launch_s + 1e-3, NO) == launch_s + 1e-3


def test_every_wave_reads_its_rows_and_columns_in_short_runs() -> None:
    # ten multiprocessors hold 8 tiles of 64 x 64 each: 80 in flight, of 160 tile rows and 80 tile columns
    made = gpus.target(gpu_scattered_bytes_per_s=1e9)
    waves = 160 * 80 / 80
    moved = waves * (80 * 64 + 64) * 1024 * 4
    assert _slowed(made, Nests.gemm(160 * 64, 80 * 64, 1024), 1e-3) == pytest.approx(made.stack.launch_s + moved / 1e9)


def test_fewer_rows_leave_more_columns_in_a_wave_and_cost_less_per_multiply() -> None:
    made = gpus.target(gpu_scattered_bytes_per_s=1e9)
    tall = _slowed(made, Nests.gemm(80 * 64, 160 * 64, 1024), 0.0)
    flat = _slowed(made, Nests.gemm(10 * 64, 1280 * 64, 1024), 0.0)
    assert flat < 0.25 * tall


def test_what_one_wave_or_the_cache_holds_is_not_slowed() -> None:
    made = gpus.target(gpu_scattered_bytes_per_s=1.0)
    assert _slowed(made, Nests.gemm(8 * 64, 10 * 64, 4096), 1e-3) == 1e-3  # 80 tiles, 80 in flight
    assert _slowed(made, Nests.gemm(1024, 1024, 64), 1e-3) == 1e-3  # 256 tiles, 512 kB in a cache of 1 MiB
    assert _slowed(made, Nests.gemm(8192, 128, 4096), 1e-3) == 1e-3  # narrow


def test_time_that_already_exceeds_the_reads_stays() -> None:
    made = gpus.target(gpu_scattered_bytes_per_s=1e12)
    assert _slowed(made, Nests.gemm(160 * 64, 80 * 64, 1024), 10.0) == pytest.approx(10.0)
