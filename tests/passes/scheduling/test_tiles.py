"""Tilings: one for the memory, one for the unit, both within the loops."""

import pytest

from roofwright.cost_model import GraphModel
from roofwright.graph import read
from roofwright.passes.base import Context
from roofwright.passes.scheduling import Kernels, Tiles
from roofwright.targets import load_target
from tests.builders import model
from tests.scheduling import modelled, scheduled, scratchpad, with_memory

NET = modelled("g (float[1,300,20,20] x) => (float[1,500,20,20] y) { a = Conv(x, w)  y = Relu(a) }", w=(500, 300, 1, 1))
EXTENTS = {"repeat": 1, "rows": 400, "out_channels": 500, "in_channels": 300}


@pytest.mark.parametrize(
    ("target", "level", "tile"),
    [
        ("tpuv1", "mxu", {"out_channels": 256, "in_channels": 256}),
        ("tpuv2", "mxu", {"out_channels": 128, "in_channels": 128}),
    ],
)
def test_a_systolic_array_is_its_own_tile(target: str, level: str, tile: dict[str, int]) -> None:
    (kernel,) = scheduled(NET, load_target(target), Kernels(), Tiles()).kernels
    assert kernel.tilings[-1].level == level
    assert dict(kernel.tilings[-1].tile) == tile


def test_a_window_unit_takes_one_window() -> None:
    graph = modelled("g (float[1,64,20,20] x) => (float[1,64,18,18] y) { y = Conv(x, w) }", w=(64, 64, 3, 3))
    (kernel,) = scheduled(graph, load_target("kirin970"), Kernels(), Tiles()).kernels
    assert (kernel.engine, kernel.tilings[-1].level) == ("npu", "npu")
    assert kernel.tilings[-1].tile["in_channels"] == 1


def test_a_gpu_takes_its_librarys_thread_block_tile() -> None:
    (kernel,) = scheduled(NET, load_target("v100"), Kernels(), Tiles()).kernels
    assert [tiling.level for tiling in kernel.tilings] == [kernel.engine]  # no tiles for a cache
    assert set(kernel.tilings[0].tile) == {"rows", "out_channels", "in_channels"}


@pytest.mark.parametrize("target", ["tpuv1", "tpuv2", "v100", "kirin970", "edgetpu"])
def test_tiles_stay_within_their_loops(target: str) -> None:
    for kernel in scheduled(NET, load_target(target), Kernels(), Tiles()).kernels:
        for tiling in kernel.tilings:
            assert all(1 <= size <= EXTENTS[loop] for loop, size in tiling.tile.items())


def test_every_kernel_of_a_scratchpad_has_a_memory_tile() -> None:
    graph = modelled(
        "g (float[12,32,64] a, float[12,64,32] b) => (float[12,32,32] y) { p = MatMul(a, b)  y = Softmax(p) }"
    )
    schedule = scheduled(graph, scratchpad(1 << 15), Kernels(), Tiles())
    assert [kernel.tilings[0].level for kernel in schedule.kernels] == ["sram", "sram"]
    assert "repeat" in schedule.kernels[0].tilings[0].tile


def test_nothing_to_cut_without_a_schedule_or_a_target() -> None:
    graph = read(model("g (float[4] x) => (float[4] y) { y = Exp(x) }"))
    assert Tiles().run(graph, Context()).schedule is None
    assert Tiles().run(graph, Context(target=scratchpad(1024))).schedule is None


def test_a_cache_needs_no_memory_tile() -> None:
    target = with_memory(scratchpad(1 << 15), managed="cache")
    graph = GraphModel.of(read(model("g (float[4] x) => (float[4] y) { y = Exp(x) }")))
    (kernel,) = scheduled(graph, target, Kernels(), Tiles()).kernels
    assert kernel.tilings == ()
