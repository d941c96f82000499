"""Elementwise and special-function work on lanes."""

import numpy as np

from roofwright.cost_model import vector_unit
from tests.cost_model.machines import array, cores, window_unit


def test_lane_and_special_operations_add_up() -> None:
    assert vector_unit.seconds(64, 0, cores(), "float32") == 64 / 32
    assert vector_unit.seconds(0, 8, cores(), "float32") == 8 / 4
    assert vector_unit.seconds(64, 8, cores(), "float32") == 4


def test_copies_and_clock_divide_the_time() -> None:
    assert vector_unit.seconds(64, 8, cores(2, clock_hz=10.0), "float32") == 4 / 20


def test_arrays_broadcast() -> None:
    got = vector_unit.seconds(np.array([32, 64]), 4, cores(), "float32")
    assert got.tolist() == [2.0, 3.0]


def test_missing_lanes_take_for_ever_and_no_work_takes_no_time() -> None:
    assert vector_unit.seconds([1, 0], 0, array(4, 4), "int8").tolist() == [np.inf, 0.0]
    assert vector_unit.seconds(0, 0, window_unit(), "float16") == 0
