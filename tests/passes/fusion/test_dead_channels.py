import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseDeadChannels
from tests.passes.harness import PLACES, Array, Case, build, check, nodes_of, ops, positive, random, run_pass, same
from tests.passes.perturb import Perturbation, check_perturbed, perturbed


def pruned(*shape: int, rows: tuple[int, ...] = (), columns: tuple[int, ...] = (), seed: int = 0) -> Array:
    """Seeded weights with output or input channels of zeros."""
    weight = random(*shape, seed=seed)
    weight[list(rows)] = 0
    weight[:, list(columns)] = 0
    return weight


V = pruned(6, 3, 3, 3, rows=(1, 4))
FOUND: dict[str, Array] = {"v": V, "c": random(6, seed=1), "w": random(2, 6, 1, 1, seed=2), "b": random(2, seed=3)}
NORM: dict[str, Any] = {
    "g": random(6, seed=4),
    "t": random(6, seed=5),
    "m": random(6, seed=6),
    "n": positive(6, seed=7),
}
CONV = "k = Conv<pads = [1, 1, 1, 1]>(x, v, c)"
SAME = "<pads = [1, 1, 1, 1]>"


def case(name: str, between: str, changes: bool = True, end: str = "y = Conv(r, w, b)", **arrays: Any) -> Case:
    """A pruned convolution, what is between, and a 1 x 1 convolution of `r`; the operators stay, if fewer channels."""
    text = f"(float[1,3,4,4] x) => (float[1,2,H,W] y) {{ {CONV} {between} {end} }}"
    held = FOUND | arrays
    read = set(re.findall(r"[(,] ?(\w+)", text))
    found = Case(name, text, None, arrays={name: value for name, value in held.items() if name in read}, exact=False)
    return replace(found, after=ops(found.model())) if changes else found


DW: dict[str, Any] = {"d": random(6, 1, 3, 3, seed=8), "e": random(6, seed=9)}
CASES = [
    # 1
    case("through Relu", "r = Relu(k)"),
    case("nothing between", "", end="y = Conv(k, w, b)"),
    case("no biases", "", end="y = Conv(k, w)"),
    case("through LeakyRelu", "r = LeakyRelu<alpha = 0.3>(k)"),
    case("through Clip", "r = Clip(k, low, high)", low=np.float32(-0.1), high=np.float32(0.2)),
    case("through a normalisation", "r = BatchNormalization(k, g, t, m, n)", **NORM),
    case("through arithmetic", "l = Mul(k, s) r = Sub(u, l)", s=random(6, 1, 1, seed=8), u=random(1, 6, 1, 1, seed=9)),
    case("through a scalar", "r = Mul(k, s)", s=np.float32(0.5)),
    case("through a depthwise convolution", "r = Conv<group = 6>(k, d, e)", **DW),
    case("through pooling", "l = MaxPool<kernel_shape = [2, 2]>(k) r = GlobalAveragePool(l)"),
    case("through Concat", "r = Concat<axis = 1>(x, k)", w=random(2, 9, 1, 1)),
    case("to two readers", "l = Relu(k) p = Conv(l, w) q = Conv(l, w, b)", end="y = Add(p, q)"),
    case("a bound that is computed", "i = ReduceMax<keepdims = 0>(x) r = Clip(k, i)", False),
    case(
        "a depthwise filter of zeros under a constant",
        "r = Conv<group = 6, pads = [1, 1, 1, 1]>(k, d, e)",
        d=pruned(6, 1, 3, 3, rows=(1, 4)),
        e=random(6),
    ),
    # 2
    case("padding at the end", "r = Relu(k)", False, f"y = Conv{SAME}(r, w, b)", w=random(2, 6, 3, 3), c=positive(6)),
    case(
        "padding at the end, the constant is 0",
        "r = Relu(k)",
        True,
        f"y = Conv{SAME}(r, w, b)",
        w=random(2, 6, 3, 3),
        c=-positive(6),
    ),
    case("padding of a depthwise convolution", "r = Conv<group = 6, pads = [1, 1, 1, 1]>(k, d, e)", False, **DW),
    case(
        "padding that a pooling counts",
        "r = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(k)",
        False,
    ),
    case("padding that a pooling does not count", "r = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(k)"),
    # 3
    case("nobody weighs a channel", "r = Relu(k)", v=random(6, 3, 3, 3), w=pruned(2, 6, 1, 1, columns=(0, 3))),
    case(
        "one of two weighs it",
        "l = Relu(k) p = Conv(l, w) q = Conv(l, u)",
        False,
        "y = Add(p, q)",
        v=random(6, 3, 3, 3),
        w=pruned(2, 6, 1, 1, columns=(0, 3)),
        u=random(2, 6, 1, 1),
    ),
    # left alone
    case("an output on the way", "r = Relu(k) z = Neg(k) o = ReduceMean(z) f = Conv(r, w, b)", False, "y = Add(f, o)"),
    Case(
        "a sum of two computed images",
        "(float[1,3,4,4] x) => (float[1,2,4,4] y) { " + CONV + " j = Sigmoid(k) r = Add(k, j) y = Conv(r, w, b) }",
        arrays=FOUND,
    ),
    case("twice in a Concat", "r = Concat<axis = 1>(k, k)", False, w=random(2, 12, 1, 1)),
    Case(
        "a pooling that tells where",
        "(float[1,3,4,4] x) => (float[1,2,2,2] y, int64[1,6,2,2] i) { "
        + CONV
        + " r, i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(k) y = Conv(r, w, b) }",
        arrays=FOUND,
    ),
    Case(
        "a branch of zeros with one value",
        "(float[1,3,4,4] x) => (float[1,3,4,4] y) { z = Conv(x, o, u) s = Add(x, z) y = Relu(s) }",
        arrays={"o": np.zeros((3, 3, 1, 1), np.float32), "u": np.array([0, 0, 1], np.float32)},
    ),
    Case(
        "a branch of zeros but for the last",
        "(float[1,3,4,4] x) => (float[1,3,4,4] y) { z = Conv(x, o) s = Add(x, z) y = Relu(s) }",
        arrays={"o": np.array([*[0] * 8, 1], np.float32).reshape(3, 3, 1, 1)},
    ),
    Case(
        "a branch of zeros of unknown sizes",
        "(float[1,3,?,?] x, float[1,3,?,?] z) => (float[1,3,?,?] y) { k = Conv(z, o) s = Add(x, k) y = Relu(s) }",
        declines="its shape is not known to be",
        arrays={"o": np.zeros((3, 3, 1, 1), np.float32)},
    ),
    Case(
        "one dimension",
        "(float[1,3,4] x) => (float[1,2,4] y) { k = Conv(x, v) y = Conv(k, w) }",
        arrays={"v": pruned(6, 3, 1, rows=(1, 4)), "w": random(2, 6, 1)},
    ),
    Case(
        "a sum with a computed operand of zeros",
        "(float[1,3,4,4] x, float[3,3,1,1] o) => (float[1,3,4,4] y) { z = Conv(x, o) s = Add(x, z) y = Relu(s) }",
    ),
    case("reached twice", "l = Relu(k) r = Concat<axis = 1>(l, k)", False, w=random(2, 12, 1, 1)),
    # 4
    Case(
        "a branch of zeros",
        "(float[1,3,4,4] x) => (float[1,3,4,4] y) { z = Conv(x, o) s = Add(x, z) y = Relu(s) }",
        "Relu",
        arrays={"o": np.zeros((3, 3, 1, 1), np.float32)},
        signs=False,
    ),
    Case(
        "a branch of zeros of another size",
        "(float[1,3,1,1] x, float[1,3,4,4] z) => (float[1,3,4,4] y) { k = Conv(z, o) s = Add(x, k) y = Relu(s) }",
        declines="its shape is not known to be",
        arrays={"o": np.zeros((3, 3, 1, 1), np.float32)},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(FuseDeadChannels(), case, place)


@perturbed(CASES)
def test_short_of_a_precondition(case: Case, how: Perturbation) -> None:
    check_perturbed(FuseDeadChannels(), case, how)


def test_readers_in_a_body() -> None:
    body = f"""{CONV} y = Conv(k, w, b)
        z = If (yes) <then_branch = t () => (float[1,2,4,4] p) {{ r = Relu(k) p = Conv(r, w) }},
                      else_branch = e () => (float[1,2,4,4] q) {{ q = Conv(k, w) }}>"""
    text = f"(float[1,3,4,4] x, bool yes) => (float[1,2,4,4] y, float[1,2,4,4] z) {{ {body} }}"
    before, after, result = run_pass(FuseDeadChannels(), build(text, FOUND))
    assert result.changed
    same(before, after, exact=False)


def test_an_output_of_a_body() -> None:
    body = f"""{CONV} y = Conv(k, w, b)
        z = If (yes) <then_branch = t () => (float[1,6,4,4] p) {{ p = Relu(k) }},
                      else_branch = e () => (float[1,6,4,4] q) {{ q = Neg(k) }}>"""
    text = f"(float[1,3,4,4] x, bool yes) => (float[1,2,4,4] y, float[1,6,4,4] z) {{ {body} }}"
    assert not run_pass(FuseDeadChannels(), build(text, FOUND))[2].changed


def _weights(model: Any) -> dict[str, tuple[int, ...]]:
    names = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return {node.output[0]: names[node.input[1]] for node in nodes_of(model) if node.op_type == "Conv"}


def test_the_channels_are_gone_from_both_sides() -> None:
    text = f"(float[1,3,4,4] x) => (float[1,2,4,4] y) {{ {CONV} r = Relu(k) y = Conv(r, w, b) }}"
    _, after, _ = run_pass(FuseDeadChannels(), build(text, FOUND))
    assert sorted(_weights(after).values()) == [(2, 4, 1, 1), (4, 3, 3, 3)]


def test_a_constant_of_0_needs_no_bias() -> None:
    text = f"(float[1,3,4,4] x) => (float[1,2,4,4] y) {{ {CONV} r = Relu(k) y = Conv(r, w) }}"
    _, after, result = run_pass(FuseDeadChannels(), build(text, {"v": V, "w": FOUND["w"], "c": -positive(6)}))
    assert result.changed
    assert [len(node.input) for node in after.graph.node] == [3, 1, 2]


def test_nothing_is_followed_where_no_weight_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"(float[1,3,4,4] x) => (float[1,2,4,4] y) {{ {CONV} r = Relu(k) y = Conv(r, w, b) }}"
    followed: list[Any] = []
    monkeypatch.setattr("roofwright.passes.fusion.dead_channels.region_of", lambda *start: followed.append(start))
    run_pass(FuseDeadChannels(), build(text, FOUND | {"v": random(6, 3, 3, 3)}))
    assert not followed


def test_a_layer_of_zeros_keeps_one_channel() -> None:
    text = "(float[1,3,4,4] x) => (float[1,2,4,4] y) { k = Conv(x, v, c) y = Conv(k, w, b) }"
    arrays = FOUND | {"v": np.zeros((6, 3, 1, 1), np.float32)}
    _, after, _ = run_pass(FuseDeadChannels(), build(text, arrays))
    assert sorted(_weights(after).values()) == [(1, 3, 1, 1), (2, 1, 1, 1)]


@pytest.mark.parametrize(
    "text",
    [
        "(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,6,4,4] k) { k = Conv(x, v, c) y = Conv(k, w, b) }",
        "(float[1,3,4,4] x, float[6,3,1,1] v) => (float[1,2,4,4] y) { k = Conv(x, v) y = Conv(k, w, b) }",
        "(float[1,3,4,4] x, float[2,6,1,1] w) => (float[1,2,4,4] y) { k = Conv(x, v, c) y = Conv(k, w) }",
        "(float[1,3,4,4] x, float[2,6,1,1] w) => (float[1,2,4,4] y) { k = Conv(x, u, c) y = Conv(k, w) }",
        "(float[1,6,4,4] x) => (float[1,2,4,4] y) { k = Conv<group = 2>(x, v, c) y = Conv(k, w, b) }",
        "(float[1,3,4,4] x) => (float[1,2,4,4] y) { k = Conv(x, v, c) y = Conv<group = 2>(k, h) }",
        "(float[1,3,4,4] x) => (float[1,6,4,4] y) { k = Conv(x, v, c) y = Softmax(k) }",
    ],
    ids=[
        "an output",
        "weight is an input",
        "last weight is an input",
        "no zeros",
        "groups",
        "groups at the end",
        "no end",
    ],
)
def test_left_alone(text: str) -> None:
    arrays = {"v": pruned(6, 3, 1, 1, rows=(1, 4)), "h": random(2, 3, 1, 1), "u": random(6, 3, 1, 1)} | {
        n: FOUND[n] for n in "cwb"
    }
    inputs = text.split("=>")[0]
    held = {name: value for name, value in arrays.items() if not inputs.endswith(f" {name}) ") and f" {name}" in text}
    assert not run_pass(FuseDeadChannels(), build(text, held))[2].changed


def test_images_without_channels_are_left_alone() -> None:
    text = "(float[1,0,4,4] x) => (float[1,2,4,4] y) { k = Conv(x, v, c) y = Conv(k, w, b) }"
    arrays = FOUND | {"v": np.zeros((6, 0, 1, 1), np.float32)}
    assert not run_pass(FuseDeadChannels(), build(text, arrays))[2].changed
