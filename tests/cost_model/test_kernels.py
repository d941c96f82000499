"""Kernels as work: which operands cross their border, under which name, and how large."""

from typing import Any

import numpy as np
import pytest

from roofwright.cost_model import KernelWork, Schedule
from roofwright.cost_model.kernels import gather, op_by_op, scheduled, storage_names, stored_outputs
from roofwright.cost_model.schedule import Kernel, NodeRef
from tests.scheduling import modelled

CHAIN = "g (float[1,4,6,6] x) => (float[1,8,6,6] y) { a = Conv(x, w)  b = Relu(a)  y = Add(b, a) }"
VIEWS = """g (float[1,4,6,6] x) => (float[8,36] y) {
    a = Conv(x, w)  b = Identity(a)  c = Reshape(b, shape)  d = Exp(c)  y = Neg(d) }"""
SHAPE = np.array([8, 36])


def schedule(*kernels: list[str]) -> Schedule:
    """Kernels of nodes by their output."""
    made = (
        Kernel(index=at, engine="unit", nodes=tuple(NodeRef(output=name, op="?") for name in names))
        for at, names in enumerate(kernels)
    )
    return Schedule(target="m", batch=1, kernels=tuple(made))


def names(kernels: list[KernelWork]) -> list[tuple[str, str]]:
    """(reads, writes) of every kernel."""
    return [(" ".join(o.name for o in k.reads), " ".join(o.name for o in k.writes)) for k in kernels]


def gathered(text: str, *kernels: list[str], **weights: Any) -> list[KernelWork]:
    """The kernels of a schedule, or op by op."""
    graph = modelled(text, **weights)
    partition = scheduled(graph.works, schedule(*kernels)) if kernels else op_by_op(graph.works)
    return gather(partition, graph.works, graph.outputs)


def test_op_by_op_every_node_is_a_kernel() -> None:
    assert names(gathered(CHAIN, w=(8, 4, 1, 1))) == [("x w", "a"), ("a", "b"), ("b a", "y")]


def test_a_fused_kernel_keeps_its_own_tensors() -> None:
    assert names(gathered(CHAIN, ["a", "b", "y"], w=(8, 4, 1, 1))) == [("x w", "y")]


def test_a_tensor_that_another_kernel_reads_leaves() -> None:
    assert names(gathered(CHAIN, ["a", "b"], ["y"], w=(8, 4, 1, 1))) == [("x w", "a b"), ("b a", "y")]


def test_views_are_other_names_of_the_same_bytes() -> None:
    kernels = gathered(VIEWS, w=(8, 4, 1, 1), shape=SHAPE)
    assert names(kernels) == [("x w", "a"), ("a", "d"), ("d", "y")]
    aliases = storage_names(modelled(VIEWS, w=(8, 4, 1, 1), shape=SHAPE).works)
    assert aliases == {"b": "a", "c": "a"}


def test_an_output_through_a_view_is_stored() -> None:
    text = "g (float[1,4,6,6] x) => (float[8,36] y) { a = Conv(x, w)  y = Reshape(a, shape) }"
    graph = modelled(text, w=(8, 4, 1, 1), shape=SHAPE)
    assert stored_outputs(graph.works, graph.outputs) == {"a"}
    (kernel,) = gather(op_by_op(graph.works), graph.works, graph.outputs)
    assert [o.name for o in kernel.writes] == ["a"]


def test_a_storage_read_twice_counts_once_at_its_largest() -> None:
    text = "g (float[2,9] x) => (float[2,9] y) { a = Slice(x, s, e)  b = Exp(x)  y = Add(b, a) }"
    graph = modelled(text, s=np.array([0, 0]), e=np.array([1, 9]))
    (kernel,) = gather(scheduled(graph.works, schedule(["a", "b", "y"])), graph.works, graph.outputs)
    assert [(o.name, o.elements) for o in kernel.reads if o.name == "x"] == [("x", 18)]


def test_nodes_that_a_schedule_does_not_name_run_alone_after_those_before_them() -> None:
    assert names(gathered(CHAIN, ["a"], w=(8, 4, 1, 1))) == [("x w", "a"), ("a", "b"), ("b a", "y")]
    assert names(gathered(CHAIN, ["a", "y"], w=(8, 4, 1, 1)))[0][1] == "a y"


def test_the_anchors_operands_carry_their_storages_names() -> None:
    text = """g (float[1,4,36] x) => (float[1,8,6,6] y) {
        v = Reshape(x, shape)  y = Conv(v, w) }"""
    (kernel,) = gathered(text, w=(8, 4, 1, 1), shape=np.array([1, 4, 6, 6]))
    assert [o.name for o in kernel.nest_operands] == ["x", "w", "y"]
    assert gathered("g (float[3] x) => (float[3] y) { y = Exp(x) }")[0].nest_operands == ()


@pytest.mark.parametrize("trips", [1, 3])
def test_a_loop_body_counts_its_trips(trips: int) -> None:
    text = """g (float[2,3] x, bool keep) => (float[2,3] y) {
        y = Loop (trips, keep, x) <body = b (int64 i, bool go, float[2,3] s) => (bool on, float[2,3] t) {
            on = Identity(go)  t = Exp(s) }> }"""
    (kernel,) = gathered(text, trips=np.array(trips))
    assert {o.elements for o in (*kernel.reads, *kernel.writes)} == {6 * trips}
