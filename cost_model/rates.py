"""Small facts every engine model asks: how fast a dtype multiplies, how wide it is, what share good kernels reach."""

from typing import Any

import numpy as np

from roofwright.cost_model.dtypes import itemsize_bits
from roofwright.cost_model.units import Floats, Ints, UnitTime
from roofwright.targets import Engine, Target

# Multiplications per output of F(m x m, 3 x 3) over those of the direct algorithm: (m + 2)^2 against 9 m^2 per tile.
# Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308, section 4.
WINOGRAD_SHARE = {"winograd_2x2": 16 / 36, "winograd_4x4": 36 / 144}


def dtype_bytes(dtype: str) -> float:
    """Bytes of one element, packed (int4: 0.5)."""
    return itemsize_bits(dtype) / 8


def issue_efficiency(target: Target, engine: Engine, dtype: str) -> float:
    """Share of the peak issue rate that the stack's kernels reach: "kind.dtype" if stated, else "kind", else all."""
    shares = target.stack.issue_efficiency
    return shares.get(f"{engine.kind}.{dtype}", shares.get(engine.kind, 1.0))


def ceil_div(a: Any, b: Any) -> Ints:
    """Integer quotient rounded up, elementwise, int64."""
    return -(-np.asarray(a, np.int64) // np.asarray(b, np.int64))


def round_up(a: Any, granule: Any) -> Ints:
    """The next multiple of `granule`, elementwise, int64."""
    return np.asarray(ceil_div(a, granule) * granule, np.int64)


def untiled(ideal_s: Floats, padded_s: Floats, busy_s: Floats, inner_s: Floats, algorithm: Any) -> UnitTime:
    """A `UnitTime` of an engine that chooses neither tiles nor reduction splits and adds no off-chip traffic."""
    n = len(ideal_s)
    names = np.broadcast_to(np.asarray(algorithm, dtype=object), (n,)).copy()
    one = np.ones(n)
    return UnitTime(ideal_s, padded_s, busy_s, inner_s, one, names, np.zeros((n, 3), np.int64), one.astype(np.int64))


def impossible(n: int) -> UnitTime:
    """`n` nests that the engine cannot run: every time infinite."""
    never = np.full(n, np.inf)
    return untiled(never, never.copy(), never.copy(), np.zeros(n), "unsupported")
