"""Some nodes of a model as a model of their own."""

from typing import Any

import onnx
import pytest

from roofwright.graph import canonical_text, extract, read, to_proto
from tests.builders import assert_same, feeds, model

TEXT = """g (float[N,4] x) => (float[N,4] y, float[N,4] b) {
    a = Neg(x)  b = Add(a, w)  c = Exp(b)  d = Mul(c, v)  y = Sub(d, a) }"""
BODY = """g (bool k, float[4] x) => (float[4] y) {
    a = Abs(x)  u = Neg(a)
    n = If (k) <then_branch = t () => (float[4] p) { p = Mul(a, w) }, else_branch = e () => (float[4] q) { q = Exp(u) }>
    y = Sqrt(n) }"""


def made(text: str, places: list[int], **weights: Any) -> onnx.ModelProto:
    proto = to_proto(extract(read(model(text, **weights)), places))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def ports(proto: onnx.ModelProto) -> tuple[list[str], list[str], list[str]]:
    graph = proto.graph
    return tuple([item.name for item in items] for items in (graph.input, graph.output, graph.initializer))  # type: ignore[return-value]  # three


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([1], (["a"], ["b"], ["w"])),
        ([2, 3], (["b"], ["d"], ["v"])),
        ([1, 3], (["a", "c"], ["b", "d"], ["w", "v"])),
        ([0, 4], (["x", "d"], ["a", "y"], [])),
        ([0, 1, 2, 3, 4], (["x"], ["y", "b"], ["w", "v"])),
    ],
)
def test_inputs_are_what_is_read_and_outputs_what_others_read(
    places: list[int], expected: tuple[list[str], list[str], list[str]]
) -> None:
    found = ports(made(TEXT, places, w=(4,), v=(4,)))
    assert found[0] == expected[0]
    assert sorted(found[1]) == sorted(expected[1])
    assert found[2] == expected[2]


def test_names_of_dimensions_and_values_stay() -> None:
    proto = made(TEXT, [2], w=(4,), v=(4,))
    assert [d.dim_param or d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim] == ["N", 4]
    assert [node.op_type for node in proto.graph.node] == ["Exp"]


def test_the_whole_is_the_model_and_the_original_is_left_alone() -> None:
    graph = read(model(TEXT, w=(4,), v=(4,)))
    before = canonical_text(graph)
    whole = to_proto(extract(graph, range(5)))
    assert canonical_text(graph) == before
    assert_same(to_proto(graph), whole, feeds(to_proto(graph)))


def test_what_a_body_captures_is_an_input() -> None:
    proto = made(BODY, [2], w=(4,))
    assert ports(proto) == (["k", "a", "u"], ["n"], ["w"])
    assert ports(made(BODY, [0, 1], w=(4,)))[1] == ["a", "u"]


def test_a_node_that_nobody_reads_gives_what_it_makes() -> None:
    proto = made("g (float[4] x) => (float[4] y) { y = Neg(x)  dead = Exp(x) }", [1])
    assert ports(proto) == (["x"], ["dead"], [])
