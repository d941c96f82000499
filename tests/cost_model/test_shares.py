from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from roofwright.cost_model import (
    Costing,
    GraphModel,
    Kernel,
    NodeRef,
    Schedule,
    ScheduleError,
    Share,
    by_sample,
    estimate,
)
from roofwright.cost_model.shares import Splits, states
from roofwright.graph import read
from roofwright.targets import Target
from tests.builders import model
from tests.cost_model.machines import cores, machine, memory, stack

NETWORK = GraphModel.of(
    read(
        model(
            """g (float[4,8,8,8] x) => (float[4,8,8,8] y) {
            a = Conv<pads=[1,1,1,1]>(x, u)  b = Relu(a)  c = Conv(b, v)  y = Add(c, x) }""",
            u=(8, 8, 3, 3),
            v=(8, 8, 1, 1),
        )
    )
)
NODES = ("a", "b", "c", "y")


def phone(handover_s: float = 1e-9) -> Target:
    """Two CPUs, the second half as fast, in front of a scratchpad and a memory that nothing waits for."""
    fast, slow = cores(1, clock_hz=2.0), cores(1, clock_hz=1.0)
    engines = (replace(fast, name="fast"), replace(slow, name="slow"))
    memories = (memory("chip", 1 << 20, 1e30), memory("dram", 2**33, 1e30))
    return replace(machine(engines[0], memories, replace(stack(), handover_s=handover_s)), engines=engines)


def schedule(*kernels: dict[str, Any]) -> Schedule:
    """One kernel per node, on the fast engine where nothing else is said."""
    made = [
        Kernel(**{"index": at, "nodes": (NodeRef(output=NODES[at], op="op"),), "engine": "fast", **more})
        for at, more in enumerate(kernels)
    ]
    return Schedule(target="m", batch=4, kernels=tuple(made))


def both(fast: int, slow: int) -> dict[str, Any]:
    return {"shares": (Share(engine="fast", rows=fast), Share(engine="slow", rows=slow))}


def busy(target: Target, *kernels: dict[str, Any]) -> list[float]:
    return list(Costing.of(NETWORK, target, schedule(*kernels)).prices.busy_s)


def test_a_shared_kernel_takes_its_slowest_engine() -> None:
    target = phone()
    alone = busy(target, {}, {}, {}, {})
    assert busy(target, both(3, 1), {}, {}, {})[0] == pytest.approx(0.75 * alone[0])
    assert busy(target, both(2, 2), {}, {}, {})[0] == pytest.approx(alone[0])  # half of it at half the rate
    assert busy(target, both(20, 12), {}, {}, {})[0] == pytest.approx(max(20 / 32, 2 * 12 / 32) * alone[0])
    assert busy(target, {}, both(3, 1), {}, {})[1] == pytest.approx(0.75 * alone[1])


def test_stated_engines_hold_once_work_is_shared() -> None:
    target = phone()
    alone = busy(target, {}, {}, {}, {})
    assert busy(target, {"engine": "slow"}, both(3, 1), {}, {})[0] == pytest.approx(2 * alone[0])


def test_what_changes_hands() -> None:
    target = phone(handover_s=5.0)

    def handovers(*kernels: dict[str, Any]) -> int:
        return round(float(estimate(NETWORK, target, schedule(*kernels)).evaluations.overhead_s.sum()) / 5.0)

    assert handovers(both(3, 1), both(3, 1), both(3, 1), both(3, 1)) == 0  # the same samples all the way
    assert handovers(both(3, 1), both(6, 2), both(24, 8), both(3, 1)) == 0  # counted in lines
    assert handovers(both(3, 1), both(2, 2), both(2, 2), both(2, 2)) == 1
    assert handovers({}, both(3, 1), {}, {}) == 2
    assert handovers(both(20, 12), both(20, 12), {}, {}) == 2  # within a sample: windows cross the cut
    kernels = schedule(both(20, 12), both(20, 12), {}, {}).kernels
    assert states(kernels, np.zeros(4, np.int64), 4).tolist() == [0, 1, 2, 2]


def test_no_share_is_priced_below_the_bound() -> None:
    for rows in range(1, 32):
        found = estimate(NETWORK, phone(), schedule(both(rows, 32 - rows), {}, both(32 - rows, rows), {}))
        assert found.device_s * (1 + 1e-12) >= found.bound.total_s


def test_lines_are_those_of_all_samples() -> None:
    costing = Costing.of(NETWORK, phone())
    assert Splits.of(costing.kernels, costing.prices, phone()).lines.tolist() == [32, 1, 32, 1]


def test_which_kernels_keep_samples_apart() -> None:
    kernels = Costing.of(NETWORK, phone()).kernels
    assert [by_sample(kernel, NETWORK.maps, 4) for kernel in kernels] == [True] * 4
    assert [by_sample(kernel, NETWORK.maps, 2) for kernel in kernels] == [False] * 4


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"shares": (Share(engine="fast", rows=1),)}, "a share of one engine alone"),
        ({"shares": (Share(engine="slow", rows=1), Share(engine="fast", rows=1))}, "its first share on slow"),
        (both(0, 4), "a share without rows"),
        ({"shares": (Share(engine="fast", rows=1), Share(engine="fast", rows=1))}, "two shares for one engine"),
        ({**both(1, 1), "strip_rows": 1, "halo": "both"}, "shares of 2 of 4 samples"),
    ],
)
def test_shares_that_mean_nothing_are_refused(more: dict[str, Any], problem: str) -> None:
    with pytest.raises(ScheduleError, match=problem):
        schedule(more, {}, {}, {})


def test_an_unknown_engine_is_refused() -> None:
    unknown = {"shares": (Share(engine="fast", rows=1), Share(engine="slower", rows=1))}
    with pytest.raises(ScheduleError, match="the target has no engine slower"):
        Costing.of(NETWORK, phone(), schedule(unknown, {}, {}, {}))


def test_where_hand_overs_are_free_elementwise_work_stays_on_its_engine() -> None:
    free, costly = phone(0.0), phone()
    relu = busy(free, {}, {}, {}, {})[1]
    assert busy(free, {}, both(3, 1), {}, {})[1] == relu
    assert busy(free, both(3, 1), {}, {}, {})[0] == busy(costly, both(3, 1), {}, {}, {})[0]
