import numpy as np
import onnx
import pytest

from roofwright.graph import UsageError, pin_shapes, read, to_proto
from tests.builders import assert_same, feeds, model

TEXT = """
agraph (float[N,3,H,W] x, float[N] scale) => (float[N,2,P,W] y, float[N,K] z) {
  c = Conv<pads = [1,1,1,1]>(x, w)
  y = Relu(c)
  f = Flatten(x)
  z = Relu(f)
}
"""
BODY = """
agraph (float[N,4] x, bool cond) => (float[N,4] y) {
  y = If (cond) <
    then_branch = yes () => (float[N,4] a) { a = Relu(x) },
    else_branch = no () => (float[N,4] b) { b = Neg(x) }
  >
}
"""


def pinned(proto: onnx.ModelProto, **shapes: tuple[int, ...]) -> onnx.ModelProto:
    graph = read(proto)
    pin_shapes(graph, shapes)
    made = to_proto(graph, embed=True)
    onnx.checker.check_model(made, full_check=True)
    return made


def ports(proto: onnx.ModelProto) -> dict[str, list[int | str]]:
    every = (*proto.graph.input, *proto.graph.output)
    return {p.name: [d.dim_param or d.dim_value for d in p.type.tensor_type.shape.dim] for p in every}


def network() -> onnx.ModelProto:
    return model(TEXT, w=(2, 3, 3, 3))


def test_a_symbol_is_bound_wherever_it_occurs_and_what_follows_is_inferred() -> None:
    made = pinned(network(), x=(4, 3, 8, 6))
    assert ports(made) == {"x": [4, 3, 8, 6], "scale": [4], "y": [4, 2, 8, 6], "z": [4, 144]}
    assert_same(network(), made, feeds(made))


def test_symbols_that_no_shape_names_stay() -> None:
    assert ports(pinned(network(), scale=(5,))) == {
        "x": [5, 3, "H", "W"],
        "scale": [5],
        "y": [5, 2, "P", "W"],
        "z": [5, "K"],
    }


def test_bodies_are_bound_too() -> None:
    made = pinned(model(BODY), x=(7, 4))
    assert ports(made)["y"] == [7, 4]
    bodies = [a.g for a in made.graph.node[0].attribute]
    assert {b.output[0].type.tensor_type.shape.dim[0].dim_value for b in bodies} == {7}


def test_an_unnamed_dimension_becomes_a_number() -> None:
    proto = model("agraph (float[?,4] x) => (float[?,4] y) { y = Relu(x) }")
    assert ports(pinned(proto, x=(3, 4))) == {"x": [3, 4], "y": [3, 4]}


def test_the_empty_name_is_the_only_input() -> None:
    graph = read(model("agraph (float[N,4] x) => (float[N,4] y) { y = Relu(x) }"))
    pin_shapes(graph, {"": (2, 4)})
    assert graph.inputs[0].shape == [2, 4]


def test_numbers_that_the_model_holds_stay() -> None:
    proto = model("agraph (float[N,4] x) => (float[4,N] y) { y = Reshape(x, s) }", s=np.array([4, -1]))
    made = pinned(proto, x=(6, 4))
    assert onnx.numpy_helper.to_array(made.graph.initializer[0]).tolist() == [4, -1]
    assert ports(made)["y"] == [4, 6]


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"v": (1,)}, "no input is called 'v'; the model's inputs are: x, scale"),
        ({"xx": (1,)}, "no input is called 'xx'; did you mean 'x'"),
        ({"x": (1, 3, 8)}, "input 'x' has 4 dimensions, 3 were given"),
        ({"x": (1, 4, 8, 8)}, "input 'x': dimension 1 is 3, it cannot be 4"),
        ({"x": (0, 3, 8, 8)}, "expected sizes of at least 1"),
        ({"x": (2, 3, 8, 8), "scale": (3,)}, "dimension 'N' cannot be both 2 and 3"),
        ({"": (2, 3, 8, 8)}, "needs a model with one input, this one has: x, scale"),
    ],
)
def test_what_contradicts_the_model_changes_nothing(shapes: dict[str, tuple[int, ...]], said: str) -> None:
    graph = read(network())
    before = to_proto(graph).SerializeToString(deterministic=True)
    with pytest.raises(UsageError, match=said):
        pin_shapes(graph, shapes)
    assert to_proto(graph).SerializeToString(deterministic=True) == before
