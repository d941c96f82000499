import onnx
import onnx_graphsurgeon as gs

from roofwright.graph import canonical_text, model_metadata, node_metadata, read, structural_hash
from tests.builders import model
from tests.graph.models import LIGHT, branches, full

RESIDUAL = """agraph (float[1,4] x) => (float[1,4] y) {
    a = Relu(x)  b = Neg(x)  c = MatMul(a, w)  d = Add(c, b)  e = LeakyRelu<alpha = 0.1>(d)  y = Mul(e, k)
}"""


def residual() -> onnx.ModelProto:
    import numpy as np

    return model(RESIDUAL, w=(4, 4), k=np.array([2], np.float32))


def test_the_text_of_a_small_graph() -> None:
    lines = canonical_text(read(residual())).splitlines()
    weight = lines.pop(4)
    assert weight.startswith("    [1] f32[4,4] sha=")
    assert lines == [
        "model opset ai.onnx 17 ir 8",
        "input x: f32[1,4]",
        "%0: f32[1,4] = Relu(x)",
        "%1: f32[1,4] = MatMul(%0, [1])",
        "%2: f32[1,4] = Neg(x)",
        "%3: f32[1,4] = Add(%1, %2)",
        "%4: f32[1,4] = LeakyRelu(%3) alpha=0.1",
        "y: f32[1,4] = Mul(%4, f32[1](2))",
        "output y: f32[1,4]",
    ]


def test_the_order_of_nodes_and_names_do_not_show() -> None:
    text, digest = canonical_text(residual()), structural_hash(residual())
    other = residual()
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in other.graph.node]
    del other.graph.node[:]
    other.graph.node.extend(nodes[i] for i in (1, 0, 2, 3, 4, 5))
    for node in other.graph.node:
        node.input[:] = ["renamed" if name == "c" else name for name in node.input]
        node.output[:] = ["renamed" if name == "c" else name for name in node.output]
    assert canonical_text(other) == text
    assert structural_hash(other) == digest


def test_the_hash_sees_what_matters_and_only_that() -> None:
    base = structural_hash(residual())
    renamed, changed = residual(), residual()
    renamed.graph.node[0].input[0] = renamed.graph.node[1].input[0] = renamed.graph.input[0].name = "z"
    changed.graph.node[4].attribute[0].f = 0.2
    weights = model(RESIDUAL, seed=1, w=(4, 4), k=onnx.numpy_helper.to_array(residual().graph.initializer[1]))
    assert structural_hash(renamed) == base
    assert structural_hash(renamed, ignore_names=False) != structural_hash(residual(), ignore_names=False)
    assert len({base, structural_hash(changed), structural_hash(weights)}) == 3


def test_bodies_and_metadata_are_shown() -> None:
    graph = read(branches())
    node_metadata(graph.nodes[0]).update({"roofwright.kernel": "3", "other": "hidden"})
    model_metadata(graph)["roofwright.schedule"] = "{}" * 100
    text = canonical_text(graph)
    assert "%0: f32[2,3] = Add(x, x) ; kernel=3\n" in text
    assert "  else_branch:\n    %1: f32[2,3] = Mul(%0, f32[2,3](" in text
    assert "schedule = <200 characters sha=" in text
    assert "hidden" not in text


def test_weights_can_be_left_out() -> None:
    graph = read(residual())
    text = canonical_text(graph, weights=False)
    assert "sha=" not in text
    assert "[1] f32[4,4]\n" in text


def test_every_corner_can_be_printed() -> None:
    text = canonical_text(full())
    assert "default default" in text
    assert "function org.custom.Twice: 1 nodes" in text
    assert all(line.isprintable() for line in text.splitlines())


def test_networks_differ() -> None:
    texts = {structural_hash(read(path)) for path in LIGHT[:4]}
    assert len(texts) == 4


def test_unused_nodes_come_last() -> None:
    graph = read(residual())
    graph.nodes.insert(0, gs.Node("Abs", "", {}, [graph.inputs[0]], [gs.Variable("unused")]))
    assert canonical_text(graph).splitlines()[-2] == "%5: ?[...] = Abs(x)"
