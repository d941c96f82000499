from dataclasses import replace
from typing import Any

import pytest

from roofwright.cost_model.schedule import (
    Kernel,
    NodeRef,
    Placement,
    Prefetch,
    Schedule,
    ScheduleError,
    StorageAssumption,
    Tiling,
)
from roofwright.cost_model.schedule_check import check_capacity, peak_bytes
from tests.cost_model.machines import array, machine, memory

LEVEL = "unified"


def placed(tensor: str, offset_bytes: int | None, size: int, **more: Any) -> Placement:
    return Placement(tensor=tensor, level=LEVEL, offset_bytes=offset_bytes, bytes=size, **more)


def kernel(index: int, *buffers: Placement, **more: Any) -> Kernel:
    return Kernel(index=index, nodes=(NodeRef(output=f"t{index}", op="Conv"),), engine="unit", buffers=buffers, **more)


def schedule(*kernels: Kernel, **more: Any) -> Schedule:
    return Schedule(target="m", batch=1, kernels=kernels, **more)


def full() -> Schedule:
    """Every field in use: 0 leaves t0 on chip for 1, whose weights are loaded during 0."""
    tiling = Tiling(level=LEVEL, order=("out_channels", "rows"), tile={"out_channels": 64, "rows": 7})
    first = kernel(0, placed("x", 0, 50, copies=2), placed("t0", 100, 300, until=1), tilings=(tiling,))
    weights = placed("w1", 400, 200)
    ahead = Prefetch(tensor="w1", bytes=150, during=0)
    second = kernel(1, weights, prefetch=(ahead,), algorithm="im2col", strip_rows=4, halo="rows")
    assume = {"float32": StorageAssumption(storage="int8", multiply="int8")}
    return schedule(first, second, dims={"N": 4}, assume=assume)


def test_a_prefetched_buffer_is_live_from_the_kernel_it_is_loaded_during() -> None:
    names = [[p.tensor for _, p in live] for live in full().live_by_kernel(LEVEL)]
    assert names == [["x", "t0", "w1"], ["t0", "w1"]]
    assert peak_bytes(full(), LEVEL) == [600, 500]
    assert [p.tensor for p in full().kernels[0].resident] == ["t0"]
    assert full().kernels[1].resident == ()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: kernel(-1), "kernel index -1"),
        (lambda: Kernel(index=2, nodes=(), engine="e"), "kernel 2: it has no nodes"),
        (lambda: kernel(3, placed("a", -1, 8)), "buffer of a: offset -1 is negative"),
        (lambda: kernel(3, placed("a", 0, 0)), "buffer of a: 0 bytes"),
        (lambda: kernel(3, placed("a", 0, 1, copies=0)), "buffer of a: 0 copies"),
        (lambda: kernel(3, placed("a", 0, 8, until=2)), r"kernel 3 \(t3\): a is kept until kernel 2, before it starts"),
        (lambda: kernel(3, placed("a", 0, 8), placed("a", 8, 8)), r"kernel 3 \(t3\): two buffers"),
        (lambda: kernel(3, strip_rows=4), r"kernel 3 \(t3\): strip_rows and halo"),
        (lambda: kernel(3, strip_rows=0, halo="rows"), r"kernel 3 \(t3\): strips of 0 rows"),
        (lambda: Tiling(level="l", order=("rows",), tile={}), "tiling at l: order and tile"),
        (lambda: Tiling(level="l", order=("rows", "rows"), tile={"rows": 1}), "tiling at l: a loop is named twice"),
        (lambda: Tiling(level="l", order=("rows",), tile={"rows": 0}), "tiling at l: tile of rows is 0"),
    ],
)
def test_what_cannot_run_cannot_be_built(build: Any, message: str) -> None:
    with pytest.raises(ScheduleError, match=message) as error:
        build()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Prefetch(tensor="v", bytes=1, during=0), "v is prefetched but has no buffer"),
        (Prefetch(tensor="w", bytes=9, during=0), "9 bytes of w are prefetched into a buffer of 8"),
        (Prefetch(tensor="w", bytes=0, during=0), "prefetch of 0 bytes"),
        (Prefetch(tensor="w", bytes=8, during=1), r"during kernel 1, expected 0\.\.0"),
        (Prefetch(tensor="w", bytes=8, during=-1), r"during kernel -1, expected 0\.\.0"),
    ],
)
def test_a_prefetch_needs_a_buffer_and_an_earlier_kernel(part: Prefetch, message: str) -> None:
    with pytest.raises(ScheduleError, match=rf"kernel 1 \(t1\): .*{message}"):
        kernel(1, placed("w", 0, 8), prefetch=(part,))


def test_the_order_has_no_gaps_and_no_node_runs_twice() -> None:
    with pytest.raises(ScheduleError, match=r"kernel 2 \(t2\): it stands at position 1"):
        schedule(kernel(0), kernel(2))
    again = replace(kernel(1), nodes=(NodeRef(output="t0", op="Conv"),))
    with pytest.raises(ScheduleError, match=r"kernel 1 \(t0\): node t0 already runs in kernel 0 \(t0\)"):
        schedule(kernel(0), again)
    with pytest.raises(ScheduleError, match=r"kernel 0 \(t0\): a is kept until kernel 5 of 0"):
        schedule(kernel(0, placed("a", 0, 8, until=5)))
    with pytest.raises(ScheduleError, match="batch is 0"):
        replace(schedule(), batch=0)


def test_buffers_that_live_together_share_no_byte() -> None:
    keeper, free = kernel(0, placed("a", 0, 8, until=1)), kernel(1, placed("b", 8, 8))
    schedule(keeper, free)
    schedule(kernel(0, placed("a", 0, 8)), kernel(1, placed("b", 0, 8)))
    with pytest.raises(ScheduleError, match=r"kernel 1 \(t1\): b at 7 overlaps a, which ends at 8, in unified"):
        schedule(keeper, kernel(1, placed("b", 7, 8)))
    ahead = (Prefetch(tensor="w", bytes=4, during=0),)
    with pytest.raises(ScheduleError, match=r"kernel 0 \(t0\): w at 15 overlaps a, which ends at 16"):
        schedule(kernel(0, placed("a", 0, 8, copies=2)), kernel(1, placed("w", 15, 4), prefetch=ahead))


def test_a_schedule_fits_its_target_or_says_what_does_not() -> None:
    def checked(work: Schedule, capacity: int, managed: str = "explicit") -> None:
        levels = (memory(LEVEL, capacity, 1e11, managed), memory("dram", 2**33, 1e10))
        check_capacity(work, machine(array(4, 4), levels))

    checked(full(), 600)
    with pytest.raises(ScheduleError, match=r"kernel 1 \(t1\): w1 ends at 600 in unified, which has 599 bytes"):
        checked(full(), 599)
    with pytest.raises(ScheduleError, match=r"kernel 0 \(t0\): a has no offset in unified, which is explicit"):
        checked(schedule(kernel(0, placed("a", None, 8))), 100)
    checked(schedule(kernel(0, placed("a", None, 8), placed("b", None, 8))), 16, "cache")
    with pytest.raises(ScheduleError, match=r"kernel 0 \(t0\): buffers of 16 bytes are live in unified, which has 15"):
        checked(schedule(kernel(0, placed("a", None, 8), placed("b", None, 8))), 15, "cache")
    with pytest.raises(ScheduleError, match=r"kernel 0 \(t0\): target m has no engine 'gpu'"):
        checked(schedule(replace(kernel(0), engine="gpu")), 100)
    with pytest.raises(ScheduleError, match=r"kernel 0 \(t0\): target m has no memory 'l9'"):
        checked(schedule(kernel(0, replace(placed("a", 0, 8), level="l9"))), 100)
