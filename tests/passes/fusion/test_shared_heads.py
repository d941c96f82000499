from typing import Any

import pytest

from roofwright.passes.fusion import FuseComposites
from tests.passes.fusion.written_out import case
from tests.passes.harness import PLACES, Case, build, check, int64, run_pass

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
    case(
        "as many blocks as heads",
        f"({KV}) => (float[2,6,5,8] y) {{ {REPEATS} y = Attention(q, kr, vr) }}".replace("6,5,8", "4,5,8"),
        None,
        arrays={"two": int64([1]), "wide": int64([1, 2, 1, 1, 1]), "flat": int64([2, 4, 7, 8])},
    ),
    case(
        "keys and values as they are",
        "(float[2,2,5,8] q, float[2,2,7,8] k, float[2,2,7,8] v) => (float[2,2,5,8] y) { y = Attention(q, k, v) }",
        None,
    ),
    case(
        "an axis that is not repeated but widened",
        "(float[2,6,5,8] q, float[1,2,7,8] k, float[1,2,7,8] v) => (float[2,6,5,8] y)"
        f" {{ {REPEATS} y = Attention(q, kr, vr) }}",
        None,
        arrays={**SHARED, "wide": int64([2, 1, 3, 1, 1])},
    ),
    case(
        "three axes",
        "(float[2,6,5,8] q, float[2,7,8] k, float[2,7,8] v) => (float[2,6,5,8] y)"
        f" {{ {REPEATS} y = Attention(q, kr, vr) }}",
        None,
        arrays={**SHARED, "two": int64([1]), "wide": int64([1, 6, 1, 1])},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)


def _left_alone(text: str, arrays: dict[str, Any] | None = None) -> bool:
    given = SHARED if arrays is None else arrays
    return not run_pass(FuseComposites(), build(text, given, opset=23, ir=11))[2].changed


def test_a_cache_is_left_alone() -> None:
    cache = "float[2,6,3,8] o, float[2,6,3,8] p"
    assert _left_alone(f"({KV}, {cache}) => (float[2,6,5,8] y) {{ {REPEATS} y = Attention(q, kr, vr, , o, p) }}")


def test_keys_that_leave_are_left_alone() -> None:
    text = f"({KV}) => (float[2,6,5,8] y, float[2,6,7,8] o) {{ {REPEATS} y, o = Attention(q, kr, vr) }}"
    assert _left_alone(text)


@pytest.mark.parametrize(
    ("before", "expanded", "after"),
    [
        ("?,2,7,8", "?,2,3,7,8", "?,6,7,8"),
        ("2,2,?,8", "2,2,3,?,8", "2,6,?,8"),
        ("2,H,7,8", "2,H,3,7,8", "2,HHH,7,8"),  # names are no numbers
        ("2,2,7,8", "2,2,T,7,8", "2,TT,7,8"),
        ("2,2,7,8", "?,?,?,?,?", "2,6,7,8"),
    ],
)
def test_sizes_that_are_not_known(before: str, expanded: str, after: str) -> None:
    known = ", ".join(f"float[{expanded}] {name}e, float[{after}] {name}r" for name in "kv")
    inputs = f"float[2,6,5,8] q, float[{before}] k, float[{before}] v, int64[5] wide, int64[4] flat"
    text = f"({inputs}) => (float[2,6,5,8] y) <{known}> {{ {REPEATS} y = Attention(q, kr, vr) }}"
    assert _left_alone(text, {"two": SHARED["two"]})
