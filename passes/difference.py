"""How far one output of two models is apart: absolutely, relatively, and in units in the last place."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_INTEGERS = {2: np.int16, 4: np.int32, 8: np.int64}  # of a float's size in bytes


@dataclass(frozen=True)
class Difference:
    """Measured on one output, over everything that was run.

    Attributes:
        name: of the output.
        max_abs: largest difference of two values; infinite where only one of them is finite.
        max_rel: largest difference over the largest magnitude of the reference, the larger of all runs.
        max_ulp: most representable numbers between two values (for integers, their difference); large beside zero,
            where the numbers lie close together.
    """

    name: str
    max_abs: float = 0.0
    max_rel: float = 0.0
    max_ulp: float = 0.0

    def joined(self, other: "Difference") -> "Difference":
        """The larger of each figure."""
        largest = (max(a, b) for a, b in zip(self.figures, other.figures, strict=True))
        return Difference(self.name, *largest)

    @property
    def figures(self) -> tuple[float, float, float]:
        """Absolute, relative, units in the last place."""
        return self.max_abs, self.max_rel, self.max_ulp


def summed_up(found: Iterable[Difference]) -> tuple[Difference, ...]:
    """One difference per output, in the order in which the outputs were met."""
    joined: dict[str, Difference] = {}
    for difference in found:
        before = joined.get(difference.name)
        joined[difference.name] = difference if before is None else before.joined(difference)
    return tuple(joined.values())


def measured(name: str, reference: Array, other: Array) -> tuple[Difference, float]:
    """(the difference of two arrays of one shape and type, the largest finite magnitude of the reference).

    Positions where the reference is not finite do not count.
    """
    if reference.dtype.kind not in "fiub" and reference.dtype.name != "bfloat16":
        apart = 0.0 if np.array_equal(reference, other) else np.inf
        return Difference(name, apart, apart, apart), 1.0
    a, b = reference.astype(np.float64), other.astype(np.float64)
    counts = np.isfinite(a)
    if not counts.any():
        return Difference(name), 0.0
    with np.errstate(invalid="ignore"):
        gaps = np.abs(a[counts] - b[counts])
    delta = float(np.max(np.where(np.isnan(gaps), np.inf, gaps)))
    scale = float(np.max(np.abs(a[counts])))
    relative = delta / scale if scale else np.inf if delta else 0.0
    return Difference(name, delta, relative, _ulps(reference[counts], other[counts]) if delta else 0.0), scale


def _ulps(a: Array, b: Array) -> float:
    """Most representable numbers between two values of a pair."""
    if not np.isfinite(b.astype(np.float64)).all():
        return float("inf")
    return float(np.max(np.abs(_rank(a) - _rank(b))))


def _rank(values: Array) -> NDArray[np.float64]:
    """The place of each value among all numbers of its type; both zeros have place 0."""
    if values.dtype.kind in "iub":
        return values.astype(np.float64)
    bits = np.ascontiguousarray(values).view(_INTEGERS[values.dtype.itemsize])
    lowest = np.iinfo(bits.dtype).min
    return np.where(bits < 0, lowest - bits, bits).astype(np.float64)
