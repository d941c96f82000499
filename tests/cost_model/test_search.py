import itertools
import json
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model.bounds import compulsory, traffic_bound
from roofwright.cost_model.candidates import Buffers, Unit, row_sizes, sizes
from roofwright.cost_model.schedule import Tiling
from roofwright.cost_model.search import Tilings, best_tiling
from roofwright.cost_model.units import Nests
from roofwright.cost_model.work import LoopNest
from tests.cost_model.nests import loop_nests
from tests.shared import ORACLES, needs_oracles


def fetched_once_per(order: tuple[int, ...], trips: tuple[int, int, int], relevant: tuple[int, ...]) -> int:
    """Trips of the one irrelevant loop if it is outside the innermost relevant loop that has trips."""
    turning = [i for i, loop in enumerate(order) if loop in relevant and trips[loop] > 1]
    other = next(loop for loop in range(3) if loop not in relevant)
    return trips[other] if turning and order.index(other) < turning[-1] else 1


def brute_force(nest: LoopNest, capacity: int, p: int, acc: int) -> float:
    """Every tile size and all six orders of (rows, out channels, in channels), walked loop by loop; one image."""
    pad = -(-max(0, (nest.out_h - 1) * nest.stride_h + nest.kernel_h - nest.in_h) // 2)

    def input_rows(first: int, count: int) -> set[int]:
        rows = {
            o * nest.stride_h + r - pad
            for o in range(first, min(first + count, nest.out_h))
            for r in range(nest.kernel_h)
        }
        return {r for r in rows if 0 <= r < nest.in_h}

    cols = min(nest.in_w, (nest.out_w - 1) * nest.stride_w + nest.kernel_w, nest.out_w * nest.kernel_w)
    window = nest.kernel_h * nest.kernel_w
    best = float("inf")
    for th in range(1, nest.out_h + 1):
        tiles = [input_rows(first, th) for first in range(0, nest.out_h, th)]
        on_chip = max(len(tile) for tile in tiles) if len(tiles) == 1 else (th - 1) * nest.stride_h + nest.kernel_h
        on_chip = min(nest.in_h, on_chip, th * nest.kernel_h)
        for tk, tc in itertools.product(range(1, nest.out_channels + 1), range(1, nest.in_channels + 1)):
            size = p * tc * (on_chip * cols + tk * window) + acc * tk * th * nest.out_w
            if size > capacity:
                continue
            trips = (len(tiles), -(-nest.out_channels // tk), -(-nest.in_channels // tc))
            for order in itertools.permutations(range(3)):
                turning = [loop for loop in order if trips[loop] > 1]
                slides = not turning or turning[-1] == 0
                rows = len(set().union(*tiles)) if slides else sum(len(tile) for tile in tiles)
                spills = fetched_once_per(order, trips, (0, 1)) - 1
                inputs = nest.in_channels * rows * cols * fetched_once_per(order, trips, (0, 2))
                weights = nest.in_channels * nest.out_channels * window * fetched_once_per(order, trips, (1, 2))
                outputs = nest.out_channels * nest.rows * (p + 2 * acc * spills)
                best = min(best, nest.repeat * (p * (inputs + weights) + outputs))
    return best


def tiling(
    nest: LoopNest, capacity: float, p: float = 1, acc: float = 4, unit: Unit | None = None, **more: Any
) -> Tilings:
    buffers = Buffers(capacity_bytes=capacity, **{"copies": 1, **more})
    return best_tiling(Nests.of([nest]), buffers, (p, p, p), acc, unit or Unit())


@st.composite
def little_convs(draw: st.DrawFn) -> LoopNest:
    kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    size = draw(st.integers(kernel, 9))
    pad = kernel // 2
    out = (size + 2 * pad - kernel) // stride + 1
    if kernel < stride:
        size = (out - 1) * stride + kernel
    shape = (
        1,
        out,
        out,
        draw(st.integers(1, 6)),
        draw(st.integers(1, 6)),
        kernel,
        kernel,
        stride,
        stride,
        1,
        1,
        size,
        size,
    )
    return LoopNest(draw(st.sampled_from([1, 1, 3])), *shape)


@given(little_convs(), st.integers(40, 900), st.sampled_from([1, 2]), st.sampled_from([1, 4]))
def test_no_tiling_moves_less(nest: LoopNest, capacity: int, p: int, acc: int) -> None:
    found = tiling(nest, capacity, p, max(p, acc))
    best = brute_force(nest, capacity, p, max(p, acc))
    if not found.fits[0]:
        assert best == float("inf")
        return
    assert found.off_chip_bytes[0] == best
    assert found.footprint_bytes[0] <= capacity


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(12, 300), st.sampled_from([1, 4]))
def test_no_gemm_tiling_moves_less(m: int, n: int, k: int, capacity: int, acc: int) -> None:
    nest = LoopNest(out_h=m, in_h=m, out_channels=n, in_channels=k)
    assert tiling(nest, capacity, 1, acc).off_chip_bytes[0] == brute_force(nest, capacity, 1, acc)


@needs_oracles
def test_every_oracle_row_is_met() -> None:
    shapes = json.loads((ORACLES / "workloads.json").read_text())
    cases = defaultdict(list)
    for network, rows in json.loads((ORACLES / "tiling.json").read_text())["networks"].items():
        layers = {layer["name"]: layer for layer in shapes[network]}
        for row in rows:
            cases[row["bytes_per_elem"], row["acc"], row["S"]].append((as_nest(layers[row["name"]]), row))
    for (p, acc, capacity), pairs in cases.items():
        nests = Nests.of([nest for nest, _ in pairs])
        best = np.array([row["best"] for _, row in pairs])
        found = best_tiling(nests, Buffers(capacity_bytes=capacity, copies=1), (p, p, p), acc)
        lower = traffic_bound(nests, p, p, p, capacity)
        assert (lower <= [row["lower_bound"] + 1 for _, row in pairs]).all()
        assert (lower <= found.off_chip_bytes).all()
        assert (found.off_chip_bytes <= best).all()
        assert compulsory(nests).bytes(p, p, p).tolist() == [row["compulsory"] for _, row in pairs]
        assert (found.footprint_bytes <= capacity).all()


def as_nest(layer: dict[str, Any]) -> LoopNest:
    if layer["type"] == "gemm":
        gemm = layer["gemm"]
        return LoopNest(out_h=gemm["M"], in_h=gemm["M"], out_channels=gemm["N"], in_channels=gemm["K"])
    groups = layer["groups"]
    channels = (layer["K"] // groups, layer["C"] // groups)
    window = (layer["R"], layer["S"], layer["stride"], layer["stride"], 1, 1, layer["H"], layer["W"])
    return LoopNest(groups, layer["N"], layer["Ho"], layer["Wo"], *channels, *window)


@given(loop_nests(), st.integers(12, 24), st.integers(1, 4), st.sampled_from([1, 2]))
def test_more_memory_never_moves_more(nest: LoopNest, log_capacity: int, factor: int, copies: int) -> None:
    little = tiling(nest, 2**log_capacity, copies=copies)
    much = tiling(nest, 2**log_capacity * factor, copies=copies)
    if not little.fits[0]:
        return
    assert much.off_chip_bytes[0] <= little.off_chip_bytes[0]
    assert little.footprint_bytes[0] <= 2**log_capacity


@given(loop_nests(), st.integers(12, 22))
def test_between_the_bound_and_compulsory_traffic(nest: LoopNest, log_capacity: int) -> None:
    nests = Nests.of([nest])
    found = tiling(nest, 2**log_capacity)
    assert traffic_bound(nests, 1, 1, 1, 2**log_capacity)[0] <= found.off_chip_bytes[0]
    endless = tiling(nest, 2**50)
    assert endless.off_chip_bytes[0] == compulsory(nests).bytes(1, 1, 1)[0]


@given(loop_nests(), st.integers(14, 24), st.sampled_from([1, 2]))
def test_a_tiling_describes_itself(nest: LoopNest, log_capacity: int, copies: int) -> None:
    got = tiling(nest, 2**log_capacity, copies=copies, unit=Unit(pixels=16, channels=16, depth=16, macs_per_byte=100))
    sizes_by_loop = {
        "repeat": int(got.repeat[0]),
        "rows": int(got.rows[0]),
        "out_channels": int(got.out_channels[0]),
        "in_channels": int(got.in_channels[0]),
    }
    assert Tiling(level="l", order=got.order[0], tile=sizes_by_loop)  # type: ignore[arg-type]  # keys are loops
    extents = (nest.repeat, nest.batch * nest.out_h, nest.out_channels, nest.in_channels)
    assert all(1 <= size <= extent for size, extent in zip(sizes_by_loop.values(), extents, strict=True))
    assert got.moved.total[0] == got.off_chip_bytes[0]
    if got.fits[0]:
        assert got.footprint_bytes[0] <= 2**log_capacity


def test_double_buffers_take_twice_the_room() -> None:
    nest = LoopNest(out_h=64, in_h=64, out_channels=64, in_channels=64)
    # Weights whole (4096), two slices of one input row (64) and of one output row (64 partial sums of 4 bytes).
    least = 4096 + 2 * 64 + 2 * 256
    assert tiling(nest, least, copies=2).off_chip_bytes[0] == 3 * 4096
    assert tiling(nest, least - 1, copies=2).off_chip_bytes[0] > 3 * 4096
    assert tiling(nest, least - 64 - 256, copies=1).off_chip_bytes[0] == 3 * 4096


def test_separate_memories_limit_apart() -> None:
    nest = LoopNest(out_h=64, in_h=64, out_channels=64, in_channels=64)
    free = tiling(nest, 64 + 64, weight_bytes=4096, accumulator_bytes=256)
    assert free.off_chip_bytes[0] == 3 * 4096
    assert free.footprint_bytes[0] == 64 + 64 + 4096 + 256
    assert tiling(nest, 128, weight_bytes=4095, accumulator_bytes=256).off_chip_bytes[0] > 3 * 4096
    assert tiling(nest, 128, weight_bytes=4096, accumulator_bytes=255).off_chip_bytes[0] > 3 * 4096


def test_recurrent_weights_stay_where_they_fit() -> None:
    nest = LoopNest(out_h=1, in_h=1, out_channels=64, in_channels=64, steps=10)
    assert tiling(nest, 2**14).moved.weights[0] == 4096
    assert tiling(nest, 2**11).moved.weights[0] == 40960


def test_a_batch_is_cut_between_images_or_inside_them() -> None:
    nest = LoopNest(batch=8, out_h=4, out_w=4, out_channels=16, in_channels=16, in_h=4, in_w=4, kernel_h=3, kernel_w=3)
    whole = tiling(nest, 2**20)
    assert whole.rows[0] % 4 == 0 or whole.rows[0] < 4
    assert whole.off_chip_bytes[0] == 8 * 256 + 16 * 16 * 9 + 8 * 256


def test_groups_share_a_tile_when_they_are_small() -> None:
    depthwise = LoopNest(repeat=64, out_h=8, out_w=8, in_h=8, in_w=8, kernel_h=3, kernel_w=3)
    got = tiling(depthwise, 2**16)
    assert (got.repeat[0], got.tiles[0]) == (4, 16)


def test_slices_are_whole_units_and_leave_something_to_overlap() -> None:
    nest = LoopNest(out_h=4096, in_h=4096, out_channels=512, in_channels=512)
    got = tiling(nest, 2**24, unit=Unit(pixels=128, channels=128, depth=128, macs_per_byte=100), copies=2)
    assert got.off_chip_bytes[0] == 2 * 4096 * 512 + 512 * 512
    assert (got.rows[0], got.out_channels[0], got.in_channels[0], got.tiles[0]) == (256, 512, 512, 16)
    assert got.order[0] == ("repeat", "out_channels", "in_channels", "rows")
    assert (got.first_load_bytes[0], got.last_store_bytes[0]) == (512 * 512 + 256 * 512, 256 * 512)


def test_slivers_are_avoided_when_computation_counts() -> None:
    nest = LoopNest(out_h=128, in_h=128, out_channels=768, in_channels=768)
    unit = Unit(pixels=128, channels=128, depth=128, macs_per_byte=1)
    least, shaped = tiling(nest, 2**16), tiling(nest, 2**17, unit=unit)
    assert least.in_channels[0] % 128 or least.out_channels[0] % 128
    assert shaped.in_channels[0] % 128 == 0
    assert shaped.out_channels[0] % 128 == 0


def test_what_fits_nowhere_says_so() -> None:
    got = tiling(LoopNest(out_h=4, out_w=4, out_channels=4, in_channels=4, in_h=4, in_w=4), 10)
    assert not got.fits[0]
    assert got.footprint_bytes[0] > 10


def test_the_result_depends_on_its_own_nest_only() -> None:
    nests = [LoopNest(out_h=m, in_h=m, out_channels=48, in_channels=m) for m in (1, 7, 33, 200)]
    together = best_tiling(Nests.of(nests), Buffers(capacity_bytes=2048), (1, 1, 1), 4)
    for i, nest in enumerate(nests):
        alone = best_tiling(Nests.of([nest]), Buffers(capacity_bytes=2048), (1, 1, 1), 4)
        assert (alone.rows[0], alone.out_channels[0], alone.in_channels[0]) == (
            together.rows[i],
            together.out_channels[i],
            together.in_channels[i],
        )


def test_no_nests_have_no_tilings() -> None:
    assert len(best_tiling(Nests.of([]), Buffers(capacity_bytes=1), (1, 1, 1), 4).tiles) == 0


@pytest.mark.parametrize("extent", [1, 2, 7, 12, 97, 224])
def test_sizes_hold_every_trip_count_once(extent: int) -> None:
    trips = [-(-extent // size) for size in sizes(extent).tolist()]
    assert sorted(set(trips)) == sorted({-(-extent // t) for t in range(1, extent + 1)})
    assert len(set(trips)) == len(trips)
    assert (sizes(extent, 4) % 4 == 0)[:-1].all()


def test_row_sizes_go_on_with_whole_images() -> None:
    assert row_sizes(3, 4).tolist() == [1, 2, 3, 6, 12]
