import dataclasses

import numpy as np
import pytest

from roofwright.cost_model.power import burst_clock_hz, drawn_w, sustained_share, throttled_clock_hz
from roofwright.targets import Power, Target, load_target


def dense(name: str, dtype: str, share: float, **bytes_per_s: float) -> float:
    """Sustained MHz under `share` of the peak of a dtype."""
    target = load_target(name)
    peak = max(engine.peak_macs_per_s(dtype) for engine in target.engines)
    return float(throttled_clock_hz(target, {dtype: share * peak}, bytes_per_s)) / 1e6


def toy() -> Target:
    power = Power(
        limit_w=100.0,
        idle_w=20.0,
        joule_per_mac={"float16": 1e-12},
        joule_per_byte={"l2": 1e-11, "hbm": 1e-10},
        min_clock_hz=500e6,
    )
    return dataclasses.replace(load_target("v100"), power=power)


def test_a_t4_cannot_hold_its_boost_clock_under_dense_work() -> None:
    base, boost = 585, 1590
    assert base < dense("t4", "float32", 0.93, l2=600e9, gddr6=60e9) < 0.75 * boost
    assert base < dense("t4", "float16", 0.88, l2=1200e9, gddr6=150e9) < 0.8 * boost


def test_a_v100_holds_its_boost_clock_under_dense_work() -> None:
    assert dense("v100", "float16", 0.88, l2=2300e9, hbm=300e9) == 1530
    assert dense("v100", "float32", 0.93, l2=1500e9, hbm=100e9) == 1530


def test_a_tx2_in_max_q_is_more_efficient_and_slower_than_in_max_n() -> None:
    rates = {"float16": 0.3e12}
    fast, slow = load_target("jetson_tx2"), load_target("jetson_tx2_maxq")
    assert drawn_w(slow, rates, {}) < drawn_w(fast, rates, {})
    assert burst_clock_hz(slow) < burst_clock_hz(fast)


def test_the_formula_by_hand() -> None:
    target = toy()
    rates, traffic = {"float16": 100e12}, {"l2": 2e12, "hbm": 0.2e12}
    assert drawn_w(target, rates, traffic) == pytest.approx(20 + 100 + 20 + 20)
    assert sustained_share(target, rates, traffic) == pytest.approx((100 - 20 - 20) / 120)
    assert throttled_clock_hz(target, rates, traffic) == pytest.approx(1530e6 / 2)


def test_at_the_sustained_clock_the_limit_is_drawn_exactly() -> None:
    target = toy()
    share = float(sustained_share(target, {"float16": 150e12}, {"hbm": 0.1e12}))
    assert drawn_w(target, {"float16": share * 150e12}, {"hbm": 0.1e12}) == pytest.approx(100)


def test_the_clock_stays_between_the_lowest_and_the_burst_one() -> None:
    target = toy()
    clocks = throttled_clock_hz(target, {"float16": np.array([0.0, 1e12, 80e12, 1e15])}, {})
    assert clocks.tolist() == [1530e6, 1530e6, 1530e6, 500e6]
    assert throttled_clock_hz(target, {}, {"hbm": 1e13}) == 1530e6  # a slower core does not help the memory
    assert throttled_clock_hz(target, {"float16": 1.0}, {"hbm": 1e13}) == 500e6


def test_more_work_never_raises_the_clock() -> None:
    rates = np.linspace(0, 300e12, 200)
    assert np.all(np.diff(throttled_clock_hz(toy(), {"float16": rates}, {"hbm": 0.3e12})) <= 0)


def test_a_machine_without_power_never_throttles() -> None:
    target = dataclasses.replace(toy(), power=None)
    assert sustained_share(target, {"float16": 1e20}, {}) == 1.0
    assert np.isnan(drawn_w(target, {"float16": 1e20}, {}))


def test_rates_broadcast() -> None:
    shares = sustained_share(toy(), {"float16": np.full((3, 1), 1e14)}, {"l2": np.full((1, 2), 1e12)})
    assert shares.shape == (3, 2)
