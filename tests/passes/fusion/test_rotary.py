from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseComposites
from tests.passes.fusion.written_out import case
from tests.passes.harness import PLACES, Case, build, check, float32, int64, run_pass

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
ACROSS = {**TABLES, "i2": int64([2]), **{name: np.ones((1, 1, 8, 8), np.float32) for name in ("cos", "sin")}}
EVERY_SECOND = (
    "l = Slice(x, i0, i9, i3, i2) h = Slice(x, i1, i9, i3, i2) n = Neg(h) c = Concat<axis = -1>(n, l)"
    " t = Mul(x, cos) u = Mul(c, sin) y = Add(t, u)"
)
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
    case(
        "a Split with sizes",
        f"{ROTATED} {{ l, h = Split<axis = -1>(x, i44) n = Neg(h)"
        " c = Concat<axis = 3>(n, l) t = Mul(cos, x) u = Mul(sin, c) y = Add(u, t) }",
        "RotaryEmbedding",
        arrays={**TABLES, "i44": int64([4, 4])},
    ),
    case(
        "an odd number",
        "(float[2,3,5,7] x) => (float[2,3,5,7] y) { l, h = Split<axis = 3, num_outputs = 2>(x) n = Neg(h)"
        " c = Concat<axis = 3>(n, l) t = Mul(i3, x) u = Mul(i4, c) y = Add(u, t) }",
        None,
        arrays={"i3": float32(np.ones((5, 7))), "i4": float32(np.ones((5, 7)))},
    ),
    case(
        "three axes",
        "(float[3,5,8] x) => (float[3,5,8] y) { l, h = Split<axis = -1, num_outputs = 2>(x) n = Neg(h)"
        " c = Concat<axis = -1>(n, l) t = Mul(cos2, x) u = Mul(sin2, c) y = Add(u, t) }",
        None,
        arrays={"cos2": TABLES["cos"][0], "sin2": TABLES["sin"][0]},
    ),
    case(
        "a width that is not known",
        "(float[2,3,5,D] x) => (float[2,3,5,D] y) { l, h = Split<axis = -1, num_outputs = 2>(x) n = Neg(h)"
        " c = Concat<axis = -1>(n, l) t = Mul(half, x) u = Mul(half, c) y = Add(u, t) }",
        None,
    ),
    case("not negated", f"{ROTATED} {{ {TURN.replace('Neg', 'Relu')} }}", None, arrays=TABLES),
    case(
        "one piece",
        "(float[2,3,5,4] x) => (float[2,3,5,4] y) { n = Neg(x) c = Concat<axis = -1>(n) y = Mul(c, half) }",
        None,
    ),
    case(
        "cut along another axis",
        f"(float[2,3,8,8] x) => (float[2,3,8,8] y) {{ {TURN.replace('i3)', 'i2)')} }}".replace("axis = -1", "axis = 2"),
        None,
        arrays=ACROSS,
    ),
    case(
        "every second one",
        f"{ROTATED} {{ {EVERY_SECOND} }}",
        None,
        arrays={**TABLES, "i1": int64([1]), "i2": int64([2])},
    ),
    case(
        "the second part is no half",
        f"{ROTATED} {{ {TURN.replace('n = Neg(h)', 'r = Exp(h) n = Neg(r)')} }}",
        None,
        arrays=TABLES,
    ),
    case(
        "the first part is no half",
        f"{ROTATED} {{ {TURN.replace('l = Slice(x, i0', 'r = Slice(x, i0').replace('h = S', 'l = Exp(r) h = S')} }}",
        None,
        arrays=TABLES,
    ),
    case(
        "halves of two values",
        "(float[2,3,5,8] x, float[2,3,5,8] z) => (float[2,3,5,8] y)"
        f" {{ {TURN.replace('h = Slice(x', 'h = Slice(z')} }}",
        None,
        arrays=TABLES,
    ),
    case(
        "no sine",
        f"{ROTATED} {{ {TURN.replace('u = Mul(c, sin)', 'u = Div(c, sin)')} }}",
        None,
        arrays={**TABLES, "sin": UNEQUAL + 1},
    ),
    case("no sum", f"{ROTATED} {{ {TURN.replace('y = Add', 'y = Sub')} }}", None, arrays=TABLES),
    case("no cosine", f"{ROTATED} {{ {TURN.replace('t = Mul(x, cos)', 't = Exp(x)')} }}", None, arrays=TABLES),
    case(
        "the cosine of something else",
        f"(float[2,3,5,8] x, float[2,3,5,8] z) => (float[2,3,5,8] y) {{ {TURN.replace('t = Mul(x', 't = Mul(z')} }}",
        None,
        arrays=TABLES,
    ),
    case(
        "tables that a caller gives",
        f"(float[2,3,5,8] x, float[1,1,5,8] cos) => (float[2,3,5,8] y) {{ {TURN} }}",
        None,
        "two equal halves",
        arrays={key: value for key, value in TABLES.items() if key != "cos"},
    ),
    case(
        "one row for all places",
        f"{ROTATED} {{ {TURN} }}",
        None,
        "two equal halves",
        arrays={**TABLES, "cos": TABLES["cos"][:, :, 1:2]},
    ),
    case(
        "a part of the last axis",
        "(float[2,3,5,8] x) => (float[2,3,5,8] y)"
        " { l = Slice(x, i0, i3, i3) h = Slice(x, i3, i9, i3) n = Neg(h) c = Concat<axis = -1>(n, l)"
        " t = Mul(x, cos) u = Mul(c, sin) y = Add(t, u) }",
        None,
        arrays=TABLES,
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)


def test_a_split_with_sizes_that_a_caller_gives() -> None:
    text = (
        "(float[2,3,5,8] x, int64[2] sizes) => (float[2,3,5,8] y) { l, h = Split<axis = -1>(x, sizes) n = Neg(h)"
        " c = Concat<axis = 3>(n, l) t = Mul(cos, x) u = Mul(sin, c) y = Add(u, t) }"
    )
    arrays = {name: TABLES[name] for name in ("cos", "sin")}
    assert not run_pass(FuseComposites(), build(text, arrays, opset=23, ir=11))[2].changed
