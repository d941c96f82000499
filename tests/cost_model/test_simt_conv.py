"""Convolutions on a GPU as products."""

import numpy as np
import pytest

from roofwright.cost_model import simt
from roofwright.cost_model.simt_conv import compulsory, implicit_gemm
from roofwright.cost_model.units import Nests
from roofwright.cost_model.work import LoopNest
from tests.cost_model import gpus


def _conv(c: int, k: int, window: int = 3, size: int = 16, stride: int = 1, batch: int = 4, groups: int = 1) -> Nests:
    size_in = size * stride
    spatial = (window, window, stride, stride, 1, 1, size_in, size_in)
    return Nests.of([LoopNest(groups, batch, size, size, k, c, *spatial)])


def test_a_1x1_convolution_is_the_product_of_its_pixels() -> None:
    machine = gpus.gpu(gpus.target())
    conv = implicit_gemm(_conv(64, 64, window=1), machine, "forward")
    pixels = Nests.gemm(4 * 16 * 16, 64, 64)
    product = implicit_gemm(pixels, machine, "forward")
    assert conv.busy_s[0] == product.busy_s[0]


def test_tensor_cores_take_whole_groups_of_channels_per_tap() -> None:
    machine = gpus.gpu(gpus.target(gpus.engine((4, 4, 4)), gpu_tensor_channels=32.0), "float16")
    first, deep = (implicit_gemm(_conv(c, 64), machine, "forward") for c in (3, 32))
    assert first.busy_s[0] == deep.busy_s[0]


def test_narrow_tiles_serve_only_narrow_results() -> None:
    machine = gpus.gpu(gpus.target(gpu_narrow_tile=32.0))
    assert implicit_gemm(_conv(64, 32), machine, "forward").tile[0].tolist() == [32, 32, 8]
    assert implicit_gemm(_conv(64, 33), machine, "forward").tile[0].tolist() == [64, 64, 8]


def test_rows_that_a_stride_skips_are_not_read() -> None:
    machine = gpus.gpu(gpus.target())
    dense, strided = (compulsory(_conv(64, 64, window=1, size=16, stride=s), machine) for s in (1, 2))
    assert strided.image[0] == 2 * dense.image[0]  # 16 of 32 rows, all 32 columns
    window = compulsory(_conv(64, 64, window=3, size=16, stride=2), machine)
    assert window.image[0] == 4 * dense.image[0]


def test_the_data_gradient_of_a_stride_gathers_every_tap_or_scatters() -> None:
    machine = gpus.gpu(gpus.target(gpu_scatter_bytes=16.0))
    plain = implicit_gemm(_conv(64, 64, window=1, size=32, stride=1), machine, "data")
    strided = implicit_gemm(_conv(64, 64, window=1, size=16, stride=2), machine, "data")
    assert strided.busy_s[0] == pytest.approx(plain.busy_s[0])  # as many input pixels, the skipped ones included
    gathered = 4 * 32 * 32 * 64 * 64 * 25 / (10 * 64e9)
    scattered = implicit_gemm(_conv(64, 64, window=5, size=16, stride=2), machine, "data")
    assert scattered.busy_s[0] < gathered


def test_the_weight_gradient_reduces_over_pixels_and_is_split() -> None:
    machine = gpus.gpu(gpus.target(gpu_split_depth_gradient=64.0))
    kernels = implicit_gemm(_conv(64, 64, window=1, size=56, batch=32), machine, "weights")
    assert kernels.split[0] > 1
    assert kernels.padded_s[0] >= 32 * 56 * 56 * 64 * 64 / (10 * 64e9)


def test_depthwise_convolutions_run_at_the_rate_of_loads() -> None:
    made = gpus.target(gpu_depthwise_issue=0.25)
    nests = _conv(1, 1, groups=128)
    times = simt.time(nests, made.engines[0], made, "float32")
    assert times.algorithm[0] == "depthwise"
    assert times.padded_s[0] == pytest.approx(4 * times.ideal_s[0])


def test_groups_are_copies_of_one_kernel() -> None:
    machine = gpus.gpu(gpus.target())
    grouped = implicit_gemm(_conv(64, 64, groups=4), machine, "forward")
    single = implicit_gemm(_conv(64, 64), machine, "forward")
    assert single.busy_s[0] < grouped.busy_s[0] <= 4 * single.busy_s[0]
    assert np.isfinite(grouped.total_s[0])
