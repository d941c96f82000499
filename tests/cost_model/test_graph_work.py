"""The walk over a graph: order, folding, views, control flow, local functions."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper

from roofwright.cost_model.graph_work import NodeWork, graph_work
from roofwright.cost_model.kernels import gather, storage_names
from roofwright.graph import infer, read
from tests.builders import model

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def walk(proto: onnx.ModelProto, **dims: int) -> list[NodeWork]:
    graph = read(proto)
    return graph_work(graph, infer(graph, dims))


def info(name: str, *shape: int | str, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def control(
    node: onnx.NodeProto, inputs: list[onnx.ValueInfoProto], output: onnx.ValueInfoProto, **weights: tuple[int, ...]
) -> onnx.ModelProto:
    initializers = [onnx.numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()]
    graph = helper.make_graph([node], "g", inputs, [output], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def body(
    name: str, nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, inputs, outputs)


def test_keys_operators_and_flow() -> None:
    works = walk(
        model(
            "agraph (float[1,3,8,8] x) => (float[1,4,6,6] y) { c = Conv(x, w) n = Relu(c) y = Identity(n) }",
            w=(4, 3, 3, 3),
        )
    )
    assert [(w.key, w.op, w.scope, w.repeat) for w in works] == [
        ("c", "Conv", (), 1),
        ("n", "Relu", (), 1),
        ("y", "Identity", (), 1),
    ]
    assert [w.work.alias_of for w in works] == ["", "", "n"]
    assert [o.constant for o in works[0].work.reads] == [False, True]


def test_order_does_not_depend_on_storage() -> None:
    graph = read(model("agraph (float[4] x) => (float[4] y) { a = Relu(x) b = Neg(a) y = Abs(b) }"))
    infos = infer(graph)
    graph.nodes.reverse()
    stored = list(graph.nodes)
    assert [w.key for w in graph_work(graph, infos)] == ["a", "b", "y"]
    assert all(now is then for now, then in zip(graph.nodes, stored, strict=True))  # the graph itself is not sorted


def test_what_can_be_folded_costs_nothing() -> None:
    works = walk(
        model(
            "agraph (float[2,6] x) => (float[3,4] y, float[2,6] z)"
            "{ s = Shape(x) i = Constant<value_ints=[1]>() d = Gather(s, i) e = Cast<to=1>(d) f = Sqrt(w)"
            "  g = Mul(f, e) z = Add(x, g) t = Constant<value_ints=[3, 4]>() y = Reshape(x, t) }",
            w=(2, 6),
        )
    )
    by_key = {w.key: w.work for w in works}
    assert [key for key, work in by_key.items() if work.kind != "view"] == ["z"]
    assert {o.name: o.constant for o in by_key["z"].reads} == {"x": False, "g": True}
    assert by_key["y"].alias_of == "x"
    assert by_key["g"].alias_of == ""


def test_random_numbers_are_not_folded() -> None:
    works = walk(model("agraph (float[2] x) => (float[2] y) { r = RandomUniform<shape=[2]>() y = Add(x, r) }"))
    assert works[0].work.kind == "not_modelled"
    assert "random" in works[0].work.reason
    assert not any(o.constant for o in works[1].work.reads)


def test_a_default_that_a_caller_may_override_is_no_weight() -> None:
    proto = model("agraph (float[4] x, float[4] w) => (float[4] y) { y = Add(x, w) }", w=(4,))
    assert [o.constant for o in walk(proto)[0].work.reads] == [False, False]


def test_symbolic_dimensions_are_priced_at_their_binding() -> None:
    proto = model("agraph (float[N, 8] x) => (float[N, 4] y) { y = MatMul(x, w) }", w=(8, 4))
    graph = read(proto)
    assert graph_work(graph, infer(graph, {"N": 5}))[0].work.macs == 160
    symbolic = graph_work(graph, infer(graph))[0].work
    assert (symbolic.kind, symbolic.macs) == ("not_modelled", 0)
    assert "shape of 'x' unknown" in symbolic.reason


def test_foreign_domains_are_not_modelled() -> None:
    x, y = gs.Variable("x", np.float32, [2]), gs.Variable("y", np.float32, [2])
    graph = gs.Graph([gs.Node("BiasGelu", "n", {}, [x], [y], "com.microsoft")], [x], [y])
    (entry,) = graph_work(graph, {})
    assert (entry.op, entry.work.kind) == ("com.microsoft.BiasGelu", "not_modelled")
    assert entry.work.reason == "no rule for the domain com.microsoft"


def _branches(condition: str) -> list[NodeWork]:
    then = body("t", [helper.make_node("Relu", ["x"], ["a"])], [], [info("a", 4, 4)])
    otherwise = body("e", [helper.make_node("MatMul", ["x", "w"], ["b"])], [], [info("b", 4, 4)])
    node = helper.make_node("If", [condition], ["y"], then_branch=then, else_branch=otherwise)
    proto = control(node, [info("x", 4, 4), info("c", dtype=BOOL)], info("y", 4, 4), w=(4, 4))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
    return walk(proto)


def test_the_costlier_branch_counts() -> None:
    product, choice = _branches("c")
    assert (choice.work.kind, choice.work.alias_of) == ("view", "b")
    assert choice.work.reason == "the costlier branch is counted: else_branch"
    assert (product.op, product.scope, product.work.macs) == ("MatMul", ("y/else_branch",), 64)
    assert [o.constant for o in product.work.reads] == [False, True]


def test_a_constant_condition_picks_its_branch() -> None:
    relu, choice = _branches("yes")
    assert choice.work.reason == "the condition is constant"
    assert relu.op == "Relu"


def _loop(limit: int | None, scan_length: int | str = "n") -> list[NodeWork]:
    nodes = [
        helper.make_node("MatMul", ["h", "w"], ["h2"]),
        helper.make_node("Identity", ["go"], ["going"]),
        helper.make_node("Relu", ["h2"], ["out"]),
    ]
    inputs = [info("i", dtype=INT64), info("go", dtype=BOOL), info("h", 1, 4)]
    inner = body("b", nodes, inputs, [info("going", dtype=BOOL), info("h2", 1, 4), info("out", 1, 4)])
    node = helper.make_node("Loop", ["m" if limit is not None else "trips", ""], ["last", "y"], body=inner)
    proto = control(node, [info("x", 1, 4), info("trips", dtype=INT64)], info("y", scan_length, 1, 4), w=(4, 4))
    proto.graph.node[0].input.append("x")
    if limit is not None:
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(limit), "m"))
    return walk(proto)


def test_a_loop_runs_its_body() -> None:
    works = _loop(7)
    assert [(w.op, w.repeat) for w in works] == [("MatMul", 7), ("Identity", 7), ("Relu", 7), ("Loop", 1)]
    assert works[3].work.alias_of == "h2"
    assert works[3].work.more_aliases == (("last", "h2"), ("y", "out"), ("h", "x"))
    assert works[3].work.reason == "7 trips, the loop's own maximum"
    assert sum(w.work.macs for w in works) == 7 * 16
    assert works[0].scope == ("last/body",)


def test_a_scan_output_tells_the_trip_count() -> None:
    assert [w.repeat for w in _loop(None, 5)] == [5, 5, 5, 1]
    assert [w.repeat for w in _loop(2**63 - 1, 5)] == [5, 5, 5, 1]


def test_an_unknown_trip_count_is_said() -> None:
    (loop,) = _loop(None)
    assert (loop.work.kind, loop.work.reason) == ("not_modelled", "trip count unknown")


def test_scan_and_nesting_multiply() -> None:
    node = helper.make_node("MatMul", ["r", "w"], ["o"])
    inner = body("in", [node], [info("r", 1, 4)], [info("o", 1, 4)])
    scan = helper.make_node("Scan", ["part"], ["s"], body=inner, num_scan_inputs=1)
    outer = body("out", [scan], [info("part", 3, 1, 4)], [info("s", 3, 1, 4)])
    proto = control(
        helper.make_node("Scan", ["x"], ["y"], body=outer, num_scan_inputs=1, scan_input_axes=[1]),
        [info("x", 3, 5, 1, 4)],
        info("y", 5, 3, 1, 4),
        w=(4, 4),
    )
    works = walk(proto)
    assert [(w.op, w.repeat) for w in works] == [("MatMul", 15), ("Scan", 5), ("Scan", 1)]
    assert works[0].scope == ("y/body", "s/body")
    assert sum(w.work.macs for w in works) == 240


def test_what_a_loop_hands_out_is_the_bytes_that_its_body_wrote() -> None:
    works = _loop(7)
    names = storage_names(works)
    assert names == {"last": "h2", "y": "out", "h": "x", "going": "go"}
    (product, relu) = gather([[works[0]], [works[2]]], works, ["y"])
    assert [(o.name, o.elements) for o in relu.writes] == [("out", 28)]  # 7 rows of y
    assert {o.name: o.elements for o in product.reads} == {"x": 28, "w": 112}


def test_sequence_map_over_a_known_sequence() -> None:
    inner = body("b", [helper.make_node("Relu", ["e"], ["o"])], [info("e", 4)], [info("o", 4)])
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "x", "x"], ["q"]),
        helper.make_node("SequenceMap", ["q"], ["m"], body=inner),
        helper.make_node("ConcatFromSequence", ["m"], ["y"], axis=0),
    ]
    graph = helper.make_graph(nodes, "g", [info("x", 4)], [info("y", 12)])
    works = walk(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert [(w.op, w.repeat) for w in works][1:3] == [("Relu", 3), ("SequenceMap", 1)]


FUNCTIONS = """
<ir_version: 8, opset_import: ["" : 17, "mine" : 1]>
agraph (float[2,8] x) => (float[2,8] y) { a = mine.Block<alpha=0.1>(x, w) y = mine.Block<alpha=0.2>(a, w) }
<domain: "mine", opset_import: ["" : 17, "mine" : 1]>
Block <alpha> (p, q) => (r) { m = MatMul(p, q) r = mine.Act<alpha: float = @alpha>(m) }
<domain: "mine", opset_import: ["" : 17]>
Act <alpha> (p) => (r) { t = LeakyRelu<alpha: float = @alpha>(p) s = Shape(t) r = Reshape(t, s) }
"""


def test_calls_of_local_functions_are_expanded() -> None:
    proto = onnx.parser.parse_model(FUNCTIONS)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((8, 8), np.float32), "w"))
    works = walk(proto)
    assert [w.op for w in works] == ["MatMul", "LeakyRelu", "Shape", "Reshape"] * 2
    assert [w.scope for w in works[::4]] == [("a/Block",), ("y/Block",)]
    assert sum(w.work.macs for w in works) == 2 * 2 * 64
    assert {w.key for w in works if w.op == "Reshape"} == {"a", "y"}  # the call's own output: the flow goes on
    assert len({w.key for w in works}) == len(works)
    first, second = (w.work for w in works if w.op == "MatMul")
    assert [(o.name, o.constant) for o in first.reads] == [("x", False), ("w", True)]
    assert second.reads[0].name == "a"
    assert [w.node.attrs["alpha"] for w in works if w.op == "LeakyRelu"] == pytest.approx([0.1, 0.2])


def test_a_call_without_shapes_is_not_modelled() -> None:
    proto = onnx.parser.parse_model(
        FUNCTIONS.replace("float[2,8] x", "float[N,8] x").replace("float[2,8] y", "float[N,8] y")
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((8, 8), np.float32), "w"))
    graph = read(proto)
    call, _ = graph_work(graph, infer(graph))
    assert (call.op, call.work.kind) == ("mine.Block", "not_modelled")


def test_a_function_that_calls_itself_is_not_modelled() -> None:
    x, y = gs.Variable("x", np.float32, [2]), gs.Variable("y", np.float32, [2])
    p, q = gs.Variable("p"), gs.Variable("q")
    loop = gs.Function("F", "mine", [gs.Node("F", "", {}, [p], [q], "mine")], [p], [q], opset=17)
    graph = gs.Graph([gs.Node("F", "n", {}, [x], [y], "mine")], [x], [y], opset=17, functions=[loop])
    (call,) = graph_work(graph, infer(read(model("agraph (float[2] x) => (float[2] y) { y = Relu(x) }"))))
    assert call.work.reason == "the function calls itself"
