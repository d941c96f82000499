"""Winograd convolutions on a GPU, by hand."""

import dataclasses

import numpy as np
import pytest

from roofwright.cost_model import simt, winograd
from roofwright.cost_model.units import Nests
from roofwright.cost_model.work import LoopNest
from tests.cost_model import gpus


def _conv(
    c: int, k: int, size: int = 56, batch: int = 16, window: int = 3, stride: int = 1, dilation: int = 1
) -> Nests:
    spatial = (window, window, stride, stride, dilation, dilation, size * stride, size * stride)
    return Nests.of([LoopNest(1, batch, size, size, k, c, *spatial)])


def test_the_fused_kernel_s_blocks_are_8_by_16_outputs_of_32_filters() -> None:
    machine = gpus.gpu(gpus.target(gpu_winograd_extra_channels=16.0))
    kernels = winograd.fused(_conv(64, 64, size=16, batch=5), machine, "forward")
    # 5 images of 2 x 1 blocks by 2 groups of filters: 20 blocks on 10 multiprocessors
    assert kernels.busy_s[0] == pytest.approx(2 * 16 * 32 * 32 * (64 + 16) / 64e9)


def test_small_maps_waste_half_of_a_block() -> None:
    machine = gpus.gpu(gpus.target())
    small = winograd.fused(_conv(64, 64, size=7), machine, "forward")
    large = winograd.fused(_conv(64, 64, size=14), machine, "forward")
    assert large.padded_s[0] == pytest.approx(2 * small.padded_s[0])  # four times the outputs


def test_the_non_fused_kernel_pays_its_transforms_in_traffic() -> None:
    machine = gpus.gpu(gpus.target())
    kernels = winograd.non_fused(_conv(64, 64, size=32, batch=16), machine, "forward")
    tiles = 16 * 8 * 8
    image, weights = 4 * 16 * 32 * 32 * 64, 4 * 64 * 64 * 9
    transformed = 4 * 36 * (tiles * 64 + 64 * 64 + tiles * 64)
    products = 36 * (tiles / 64) * 8 * 512e-9 / 10  # 64 x 64 tiles, 8 slabs of 512 clocks
    stream = (2 * image + weights + transformed) / 1e11
    assert kernels.busy_s[0] == pytest.approx(stream + max(products, transformed / 1e11), rel=0.05)


def test_multiplications_are_no_fewer_than_the_algorithm_s() -> None:
    machine = gpus.gpu(gpus.target())
    nests = _conv(64, 64)
    direct_s = nests.macs[0] / machine.peak
    assert winograd.fused(nests, machine, "forward").padded_s[0] >= direct_s * 16 / 36
    for direction in ("forward", "data", "weights"):
        assert winograd.non_fused(nests, machine, direction).busy_s[0] >= direct_s * 36 / 144


@pytest.mark.parametrize("changes", [{"window": 5}, {"stride": 2}, {"dilation": 2}, {"c": 4}, {"k": 4}])
def test_what_does_not_suit(changes: dict[str, int]) -> None:
    machine = gpus.gpu(gpus.target(gpu_winograd_min_channels=32.0))
    assert winograd.suits(_conv(64, 64), machine)[0]
    assert not winograd.suits(_conv(**{"c": 64, "k": 64, **changes}), machine)[0]


def test_only_declared_algorithms_are_used() -> None:
    nests = _conv(128, 128)
    made = gpus.target(dram_bytes_per_s=1e12)
    quick = simt.time(nests, made.engines[0], made, "float32")
    assert quick.algorithm[0].startswith("winograd")
    assert quick.busy_s[0] < quick.ideal_s[0]  # faster than the direct algorithm at peak
    plain = dataclasses.replace(made.engines[0], algorithms=("direct",))
    slow = simt.time(nests, plain, made, "float32")
    assert slow.algorithm[0] == "implicit_gemm"
    assert slow.busy_s[0] >= slow.ideal_s[0]


def test_the_fused_kernel_has_no_weight_gradient() -> None:
    assert np.isinf(winograd.fused(_conv(64, 64), gpus.gpu(gpus.target()), "weights").total_s[0])
