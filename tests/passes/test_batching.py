from typing import Any

import numpy as np
import onnx
import pytest

from roofwright.graph import UnsupportedError, UsageError, read
from roofwright.passes.base import Context
from roofwright.passes.batching import WidenBatch, batch_axes
from tests.builders import Array, model
from tests.passes.batches import assert_widens, widen

I64 = np.int64


def ints(*values: int) -> Array:
    return np.array(values, I64)


def case(ins: str, outs: str, body: str, **weights: Any) -> onnx.ModelProto:
    return model(f"agraph ({ins}) => ({outs}) {{ {body} }}", **weights)


X = "float[1,4,6] x"
CASES: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "elementwise": (X, "float[1,4,6] y", "a = Add(x, c) y = Mul(a, x)", {"c": (4, 6)}),
    "leading_one_constant": (X, "float[1,4,6] y", "y = Add(c, x)", {"c": (1, 1, 6)}),
    "higher_rank_constant": ("float[1,6] x", "float[1,1,6] y", "a = Unsqueeze(x, k) y = Mul(a, c)",
                             {"c": (1, 1, 6), "k": ints(1)}),
    "where": (X, "float[1,4,6] y", "m = Greater(x, z) y = Where(m, x, c)", {"c": (4, 6), "z": (1,)}),
    "matmul_rows": ("float[1,6] x", "float[1,5] y", "y = MatMul(x, w)", {"w": (6, 5)}),
    "matmul_stack": (X, "float[1,4,5] y", "y = MatMul(x, w)", {"w": (6, 5)}),
    "matmul_left_constant": (X, "float[1,3,6] y", "y = MatMul(w, x)", {"w": (3, 4)}),
    "matmul_both": (X, "float[1,4,4] y", "t = Transpose<perm=[0,2,1]>(x) y = MatMul(x, t)", {}),
    "gemm_columns": ("float[1,6] x", "float[5,1] y", "y = Gemm<transB=1>(w, x, c)", {"w": (5, 6), "c": (5, 1)}),
    "gemm_bias_of_one_row": ("float[1,6] x", "float[1,5] y", "y = Gemm(x, w, c)", {"w": (6, 5), "c": (1, 5)}),
    "transpose_away_and_back": (X, "float[1,4,6] y", "a = Transpose<perm=[1,0,2]>(x) y = Transpose<perm=[1,0,2]>(a)",
          {}),
    "reshape_literal_one": (X, "float[1,24] y", "y = Reshape(x, s)", {"s": ints(1, 24)}),
    "reshape_one_and_rest": (X, "float[1,24] y", "y = Reshape(x, s)", {"s": ints(1, -1)}),
    "reshape_rest_first": (X, "float[1,24] y", "y = Reshape(x, s)", {"s": ints(-1, 24)}),
    "reshape_zero": (X, "float[1,24] y", "y = Reshape(x, s)", {"s": ints(0, -1)}),
    "reshape_folded_and_back": (X, "float[1,4,5] y", "a = Reshape(x, s) b = MatMul(a, w) y = Reshape(b, t)",
                                {"s": ints(4, 6), "t": ints(1, 4, 5), "w": (6, 5)}),
    "reshape_behind_an_axis": (X, "float[4,1,6] y",
                               "a = Transpose<perm=[1,0,2]>(x) b = Reshape(a, s) c = Relu(b) y = Reshape(c, t)",
                               {"s": ints(4, 6), "t": ints(4, 1, 6)}),
    "heads": (X, "float[1,4,6] y",
              "a = Reshape(x, s) b = Transpose<perm=[0,2,1,3]>(a) c = Reshape(b, t) d = Softmax(c) "
              "e = Reshape(d, u) f = Transpose<perm=[0,2,1,3]>(e) y = Reshape(f, v)",
              {"s": ints(1, 4, 2, 3), "t": ints(2, 4, 3), "u": ints(1, 2, 4, 3), "v": ints(1, 4, 6)}),
    "ambiguous_reshape_is_revised": ("float[1,6] x", "float[1,1,5] y",
                                     "a = Reshape(x, s) b, h = RNN<hidden_size=5>(a, w, r) c = Squeeze(b, k) "
                                     "y = Transpose<perm=[1,0,2]>(c)",
                                     {"s": ints(1, 1, 6), "w": (1, 5, 6), "r": (1, 5, 5), "k": ints(1)}),
    "flatten": (X, "float[1,24] y", "y = Flatten(x)", {}),
    "flatten_folds": (X, "float[4,6] y", "y = Flatten<axis=2>(x)", {}),
    "squeeze_unsqueeze": (X, "float[1,4,6] y", "a = Unsqueeze(x, k) b = Relu(a) y = Squeeze(b, k)", {"k": ints(0)}),
    "concat_constant": (X, "float[1,5,6] y", "y = Concat<axis=1>(c, x)", {"c": (1, 1, 6)}),
    "split": (X, "float[1,2,6] y", "y, z = Split<axis=1>(x, s)", {"s": ints(2, 2)}),
    "slice_of_features": (X, "float[1,2,6] y", "y = Slice(x, b, e, k)", {"b": ints(1), "e": ints(3), "k": ints(1)}),
    "slice_of_everything": (X, "float[1,4,6] y", "y = Slice(x, b, e, k)", {"b": ints(0), "e": ints(1), "k": ints(0)}),
    "gather_token": (X, "float[1,6] y", "y = Gather<axis=1>(x, i)", {"i": np.array(2, I64)}),
    "embedding": ("int64[1,4] x", "float[1,4,5] y", "y = Gather(t, x)", {"t": (2, 5)}),
    "gather_elements": (X, "float[1,2,6] y", "y = GatherElements<axis=1>(x, i)", {"i": np.ones((1, 2, 6), I64)}),
    "own_row_of_a_flat_table": (X, "float[1,1,4,6] y",
                                "a = Reshape(x, s) y = Gather(a, i)",
                    {"s": ints(4, 6), "i": np.array([[[3, 1, 0, 2]]], I64)}),
    "pad": (X, "float[1,6,6] y", "y = Pad(x, p)", {"p": ints(0, 1, 0, 0, 1, 0)}),
    "tile_features": (X, "float[1,4,12] y", "y = Tile(x, r)", {"r": ints(1, 1, 2)}),
    "expand": ("float[1,1,6] x", "float[1,4,6] y", "y = Expand(x, s)", {"s": ints(1, 4, 6)}),
    "constant_of_shape": (X, "float[1,4,6] y", "s = Shape(x) c = ConstantOfShape(s) y = Add(x, c)", {}),
    "shape_arithmetic": (X, "float[1,24] y",
                         "s = Shape(x) i = Gather(s, o) n = Unsqueeze(i, p) t = Concat<axis=0>(n, m) y = Reshape(x, t)",
                         {"o": np.array(0, I64), "p": ints(0), "m": ints(-1)}),
    "expanded_arange": ("int64[1,4] x", "float[1,4,5] y",
                        "s = Shape(x) p = Expand(r, s) a = Gather(t, p) b = Gather(t, x) y = Add(a, b)",
                        {"r": ints(0, 1, 2, 3), "t": (4, 5)}),
    "softmax": (X, "float[1,4,6] y", "y = Softmax(x)", {}),
    "reduce": (X, "float[1,4] y", "y = ReduceMax<axes=[2], keepdims=0>(x)", {}),
    "reduce_ahead": (X, "float[1,6] y", "a = Transpose<perm=[1,0,2]>(x) y = ReduceMean<axes=[0], keepdims=0>(a)", {}),
    "layer_norm": (X, "float[1,4,6] y", "y = LayerNormalization(x, w, b)", {"w": (6,), "b": (6,)}),
    "arg_max": (X, "int64[1,4] y", "y = ArgMax<axis=2, keepdims=0>(x)", {}),
    "top_k": (X, "float[1,4,2] y, int64[1,4,2] z", "y, z = TopK(x, k)", {"k": ints(2)}),
    "cum_sum": (X, "float[1,4,6] y", "y = CumSum(x, k)", {"k": np.array(1, I64)}),
    "one_hot": ("int64[1,4] x", "float[1,3,4] y", "y = OneHot<axis=1>(x, d, v)",
                {"d": np.array(3, I64), "v": np.array([0, 1], np.float32)}),
    "trilu": (X, "float[1,4,6] y", "y = Trilu(x)", {}),
    "einsum": (X, "float[1,4,4] y", 'y = Einsum<equation="bij,bkj->bik">(x, x)', {}),
    "einsum_ellipsis": (X, "float[1,4,5] y", 'y = Einsum<equation="...j,jk->...k">(x, w)', {"w": (6, 5)}),
    "lstm_initial_state": ("float[1,4,6] x", "float[4,1,1,5] y",
                           "a = Transpose<perm=[1,0,2]>(x) y = LSTM<hidden_size=5>(a, w, r, , , h, c)",
                           {"w": (1, 20, 6), "r": (1, 20, 5), "h": (1, 1, 5), "c": (1, 1, 5)}),
    "gru": ("float[1,4,6] x", "float[1,1,5] h",
            "a = Transpose<perm=[1,0,2]>(x) y, h = GRU<hidden_size=5>(a, w, r)", {"w": (1, 15, 6), "r": (1, 15, 5)}),
    "dequantized": ("uint8[1,4,6] x", "float[1,4,6] y", "y = DequantizeLinear<axis=1>(x, s, z)",
                    {"s": (4,), "z": np.array([1, 2, 3, 4], np.uint8)}),
}  # fmt: skip
IMAGE = "float[1,4,6,6] x"
IMAGE_CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "conv": ("float[1,3,4,4] y", "y = Conv(x, w, b)", {"w": (3, 4, 3, 3), "b": (3,)}),
    "conv_transpose": ("float[1,3,8,8] y", "y = ConvTranspose(x, w)", {"w": (4, 3, 3, 3)}),
    "batch_norm": ("float[1,4,6,6] y", "y = BatchNormalization(x, s, s, m, v)",
                   {"s": (4,), "m": (4,), "v": np.ones(4, np.float32)}),
    "instance_norm": ("float[1,4,6,6] y", "y = InstanceNormalization(x, s, s)", {"s": (4,)}),
    "pools": ("float[1,4,1,1] y", "a = MaxPool<kernel_shape=[2,2]>(x) b = AveragePool<kernel_shape=[2,2]>(a) "
              "y = GlobalAveragePool(b)", {}),
    "channel_shuffle": ("float[1,4,6,6] y",
                        "a = Reshape(x, s) b = Transpose<perm=[0,2,1,3,4]>(a) y = Reshape(b, t)",
                        {"s": ints(1, 2, 2, 6, 6), "t": ints(1, 4, 6, 6)}),
    "resize_sizes": ("float[1,4,12,12] y", "y = Resize(x, , , z)", {"z": ints(1, 4, 12, 12)}),
    "resize_scales": ("float[1,4,12,12] y", "y = Resize(x, , z)", {"z": np.array([1, 1, 2, 2], np.float32)}),
    "depth_to_space": ("float[1,1,12,12] y", "y = DepthToSpace<blocksize=2>(x)", {}),
    "prelu": ("float[1,4,6,6] y", "y = PRelu(x, s)", {"s": (4, 1, 1)}),
    "grid_sample": ("float[1,4,3,3] y", "y = GridSample(x, g)", {"g": (1, 3, 3, 2)}),
    "quantized": ("float[1,4,6,6] y", "a = QuantizeLinear(x, s, z) y = DequantizeLinear(a, s, z)",
                  {"s": np.array(0.1, np.float32), "z": np.array(3, np.int8)}),
    "linear_conv": ("uint8[1,3,4,4] y", "a = QuantizeLinear(x, s, z) y = QLinearConv(a, s, z, w, s, z, s, z)",
                    {"s": np.array(0.1, np.float32), "z": np.array(3, np.uint8), "w": np.ones((3, 4, 3, 3), np.uint8)}),
}  # fmt: skip
ALL = {**CASES, **{name: (IMAGE, *rest) for name, rest in IMAGE_CASES.items()}}


@pytest.mark.parametrize("batch", [2, 3, 7])
@pytest.mark.parametrize("name", ALL)
def test_an_operator_gives_each_sample_what_it_gives_it_alone(name: str, batch: int) -> None:
    ins, outs, body, weights = ALL[name]
    assert_widens(case(ins, outs, body, **weights), batch)


@pytest.mark.parametrize("batch", [1, 2, 6, 7])
def test_a_baked_in_batch_of_four_becomes_any_other(batch: int) -> None:
    proto = case(
        "float[4,3,6] x", "float[4,3,5] y", "a = Reshape(x, s) b = MatMul(a, w) c = Add(b, k) y = Reshape(c, t)",
        s=ints(12, 6), t=ints(4, 3, 5), w=(6, 5), k=np.tile(np.arange(15, dtype=np.float32).reshape(3, 5), (4, 1)),
    )  # fmt: skip
    assert_widens(proto, batch)


def test_a_symbolic_batch_is_pinned_wherever_it_is_named() -> None:
    proto = case("float[batch,n_tokens,6] x", "float[batch,n_tokens,5] y", "a = Relu(x) y = MatMul(a, w)", w=(6, 5))
    wide = assert_widens(proto, 3, n_tokens=4)
    ports = (wide.graph.input[0], wide.graph.output[0])
    shapes = [[d.dim_param or d.dim_value for d in port.type.tensor_type.shape.dim] for port in ports]
    assert shapes == [[3, "n_tokens", 6], [3, "n_tokens", 5]]


def test_a_model_that_says_any_batch_but_means_one_is_widened() -> None:
    proto = case("float[batch,2,2] x", "float[1,5] y", "a = Reshape(x, s) y = MatMul(a, w)", s=ints(1, -1), w=(4, 5))
    wide = assert_widens(proto, 3)
    assert [d.dim_value for d in wide.graph.output[0].type.tensor_type.shape.dim] == [3, 5]


def test_a_lone_scalar_input_stays_and_a_value_per_sample_grows() -> None:
    lone = case("float[1,6] x, float[1] t", "float[1,6] y", "y = Div(x, t)")
    assert batch_axes(read(lone)).inputs == {"x": 0}
    assert_widens(lone, 3)
    each = case("float[1,6] x, float[1] t", "float[1,6] y", "a = Unsqueeze(t, k) y = Div(x, a)", k=ints(1))
    assert batch_axes(read(each)).inputs == {"x": 0, "t": 0}
    assert_widens(each, 3)


def test_an_output_without_samples_stays_as_it_is() -> None:
    proto = case(X, "float[1,4,6] y, float[2] z", "y = Relu(x) z = Sqrt(c)", c=np.array([1, 4], np.float32))
    assert batch_axes(read(proto)).outputs == {"y": 0}
    assert_widens(proto, 2)


def test_widening_to_the_batch_that_is_there_changes_nothing() -> None:
    proto = case(X, "float[1,24] y", "y = Reshape(x, s)", s=ints(1, 24))
    once, first = widen(proto, 3)
    twice, second = widen(once, 3)
    assert first.changed
    assert not second.changed
    assert twice.SerializeToString() == once.SerializeToString()


def test_a_shared_target_is_not_rewritten_for_others() -> None:
    proto = case(X, "float[1,24] y, float[1,24] z", "y = Reshape(x, s) z = Reshape(c, s)", s=ints(1, 24), c=(4, 6))
    assert_widens(proto, 3)


def test_a_large_constant_is_repeated_when_the_model_runs() -> None:
    proto = case(X, "float[1,5,6] y", "y = Concat<axis=1>(c, x)", c=(1, 1, 6))
    graph = read(proto)
    WidenBatch(batch=4).run(graph, Context(fold_limit_bytes=30))
    assert [node.op for node in graph.nodes] == ["Tile", "Concat"]


def test_a_batch_below_one_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        WidenBatch(batch=0).run(read(case(X, "float[1,4,6] y", "y = Relu(x)")), Context())


def test_a_model_without_inputs_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="no input"):
        widen(case("", "float[2] y", "y = Sqrt(c)", c=(2,)), 2)
