"""Which nodes join: epilogues, chains, and everything that must stop them."""

from typing import Any

import numpy as np
import pytest

from roofwright.cost_model import GraphModel
from roofwright.graph import read
from roofwright.passes.scheduling.grouping import MAX_NODES, Grouper
from tests.builders import model
from tests.scheduling import ALL_EPILOGUES

CONV: dict[str, Any] = {"w": (8, 4, 1, 1)}
BIAS = np.ones((8, 1, 1), np.float32)


def groups(text: str, fuses: tuple[str, ...] = ALL_EPILOGUES, **weights: Any) -> list[str]:
    """Operators of every kernel, in order, one string each."""
    graph = GraphModel.of(read(model(text, **weights)))
    found = Grouper(graph.works, tuple(graph.outputs), fuses).groups()
    return [" ".join(work.op for work in nodes) for nodes in found]


def test_a_convolution_takes_bias_and_activation() -> None:
    text = "g (float[1,4,6,6] x) => (float[1,8,6,6] y) { a = Conv(x, w)  b = Add(a, bias)  y = Relu(b) }"
    assert groups(text, bias=BIAS, **CONV) == ["Conv Add Relu"]


@pytest.mark.parametrize(
    ("fuses", "expected"),
    [
        (("bias", "activation"), ["Conv Add Relu"]),
        (("bias",), ["Conv Add", "Relu"]),
        (("activation",), ["Conv", "Add", "Relu"]),
        ((), ["Conv", "Add", "Relu"]),
        (("elementwise",), ["Conv", "Add Relu"]),
    ],
)
def test_the_stack_says_what_fuses(fuses: tuple[str, ...], expected: list[str]) -> None:
    text = "g (float[1,4,6,6] x) => (float[1,8,6,6] y) { a = Conv(x, w)  b = Add(a, bias)  y = Relu(b) }"
    assert groups(text, fuses, bias=BIAS, **CONV) == expected


def test_a_residual_joins_the_convolution_that_comes_last() -> None:
    text = """g (float[1,8,6,6] x) => (float[1,8,6,6] y) {
        a = Conv(x, v)  b = Conv(x, w)  c = Add(a, b)  y = Relu(c) }"""
    assert groups(text, v=(8, 8, 1, 1), w=(8, 8, 1, 1)) == ["Conv", "Conv Add Relu"]


def test_a_residual_needs_the_stacks_leave() -> None:
    text = "g (float[1,8,6,6] x) => (float[1,8,6,6] y) { a = Conv(x, w)  y = Add(a, x) }"
    assert groups(text, ("bias", "activation"), w=(8, 8, 1, 1)) == ["Conv", "Add"]
    assert groups(text, ("residual",), w=(8, 8, 1, 1)) == ["Conv Add"]


def test_silu_closes_its_diamond() -> None:
    text = "g (float[1,4,6,6] x) => (float[1,8,6,6] y) { a = Conv(x, w)  s = Sigmoid(a)  y = Mul(a, s) }"
    assert groups(text, **CONV) == ["Conv Sigmoid Mul"]


def test_a_diamond_that_stays_open_is_left_out() -> None:
    text = """g (float[1,4,6,6] x) => (float[1,8,6,6] y, float[1,8,6,6] s) {
        a = Conv(x, w)  s = Sigmoid(a)  y = Mul(a, s) }"""
    assert groups(text, **CONV) == ["Conv", "Sigmoid", "Mul"]


@pytest.mark.parametrize("uses", ["y = Relu(a)  z = Neg(a)", "y = Relu(a)  z = Identity(a)"])
def test_two_readers_stop_an_epilogue(uses: str) -> None:
    text = f"g (float[1,4,6,6] x) => (float[1,8,6,6] y, float[1,8,6,6] z) {{ a = Conv(x, w)  {uses} }}"
    assert groups(text, **CONV)[0] == "Conv"


def test_a_graph_output_stops_an_epilogue() -> None:
    text = "g (float[1,4,6,6] x) => (float[1,8,6,6] a, float[1,8,6,6] y) { a = Conv(x, w)  y = Relu(a) }"
    assert groups(text, **CONV) == ["Conv", "Relu"]


def test_a_view_between_stops_an_epilogue() -> None:
    text = """g (float[1,4,6,6] x) => (float[8,36] y) {
        a = Conv(x, w)  shape = Constant<value_ints=[8,36]>()  b = Reshape(a, shape)  y = Relu(b) }"""
    assert groups(text, **CONV) == ["Conv", "Relu"]


def test_what_broadcasts_the_result_up_does_not_join() -> None:
    text = "g (float[1,4,6,6] x, float[3,8,6,6] r) => (float[3,8,6,6] y) { a = Conv(x, w)  y = Add(a, r) }"
    assert groups(text, **CONV) == ["Conv", "Add"]


def test_an_operand_made_later_stops_the_residual() -> None:
    # The Add reads `late`, which is made after the convolution: it cannot run in the convolution's kernel.
    text = """g (float[1,4,6,6] x) => (float[1,8,6,6] y) {
        a = Conv(x, w)  p = MaxPool<kernel_shape=[1,1]>(x)  late = Conv(p, v)  y = Add(a, late) }"""
    assert groups(text, v=(8, 4, 1, 1), **CONV) == ["Conv", "MaxPool", "Conv Add"]


def test_a_chain_of_elementwise_nodes_is_one_kernel() -> None:
    text = "g (float[2,9] x) => (float[2,9] y) { a = Exp(x)  b = Neg(a)  y = Abs(b) }"
    assert groups(text) == ["Exp Neg Abs"]
    assert groups(text, ("bias", "activation")) == ["Exp", "Neg", "Abs"]


def test_a_reduction_ends_a_chain() -> None:
    text = "g (float[2,9] x) => (float[2,1] y) { a = Exp(x)  b = ReduceSum<keepdims=1>(a, axes)  y = Log(b) }"
    assert groups(text, axes=np.array([1])) == ["Exp", "ReduceSum", "Log"]


def test_a_long_chain_is_cut() -> None:
    steps = "  ".join(f"t{i + 1} = Neg(t{i})" for i in range(MAX_NODES + 5))
    text = f"g (float[4] t0) => (float[4] t{MAX_NODES + 5}) {{ {steps} }}"
    assert [len(kernel.split()) for kernel in groups(text)] == [MAX_NODES, 5]


def test_every_node_runs_once_and_after_what_it_reads() -> None:
    text = """g (float[1,8,6,6] x) => (float[1,8,6,6] y, float[1,8,6,6] z) {
        a = Conv(x, v)  b = Relu(a)  c = Conv(b, w)  d = Add(c, x)  e = Sigmoid(d)  y = Mul(d, e)  z = Add(b, y) }"""
    graph = GraphModel.of(read(model(text, v=(8, 8, 1, 1), w=(8, 8, 1, 1))))
    found = Grouper(graph.works, tuple(graph.outputs), ALL_EPILOGUES).groups()
    place = {work.key: at for at, nodes in enumerate(found) for work in nodes}
    assert len(place) == sum(len(nodes) for nodes in found) == 7
    for at, nodes in enumerate(found):
        made = {tensor.name for work in nodes for tensor in work.node.outputs}
        read_here = {tensor.name for work in nodes for tensor in work.node.inputs} - made
        assert all(place[name] < at for name in read_here if name in place)


def test_nodes_of_a_loop_body_stay_alone() -> None:
    text = """g (float[2,3] x, bool keep) => (float[2,3] y) {
        y = Loop (trips, keep, x) <body = b (int64 i, bool go, float[2,3] s) => (bool on, float[2,3] t) {
            on = Identity(go)  u = Exp(s)  t = Neg(u) }> }"""
    assert groups(text, trips=np.array(3)) == ["Exp", "Neg"]  # run three times: never in one kernel


def test_two_bodies_do_not_mix() -> None:
    text = """g (bool c, float[2,3] x) => (float[2,3] y) {
        a = Exp(x)
        y = If (c) <then_branch = t () => (float[2,3] p) { p = Neg(a) },
                    else_branch = e () => (float[2,3] q) { q = Abs(a) }> }"""
    assert groups(text)[0] == "Exp"
