import numpy as np
import onnx
import pytest

from roofwright.passes.cleanup import DeadCode
from tests.passes.harness import PLACES, Case, build, check, int64, nodes_of, run_pass

CASES = [
    Case("a dead chain", "(float[3] x) => (float[3] y) { a = Neg(x) b = Exp(a) y = Abs(x) }", "Abs"),
    Case("all alive", "(float[3] x) => (float[3] y) { a = Neg(x) y = Abs(a) }"),
    Case("a random node", "(float[3] x) => (float[3] y) { a = RandomUniformLike(x) y = Abs(x) }", "Abs"),
    Case(
        "half of a split is read",
        "(float[4] x) => (float[2] y) { a, b = Split(x, s) y = Abs(b) }",
        arrays={"s": int64([2, 2])},
    ),
    Case("a mask that nobody reads", "(float[4] x) => (float[4] y) { a, b = Dropout(x) y = Abs(a) }", "Abs Dropout"),
    Case("a mask that is an output", "(float[4] x) => (float[4] y, bool[4] b) { a, b = Dropout(x) y = Abs(a) }"),
    Case(
        "indices that nobody reads",
        "(float[1,1,4] x) => (float[1,1,3] y) { y, i = MaxPool<kernel_shape = [2]>(x) }",
        "MaxPool",
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(DeadCode(), case, place)


def test_trailing_outputs_are_cut() -> None:
    for case in CASES[4], CASES[6]:
        after = run_pass(DeadCode(), case.model())[1]
        assert all(len(node.output) == 1 for node in nodes_of(after))


def test_a_value_that_only_a_body_reads_is_alive() -> None:
    body = onnx.parser.parse_graph("b () => (float[3] t) { t = Neg(a) }")
    other = onnx.parser.parse_graph("c () => (float[3] e) { e = Exp(a) }")
    model = build("(float[3] x, bool k) => (float[3] y) { a = Abs(x) d = Sin(x) y = Identity(x) }")
    del model.graph.node[-1]
    model.graph.node.append(onnx.helper.make_node("If", ["k"], ["y"], then_branch=body, else_branch=other))
    _, after, _ = run_pass(DeadCode(), model)
    assert [node.op_type for node in after.graph.node] == ["Abs", "If"]


def test_a_dead_if_takes_its_bodies_and_what_only_they_read_along() -> None:
    body = onnx.parser.parse_graph("b () => (float[3] t) { t = Neg(a) }")
    other = onnx.parser.parse_graph("c () => (float[3] e) { e = Exp(a) }")
    model = build("(float[3] x, bool k) => (float[3] y) { a = Abs(x) y = Sin(x) }")
    model.graph.node.append(onnx.helper.make_node("If", ["k"], ["z"], then_branch=body, else_branch=other))
    _, after, result = run_pass(DeadCode(), model)
    assert [node.op_type for node in after.graph.node] == ["Sin"]
    assert [record.op for record in result.records] == ["If", "Abs"]


def test_a_custom_node_may_have_an_effect() -> None:
    model = build("(float[3] x) => (float[3] y) { a = custom.Print(x) y = Sin(x) }")
    _, after, result = run_pass(DeadCode(), model)
    assert not result.changed
    assert len(after.graph.node) == 2


def test_the_outputs_of_batch_normalisation_say_that_it_trains() -> None:
    text = "(float[2,3] x) => (float[2,3] y) { y, a, b = BatchNormalization<training_mode = 1>(x, g, g, g, g) }"
    _, after, result = run_pass(DeadCode(), build(text, {"g": np.ones(3, np.float32)}))
    assert not result.changed
    assert len(after.graph.node[0].output) == 3


def test_an_unused_initializer_goes_and_an_overridable_one_stays() -> None:
    ones = np.ones(3, np.float32)
    model = build("(float[3] x, float[3] d) => (float[3] y) { y = Sin(x) }", {"unused": ones, "d": ones})
    _, after, result = run_pass(DeadCode(), model)
    assert [tensor.name for tensor in after.graph.initializer] == ["d"]
    assert [record.anchor for record in result.records] == ["unused"]


def test_a_long_chain_takes_no_recursion() -> None:
    nodes = " ".join(f"a{i + 1} = Neg(a{i})" for i in range(3000))
    model = build(f"(float[3] a0) => (float[3] y) {{ {nodes} y = Sin(a0) }}")
    _, after, result = run_pass(DeadCode(), model)
    assert len(after.graph.node) == 1
    assert len(result.records) == 3000


def test_functions_that_nobody_calls_go() -> None:
    model = build("(float[2] x) => (float[2] y) { y = Neg(x) }")
    model.opset_import.append(onnx.helper.make_opsetid("local", 1))
    opset = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("local", 1)]
    bodies = {"used": "inner", "inner": "Neg", "dead": "inner"}
    for name, op in bodies.items():
        node = onnx.helper.make_node(op, ["a"], ["b"], domain="local" if op == "inner" else "")
        model.functions.append(onnx.helper.make_function("local", name, ["a"], ["b"], [node], opset))
    model.graph.node[0].op_type, model.graph.node[0].domain = "used", "local"
    _, after, result = run_pass(DeadCode(), model)
    assert [function.name for function in after.functions] == ["used", "inner"]
    assert [(r.rewrite, r.anchor) for r in result.records] == [("drop-unused-function", "dead")]
