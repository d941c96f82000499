import os
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from roofwright.graph import clone, graphs_of, overridable, read, to_proto, verify
from tests.builders import model
from tests.graph.diff import differences
from tests.graph.models import LIGHT, branches, external, full, weight


@pytest.mark.parametrize("build", [full, branches], ids=["full", "branches"])
def test_nothing_is_lost(build: object) -> None:
    assert callable(build)
    proto = build()
    before = proto.SerializeToString(deterministic=True)
    graph = read(proto)
    assert differences(proto, to_proto(graph)) == []
    assert differences(proto, to_proto(clone(graph))) == []
    assert proto.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_real_networks_come_back_as_they_were(path: Path) -> None:
    graph = read(path)
    verify(graph)
    assert differences(onnx.load(path), to_proto(graph)) == []


def test_the_diff_sees_a_lost_field() -> None:
    one, other = full(), full()
    del other.graph.node[0].metadata_props[:]
    other.graph.initializer[0].name = "v"
    found = differences(one, other)
    assert any("metadata_props" in line for line in found)
    assert any("'w' became 'v'" in line for line in found)


def _backend_models(step: int) -> list[onnx.ModelProto]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    return [case.model for case in cases[::step] if case.model is not None]


def _assert_come_back(models: list[onnx.ModelProto]) -> None:
    assert models
    for proto in models:
        graph = read(proto)
        verify(graph)
        assert differences(proto, to_proto(graph)) == [], proto.graph.name


def test_a_model_of_every_kind_of_operator_comes_back() -> None:
    with np.errstate(all="ignore"):
        _assert_come_back(_backend_models(step=12))


@pytest.mark.slow
def test_every_backend_model_comes_back() -> None:
    with np.errstate(all="ignore"):
        _assert_come_back(_backend_models(step=1))


@pytest.mark.slow
@pytest.mark.skipif("ROOFWRIGHT_CORPUS" not in os.environ, reason="ROOFWRIGHT_CORPUS names no folder of models")
def test_every_model_of_a_folder_comes_back() -> None:
    paths = sorted(Path(os.environ["ROOFWRIGHT_CORPUS"]).glob("*.onnx"))
    assert paths
    for path in paths:
        assert differences(onnx.load(path, load_external_data=False), to_proto(read(path))) == [], path.name


def test_defaults_are_no_constants_and_stay() -> None:
    graph = read(full())
    assert overridable(graph) == {"default"}
    assert [tensor.name for tensor in graph.inputs] == ["x", "unused"]
    graph.nodes[0].name = "renamed"
    assert [info.name for info in to_proto(graph).graph.input] == ["x", "unused", "default"]


def test_ir_3_keeps_listing_every_initializer() -> None:
    proto = model("agraph (float[3] x, float[3] w) => (float[3] y) { y = Add(x, w) }", w=(3,))
    proto.ir_version = 3
    graph = read(proto)
    assert overridable(graph) == frozenset()
    graph.nodes[0].inputs[1] = gs.Constant("v", np.ones(3, np.float32))
    out = to_proto(graph)
    assert [info.name for info in out.graph.input] == ["x", "v"]
    onnx.checker.check_model(out, full_check=True)


def test_external_references_stay_references(tmp_path: Path) -> None:
    path = external(tmp_path)
    graph = read(path)
    assert differences(onnx.load(path, load_external_data=False), to_proto(graph)) == []
    np.testing.assert_array_equal(weight(graph).values, np.arange(100))
    assert differences(onnx.load(path, load_external_data=False), to_proto(graph)) == []
    assert to_proto(graph, embed=True).graph.initializer[0].raw_data == np.arange(100, dtype=np.float32).tobytes()


def test_a_weight_that_was_read_is_written_as_it_was() -> None:
    proto = full()
    graph = read(proto)
    for constant in graph.__dict__["sidecar"].constants.values():
        assert constant.values.flags.writeable is False
    assert differences(proto, to_proto(graph)) == []


def test_foreign_graphs_are_copied_and_checked() -> None:
    source = gs.import_onnx(branches())
    graph = read(source)
    assert graph is not source
    verify(graph)
    names = [[tensor.name for tensor in proto.initializer] for proto in (to_proto(graph).graph,)]
    assert names == [["w"]]
    assert all(not to_proto(graph).graph.node[1].attribute[i].g.initializer for i in (0, 1))


def test_changed_parts_are_written_and_the_rest_is_kept() -> None:
    graph = read(full())
    first = graph.nodes[0]
    weight(graph).values = np.zeros(3, np.float16)
    first.attrs["made"] = [1, 2]
    graph.inputs[0].shape = [8, 3]
    out = to_proto(graph).graph
    assert out.initializer[0].data_type == onnx.TensorProto.FLOAT16
    assert out.initializer[0].doc_string == "weight doc"
    assert (out.node[0].doc_string, out.node[0].metadata_props[0].key) == ("node doc", "who")
    assert list(out.node[0].attribute[0].ints) == [1, 2]
    assert out.input[0].type.tensor_type.shape.dim[0].dim_value == 8
    assert out.input[0].type.tensor_type.shape.dim[0].denotation == "DATA_BATCH"


def test_dead_tensors_take_their_declarations_along() -> None:
    graph = read(full())
    graph.nodes[1].inputs[0] = graph.nodes[0].inputs[0]
    graph.nodes[2].attrs.pop("graphs")
    del graph.nodes[0]
    out = to_proto(graph).graph
    assert [info.name for info in out.value_info] == ["nobody"]
    assert not out.quantization_annotation
    assert "w" not in [tensor.name for tensor in out.initializer]
    assert "loose" in [tensor.name for tensor in out.initializer]


def test_an_integer_for_a_float_attribute_becomes_a_float() -> None:
    graph = read(model("agraph (float[3] x) => (float[3] y) { y = Elu(x) }"))
    graph.nodes[0].attrs["alpha"] = 2
    out = to_proto(graph)
    assert out.graph.node[0].attribute[0].type == onnx.AttributeProto.FLOAT
    onnx.checker.check_model(out, full_check=True)


def test_bodies_are_independent_in_a_clone() -> None:
    graph = read(branches())
    copy = graph.copy()
    verify(copy)
    bodies = graphs_of(copy)
    assert len(bodies) == 3
    assert bodies[1].nodes[0].inputs[1] is graphs_of(copy)[2].nodes[0].inputs[1]
    bodies[1].nodes[0].op = "Sub"
    copy.nodes[0].attrs["list"] = [1]
    assert graphs_of(graph)[1].nodes[0].op == "Add"
    assert "list" not in graph.nodes[0].attrs


def test_unsorted_nodes_are_sorted() -> None:
    proto = branches()
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(proto.graph.node)]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    graph = read(proto)
    assert [node.op for node in graph.nodes] == ["Add", "If"]
    assert "sorted" in graph.__dict__["sidecar"].model.notes[0]
    assert "s = Add (x, x)" in onnx.printer.to_text(to_proto(graph))
