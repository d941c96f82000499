"""Convolutions: MACs by hand, pixels touched against a count of every one of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model.ops.conv import touched_positions
from roofwright.cost_model.work import LoopNest
from tests.cost_model.asks import touched, weight, work


def test_resnet_stem() -> None:
    stem = work(
        "Conv",
        [(1, 3, 224, 224), weight(64, 3, 7, 7), weight(64)],
        [(1, 64, 112, 112)],
        strides=[2, 2],
        pads=[3, 3, 3, 3],
    )
    assert stem.kind == "conv"
    assert stem.macs == 112 * 112 * 64 * 3 * 49 == 118_013_952  # arXiv:1512.03385, Table 1, conv1
    assert stem.nest == LoopNest(1, 1, 112, 112, 64, 3, 7, 7, 2, 2, 1, 1, 224, 224)
    assert stem.lane_ops == 64 * 112 * 112
    assert [(o.elements, o.constant) for o in stem.reads] == [(150_528, False), (9408, True), (64, True)]
    assert [o.elements for o in stem.writes] == [802_816]


def test_a_stride_beyond_the_kernel_skips_pixels() -> None:
    shortcut = work("Conv", [(1, 256, 56, 56), weight(512, 256, 1, 1)], [(1, 512, 28, 28)], strides=[2, 2])
    assert touched(shortcut, "i0") == 256 * 28 * 28
    assert shortcut.lane_ops == 0


def test_a_depthwise_layer_has_one_copy_per_channel() -> None:
    layer = work("Conv", [(2, 32, 8, 8), weight(64, 1, 3, 3)], [(2, 64, 8, 8)], group=32, pads=[1, 1, 1, 1])
    assert layer.kind == "depthwise"
    assert layer.nest is not None
    assert (layer.nest.repeat, layer.nest.in_channels, layer.nest.out_channels) == (32, 1, 2)
    assert layer.macs == 2 * 64 * 64 * 9


def test_groups_divide_the_channels() -> None:
    layer = work("Conv", [(1, 8, 4, 4), weight(12, 4, 1, 1)], [(1, 12, 4, 4)], group=2)
    assert layer.kind == "conv"
    assert layer.macs == 12 * 16 * 4


def test_one_and_three_dimensions() -> None:
    line = work("Conv", [(1, 4, 20), weight(6, 4, 5)], [(1, 6, 16)])
    assert line.nest == LoopNest(out_w=16, out_channels=6, in_channels=4, kernel_w=5, in_w=20)
    cube = work("Conv", [(1, 3, 8, 16, 16), weight(5, 3, 3, 3, 3)], [(1, 5, 6, 14, 14)])
    assert cube.macs == 5 * 6 * 14 * 14 * 3 * 27
    assert cube.nest is not None
    assert (cube.nest.out_h, cube.nest.in_channels, cube.nest.in_h) == (6 * 14, 9, 8 * 16)


@pytest.mark.parametrize(("mode", "read"), [("SAME_UPPER", 8), ("SAME_LOWER", 8), ("VALID", 6)])
def test_auto_pad(mode: str, read: int) -> None:
    out = 2 if mode == "VALID" else 3  # kernel 3, stride 3 over 8 positions
    layer = work("Conv", [(1, 1, 8), weight(1, 1, 3)], [(1, 1, out)], strides=[3], auto_pad=mode)
    assert touched(layer, "i0") == read


def test_a_transposed_convolution_multiplies_every_input_pixel() -> None:
    up = work("ConvTranspose", [(1, 64, 28, 28), weight(64, 32, 2, 2)], [(1, 32, 56, 56)], strides=[2, 2])
    assert up.macs == 28 * 28 * 4 * 64 * 32
    assert up.lane_ops == 0  # windows do not overlap
    overlapping = work("ConvTranspose", [(1, 4, 5, 5), weight(4, 6, 3, 3), weight(6)], [(1, 6, 7, 7)])
    assert overlapping.macs == 25 * 9 * 4 * 6
    assert overlapping.lane_ops == 25 * 9 * 6 + 6 * 49
    grouped = work("ConvTranspose", [(1, 4, 5, 5), weight(4, 1, 2, 2)], [(1, 4, 10, 10)], group=4, strides=[2, 2])
    assert (grouped.kind, grouped.macs) == ("depthwise", 25 * 4 * 4)


def test_integer_convolutions_carry_their_types() -> None:
    types = ["uint8", "float32", "uint8", "int8", "float32", "int8", "float32", "uint8", "uint8"]
    shapes = [(1, 8, 6, 6), (), (), (16, 8, 3, 3), (), (), (), ()]
    quantized = work("QLinearConv", shapes, [(1, 16, 4, 4)], dtypes=types)
    assert quantized.macs == 16 * 16 * 72
    assert quantized.lane_ops == 5 * 256
    assert {o.name: o.dtype for o in quantized.reads}["i3"] == "int8"
    plain = work("ConvInteger", [(1, 8, 6, 6), (16, 8, 3, 3), ()], [(1, 16, 4, 4)], dtypes=[*["uint8"] * 3, "int32"])
    assert (plain.macs, plain.lane_ops) == (16 * 16 * 72, 256)


def test_a_deformable_convolution_samples_every_tap() -> None:
    shapes = [(1, 4, 6, 6), weight(8, 4, 3, 3), (1, 18, 4, 4), None, (1, 9, 4, 4)]
    layer = work("DeformConv", shapes, [(1, 8, 4, 4)])
    assert layer.macs == 8 * 16 * 36
    assert layer.lane_ops == (4 + 1) * 16 * 9 * 4


def test_causal_convolution_with_state() -> None:
    layer = work(
        "CausalConvWithState",
        [(2, 6, 10), weight(6, 1, 4), weight(6)],
        [(2, 6, 10), (2, 6, 3)],
        activation="silu",
    )
    assert (layer.kind, layer.macs) == ("depthwise", 2 * 6 * 10 * 4)
    assert (layer.lane_ops, layer.special_ops) == (3 * 120, 2 * 120)


def test_ranks_that_do_not_fit_are_not_modelled() -> None:
    layer = work("Conv", [(1, 3, 8, 8), weight(4, 3, 3)], [(1, 4, 6, 6)])
    assert layer.kind == "not_modelled"
    assert "rank" in layer.reason


@given(
    st.integers(1, 20), st.integers(1, 20), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.integers(-2, 4)
)
def test_touched_positions(size: int, out: int, kernel: int, stride: int, dilation: int, pad: int) -> None:
    read = {o * stride + t * dilation - pad for o in range(out) for t in range(kernel)}
    assert touched_positions(size, out, kernel, stride, dilation, pad) == len(read & set(range(size)))
