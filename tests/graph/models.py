"""Models that hold every corner of the format that graphsurgeon has no place for."""

from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from tests.builders import model

LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))
IF_TEXT = """agraph (bool c, float[2,3] x) => (float[2,3] y) {
    s = Add(x, x)
    y = If(c) <
        then_branch = then_g () => (float[2,3] t) { t = Add(s, w) },
        else_branch = else_g () => (float[2,3] e) { u = Mul(s, w)  e = Relu(u) }
    >
}"""


def weight(graph: gs.Graph, position: int = 1) -> gs.Constant:
    """The constant that the first node reads at `position`."""
    found = graph.nodes[0].inputs[position]
    assert isinstance(found, gs.Constant)
    return found


def branches() -> onnx.ModelProto:
    """An If whose bodies capture a value and a weight of the main graph."""
    return model(IF_TEXT, w=(2, 3))


def full() -> onnx.ModelProto:
    """One model with metadata, doc strings, denotations, defaults, unused and sparse initializers, functions ..."""
    proto = model("agraph (float[N,3] x, float[2] unused) => (float[N,3] y) { h = Add(x, w)  y = Relu(h) }", w=(3,))
    graph = proto.graph
    proto.producer_name, proto.producer_version, proto.domain = "maker", "1.2", "org.example"
    proto.model_version, proto.doc_string, proto.ir_version = 7, "model doc", 10
    graph.doc_string, graph.input[0].doc_string = "graph doc", "input doc"
    graph.input[0].type.denotation = "TENSOR"
    graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    graph.node[0].doc_string, graph.node[0].name = "node doc", "first"
    graph.initializer[0].doc_string = "weight doc"
    for owner in (proto, graph, graph.node[0], graph.initializer[0], graph.input[0]):
        owner.metadata_props.add(key="who", value=type(owner).__name__)
        owner.metadata_props.add(key="zero", value="")
    _weights(graph)
    graph.value_info.append(helper.make_tensor_value_info("h", 1, ["N", 3]))
    graph.value_info[0].doc_string = "value doc"
    graph.value_info.append(helper.make_tensor_value_info("nobody", 1, [4]))
    note = graph.quantization_annotation.add(tensor_name="h")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="loose")
    _functions(proto)
    return proto


def _weights(graph: onnx.GraphProto) -> None:
    graph.initializer.append(helper.make_tensor("loose", TensorProto.FLOAT, [2], [1.0, 2.0]))
    graph.initializer.append(helper.make_tensor("half", TensorProto.BFLOAT16, [3], [1.0, 2.0, 3.0]))
    graph.initializer.append(helper.make_tensor("nibbles", TensorProto.INT4, [5], [1, -2, 3, -4, 5]))
    graph.initializer.add(name="texts", data_type=TensorProto.STRING, dims=[2], string_data=[b"a", b"\xff"])
    graph.initializer.append(numpy_helper.from_array(np.zeros((0, 4), np.float32), "nothing"))
    graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "default"))
    graph.input.append(helper.make_tensor_value_info("default", 1, [3]))
    values = numpy_helper.from_array(np.array([5, 6], np.float32), "sparse")
    indices = numpy_helper.from_array(np.array([1, 3], np.int64), "")
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [6]))


def _functions(proto: onnx.ModelProto) -> None:
    body = [helper.make_node("Relu", ["a"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("org.custom", "Twice", ["a"], ["b"], body, opsets))
    proto.opset_import.append(helper.make_opsetid("org.custom", 1))
    odd = helper.make_node("Odd", ["y"], ["odd"], domain="org.custom", name="odd")
    odd.overload = ""
    odd.attribute.append(helper.make_attribute("type", helper.make_tensor_type_proto(1, [2])))
    odd.attribute.append(AttributeProto(name="bytes", type=AttributeProto.STRING, s=b"\xff\xfe"))
    odd.attribute.append(AttributeProto(name="none", type=AttributeProto.FLOATS, doc_string="empty on purpose"))
    odd.attribute.append(AttributeProto(name="nan", type=AttributeProto.FLOAT, f=float("nan")))
    two = [helper.make_tensor(n, TensorProto.INT64, [1], [i]) for i, n in enumerate("ab")]
    odd.attribute.append(AttributeProto(name="tensors", type=AttributeProto.TENSORS, tensors=two))
    inner = helper.make_graph(
        [helper.make_node("Relu", ["h"], ["z"])], "inner", [], [helper.make_empty_tensor_value_info("z")]
    )
    odd.attribute.append(AttributeProto(name="graphs", type=AttributeProto.GRAPHS, graphs=[inner]))
    proto.graph.node.append(odd)


def external(folder: Path, entries: dict[str, str] | None = None, size: int = 400, count: int = 100) -> Path:
    """A model whose weight of `count` floats lies in `w.bin`, `size` bytes long; `entries` replaces the reference."""
    text = f"agraph (float[{count}] x) => (float[{count}] y) {{ y = Add(x, w) }}"
    proto = model(text, w=np.arange(count, dtype=np.float32))
    weight = proto.graph.initializer[0]
    (folder / "w.bin").write_bytes((weight.raw_data * 10)[:size])
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (entries or {"location": "w.bin", "offset": "0", "length": "400"}).items():
        weight.external_data.add(key=key, value=value)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path
