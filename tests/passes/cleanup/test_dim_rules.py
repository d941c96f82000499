"""Every rule of `dim_rules` against the sizes that onnxruntime gives, at several sizes of the unknown dimensions."""

import re
from typing import Any

import numpy as np
import onnx
import pytest

from roofwright.graph import Index, View, graphs_of, read, run_model
from roofwright.passes.base import Context
from roofwright.passes.cleanup import FoldConstants
from roofwright.passes.cleanup.dim_moves import cut
from roofwright.passes.cleanup.dim_rules import tell
from roofwright.passes.cleanup.dims import SymbolicShapes
from roofwright.passes.cleanup.fold_plan import FoldPlan
from roofwright.passes.cleanup.symbols import Symbols
from tests.passes.harness import adversarial, build, float32, int64, random

X = 'float["n",3,"m"] x'
RULES = {
    "elementwise": "y = Relu(x)",
    "broadcast": "y = Mul(x, row)",
    "broadcast of two unknown": "t = Transpose<perm = [0, 1, 2]>(x) y = Add(x, t)",
    "three operands": "c = Greater(x, zero) y = Where(c, x, zero)",
    "transpose": "y = Transpose<perm = [2, 0, 1]>(x)",
    "default transpose": "y = Transpose(x)",
    "reshape with 0 and -1": "y = Reshape(x, copy)",
    "reshape by its own shape": "s = Shape(x) y = Reshape(x, s)",
    "flatten": "y = Flatten<axis = 2>(x)",
    "unsqueeze": "y = Unsqueeze(x, axes)",
    "squeeze": "t = Unsqueeze(x, axes) y = Squeeze(t, axes)",
    "concat": "y = Concat<axis = -1>(x, x, x)",
    "slice to the end": "y = Slice(x, one, huge, two)",
    "slice from 0": "y = Slice(x, nought, huge, two)",
    "slice to a size": "s = Shape<start = 2>(x) y = Slice(table, nought, s)",
    "gather": "y = Gather<axis = 1>(x, pair)",
    "gather a scalar": "y = Gather<axis = -1>(x, zeroth)",
    "elements": "y = GatherElements<axis = 1>(x, picks)",
    "split": "y, z = Split<axis = 1>(x, parts)",
    "reduce": "y = ReduceMean<axes = [-1]>(x)",
    "reduce without dims": "y = ReduceMean<axes = [1], keepdims = 0>(x)",
    "arg": "y = ArgMax<axis = 1>(x)",
    "arg without dims": "y = ArgMax<axis = -2, keepdims = 0>(x)",
    "matmul": "t = Transpose<perm = [0, 2, 1]>(x) y = MatMul(x, t)",
    "gemm": "t = Flatten(x) y = Gemm<transA = 1>(t, t)",
    "gemm, the other transposed": "t = Flatten(x) y = Gemm<transB = 1>(t, t)",
    "expand": "s = Shape<start = 2>(x) y = Expand(column, s)",
    "tile": "y = Tile(x, triple)",
    "tile by a size": "s = Shape(x) y = Tile(x, s)",
    "pad": "y = Pad(x, pads)",
    "range": "s = Shape<start = 2>(x) n = Squeeze(s, nought) y = Range(zeroth, n, first)",
    "range from elsewhere": "s = Shape<start = 2>(x) n = Squeeze(s, nought) y = Range(first, n, first)",
    "filled": "s = Shape(x) y = ConstantOfShape(s)",
    "top k": "y, z = TopK<axis = 1>(x, two)",
    "conv": "y = Conv<pads = [1, 1]>(x, weight)",
    "conv of a known size": "t = ConstantOfShape(i) y = Conv<strides = [2], pads = [1, 1], dilations = [2]>(t, weight)",
    "conv without pads": 't = ConstantOfShape(i) y = Conv<strides = [2], auto_pad = "VALID">(t, weight)',
    "conv padded automatically": 't = ConstantOfShape(i) y = Conv<strides = [2], auto_pad = "SAME_UPPER">(t, weight)',
    "transposed conv": "t = ConstantOfShape(i) y = ConvTranspose<strides = [2]>(t, weight)",
    "pool": "t = ConstantOfShape(i) y = MaxPool<kernel_shape = [3], strides = [2]>(t)",
    "pool, rounded up": "t = ConstantOfShape(i) y = MaxPool<kernel_shape = [3], strides = [2], ceil_mode = 1>(t)",
    "global pool": "y = GlobalAveragePool(x)",
    "resize by a scale": "t = ConstantOfShape(i) y = Resize(t, , scales)",
    "resize to sizes": "t = ConstantOfShape(i) y = Resize(t, , , sizes)",
    "recurrent": "y, z, c = LSTM<hidden_size = 2>(t3, w, r) t3 = Transpose<perm = [2, 0, 1]>(x)",
    "dropout": "y, z = Dropout(x)",
}
ARRAYS: dict[str, Any] = {
    "row": random(3, 1),
    "zero": float32(0),
    "copy": int64([0, -1]),
    "axes": int64([0, -1]),
    "one": int64([1]),
    "two": int64([2]),
    "huge": int64([2**62]),
    "nought": int64([0]),
    "zeroth": int64(0),
    "first": int64(1),
    "table": random(5, 2),
    "pair": int64([2, 0]),
    "picks": np.zeros((1, 2, 1), np.int64),
    "parts": int64([1, 2]),
    "column": random(3, 1),
    "triple": int64([1, 1, 3]),
    "pads": int64([0, 1, 0, 0, 0, 2]),
    "i": int64([2, 3, 11]),
    "weight": random(3, 3, 3),
    "scales": float32([1, 1, 2]),
    "sizes": int64([2, 3, 7]),
    "w": random(1, 8, 3),
    "r": random(1, 8, 2),
}


def number(dim: Any, sizes: dict[str, int]) -> int | None:
    """The value of a dimension; None where it is a symbol of its own."""
    if isinstance(dim, int):
        return dim
    if dim.name:
        return sizes[dim.name]
    if not dim.parts:
        return None
    op, *parts = dim.parts
    values = [number(part, sizes) for part in parts]
    if None in values:
        return None
    left, right = (value for value in values if value is not None)
    return {"Mul": left * right, "Add": left + right, "Sub": left - right, "least": min(left, right)}.get(
        op, max(left, right)
    )


def model_of(body: str) -> Any:
    if "t3 = " in body:  # onnx wants its nodes in order
        first, second = body.split(" t3 = ")
        body = f"t3 = {second} {first}"
    integer = any(op in body for op in ("ArgMax", "Range"))
    model = build(
        f"({X}) => (float y) {{ {body} }}", {k: v for k, v in ARRAYS.items() if re.search(rf"\b{k}\b", body)}, opset=17
    )
    declared = model.graph.output[0].type.tensor_type
    declared.elem_type = 7 if integer else 1
    declared.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output[0].type.tensor_type
    declared.shape.CopyFrom(inferred.shape)
    for dim in declared.shape.dim:
        dim.Clear()  # the rank is all that is declared
    return model


def walked(model: Any) -> tuple[SymbolicShapes, Any]:
    """The plan's shapes after a walk in which nothing was known of what nodes make."""
    graph = read(model)
    for tensor in (tensor for node in graph.nodes for tensor in node.outputs):
        tensor.shape = None
    plan = FoldPlan(View(graph, Index(graph)), 1 << 20)
    for node in graph.nodes:
        plan.visit(node)
    return plan.shapes, graph


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str) -> None:
    model = model_of(RULES[rule])
    shapes, graph = walked(model)
    dims = shapes.of(graph.outputs[0])
    assert dims is not None
    for size in (1, 2, 5):
        feeds = next(iter(adversarial(model, size)))
        found = np.asarray(run_model(model, feeds)["y"]).shape
        expected = [number(dim, {"n": size, "m": size}) for dim in dims]
        assert len(found) == len(dims)
        assert all(want in (None, have) for want, have in zip(expected, found, strict=True)), (expected, found)


KNOWN = {  # rules that must find every dimension, not only their number
    *("elementwise", "transpose", "reshape by its own shape", "flatten", "unsqueeze", "squeeze", "concat", "matmul"),
    *("slice to a size", "gather", "reduce", "tile", "range", "filled", "top k", "pad", "conv of a known size", "pool"),
    *("broadcast", "expand", "gemm", "gemm, the other transposed", "arg", "resize to sizes", "conv without pads"),
    *("resize by a scale", "global pool", "reshape with 0 and -1", "slice from 0", "tile by a size"),
}


@pytest.mark.parametrize("rule", sorted(KNOWN))
def test_rule_finds_every_dimension(rule: str) -> None:
    shapes, graph = walked(model_of(RULES[rule]))
    assert None not in [number(dim, {"n": 2, "m": 3}) for dim in shapes.of(graph.outputs[0]) or [None]]


def test_names_are_noted_but_not_on_outputs() -> None:
    graph = read(build('(float["n",3] x) => (float["a",3] y) { a = Relu(x) y = Neg(a) }'))
    for node in graph.nodes[:1]:
        node.outputs[0].shape = None
    FoldConstants().run(graph, Context())
    assert list(graph.nodes[0].outputs[0].shape) == ["n", 3]
    assert list(graph.outputs[0].shape) == ["a", 3]


def test_malformed_nodes_say_nothing() -> None:
    graph = read(build("(float[2,3] x) => (float[2,3] y) { a = Relu(x) y = Neg(a) }"))
    for op, attrs in (("Transpose", {"perm": [0, 0]}), ("Concat", {"axis": 7}), ("Split", {"axis": -5})):
        graph.nodes[0].op, graph.nodes[0].attrs = op, attrs
        graph.nodes[0].outputs[0].shape = None
        shapes = SymbolicShapes(View(graph), Symbols(), {})
        tell(shapes, graph.nodes[0])
        assert shapes.of(graph.nodes[0].outputs[0]) is None


def test_a_chain_that_doubles_sixty_times_is_walked_once() -> None:
    steps = " ".join(f"c{i + 1} = Add(c{i}, c{i})" for i in range(60))
    model = build(f'(float["n"] x) => (int64[1] y) {{ c0 = Shape(x) {steps} y = Neg(c60) }}')
    graph = read(model)
    FoldConstants().run(graph, Context())
    assert len([node for graph_ in graphs_of(graph) for node in graph_.nodes]) == 62


def test_what_is_not_known_stays_so() -> None:
    graph = read(build("(float[2,3] x) => (float[2,3] y) { a = Relu(x) y = Neg(a) }"))
    source, made = graph.nodes[0].inputs[0], graph.nodes[0].outputs[0]
    source.shape = made.shape = None
    shapes = SymbolicShapes(View(graph), Symbols(), {})
    tell(shapes, graph.nodes[0])
    assert shapes.of(made) is None
    graph.nodes[0].domain, source.shape = "custom", [2, 3]
    tell(shapes, graph.nodes[0])
    assert shapes.of(made) is None


def test_what_is_known_in_part_is_completed() -> None:
    graph = read(build('(float["n",3] x) => (float["n",3] y) { a = Relu(x) y = Neg(a) }'))
    graph.nodes[0].outputs[0].shape = [None, 3]
    tell(SymbolicShapes(View(graph), Symbols(), {}), graph.nodes[0])
    assert graph.nodes[0].outputs[0].shape == ["n", 3]


def test_what_is_known_in_numbers_is_left_alone() -> None:
    graph = read(build("(float[2,3] x) => (float[2,3] y) { a = Relu(x) y = Neg(a) }"))
    shapes = SymbolicShapes(View(graph), Symbols(), {})
    noted = graph.nodes[0].outputs[0].shape
    tell(shapes, graph.nodes[0])
    assert graph.nodes[0].outputs[0].shape is noted


@pytest.mark.parametrize(
    ("bounds", "found"),
    [((0, 3, 1), 3), ((1, 3, 1), None), ((0, 3, 2), None), ((0, None, 1), None), ((0, 9, 1), 5), ((0, -1, 1), None)],
)
def test_a_slice_of_five(bounds: tuple[Any, ...], found: int | None) -> None:
    graph = read(build("(float[2] x) => (float[2] y) { y = Neg(x) }"))
    assert cut(SymbolicShapes(View(graph), Symbols(), {}), 5, *bounds) == found
