"""Networks of the zoo in batches on machines with two engines, scheduled and run strip by strip by both."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import pytest

from roofwright.cost_model import Costing, GraphModel, from_json, to_json
from roofwright.graph import read, run_model
from roofwright.graph.zoo.mobilenets import mobilenet_v1, mobilenet_v2
from roofwright.graph.zoo.mobilenets_v3 import mobilenet_v3
from roofwright.passes import Options, optimize_graph
from roofwright.targets import Target, load_target
from tests.builders import feeds
from tests.machine.machine import Machine

Build = Callable[..., onnx.ModelProto]
NETWORKS: Mapping[str, Build] = {
    "mobilenet_v1": partial(mobilenet_v1, width=0.25),
    "mobilenet_v2": partial(mobilenet_v2, width=0.35),
    "mobilenet_v3_small": partial(mobilenet_v3, version="small"),
}


def phone() -> Target:
    """A Kirin 970 with a smaller scratchpad and faster hand-overs, for smaller networks."""
    target = load_target("kirin970")
    scratch, dram = target.memories
    stack = replace(target.stack, handover_s=1e-6)
    return replace(target, memories=(replace(scratch, capacity_bytes=1 << 16), dram), stack=stack)


def ran(proto: onnx.ModelProto, target: Target) -> tuple[int, int]:
    """Run the optimized network; how many kernels ran in strips, and how many of them on two engines."""
    graph, report = optimize_graph(read(proto), target, Options(check=False))
    assert report.schedule is not None
    assert [found.name for found in report.passes if found.rolled_back] == []
    assert report.after.device_s >= report.after.bound_s
    machine = Machine(graph, target, from_json(to_json(report.schedule)))
    outcome, costing = machine.run(feeds(proto)), machine.costing
    for output, value in run_model(proto, feeds(proto)).items():
        np.testing.assert_allclose(outcome.outputs[output], value, atol=1e-3, rtol=1e-3)
    assert [kernel.tiles for kernel in outcome.kernels] == costing.cut.tiles.tolist()
    assert [kernel.output_bytes for kernel in outcome.kernels] == costing.moved.output_bytes.tolist()
    assert [kernel.input_bytes for kernel in outcome.kernels] == costing.moved.input_bytes.tolist()
    assert outcome.peak_bytes <= costing.estimate().on_chip_bytes
    return len(costing.strips), sum(bool(cost.shares) for cost in costing.strips.values())


def test_a_small_network_runs_on_both_engines() -> None:
    strips, shared = ran(NETWORKS["mobilenet_v2"](size=32, batch=4), phone())
    assert 0 < shared <= strips


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "batch"), [("mobilenet_v1", 2), ("mobilenet_v2", 3), ("mobilenet_v2", 8), ("mobilenet_v3_small", 3)]
)
def test_networks_run_on_both_engines(name: str, batch: int) -> None:
    strips, shared = ran(NETWORKS[name](size=64, batch=batch), phone())
    assert 0 < shared <= strips


@pytest.mark.slow
def test_a_network_runs_on_the_engines_of_a_phone() -> None:
    assert ran(NETWORKS["mobilenet_v1"](size=64, batch=8), load_target("kirin970"))[1] > 0


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2"])
def test_what_is_chosen_is_shorter_than_any_one_engine(name: str) -> None:
    target = load_target("kirin970")
    graph, report = optimize_graph(read(NETWORKS[name](size=128, batch=8)), target, Options(check=False))
    schedule = report.schedule
    assert schedule is not None
    model = GraphModel.of(graph)
    assert any(kernel.shares and kernel.strip_rows is not None for kernel in schedule.kernels)
    for engine in ("npu", "gpu"):
        kernels = tuple(replace(k, engine=engine, shares=(), buffers=(), prefetch=()) for k in schedule.kernels)
        alone = Costing.of(model, target, replace(schedule, kernels=kernels)).estimate()
        assert report.after.device_s < alone.device_s
