"""Totals of whole networks against published figures; counts for the report."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from roofwright.cost_model.dtypes import itemsize_bits, operand_bytes
from roofwright.cost_model.graph_work import graph_work
from roofwright.cost_model.totals import macs, not_modelled, op_counts, parameter_bytes, parameters
from roofwright.cost_model.work import Operand
from roofwright.graph import infer, read
from tests.builders import model

PUBLISHED = [  # network, MACs, parameters: github.com/pytorch/vision, `_ops` and `num_params` of each network's weights
    ("mobilenet_v2", "0.301", 3_504_872),
    ("shufflenet_v2", "0.145", 2_278_604),
    ("squeezenet1_1", "0.349", 1_235_496),
    ("resnet18", "1.814", 11_689_512),
    ("resnet50", "4.089", 25_557_032),
    ("vgg16", "15.470", 138_357_544),
]


@pytest.mark.parametrize(("name", "billion_macs", "count"), PUBLISHED)
def test_published_figures(name: str, billion_macs: str, count: int) -> None:
    graph = read(f"zoo:{name}")
    works = graph_work(graph, infer(graph, {}))
    assert f"{macs(works) / 1e9:.3f}" == billion_macs
    assert parameters(graph) == count
    assert not_modelled(works) == ()


def test_bert_base() -> None:
    graph = read("zoo:bert_base")
    length = 128
    works = graph_work(graph, infer(graph, {}))
    layer = 4 * length * 768 * 768 + 2 * length * length * 768 + 2 * length * 768 * 3072  # arXiv:1810.04805, Section 3
    assert macs(works) in (12 * layer, 12 * layer + 768 * 768)  # with or without the pooler
    assert parameters(graph) == 109_482_240


def test_counts_for_the_report() -> None:
    proto = model(
        "agraph (float[4] x) => (float[4] y) { a = Relu(x) b = Relu(a) r = RandomNormal<shape=[4]>() y = Add(b, r) }"
    )
    graph = read(proto)
    works = graph_work(graph, infer(graph))
    assert list(op_counts(works).items()) == [("Relu", 2), ("Add", 1), ("RandomNormal", 1)]
    ((op, key, reason),) = not_modelled(works)
    assert (op, key) == ("RandomNormal", "r")
    assert "random" in reason


def test_parameters_leave_out_statistics_scalars_and_positions() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"]),
        helper.make_node("Clip", ["n", "zero"], ["k"]),
        helper.make_node("Reshape", ["k", "shape"], ["r"]),
        helper.make_node("Gemm", ["r", "u", "u"], ["y"]),
    ]
    arrays = {"w": np.ones((4, 3, 1, 1)), "s": np.ones(4), "b": np.ones(4), "m": np.ones(4), "v": np.ones(4)}
    initializers = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    initializers.append(numpy_helper.from_array(np.ones((4, 4), np.float32), "u"))
    initializers.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
    initializers.append(numpy_helper.from_array(np.array([4, 4]), "shape"))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 2, 2))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (4, 4))
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert parameters(read(proto)) == 12 + 4 + 4 + 16
    assert parameter_bytes(read(proto)) == 4 * (12 + 4 * 4 + 1 + 16) + 8 * 2


def test_quantized_weights_are_parameters() -> None:
    proto = model(
        "agraph (float[1,4] x) => (float[1,2] y) { d = DequantizeLinear(q, s, z) y = MatMul(x, d) }",
        q=np.ones((4, 2), np.int8),
        s=np.array(0.5, np.float32),
        z=np.array(0, np.int8),
    )
    assert (parameters(read(proto)), parameter_bytes(read(proto))) == (8, 8 + 4 + 1)


def test_element_sizes() -> None:
    assert [itemsize_bits(d) for d in ("float32", "bfloat16", "int8", "int4", "bool")] == [32, 16, 8, 4, 8]
    assert operand_bytes(Operand("w", 5, "int4")) == 3
    assert operand_bytes(Operand("w", 5, "float16")) == 10
    with pytest.raises(KeyError):
        itemsize_bits("string")
