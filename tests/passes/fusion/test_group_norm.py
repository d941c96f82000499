from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseComposites
from tests.passes.fusion.written_out import C, C16, HALF, X, case
from tests.passes.harness import PLACES, Case, attributes, build, check, float16, float32, int64, positive, run_pass

GROUPED = (
    "(float[2,6,4,4] x) => (float[2,6,4,4] y) { t = Reshape(x, into)"
    " i = InstanceNormalization<epsilon = 0.001>(t, l, o) u = Reshape(i, back) k = Mul(u, gc) y = Add(k, bc) }"
)
GROUPS = {
    **{"into": int64([0, 3, -1]), "back": int64([2, 6, 4, 4]), "l": float32([1, 1, 1]), "o": float32([0, 0, 0])},
    **{"gc": positive(6, 1, 1), "bc": positive(1, 6, 1, 1), "l2": float32([1, 2, 1]), "flat": int64([2, 6, 16])},
}
CASES = [
    case("group", GROUPED, "GroupNormalization", arrays=GROUPS),
    case(
        "group, no scale",
        "(float[N,6,4,4] x) => (float[N,6,4,4] y) { t = Reshape(x, into) i = InstanceNormalization(t, l, o)"
        " y = Reshape(i, all) }",
        "GroupNormalization",
        arrays={**GROUPS, "all": int64([-1, 6, 4, 4])},
    ),
    case("group before opset 21", GROUPED, None, "came with opset 21", arrays=GROUPS, opset=20),
    case("groups with scales", GROUPED.replace("t, l,", "t, l2,"), None, arrays=GROUPS),
    case(
        "reshaped to something else",
        GROUPED.replace("float[2,6,4,4] y", "float[2,6,16] y")
        .replace("back", "flat")
        .replace(" k = Mul(u, gc) y = Add(k, bc)", " y = Neg(u)"),
        None,
        arrays=GROUPS,
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)
