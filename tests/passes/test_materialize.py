"""Strips of every operator: what they compute, bit for bit, and what is left whole."""

from typing import Any

import numpy as np
import onnx
import pytest

from roofwright.graph import View, interface, read, sort_nodes, to_proto, verify
from roofwright.passes.materialize.plan import Planner
from roofwright.passes.materialize.program import Program
from roofwright.passes.materialize.sequence import sequence
from roofwright.passes.materialize.writing import write
from roofwright.targets import load_target
from tests.builders import feeds, run
from tests.passes.harness import build, int64, random

W3, W1, D3 = random(8, 4, 3, 3), random(8, 4, 1, 1), random(4, 1, 3, 3)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "conv": ("(float[1,4,13,7] x) => (float[1,8,13,7] y) { y = Conv<pads=[1,1,1,1]>(x, w) }", {"w": W3}),
    "asymmetric pads": (
        "(float[1,4,13,9] x) => (float[1,8,7,4] y) { y = Conv<pads=[0,1,2,0], strides=[2,2]>(x, w) }",
        {"w": W3},
    ),
    "dilation": (
        "(float[1,4,14,9] x) => (float[1,8,14,9] y) { y = Conv<pads=[2,2,2,2], dilations=[2,2]>(x, w) }",
        {"w": W3},
    ),
    "stride that leaves rows over": (
        "(float[2,4,18,9] x) => (float[2,8,4,2] y) { y = Conv<strides=[4,4]>(x, w) }",
        {"w": W3},
    ),
    "same upper": (
        '(float[1,4,14,9] x) => (float[1,8,7,5] y) { y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w) }',
        {"w": W3},
    ),
    "same lower": (
        '(float[1,4,14,9] x) => (float[1,8,7,5] y) { y = Conv<auto_pad="SAME_LOWER", strides=[2,2]>(x, w) }',
        {"w": W3},
    ),
    "depthwise and pointwise": (
        """(float[1,4,16,9] x) => (float[1,8,8,5] y) {
        a = Conv<group=4, pads=[1,1,1,1], strides=[2,2]>(x, d) b = Relu(a) y = Conv(b, w) }""",
        {"d": D3, "w": W1},
    ),
    "max pool, rounded up": (
        "(float[1,4,12,9] x) => (float[1,4,6,4] y) { y = MaxPool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(x) }",
        {},
    ),
    "average pool without its padding": (
        """(float[1,4,12,9] x) => (float[1,4,12,9] y) {
        y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=0>(x) }""",
        {},
    ),
    "average pool with its padding, rounded up": (
        """(float[1,4,12,9] x) => (float[1,4,7,5] y) {
        y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2], ceil_mode=1, count_include_pad=1>(x) }""",
        {},
    ),
    "transposed": (
        "(float[1,4,7,5] x) => (float[1,2,14,10] y) { y = ConvTranspose<strides=[2,2]>(x, w) }",
        {"w": random(4, 2, 2, 2)},
    ),
    "transposed, overlapping": (
        """(float[1,4,7,5] x) => (float[1,2,14,10] y) {
        y = ConvTranspose<strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]>(x, w) }""",
        {"w": random(4, 2, 3, 3)},
    ),
    "transposed, with gaps": (
        """(float[1,4,7,5] x) => (float[1,2,20,14] y) {
        y = ConvTranspose<strides=[3,3], output_padding=[1,1]>(x, w) }""",
        {"w": random(4, 2, 1, 1)},
    ),
    "transposed, dilated": (
        """(float[1,4,9,5] x) => (float[1,2,19,11] y) {
        y = ConvTranspose<strides=[2,2], dilations=[2,2], pads=[1,1,1,1]>(x, w) }""",
        {"w": random(4, 2, 3, 3)},
    ),
    "nearest": (
        '(float[1,4,7,5] x) => (float[1,4,21,15] y) { y = Resize<mode="nearest">(x, , s) }',
        {"s": np.array([1, 1, 3, 3], np.float32)},
    ),
    "nearest to sizes": (
        """(float[1,4,8,5] x) => (float[1,4,16,10] y) {
        y = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x, , , s) }""",
        {"s": int64([1, 4, 16, 10])},
    ),
    "linear": (
        '(float[1,4,8,5] x) => (float[1,4,16,10] y) { y = Resize<mode="linear">(x, , s) }',
        {"s": np.array([1, 1, 2, 2], np.float32)},
    ),
    "linear by four, asymmetric": (
        """(float[1,4,8,5] x) => (float[1,4,32,20] y) {
        y = Resize<mode="linear", coordinate_transformation_mode="asymmetric">(x, , s) }""",
        {"s": np.array([1, 1, 4, 4], np.float32)},
    ),
    "depth to space": ("(float[1,8,9,5] x) => (float[1,2,18,10] y) { y = DepthToSpace<blocksize=2>(x) }", {}),
    "space to depth": ("(float[1,2,18,10] x) => (float[1,8,9,5] y) { y = SpaceToDepth<blocksize=2>(x) }", {}),
    "broadcast": (
        """(float[2,4,12,5] x, float[12,5] p, float[4,1,1] q, float[2,4,1,1] r) => (float[2,4,12,5] y) {
        a = Add(x, p) b = Mul(a, q) c = Sub(r, b) y = Where(t, c, a) }""",
        {"t": np.arange(12).reshape(12, 1) % 3 == 0},
    ),
    "residual": (
        """(float[1,4,12,5] x) => (float[1,4,12,5] y) {
        a = Conv<pads=[1,1,1,1]>(x, w) b = Relu(a) c = Conv<pads=[1,1,1,1]>(b, v) d = Add(c, x) y = Clip(d, l, h) }""",
        {"w": random(4, 4, 3, 3), "v": random(4, 4, 3, 3, seed=1), "l": np.float32(0), "h": np.float32(6)},
    ),
    "branches": (
        """(float[1,4,12,5] x) => (float[1,16,12,5] y) {
        a = Conv<pads=[1,1,1,1]>(x, w) b = Conv(x, v) c = Concat<axis=1>(a, b) d, e = Split<axis=1>(c, s)
        f = Softmax<axis=1>(d) y = Concat<axis=-3>(e, f) }""",
        {"w": W3, "v": W1, "s": int64([4, 12])},
    ),
    "crop": (
        """(float[1,4,16,9] x) => (float[1,8,10,6] y) {
        a = Conv(x, w) b = Slice(a, s, e, i) y = Conv<pads=[0,1,0,1]>(b, v) }""",
        {"w": W3, "v": random(8, 8, 3, 3), "s": int64([1, -6]), "e": int64([13, 100]), "i": int64([-2, 3])},
    ),
    "quantized": (
        """(float[1,4,12,5] x) => (float[1,4,12,5] y) {
        a = QuantizeLinear(x, s, z) b = DequantizeLinear(a, s, z) y = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(b)
        }""",
        {"s": np.float32(0.05), "z": np.uint8(128)},
    ),
    "labels": ("(float[1,4,12,5] x) => (int64[1,1,12,5] y) { y = ArgMax<axis=1>(x) }", {}),
    "statistics": (
        "(float[1,4,12,5] x) => (float[1,4,12,5] y) { a = BatchNormalization(x, g, b, m, v) y = LRN<size=3>(a) }",
        {"g": random(4), "b": random(4), "m": random(4), "v": np.ones(4, np.float32)},
    ),
}


def stripped(proto: onnx.ModelProto, plan: list[tuple[int, int, int]], lean: float = 0.0) -> onnx.ModelProto:
    """The model with (first, last, strips) as segments; sound, and with the same interface."""
    graph = read(proto)
    expected, view = interface(graph), View(graph)
    planner = Planner(sequence(graph, view, load_target("tpuv2"), {}), lean)
    write(Program(planner.whole, tuple((planner.segment(first, last), n) for first, last, n in plan)), view)
    assert not sort_nodes(graph)
    verify(graph, expected)
    made = to_proto(graph, embed=True)
    onnx.checker.check_model(made, full_check=True)
    return made


def same_bits(one: onnx.ModelProto, other: onnx.ModelProto, *, whole: bool = False) -> None:
    """`whole`: on whole numbers, whose sums are exact in any order (onnxruntime picks kernels by shape)."""
    inputs = {name: np.round(values) if whole else values for name, values in feeds(one).items()}
    want, have = run(one, inputs), run(other, inputs)
    for name in want:
        np.testing.assert_array_equal(have[name], want[name], err_msg=name)


@pytest.mark.parametrize("lean", [0.0, 0.2])
@pytest.mark.parametrize("strips", [2, 3, 4])
@pytest.mark.parametrize("name", CASES)
def test_strips_compute_the_same_bits(name: str, strips: int, lean: float) -> None:
    text, arrays = CASES[name]
    proto = build(text, arrays)
    made = stripped(proto, [(0, len(proto.graph.node) - 1, strips)], lean)
    ops = [node.op_type for node in made.graph.node]
    assert ops.count(proto.graph.node[-1].op_type) >= strips
    assert len({tensor.name for tensor in made.graph.initializer}) == len(made.graph.initializer)
    same_bits(proto, made)


def test_weights_are_shared_and_strips_follow_one_another() -> None:
    text, arrays = CASES["residual"]
    made = stripped(build(text, arrays), [(0, 4, 3)])
    convs = [node for node in made.graph.node if node.op_type == "Conv"]
    assert [node.input[1] for node in convs] == ["w", "v"] * 3
    assert [node.attribute[-1].ints[:] for node in convs if node.input[1] == "v"] == [
        [1, 1, 0, 1], [0, 1, 0, 1], [0, 1, 1, 1]
    ]  # fmt: skip
    strips = [node.name.rpartition(".strip")[2] for node in convs]
    assert strips == sorted(strips)


UNET = """(float[1,4,16,8] x) => (float[1,2,16,8] y) {
    a = Conv<pads=[1,1,1,1]>(x, w0) b = Relu(a) p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(b)
    c = Conv<pads=[1,1,1,1]>(p, w1) d = Relu(c)
    u = ConvTranspose<strides=[2,2]>(d, w2) k = Concat<axis=1>(b, u)
    e = Conv<pads=[1,1,1,1]>(k, w3) f = Relu(e) y = Conv(f, w4) }"""
SHAPES = {"w0": (8, 4, 3, 3), "w1": (16, 8, 3, 3), "w2": (16, 8, 2, 2), "w3": (8, 16, 3, 3), "w4": (2, 8, 1, 1)}
WEIGHTS = {name: np.sign(random(*shape)) for name, shape in SHAPES.items()}


def test_a_skip_tensor_that_only_strips_read_is_never_put_together() -> None:
    made = stripped(build(UNET, WEIGHTS), [(0, 2, 4), (5, 9, 4)])
    same_bits(build(UNET, WEIGHTS), made, whole=True)
    assert not any("b" in node.output for node in made.graph.node)
    assert any("p" in node.output for node in made.graph.node)  # the bottom reads it whole


@pytest.mark.parametrize("plan", [[(0, 9, 2)], [(0, 2, 4), (3, 6, 2), (7, 9, 8)], [(3, 4, 3)], [(5, 6, 2), (7, 9, 5)]])
def test_any_plan_computes_the_same_bits(plan: list[tuple[int, int, int]]) -> None:
    proto = build(UNET, WEIGHTS)
    same_bits(proto, stripped(proto, plan), whole=True)
    same_bits(proto, stripped(proto, plan, 0.2), whole=True)


def test_what_is_read_whole_is_made_before_the_strips() -> None:
    text = """(float[1,4,12,5] x) => (float[1,8,12,5] y) {
        a = Relu(x) g = GlobalAveragePool(a) s = Sigmoid(g) b = Mul(a, s)
        k = DequantizeLinear(q, f) y = Conv<pads=[1,1,1,1]>(b, k) }"""
    arrays: dict[str, Any] = {"q": np.round(4 * W3).astype(np.int8), "f": np.float32(0.25)}
    proto = build(text, arrays)
    graph = read(proto)
    steps = sequence(graph, View(graph), load_target("tpuv2"), {}).steps
    phases = {step.node.outputs[0].name: step.phase for step in steps}
    assert phases["s"] < phases["b"] == phases["y"]
    assert phases["k"] < phases["y"]
    last = len(steps) - 1
    same_bits(proto, stripped(proto, [(last - 1, last, 4)]))


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 13, 22])
def test_slices_are_written_as_the_opset_has_them(opset: int) -> None:
    text = "(float[1,4,12,5] x) => (float[1,8,12,5] y) { a = Conv<pads=[1,1,1,1]>(x, w) y = Relu(a) }"
    proto = build(text, {"w": W3}, opset=opset)
    made = stripped(proto, [(0, 1, 3)])
    inputs = {len(node.input) for node in made.graph.node if node.op_type == "Slice"}
    assert inputs == ({1} if opset < 10 else {4})
    same_bits(proto, made)


def test_upsample_of_old_opsets() -> None:
    text = '(float[1,4,6,5] x) => (float[1,4,12,10] y) { y = Upsample<mode="nearest">(x, s) }'
    proto = build(text, {"s": np.array([1, 1, 2, 2], np.float32)}, opset=9)
    same_bits(proto, stripped(proto, [(0, 0, 3)]))


def test_a_symbolic_batch_stays() -> None:
    text = "(float[N,4,12,5] x) => (float[N,8,12,5] y) { a = Conv<pads=[1,1,1,1]>(x, w) y = Relu(a) }"
    proto = build(text, {"w": W3})
    made = stripped(proto, [(0, 1, 3)])
    assert made.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N"
    same_bits(proto, made)


def test_values_that_bodies_and_outputs_read_are_put_together() -> None:
    text = """(float[1,4,12,5] x, bool c) => (float[1,8,12,5] a, float[1,8,12,5] y) {
        a = Conv<pads=[1,1,1,1]>(x, w) b = Relu(a)
        y = If (c) <then_branch = t () => (float[1,8,12,5] p) { p = Neg(b) },
                    else_branch = e () => (float[1,8,12,5] q) { q = Identity(b) }> }"""
    proto = build(text, {"w": W3})
    made = stripped(proto, [(0, 1, 3)])
    assert {"a", "b"} <= {name for node in made.graph.node if node.op_type == "Concat" for name in node.output}
    same_bits(proto, made)


REFUSED = {
    "global pool": ("float[1,4,1,1] y", "y = GlobalAveragePool(x)", "needs its input whole", {}),
    "indices": (
        "float[1,4,12,5] z, int64[1,4,12,5] y",
        "z, y = MaxPool<kernel_shape=[1,1]>(x)",
        "indices",
        {},
    ),
    "softmax along the rows": ("float[1,4,12,5] y", "y = Softmax<axis=2>(x)", "works across rows", {}),
    "concat along the rows": ("float[1,4,24,5] y", "y = Concat<axis=2>(x, x)", "works across rows", {}),
    "cubic": (
        "float[1,4,24,10] y",
        'y = Resize<mode="cubic">(x, , s)',
        "not the same for a part of the rows",
        {"s": np.array([1, 1, 2, 2], np.float32)},
    ),
    "linear by three": (
        "float[1,4,36,15] y",
        'y = Resize<mode="linear">(x, , s)',
        "not the same for a part of the rows",
        {"s": np.array([1, 1, 3, 3], np.float32)},
    ),
    "a part of a row": (
        "float[1,4,18,5] y",
        'y = Resize<mode="nearest">(x, , s)',
        "whole number",
        {"s": np.array([1, 1, 1.5, 1], np.float32)},
    ),
    "every second row": (
        "float[1,4,6,5] y",
        "y = Slice(x, b, e, i, s)",
        "skips rows",
        {"b": int64([0]), "e": int64([12]), "i": int64([2]), "s": int64([2])},
    ),
    "no image": ("float[4,60] y", "a = Squeeze(x) y = Reshape(a, s)", "needs its input whole", {"s": int64([4, 60])}),
    "output shape": (
        "float[1,2,24,10] y",
        "y = ConvTranspose<strides=[2,2], output_shape=[24,10]>(x, w)",
        "follows from the output's size",
        {"w": random(4, 2, 2, 2)},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_its_input_whole_says_why(name: str) -> None:
    outputs, text, reason, arrays = REFUSED[name]
    graph = read(build(f"(float[1,4,12,5] x) => ({outputs}) {{ {text} }}", arrays))
    found = sequence(graph, View(graph), load_target("tpuv2"), {}).steps
    assert found[-1].rule is None
    assert reason in found[-1].reason


def test_a_symbolic_height_is_refused_with_what_to_do() -> None:
    graph = read(build("(float[1,4,H,5] x) => (float[1,4,H,5] y) { y = Relu(x) }"))
    (step,) = sequence(graph, View(graph), load_target("tpuv2"), {"H": 64}).steps
    assert step.reason == "the height is symbolic; pin it with --overwrite-input-shape"
