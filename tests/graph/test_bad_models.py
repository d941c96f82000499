import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from roofwright.graph import InvalidModelError, ResourceLimitError, RoofwrightError, graphs_of, printable, read
from tests.builders import model
from tests.graph.models import branches, weight

ADD = "agraph (float[3] x) => (float[3] y) { h = Add(x, w)  y = Relu(h) }"


def refused(source: object, expect: type[RoofwrightError] = InvalidModelError) -> str:
    with pytest.raises(expect) as caught:
        read(source)  # type: ignore[arg-type]  # anything at all may come in
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 600
    return message


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\x1f\x8b\x08", b"PK\x03\x04", os.urandom(400)])
def test_bytes_that_are_no_model(data: bytes) -> None:
    refused(data)


def test_every_cut_of_a_model(tmp_path: Path) -> None:
    data = model(ADD, w=(3,)).SerializeToString()
    for sixteenth in range(16):
        path = tmp_path / "cut.onnx"
        path.write_bytes(data[: len(data) * sixteenth // 16])
        refused(path)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no such file" in refused(tmp_path / "missing.onnx")
    assert "not a regular file" in refused(tmp_path / "pipe")
    assert "not a regular file" in refused("/dev/zero")
    refused(tmp_path)
    refused("\0")


def changed(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    proto = model(ADD, w=(3,))
    change(proto)
    return proto


def _tensor(**fields: Any) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        proto.graph.initializer[0].CopyFrom(TensorProto(name="w", **fields))

    return change


def _opsets(*versions: tuple[str, int]) -> Callable[[onnx.ModelProto], None]:
    def change(proto: onnx.ModelProto) -> None:
        del proto.opset_import[:]
        proto.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in versions)

    return change


BROKEN: dict[str, Callable[[onnx.ModelProto], object]] = {
    "cycle": lambda p: p.graph.node[0].input.__setitem__(0, "y"),
    "self loop": lambda p: p.graph.node[0].input.__setitem__(0, "h"),
    "made twice": lambda p: p.graph.node[1].output.__setitem__(0, "h"),
    "initializer made by a node": lambda p: p.graph.node[0].output.__setitem__(0, "w"),
    "two initializers": lambda p: p.graph.initializer.append(p.graph.initializer[0]),
    "two inputs": lambda p: p.graph.input.append(p.graph.input[0]),
    "missing producer": lambda p: p.graph.node[0].input.__setitem__(0, "ghost"),
    "missing output": lambda p: setattr(p.graph.output[0], "name", "ghost"),
    "empty output": lambda p: setattr(p.graph.output[0], "name", ""),
    "unknown op": lambda p: setattr(p.graph.node[0], "op_type", "Ad"),
    "wrong attribute type": lambda p: p.graph.node[0].attribute.append(helper.make_attribute("axis", "a")),
    "repeated attribute": lambda p: p.graph.node[1].attribute.extend([helper.make_attribute("k", 1)] * 2),
    "reference outside a function": lambda p: p.graph.node[1].attribute.add(name="a", ref_attr_name="b", type=1),
    "no opset": _opsets(),
    "opset 0": _opsets(("", 0)),
    "opset 999": _opsets(("", 999)),
    "two opsets": _opsets(("", 17), ("ai.onnx", 18)),
    "no ir": lambda p: p.ClearField("ir_version"),
    "ir 999": lambda p: setattr(p, "ir_version", 999),
    "no graph": lambda p: p.ClearField("graph"),
    "undefined dtype": _tensor(dims=[3], raw_data=bytes(12)),
    "dtype 99": _tensor(data_type=99, dims=[3], raw_data=bytes(12)),
    "raw too short": _tensor(data_type=1, dims=[3], raw_data=bytes(11)),
    "raw too long": _tensor(data_type=1, dims=[3], raw_data=bytes(16)),
    "no data": _tensor(data_type=1, dims=[2**40]),
    "two kinds of data": _tensor(data_type=1, dims=[3], raw_data=bytes(12), float_data=[1, 2, 3]),
    "raw strings": _tensor(data_type=8, dims=[3], raw_data=bytes(12)),
    "too few floats": _tensor(data_type=1, dims=[3], float_data=[1, 2]),
    "ints for floats": _tensor(data_type=1, dims=[3], int64_data=[1, 2, 3]),
    "nibbles": _tensor(data_type=22, dims=[3], raw_data=bytes(3)),
    "negative dim": _tensor(data_type=1, dims=[-3], raw_data=bytes(12)),
    "overflowing dims": _tensor(data_type=1, dims=[2**32, 2**32], raw_data=bytes(12)),
    "10000 dims": _tensor(data_type=1, dims=[1] * 10_000, raw_data=bytes(4)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_structure(name: str) -> None:
    refused(changed(BROKEN[name]))


def test_messages_name_the_node() -> None:
    assert "'ghost'" in refused(changed(BROKEN["missing producer"]))
    assert "cycle" in refused(changed(BROKEN["cycle"]))
    assert "opset 999" in refused(changed(BROKEN["opset 999"]))


def test_names_are_shown_escaped_and_short() -> None:
    assert printable("a\x1b[31m\nb") == "a\\x1b[31m\\nb"
    assert len(printable("x" * 10_000)) == 120
    assert printable(b"\xff") == "\\xff"
    evil = changed(lambda p: p.graph.node[0].input.__setitem__(0, "\x1b[31m\n" + "x" * 1000))
    assert "\\x1b" in refused(evil)


def test_a_name_that_is_not_utf8() -> None:
    data = model(ADD, w=(3,)).SerializeToString()
    refused(data.replace(b"\x01h", b"\x01\xff"))


def _function(name: str, *calls: str, times: int = 1) -> onnx.FunctionProto:
    value, nodes = "a", []
    for index, call in enumerate(calls * times):
        nodes.append(helper.make_node(call, [value], [f"v{index}"], domain="f"))
        value = f"v{index}"
    return helper.make_function("f", name, ["a"], [value], nodes, [helper.make_opsetid("f", 1)])


@pytest.mark.parametrize("calls", [{"A": "A"}, {"A": "B", "B": "A"}])
def test_recursive_functions(calls: dict[str, str]) -> None:
    proto = model(ADD, w=(3,))
    proto.functions.extend(_function(name, call) for name, call in calls.items())
    assert "calls itself" in refused(proto)


def test_functions_that_explode() -> None:
    proto = model(ADD, w=(3,))
    proto.opset_import.append(helper.make_opsetid("f", 1))
    proto.functions.extend(_function(f"F{i}", f"F{i + 1}", times=10) for i in range(12))
    refused(proto, ResourceLimitError)


def test_graph_bombs_take_linear_time() -> None:
    diamond = [helper.make_node("Add", [f"v{i}"] * 2, [f"v{i + 1}"]) for i in range(60)]
    chain = [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(60, 5000)]
    ports = [helper.make_tensor_value_info(name, 1, [1]) for name in ("v0", "v5000")]
    graph = helper.make_graph(diamond + chain, "bomb", ports[:1], ports[1:])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert len(read(proto).nodes) == 5000


def test_deep_nesting_is_read_or_refused() -> None:
    def nested(depth: int) -> onnx.ModelProto:
        body = helper.make_graph(
            [helper.make_node("Relu", ["x"], ["b"])], "g", [], [helper.make_tensor_value_info("b", 1, [1])]
        )
        for level in range(depth):
            output = helper.make_tensor_value_info(f"b{level}", 1, [1])
            node = helper.make_node("If", ["c"], [f"b{level}"], then_branch=body, else_branch=body)
            body = helper.make_graph([node], "g", [], [output])
        ports = [helper.make_tensor_value_info("c", TensorProto.BOOL, []), helper.make_tensor_value_info("x", 1, [1])]
        body.input.extend(ports)
        return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    assert len(read(nested(8)).nodes) == 1
    assert len(graphs_of(read(nested(8)))) == 2**9 - 1


def test_nesting_deeper_than_protobuf_reads() -> None:
    def field(number: int, content: bytes) -> bytes:
        size, head = len(content), bytes([number << 3 | 2])
        while size > 127:
            head, size = head + bytes([size & 127 | 128]), size >> 7
        return head + bytes([size]) + content

    graph = b""
    for _ in range(60):  # GraphProto.node, NodeProto.attribute, AttributeProto.g
        graph = field(1, field(5, field(6, graph)))
    refused(b"\x08\x08" + field(7, graph))


def test_zero_sized_weights_are_valid() -> None:
    proto = model("agraph (float[0,3] x) => (float[0,3] y) { y = Add(x, w) }", w=np.zeros((0, 3), np.float32))
    assert weight(read(proto)).values.shape == (0, 3)


def test_shadowed_names_are_refused() -> None:
    proto = branches()
    body = proto.graph.node[1].attribute[0].g
    body.node[0].output[0] = body.output[0].name = "s"
    assert "hides" in refused(proto)


def test_unused_weights_of_any_type_do_not_matter() -> None:
    proto = changed(lambda p: p.graph.initializer.append(numpy_helper.from_array(np.array([1 + 2j]), "c")))
    assert read(proto).nodes[0].op == "Add"
