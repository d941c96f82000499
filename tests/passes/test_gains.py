from dataclasses import replace

import pytest

from roofwright.graph import read
from roofwright.passes.base import Context, Decline
from roofwright.passes.gains import Step, fuses_activations, gain, seconds
from roofwright.targets import load_target
from tests.passes.harness import build, random

IMAGE, WIDE = (1, 24, 56, 56), (1, 48, 56, 56)
RELU = Step("Relu", (IMAGE,), (IMAGE,))
CONV = Step("Conv", (IMAGE,), (IMAGE,), ((24, 24, 1, 1),))
CONCAT = Step("Concat", (IMAGE, IMAGE), (WIDE,)).having(axis=1)


def context(target: str = "haswell_e5_2699v3") -> Context:
    return Context(target=load_target(target))


def test_a_step_says_what_a_node_costs() -> None:
    graph = read(
        build(
            "(float[N,24,56,S] x) => (float[N,24,P,Q] y) { y = Conv<strides = [2, 2]>(x, w) }",
            {"w": random(24, 24, 1, 1)},
        )
    )
    step = Step.of(graph.nodes[0], Context(dims={"S": 56}))
    assert (step.op, step.inputs, step.weights) == ("Conv", ((1, 24, 56, 56),), ((24, 24, 1, 1),))
    assert (dict(step.attrs), step.dtype) == ({"strides": (2, 2)}, "float32")


def test_prices_add_up_and_are_remembered() -> None:
    ctx = context()
    one = seconds([CONV], ctx)
    assert one > 0
    assert seconds([CONV, RELU, CONV], ctx) == pytest.approx(2 * one + seconds([RELU], ctx))
    assert set(ctx.prices) == {CONV, RELU}
    ctx.prices[CONV] = 1.0
    assert seconds([CONV], ctx) == 1.0


def test_fewer_nodes_are_a_gain_and_the_same_ones_are_not() -> None:
    ctx = context()
    assert gain([CONV, RELU], [CONV], ctx) > 0
    assert gain([CONV, RELU], [RELU, CONV], ctx) < 0


def test_a_concat_of_parts_of_blocks_pays_for_leaving_the_layout() -> None:
    ctx, plain = context(), context("cortex_a76")
    blocks = Step("Concat", ((1, 32, 56, 56), (1, 16, 56, 56)), (WIDE,)).having(axis=1)
    odd = Step("Concat", ((1, 27, 56, 56), (1, 21, 56, 56)), (WIDE,)).having(axis=1)
    assert seconds([odd], ctx) > 1.05 * seconds([blocks], ctx)
    assert seconds([odd], plain) == pytest.approx(seconds([blocks], plain))
    assert seconds([odd.having(axis=2)], ctx) == pytest.approx(seconds([blocks.having(axis=2)], ctx))
    assert seconds([RELU.having(axis=1)], ctx) == pytest.approx(seconds([RELU], ctx))
    halves = [replace(step, dtype="float16") for step in (odd, blocks)]
    assert seconds(halves[:1], ctx) == pytest.approx(seconds(halves[1:], ctx))
    rows = [
        Step("Concat", ((1, size, 3136), (1, 48 - size, 3136)), ((1, 48, 3136),)).having(axis=1) for size in (27, 32)
    ]
    assert seconds(rows[:1], ctx) == pytest.approx(seconds(rows[1:], ctx))


def test_activations_are_free_where_the_stack_fuses_them() -> None:
    fusing = load_target("v100")
    plain = replace(fusing, stack=replace(fusing.stack, fuses=()))
    assert [fuses_activations(Context(target=target)) for target in (fusing, plain, None)] == [True, False, False]


def test_without_a_target_there_is_no_price() -> None:
    with pytest.raises(Decline, match="none is given"):
        gain([CONV], [RELU], Context())


def test_an_operator_without_a_price_declines() -> None:
    with pytest.raises(Decline, match="NonMaxSuppression has no price on"):
        seconds([Step("NonMaxSuppression", ((1, 4, 4), (1, 1, 4)), ((4, 3),))], context())


def test_an_unknown_rank_declines() -> None:
    graph = read(build("(float[2,3] x) => (float[2,3] y) { y = Relu(x) }"))
    graph.nodes[0].inputs[0].shape = None
    with pytest.raises(Decline, match="not known"):
        Step.of(graph.nodes[0], Context())
