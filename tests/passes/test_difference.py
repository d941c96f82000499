"""Differences of two arrays: absolute, relative to the largest value, and in representable numbers."""

from typing import Any

import numpy as np
import pytest

from roofwright.passes.difference import Difference, measured, summed_up

INF = float("inf")


def float32(*values: float) -> Any:
    return np.asarray(values, np.float32)


def bfloat16(values: Any) -> Any:
    import ml_dtypes

    return np.asarray(values, ml_dtypes.bfloat16)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("steps", [1, 7])
def test_units_in_the_last_place_are_counted(dtype: Any, steps: int) -> None:
    one = moved = np.asarray([1.0, -1.0, 3.5, 0.0], dtype)
    for _ in range(steps):
        moved = np.nextafter(moved, np.asarray(np.inf, dtype))
    found, scale = measured("y", one, moved)
    assert (found.max_ulp, scale) == (steps, 3.5)
    assert found.max_abs == float(np.max(np.abs(moved.astype(np.float64) - one)))
    assert found.max_rel == found.max_abs / 3.5


def test_the_two_zeros_are_one_number_and_signs_are_crossed() -> None:
    smallest = np.float32(1e-45)
    assert measured("y", float32(0.0), float32(-0.0))[0] == Difference("y")
    assert measured("y", np.asarray([smallest]), np.asarray([-smallest]))[0].max_ulp == 2


def test_bfloat16_has_its_own_neighbours() -> None:
    found, _ = measured("y", bfloat16([1.0, 2.0]), bfloat16([1.0, 2.0 + 2**-6]))
    assert (found.max_abs, found.max_ulp) == (2**-6, 1)


def test_integers_and_booleans_differ_by_their_difference() -> None:
    assert measured("y", np.array([3, -4]), np.array([3, 1]))[0] == Difference("y", 5.0, 1.25, 5.0)
    assert measured("y", np.array([True, False]), np.array([True, True]))[0] == Difference("y", 1.0, 1.0, 1.0)


def test_what_is_not_finite_in_the_reference_does_not_count() -> None:
    reference = float32(np.nan, np.inf, 2.0)
    assert measured("y", reference, float32(1.0, 5.0, 2.0)) == (Difference("y"), 2.0)
    assert measured("y", reference[:2], float32(1.0, 5.0)) == (Difference("y"), 0.0)
    assert measured("y", float32(1.0), float32(np.nan))[0].figures == (INF, INF, INF)


def test_a_difference_from_nothing_is_infinitely_large_relatively() -> None:
    found, scale = measured("y", float32(0.0), float32(1e-45))
    assert (found.max_rel, found.max_ulp, scale) == (INF, 1.0, 0.0)


def test_text_is_equal_or_not() -> None:
    assert measured("y", np.array(["a"]), np.array(["a"]))[0].max_abs == 0
    assert measured("y", np.array(["a"]), np.array(["b"]))[0].max_abs == INF


def test_runs_are_summed_up_by_output() -> None:
    found = summed_up([Difference("z", 1, 0.5, 3), Difference("y", 2, 0.1, 1), Difference("z", 0.5, 0.7, 9)])
    assert found == (Difference("z", 1, 0.7, 9), Difference("y", 2, 0.1, 1))
