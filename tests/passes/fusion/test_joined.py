import numpy as np
import pytest

from roofwright.graph import read
from roofwright.passes.base import Context
from roofwright.passes.fusion import FuseJoined
from tests.passes.harness import PLACES, Array, Case, build, check, float32, positive, random
from tests.passes.perturb import Perturbation, check_perturbed, perturbed

NORM = {"g": random(6, seed=1), "t": random(6, seed=2), "m": random(6, seed=3), "n": positive(6, seed=4)}
WEIGHTS = {"v": random(2, 3, 1, 1), "w": random(4, 3, 3, 3, seed=5), "b": random(4, seed=6)}
BOTH = {**WEIGHTS, **NORM}
BN = "BatchNormalization(p, g, t, m, n)"
BRANCHES = "a = Conv(x, v) c = Conv<pads = [1, 1, 1, 1]>(x, w, b) p = Concat<axis = 1>(a, c)"
SCALE, SHIFT = random(1, 6, 1, 1, seed=7), random(6, 1, 1, seed=8)


def case(name: str, body: str, after: str | None = None, declines: str | None = None, **arrays: Array) -> Case:
    """A graph of one image in and one out."""
    text = f"(float[1,3,4,4] x) => (float[1,6,H,W] y) {{ {body} }}"
    return Case(name, text, after, declines, arrays=BOTH | arrays, exact=False)


CONCAT = "Concat Conv Conv"
POOL = "AveragePool<kernel_shape = [2, 2], {0}>(c)"
CASES = [
    # 1
    case("normalisation of a concat", f"{BRANCHES} y = {BN}", CONCAT),
    case("negative axis", f"{BRANCHES.replace('axis = 1', 'axis = -3')} y = {BN}", CONCAT),
    case("scale of a concat", f"{BRANCHES} y = Mul(p, s)", CONCAT, s=SCALE),
    case("shift of a concat, constant first", f"{BRANCHES} y = Sub(s, p)", CONCAT, s=SHIFT),
    case(
        "concat along another axis",
        "a = Conv(x, u) p = Concat<axis = 2>(a, a) y = Mul(p, s)",
        u=random(6, 3, 1, 1),
        s=SCALE,
    ),
    case("one factor for all", f"{BRANCHES} y = Mul(p, s)", CONCAT, s=float32(2)),
    case("scale that varies along a row", f"{BRANCHES} y = Mul(p, s)", s=random(4)),
    # 2
    case(
        "average of a scaled",
        "c = Conv(x, u) p = GlobalAveragePool(c) y = Mul(p, s)",
        "Conv GlobalAveragePool",
        u=random(6, 3, 1, 1),
        s=SCALE,
    ),
    case(
        "padding that is not counted",
        f"c = Conv(x, u) p = {POOL.format('pads = [1, 1, 0, 0]')} y = {BN}",
        "AveragePool Conv",
        u=random(6, 3, 1, 1),
    ),
    case(
        "padding that is counted",
        f"c = Conv(x, u) p = {POOL.format('pads = [1, 1, 0, 0], count_include_pad = 1')} y = {BN}",
        None,
        "counts padding",
        u=random(6, 3, 1, 1),
    ),
    case(
        "padding that is counted, no shift",
        f"c = Conv(x, u) p = {POOL.format('pads = [1, 1, 0, 0], count_include_pad = 1')} y = Mul(p, s)",
        "AveragePool Conv",
        u=random(6, 3, 1, 1),
        s=SCALE,
    ),
    # 3
    case(
        "pooling of a concat",
        f"{BRANCHES.replace('p =', 'j =')} p = GlobalAveragePool(j) y = {BN}",
        f"{CONCAT} GlobalAveragePool",
    ),
    case(
        "concat of a concat",
        f"a = Conv(x, v) e = Conv(x, v) d = Concat<axis = 1>(a, e) f = Conv(x, v) p = Concat<axis = 1>(f, d) y = {BN}",
        "Concat Concat Conv Conv Conv",
    ),
    # declines
    case(
        "an operand has another reader",
        f"{BRANCHES} q = {BN} r = GlobalAveragePool(c) z = ReduceMean(r) y = Add(q, z)",
        None,
        "also read by",
    ),
    case(
        "an operand is no convolution",
        f"a = Conv(x, v) c = Conv(x, u) k = Relu(c) p = Concat<axis = 1>(a, k) y = {BN}",
        u=random(4, 3, 1, 1),
    ),
    case(
        "overflow",
        f"{BRANCHES} y = Mul(p, s)",
        None,
        "not finite",
        s=np.full((1, 6, 1, 1), 3e38, np.float32),
        v=random(2, 3, 1, 1) * np.float32(100),
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(FuseJoined(), case, place)


@pytest.mark.parametrize("place", PLACES)
def test_a_factor_of_joined_vectors(place: str) -> None:
    text = (
        "(float[1,6,4,4] x, float[2] v, float[2] w) => (float[1,6,4,4] y) { p = Concat<axis = 0>(v, w) y = Mul(x, p) }"
    )
    check(FuseJoined(), Case("vectors", text), place)


def test_a_convolution_of_unknown_size() -> None:
    graph = read(build(f"(float[1,3,4,4] x, float[2,3,1,1] v) => (float[1,6,4,4] y) {{ {BRANCHES} y = {BN} }}",
                       {name: values for name, values in BOTH.items() if name != "v"}))  # fmt: skip
    next(tensor for tensor in graph.inputs if tensor.name == "v").shape = None
    (record,) = FuseJoined().run(graph, Context()).records
    assert record.reason == "the channels of 'a' are not known"


@perturbed(CASES)
def test_short_of_a_precondition(case: Case, how: Perturbation) -> None:
    check_perturbed(FuseJoined(), case, how)
