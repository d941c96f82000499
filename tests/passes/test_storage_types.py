"""Weights are folded in float64 and stored in their own type: no pass makes one that overflows or rounds away there.

Every pass runs over its example with 16-bit weights of ordinary, large and tiny size. What comes out is compared in
float32, so that only what the stored weights lost can show.
"""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from roofwright.graph import run_model
from roofwright.passes import PASSES, PassResult, build
from roofwright.passes.fusion.weights import WeightPass
from tests.passes.harness import Array, run_pass
from tests.passes.harness import build as text_model
from tests.passes.models import NAMES, model_for

TYPES = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
EPSILON = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
ROUNDINGS = 6  # of a folded weight, its bias and their sum
FACTORS = {"float16": (1.0, 500.0, 2.0**-9), "bfloat16": (1.0, 1e20, 1e-20)}
STATISTICS = ("mean", "variance")  # stay as they are
FUSIONS = [name for name in NAMES if name in PASSES and issubclass(PASSES[name], WeightPass)]
FOLDS = ("fuse-batch-norm", "fuse-affine")  # multiply two weights: large ones overflow, tiny ones vanish


def narrowed(proto: onnx.ModelProto, dtype: str, factor: float) -> onnx.ModelProto:
    """The model with every float32 as `dtype`, its weights `factor` times as large."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    del made.graph.value_info[:]
    made.opset_import[0].version, made.ir_version = 22, 10  # the first with a Conv in bfloat16
    for tensor in made.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            times = np.float32(1 if tensor.name in STATISTICS else factor)
            _retype(tensor, numpy_helper.to_array(tensor) * times, TYPES[dtype])
    for port in (*made.graph.input, *made.graph.output):
        if port.type.tensor_type.elem_type == TensorProto.FLOAT:
            port.type.tensor_type.elem_type = TYPES[dtype]
    return made


def widened(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model in float32, with the weights that it stores."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    del made.graph.value_info[:]
    for tensor in made.graph.initializer:
        if tensor.data_type in TYPES.values():
            _retype(tensor, numpy_helper.to_array(tensor).astype(np.float32), TensorProto.FLOAT)
    for port in (*made.graph.input, *made.graph.output):
        if port.type.tensor_type.elem_type in TYPES.values():
            port.type.tensor_type.elem_type = TensorProto.FLOAT
    return made


def _retype(tensor: onnx.TensorProto, values: Array, number: int) -> None:
    with np.errstate(over="ignore"):
        array = values.astype(onnx.helper.tensor_dtype_to_np_dtype(number))
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def weights(proto: onnx.ModelProto) -> dict[str, Array]:
    """The floating-point initializers, in float64."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    return {name: a.astype(np.float64) for name, a in arrays.items() if a.dtype.kind == "f" or a.dtype.name in TYPES}


def swept(name: str, dtype: str, factor: float) -> tuple[onnx.ModelProto, onnx.ModelProto, PassResult]:
    (pass_,) = build([name])
    return run_pass(pass_, narrowed(model_for(name), dtype, factor))


CASES = [(name, dtype, factor) for name in FUSIONS for dtype in TYPES for factor in FACTORS[dtype]]


@pytest.mark.parametrize(("name", "dtype", "factor"), CASES, ids=str)
def test_no_pass_stores_what_its_type_cannot_hold(name: str, dtype: str, factor: float) -> None:
    before, after, _ = swept(name, dtype, factor)
    assert all(np.isfinite(values).all() for values in weights(before).values())
    for weight, values in weights(after).items():
        assert np.isfinite(values).all(), weight
    feeds = _feeds(before)
    expected, found = run_model(widened(before), feeds), run_model(widened(after), feeds)
    for output, value in expected.items():
        if value.dtype.kind != "f":
            continue
        finite = np.isfinite(value)
        scale = np.abs(value[finite]).max(initial=0.0)
        error = np.abs(found[output][finite].astype(np.float64) - value[finite]).max(initial=0.0)
        assert error <= ROUNDINGS * EPSILON[dtype] * scale, output


def _feeds(proto: onnx.ModelProto) -> dict[str, Any]:
    rng, feeds = np.random.default_rng(3), {}
    for port in proto.graph.input:
        shape = [d.dim_value or 2 for d in port.type.tensor_type.shape.dim]
        feeds[port.name] = rng.standard_normal(shape).astype(np.float32)
    return feeds


@pytest.mark.parametrize("name", FOLDS)
@pytest.mark.parametrize(("place", "words"), [(1, "is not finite in float16"), (2, "is too small for float16")])
def test_a_fold_beyond_its_type_is_declined(name: str, place: int, words: str) -> None:
    _, _, result = swept(name, "float16", FACTORS["float16"][place])
    assert any(words in record.reason for record in result.records if not record.applied)
    _, _, plain = swept(name, "float16", 1.0)
    assert plain.changed
    assert not any(words in record.reason for record in plain.records)


BIG, ONE = np.full(2, 60000, np.float16), np.ones(2, np.float16)
KERNEL = np.full((2, 2, 1, 1), 300, np.float16)
SCALE = np.full((2, 1, 1), 300, np.float16)
NORM = {"gamma": ONE, "beta": BIG, "mean": -BIG, "var": ONE}
IMAGE = "(float16[1,2,3,3] x) => (float16[1,2,3,3] y)"
ROWS = "(float16[3,2] x) => (float16[3,2] y)"
OVERFLOWS: dict[str, tuple[str, str, dict[str, Array]]] = {
    "scale of Conv": ("fuse-affine", f"{IMAGE} {{ a = Conv(x, w) y = Mul(a, c) }}", {"w": KERNEL, "c": SCALE}),
    "bias of Conv": (
        "fuse-affine",
        f"{IMAGE} {{ a = Conv(x, w, b) y = Add(a, c) }}",
        {"w": KERNEL, "b": BIG, "c": BIG.reshape(2, 1, 1)},
    ),
    "scale of ConvTranspose": (
        "fuse-affine",
        f"{IMAGE} {{ a = ConvTranspose(x, w) y = Mul(a, c) }}",
        {"w": KERNEL, "c": SCALE},
    ),
    "division": ("fuse-affine", f"{IMAGE} {{ a = Conv(x, w) y = Div(a, c) }}", {"w": KERNEL, "c": 1 / SCALE}),
    "scale before Conv": ("fuse-affine", f"{IMAGE} {{ a = Mul(x, c) y = Conv(a, w) }}", {"w": KERNEL, "c": SCALE}),
    "shift before Conv": (
        "fuse-affine",
        f"{IMAGE} {{ a = Add(x, c) y = Conv(a, w) }}",
        {"w": KERNEL, "c": BIG.reshape(2, 1, 1)},
    ),
    "scale of Gemm": (
        "fuse-affine",
        f"{ROWS} {{ a = Gemm(x, w) y = Mul(a, c) }}",
        {"w": KERNEL.reshape(2, 2), "c": SCALE.reshape(2)},
    ),
    "scale of MatMul": (
        "fuse-affine",
        f"{ROWS} {{ a = MatMul(x, w) y = Mul(a, c) }}",
        {"w": KERNEL.reshape(2, 2), "c": SCALE.reshape(2)},
    ),
    "shift of BatchNormalization": (
        "fuse-affine",
        f"{IMAGE} {{ a = BatchNormalization(x, gamma, beta, mean, var) y = Add(a, c) }}",
        {**NORM, "c": BIG.reshape(2, 1, 1)},
    ),
    "Conv behind Conv": (
        "fuse-linear-chain",
        f"{IMAGE} {{ a = Conv(x, w) y = Conv(a, w) }}",
        {"w": KERNEL},
    ),
    "MatMul behind MatMul": (
        "fuse-linear-chain",
        f"{ROWS} {{ a = MatMul(x, w) y = MatMul(a, w) }}",
        {"w": KERNEL.reshape(2, 2)},
    ),
    "statistics after Conv": (
        "fuse-batch-norm",
        f"{IMAGE} {{ a = Conv(x, w) y = BatchNormalization(a, gamma, beta, mean, var) }}",
        {"w": KERNEL, **NORM},
    ),
    "statistics before Conv": (
        "fuse-batch-norm",
        f"{IMAGE} {{ a = BatchNormalization(x, gamma, beta, mean, var) y = Conv(a, w) }}",
        {"w": KERNEL, **NORM},
    ),
}


PRODUCTS = ("scale of Conv", "scale before Conv", "scale of ConvTranspose", "scale of Gemm", "scale of MatMul")
TINY = (*PRODUCTS, "Conv behind Conv", "MatMul behind MatMul")


def reasons(rule: str, factor: float) -> list[str]:
    """Why the rule declines weights that are so many times as large."""
    name, text, arrays = OVERFLOWS[rule]
    (pass_,) = build([name])
    stored = {key: (np.asarray(values, np.float64) * factor).astype(np.float16) for key, values in arrays.items()}
    _, _, result = run_pass(pass_, text_model(text, stored))
    return [record.reason for record in result.records if not record.applied]


@pytest.mark.parametrize("rule", OVERFLOWS)
def test_every_rule_that_folds_declines_an_overflow(rule: str) -> None:
    assert any("is not finite in float16" in reason for reason in reasons(rule, 1.0)), reasons(rule, 1.0)


@pytest.mark.parametrize("rule", TINY)
def test_every_product_that_would_vanish_is_declined(rule: str) -> None:
    assert any("is too small for float16" in reason for reason in reasons(rule, 2.0**-17)), reasons(rule, 2.0**-17)
    assert not any("float16" in reason for reason in reasons(rule, 2.0**-8))
