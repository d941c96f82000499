import numpy as np
import pytest

from roofwright.passes.units import ChannelShuffles
from tests.passes.harness import PLACES, Case, build, check, counts, int64, ops, positive, random, run_pass, same
from tests.passes.units.shuffles import SHUFFLE, X, between, case

NORM = {name: positive(6, seed=at) for at, name in enumerate(("scale", "shift", "mean", "var"))}
CASES = [
    case("1, 2: a producer and a consumer", between("", last="y = Conv(s, w)"), "Conv Conv"),
    case(
        "1: a producer with a bias",
        between("", "a = Conv(x, v, b)", "y = Conv(s, w)"),
        "Conv Conv",
        arrays={"b": random(6)},
    ),
    case(
        "1, 2: ConvTranspose",
        between("", "a = ConvTranspose(x, v, b)", "y = ConvTranspose(s, w)"),
        "ConvTranspose ConvTranspose",
        arrays={"v": random(5, 6, 1, 1), "w": random(6, 7, 1, 1), "b": random(6)},
    ),
    case(
        "1, 2: Gemm after pooling",
        "(float[1,5,4,4] x) => (float[1,7] y) { a = Conv(x, v)"
        f"{SHUFFLE} p = GlobalAveragePool(s) f = Flatten(p) y = Gemm<transB = 1>(f, m, b) }}",
        "Conv Flatten Gemm GlobalAveragePool",
        arrays={"m": random(7, 6), "b": random(7)},
    ),
    case(
        "1, 2: MatMul and Gemm of rank 2",
        "(float[1,5] x) => (float[1,7] y) { a = Gemm(x, k, b) g = Reshape(a, grid) t = Transpose<perm = [0,2,1]>(g)"
        " s = Reshape(t, back) y = MatMul(s, m) }",
        "Gemm MatMul",
        arrays={
            "grid": int64([1, 2, 3]),
            "back": int64([1, 6]),
            "k": random(5, 6),
            "b": random(1, 6),
            "m": random(6, 7),
        },
    ),
    case(
        "3: elementwise, normalisation, depthwise, pooling, reduction",
        between(
            "r = Relu(s) c = Mul(r, k) n = BatchNormalization(c, scale, shift, mean, var)"
            " d = Conv<group = 6>(n, dw, db) q = MaxPool<kernel_shape = [2,2], strides = [1,1], pads = [0,0,1,1]>(d)"
            " l = ReduceMean<axes = [3], keepdims = 1>(q) u = PRelu(q, slope) z = Add(u, l)"
        ),
        "Add BatchNormalization Conv Conv Conv MaxPool Mul PRelu ReduceMean Relu",
        arrays={**NORM, "k": random(6, 1, 1), "dw": random(6, 1, 1, 1), "db": random(6), "slope": random(6, 1, 1)},
    ),
    case(
        "3: a residual Add, whose other side follows",
        between("c = Conv(x, other) z = Add(c, s)"),
        "Add Conv Conv Conv",
        arrays={"other": random(6, 5, 1, 1, seed=5)},
    ),
    case(
        "3: squeeze and excitation",
        between("p = GlobalAveragePool(s) e = Conv(p, e1) f = Conv(e, e2) h = Sigmoid(f) z = Mul(s, h)"),
        "Conv Conv Conv Conv GlobalAveragePool Mul Sigmoid",
        arrays={"e1": random(2, 6, 1, 1), "e2": random(6, 2, 1, 1)},
    ),
    case(
        "4: a grouped consumer",
        between("", last="y = Conv<group = 2>(s, w)", ports="(float[1,5,4,4] x) => (float[1,4,4,4] y)"),
        "Conv Conv",
        arrays={"w": random(4, 3, 1, 1)},
    ),
    case(
        "4: a grouped producer and consumer, permuted inside the groups",
        "(float[1,6,4,4] x) => (float[1,4,4,4] y) { a = Conv<group = 2>(x, v) g = Reshape(a, grid)"
        " t = Transpose<perm = [0,1,3,2,4,5]>(g) s = Reshape(t, back) r = Relu(s) y = Conv<group = 2>(r, w) }",
        "Conv Conv Relu",
        arrays={
            "grid": int64([1, 2, 2, 3, 4, 4]),
            "back": int64([1, 12, 4, 4]),
            "v": random(12, 3, 1, 1),
            "w": random(4, 6, 1, 1),
        },
    ),
    case(
        "6: the producer alone suffices before an output",
        between("", last="y = Neg(s)", ports="(float[1,5,4,4] x) => (float[1,6,4,4] y)"),
        "Conv Neg",
    ),
    case(
        "6: the consumer alone suffices after an input",
        between("", "a = Neg(x)", "y = Conv(s, w)", "(float[1,6,4,4] x) => (float[1,7,4,4] y)"),
        "Conv Neg",
    ),
    case(
        "a batch that is not known",
        between("", last="y = Conv(s, w)", ports='(float["n",5,4,4] x) => (float["n",7,4,4] y)'),
        "Conv Conv",
        arrays={"grid": int64([-1, 2, 3, 4, 4]), "back": int64([-1, 6, 4, 4])},
    ),
    case(
        "pixels that are not known",
        between("", last="y = Conv(s, w)", ports='(float[1,5,"h",4] x) => (float[1,7,"h",4] y)'),
        "Conv Conv",
        arrays={"grid": int64([1, 2, 3, -1, 4]), "back": int64([1, 6, -1, 4])},
    ),
    case(
        "declined: grouped convolutions on both sides",
        "(float[1,6,4,4] x) => (float[1,4,4,4] y) { a = Conv<group = 2>(x, v)"
        + SHUFFLE
        + " y = Conv<group = 2>(s, w) }",
        None,
        declines="convolves them in 2 groups",
        arrays={"v": random(6, 3, 1, 1), "w": random(4, 3, 1, 1)},
    ),
    case(
        "declined: nothing to put the order into",
        between("", "a = Neg(x)", "y = Neg(s)", "(float[1,6,4,4] x) => (float[1,6,4,4] y)"),
        None,
        declines="'x' comes from outside",
    ),
    case(
        "declined: weights that are not constants",
        "(float[1,5,4,4] x, float[6,5,1,1] v, float[7,6,1,1] w) => (float[1,7,4,4] y) { a = Conv(x, v)"
        + SHUFFLE
        + " y = Conv(s, w) }",
        None,
        declines="needs them in their order",
    ),
    case(
        "declined: a large weight that is shared",
        between("", last="y0 = Conv(s, w) y1 = Conv(x, w1) y2 = Conv(y1, w) y = Add(y0, y2)"),
        None,
        declines="is shared",
        arrays={"w1": random(6, 5, 1, 1)},
        context={"fold_limit_bytes": 10},
    ),
    case(
        "not a shuffle: pixels are permuted",
        "(float[1,5,4,4] x) => (float[1,7,4,4] y) { a = Conv(x, v) t = Transpose<perm = [0,1,3,2]>(a) y = Conv(t, w) }",
        None,
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case_", CASES, ids=str)
def test_case(case_: Case, place: str) -> None:
    check(ChannelShuffles(), case_, place)


# ---- stages in which half of the channels pass (case 5)
STAGE = {
    "grid": int64([1, 2, 6, 4, 4]),
    "back": int64([1, 12, 4, 4]),
    "v": random(12, 5, 1, 1),
    "w": random(7, 12, 1, 1),
}
HALVES = {
    17: "p{0}, q{0} = Split<axis = 1>(s{0}, halves)",
    12: "p{0}, q{0} = Split<axis = 1, split = [6, 6]>(s{0})",
    9: "p{0} = Slice<axes = [1], starts = [0], ends = [6]>(s{0})"
    " q{0} = Slice<axes = [1], starts = [6], ends = [99]>(s{0})",
}


def stage(units: int, opset: int, last: str = "y = Conv(s{0}, w)", ports: str = X) -> Case:
    shuffle = "g{0} = Reshape(a{0}, grid) t{0} = Transpose<perm = [0,2,1,3,4]>(g{0}) s{0} = Reshape(t{0}, back) "
    work = "b{0} = Conv(q{0}, v{0}) r{0} = Relu(b{0}) a{1} = Concat<axis = 1>(p{0}, r{0}) "
    unit = f"{HALVES[opset]} {work}"
    body = "".join((shuffle + unit).format(at, at + 1) for at in range(units))
    arrays = {**STAGE, **{f"v{at}": random(6, 6, 1, 1, seed=at) for at in range(units)}}
    arrays |= {"halves": int64([6, 6])} if opset >= 13 else {}
    text = f"{ports} {{ a0 = Conv(x, v) {body} {(shuffle + last).format(units)} }}"
    return Case(f"{units} units at opset {opset}", text, "", arrays=arrays, opset=opset, exact=False)


@pytest.mark.parametrize("opset", HALVES)
@pytest.mark.parametrize("units", [1, 2, 5])
def test_what_passes_is_not_copied_until_it_is_read(units: int, opset: int) -> None:
    before, after, result = run_pass(ChannelShuffles(), stage(units, opset).model())
    assert result.changed
    left = counts(after)
    assert left["Transpose"] == left["Reshape"] == left["Slice"] == 0
    assert left["Split"] + left["Concat"] <= 2 * units + 1
    same(before, after, exact=False)


def test_a_stage_that_ends_in_an_output_picks_its_channels_once() -> None:
    ports = "(float[1,5,4,4] x) => (float[1,12,4,4] s3)"
    before, after, result = run_pass(ChannelShuffles(), stage(3, 17, "", ports).model())
    assert result.changed
    assert (counts(after)["Transpose"], counts(after)["Gather"]) == (0, 0), "few enough pieces for one Concat"
    same(before, after, exact=False)


def test_many_channels_before_an_output_are_gathered() -> None:
    arrays = {"grid": int64([1, 2, 20, 4, 4]), "back": int64([1, 40, 4, 4]), "v": random(20, 5, 1, 1)}
    text = """(float[1,5,4,4] x, float[1,20,4,4] k) => (float[1,40,4,4] y) {
        a = Conv(x, v) c = Concat<axis = 1>(a, k) g = Reshape(c, grid) t = Transpose<perm = [0,2,1,3,4]>(g)
        s = Reshape(t, back) g1 = Reshape(s, grid) t1 = Transpose<perm = [0,2,1,3,4]>(g1) s1 = Reshape(t1, back)
        y = Neg(s1) }"""
    before, after, result = run_pass(ChannelShuffles(), build(text, arrays))
    assert result.changed
    assert ops(after) == "Concat Conv Gather Neg"
    same(before, after, exact=False)


# ---- any mix of routes
@pytest.mark.parametrize("seed", range(30))
def test_random_routes_compute_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines, arrays, ready = [], {"v": random(12, 5, 1, 1)}, [("a", 12)]
    lines.append("a = Conv(x, v)")
    for at in range(int(rng.integers(4, 12))):
        name, size = ready[int(rng.integers(len(ready)))]
        kind = rng.integers(5)
        if kind == 0 and size % 2 == 0:
            arrays |= {f"g{at}": int64([1, 2, size // 2, 4, 4]), f"b{at}": int64([1, size, 4, 4])}
            lines.append(
                f"h{at} = Reshape({name}, g{at}) t{at} = Transpose<perm = [0,2,1,3,4]>(h{at})"
                f" o{at} = Reshape(t{at}, b{at})"
            )
            ready.append((f"o{at}", size))
        elif kind == 1 and size > 1:
            cut = int(rng.integers(1, size))
            arrays |= {f"z{at}": int64([cut, size - cut])}
            lines.append(f"o{at}, u{at} = Split<axis = 1>({name}, z{at})")
            ready += [(f"o{at}", cut), (f"u{at}", size - cut)]
        elif kind == 2:
            other, more = ready[int(rng.integers(len(ready)))]
            lines.append(f"o{at} = Concat<axis = 1>({name}, {other})")
            ready.append((f"o{at}", size + more))
        elif kind == 3:
            arrays |= {f"w{at}": random(6, size, 1, 1, seed=at)}
            lines.append(f"o{at} = Conv({name}, w{at})")
            ready.append((f"o{at}", 6))
        else:
            lines.append(f"o{at} = Relu({name})")
            ready.append((f"o{at}", size))
    last, size = ready[-1]
    arrays |= {"e": random(size, size, 1, 1, seed=99), "eg": int64([1, size, 1, 4, 4]), "eb": int64([1, size, 4, 4])}
    end = "y = Conv(yy, e)" if seed % 3 else "y = Neg(yy)"
    lines.append(f"yy = Relu({last}) {end}")
    text = f"(float[1,5,4,4] x) => (float[1,{size},4,4] y) {{ {' '.join(lines)} }}"
    before, after, result = run_pass(ChannelShuffles(), build(text, arrays))
    same(before, after, exact=False)
    if result.changed:
        assert counts(after)["Transpose"] < counts(before)["Transpose"]
