"""Narrow networks of the zoo, and how a whole one is scheduled and run on a machine."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import onnx

from roofwright.cost_model import Costing, from_json, to_json
from roofwright.graph import read, run_model
from roofwright.graph.zoo.mobilenets import mobilenet_v1, mobilenet_v2
from roofwright.graph.zoo.mobilenets_v3 import mobilenet_v3
from roofwright.graph.zoo.squeezenets import squeezenet
from roofwright.passes import Options, optimize_graph
from roofwright.targets import Target
from tests.builders import feeds
from tests.machine.machine import Machine

NETWORKS: Mapping[str, Callable[..., onnx.ModelProto]] = {
    "mobilenet_v1": partial(mobilenet_v1, width=0.25),
    "mobilenet_v2": partial(mobilenet_v2, width=0.35),
    "mobilenet_v3_small": partial(mobilenet_v3, version="small"),
    "squeezenet1_1": partial(squeezenet, version="1.1"),
}


def ran(proto: onnx.ModelProto, target: Target) -> Costing:
    """Run the optimized network and hold it against onnxruntime and its own figures; what those come from."""
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
    return costing
