"""What moves whole channels, and what only looks so. The source of each shuffle is fixed, or the weight behind it."""

import numpy as np
import pytest

from roofwright.passes.units import ChannelShuffles
from tests.passes.harness import PLACES, Array, Case, check, int64, random
from tests.passes.units.shuffles import SHUFFLE, between, case

LARGE = "(float[2,6,4,4] x) => (float[2,7,4,4] y)"


def lookalike(name: str, text: str, **arrays: Array) -> Case:
    return case(f"no shuffle: {name}", text, None, arrays=arrays)


def shuffled(ports: str, perm: str, last: str = "y = Conv(s, w)") -> str:
    return f"{ports} {{ a = Neg(x) g = Reshape(a, grid) t = Transpose<perm = {perm}>(g) s = Reshape(t, back) {last} }}"


def kept(name: str, middle: str, after: str, out: str, more: str = "", **arrays: Array) -> Case:
    """The route is none: its channels stay, and the convolution before the shuffle takes the order up."""
    text = f"(float[1,5,4,4] x{more}) => ({out}) {{ a = Conv(x, v) {SHUFFLE} {middle} }}"
    return case(f"no route: {name}", text, after, arrays=arrays)


def route(name: str, middle: str, after: str, channels: int, **arrays: Array) -> Case:
    """The convolutions behind the routes take the order up."""
    text = f"(float[1,6,4,4] x) => (float[1,7,4,4] y) {{ a = Neg(x) {SHUFFLE} {middle} y = Conv(z, w) }}"
    return case(name, text, after, arrays={"w": random(7, channels, 1, 1), **arrays})


CASES = [
    lookalike(
        "no Reshape before",
        "(float[1,2,3,4,4] x) => (float[1,7,4,4] y) { g = Neg(x) t = Transpose<perm = [0,2,1,3,4]>(g)"
        " s = Reshape(t, back) y = Conv(s, w) }",
    ),
    lookalike(
        "a Gather before",
        "(float[1,6,4,4] x) => (float[1,7,4,4] y) { g = Gather<axis = 1>(x, picks) t = Transpose<perm = [0,2,1,3,4]>(g)"
        " s = Reshape(t, back) y = Conv(s, w) }",
        picks=int64([[1, 0, 2], [3, 4, 5]]),
    ),
    lookalike(
        "a Flatten behind",
        "(float[1,6] x) => (float[1,7] y) { g = Reshape(x, grid) t = Transpose<perm = [0,2,1]>(g) s = Flatten(t)"
        " y = MatMul(s, m) }",
        grid=int64([1, 2, 3]),
        m=random(6, 7),
    ),
    lookalike(
        "no Reshape behind",
        "(float[1,5,4,4] x) => (float[1,3,2,4,4] y) { a = Conv(x, v) g = Reshape(a, grid)"
        " t = Transpose<perm = [0,2,1,3,4]>(g) y = Neg(t) }",
    ),
    lookalike(
        "the grid is read elsewhere",
        f"(float[1,5,4,4] x) => (float[1,7,4,4] y, float[1,2,3,4,4] q) {{ a = Conv(x, v) {SHUFFLE} y = Conv(s, w)"
        " q = Neg(g) }",
    ),
    lookalike(
        "another rank behind",
        f"(float[1,5,4,4] x) => (float[1,96] y) {{ a = Conv(x, v) {SHUFFLE} y = Neg(s) }}",
        back=int64([1, 96]),
    ),
    lookalike(
        "other sizes behind",
        f"(float[1,5,4,4] x) => (float[1,3,8,4] y) {{ a = Conv(x, v) {SHUFFLE} y = Neg(s) }}",
        back=int64([1, 3, 8, 4]),
    ),
    lookalike(
        "nothing moves", shuffled("(float[1,6,4,4] x) => (float[1,7,4,4] y)", "[0,1,2,3]"), grid=int64([1, 6, 4, 4])
    ),
    lookalike("the batch moves", shuffled(LARGE, "[1,0,2,3,4]"), grid=int64([2, 2, 3, 4, 4]), back=int64([2, 6, 4, 4])),
    lookalike("pixels move", shuffled(LARGE, "[0,2,1,4,3]"), grid=int64([2, 2, 3, 4, 4]), back=int64([2, 6, 4, 4])),
    lookalike(
        "a grid that is not known",
        '(float[1,6,4,4] x, float[1,"p",3,4,4] k) => (float[1,7,4,4] y) { a = Neg(x) n = Shape(k) g = Reshape(a, n)'
        " t = Transpose<perm = [0,2,1,3,4]>(g) s = Reshape(t, back) y = Conv(s, w) }",
    ),
    lookalike(
        "pixels among the channels",
        shuffled('(float[1,6,"h",4] x) => (float[1,7,2,4] y)', "[0,2,1,3,4]"),
        grid=int64([1, 2, 6, 1, 4]),
        back=int64([1, 6, 2, 4]),
    ),
    route("Concat", "q = Relu(s) z = Concat<axis = -3>(s, q)", "Concat Conv Neg Relu", 12),
    case(
        "Slice",
        between("z = Slice(s, low, high, axis)"),
        "Conv Conv Split",
        arrays={"w": random(7, 3, 1, 1), "low": int64([1]), "high": int64([4]), "axis": int64([1])},
    ),
    route(
        "Slice backwards",
        "z = Slice(s, low, high, axis, step)",
        "Conv Neg",
        6,
        low=int64([-1]),
        high=int64([-(2**40)]),
        axis=int64([1]),
        step=int64([-1]),
    ),
    route("Gather", "z = Gather<axis = 1>(s, picks)", "Conv Neg", 6, picks=int64([3, -6, 2, 5, 1, -2])),
    kept("Concat of pixels", "y = Concat<axis = 2>(s, s)", "Concat Conv", "float[1,6,8,4] y"),
    kept(
        "Concat with channels that are not known",
        "y = Concat<axis = 1>(s, k)",
        "Concat Conv",
        "float[1,8,4,4] y",
        ', float[1,"c",4,4] k',
    ),
    kept(
        "Split of pixels",
        "p, q = Split<axis = 2>(s) y = Sub(p, q)",
        "Conv Split Sub",
        "float[1,6,2,4] y",
    ),
    kept(
        "Split into sizes that are computed",
        "n = Shape(k) p, q = Split<axis = 1>(s, n) y = Neg(p) z = Neg(q)",
        "Conv Neg Neg Shape Split",
        'float[1,"p",4,4] y, float[1,4,4,4] z',
        ', float["p",4] k',
    ),
    kept(
        "Slice of pixels",
        "y = Slice(s, one, two, three)",
        "Conv Slice",
        "float[1,6,1,4] y",
        one=int64([1]),
        two=int64([2]),
        three=int64([2]),
    ),
    kept(
        "Slice between computed bounds",
        "n = Shape(k) y = Slice(s, zeros, n)",
        "Conv Shape Slice",
        'float[1,"p",4,4] y',
        ', float[1,"p",4,4] k',
        zeros=int64([0, 0, 0, 0]),
    ),
    kept(
        "Slice of nothing",
        "q = Slice(s, one, one, one) y = Conv(s, w) z = Neg(q)",
        "Conv Conv Neg Slice",
        "float[1,7,4,4] y, float[1,0,4,4] z",
        one=int64([1]),
    ),
    kept("Gather of pixels", "y = Gather<axis = 2>(s, picks)", "Conv Gather", "float[1,6,2,4] y", picks=int64([1, 0])),
    kept("Gather of one channel", "y = Gather<axis = 1>(s, pick)", "Conv Gather", "float[1,4,4] y", pick=np.asarray(4)),
    case(
        "no route: Gather of channels of which the number is not known",
        '(float[1,5,4,4] x, float[1,"c",4,4] k) => (float[1,7,4,4] y) { a = Conv(x, v) '
        f"{SHUFFLE} q = Gather<axis = 1>(k, picks) z = Concat<axis = 1>(s, q) y = Conv(z, w) }}",
        "Concat Conv Conv Gather",
        arrays={"w": random(7, 8, 1, 1), "picks": int64([1, 0])},
    ),
    kept(
        "Gather of channels that are computed",
        "n = Shape(k) y = Gather<axis = 1>(s, n)",
        "Conv Gather Shape",
        "float[1,2,4,4] y",
        ', float[1,"p"] k',
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case_", CASES, ids=str)
def test_case(case_: Case, place: str) -> None:
    check(ChannelShuffles(), case_, place)
