from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseBatchNorm
from tests.passes.harness import (
    PLACES,
    Array,
    Case,
    build,
    check,
    check_unrun,
    float32,
    int64,
    ops,
    positive,
    random,
    run_pass,
    same,
)
from tests.passes.perturb import Perturbation, check_perturbed, perturbed


def norm(channels: int, dtype: Any = np.float32) -> dict[str, Array]:
    return {
        "g": random(channels, seed=1, dtype=dtype),
        "t": random(channels, seed=2, dtype=dtype),
        "m": random(channels, seed=3, dtype=dtype),
        "v": positive(channels, seed=4, dtype=dtype),
    }


BN = "BatchNormalization(c, g, t, m, v)"
IMAGE = "(float[2,4,5,5] x) => (float[2,6,N,N] y)"


def conv(name: str, attrs: str, weight: Array, *, size: int, after: str | None = "Conv", **options: Any) -> Case:
    """Conv, then BatchNormalization."""
    arrays = {"w": weight, **norm(6), **options.pop("arrays", {})}
    inputs = "x, w, b" if "b" in arrays else "x, w"
    text = f"{IMAGE.replace('N', str(size))} {{ c = Conv{attrs}({inputs}) y = {BN} }}"
    return Case(name, text, after, arrays=arrays, exact=False, **options)


W = random(6, 4, 3, 3)
CASES = [
    conv("conv without bias", "", W, size=3),
    conv("conv with bias", "", W, size=3, arrays={"b": random(6, seed=9)}),
    conv("padding and strides", "<pads = [1, 1, 1, 1], strides = [2, 2]>", W, size=3),
    conv("groups", "<group = 2>", random(6, 2, 3, 3), size=3),
    conv("opset 7", "", W, size=3, opset=7),
    conv("opset 9", "", W, size=3, opset=9),
    conv("opset 14", "", W, size=3, opset=14),
    conv("one channel is dead", "", W, size=3, arrays={"g": float32([0, 1, 2, 3, 4, 5])}),
    conv(
        "variance + epsilon is 0",
        "",
        W,
        size=3,
        after=None,
        declines="not positive",
        arrays={"v": float32([-1e-5, 1, 1, 1, 1, 1])},
    ),
    conv(
        "a parameter is not a number",
        "",
        W,
        size=3,
        after=None,
        declines="its scale or shift is not finite",
        arrays={"g": float32([np.nan, 1, 1, 1, 1, 1])},
    ),
    conv(
        "overflow",
        "",
        W * float32(1e30),
        size=3,
        after=None,
        declines="not finite in float32",
        arrays={"g": np.full(6, 1e10, np.float32)},
    ),
    Case(
        "transposed convolution",
        f"(float[1,4,3,3] x) => (float[1,6,5,5] y) {{ c = ConvTranspose(x, w) y = {BN} }}",
        "ConvTranspose",
        arrays={"w": random(4, 6, 3, 3), **norm(6)},
        exact=False,
    ),
    Case(
        "transposed convolution in groups",
        f"(float[1,4,3,3] x) => (float[1,6,5,5] y) {{ c = ConvTranspose<group = 2>(x, w, b) y = {BN} }}",
        "ConvTranspose",
        arrays={"w": random(4, 3, 3, 3), "b": random(6), **norm(6)},
        exact=False,
    ),
    Case(
        "gemm, alpha and beta",
        f"(float[2,4] x) => (float[2,6] y) {{ c = Gemm<alpha = 0.5, beta = 2.0>(x, w, b) y = {BN} }}",
        "Gemm",
        arrays={"w": random(4, 6), "b": random(6), **norm(6)},
        exact=False,
    ),
    Case(
        "gemm, transB, no bias",
        f"(float[2,4] x) => (float[2,6] y) {{ c = Gemm<transB = 1, beta = 0.5>(x, w) y = {BN} }}",
        "Gemm",
        arrays={"w": random(6, 4), **norm(6)},
        exact=False,
    ),
    Case(
        "gemm, scalar bias",
        f"(float[2,4] x) => (float[2,6] y) {{ c = Gemm(x, w, b) y = {BN} }}",
        "Gemm",
        arrays={"w": random(4, 6), "b": float32(2), **norm(6)},
        exact=False,
    ),
    Case(
        "gemm, a bias per element",
        f"(float[2,4] x) => (float[2,6] y) {{ c = Gemm(x, w, b) y = {BN} }}",
        "Gemm",
        arrays={"w": random(4, 6), "b": random(2, 6), **norm(6)},
        exact=False,
    ),
    Case(
        "gemm, a bias per row",
        f"(float[2,4] x) => (float[2,6] y) {{ c = Gemm(x, w, b) y = {BN} }}",
        None,
        "not one value per channel",
        arrays={"w": random(4, 6), "b": random(2, 1), **norm(6)},
    ),
    Case(
        "matmul becomes a gemm",
        f"(float[2,4] x) => (float[2,6] y) {{ c = MatMul(x, w) y = {BN} }}",
        "Gemm",
        arrays={"w": random(4, 6), **norm(6)},
        exact=False,
    ),
    Case(
        "matmul of rank 3: the channels are the rows",
        f"(float[2,6,4] x) => (float[2,6,6] y) {{ c = MatMul(x, w) y = {BN} }}",
        arrays={"w": random(4, 6), **norm(6)},
    ),
    Case(
        "normalisation of a normalisation",
        f"(float[2,6,4] x) => (float[2,6,4] y) {{ n = Neg(x) c = BatchNormalization(n, g, t, m, v) y = {BN} }}",
        "BatchNormalization Neg",
        arrays=norm(6),
        exact=False,
    ),
    Case(
        "normalisation first, no padding",
        "(float[2,6,5,5] x) => (float[2,4,3,3] y) { c = BatchNormalization(x, g, t, m, v) y = Conv(c, w, b) }",
        "Conv",
        arrays={"w": random(4, 6, 3, 3), "b": random(4), **norm(6)},
        exact=False,
    ),
    Case(
        "normalisation first, groups, no bias",
        "(float[2,6,5,5] x) => (float[2,4,3,3] y) { c = BatchNormalization(x, g, t, m, v) y = Conv<group = 2>(c, w) }",
        "Conv",
        arrays={"w": random(4, 3, 3, 3), **norm(6)},
        exact=False,
    ),
    Case(
        "normalisation first, padding",
        "(float[2,6,5,5] x) => (float[2,4,5,5] y) "
        "{ c = BatchNormalization(x, g, t, m, v) y = Conv<pads = [1, 1, 1, 1]>(c, w) }",
        None,
        "has padding",
        arrays={"w": random(4, 6, 3, 3), **norm(6)},
    ),
    Case(
        "normalisation first, automatic padding",
        "(float[2,6,5,5] x) => (float[2,4,5,5] y) "
        '{ c = BatchNormalization(x, g, t, m, v) y = Conv<auto_pad = "SAME_UPPER">(c, w) }',
        None,
        "has padding",
        arrays={"w": random(4, 6, 3, 3), **norm(6)},
    ),
    Case(
        "normalisation first, padding, no shift",
        "(float[2,6,5,5] x) => (float[2,4,5,5] y) "
        "{ c = BatchNormalization(x, g, t, m, v) y = Conv<pads = [1, 1, 1, 1]>(c, w) }",
        "Conv",
        arrays={"w": random(4, 6, 3, 3), **norm(6), "t": np.zeros(6, np.float32), "m": np.zeros(6, np.float32)},
        exact=False,
    ),
    Case(
        "two readers",
        f"(float[2,4,3,3] x) => (float[2,6,1,1] y, float[2,6,1,1] z) {{ c = Conv(x, w) y = {BN} z = Neg(c) }}",
        None,
        "also read by",
        arrays={"w": W, **norm(6)},
    ),
    Case(
        "the convolution's result is an output",
        f"(float[2,4,3,3] x) => (float[2,6,1,1] y, float[2,6,1,1] c) {{ c = Conv(x, w) y = {BN} }}",
        None,
        "is an output",
        arrays={"w": W, **norm(6)},
    ),
    Case(
        "a shared weight is copied",
        f"(float[2,4,3,3] x) => (float[2,6,1,1] y, float[2,6,1,1] z) {{ c = Conv(x, w) y = {BN} z = Conv(x, w) }}",
        "Conv Conv",
        arrays={"w": W, **norm(6)},
        exact=False,
    ),
    Case(
        "a large shared weight is not copied",
        f"(float[2,4,3,3] x) => (float[2,6,1,1] y, float[2,6,1,1] z) {{ c = Conv(x, w) y = {BN} z = Conv(x, w) }}",
        None,
        "shared by 2 uses",
        arrays={"w": W, **norm(6)},
        context={"fold_limit_bytes": 100},
    ),
    Case(
        "too few parameters",
        "(float[2,4,3,3] x) => (float[2,6,1,1] y) { c = Conv(x, w) d = Reshape(c, s) "
        "e = BatchNormalization(d, g, t, m, v) y = Reshape(e, r) }",
        arrays={"w": W, "s": int64([2, 3, 2]), "r": int64([2, 6, 1, 1]), **norm(3)},
    ),
    Case(
        "exact only",
        f"(float[2,4,3,3] x) => (float[2,6,1,1] y) {{ c = Conv(x, w) y = {BN} }}",
        None,
        "numerics",
        arrays={"w": W, **norm(6)},
        context={"numerics": "exact"},
    ),
    Case(
        "normalisation first, several convolutions",
        "(float[2,6,5,5] x) => (float[2,4,3,3] y, float[2,4,1,1] z) "
        "{ c = BatchNormalization(x, g, t, m, v) y = Conv(c, w, b) z = Conv(c, u) }",
        "Conv Conv",
        arrays={"w": random(4, 6, 3, 3), "b": random(4), "u": random(4, 6, 5, 5), **norm(6)},
        exact=False,
    ),
    Case(
        "normalisation first, one of several convolutions has padding",
        "(float[2,6,5,5] x) => (float[2,4,3,3] y, float[2,4,5,5] z) "
        "{ c = BatchNormalization(x, g, t, m, v) y = Conv(c, w) z = Conv<pads = [1, 1, 1, 1]>(c, w) }",
        None,
        "has padding",
        arrays={"w": random(4, 6, 3, 3), **norm(6)},
    ),
    Case(
        "normalisation of a weight",
        "(float[1,6,5,5] x, float[4,6,3,3] u) => (float[1,4,3,3] y) "
        "{ c = BatchNormalization(u, g, t, m, v) y = Conv(x, c) }",
        arrays=norm(6),
    ),
    conv("a large weight of its own", "", W, size=3, context={"fold_limit_bytes": 10}),
    Case("alone", "(float[2,6,3,3] c) => (float[2,6,3,3] y) { y = BatchNormalization(c, g, t, m, v) }", arrays=norm(6)),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(FuseBatchNorm(), case, place)


UNRUN = [
    conv("element by element", "", W, size=3, after=None, declines="every element", opset=7),
    conv("parameters of another length", "", W, size=3, after=None, declines="four vectors of 6", opset=9),
    conv("before opset 7", "", W, size=3, after=None, declines="before opset 7", opset=6),
    Case(
        "normalisation first, a weight of no known size",
        "(float[1,6,5,5] x, float[M,C,P,Q] u) => (float[1,4,3,3] y) "
        "{ c = BatchNormalization(x, g, t, m, v) y = Conv(c, u) }",
        arrays=norm(6),
    ),
    Case(
        "normalisation first, filters that do not fill their groups",
        "(float[1,6,3,3] x) => (float[1,2,3,3] y) "
        "{ c = BatchNormalization(x, g, t, m, v) y = Conv<group = 3, kernel_shape = [1, 1]>(c, w) }",
        declines="do not make 3 groups",
        arrays={"w": random(2, 2, 1, 1), **norm(6)},
    ),
]
UNRUN[0] = replace(UNRUN[0], text=UNRUN[0].text.replace("Normalization(", "Normalization<spatial = 0>("))
UNRUN[1] = replace(UNRUN[1], arrays={**UNRUN[1].arrays, **norm(3)})
UNRUN[2] = replace(UNRUN[2], text=UNRUN[2].text.replace("Normalization(", "Normalization<is_test = 1>("))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", UNRUN, ids=str)
def test_what_no_runtime_takes(case: Case, place: str) -> None:
    check_unrun(FuseBatchNorm(), case, place)


@perturbed(CASES)
def test_short_of_a_precondition(case: Case, how: Perturbation) -> None:
    check_perturbed(FuseBatchNorm(), case, how)


def half(scale: float) -> Case:
    text = f"(float16[1,4,3,3] x) => (float16[1,6,1,1] y) {{ c = Conv(x, w) y = {BN} }}"
    arrays = {"w": random(6, 4, 3, 3, dtype=np.float16), **norm(6, np.float16), "g": np.full(6, scale, np.float16)}
    return Case("half", text, "Conv", arrays=arrays, exact=False)


def test_float16() -> None:
    check(FuseBatchNorm(), half(1.0), "alone")


@pytest.mark.parametrize(("scale", "reason"), [(60000.0, "not finite in float16"), (1e-5, "too small for float16")])
def test_float16_out_of_range(scale: float, reason: str) -> None:
    _, after, result = run_pass(FuseBatchNorm(), half(scale).model())
    assert [reason in record.reason for record in result.records] == [True]
    assert ops(after) == "BatchNormalization Conv"


def test_the_name_and_the_metadata_of_both_live_on() -> None:
    model = CASES[0].model()
    for node, name in zip(model.graph.node, ("conv", "norm"), strict=True):
        node.name = name
        node.metadata_props.add(key=f"from {name}", value="1")
    _, after, _ = run_pass(FuseBatchNorm(), model)
    (node,) = after.graph.node
    assert (node.name, list(node.output)) == ("conv", ["y"])
    assert {p.key: p.value for p in node.metadata_props} == {
        "from conv": "1",
        "from norm": "1",
        "roofwright.source": "conv + norm",
    }


@pytest.mark.parametrize("name", ["w", "b", "g", "v"])
def test_a_default_that_a_caller_may_override(name: str) -> None:
    arrays = {"w": W, "b": random(6), **norm(6)}
    shape = ",".join(str(size) for size in arrays[name].shape)
    text = f"(float[2,4,3,3] x, float[{shape}] {name}) => (float[2,6,1,1] y) {{ c = Conv(x, w, b) y = {BN} }}"
    before, after, result = run_pass(FuseBatchNorm(), build(text, arrays))
    assert [record.reason.endswith("may be overridden by a caller") for record in result.records] == [True]
    same(before, after)


def test_ir_3_has_no_defaults() -> None:
    case = Case(
        "ir 3",
        f"(float[2,4,3,3] x, float[6,4,3,3] w, float[6] g, float[6] t, float[6] m, float[6] v) => "
        f"(float[2,6,1,1] y) {{ c = Conv(x, w) y = {BN} }}",
        "Conv",
        arrays={"w": W, **norm(6)},
        opset=8,
        ir=3,
        exact=False,
    )
    after = check(FuseBatchNorm(), case, "alone")
    assert {info.name for info in after.graph.input} == {"x", "w", "c_bias"}


def test_training_and_statistics() -> None:
    text = (
        "(float[2,4,3,3] x) => (float[2,6,1,1] y) "
        "{ c = Conv(x, w) y, a, b = BatchNormalization<training_mode = 1>(c, g, t, m, v) }"
    )
    _, _, result = run_pass(FuseBatchNorm(), build(text, {"w": W, **norm(6)}))
    assert [record.reason for record in result.records] == ["it is in training mode"]


def test_before_opset_14_more_outputs_mean_training() -> None:
    text = f"(float[2,4,3,3] x) => (float[2,6,1,1] y) {{ c = Conv(x, w) y, a, b, d, e = {BN} }}"
    _, after, result = run_pass(FuseBatchNorm(), build(text, {"w": W, **norm(6)}, opset=9))
    assert ["more than one output" in record.reason for record in result.records] == [True]
    assert len(after.graph.node[1].output) == 5
