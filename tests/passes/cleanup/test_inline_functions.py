import onnx
import pytest
from onnx import helper

from roofwright.graph import read
from roofwright.passes.base import Context
from roofwright.passes.cleanup import InlineFunctions
from roofwright.passes.emit import FUNCTION_DOMAIN
from tests.passes.harness import PLACES, build, nodes_of, ops, placed, run_pass, same

OPSET = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]


def leaky() -> onnx.FunctionProto:
    """`local.leaky<slope>(a) = LeakyRelu<alpha = slope>(twice(a))`."""
    node = helper.make_node("LeakyRelu", ["t"], ["b"], "n")
    node.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    inner = helper.make_node("twice", ["a"], ["t"], domain="local")
    return helper.make_function("local", "leaky", ["a"], ["b"], [inner, node], OPSET, ["slope"])


def twice(version: int = 17, domain: str = "local") -> onnx.FunctionProto:
    nodes = [helper.make_node("Add", ["a", "a"], ["s"]), helper.make_node("Neg", ["s"], ["b"])]
    return helper.make_function(domain, "twice", ["a"], ["b"], nodes, [helper.make_opsetid("", version)])


def model(*made: onnx.FunctionProto, slope: float = 0.5, place: str = "alone") -> onnx.ModelProto:
    text = "(float[2,3] x) => (float[2,3] y) { s = Sin(x) a = custom.one(s) b = custom.two(a) y = Neg(b) }"
    proto = placed(build(text), place)
    for node, name in zip([n for n in nodes_of(proto) if n.domain == "custom"], ("leaky", "twice"), strict=True):
        node.domain, node.op_type = "local", name
    first = next(node for node in nodes_of(proto) if node.op_type == "leaky")
    first.attribute.append(helper.make_attribute("slope", slope))
    proto.opset_import[1].domain = "local"
    proto.functions.extend(made)
    return proto


@pytest.mark.parametrize("place", PLACES)
def test_calls_in_calls_with_attributes(place: str) -> None:
    before, after, result = run_pass(InlineFunctions(), model(leaky(), twice(), place=place))
    assert ops(after) == "Add Add LeakyRelu Neg Neg Neg Sin"
    assert not after.functions
    assert [record.removed for record in result.records] == [("leaky",), ("twice",)]
    same(before, after)


def test_an_input_that_is_an_output() -> None:
    same_again = helper.make_function(
        "local", "twice", ["a"], ["a"], [helper.make_node("Neg", ["a"], ["unused"])], [helper.make_opsetid("", 17)]
    )
    proto = model(leaky(), same_again)
    del proto.graph.node[1:2]
    proto.graph.node[1].input[0] = "s"
    result = run_pass(InlineFunctions(), proto)[2]
    assert [record.reason for record in result.records] == ["function 'twice' gives an input back as an output"]


def test_another_version_of_the_operators() -> None:
    _, after, result = run_pass(InlineFunctions(), model(leaky(), twice(version=16)))
    assert [record.applied for record in result.records] == [False, False]
    assert result.records[1].reason == "function 'twice' uses version 16 of 'ai.onnx', and the model has version 17"
    assert len(after.functions) == 2


def test_a_domain_that_the_model_does_not_import() -> None:
    node = helper.make_node("Other", ["a"], ["b"], domain="elsewhere")
    odd = helper.make_function("local", "twice", ["a"], ["b"], [node], [helper.make_opsetid("elsewhere", 1)])
    result = InlineFunctions().run(read(model(odd, leaky())), Context())
    assert (
        result.records[1].reason == "function 'twice' uses version 1 of 'elsewhere', and the model does not import it"
    )


def test_our_own_functions_stay() -> None:
    proto = build("(float[2,3] x) => (float[2,3] y) { y = custom.two(x) }")
    proto.graph.node[0].domain, proto.graph.node[0].op_type = FUNCTION_DOMAIN, "twice"
    proto.opset_import[1].domain = FUNCTION_DOMAIN
    proto.functions.append(twice(domain=FUNCTION_DOMAIN))
    assert not run_pass(InlineFunctions(), proto)[2].records
