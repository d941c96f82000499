from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseComposites
from tests.passes.fusion.written_out import C, C16, HALF, X, case
from tests.passes.harness import PLACES, Case, attributes, build, check, float16, float32, int64, positive, run_pass

REPEAT = "{0}u = Unsqueeze({0}, two) {0}e = Expand({0}u, wide) {0}r = Reshape({0}e, flat)"
REPEATS = f"{REPEAT.format('k')} {REPEAT.format('v')}"
SHARED: dict[str, Any] = {"two": int64([2]), "wide": int64([1, 1, 3, 1, 1]), "flat": int64([2, 6, 7, 8])}
KV = "float[2,6,5,8] q, float[2,2,7,8] k, float[2,2,7,8] v"
CASES = [
    case(
        "shared heads",
        f"({KV}) => (float[2,6,5,8] y) {{ {REPEATS} y = Attention(q, kr, vr) }}",
        "Attention",
        arrays=SHARED,
    ),
    case(
        "heads repeated in blocks",
        f"({KV}) => (float[2,6,5,8] y) {{ {REPEATS.replace('two', 'one')} y = Attention(q, kr, vr) }}",
        None,
        arrays={**SHARED, "one": int64([1]), "wide": int64([1, 3, 1, 1, 1])},
    ),
    case(
        "keys alone are repeated",
        "(float[2,6,5,8] q, float[2,2,7,8] k, float[2,6,7,8] v) => (float[2,6,5,8] y)"
        f" {{ {REPEAT.format('k')} y = Attention(q, kr, v) }}",
        None,
        arrays=SHARED,
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)
