from typing import Any

import pytest

from roofwright.passes.fusion import FuseComposites
from roofwright.targets import load_target
from tests.passes.fusion.written_out import C16, C, used
from tests.passes.harness import PLACES, Case, attributes, check, float32, float64, run_pass

CENTRE = "m = ReduceMean<axes = [-1]>(x) d = Sub(x, m)"
SQUARES = "p = Pow({}, c2) v = ReduceMean<axes = [-1]>(p) z = Add(v, e) r = Sqrt(z)"
NORM = f"{CENTRE} {SQUARES.format('d')}"
ROWS = "(float[2,5,8] x) => (float[2,5,8] y)"
UNIT = {"one": float32([1] * 8), "nil": float32([0] * 8), "g": float32([1, 2] * 4)}
TOO_OLD = "LayerNormalization came with opset 17"
HOST: dict[str, Any] = {"target": load_target("host")}


def case(name: str, text: str, after: str | None, declines: str | None = None, **options: Any) -> Case:
    arrays = used(text, {**C, **UNIT, **options.pop("arrays", {})})
    given = {"opset": 16, "context": HOST, **options}
    return Case(name, text, after, declines, arrays, exact=False, **given)


CASES = [
    case("rows", f"{ROWS} {{ {NORM} y = Div(d, r) }}", "InstanceNormalization"),
    case("unit scale", f"{ROWS} {{ {NORM} n = Div(d, r) y = Mul(n, one) }}", "InstanceNormalization"),
    case(
        "unit scale and bias",
        f"{ROWS} {{ {NORM} n = Div(d, r) k = Mul(n, one) y = Add(nil, k) }}",
        "InstanceNormalization",
    ),
    case(
        "by a power",
        f"{ROWS} {{ {CENTRE} p = Mul(d, d) v = ReduceMean<axes = [2]>(p) z = Add(v, e) r = Pow(z, power)"
        " y = Mul(d, r) }",
        "InstanceNormalization",
        opset=9,
    ),
    case("symbolic batch", f"(float[N,5,8] x) => (float[N,5,8] y) {{ {NORM} y = Div(d, r) }}", "InstanceNormalization"),
    case(
        "four axes",
        f"(float[N,3,5,8] x) => (float[N,3,5,8] y) {{ {NORM} y = Div(d, r) }}",
        "InstanceNormalization Reshape Reshape",
    ),
    case(
        "two axes",
        f"(float[N,8] x) => (float[N,8] y) {{ {NORM} y = Div(d, r) }}",
        "InstanceNormalization Reshape Reshape",
        "GroupNormalization came with opset 21",  # of one group
    ),
    case(
        "two axes together",
        "(float[2,5,8] x) => (float[2,5,8] y) { m = ReduceMean<axes = [1, 2]>(x) d = Sub(x, m) p = Pow(d, c2)"
        " v = ReduceMean<axes = [1, 2]>(p) z = Add(v, e) r = Sqrt(z) y = Div(d, r) }",
        "InstanceNormalization Reshape Reshape",
        "GroupNormalization came with opset 21",  # of one group
    ),
    case("where the operator exists", f"{ROWS} {{ {NORM} y = Div(d, r) }}", "LayerNormalization", opset=17),
    case("another scale", f"{ROWS} {{ {NORM} n = Div(d, r) y = Mul(n, g) }}", None, TOO_OLD),
    case("another bias", f"{ROWS} {{ {NORM} n = Div(d, r) k = Mul(n, one) y = Add(k, g) }}", None, TOO_OLD),
    case(
        "a bias that a caller gives",
        f"(float[2,5,8] x, float[8] b) => (float[2,5,8] y) {{ {NORM} n = Div(d, r) k = Mul(n, one) y = Add(k, b) }}",
        None,
        TOO_OLD,
    ),
    case("symbolic rows", f"(float[2,S,8] x) => (float[2,S,8] y) {{ {NORM} y = Div(d, r) }}", None, TOO_OLD),
    case("no rows", f"(float[2,0,8] x) => (float[2,0,8] y) {{ {NORM} y = Div(d, r) }}", None, TOO_OLD),
    case("the batch is normalised", f"(float[8] x) => (float[8] y) {{ {NORM} y = Div(d, r) }}", None, TOO_OLD),
    case(
        "rows without their mean taken off",
        f"{ROWS} {{ {SQUARES.format('x')} y = Div(x, r) }}",
        None,
        "RMSNormalization came with opset 23",
    ),
    case("nothing normalised", f"{ROWS} {{ r = Sqrt(x) y = Div(x, r) }}", None),
    case(
        "float16",
        f"(float16[2,5,8] x) => (float16[2,5,8] y) {{ {NORM} y = Div(d, r) }}",
        None,
        TOO_OLD,
        arrays=C16,
    ),
    case(
        "float64",
        f"(double[2,5,8] x) => (double[2,5,8] y) {{ {NORM} y = Div(d, r) }}",
        None,
        TOO_OLD,
        arrays={"c2": float64(2), "e": float64(1e-5)},
    ),
    case(
        "an inner reader",
        f"(float[2,5,8] x) => (float[2,5,8] y, float[2,5,8] k) {{ {NORM} y = Div(d, r) k = Neg(d) }}",
        None,
        "also read by",
    ),
    case("no target", f"{ROWS} {{ {NORM} y = Div(d, r) }}", None, "not known to normalise rows", context={}),
    case(
        "another stack",
        f"{ROWS} {{ {NORM} y = Div(d, r) }}",
        None,
        "not known to normalise rows",
        context={"target": load_target("tpuv2")},
    ),
    case(
        "many rows",
        f"{ROWS} {{ {NORM} y = Div(d, r) }}",
        None,
        "a scale for each of 5 rows is larger than the limit of 19 bytes",
        context={**HOST, "fold_limit_bytes": 19},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)


def test_epsilon_becomes_an_attribute() -> None:
    after = run_pass(FuseComposites(), CASES[0].model(), **HOST)[1]
    assert attributes(after, "InstanceNormalization") == {"epsilon": pytest.approx(1e-5)}
