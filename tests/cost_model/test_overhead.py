"""Launches, dispatch, the link and the clock that the power limit leaves."""

from dataclasses import replace

import numpy as np
import pytest

from roofwright.cost_model import Costing, GraphModel, estimate
from roofwright.cost_model.overhead import least_seconds, request_seconds
from roofwright.targets import Power, Target
from tests.cost_model import gpus
from tests.scheduling import modelled, scratchpad

NET = modelled("g (float[64,256] x) => (float[64,256] y) { a = MatMul(x, w)  y = Relu(a) }", w=(256, 256))
MACS = 64 * 256 * 256


def on(**changes: float) -> Target:
    """A machine whose stack adds something."""
    target = scratchpad(1 << 22)
    return replace(target, stack=replace(target.stack, **changes))  # type: ignore[arg-type]  # numbers of a stack


def on_gpu(**changes: float) -> Target:
    """The same for a device with a host of its own."""
    target = gpus.target()
    return replace(target, stack=replace(target.stack, **changes))  # type: ignore[arg-type]  # numbers of a stack


def drawing(limit_w: float, joule_per_mac: float = 1e-9, min_clock_hz: float = 0.1e9) -> Target:
    """A machine that burns energy in MACs alone; its burst clock is 1 GHz."""
    nothing = {"sram": 0.0, "dram": 0.0}
    power = Power(
        limit_w=limit_w,
        idle_w=0.0,
        joule_per_mac={"float32": joule_per_mac},
        joule_per_byte=nothing,
        min_clock_hz=min_clock_hz,
    )
    return replace(scratchpad(1 << 22, 1e12), power=power)


def costing(graph: GraphModel, target: Target) -> Costing:
    return Costing.of(graph, target)


def test_every_kernel_is_launched() -> None:
    plain, launched = estimate(NET, on()), estimate(NET, on(launch_s=1e-3))
    assert launched.latency_s == pytest.approx(plain.latency_s + 2e-3, rel=1e-12)
    assert launched.evaluations.causes()["overhead"] == pytest.approx(2e-3, rel=1e-12)


def test_a_kernel_in_a_loop_is_launched_and_dispatched_every_trip() -> None:
    thrice = replace(NET, works=tuple(replace(entry, work=replace(entry.work, repeat=3)) for entry in NET.works))
    for changes in ({"launch_s": 1e-3}, {"dispatch_s": 1e-3}):
        plain, charged = estimate(thrice, on()), estimate(thrice, on(**changes))
        assert charged.latency_s == pytest.approx(plain.latency_s + 6e-3, rel=1e-12)


@pytest.mark.parametrize(("loops", "launches"), [(0.0, 2), (1.0, 5)])
def test_a_library_may_launch_every_group_but_no_channel_of_a_depthwise_convolution(
    loops: float, launches: int
) -> None:
    text = "g (float[1,8,9,9] x) => (float[1,8,9,9] y) { a = Conv<group=4>(x, w)  y = Conv<group=8>(a, d) }"
    graph = modelled(text, w=(8, 2, 1, 1), d=(8, 1, 1, 1))
    target = gpus.target(launches_per_group=loops)
    launched = replace(target, stack=replace(target.stack, launch_s=1e-3))
    assert estimate(graph, launched).device_s - estimate(graph, target).device_s == pytest.approx(launches * 1e-3)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (on(), 0.0),
        (on(dispatch_s=0.3), 0.6),  # cores that dispatch two kernels themselves
        (on(dispatch_s=0.3, call_s=4.0), 4.6),
        (gpus.target(), 0.0),
        (on_gpu(dispatch_s=0.3), 0.0),  # two kernels are dispatched while the device works for a second
        (on_gpu(dispatch_s=0.8), 0.6),
        (on_gpu(dispatch_s=0.8, call_s=4.0), 4.6),
    ],
)
def test_what_a_host_adds(target: Target, expected: float) -> None:
    made = costing(NET, target)
    assert request_seconds(made.kernels, made.prices, 1.0, target) == pytest.approx(expected)


def test_energy_over_the_limit_is_the_least_time() -> None:
    target = drawing(limit_w=2.0)
    made = costing(NET, target)
    assert least_seconds(made.prices, made.moved, target) == pytest.approx(MACS * 1e-9 / 2.0)
    assert least_seconds(made.prices, made.moved, replace(target, power=None)) == 0.0


def test_a_machine_below_its_limit_keeps_its_clock() -> None:
    cool = estimate(NET, drawing(limit_w=1e6))
    assert cool.clock_ratio == 1.0
    assert cool.latency_s == estimate(NET, replace(drawing(1e6), power=None)).latency_s


def test_throttling_stretches_the_run_to_what_the_limit_allows() -> None:
    burst = estimate(NET, drawing(limit_w=1e6))
    power_w = MACS * 1e-9 / burst.device_s
    throttled = estimate(NET, drawing(limit_w=power_w / 2))
    assert throttled.device_s == pytest.approx(2 * burst.device_s, rel=1e-9)
    assert 0.1 < throttled.clock_ratio < 1.0
    causes = throttled.evaluations.causes()
    assert causes["overhead"] == pytest.approx(throttled.device_s - burst.device_s, rel=1e-9)


def test_the_clock_never_falls_below_its_lowest() -> None:
    slowest = estimate(NET, drawing(limit_w=1e-9, min_clock_hz=0.5e9))
    assert slowest.clock_ratio == pytest.approx(0.5)
    burst = estimate(NET, drawing(limit_w=1e6))
    assert slowest.device_s <= 2 * burst.device_s * (1 + 1e-12)


def test_doing_less_never_takes_longer_under_a_power_limit() -> None:
    limits = np.geomspace(0.1, 1e4, 12)
    half = modelled("g (float[32,256] x) => (float[32,256] y) { a = MatMul(x, w)  y = Relu(a) }", w=(256, 256))
    for limit in limits.tolist():
        assert estimate(half, drawing(limit)).latency_s <= estimate(NET, drawing(limit)).latency_s
    times = [estimate(NET, drawing(limit)).latency_s for limit in limits.tolist()]
    assert times == sorted(times, reverse=True)
