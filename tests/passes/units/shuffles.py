"""A channel shuffle between two convolutions, and what may stand around it."""

from collections.abc import Mapping
from typing import Any

from tests.passes.harness import Array, Case, int64, random

GRID, BACK = int64([1, 2, 3, 4, 4]), int64([1, 6, 4, 4])
SHAPES = {"grid": GRID, "back": BACK}
CONVS = {"v": random(6, 5, 1, 1), "w": random(7, 6, 1, 1, seed=1)}
X = "(float[1,5,4,4] x) => (float[1,7,4,4] y)"
SHUFFLE = "g = Reshape(a, grid) t = Transpose<perm = [0,2,1,3,4]>(g) s = Reshape(t, back)"


def between(middle: str, first: str = "a = Conv(x, v)", last: str = "y = Conv(z, w)", ports: str = X) -> str:
    """A shuffle between two convolutions with something behind it."""
    return f"{ports} {{ {first} {SHUFFLE} {middle} {last} }}"


def case(name: str, text: str, after: str | None, *, arrays: Mapping[str, Array] | None = None, **more: Any) -> Case:
    """A case with the constants of the shuffle and of both convolutions."""
    return Case(name, text, after, arrays={**SHAPES, **CONVS, **(arrays or {})}, exact=False, **more)
