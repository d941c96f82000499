"""Kernels as model-local functions: they load, compute the same, and inline to what they were made of."""

from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import pytest

from roofwright.cost_model import Kernel, NodeRef, Schedule, Tiling
from roofwright.graph import read, to_proto
from roofwright.passes import Options, optimize_graph
from roofwright.passes.emit import KERNEL_KEY, read_schedule, write_schedule
from roofwright.passes.functions import inlined, outline
from roofwright.targets import load_target
from tests.builders import assert_same, feeds, model, run
from tests.scheduling import modelled, scheduled, scratchpad

TEXT = """g (float[1,8,6,6] x) => (float[1,8,6,6] y) {
    a = Conv(x, w) b = Relu(a) c = Conv(b, v) d = Relu(c) e = MaxPool<kernel_shape=[1,1]>(d) y = Add(e, b) }"""
WEIGHTS: dict[str, Any] = {"w": (8, 8, 1, 1), "v": (8, 8, 1, 1)}


def outlined(text: str, schedule: Schedule | None = None, **weights: Any) -> onnx.ModelProto:
    graph = read(model(text, **weights))
    plan = schedule or scheduled(modelled(text, **weights), scratchpad(1 << 20))
    write_schedule(graph, plan)
    outline(graph, plan)
    made = to_proto(graph)
    onnx.checker.check_model(made, full_check=True)
    return made


def kernels(*groups: str, tile: int = 2) -> Schedule:
    """One kernel per group of `output:Op` names."""
    made = []
    for index, group in enumerate(groups):
        nodes = tuple(NodeRef(output=name.split(":")[0], op=name.split(":")[1]) for name in group.split())
        tiling = Tiling(level="sram", order=("rows",), tile={"rows": tile + index})
        made.append(Kernel(index=index, nodes=nodes, engine="mxu", tilings=(tiling,)))
    return Schedule(target="t", batch=1, kernels=tuple(made))


def calls(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in proto.graph.node if node.domain == "roofwright"]


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


def test_every_kernel_is_a_call_that_carries_its_tiling() -> None:
    made = outlined(TEXT, kernels("a:Conv b:Relu", "c:Conv d:Relu", "e:MaxPool", "y:Add"), **WEIGHTS)
    assert [len(made.graph.node), len(calls(made))] == [4, 4]
    first = attributes(calls(made)[0])
    assert first["engine"] == "mxu"
    assert first["index"] == 0
    assert first["tilings"] == '[{"level":"sram","order":["rows"],"tile":{"rows":2}}]'
    assert [entry.value for node in made.graph.node for entry in node.metadata_props if entry.key == KERNEL_KEY] == [
        "0", "1", "2", "3"
    ]  # fmt: skip


def test_equal_kernels_share_a_function_and_keep_their_own_tilings() -> None:
    made = outlined(TEXT, kernels("a:Conv b:Relu", "c:Conv d:Relu", "e:MaxPool", "y:Add"), **WEIGHTS)
    one, other = calls(made)[:2]
    assert one.op_type == other.op_type == "kernel_0"
    assert attributes(one)["tilings"] != attributes(other)["tilings"]
    assert [function.name for function in made.functions] == ["kernel_0", "kernel_2", "kernel_3"]
    assert list(made.functions[0].input) == ["x0", "x1"]


@pytest.mark.parametrize("inputs", [1, 2])
def test_it_computes_the_same_and_inlines_to_the_same_nodes(inputs: int) -> None:
    before = model(TEXT, **WEIGHTS)
    made = outlined(TEXT, **WEIGHTS)
    assert_same(before, made, feeds(before, inputs), rtol=0)
    flat = onnx.inliner.inline_local_functions(made)
    assert Counter(n.op_type for n in flat.graph.node) == Counter(n.op_type for n in before.graph.node)
    assert_same(before, flat, feeds(before, inputs), rtol=0)


def test_read_again_it_is_seen_as_the_nodes_that_it_was() -> None:
    flat = inlined(read(outlined(TEXT, **WEIGHTS)))
    assert [node.op for node in flat.nodes] == [node.op_type for node in model(TEXT, **WEIGHTS).graph.node]
    assert "roofwright" not in {entry.domain for entry in to_proto(flat).opset_import}
    plain = read(model(TEXT, **WEIGHTS))
    assert inlined(plain) is plain


def test_the_pipeline_gives_functions_once() -> None:
    target, options = load_target("tpuv2"), Options(emit="functions")
    graph, report = optimize_graph(read(model(TEXT, **WEIGHTS)), target, options)
    assert report.check.status == "passed"
    assert read_schedule(graph) == report.schedule
    again, _ = optimize_graph(graph, target, options)
    assert read_schedule(again) == report.schedule
    assert [node.op for node in again.nodes] == [node.op for node in graph.nodes]


def test_results_that_others_read_are_outputs_of_the_function() -> None:
    made = outlined(TEXT, kernels("a:Conv b:Relu c:Conv d:Relu", "e:MaxPool y:Add"), **WEIGHTS)
    assert [list(node.output) for node in made.graph.node] == [["b", "d"], ["y"]]


def test_a_kernel_around_another_node_stays_as_nodes() -> None:
    made = outlined(TEXT, kernels("a:Conv b:Relu y:Add", "c:Conv d:Relu"), **WEIGHTS)
    assert [node.op_type for node in made.graph.node] == ["Conv", "Relu", "kernel_1", "MaxPool", "Add"]
    before = model(TEXT, **WEIGHTS)
    assert_same(before, made, feeds(before), rtol=0)


def test_a_view_between_nodes_of_a_kernel_goes_with_it() -> None:
    text = """g (float[1,8,6,6] x) => (float[8,36] y) { a = Relu(x) b = Reshape(a, s) y = Neg(b) }"""
    weights: dict[str, Any] = {"s": np.array([8, 36])}
    made = outlined(text, kernels("a:Relu y:Neg"), **weights)
    assert [node.op_type for node in made.graph.node] == ["kernel_0"]
    before = model(text, **weights)
    assert_same(before, made, feeds(before), rtol=0)


def test_kernels_in_bodies_take_outer_values_as_inputs() -> None:
    text = """g (bool c, float[2,3] x) => (float[2,3] y) {
        z = Neg(x)
        y = If (c) <then_branch = t () => (float[2,3] p) { u = Exp(z)  p = Mul(u, w) },
                    else_branch = e () => (float[2,3] q) { q = Abs(x) }> }"""
    weights: dict[str, Any] = {"w": (2, 3)}
    made = outlined(text, kernels("z:Neg", "u:Exp p:Mul", "q:Abs"), **weights)
    (branch,) = (node for node in made.graph.node if node.op_type == "If")
    (call,) = branch.attribute[0].g.node
    assert (call.domain, list(call.input), list(call.output)) == ("roofwright", ["z", "w"], ["p"])
    before = model(text, **weights)
    for chosen in (True, False):
        inputs = {**feeds(before), "c": np.array(chosen)}
        np.testing.assert_array_equal(run(made, inputs)["y"], run(before, inputs)["y"])


def test_optional_inputs_and_outputs_stay_optional() -> None:
    text = """g (float[1,3,4,4] x) => (float[1,3,8,8] y) {
        a, m = Dropout(x) b = Clip(a, , h) y = Resize<mode="nearest">(b, , s) }"""
    weights: dict[str, Any] = {"h": np.array(1, np.float32), "s": np.array([1, 1, 2, 2], np.float32)}
    made = outlined(text, kernels("a:Dropout b:Clip y:Resize"), **weights)
    assert list(made.functions[0].node[1].input) == [made.functions[0].node[0].output[0], "", "x1"]
    assert list(made.graph.node[0].output) == ["y"]
    before = model(text, **weights)
    assert_same(before, made, feeds(before), rtol=0)


def test_an_old_ir_is_raised_and_said() -> None:
    proto = model(TEXT, **WEIGHTS)
    proto.ir_version = 7
    graph = read(proto)
    _, report = optimize_graph(graph, load_target("tpuv2"), Options(emit="functions"))
    assert any("raised from 7 to 8" in note for note in report.notes)
