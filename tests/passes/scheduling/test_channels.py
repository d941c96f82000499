"""Kernels in groups of channels: which runs are found, taken and given up."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

from roofwright.cost_model import ChannelRun, ChannelRuns, GraphModel, Schedule, estimate, from_json, to_json
from roofwright.graph import read, run_model
from roofwright.graph.zoo.mobilenets import mobilenet_v1, mobilenet_v2
from roofwright.graph.zoo.mobilenets_v3 import mobilenet_v3
from roofwright.passes import Options, Report, optimize_graph
from roofwright.passes.scheduling.channels import shortest
from roofwright.targets import Target, load_target
from tests.builders import feeds, model
from tests.machine.machine import Machine
from tests.machine.targets import TARGETS

MLP = """agraph (float[N,32,48] x) => (float[N,32,48] y) {
    a = MatMul (x, w0)
    b = Add (a, b0)
    c = Tanh (b)
    g = MatMul (c, w1)
    h = Add (g, b1)
    y = Add (h, x) }"""

HEADS = """agraph (float[N,8,64,32] q, float[N,8,32,64] k, float[N,8,64,32] v) => (float[N,8,64,32] y) {
    r = Relu (q)
    a = MatMul (r, k)
    d = Softmax <axis = -1> (a)
    y = MatMul (d, v) }"""


def mlp() -> onnx.ModelProto:
    """Two products with a slow activation between them."""
    sizes: dict[str, Any] = {"w0": (48, 200), "b0": (200,), "w1": (200, 48), "b1": (48,)}
    return model(MLP.replace("[N", "[2"), **sizes)


def beside(special_per_clock: float = 0.7) -> Target:
    """An array, and a unit for elementwise work beside it."""
    target = TARGETS["array-1m"]
    array = target.engines[0]
    lanes = replace(array, name="lanes", macs_per_clock={}, special_per_clock=special_per_clock)
    return replace(target, engines=(replace(array, lanes_per_clock={}, special_per_clock=None), lanes))


def scheduled(proto: onnx.ModelProto, target: Target, **options: Any) -> tuple[Any, Report, Schedule]:
    """The optimized graph, its report and its schedule."""
    graph, report = optimize_graph(read(proto), target, Options(check=False, **options))
    assert report.schedule is not None
    return graph, report, report.schedule


def ran(proto: onnx.ModelProto, target: Target) -> list[tuple[str, ...]]:
    """Run the optimized network on the tile machine; operators of its kernels in groups of channels."""
    graph, _, schedule = scheduled(proto, target)
    machine = Machine(graph, target, from_json(to_json(schedule)))
    outcome, costing = machine.run(feeds(proto)), machine.costing
    for output, value in run_model(proto, feeds(proto)).items():
        np.testing.assert_allclose(outcome.outputs[output], value, atol=1e-3, rtol=1e-3)
    for at, cost in costing.channels.items():
        kernel = outcome.kernels[at]
        found = (kernel.tiles, kernel.weight_bytes, kernel.input_bytes, kernel.output_bytes)
        assert found == (cost.groups.count, cost.weight_bytes, cost.input_bytes, cost.stored_bytes)
    assert outcome.peak_bytes <= costing.estimate().on_chip_bytes
    return [tuple(n.op for n in k.nodes) for k in schedule.kernels if k.strip_channels is not None]


def test_an_mlp_is_one_kernel_whose_engines_overlap() -> None:
    proto, target = mlp(), beside()
    _, report, schedule = scheduled(proto, target)
    (kernel,) = schedule.kernels
    assert kernel.strip_channels is not None
    assert [node.lag for node in kernel.nodes] == [0, 0, 0, 1, 1, 1]
    alone = scheduled(proto, target, skip=("channels",))[1]
    assert report.after.latency_s < 0.9 * alone.after.latency_s
    assert report.after.device_s >= report.after.bound_s
    assert ran(proto, target) == [("MatMul", "Add", "Tanh", "MatMul", "Add", "Add")]


def test_nothing_is_joined_where_one_engine_has_all_the_work() -> None:
    target = beside()
    quick = replace(target, engines=(target.engines[0], replace(target.engines[1], special_per_clock=1e6)))
    assert all(kernel.strip_channels is None for kernel in scheduled(mlp(), quick)[2].kernels)


def test_runs_are_found_with_what_they_take() -> None:
    target = beside()
    graph, _, schedule = scheduled(mlp(), target, skip=("channels", "blocks"))
    graph_model = GraphModel.of(graph)
    now = estimate(graph_model, target, schedule)
    (run,) = ChannelRuns(now.costing, now.timeline, schedule).best()
    assert (run.first, run.last, run.size % 16) == (0, 1, 0)
    assert run.seconds < run.before_s == pytest.approx(now.timeline.total_s)


def found(first: int, last: int, seconds: float, before_s: float) -> ChannelRun:
    return ChannelRun(first, last, 8, (0,), (0,), seconds, before_s)


def test_runs_that_gain_most_together_are_taken() -> None:
    whole, left, right = found(0, 3, 5.0, 10.0), found(0, 1, 2.0, 5.0), found(2, 3, 2.0, 5.0)
    assert shortest([whole, left, right], 4) == [left, right]
    assert shortest([found(0, 3, 3.0, 10.0), left, right], 4) == [found(0, 3, 3.0, 10.0)]
    assert shortest([], 4) == []


NETWORKS: Mapping[str, Callable[[int], onnx.ModelProto]] = {
    "mobilenet_v1": lambda batch: mobilenet_v1(size=64, batch=batch),
    "mobilenet_v2": lambda batch: mobilenet_v2(size=64, batch=batch),
    "mobilenet_v3": lambda batch: mobilenet_v3(version="small", size=64, batch=batch),
    "heads": lambda batch: model(HEADS.replace("[N", f"[{batch}")),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "target", "batch"),
    [
        ("mobilenet_v1", "tpuv2", 1),
        ("mobilenet_v2", "tpuv2", 3),
        ("mobilenet_v2", "kirin970", 1),
        ("mobilenet_v3", "tpuv2", 3),
        ("heads", "tpuv1", 1),
        ("heads", "tpuv1", 2),
    ],
)
def test_networks_run_in_groups_of_channels(name: str, target: str, batch: int) -> None:
    assert ran(NETWORKS[name](batch), load_target(target))
