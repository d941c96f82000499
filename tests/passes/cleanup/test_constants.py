import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from roofwright.passes.cleanup import Constants
from tests.passes.harness import PLACES, Case, build, check, run_pass

CASES = [
    Case("float", "(float[2] x) => (float[2] y) { c = Constant<value_float = 2.5>() y = Mul(x, c) }", "Mul"),
    Case("floats", "(float[2] x) => (float[2] y) { c = Constant<value_floats = [2.5, 1.0]>() y = Mul(x, c) }", "Mul"),
    Case("int", "(int64[2] x) => (int64[2] y) { c = Constant<value_int = 3>() y = Mul(x, c) }", "Mul"),
    Case("ints", "(int64[2] x) => (int64[2] y) { c = Constant<value_ints = [3, 4]>() y = Mul(x, c) }", "Mul"),
    Case("tensor", "(float[2] x) => (float[2] y) { c = Constant<value = float[2] {1.0, 2.0}>() y = Mul(x, c) }", "Mul"),
    Case(
        "an output keeps its node",
        "(float x) => (float y, float c) { c = Constant<value_float = 2.5>() y = Mul(x, c) }",
    ),
]


@pytest.mark.parametrize("place", PLACES[:2])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(Constants(), case, place)


def test_text_stays() -> None:
    model = build("(float[2] x) => (float[2] y) { y = Neg(x) }")
    text = numpy_helper.from_array(np.asarray([b"a"], object))
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["t"], value=text))
    model.graph.node.append(onnx.helper.make_node("Identity", ["t"], ["u"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("u", onnx.TensorProto.STRING, [1]))
    _, after, result = run_pass(Constants(), model)
    assert not result.changed
    assert [node.op_type for node in after.graph.node] == ["Neg", "Constant", "Identity"]


def test_the_initializer_keeps_the_name_and_a_record_tells_of_it() -> None:
    _, after, result = run_pass(Constants(), CASES[0].model())
    assert [tensor.name for tensor in after.graph.initializer] == ["c"]
    assert [(r.rewrite, r.anchor, r.removed) for r in result.records] == [
        ("constant-to-initializer", "c", ("Constant",))
    ]


def test_ir_3_lists_the_initializer_as_an_input() -> None:
    model = build("(float[2] x) => (float[2] y) { c = Constant<value = float {2.5}>() y = Mul(x, c) }", opset=8, ir=3)
    _, after, result = run_pass(Constants(), model)
    assert result.changed
    assert [info.name for info in after.graph.input] == ["x", "c"]
