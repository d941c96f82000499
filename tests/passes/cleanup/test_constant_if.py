import onnx
import pytest

from roofwright.graph import read
from roofwright.passes.base import Context
from roofwright.passes.cleanup import ConstantIf
from tests.passes.harness import boolean, build, random, run_pass, same

THEN = "t () => (float[3] t) { a = Neg(x) t = Sin(a) }"
ELSE = "e () => (float[3] e) { a = Exp(x) e = Abs(a) }"


def choose(
    then: str = THEN, other: str = ELSE, *, taken: bool = True, outputs: str = "float[3] y", rest: str = ""
) -> onnx.ModelProto:
    """An If between constant branches, and what comes after it."""
    model = build(f"(float[3] x) => ({outputs}) {{ k0 = Neg(x) {rest} }}", {"k": boolean(taken)})
    del model.graph.node[0]
    made = [entry.split()[-1] for entry in outputs.split(",")] if not rest else ["r"]
    branches = {"then_branch": onnx.parser.parse_graph(then), "else_branch": onnx.parser.parse_graph(other)}
    model.graph.node.insert(0, onnx.helper.make_node("If", ["k"], made, "choice", **branches))
    return model


def then_branch(node: onnx.NodeProto) -> onnx.GraphProto:
    branch: onnx.GraphProto = next(attribute.g for attribute in node.attribute if attribute.name == "then_branch")
    return branch


def flat(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(("taken", "ops"), [(True, ["Neg", "Sin"]), (False, ["Exp", "Abs"])])
def test_the_taken_branch(taken: bool, ops: list[str]) -> None:
    before, after, _ = run_pass(ConstantIf(), choose(taken=taken))
    assert flat(after) == ops
    same(before, after)


def test_readers_after_the_if() -> None:
    before, after, _ = run_pass(ConstantIf(), choose(rest="y = Abs(r)"))
    assert flat(after) == ["Neg", "Sin", "Abs"]
    same(before, after)


def test_an_initializer_as_the_result() -> None:
    model = choose()
    branch = then_branch(model.graph.node[0])
    del branch.node[:]
    branch.initializer.append(onnx.numpy_helper.from_array(random(3), "t"))
    _, after, _ = run_pass(ConstantIf(), model)
    assert flat(after) == ["Identity"]
    assert [tensor.name for tensor in after.graph.initializer] == ["t"]


def test_one_value_for_two_outputs() -> None:
    two = "b () => (float[3] t, float[3] u) { t = Sin(x) u = Neg(x) }"
    model = choose(two, two.replace("t ", "v ").replace("t,", "v,").replace("u", "w"), outputs="float[3] y, float[3] z")
    branch = then_branch(model.graph.node[0])
    del branch.node[1:]
    branch.output[1].name = "t"
    graph = read(model)
    result = ConstantIf().run(graph, Context())
    assert result.changed
    assert [node.op for node in graph.nodes] == ["Sin", "Identity"]
    assert [tensor.name for tensor in graph.outputs] == ["y", "z"]


def test_names_of_another_body_do_not_clash() -> None:
    model = choose(rest="y = Abs(s)", outputs="float[3] y")
    branches = {"then_branch": onnx.parser.parse_graph(THEN), "else_branch": onnx.parser.parse_graph(ELSE)}
    model.graph.input.append(onnx.helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, []))
    inner = onnx.helper.make_node("If", ["c"], ["q"], **branches)
    model.graph.node.insert(1, inner)
    model.graph.node.insert(2, onnx.helper.make_node("Add", ["r", "q"], ["s"]))
    before, after, _ = run_pass(ConstantIf(), model)
    assert flat(after) == ["Neg", "Sin", "If", "Add", "Abs"]
    assert after.graph.node[0].output[0] == "choice_a"
    same(before, after)


def test_an_if_inside_the_taken_branch() -> None:
    model = choose()
    held = onnx.NodeProto()
    held.CopyFrom(model.graph.node[0])
    held.output[0] = "h"
    held.name = "inner"
    for attribute in held.attribute:
        for node in attribute.g.node:
            node.input[:] = [f"{name}_i" if name in ("a", "t", "e") else name for name in node.input]
            node.output[:] = [f"{name}_i" for name in node.output]
        attribute.g.output[0].name += "_i"
    branch = then_branch(model.graph.node[0])
    branch.node[1].input[0] = "h"
    branch.node.insert(1, held)
    before, after, result = run_pass(ConstantIf(), model)
    assert flat(after) == ["Neg", "Sin", "Sin"]  # the outer Neg is dead
    assert [record.anchor for record in result.records] == ["y", "h"]
    same(before, after)


def test_a_condition_that_a_caller_may_override() -> None:
    model = choose()
    model.graph.input.append(onnx.helper.make_tensor_value_info("k", onnx.TensorProto.BOOL, []))
    assert not run_pass(ConstantIf(), model)[2].changed


def test_inside_a_body() -> None:
    model = choose()
    node = onnx.NodeProto()
    node.CopyFrom(model.graph.node[0])
    node.output[0] = "inner"
    then = onnx.helper.make_graph([node], "outer_then", [], [onnx.helper.make_tensor_value_info("inner", 1, [3])])
    other = onnx.parser.parse_graph("o () => (float[3] o) { o = Abs(x) }")
    del model.graph.node[:]
    model.graph.input.append(onnx.helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, []))
    model.graph.node.append(onnx.helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other))
    before, after, _ = run_pass(ConstantIf(), model)
    assert [held.op_type for held in then_branch(after.graph.node[0]).node] == ["Neg", "Sin"]
    same(before, after)


def test_a_result_that_nobody_asks_for() -> None:
    then = "b () => (float[3] t, float[3] u) { u = Neg(x) t = Sin(u) }"
    other = "c () => (float[3] v, float[3] w) { w = Abs(x) v = Sin(w) }"
    model = choose(then, other, outputs="float[3] y, float[3] z")
    model.graph.node[0].output[1] = ""
    del model.graph.output[1]
    _, after, _ = run_pass(ConstantIf(), model)
    assert [(node.op_type, node.input[0], node.output[0]) for node in after.graph.node] == [
        ("Neg", "x", "u"),
        ("Sin", "u", "y"),
    ]
