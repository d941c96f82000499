from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from roofwright.graph import TensorInfo, UsageError, assumed_dims, graphs_of, infer, read, to_proto
from roofwright.graph.partial import evaluate
from roofwright.graph.skeleton import Skeleton
from roofwright.graph.stepwise import stepwise
from tests.builders import model
from tests.graph.models import LIGHT, branches

HEADS = """agraph (float[N,S,64] x) => (float[N,S,64] y) {
    s = Shape(x)
    zero = Constant<value = int64[1] {0}>()
    one = Constant<value = int64[1] {1}>()
    eight = Constant<value = int64[1] {8}>()
    n = Gather(s, zero)
    l = Gather(s, one)
    tokens = Mul(n, l)
    flat = Concat<axis = 0>(tokens, eight, eight)
    a = Reshape(x, flat)
    ones = ConstantOfShape<value = int64[1] {1}>(one)
    wide = Mul(ones, eight)
    filter = Where(always, wide, one)
    longer = Concat<axis = 0>(filter, one, one)
    b = Expand(a, longer)
    y = Reshape(b, s)
}"""


def heads() -> onnx.ModelProto:
    proto = model(HEADS, always=np.array([False]))
    del proto.graph.value_info[:]
    return proto


def test_symbols_stay_and_nothing_is_exported() -> None:
    proto = heads()
    graph = read(proto)
    infos = infer(graph)
    assert infos["x"] == TensorInfo("float32", ("N", "S", 64))
    assert infos["s"] == TensorInfo("int64", (3,))
    assert graph.nodes[0].outputs[0].shape == [3]
    assert not to_proto(graph).graph.value_info


def test_bound_dimensions_make_everything_static() -> None:
    graph = read(heads())
    infos = infer(graph, {"N": 4, "S": 16})
    assert infos["a"] == TensorInfo("float32", (64, 8, 8))
    assert infos["b"].shape == (64, 8, 8)
    assert infos["y"].shape == (4, 16, 64)
    assert all(info.is_static for info in infos.values())


def test_sizes_may_hang_on_a_long_chain() -> None:
    steps = 8  # each needs the shape before it, through a Where that onnx does not follow
    text = "".join(
        f"s{i} = Shape(x{i}) w{i} = Where(always, s{i}, s{i}) x{i + 1} = Reshape(x{i}, w{i}) " for i in range(steps)
    )
    text += f"y = Neg(x{steps})"
    proto = model(f"g (float[N,4] x0) => (float[N,4] y) {{ {text} }}", always=np.array([True]))
    del proto.graph.value_info[:]
    assert infer(read(proto), {"N": 3})[f"x{steps}"] == TensorInfo("float32", (3, 4))


@pytest.mark.parametrize("made", [heads, lambda: onnx.load(LIGHT[0])], ids=["heads", "light"])
def test_node_by_node_is_what_the_whole_model_says(made: Callable[[], onnx.ModelProto]) -> None:
    graph = read(made())
    types = stepwise(graph, pinned(graph))
    assert types is not None
    whole = onnx.shape_inference.infer_shapes(pinned(graph).model, data_prop=True).graph
    known = {info.name: info.type for info in whole.value_info if len(info.type.tensor_type.shape.dim)}
    assert known
    assert {name: types[name] for name in known} == known


def pinned(graph: gs.Graph) -> Skeleton:
    """The model with numbers for its symbolic dimensions."""
    made = Skeleton(graph)
    made.forget_declarations()
    for port in made.model.graph.input:
        for dim in port.type.tensor_type.shape.dim:
            dim.dim_value = dim.dim_value or 3
    return made


def test_an_operator_that_is_defined_by_others_is_inferred_too() -> None:
    graph = read(model("g (float[N,4] x) => (bool[N,4] y) { m = GreaterOrEqual(x, x)  y = Not(m) }"))
    types = stepwise(graph, pinned(graph))
    assert types is not None
    assert [dim.dim_value for dim in types["m"].tensor_type.shape.dim] == [3, 4]


def test_a_node_that_onnx_does_not_know_ends_the_walk() -> None:
    graph = read(
        model('<ir_version: 8, opset_import: ["" : 17, "mine" : 1]> g (float[4] x) => (float[4] y) { y = mine.F(x) }')
    )
    assert stepwise(graph, pinned(graph)) is None


def test_defaults_are_a_batch_of_one_and_128() -> None:
    graph = read(heads())
    assert assumed_dims(graph, {}) == {"N": 1, "S": 128}
    assert infer(graph, {})["a"].shape == (128, 8, 8)
    with pytest.raises(UsageError, match="'T' is not in the model's inputs, which have: N, S"):
        infer(graph, {"T": 3})


def test_unnamed_dimensions_get_defaults_too() -> None:
    proto = model("agraph (float[N,S] x) => (float[N,S] y) { y = Relu(x) }")
    for info in (proto.graph.input[0], proto.graph.output[0]):
        for dim in info.type.tensor_type.shape.dim:
            dim.ClearField("value")
    assert infer(read(proto), {})["y"].shape == (1, 128)
    assert assumed_dims(read(proto), {}) == {"x[0]": 1, "x[1]": 128}


def test_bodies_are_inferred() -> None:
    graph = read(branches())
    assert infer(graph)["u"] == TensorInfo("float32", (2, 3))
    assert graphs_of(graph)[2].nodes[0].outputs[0].shape == [2, 3]


def test_a_name_that_means_two_things_is_not_decided() -> None:
    proto = model(
        """agraph (bool c, float[2] x) => (float y) { y = If(c) <
        then_branch = a () => (float t) { h = Abs(x)  t = ReduceSum<keepdims = 0>(h) },
        else_branch = b () => (float e) { z = Neg(x)  k = Concat<axis = 0>(z, z)  e = ReduceMax<keepdims = 0>(k) }> }"""
    )
    body = proto.graph.node[0].attribute[1].g
    body.node[1].output[0] = body.node[2].input[0] = "h"
    assert infer(read(proto))["h"] == TensorInfo("float32", (None,))


def test_opaque_operators_keep_what_the_file_says() -> None:
    proto = model("agraph (float[N,3] x) => (float[N,3] y) { a = Neg(x)  b = Abs(a)  y = Relu(b) }")
    proto.graph.node[1].domain = "org.custom"
    proto.opset_import.append(onnx.helper.make_opsetid("org.custom", 1))
    proto.graph.value_info.append(onnx.helper.make_tensor_value_info("b", 1, ["N", 3]))
    infos = infer(read(proto), {"N": 5})
    assert infos["b"] == TensorInfo("float32", (5, 3))


@pytest.mark.parametrize("path", LIGHT[:6], ids=lambda path: path.stem)
def test_networks_are_known_completely(path: Path) -> None:
    graph = read(path)
    infos = infer(graph, {})
    used = {t.name for node in graph.nodes for t in node.inputs if t.name} | {t.name for t in graph.outputs}
    assert [name for name in used if not infos[name].is_static] == []


I64 = np.int64


@pytest.mark.parametrize(
    ("op", "arguments", "attrs", "expected"),
    [
        ("Slice", [np.arange(5), np.array([-1]), np.array([-9]), np.array([0]), np.array([-2])], {}, [4, 2, 0]),
        ("Slice", [np.arange(5)], {"starts": [1], "ends": [2**62]}, [1, 2, 3, 4]),
        ("Div", [np.array([-7, 7]), np.array([2, -2])], {}, [-3, -3]),
        ("Reshape", [np.arange(4).reshape(2, 2), np.array([0, -1])], {}, [[0, 1], [2, 3]]),
        ("Range", [np.array(1), np.array(7), np.array(3)], {}, [1, 4]),
        ("ReduceProd", [np.array([2, 3, 4])], {"keepdims": 0}, 24),
        ("Unsqueeze", [np.array([3]), np.array([0])], {}, [[3]]),
        ("Squeeze", [np.array([[3]])], {"axes": [0]}, [3]),
        ("Tile", [np.array([1, 2]), np.array([2])], {}, [1, 2, 1, 2]),
        ("Gather", [np.array([5, 6, 7]), np.array(-1)], {"axis": 0}, 7),
        ("Max", [np.array([1, 5]), np.array([3])], {}, [3, 5]),
        ("NonZero", [np.array([0, 1, 1])], {}, [[1, 2]]),
        ("Cast", [np.array([1.7])], {"to": 7}, [1]),
    ],
)
def test_operators_by_hand(op: str, arguments: list[np.ndarray], attrs: dict[str, object], expected: object) -> None:
    result = evaluate(op, arguments, attrs)
    assert result is not None
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        ("Range", [np.array(0), np.array(10**12), np.array(1)]),
        ("ConstantOfShape", [np.array([2**20, 2**20])]),
        ("Expand", [np.array([1]), np.array([2**40])]),
        ("Tile", [np.array([1]), np.array([2**40])]),
        ("Div", [np.array([1]), np.array([0])]),
        ("Reshape", [np.arange(4), np.array([3])]),
        ("Slice", [np.arange(4)]),
        ("Conv", [np.arange(4)]),
    ],
)
def test_bombs_and_nonsense_have_no_value(op: str, arguments: list[np.ndarray]) -> None:
    assert evaluate(op, arguments, {}) is None


@pytest.mark.parametrize("opset", [10, 11, 17])
def test_a_slice_that_cuts_a_named_dimension_has_another_one(opset: int) -> None:
    text = (
        f'<ir_version: 6, opset_import: ["": {opset}]> g (float[N,8] x) => (float[a,b] y) '
        "{ t = Slice(x, zero, one, zero) u = Relu(t) w = Slice(u, zero, one, one) y = Concat<axis = 0>(w, w) }"
    )
    infos = infer(read(model(text, zero=np.array([0]), one=np.array([1]))))
    assert infos["t"] == infos["u"] == TensorInfo("float32", (None, 8))
    assert infos["w"] == TensorInfo("float32", (None, 1))
