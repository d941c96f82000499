"""Strips are executable: every halo mode gives the outputs of the graph in buffers of the declared size."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

from roofwright.cost_model import Costing, GraphModel, Kernel, NodeRef, Schedule, ScheduleError, from_json, to_json
from roofwright.graph import read, run_model
from roofwright.passes.scheduling.buffers import with_buffers
from roofwright.passes.scheduling.tiles import tiled
from roofwright.targets import Target
from tests.builders import feeds, model
from tests.machine.machine import Machine, Outcome
from tests.machine.models import MODELS
from tests.machine.targets import TARGETS


def stated(
    proto: onnx.ModelProto, target: Target, groups: Sequence[int], lags: Sequence[int] = (), **cut: Any
) -> tuple[Costing, Schedule]:
    """All nodes in kernels of so many nodes each; those of more than one run in strips, the first ones with `lags`.

    Nodes of odd lag run on the target's second engine.
    """
    graph = GraphModel.of(read(proto))
    works = [work for work in graph.works if work.work.kind != "view"]
    starts = np.cumsum([0, *groups]).tolist()
    kernels = []
    for index, (start, size) in enumerate(zip(starts, groups, strict=False)):
        behind = (*(lags if index == 0 else ()), *[0] * size)
        nodes = tuple(
            NodeRef(output=w.key, op=w.op, lag=lag, engine=target.engines[1].name if lag % 2 else "")
            for w, lag in zip(works[start : start + size], behind, strict=False)
        )
        kernels.append(Kernel(index=index, nodes=nodes, engine=target.engines[0].name, **(cut if size > 1 else {})))
    assert starts[-1] == len(works)
    schedule = Schedule(target=target.name, batch=graph.batch, kernels=tuple(kernels))
    costing = Costing.of(graph, target, schedule)
    made, homeless = with_buffers(tiled(schedule, costing), costing, [])
    assert not homeless
    return costing, from_json(to_json(made))


def check(proto: onnx.ModelProto, target: Target, schedule: Schedule) -> tuple[Costing, Outcome]:
    """Run it, and hold outputs, bytes and tiles against onnxruntime and the estimate."""
    machine = Machine(read(proto), target, schedule)
    outcome, costing = machine.run(feeds(proto)), machine.costing
    for output, value in run_model(proto, feeds(proto)).items():
        np.testing.assert_allclose(outcome.outputs[output], value, atol=1e-4, rtol=1e-4)
    assert outcome.peak_bytes <= costing.estimate().on_chip_bytes
    for at, ran in enumerate(outcome.kernels):
        if at in costing.strips:
            moved = costing.moved
            found = (ran.tiles, ran.weight_bytes, ran.input_bytes, ran.output_bytes)
            assert found == (
                costing.cut.tiles[at],
                moved.weight_bytes[at],
                moved.input_bytes[at],
                moved.output_bytes[at],
            )
    return costing, outcome


CUTS: dict[str, dict[str, Any]] = {
    "rows of one": {"strip_rows": 1, "halo": "both"},
    "rows of three": {"strip_rows": 3, "halo": "both"},
    "tiles, nothing twice": {"strip_rows": 2, "strip_columns": 3, "halo": "both"},
    "columns of strips": {"strip_rows": 2, "strip_columns": 4, "halo": "rows"},
    "recompute": {"strip_rows": 3, "strip_columns": 5, "halo": "recompute"},
    "recompute rows": {"strip_rows": 4, "halo": "recompute"},
    "all at once": {"strip_rows": 64, "halo": "both"},
}
GROUPS = {
    "residual_block": [5],
    "inception": [7],
    "odd_convolutions": [5],
    "dilated_depthwise": [2],
    "pooling": [4, 1, 1, 1],
    "wide_layers": [4],
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", GROUPS)
def test_strips_give_the_outputs_of_the_graph(name: str, cut: str) -> None:
    proto, target = MODELS[name](), TARGETS["array-1m"]
    check(proto, target, stated(proto, target, GROUPS[name], **CUTS[cut])[1])


TOKENS = """agraph (float[2,3,20,8] q, float[2,3,8,24] k, float[2,3,24,8] v, float[2,1,20,24] m)
    => (float[2,3,20,8] y) {
    s = MatMul (q, k)
    d = Mul (s, f)
    n = Add (d, m)
    p = Softmax (n)
    y = MatMul (p, v) }"""
MLP = """agraph (float[1,30,16] x) => (float[1,30,16] y) {
    n = LayerNormalization (x, g, h)
    a = MatMul (n, w0)
    b = Add (a, b0)
    r = Relu (b)
    c = MatMul (r, w1)
    y = Add (c, x) }"""
CHANNELS = """agraph (float[2,6,9,8] x) => (float[2,10,9,8] y, float[2,4,9,8] z) {
    a, b = Split <axis = 1> (x)
    c = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (a, w0)
    z = AveragePool <kernel_shape = [3,3], pads = [1,1,1,1]> (c)
    e = Conv <kernel_shape = [1,5], pads = [0,2,0,2]> (b, w1)
    y = Concat <axis = 1> (z, e) }"""
OTHERS = {
    "attention": model(TOKENS, f=np.asarray([0.3], np.float32)),
    "mlp": model(MLP, g=(16,), h=(16,), w0=(16, 40), b0=(40,), w1=(40, 16)),
    "channels": model(CHANNELS, w0=(4, 3, 3, 3), w1=(6, 3, 1, 5)),
}


@pytest.mark.parametrize("rows", [1, 4, 7])
@pytest.mark.parametrize("name", OTHERS)
def test_attention_products_and_branches_run_in_strips(name: str, rows: int) -> None:
    proto, target = OTHERS[name], TARGETS["array-1m"]
    size = len(proto.graph.node)
    check(proto, target, stated(proto, target, [size], strip_rows=rows, halo="both")[1])


def test_attention_holds_the_keys_of_two_heads_and_few_scores() -> None:
    proto, target = OTHERS["attention"], TARGETS["array-1m"]
    costing, _ = stated(proto, target, [5], strip_rows=4, halo="both")
    sizes = {b.tensor: b.bytes * b.copies for b in costing.strips[0].buffers}
    assert sizes["k"] == 2 * 8 * 24 * 4
    assert sizes["s"] == 4 * 24 * 4
    assert costing.moved.total_bytes[0] == 4 * (2 * 2 * 3 * 20 * 8 + 2 * 2 * 3 * 8 * 24 + 2 * 20 * 24 + 1)


@pytest.mark.parametrize("streamed", [("w0",), ("w0", "w1")])
def test_constants_can_be_loaded_with_every_strip(streamed: tuple[str, ...]) -> None:
    proto, target = MODELS["wide_layers"](), TARGETS["array-1m"]
    cut: dict[str, Any] = {"strip_rows": 3, "halo": "both", "streamed": streamed}
    costing, outcome = check(proto, target, stated(proto, target, [4], **cut)[1])
    again = 96 * 96 * 9 * 4 * len(streamed)
    assert (
        costing.moved.weight_bytes[0] == again * costing.cut.tiles[0] + 96 * 96 * 9 * 4 * (2 - len(streamed)) + 96 * 4
    )
    assert outcome.peak_bytes < 96 * 96 * 9 * 4 * 2


def test_constants_stream_past_a_memory_that_may_not_hold_them() -> None:
    proto, target = MODELS["residual_block"](), TARGETS["streamed-weights-96k"]
    check(proto, target, stated(proto, target, [5], strip_rows=2, halo="both")[1])


@pytest.mark.parametrize("tensor", ["x", "b", "c", "y"])
def test_a_line_buffer_that_is_too_small_is_noticed(tensor: str) -> None:
    proto, target = MODELS["residual_block"](), TARGETS["array-1m"]
    _, schedule = stated(proto, target, [5], strip_rows=2, halo="both")
    kernel = schedule.kernels[0]
    smaller = tuple(replace(b, bytes=b.bytes - 4) if b.tensor == tensor else b for b in kernel.buffers)
    with pytest.raises(AssertionError, match="too many in its buffer"):
        check(proto, target, replace(schedule, kernels=(replace(kernel, buffers=smaller),)))


def test_a_kernel_that_cannot_run_in_strips_says_so() -> None:
    proto, target = MODELS["pooling"](), TARGETS["array-1m"]
    with pytest.raises(ScheduleError, match=r"kernel 0 \(a\): its nodes cannot run in strips"):
        stated(proto, target, [7], strip_rows=2, halo="both")
