"""Small models for tests: from text, with random weights; run on onnxruntime without any of its optimizations."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper, parser

Array = NDArray[Any]
_HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'


def model(text: str, *, seed: int = 0, **weights: tuple[int, ...] | Array) -> onnx.ModelProto:
    """Parse `onnx.parser` text; a text without header gets IR 8 and opset 17.

    Args:
        text: the model, e.g. "agraph (float[1,3,8,8] x) => (float[1,4,6,6] y) { y = Conv(x, w) }".
        seed: of the random weights.
        weights: initializer name -> array, or the shape of a random float32 array.
    """
    proto = parser.parse_model(text if text.lstrip().startswith("<") else _HEADER + text)
    rng = np.random.default_rng(seed)
    for name, weight in weights.items():
        array = rng.standard_normal(weight, np.float32) if isinstance(weight, tuple) else weight
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def feeds(
    proto: onnx.ModelProto, seed: int = 0, *, dims: Mapping[str, int] | None = None, top: int | Mapping[str, int] = 2
) -> dict[str, Array]:
    """Random inputs: floats are normal, integers 0 to `top` - 1, booleans fair.

    Args:
        proto: every input that has no initializer is fed.
        seed: of the values.
        dims: sizes of symbolic dimensions; 2 where not given.
        top: upper bound of integers, exclusive, for all inputs or by name (2 where not given).
    """
    rng = np.random.default_rng(seed)
    constants = {tensor.name for tensor in proto.graph.initializer}
    result: dict[str, Array] = {}
    for value in proto.graph.input:
        if value.name in constants:
            continue
        tensor = value.type.tensor_type
        shape = [(dims or {}).get(d.dim_param, 2) if d.dim_param else d.dim_value for d in tensor.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        floating = np.issubdtype(dtype, np.floating)
        limit = 2 if dtype == np.bool_ else top if isinstance(top, int) else top.get(value.name, 2)
        values = rng.standard_normal(shape) if floating else rng.integers(0, limit, shape)
        result[value.name] = values.astype(dtype)
    return result


def session(proto: onnx.ModelProto) -> ort.InferenceSession:
    """The model in onnxruntime, with its graph optimizations off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(proto: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The model's outputs by name, computed by onnxruntime with its graph optimizations off."""
    made = session(proto)
    names = [output.name for output in made.get_outputs()]
    return dict(zip(names, made.run(names, dict(inputs)), strict=True))


def assert_same(a: onnx.ModelProto, b: onnx.ModelProto, inputs: Mapping[str, Array], rtol: float = 1e-5) -> None:
    """Assert that two models agree on the inputs: names, order, types, shapes, and max|difference| <= rtol * max|a|."""
    expected, got = run(a, inputs), run(b, inputs)
    assert list(expected) == list(got)
    for name, want in expected.items():
        have = got[name]
        assert (have.dtype, have.shape) == (want.dtype, want.shape), name
        if not np.issubdtype(want.dtype, np.floating) or rtol == 0:
            np.testing.assert_array_equal(have, want, err_msg=name)
            continue
        finite = np.isfinite(want)
        np.testing.assert_array_equal(have[~finite], want[~finite], err_msg=name)
        scale = np.abs(want[finite]).max(initial=0.0)
        worst = np.abs(have[finite].astype(np.float64) - want[finite]).max(initial=0.0)
        assert worst <= rtol * scale, f"{name}: differs by {worst:g} at a scale of {scale:g}"
