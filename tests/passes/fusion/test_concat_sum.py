from typing import Any

import pytest

from roofwright.passes.fusion import FuseConcat
from roofwright.targets import load_target
from tests.passes.harness import PLACES, Case, check, nodes_of, random
from tests.passes.perturb import Perturbation, check_perturbed, perturbed

# an AVX2 machine: blocks of 8 channels, so that 4 leave half of the lanes idle
MACHINE = load_target("haswell_e5_2699v3")
TARGET = {"target": MACHINE}
GHOST = {
    "w": random(4, 8, 1, 1),
    "b": random(4, seed=1),
    "d": random(4, 1, 3, 3, seed=2),
    "e": random(4, seed=3),
}
# Two Concats that case 1 takes out pay for the nodes that case 2 adds.
FILTERS = "Conv<group = 4, pads = [1, 1, 1, 1]>"
WON = f"""c0 = Conv(x, w, b) f0 = {FILTERS}(c0, d, e) j0 = Concat<axis = 1>(c0, f0)
    c1 = Conv(j0, w, b) f1 = {FILTERS}(c1, d, e) j1 = Concat<axis = 1>(c1, f1)"""
LEFT = "Conv Conv Conv Conv"
ODD = {
    "p": random(20, 8, 1, 1, seed=4),
    "q": random(28, 8, 1, 1, seed=5),
    "k": random(4, 48, 1, 1, seed=6),
    "l": random(4, seed=7),
}
JOIN = "u = Conv(j1, p) v = Conv<kernel_shape = [1, 1]>(x, q) t = Concat<axis = 1>(u, v)"
SUM = f"Add Conv Conv Conv Conv {LEFT}"


def joined(name: str, tail: str, after: str, **more: Any) -> Case:
    """Two Concats of case 1, then one of case 2."""
    held = GHOST | ODD | more
    body = f"{WON} {JOIN} {tail}"
    text = f"(float[1,8,64,64] x) => (float[1,4,H,W] y) {{ {body} }}"
    after = " ".join(sorted(after.split()))
    return Case(
        name, text, after, arrays={n: v for n, v in held.items() if f" {n}" in body}, exact=False, context=TARGET
    )


SPLITS = [
    # 2
    joined("a 1x1 convolution", "y = Conv(t, k, l)", SUM),
    joined("without bias", "y = Conv(t, k)", SUM),
    joined("a 3x3 convolution with padding", "y = Conv<pads = [1, 1, 1, 1]>(t, k, l)", SUM, k=random(4, 48, 3, 3)),
    joined("behind Relu", "r = Relu(t) y = Conv(r, k, l)", f"{SUM} Relu Relu"),
    joined("behind pooling", "r = MaxPool<kernel_shape = [2, 2]>(t) y = Conv(r, k, l)", f"{SUM} MaxPool MaxPool"),
    joined(
        "behind a depthwise convolution",
        "r = Conv<group = 48, strides = [2, 2]>(t, m, n) y = Conv(r, k, l)",
        f"Conv Conv {SUM}",
        m=random(48, 1, 3, 3),
        n=random(48),
    ),
    joined(
        "behind pooling that tells where",
        "r, i = MaxPool<kernel_shape = [2, 2]>(t) c = Conv(r, k, l)"
        " f = Cast<to = 1>(i) s = ReduceMean(f) y = Add(c, s)",
        "Add Cast Concat Conv Conv Conv Conv Conv Conv Conv MaxPool ReduceMean",
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", SPLITS, ids=str)
def test_split(case: Case, place: str) -> None:
    after = check(FuseConcat(), case, place)
    assert len(nodes_of(after)) <= len(nodes_of(case.model()))


@perturbed([SPLITS[1], SPLITS[-2]])
def test_short_of_a_precondition(case: Case, how: Perturbation) -> None:
    check_perturbed(FuseConcat(), case, how)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("body", ["t = Concat<axis = 1>(x) y = Conv(t, k)", "y = Conv(x, k)"])
def test_there_is_nothing_to_split(body: str, place: str) -> None:
    text = f"(float[1,48,64,64] x) => (float[1,4,64,64] y) {{ {body} }}"
    check(FuseConcat(), Case("one", text, arrays={"k": ODD["k"]}, context=TARGET), place)
