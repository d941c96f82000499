from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseConcat
from roofwright.targets import load_target
from tests.passes.harness import PLACES, Case, build, check, random, run_pass, same
from tests.passes.perturb import Perturbation, check_perturbed, perturbed

# an AVX2 machine: blocks of 8 channels, so that 4 leave half of the lanes idle
MACHINE = load_target("haswell_e5_2699v3")
TARGET = {"target": MACHINE}
IDLE = "twice the channels do not fit"
GHOST = {
    "w": random(4, 8, 1, 1),
    "b": random(4, seed=1),
    "d": random(4, 1, 3, 3, seed=2),
    "e": random(4, seed=3),
}
DW = "Conv<group = 4, pads = [1, 1, 1, 1]>(a, d, e)"
PLAIN = f"a = Conv(x, w, b) f = {DW} y = Concat<axis = 1>(a, f)"
RELUS = f"c = Conv(x, w, b) a = Relu(c) g = {DW} f = Relu(g) y = Concat<axis = 1>(a, f)"


def ghost(name: str, body: str, after: str | None, declines: str | None = None, **more: Any) -> Case:
    """One image of 8 channels in, one out."""
    text = f"(float[1,8,64,64] x) => (float[1,C,H,W] y) {{ {body} }}"
    read = {name: value for name, value in (GHOST | more).items() if f" {name}" in body}
    return Case(name, text, after, declines, arrays=read, exact=False, context=TARGET)


CASES = [
    # 1
    ghost("a convolution and filters of it", PLAIN, "Conv Conv"),
    ghost("the other order", PLAIN.replace("(a, f)", "(f, a)"), "Conv Conv"),
    ghost("no biases", PLAIN.replace(", b)", ")").replace(", e)", ")"), "Conv Conv"),
    ghost("the same Relu in both", RELUS, "Conv Conv Relu Relu"),
    ghost(
        "the same Clip in both",
        f"c = Conv(x, w, b) a = Clip(c, low, high) g = {DW} f = Clip(g, low, high) y = Concat<axis = 1>(a, f)",
        "Clip Clip Conv Conv",
        low=np.float32(0),
        high=np.float32(2),
    ),
    ghost("Relu before alone", f"c = Conv(x, w, b) a = Relu(c) f = {DW} y = Concat<axis = 1>(a, f)", "Conv Conv Relu"),
    ghost("dilated", PLAIN.replace("pads = [1, 1, 1, 1]", "pads = [2, 2, 2, 2], dilations = [2, 2]"), "Conv Conv"),
    ghost(
        "Relu behind alone",
        f"a = Conv(x, w, b) g = {DW} f = Relu(g) y = Concat<axis = 1>(a, f)",
        None,
        "has not gone through the same Relu",
    ),
    ghost(
        "another Clip",
        f"c = Conv(x, w, b) a = Clip(c, low, high) g = {DW} f = Clip(g, low, more) y = Concat<axis = 1>(a, f)",
        None,
        "the same Clip",
        low=np.float32(0),
        high=np.float32(2),
        more=np.float32(1),
    ),
    ghost(
        "a kernel without a middle",
        PLAIN.replace("pads = [1, 1, 1, 1]", "pads = [0, 0, 1, 1]"),
        None,
        "keeps a pixel",
        d=random(4, 1, 2, 2),
    ),
    ghost("padding on one side", PLAIN.replace("pads = [1, 1, 1, 1]", "pads = [0, 0, 2, 2]"), None, "keeps a pixel"),
    ghost(
        "another reader", PLAIN.replace("y =", "g =") + " h = Neg(a) y = Concat<axis = 1>(g, h)", None, "read by others"
    ),
    ghost(
        "another reader of the filtered",
        PLAIN.replace("y =", "g =") + " h = Neg(f) y = Concat<axis = 1>(g, h)",
        None,
        "also read by",
    ),
    ghost(
        "no idle lanes",
        PLAIN.replace("group = 4", "group = 8"),
        None,
        IDLE,
        w=random(8, 8, 1, 1),
        b=random(8),
        d=random(8, 1, 3, 3),
        e=random(8),
    ),
    ghost("three operands", PLAIN.replace("(a, f)", "(a, f, x)"), None),
    ghost(
        "filters of another convolution",
        "a = Conv(x, w, b) g = Conv(x, w) f = " + DW.replace("(a,", "(g,") + " y = Concat<axis = 1>(a, f)",
        None,
    ),
    ghost(
        "filters of an activation's source",
        "c = Conv(x, w, b) a = Relu(c) f = " + DW.replace("(a,", "(c,") + " y = Concat<axis = 1>(a, f)",
        None,
    ),
    ghost(
        "a bound that is computed",
        f"c = Conv(x, w, b) i = ReduceMax<keepdims = 0>(x) a = Clip(c, i) g = {DW}"
        " f = Clip(g, i) y = Concat<axis = 1>(a, f)",
        None,
        "a bound of the Clip",
    ),
    ghost("another axis", PLAIN.replace("axis = 1", "axis = 2"), None),
    ghost("a grouped convolution", PLAIN.replace("Conv(x", "Conv<group = 2>(x"), None, w=random(4, 4, 1, 1)),
    ghost(
        "an odd group",
        "a = Conv(x, w, b) f = Conv<group = 2, pads = [1, 1, 1, 1]>(a, d, e) y = Concat<axis = 1>(a, f)",
        None,
        d=random(4, 2, 3, 3),
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_widened(case: Case, place: str) -> None:
    check(FuseConcat(), case, place)


@perturbed(CASES)
def test_short_of_a_precondition(case: Case, how: Perturbation) -> None:
    check_perturbed(FuseConcat(), case, how)


def test_without_a_target_nothing_fires() -> None:
    model = build(f"(float[1,8,64,64] x) => (float[1,8,64,64] y) {{ {PLAIN} }}", GHOST)
    _, _, result = run_pass(FuseConcat(), model)
    assert not result.changed
    assert "none is given" in result.records[0].reason


def test_the_widened_convolution_and_its_filters_fill_both_halves() -> None:
    model = build(f"(float[1,8,64,64] x) => (float[1,8,64,64] y) {{ {PLAIN} }}", GHOST)
    _, after, _ = run_pass(FuseConcat(), model, target=MACHINE)
    shapes = sorted(tuple(tensor.dims) for tensor in after.graph.initializer)
    assert shapes == [(8,), (8,), (8, 1, 3, 3), (8, 8, 1, 1)]


def test_an_output_between_stays() -> None:
    text = "(float[1,8,64,64] x) => (float[1,8,64,64] y, float[1,4,64,64] a) { " + PLAIN + " }"
    _, _, result = run_pass(FuseConcat(), build(text, GHOST), target=MACHINE)
    assert not result.changed
    assert "read by others" in result.records[0].reason


def test_an_overridable_weight_declines() -> None:
    text = "(float[1,8,64,64] x, float[4,1,3,3] d) => (float[1,8,64,64] y) { " + PLAIN + " }"
    _, _, result = run_pass(FuseConcat(), build(text, {n: GHOST[n] for n in "wbe"}), target=MACHINE)
    assert not result.changed
    assert "not a constant" in result.records[0].reason


def test_one_channel_needs_no_word_on_groups() -> None:
    text = "(float[1,8,64,64] x) => (float[1,2,64,64] y) { " + PLAIN.replace("group = 4, ", "") + " }"
    arrays = {"w": random(1, 8, 1, 1), "b": random(1), "d": random(1, 1, 3, 3), "e": random(1)}
    before, after, result = run_pass(FuseConcat(), build(text, arrays), target=MACHINE)
    assert result.changed
    convolutions = [node for node in after.graph.node if node.op_type == "Conv"]
    assert [[a.i for a in node.attribute if a.name == "group"] for node in convolutions] == [[], [2]]
    same(before, after, exact=False)
