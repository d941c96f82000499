from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseComposites
from tests.passes.fusion.written_out import C, C16, HALF, X, case
from tests.passes.harness import PLACES, Case, attributes, build, check, float16, float32, int64, positive, run_pass

ROTATED = "(float[2,3,5,8] x) => (float[2,3,5,8] y)"
CUTS = "l = Slice(x, i0, i4, i3) h = Slice(x, i4, i9, i3) n = Neg(h) c = Concat<axis = -1>(n, l)"
TURN = f"{CUTS} t = Mul(x, cos) u = Mul(c, sin) y = Add(t, u)"
ANGLES = np.outer(np.arange(5), 0.5 ** np.arange(4)).astype(np.float32)
TABLES: dict[str, Any] = {
    "cos": np.cos(np.concatenate([ANGLES, ANGLES], 1))[None, None],
    "sin": np.sin(np.concatenate([ANGLES, ANGLES], 1))[None, None],
    **{f"i{value}": int64([value]) for value in (0, 3, 4, 9)},
}
UNEQUAL = np.arange(40, dtype=np.float32).reshape(1, 1, 5, 8)
CASES = [
    case("rotary", f"{ROTATED} {{ {TURN} }}", "RotaryEmbedding", arrays=TABLES),
    case(
        "rotary by a Split",
        f"{ROTATED} {{ l, h = Split<axis = 3, num_outputs = 2>(x) n = Neg(h)"
        " c = Concat<axis = 3>(n, l) t = Mul(cos, x) u = Mul(sin, c) y = Add(u, t) }",
        "RotaryEmbedding",
        arrays=TABLES,
    ),
    case("halves that differ", f"{ROTATED} {{ {TURN} }}", None, "two equal halves", arrays={**TABLES, "cos": UNEQUAL}),
    case(
        "symbolic batch",
        f"(float[N,3,5,8] x) => (float[N,3,5,8] y) {{ {TURN} }}",
        None,
        "two equal halves",
        arrays=TABLES,
    ),
    case("opset 22", f"{ROTATED} {{ {TURN} }}", None, "came with opset 23", arrays=TABLES, opset=21),
    case(
        "halves not swapped",
        f"{ROTATED} {{ l = Slice(x, i0, i4, i3) h = Slice(x, i4, i9, i3) n = Neg(l)"
        " c = Concat<axis = -1>(n, h) t = Mul(x, cos) u = Mul(c, sin) y = Add(t, u) }",
        None,
        arrays=TABLES,
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)
