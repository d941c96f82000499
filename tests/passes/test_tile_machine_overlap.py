"""Engines that overlap inside a kernel: nodes that work on different strips in one step give the graph's outputs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model import Costing, GraphModel, NodeRef, ScheduleError, from_json, to_json
from roofwright.cost_model.overlap import makespan
from roofwright.graph import read
from roofwright.graph.zoo.mobilenets import mobilenet_v1
from roofwright.passes import Options, optimize_graph
from roofwright.targets import Target, load_target
from tests.builders import model
from tests.machine.models import MODELS
from tests.machine.targets import TARGETS
from tests.passes.test_tile_machine_strips import CUTS, OTHERS, check, stated

SEPARABLE = """agraph (float[2,6,17,9] x) => (float[2,6,9,5] y, float[2,12,17,9] b) {
    a = Conv <kernel_shape = [1,1]> (x, w0)
    b = Relu (a)
    c = Conv <kernel_shape = [3,3], pads = [1,1,1,1], strides = [2,2], group = 12> (b, w1)
    d = Relu (c)
    y = Conv <kernel_shape = [1,1]> (d, w2) }"""
PROTOS = {
    "residual_block": MODELS["residual_block"](),
    "separable": model(SEPARABLE, w0=(12, 6, 1, 1), w1=(12, 1, 3, 3), w2=(6, 12, 1, 1)),
    "odd_convolutions": MODELS["odd_convolutions"](),
    "inception": MODELS["inception"](),
}
LAGS: dict[str, list[Sequence[int]]] = {
    "residual_block": [(0, 0, 1, 1, 1), (0, 0, 2, 2, 2), (0, 1, 2, 3, 4)],
    "separable": [(0, 0, 1, 1, 2), (0, 0, 1, 1, 1), (0, 0, 3, 3, 4)],
    "odd_convolutions": [(0, 1, 2, 3, 4)],
    "inception": [(0, 0, 0, 0, 0, 1, 2), (2, 2, 2, 2, 2, 2, 3)],
}
CASES = [(name, lags) for name, found in LAGS.items() for lags in found]


def two_engines() -> Target:
    """An array and a second one beside it that does the same work."""
    target = TARGETS["array-1m"]
    first = target.engines[0]
    return replace(target, engines=(first, replace(first, name="beside")))


@pytest.mark.parametrize("cut", ["rows of three", "tiles, nothing twice", "columns of strips", "recompute rows"])
@pytest.mark.parametrize(("name", "lags"), CASES)
def test_overlapped_strips_give_the_outputs_of_the_graph(name: str, lags: Sequence[int], cut: str) -> None:
    proto, target = PROTOS[name], two_engines()
    size = len(lags)
    check(proto, target, stated(proto, target, [size], lags, **CUTS[cut])[1])


@pytest.mark.parametrize("tensor", ["b", "d"])
def test_a_buffer_without_the_rows_that_the_overlap_needs_is_noticed(tensor: str) -> None:
    proto, target = PROTOS["separable"], two_engines()
    costing, schedule = stated(proto, target, [5], (0, 0, 1, 1, 2), strip_rows=2, halo="both")
    in_turns = stated(proto, target, [5], strip_rows=2, halo="both")[0]
    size, less = ({b.tensor: b.bytes for b in c.strips[0].buffers} for c in (costing, in_turns))
    assert size[tensor] > less[tensor] or tensor == "b"  # what leaves has room for a strip more in turns too
    kernel = schedule.kernels[0]
    smaller = tuple(replace(b, bytes=b.bytes - 4) if b.tensor == tensor else b for b in kernel.buffers)
    with pytest.raises(AssertionError, match="too many in its buffer"):
        check(proto, target, replace(schedule, kernels=(replace(kernel, buffers=smaller),)))


@pytest.mark.parametrize(
    ("lags", "engines", "said"),
    [
        ((0, 0, 1, 1, 0), (0, 0, 1, 1, 0), "a node runs ahead of what it reads"),
        ((0, 0, 1, 1, 1), (0, 0, 1, 1, 0), "m waits for beside within a step"),
    ],
)
def test_lags_that_cannot_be_say_so(lags: Sequence[int], engines: Sequence[int], said: str) -> None:
    target = two_engines()
    names = [engine.name for engine in target.engines]
    _, schedule = stated(PROTOS["separable"], target, [5], strip_rows=2, halo="both")
    kernel = replace(schedule.kernels[0], buffers=())
    graph = GraphModel.of(read(PROTOS["separable"]))
    asked = zip(kernel.nodes, lags, engines, strict=True)
    nodes = tuple(replace(node, lag=lag, engine=names[at]) for node, lag, at in asked)
    made = replace(schedule, kernels=(replace(kernel, nodes=nodes),))
    with pytest.raises(ScheduleError, match=said.replace("m waits", f"{names[0]} waits")):
        Costing.of(graph, target, made)


def test_lags_need_strips_and_attention_cannot_have_them() -> None:
    target = two_engines()
    with pytest.raises(ScheduleError, match="lag -1 is negative"):
        NodeRef(output="a", op="Relu", lag=-1)
    with pytest.raises(ScheduleError, match="lags need strips that stay"):
        stated(PROTOS["separable"], target, [5], (0, 0, 1, 1, 2))
    with pytest.raises(ScheduleError, match="hold an operand whole cannot lag"):
        stated(OTHERS["attention"], target, [5], (0, 0, 1, 1, 1), strip_rows=4, halo="both")


SECONDS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.lists(st.floats(0, 9), min_size=4, max_size=4)), min_size=1
)


@given(SECONDS)
def test_steps_are_between_the_busiest_engine_and_turns_and_never_gain_from_more_work(nodes: list[Any]) -> None:
    lags = [lag for _, lag, _ in nodes]
    table = np.zeros((3, len(nodes), 4))
    for at, (engine, _, strips) in enumerate(nodes):
        table[engine, at] = strips
    found = makespan(table, lags)
    assert table.sum(axis=(1, 2)).max() <= found * (1 + 1e-9)
    assert found <= table.sum() * (1 + 1e-9)
    assert makespan(table[:1], lags) == pytest.approx(table[0].sum())
    longer = table.copy()
    longer[0, 0, 2] += 1
    assert makespan(longer, lags) >= found


def test_balanced_engines_overlap_but_for_the_first_and_the_last_strip() -> None:
    table = np.zeros((2, 3, 8))
    table[0, 0], table[1, 1], table[0, 2] = 1.0, 2.0, 1.0
    assert makespan(table, [0, 1, 2]) == 1 + 7 * 2 + 2 + 1
    assert makespan(table, [0, 0, 0]) == 8 * 2  # one step each: for nodes that do not wait


@pytest.mark.parametrize("batch", [1, 2])
def test_a_separable_network_overlaps_on_an_array_beside_a_vector_unit(batch: int) -> None:
    target = load_target("tpuv2")
    graph, report = optimize_graph(read(mobilenet_v1(size=128)), target, Options(check=False, batch=batch))
    schedule = report.schedule
    assert schedule is not None
    found = [kernel for kernel in schedule.kernels if any(node.lag for node in kernel.nodes)]
    assert found
    alone = tuple(replace(k, nodes=tuple(replace(node, lag=0) for node in k.nodes)) for k in schedule.kernels)
    priced, in_turns = (
        Costing.of(GraphModel.of(graph), target, replace(schedule, kernels=kernels)).prices
        for kernels in (schedule.kernels, alone)
    )
    assert report.after.device_s >= report.after.bound_s
    assert from_json(to_json(schedule)) == schedule
    for kernel in found:
        assert priced.busy_s[kernel.index] < in_turns.busy_s[kernel.index]
        assert {node.engine or kernel.engine for node in kernel.nodes} == {"mxu", "vpu"}
