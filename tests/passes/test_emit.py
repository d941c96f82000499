"""A schedule inside a model: written, read back, and taken out without a trace."""

import json
from typing import Any

import numpy as np
import onnx
import pytest

from roofwright.cost_model import from_json, to_json
from roofwright.graph import InvalidModelError, canonical_text, graphs_of, node_metadata, read, to_proto
from roofwright.passes.emit import KERNEL_KEY, SCHEDULE_KEY, read_schedule, strip_schedule, write_schedule
from tests.builders import feeds, model, run
from tests.scheduling import modelled, scheduled, scratchpad

TEXT = """g (float[1,4,6,6] x) => (float[1,8,6,6] y) {
    a = Conv(x, w)  b = Relu(a)  c = MaxPool<kernel_shape=[1,1]>(b)  y = Neg(c) }"""
WEIGHTS: dict[str, Any] = {"w": (8, 4, 1, 1)}
SCHEDULE = scheduled(modelled(TEXT, **WEIGHTS), scratchpad(1 << 20))


def test_a_schedule_survives_the_file() -> None:
    graph = read(model(TEXT, **WEIGHTS))
    write_schedule(graph, SCHEDULE)
    again = read(to_proto(graph).SerializeToString())
    assert read_schedule(again) == SCHEDULE
    assert from_json(to_json(SCHEDULE)) == SCHEDULE


def test_every_node_of_a_kernel_says_which() -> None:
    graph = read(model(TEXT, **WEIGHTS))
    write_schedule(graph, SCHEDULE)
    marks = {node.outputs[0].name: node_metadata(node).get(KERNEL_KEY) for node in graph.nodes}
    assert marks == {"a": "0", "b": "0", "c": "1", "y": "2"}


def test_the_model_stays_standard_and_computes_the_same() -> None:
    proto = model(TEXT, **WEIGHTS)
    graph = read(proto)
    write_schedule(graph, SCHEDULE)
    made = to_proto(graph)
    onnx.checker.check_model(made, full_check=True)
    inputs = feeds(proto)
    assert (run(made, inputs)["y"] == run(proto, inputs)["y"]).all()
    assert {entry.key for entry in made.metadata_props} == {SCHEDULE_KEY}


def test_writing_again_replaces() -> None:
    graph = read(model(TEXT, **WEIGHTS))
    write_schedule(graph, SCHEDULE)
    once = to_proto(graph).SerializeToString()
    write_schedule(graph, SCHEDULE)
    assert to_proto(graph).SerializeToString() == once


def test_stripping_leaves_no_trace() -> None:
    untouched, graph = read(model(TEXT, **WEIGHTS)), read(model(TEXT, **WEIGHTS))
    write_schedule(graph, SCHEDULE)
    strip_schedule(graph)
    assert read_schedule(graph) is None
    assert to_proto(graph).SerializeToString() == to_proto(untouched).SerializeToString()
    assert canonical_text(graph) == canonical_text(untouched)


def test_nodes_in_bodies_are_marked_and_stripped() -> None:
    text = """g (bool c, float[2,3] x) => (float[2,3] y) {
        y = If (c) <then_branch = t () => (float[2,3] p) { u = Exp(x)  p = ReduceMax(u) },
                    else_branch = e () => (float[2,3] q) { q = Abs(x) }> }"""
    text = text.replace("p = ReduceMax(u)", "p = CumSum(u, axis)")
    weights: dict[str, Any] = {"axis": np.array(1)}
    graph = read(model(text, **weights))
    write_schedule(graph, scheduled(modelled(text, **weights), scratchpad(1 << 20)))
    marks = [node_metadata(n).get(KERNEL_KEY) for inner in graphs_of(graph)[1:] for n in inner.nodes]
    assert marks.count(None) < len(marks)
    strip_schedule(graph)
    assert not any(KERNEL_KEY in node_metadata(n) for inner in graphs_of(graph) for n in inner.nodes)


@pytest.mark.parametrize("text", ["", "{}", "not json", json.dumps({"schema": "roofwright.schedule/99"})])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    proto = model(TEXT, **WEIGHTS)
    onnx.helper.set_model_props(proto, {SCHEDULE_KEY: text})
    with pytest.raises(InvalidModelError, match=r"metadata roofwright\.schedule is no valid schedule"):
        read_schedule(read(proto))
