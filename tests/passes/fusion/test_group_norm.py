import pytest

from roofwright.passes.fusion import FuseComposites
from tests.passes.fusion.written_out import case
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
    case("groups with offsets", GROUPED.replace("l, o)", "l, l2)"), None, arrays=GROUPS),
    case(
        "a normalization with a scale that a caller gives",
        GROUPED.replace(" x)", " x, float[3] l)"),
        None,
        arrays={key: value for key, value in GROUPS.items() if key != "l"},
    ),
    case(
        "a normalization with an offset that a caller gives",
        GROUPED.replace(" x)", " x, float[3] o)"),
        None,
        arrays={key: value for key, value in GROUPS.items() if key != "o"},
    ),
    case(
        "nothing in front",
        "(float[2,3,32] x) => (float[2,3,32] y) { t = Exp(x) i = InstanceNormalization(t, l, o) y = Reshape(i, into) }",
        None,
        arrays=GROUPS,
    ),
    case(
        "nothing behind",
        "(float[2,3,32] x) => (float[2,3,32] y) { t = Reshape(x, into) i = InstanceNormalization(t, l, o) y = Exp(i) }",
        None,
        arrays=GROUPS,
    ),
    case(
        "groups across samples",
        "(float[2,6,4,4] x) => (float[2,6,4,4] y)"
        " { t = Reshape(x, into) i = InstanceNormalization(t, l, o) y = Reshape(i, back) }",
        None,
        arrays={**GROUPS, "into": int64([1, 3, 64])},
    ),
    case(
        "groups that cut a channel",
        "(float[2,6,4,4] x) => (float[2,6,4,4] y)"
        " { t = Reshape(x, into) i = InstanceNormalization(t, l, o) y = Reshape(i, back) }",
        None,
        arrays={**GROUPS, "into": int64([2, 4, 24]), "l": float32([1] * 4), "o": float32([0] * 4)},
    ),
    case(
        "a number of channels that is not known",
        "(float[2,C,4,4] x) => (float[2,C,4,4] y)"
        " { t = Reshape(x, into) i = InstanceNormalization(t, l, o) u = Shape(x) y = Reshape(i, u) }",
        None,
        arrays={**GROUPS, "into": int64([0, 1, -1]), "l": float32([1]), "o": float32([0])},
    ),
    case(
        "four axes of groups",
        GROUPED,
        "GroupNormalization",
        arrays={**GROUPS, "into": int64([0, 3, 8, 4])},
    ),
    case(
        "group in float16",
        "(float16[2,6,4,4] x) => (float16[2,6,4,4] y)"
        " { t = Reshape(x, into) i = InstanceNormalization(t, l, o) y = Reshape(i, back) }",
        None,
        "computed in float16",
        arrays={**GROUPS, "l": float16([1] * 3), "o": float16([0] * 3)},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)


def test_attributes() -> None:
    found = attributes(run_pass(FuseComposites(), CASES[0].model())[1], "GroupNormalization")
    assert found == {"num_groups": 3, "epsilon": pytest.approx(0.001)}


def test_a_batch_of_unknown_size_may_be_another_one() -> None:
    text = (
        "(float[?,6,4,4] x) => (float[?,6,4,4] y)"
        " { t = Reshape(x, n) i = InstanceNormalization(t, l, o) y = Reshape(i, n6) }"
    )
    arrays = {"n": int64([-1, 3, 32]), "n6": int64([-1, 6, 4, 4]), "l": float32([1] * 3), "o": float32([0] * 3)}
    assert not run_pass(FuseComposites(), build(text, arrays, opset=23, ir=11))[2].changed
