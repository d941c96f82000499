"""Products on a GPU, against times worked out by hand."""

import numpy as np
import pytest

from roofwright.cost_model.simt_conv import gemm
from roofwright.cost_model.simt_gemm import Products, best_kernels
from roofwright.cost_model.units import Nests
from tests.cost_model import gpus

TILE = (64, 64, 8)
STORE = 64 * 64 * 4 / 32 / 1e9  # a tile's results at 32 bytes per clock


def _products(m: float, n: float, k: float, copies: float = 1.0) -> Products:
    m_, n_, k_, c = (np.array([x], np.float64) for x in (m, n, k, copies))
    return Products(m_, n_, k_, c, 4 * c * m_ * k_, 4 * c * k_ * n_, 4 * c * m_ * n_)


def test_one_wave_takes_the_slabs_of_one_block() -> None:
    # 640 x 64: ten tiles on ten multiprocessors, 80 / 8 slabs of 64 * 64 * 8 / 64 = 512 clocks each
    kernels = best_kernels(_products(640, 64, 80), gpus.gpu(gpus.target()), [TILE], 0.0)
    assert kernels.busy_s[0] == pytest.approx(10 * 512e-9 + STORE)
    assert kernels.padded_s[0] == pytest.approx(10 * 512e-9)
    assert kernels.dram_bytes[0] == 0  # 388 kB in a cache of a megabyte


def test_an_eleventh_tile_costs_a_second_turn_of_one_multiprocessor() -> None:
    full = best_kernels(_products(640, 64, 80), gpus.gpu(gpus.target()), [TILE], 0.0)
    over = best_kernels(_products(641, 64, 80), gpus.gpu(gpus.target()), [TILE], 0.0)
    assert over.busy_s[0] - STORE == pytest.approx(2 * full.busy_s[0] - STORE)
    assert over.padded_s[0] == pytest.approx(full.padded_s[0] * 641 / 640)


def test_resident_blocks_hide_each_other_s_loads() -> None:
    # with 1024 clocks of latency one block waits every other clock, two fill the multiprocessor
    machine = gpus.gpu(gpus.target(gpu_slab_latency_cycles=1024))
    assert machine.resident(TILE) == 8
    one = best_kernels(_products(640, 64, 80), machine, [TILE], 0.0)
    two = best_kernels(_products(1280, 64, 80), machine, [TILE], 0.0)
    assert one.busy_s[0] == pytest.approx(10 * 1024e-9 + STORE)
    assert two.busy_s[0] == pytest.approx(10 * 1024e-9 + 2 * STORE)


def test_large_tiles_leave_room_for_fewer_blocks() -> None:
    machine = gpus.gpu(gpus.target(gpu_register_factor=2.0))
    # 256 KiB of registers, 128 x 128 x 4 x 2 = 128 KiB a block
    assert machine.resident((128, 128, 8)) == 2
    # 96 KiB of shared memory, two slabs of (128 + 128) x 32 x 4 bytes = 64 KiB a block
    assert machine.resident((128, 128, 32)) == 1


def test_a_deep_product_with_one_tile_is_split_over_the_multiprocessors() -> None:
    reduction = 2e-6
    machine = gpus.gpu(gpus.target(gpu_split_reduction_s=reduction, gpu_split_depth=64.0))
    kernels = best_kernels(_products(64, 64, 80_000), machine, [TILE], 64.0)
    assert kernels.split[0] == 10
    sums = reduction + 2 * 10 * 64 * 64 * 4 / 3.2e11
    assert kernels.busy_s[0] == pytest.approx(1000 * 512e-9 + STORE + sums)
    assert kernels.serial_s[0] == pytest.approx(sums)


def test_splits_stay_above_the_least_depth() -> None:
    machine = gpus.gpu(gpus.target())
    assert best_kernels(_products(64, 64, 800), machine, [TILE], 400.0).split[0] == 2
    assert best_kernels(_products(64, 64, 800), machine, [TILE], 0.0).split[0] == 1


def test_small_tiles_win_where_large_ones_pad() -> None:
    machine = gpus.gpu(gpus.target())
    kernels = best_kernels(_products(32 * 10, 32, 800), machine, [TILE, (32, 32, 8)], 0.0)
    assert kernels.tile[0].tolist() == [32, 32, 8]


def test_a_tile_lies_along_the_longer_side() -> None:
    machine = gpus.gpu(gpus.target())
    tall = best_kernels(_products(1280, 64, 80), machine, [(128, 64, 8)], 0.0)
    wide = best_kernels(_products(64, 1280, 80), machine, [(128, 64, 8)], 0.0)
    assert tall.busy_s[0] == wide.busy_s[0]


def test_operands_beyond_the_cache_come_from_the_device_memory() -> None:
    big = best_kernels(_products(4096, 16, 4096), gpus.gpu(gpus.target()), [TILE], 0.0)
    moved = 4 * (4096 * 4096 + 2 * 16 * 4096)
    assert big.dram_bytes[0] == moved
    assert big.total_s[0] == pytest.approx(max(big.busy_s[0], moved / 1e11))


def test_the_cache_s_share_decides_what_stays() -> None:
    whole, half = (gpus.gpu(gpus.target(gpu_cache_share=s)) for s in (1.0, 0.3))
    work = _products(640, 64, 80)
    assert best_kernels(work, whole, [TILE], 0.0).dram_bytes[0] == 0
    assert best_kernels(work, half, [TILE], 0.0).dram_bytes[0] > 0


def test_reading_operands_takes_issue_slots() -> None:
    machine = gpus.gpu(gpus.target(gpu_tile_overhead=16.0))
    assert machine.tile_efficiency(TILE, 1.0) == pytest.approx(1 / (1 + 16 / 64))
    kernels = best_kernels(_products(640, 64, 80), machine, [TILE], 0.0)
    assert kernels.busy_s[0] == pytest.approx(10 * 512e-9 * 1.25 + STORE)


def test_float16_is_padded_to_the_granule_of_tensor_cores() -> None:
    machine = gpus.gpu(gpus.target(gpus.engine((4, 4, 4))), "float16")
    odd, even = (gemm(Nests.gemm(m, n, k), machine) for m, n, k in ((121, 57, 250), (128, 64, 256)))
    assert odd.busy_s[0] == even.busy_s[0]


def test_copies_share_the_waves() -> None:
    machine = gpus.gpu(gpus.target())
    batched = best_kernels(_products(64, 64, 80, copies=10), machine, [TILE], 0.0)
    assert batched.busy_s[0] == pytest.approx(best_kernels(_products(640, 64, 80), machine, [TILE], 0.0).busy_s[0])


def test_narrow_tiles_kept_for_whole_columns_serve_results_of_their_width_only() -> None:
    kept = gpus.gpu(gpus.target(gpu_narrow_columns=32, gpu_split_depth=4096, gpu_split_depth_narrow=64))
    free = gpus.gpu(gpus.target(gpu_split_depth=4096))
    nests = Nests.gemm([320, 320, 320], [16, 32, 33], [512, 512, 512])
    assert [tuple(tile[:2]) for tile in gemm(nests, free).tile] == [(32, 32)] * 3
    assert [tuple(tile[:2]) for tile in gemm(nests, kept).tile] == [(64, 64), (32, 32), (64, 64)]


def test_narrow_tiles_split_a_reduction_that_wide_ones_do_not() -> None:
    kept = gpus.gpu(gpus.target(gpu_narrow_columns=32, gpu_split_depth=0, gpu_split_depth_narrow=64))
    assert list(gemm(Nests.gemm([32, 32], [16, 32], [640, 640]), kept).split) == [1, 10]


def test_splits_may_give_a_multiprocessor_more_blocks_than_it_holds() -> None:
    # 11 tiles on ten multiprocessors take two turns; 11 x 10 blocks of a tenth take eleven tenths
    machine = gpus.gpu(gpus.target())
    whole = best_kernels(_products(64 * 11, 64, 80_000), machine, [TILE], 0.0)
    split = best_kernels(_products(64 * 11, 64, 80_000), machine, [TILE], 64.0)
    assert split.split[0] > 8
    assert split.busy_s[0] < 0.6 * whole.busy_s[0]


def test_a_library_may_split_narrow_results_only() -> None:
    machine = gpus.gpu(gpus.target(gpu_split_columns=32, gpu_split_depth=64))
    assert list(gemm(Nests.gemm([64, 64], [32, 33], [6400, 6400]), machine).split > 1) == [True, False]
