"""Which casts lose nothing, and which of two casts in a row can go."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from roofwright.passes.cleanup import Identities
from roofwright.passes.cleanup.casts import is_lossless
from tests.passes.harness import Array, build, run_pass

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
NAMES = ("bool", *INTEGERS, *FLOATS)


def extremes(name: str) -> Array:
    """The values of a type that a narrower one lacks."""
    if name == "bool":
        return np.asarray([False, True])
    if name in INTEGERS:
        bounds = np.iinfo(name)
        return np.asarray([bounds.min, bounds.max], name)
    limits = _limits(name)
    return np.asarray([limits.max, limits.smallest_subnormal, 1 + float(limits.eps)]).astype(limits.dtype)


def _limits(name: str) -> Any:
    return ml_dtypes.finfo(name)  # type: ignore[no-untyped-call] # ml_dtypes leaves it without annotations


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("target", NAMES)
def test_a_lossless_cast_keeps_the_extremes_of_a_type(source: str, target: str) -> None:
    values = extremes(source)
    with np.errstate(all="ignore"):
        there = values.astype(_limits(target).dtype if target in FLOATS else np.dtype(target))
    assert is_lossless(source, target) is (_plain(values) == _plain(there))


def _plain(values: Array) -> list[float]:
    """As Python's numbers, which compare exactly."""
    return [int(value) if value.dtype.kind in "iub" else float(value) for value in values]


def test_what_is_not_listed_is_never_called_lossless() -> None:
    assert not is_lossless("float8e4m3fn", "float32")
    assert not is_lossless("int8", "string")
    assert not is_lossless("float16", "float8e5m2")


def test_a_cast_of_an_input_stays() -> None:
    assert not run_pass(Identities(), build("(float[3] x) => (float16[3] y) { y = Cast<to = 10>(x) }"))[2].changed
