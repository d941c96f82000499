"""Through which nodes an order of channels passes: the source of the shuffle is fixed, a weight behind takes it up."""

from typing import Any

import pytest

from roofwright.passes.units import ChannelShuffles
from tests.passes.harness import PLACES, Array, Case, build, check, float32, int64, positive, random, run_pass
from tests.passes.units.shuffles import SHAPES, SHUFFLE, case

NORM = {name: positive(6, seed=at) for at, name in enumerate(("scale", "shift", "mean", "var"))}
UNKNOWN = "to = Compress(sizes, flags) u = Reshape(k, to)"
SIZES = {"sizes": int64([1, 6, 4, 4])}


def behind(middle: str, more: str = "", last: str = "y = Conv(z, w)", out: str = "float[1,7,4,4] y") -> str:
    return f"(float[1,6,4,4] x{more}) => ({out}) {{ a = Neg(x) {SHUFFLE} {middle} {last} }}"


def passes(name: str, middle: str, after: str, more: str = "", **arrays: Array) -> Case:
    return case(name, behind(middle, more), after, arrays=arrays)


def refused(name: str, text: str, **more: Any) -> Case:
    return case(f"declined: {name}", text, None, declines="no order of channels spares the shuffle", **more)


CASES = [
    passes("a number", "z = Mul(s, k)", "Conv Mul Neg", k=float32(3)),
    passes("a constant of low rank", "z = Add(s, k)", "Add Conv Neg", k=random(4)),
    passes("a constant for all channels", "z = Add(s, k)", "Add Conv Neg", k=random(1, 4, 4)),
    passes("a constant per channel", "z = Add(s, k)", "Add Conv Neg", k=random(6, 1, 1)),
    passes("a bound that is left out", "z = Clip(s,,high)", "Clip Conv Neg", high=float32(1)),
    passes(
        "an axis that is split behind the channels",
        "f = Reshape(s, flat) z = Reshape(f, back)",
        "Conv Neg Reshape Reshape",
        flat=int64([1, 6, 16]),
    ),
    passes(
        "instances", "z = InstanceNormalization(s, k, l)", "Conv InstanceNormalization Neg", k=random(6), l=random(6)
    ),
    case(
        "batches, before opset 9",
        behind("z = BatchNormalization<spatial = 1>(s, scale, shift, mean, var)"),
        "BatchNormalization Conv Neg",
        arrays=NORM,
        opset=8,
    ),
    refused("something that mixes channels", behind("z = Softmax<axis = 1>(s)")),
    refused(
        "places of maxima",
        behind("z, i = MaxPool<kernel_shape = [1,1]>(s)", out="float[1,7,4,4] y, int64[1,6,4,4] i"),
    ),
    refused(
        "an operand of unknown rank",
        behind(f"{UNKNOWN} z = Add(s, u)", ", float[1,6,4,4] k, bool[4] flags"),
        arrays=SIZES,
    ),
    refused(
        "an operand of unknown rank, though that of the result is known",
        behind(
            f"{UNKNOWN} z = Conv(s, w) y = Add(s, u)",
            ", float[1,6,4,4] k, bool[4] flags",
            "",
            "float[1,6,4,4] y, float[1,7,4,4] z",
        ),
        arrays=SIZES,
    ),
    refused(
        "channels become pixels",
        behind("f = Reshape(s, flat) z = Reshape(f, back)"),
        arrays={"flat": int64([1, 3, 32])},
    ),
    refused(
        "a computed scale",
        behind("z = BatchNormalization(s, k, shift, mean, var)", ", float[6] k"),
        arrays=NORM,
    ),
    refused("a computed weight", behind("z = Neg(s)", ", float[7,6,1,1] k", "y = Conv(z, k)")),
    refused(
        "a depthwise convolution with a computed bias",
        behind("z = Conv<group = 6>(s, d, k)", ", float[6] k"),
        arrays={"d": random(6, 1, 1, 1)},
    ),
    refused(
        "a product along the last axis",
        behind("z = Neg(s)", last="y = MatMul(z, m)", out="float[1,6,4,6] y"),
        arrays={"m": random(4, 6)},
    ),
    refused(
        "a product with a vector",
        behind("p = GlobalMaxPool(s) z = Flatten(p)", last="y = MatMul(z, m)", out="float[1] y"),
        arrays={"m": random(6)},
    ),
    refused(
        "a product of a transposed matrix",
        behind("p = GlobalMaxPool(s) z = Flatten(p)", last="y = Gemm<transA = 1>(z, m)", out="float[6,5] y"),
        arrays={"m": random(1, 5)},
    ),
    refused(
        "a product with a computed matrix",
        behind("p = GlobalMaxPool(s) z = Flatten(p)", ", float[6,5] k", "y = MatMul(z, k)", "float[1,5] y"),
    ),
    refused(
        "a product with a computed bias",
        behind("p = GlobalMaxPool(s) z = Flatten(p)", ", float[5] k", "y = Gemm(z, m, k)", "float[1,5] y"),
        arrays={"m": random(6, 5)},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case_", CASES, ids=str)
def test_case(case_: Case, place: str) -> None:
    check(ChannelShuffles(), case_, place)


def test_an_operand_whose_channels_are_one_or_all() -> None:
    """Four channels, or one: who knows before it runs."""
    text = """(float[1,4,4,4] x, float["a","b",4,4] k) => (float[1,7,4,4] y) { a = Neg(x) g = Reshape(a, grid)
        t = Transpose<perm = [0,2,1,3,4]>(g) s = Reshape(t, back) u = Reshape(k, any) z = Add(s, u) y = Conv(z, w) }"""
    arrays = {"grid": int64([1, 2, 2, 4, 4]), "back": int64([1, 4, 4, 4]), "any": int64([1, -1, 4, 4])}
    result = run_pass(ChannelShuffles(), build(text, {**arrays, "w": random(7, 4, 1, 1)}))[2]
    assert "no order of channels" in result.records[0].reason


def test_before_opset_7_broadcasting_starts_at_another_axis() -> None:
    text = behind("z = Add<broadcast = 1, axis = 1>(s, k)")
    result = run_pass(ChannelShuffles(), build(text, {**SHAPES, "k": random(6), "w": random(7, 6, 1, 1)}, opset=6))[2]
    assert "no order of channels" in result.records[0].reason
