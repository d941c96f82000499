"""Kernels in groups of channels are executable: all kinds give the graph's outputs, in buffers of the declared size."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

from roofwright.cost_model import Costing, GraphModel, Kernel, NodeRef, Schedule, ScheduleError, from_json, to_json
from roofwright.graph import read, run_model
from roofwright.passes.scheduling.buffers import with_buffers
from roofwright.passes.scheduling.tiles import tiled
from roofwright.targets import Engine, Systolic, Target
from tests.builders import feeds, model
from tests.machine.machine import Machine, Outcome
from tests.machine.targets import KIB, TARGETS


def accumulating(kib: int) -> Target:
    """An array that adds in accumulators of its own; weights stream past the scratchpad."""
    target = TARGETS["streamed-weights-96k"]
    engine = target.engines[0]
    assert isinstance(engine.geometry, Systolic)
    geometry = replace(engine.geometry, accumulator_bytes=kib * KIB)
    return replace(target, engines=(replace(engine, geometry=geometry),))


def beside() -> Target:
    """An array, and a second one beside it that does the same work."""
    target = TARGETS["array-1m"]
    first: Engine = target.engines[0]
    return replace(target, engines=(first, replace(first, name="beside")))


MACHINES = {"array": beside(), "streamed": TARGETS["streamed-weights-96k"], "accumulators": accumulating(64)}
TEXTS: Mapping[str, tuple[str, Mapping[str, tuple[int, ...]]]] = {
    "inverted_residual": (
        """agraph (float[N,6,9,7] x) => (float[N,6,9,7] y) {
    a = Conv <kernel_shape = [1,1]> (x, w0, b0)
    b = Relu (a)
    c = Conv <kernel_shape = [3,3], pads = [1,1,1,1], group = 20> (b, w1, b1)
    d = HardSwish (c)
    e = Conv <kernel_shape = [1,1]> (d, w2, b2)
    y = Add (e, x) }""",
        {"w0": (20, 6, 1, 1), "b0": (20,), "w1": (20, 1, 3, 3), "b1": (20,), "w2": (6, 20, 1, 1), "b2": (6,)},
    ),
    "pointwise_then_depthwise": (
        """agraph (float[N,6,9,7] x) => (float[N,14,5,4] y) {
    a = Conv <kernel_shape = [1,1]> (x, w0)
    b = Relu (a)
    c = Conv <kernel_shape = [3,3], pads = [1,1,1,1], strides = [2,2], group = 14> (b, w1, b1)
    y = Mul (c, s) }""",
        {"w0": (14, 6, 1, 1), "w1": (14, 1, 3, 3), "b1": (14,), "s": (1, 14, 1, 1)},
    ),
    "depthwise_then_pointwise": (
        """agraph (float[N,14,9,7] x, float[N,14,1,1] g) => (float[N,5,9,7] y) {
    a = Conv <kernel_shape = [5,5], pads = [2,2,2,2], group = 14> (x, w0)
    b = Mul (a, g)
    c = Conv <kernel_shape = [1,1]> (b, w1)
    y = Relu (c) }""",
        {"w0": (14, 1, 5, 5), "w1": (5, 14, 1, 1)},
    ),
    "residual_block": (
        """agraph (float[N,6,8,8] x) => (float[N,6,8,8] y) {
    a = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (x, w0, b0)
    b = Relu (a)
    c = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (b, w1, b1)
    d = Add (x, c)
    y = Relu (d) }""",
        {"w0": (11, 6, 3, 3), "b0": (11,), "w1": (6, 11, 3, 3), "b1": (6,)},
    ),
    "squeeze": (
        """agraph (float[N,6,8,8] x) => (float[N,14,8,8] b, float[N,4,1,1] y) {
    a = Conv <kernel_shape = [1,1]> (x, w0)
    p = MaxPool <kernel_shape = [2,2], pads = [0,0,1,1]> (a)
    q = Conv <kernel_shape = [3,3], pads = [1,1,1,1], group = 14> (p, w1)
    b = Relu (q)
    g = GlobalAveragePool (b)
    r = Conv <kernel_shape = [1,1]> (g, w2, b2)
    y = Relu (r) }""",
        {"w0": (14, 6, 1, 1), "w1": (14, 1, 3, 3), "w2": (4, 14, 1, 1), "b2": (4,)},
    ),
    "mlp": (
        """agraph (float[N,5,8] x) => (float[N,5,8] y) {
    a = MatMul (x, w0)
    b = Add (a, b0)
    c = Div (b, r)
    d = Erf (c)
    e = Add (d, one)
    f = Mul (b, e)
    g = MatMul (f, w1)
    h = Add (g, b1)
    y = Add (h, x) }""",
        {"w0": (8, 21), "b0": (21,), "r": (1,), "one": (1,), "w1": (21, 8), "b1": (8,)},
    ),
    "gemms": (
        """agraph (float[N,12] x) => (float[N,7] y) {
    a = Gemm <transB = 1> (x, w0, b0)
    c = Relu (a)
    y = Gemm <alpha = 0.5> (c, w1, b1) }""",
        {"w0": (10, 12), "b0": (10,), "w1": (10, 7), "b1": (7,)},
    ),
    "classifier": (
        """agraph (float[N,6,4,4] x) => (float[N,7] y) {
    a = Conv <kernel_shape = [1,1]> (x, w0)
    b = Clip (a, low, high)
    p = ReduceMean <axes = [2,3], keepdims = 0> (b)
    y = Gemm <transB = 1> (p, w1, b1) }""",
        {"w0": (14, 6, 1, 1), "low": (), "high": (), "w1": (7, 14), "b1": (7,)},
    ),
    "grouped": (
        """agraph (float[N,6,5,5] x) => (float[N,6,5,5] y) {
    a = Conv <kernel_shape = [1,1]> (x, w0)
    b = Conv <kernel_shape = [3,3], pads = [1,1,1,1], group = 6> (a, w1, b1)
    c = Conv <kernel_shape = [1,1]> (b, w2)
    y = Add (x, c) }""",
        {"w0": (12, 6, 1, 1), "w1": (18, 2, 3, 3), "b1": (18,), "w2": (6, 18, 1, 1)},
    ),
    "heads": (
        """agraph (float[N,5,7,4] q, float[N,5,4,6] k, float[N,5,6,3] v, float[N,1,1,6] m) => (float[N,5,7,3] y) {
    a = MatMul (q, k)
    b = Mul (a, s)
    c = Add (b, m)
    d = Softmax <axis = -1> (c)
    y = MatMul (d, v) }""",
        {"s": (1,)},
    ),
}
ATTENTION = """agraph (float[N,5,12] x) => (float[N,5,12] y) {
    q = MatMul (x, wq)
    qb = Add (q, bq)
    qr = Reshape (qb, split)
    qh = Transpose <perm = [0,2,1,3]> (qr)
    k = MatMul (x, wk)
    kr = Reshape (k, split)
    kh = Transpose <perm = [0,2,3,1]> (kr)
    v = MatMul (x, wv)
    vr = Reshape (v, split)
    vh = Transpose <perm = [0,2,1,3]> (vr)
    s = MatMul (qh, kh)
    p = Softmax <axis = -1> (s)
    c = MatMul (p, vh)
    ct = Transpose <perm = [0,2,1,3]> (c)
    cr = Reshape (ct, merge)
    o = MatMul (cr, wo)
    ob = Add (o, bo)
    y = Add (ob, x) }"""


def proto_of(name: str, batch: int) -> onnx.ModelProto:
    """One of the models above at a batch."""
    if name == "attention":
        shapes: dict[str, Any] = {
            "wq": (12, 12),
            "bq": (12,),
            "wk": (12, 12),
            "wv": (12, 12),
            "wo": (12, 12),
            "bo": (12,),
        }
        shapes |= {"split": np.array([0, 0, 4, 3]), "merge": np.array([0, 0, 12])}
        return model(ATTENTION.replace("[N", f"[{batch}"), **shapes)
    text, weights = TEXTS[name]
    return model(text.replace("[N", f"[{batch}"), **dict[str, Any](weights))


def stated(proto: onnx.ModelProto, target: Target, size: int, lags: Sequence[int] = ()) -> tuple[Costing, Schedule]:
    """All nodes as one kernel in groups of `size`; nodes of odd lag run on the target's second engine."""
    graph = GraphModel.of(read(proto))
    works = [work for work in graph.works if work.work.kind != "view"]
    lags = lags or (0,) * len(works)
    names = [engine.name for engine in target.engines]
    nodes = tuple(
        NodeRef(output=w.key, op=w.op, lag=lag, engine=names[1] if lag % 2 and w.work.nest else "")
        for w, lag in zip(works, lags, strict=True)
    )
    kernel = Kernel(index=0, nodes=nodes, engine=names[0], strip_channels=size)
    schedule = Schedule(target=target.name, batch=graph.batch, kernels=(kernel,))
    costing = Costing.of(graph, target, schedule)
    made, homeless = with_buffers(tiled(schedule, costing), costing, [], {})
    assert not homeless
    return costing, from_json(to_json(made))


def check(proto: onnx.ModelProto, target: Target, schedule: Schedule) -> tuple[Costing, Outcome]:
    """Run it, and hold outputs, bytes and steps against onnxruntime and the estimate."""
    machine = Machine(read(proto), target, schedule)
    outcome, costing = machine.run(feeds(proto)), machine.costing
    for output, value in run_model(proto, feeds(proto)).items():
        np.testing.assert_allclose(outcome.outputs[output], value, atol=2e-4, rtol=1e-4)
    estimate = costing.estimate()
    assert outcome.peak_bytes <= estimate.on_chip_bytes
    assert estimate.device_s >= estimate.bound.total_s
    ran, cost = outcome.kernels[0], costing.channels[0]
    found = (ran.tiles, ran.weight_bytes, ran.input_bytes, ran.output_bytes)
    assert found == (cost.groups.count, cost.weight_bytes, cost.input_bytes, cost.stored_bytes)
    assert costing.moved.input_bytes[0] == cost.input_bytes
    assert costing.moved.output_bytes[0] == cost.stored_bytes
    assert costing.moved.weight_bytes[0] >= cost.weight_bytes
    return costing, outcome


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", [*TEXTS, "attention"])
def test_groups_give_the_outputs_of_the_graph(name: str, batch: int, machine: str) -> None:
    proto, target = proto_of(name, batch), MACHINES[machine]
    for size in (1, 4) if batch == 1 else (3, 64):  # ragged, and all at once
        check(proto, target, stated(proto, target, size)[1])


LAGS: dict[str, Sequence[Sequence[int]]] = {
    "inverted_residual": [(0, 0, 1, 1, 2, 2), (0, 1, 2, 3, 4, 4), (1, 1, 3, 3, 6, 6)],
    "pointwise_then_depthwise": [(0, 0, 1, 1), (0, 2, 3, 5)],
    "depthwise_then_pointwise": [(1, 1, 2, 2), (0, 0, 2, 2)],
    "squeeze": [(0, 0, 0, 0, 0, 1, 1), (0, 1, 3, 3, 4, 6, 6)],
    "mlp": [(0, 0, 0, 0, 0, 0, 2, 2, 2), (0, 0, 1, 1, 1, 1, 2, 2, 3)],
    "heads": [(0, 0, 0, 1, 2), (0, 0, 0, 0, 1)],
    "attention": [(0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 3, 4, 4, 4)],
}


@pytest.mark.parametrize(("name", "lags"), [(name, lags) for name, found in LAGS.items() for lags in found])
def test_nodes_of_one_step_work_on_different_groups(name: str, lags: Sequence[int]) -> None:
    proto, target = proto_of(name, 2), beside()
    for size in (2, 3):
        check(proto, target, stated(proto, target, size, lags)[1])


@pytest.mark.parametrize("tensor", ["x", "w1", "b", "d", "y", "e:sums"])
def test_a_buffer_that_is_too_small_is_noticed(tensor: str) -> None:
    proto, target = proto_of("inverted_residual", 2), beside()
    schedule = stated(proto, target, 3, (0, 0, 1, 1, 2, 2))[1]
    kernel = schedule.kernels[0]
    smaller = tuple(replace(b, bytes=b.bytes - 4) if b.tensor == tensor else b for b in kernel.buffers)
    with pytest.raises(AssertionError, match="bytes in a buffer of"):
        check(proto, target, replace(schedule, kernels=(replace(kernel, buffers=smaller),)))


@pytest.mark.parametrize(("tensor", "copies"), [("b", 2), ("d", 3), ("w1", 2)])
def test_a_buffer_with_a_copy_too_few_is_noticed(tensor: str, copies: int) -> None:
    proto, target = proto_of("inverted_residual", 1), beside()
    schedule = stated(proto, target, 3, (0, 0, 1, 1, 3, 3))[1]
    kernel = schedule.kernels[0]
    assert {b.tensor: b.copies for b in kernel.buffers}[tensor] == copies
    fewer = tuple(replace(b, copies=copies - 1) if b.tensor == tensor else b for b in kernel.buffers)
    with pytest.raises(AssertionError, match=r"never loaded|bytes in a buffer"):
        check(proto, target, replace(schedule, kernels=(replace(kernel, buffers=fewer),)))


def test_the_wide_tensors_are_never_whole_and_weights_are_loaded_once() -> None:
    proto, target = proto_of("inverted_residual", 3), beside()
    costing, outcome = check(proto, target, stated(proto, target, 4, (0, 0, 1, 1, 2, 2))[1])
    sizes = {b.tensor: b.bytes * b.copies for b in costing.channels[0].buffers}
    wide = 3 * 20 * 9 * 7 * 4
    assert sizes["b"] == sizes["d"] == wide * 2 * 4 // 20
    assert {"a", "c", "e"}.isdisjoint(sizes)  # what passes by is in registers, sums are beside
    weights = (20 * 6 + 20 + 20 * 9 + 20 + 6 * 20 + 6) * 4
    assert outcome.kernels[0].weight_bytes == weights
    assert costing.moved.total_bytes[0] == weights + 2 * 3 * 6 * 9 * 7 * 4


def test_heads_at_different_steps_take_as_long_as_the_busiest_engine() -> None:
    target = beside()
    slow = replace(target.engines[1], macs_per_clock={}, lanes_per_clock={"float32": 0.5}, special_per_clock=0.1)
    bare = replace(target.engines[0], lanes_per_clock={}, special_per_clock=None)
    machine = replace(target, engines=(bare, slow))
    proto = proto_of("heads", 3)
    in_turns = [stated(proto, machine, size, (0, 0, 0, 1, 2))[0].prices.busy_s[0] for size in (5, 1)]
    assert in_turns[1] < in_turns[0]


DECLINED: list[tuple[str, dict[str, tuple[int, ...]], str]] = [
    (
        """agraph (float[1,6,4,4] x) => (float[1,6,4,4] y) {
    a = Conv <kernel_shape = [1,1]> (x, w0)
    b = Concat <axis = 1> (a, a)
    y = Conv <kernel_shape = [1,1]> (b, w1) }""",
        {"w0": (8, 6, 1, 1), "w1": (6, 16, 1, 1)},
        "Concat mixes channels",
    ),
    (
        """agraph (float[1,6,4,4] x) => (float[1,6,4,4] y) {
    a = Conv <kernel_shape = [1,1]> (x, w0)
    s = LRN <size = 3> (a)
    y = Conv <kernel_shape = [1,1]> (s, w1) }""",
        {"w0": (8, 6, 1, 1), "w1": (6, 8, 1, 1)},
        "LRN mixes channels",
    ),
    (
        """agraph (float[1,6,4,4] x) => (float[1,8,4,4] y) {
    a = Conv <kernel_shape = [1,1]> (x, w0)
    y = Softmax <axis = 1> (a) }""",
        {"w0": (8, 6, 1, 1)},
        "Softmax mixes channels",
    ),
    (
        """agraph (float[1,5,6] x) => (float[1,5,8] y) {
    a = MatMul (x, w0)
    y = LayerNormalization (a, s, o) }""",
        {"w0": (6, 8), "s": (8,), "o": (8,)},
        "LayerNormalization mixes channels",
    ),
    (
        """agraph (float[1,6,4,4] x) => (float[1,1,4,4] y) {
    a = Conv <kernel_shape = [1,1]> (x, w0)
    y = ReduceMean <axes = [1]> (a) }""",
        {"w0": (8, 6, 1, 1)},
        "ReduceMean mixes channels",
    ),
    (
        """agraph (float[1,6,4,4] x) => (float[1,8,4,4] y) {
    a = Conv <kernel_shape = [1,1]> (x, w0)
    b = Conv <kernel_shape = [1,1]> (a, w1)
    y = Add (a, b) }""",
        {"w0": (8, 6, 1, 1), "w1": (8, 8, 1, 1)},
        "Add needs all of a tensor of which there is a group at a time",
    ),
    (
        """agraph (float[1,6,4,4] x) => (float[1,6,4,4] y) {
    a = Conv <kernel_shape = [1,1]> (x, w0)
    b = Conv <kernel_shape = [1,1]> (a, w1)
    y = Conv <kernel_shape = [1,1]> (b, w2) }""",
        {"w0": (8, 6, 1, 1), "w1": (8, 8, 1, 1), "w2": (6, 8, 1, 1)},
        "Conv comes after Conv, which has made all channels",
    ),
]
SHUFFLE = """agraph (float[1,6,4,4] x) => (float[1,6,4,4] y) {
    a = Conv <kernel_shape = [1,1]> (x, w0)
    b = Reshape (a, apart)
    c = Transpose <perm = [0,2,1,3,4]> (b)
    d = Reshape (c, joined)
    y = Conv <kernel_shape = [1,1]> (d, w1) }"""


@pytest.mark.parametrize(("text", "weights", "why"), DECLINED)
def test_kernels_that_cannot_run_by_channels_say_why(text: str, weights: dict[str, Any], why: str) -> None:
    with pytest.raises(ScheduleError, match=rf"kernel 0 \(a\): its nodes cannot run by channels: {why}"):
        stated(model(text, **weights), beside(), 2)


def test_channels_that_are_shuffled_have_no_groups() -> None:
    ints: dict[str, Any] = {"apart": np.array([1, 4, 2, 4, 4]), "joined": np.array([1, 8, 4, 4])}
    proto = model(SHUFFLE, w0=(8, 6, 1, 1), w1=(6, 8, 1, 1), **ints)
    with pytest.raises(ScheduleError, match="cannot run by channels: Conv reads no channels"):
        stated(proto, beside(), 2)


def test_partial_sums_must_fit_the_accumulators() -> None:
    proto = proto_of("inverted_residual", 3)
    with pytest.raises(ScheduleError, match="bytes of partial sums do not fit the accumulators"):
        stated(proto, accumulating(6), 4)


@pytest.mark.parametrize(
    ("name", "lags", "said"),
    [
        ("inverted_residual", (0, 0, 1, 1, 0, 0), "a node runs ahead of d"),
        ("heads", (0, 0, 0, 1, 1), "beside waits for unit within a step"),
    ],
)
def test_lags_that_cannot_be_say_so(name: str, lags: Sequence[int], said: str) -> None:
    with pytest.raises(ScheduleError, match=said):
        stated(proto_of(name, 1), beside(), 2, lags)


def test_strips_of_channels_are_valid_alone() -> None:
    node = NodeRef(output="a", op="Conv")
    lagging = NodeRef(output="b", op="Relu", lag=1)
    assert Kernel(index=0, nodes=(node, lagging), engine="e", strip_channels=8).strip_channels == 8
    with pytest.raises(ScheduleError, match="strips of 0 channels"):
        Kernel(index=0, nodes=(node,), engine="e", strip_channels=0)
    with pytest.raises(ScheduleError, match="strips of channels exclude strips of rows and shares"):
        Kernel(index=0, nodes=(node,), engine="e", strip_channels=8, strip_rows=2, halo="both")
