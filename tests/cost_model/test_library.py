"""Isolated kernels of a machine's library."""

import dataclasses

import numpy as np
import pytest

from roofwright.cost_model.library import kernel_time, kernels_of, sustained
from roofwright.cost_model.units import Nests
from roofwright.targets import load_target
from tests.cost_model import gpus


def test_a_tiny_kernel_costs_its_launch() -> None:
    v100 = load_target("v100")
    kernels = kernels_of(Nests.gemm(8, 8, 8), v100, "float32")
    assert v100.stack.launch_s < kernels.seconds[0] < 2 * v100.stack.launch_s
    assert kernels.bound[0] == "launch"


def test_the_fastest_engine_runs_it() -> None:
    v100 = load_target("v100")
    large = Nests.gemm(4096, 4096, 4096)
    assert kernels_of(large, v100, "float16").engine[0] == "tensor"
    lanes = kernels_of(large, v100, "float16", engines=("sm",))
    assert lanes.engine[0] == "sm"
    assert lanes.seconds[0] > 3 * kernels_of(large, v100, "float16").seconds[0]


def test_matrix_vector_products_are_bound_by_the_device_memory() -> None:
    v100 = load_target("v100")
    kernels = kernels_of(Nests.gemm(8192, 1, 8192), v100, "float16")
    bytes_moved = 2 * (8192 * 8192 + 2 * 8192)
    memory = v100.device_memory
    assert kernels.bound[0] == memory.name
    assert kernels.seconds[0] >= bytes_moved / memory.bytes_per_s / memory.efficiency
    assert "hbm" in kernels.reason(0)


def test_dense_work_holds_a_t4_below_its_boost_clock_but_not_a_v100() -> None:
    t4, v100 = load_target("t4"), load_target("v100")
    engine = t4.engine("sm")
    assert 0.4 * engine.clock_hz < sustained(engine, t4, "float32").clock_hz < 0.7 * engine.clock_hz
    tensor = sustained(t4.engine("tensor"), t4, "float16").clock_hz
    assert sustained(engine, t4, "float32").clock_hz < tensor < engine.clock_hz
    assert sustained(v100.engine("sm"), v100, "float32").clock_hz == v100.engine("sm").clock_hz


def test_a_narrow_product_of_a_depth_first_operand_takes_longer() -> None:
    v100 = load_target("v100")
    narrow, wide = Nests.gemm(4096, 16, 4096), Nests.gemm(4096, 4096, 4096)
    yes = np.array([True])
    launch = v100.stack.launch_s
    plain = kernel_time(narrow, v100, "float32")[0] - launch
    assert kernels_of(narrow, v100, "float32", depth_first=yes).seconds[0] - launch == pytest.approx(1.15 * plain)
    assert kernels_of(wide, v100, "float32", depth_first=yes).seconds == kernel_time(wide, v100, "float32")


def test_more_bandwidth_is_never_slower() -> None:
    nests = Nests.gemm([64, 512, 4096, 4096], [64, 8, 16, 4096], [64, 50_000, 4096, 4096])
    slow, fast = (gpus.target(dram_bytes_per_s=b) for b in (1e10, 1e11))
    assert (kernel_time(nests, fast, "float32") <= kernel_time(nests, slow, "float32")).all()


def test_other_machines_run_forward_kernels_only() -> None:
    tpu = load_target("tpuv2")
    assert kernel_time(Nests.gemm(128, 128, 128), tpu, "bfloat16")[0] > 0
    with pytest.raises(ValueError, match="gradients are modelled on GPUs only"):
        kernel_time(Nests.gemm(128, 128, 128), tpu, "bfloat16", "weights")


def test_no_engine_is_an_error_with_the_dtype() -> None:
    with pytest.raises(ValueError, match="no engine of v100 multiplies complex64"):
        kernel_time(Nests.gemm(8, 8, 8), load_target("v100"), "complex64")


def test_measured_rows_above_the_direct_peak_are_winograd() -> None:
    # a 3 x 3 layer of DeepBench's list: 16 images of 10 x 42 with 512 channels
    one = np.ones(1, np.int64)
    h, w, c = 10 * one, 42 * one, 512 * one
    conv = Nests(one, 16 * one, h, w, c, c, 3 * one, 3 * one, one, one, one, one, h, w, one)
    kernels = kernels_of(conv, load_target("v100"), "float32")
    assert kernels.unit.algorithm[0].startswith("winograd")
    assert kernels.seconds[0] < kernels.unit.ideal_s[0]
    direct = dataclasses.replace(load_target("v100").engine("sm"), algorithms=("direct",))
    plain = dataclasses.replace(load_target("v100"), engines=(direct,))
    assert kernels_of(conv, plain, "float32").seconds[0] > kernels.unit.ideal_s[0]
