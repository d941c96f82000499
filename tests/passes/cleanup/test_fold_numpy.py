"""What is left to the runtime: where numpy might give other bits, or stop the process."""

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

from roofwright.passes.cleanup.fold_numpy import by_numpy, has_bad_divisor
from tests.passes.harness import Array, float16, float32, float64, int32, int64

BFLOAT16 = np.ones(1, ml_dtypes.bfloat16)
FLOAT, FLOAT16, INT8, INT32, TEXT = (
    getattr(onnx.TensorProto, name) for name in ("FLOAT", "FLOAT16", "INT8", "INT32", "STRING")
)


@pytest.mark.parametrize(
    ("data", "to"),
    [
        (BFLOAT16, FLOAT),
        (float32([1]), onnx.TensorProto.BFLOAT16),
        (np.asarray(["1"], object), FLOAT),
        (float32([1]), TEXT),
        (float64([1.1]), FLOAT16),
        (int64([2049]), FLOAT16),
        (float32([np.nan]), INT32),
        (float32([np.inf]), INT32),
        (float32([-129]), INT8),
        (float32([127]), INT8),
    ],
)
def test_casts_of_which_runtimes_differ(data: Array, to: int) -> None:
    assert by_numpy("Cast", [data], {"to": to}) is None


@pytest.mark.parametrize(
    ("data", "to", "expected"),
    [
        (float32([126.9, -128.9]), INT8, [126, -128]),
        (float32([1.5]), FLOAT16, [1.5]),
        (float16([1.5]), FLOAT16, [1.5]),
        (int32([7]), FLOAT, [7]),
    ],
)
def test_casts_of_which_all_agree(data: Array, to: int, expected: list[float]) -> None:
    found = by_numpy("Cast", [data], {"to": to})
    assert found is not None
    assert found.tolist() == expected


def test_large_arithmetic_is_the_runtimes_business() -> None:
    assert by_numpy("Add", [np.ones(1 << 14, np.float32), float32([1])], {}) is None
    assert by_numpy("Add", [np.ones(1 << 12, np.float32), float32([1])], {}) is not None


def test_an_expand_that_is_not_valid_has_no_value() -> None:
    assert by_numpy("Expand", [float32([1, 2]), int64([3])], {}) is None


@pytest.mark.parametrize(
    ("op", "arguments", "expected"),
    [
        ("Mul", [int32([1]), int32([0])], False),
        ("Div", [float32([1]), float32([0])], False),
        ("Div", [int32([1]), int32([0])], True),
        ("Mod", [int32([1]), int32([-1])], True),
        ("Div", [int32([1]), int32([2])], False),
        ("Div", [int32([1]), None], True),
    ],
)
def test_divisors_that_stop_the_process(op: str, arguments: list[Any], expected: bool) -> None:
    assert has_bad_divisor(op, arguments) is expected
