"""Whole networks of the zoo, at reduced resolution, run tile by tile and strip by strip on every scratchpad machine."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import onnx
import pytest

from roofwright.cost_model import from_json, to_json
from roofwright.graph import read, run_model
from roofwright.graph.zoo.mobilenets import mobilenet_v1, mobilenet_v2
from roofwright.graph.zoo.mobilenets_v3 import mobilenet_v3
from roofwright.graph.zoo.squeezenets import squeezenet
from roofwright.passes import Options, optimize_graph
from roofwright.targets import Target, load_target, target_names
from tests.builders import feeds
from tests.machine.machine import Machine
from tests.machine.targets import TARGETS

NETWORKS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "mobilenet_v1": partial(mobilenet_v1, size=64, width=0.25),
    "mobilenet_v2": partial(mobilenet_v2, size=64, width=0.35),
    "mobilenet_v3_small": partial(mobilenet_v3, version="small", size=64),
    "squeezenet1_1": partial(squeezenet, version="1.1", size=64),
}
EXPLICIT = [
    name for name in target_names() if (level := load_target(name).on_chip) is not None and level.managed == "explicit"
]


def ran(proto: onnx.ModelProto, target: Target) -> int:
    """Run the optimized network; how many kernels ran in strips."""
    graph, report = optimize_graph(read(proto), target, Options(check=False))
    assert report.schedule is not None
    machine = Machine(graph, target, from_json(to_json(report.schedule)))
    outcome, costing = machine.run(feeds(proto)), machine.costing
    for output, value in run_model(proto, feeds(proto)).items():
        np.testing.assert_allclose(outcome.outputs[output], value, atol=1e-3, rtol=1e-3)
    assert [kernel.tiles for kernel in outcome.kernels] == costing.cut.tiles.tolist()
    assert [kernel.output_bytes for kernel in outcome.kernels] == costing.moved.output_bytes.tolist()
    assert [kernel.input_bytes for kernel in outcome.kernels] == costing.moved.input_bytes.tolist()
    assert outcome.peak_bytes <= costing.estimate().on_chip_bytes
    return len(costing.strips)


@pytest.mark.slow
@pytest.mark.parametrize("target", EXPLICIT)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_run_on_every_machine_with_a_scratchpad(name: str, target: str) -> None:
    ran(NETWORKS[name](), load_target(target))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1"])
def test_networks_run_where_the_scratchpad_is_tight(name: str) -> None:
    assert ran(NETWORKS[name](), TARGETS["array-64k"]) > 0
