"""Pooling, reductions, normalisations, elementwise operations, quantisation, resampling, transforms."""

from typing import Any

import numpy as np
import pytest

from tests.cost_model.asks import touched, weight, work

N = 2 * 3 * 8 * 8
MAP = (2, 3, 8, 8)


@pytest.mark.parametrize(
    ("op", "lanes", "specials"),
    [
        ("Relu", 1, 0),
        ("Add", 1, 0),
        ("Div", 0, 1),
        ("Sigmoid", 2, 2),
        ("Tanh", 0, 1),
        ("Erf", 0, 1),
        ("Gelu", 3, 1),
        ("Swish", 3, 2),
        ("HardSwish", 4, 0),
        ("Mish", 2, 3),
        ("QuantizeLinear", 4, 0),
        ("DequantizeLinear", 1, 0),
    ],
)
def test_elementwise(op: str, lanes: int, specials: int) -> None:
    binary = op in ("Add", "Div", "QuantizeLinear", "DequantizeLinear")
    counted = work(op, [MAP, ()] if binary else [MAP], [MAP])
    assert counted.kind == "elementwise"
    assert (counted.lane_ops, counted.special_ops) == (lanes * N, specials * N + (op == "QuantizeLinear"))


def test_broadcast_operands_are_read_at_their_own_size() -> None:
    counted = work("Mul", [MAP, weight(3, 1, 1)], [MAP])
    assert [(o.elements, o.constant) for o in counted.reads] == [(N, False), (3, True)]


def test_a_tensor_that_is_read_twice_counts_once() -> None:
    counted = work("Mul", [MAP, "@0"], [MAP])
    assert [(o.name, o.elements) for o in counted.reads] == [("i0", N)]


@pytest.mark.parametrize(
    ("exponent", "expected"), [(2.0, (1, 0)), (3.0, (2, 0)), (0.5, (0, 1)), (-1.0, (0, 1)), (1.7, (1, 2))]
)
def test_powers(exponent: float, expected: tuple[int, int]) -> None:
    counted = work("Pow", [MAP, np.array(exponent, np.float32)], [MAP])
    assert (counted.lane_ops, counted.special_ops) == (expected[0] * N, expected[1] * N)


def test_gelu_by_tanh_and_unknown_power() -> None:
    assert work("Gelu", [MAP], [MAP], approximate="tanh").lane_ops == 5 * N
    assert work("Pow", [MAP, ()], [MAP]).special_ops == 2 * N


def test_clip_counts_its_bounds() -> None:
    zero = np.array(0, np.float32)
    assert work("Clip", [MAP, zero, zero], [MAP]).lane_ops == 2 * N
    assert work("Clip", [MAP, None, zero], [MAP]).lane_ops == N
    assert work("Clip", [MAP], [MAP], min=0.0, max=6.0).lane_ops == 2 * N
    assert work("Clip", [MAP], [MAP]).kind == "view"


def test_variadic_operations() -> None:
    assert work("Sum", [MAP, MAP, MAP], [MAP]).lane_ops == 2 * N
    assert work("Mean", [MAP, MAP], [MAP]).lane_ops == 2 * N
    assert work("Max", [MAP], [MAP]).kind == "view"


def test_casts() -> None:
    assert work("Cast", [MAP], [MAP], dtypes=["float32", "float16"]).lane_ops == N
    assert work("Cast", [MAP], [MAP]).kind == "view"
    assert "string" in work("Cast", [MAP], [MAP], dtypes=["float32", "string"]).reason


def test_quantization_with_zero_point() -> None:
    types = ["float32", "float32", "uint8", "uint8"]
    assert work("QuantizeLinear", [MAP, (3,), (3,)], [MAP], dtypes=types).lane_ops == 5 * N
    assert (
        work("DynamicQuantizeLinear", [MAP], [MAP, (), ()], dtypes=["float32", "uint8", "float32", "uint8"]).lane_ops
        == 7 * N
    )


def test_rotary_embedding() -> None:
    counted = work("RotaryEmbedding", [(1, 4, 10, 16), weight(50, 8), weight(50, 8), (1, 10)], [(1, 4, 10, 16)])
    assert counted.lane_ops == 2 * 640
    assert touched(counted, "i1") == 10 * 8


@pytest.mark.parametrize(
    ("op", "lanes", "specials"),
    [
        ("ReduceSum", N, 0),
        ("ReduceMean", N + 6, 0),
        ("ReduceL1", 2 * N, 0),
        ("ReduceL2", N, 6),
        ("ReduceLogSum", N, 6),
        ("ReduceLogSumExp", 3 * N, N + 6),
        ("ArgMax", 2 * N, 0),
    ],
)
def test_reductions(op: str, lanes: int, specials: int) -> None:
    counted = work(op, [MAP, np.array([2, 3])], [(2, 3, 1, 1)])
    assert (counted.kind, counted.lane_ops, counted.special_ops) == ("reduce", lanes, specials)
    assert [o.name for o in counted.reads] == ["i0"]


def test_a_reduction_of_single_elements_is_a_view() -> None:
    assert work("ReduceSum", [(4, 1)], [(4,)]).alias_of == "i0"
    assert work("ReduceL1", [(4, 1)], [(4,)]).kind == "reduce"


def test_selections() -> None:
    assert work("TopK", [(2, 100), np.array([7])], [(2, 7), (2, 7)]).lane_ops == 200 * 3
    assert work("Unique", [(100,)], [(30,)]).lane_ops == 700
    assert work("Det", [(5, 3, 3)], [(5,)]).lane_ops == 45


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "lanes", "specials"),
    [
        ("BatchNormalization", [MAP, *[weight(3)] * 4], {}, N + 6, 6),
        ("BatchNormalization", [MAP, *[weight(3)] * 4], {"training_mode": 1}, 4 * N + 6, 6),
        ("LayerNormalization", [MAP, weight(8), weight(8)], {}, 5 * N + 2 * 48, 2 * 48),
        ("InstanceNormalization", [MAP, weight(3), weight(3)], {}, 5 * N + 12, 12),
        ("GroupNormalization", [MAP, weight(3), weight(3)], {"num_groups": 3}, 5 * N + 12, 12),
        ("MeanVarianceNormalization", [MAP], {}, 4 * N + 6, 6),
        ("RMSNormalization", [MAP, weight(8)], {}, 3 * N + 48, 96),
        ("LRN", [MAP], {"size": 5}, 7 * N, 2 * N),
        ("LpNormalization", [MAP], {}, N, N + 48),
        ("LpNormalization", [MAP], {"p": 1}, 2 * N, N),
        ("Softmax", [MAP], {}, 3 * N, 2 * N),
        ("LogSoftmax", [MAP], {"axis": 1}, 4 * N, N + 128),
        ("Hardmax", [MAP], {}, 2 * N, 0),
    ],
)
def test_normalizations(op: str, inputs: list[Any], attrs: dict[str, int], lanes: int, specials: int) -> None:
    counted = work(op, inputs, [MAP], **attrs)
    assert (counted.lane_ops, counted.special_ops) == (lanes, specials)


def test_losses() -> None:
    loss = work("NegativeLogLikelihoodLoss", [(4, 10), (4,)], [()], dtypes=["float32", "int64", "float32"])
    assert touched(loss, "i0") == 4
    loss = work("SoftmaxCrossEntropyLoss", [(4, 10), (4,)], [()], dtypes=["float32", "int64", "float32"])
    assert (loss.lane_ops, loss.special_ops) == (4 * 40 + 8, 40 + 4)


def test_pools() -> None:
    pool = work("MaxPool", [(1, 64, 112, 112)], [(1, 64, 56, 56)], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    assert (pool.kind, pool.lane_ops) == ("pool", 9 * 64 * 56 * 56)
    assert touched(pool, "i0") == 64 * 112 * 112
    indices = work("MaxPool", [MAP], [(2, 3, 4, 4), (2, 3, 4, 4)], kernel_shape=[2, 2], strides=[2, 2])
    assert indices.lane_ops == 2 * N
    skipping = work("AveragePool", [(1, 1, 9)], [(1, 1, 3)], kernel_shape=[1], strides=[4])
    assert touched(skipping, "i0") == 3
    assert work("LpPool", [MAP], [(2, 3, 4, 4)], kernel_shape=[2, 2], strides=[2, 2]).special_ops == 96
    assert work("GlobalAveragePool", [MAP], [(2, 3, 1, 1)]).lane_ops == N
    assert work("GlobalLpPool", [MAP], [(2, 3, 1, 1)]).special_ops == 6
    assert work("MaxUnpool", [(1, 1, 2, 2), (1, 1, 2, 2)], [(1, 1, 4, 4)]).kind == "move"


def test_resampling() -> None:
    nearest = work("Resize", [MAP, None, weight(4)], [(2, 3, 16, 16)], mode="nearest")
    assert (nearest.kind, nearest.lane_ops) == ("move", 0)
    assert work("Resize", [MAP, None, weight(4)], [(2, 3, 16, 16)], mode="linear").lane_ops == 4 * 4 * N
    assert work("Resize", [MAP, None, weight(4)], [(2, 3, 16, 8)], mode="cubic").lane_ops == 4 * 2 * N
    thin = work("Resize", [MAP, None, weight(4)], [(2, 3, 2, 8)], mode="linear", antialias=1)
    assert thin.lane_ops == 8 * N // 4
    assert work("Upsample", [MAP, weight(4)], [MAP]).alias_of == "i0"
    assert work("GridSample", [MAP, (2, 5, 5, 2)], [(2, 3, 5, 5)]).lane_ops == 4 * 150 + 6 * 50
    assert work("AffineGrid", [(2, 2, 3), weight(4)], [(2, 5, 5, 2)]).lane_ops == 2 * 100
    regions = [(1, 3, 8, 8), (7, 4), (7,)]
    assert work("RoiAlign", regions, [(7, 3, 2, 2)], sampling_ratio=2).lane_ops == 5 * 4 * 84
    assert "sampling_ratio" in work("RoiAlign", regions, [(7, 3, 2, 2)]).reason
    assert "do not fit" in work("Resize", [MAP, None, weight(4)], [(2, 3, 16, 16)], mode="strange").reason


def test_transforms() -> None:
    assert work("DFT", [(2, 256, 2)], [(2, 256, 2)], axis=1).lane_ops == 2 * 5 * 256 * 8
    assert work("DFT", [(2, 256, 1)], [(2, 129, 2)], axis=1, onesided=1).lane_ops == 2 * 5 * 256 * 8 // 2
    frames = work("STFT", [(1, 1024), np.array(128), weight(256)], [(1, 7, 129, 2)])
    assert frames.lane_ops == 7 * (256 + 5 * 256 * 8 // 2)
    assert work("BlackmanWindow", [()], [(10,)], dtypes=["int32", "float32"]).special_ops == 20
    assert work("MelWeightMatrix", [(), (), (), (), ()], [(9, 8)]).lane_ops == 5 * 72
