"""Constant nodes evaluated together, in one onnxruntime session without optimizations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from roofwright.graph import onnx_dtype

Array = NDArray[Any]
Call = tuple[str, list[str], list[str], dict[str, Any]]  # operator, input names, output names, attributes
_IR_VERSION = 8


def evaluate_calls(calls: Sequence[Call], feeds: Mapping[str, Array], wanted: Sequence[str], opset: int) -> list[Array]:
    """Run the calls in order and return the wanted values.

    Raises:
        Exception: whatever the runtime says of an operator or type that it does not have.
    """
    from roofwright.graph import run_model  # starts onnxruntime: only where there is something to evaluate

    nodes = [onnx.helper.make_node(op, ins, outs, **_attributes(attrs)) for op, ins, outs, attrs in calls]
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx_dtype(value.dtype), value.shape) for name, value in feeds.items()
    ]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in wanted]
    graph = onnx.helper.make_graph(nodes, "constants", inputs, outputs)
    imports = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=_IR_VERSION)
    results = run_model(model, feeds)
    return [np.asarray(results[name]) for name in wanted]


def _attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    made = {}
    for name, value in attrs.items():
        made[name] = onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
    return made
