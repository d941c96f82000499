"""How operators without a loop nest compute some elements of their result: what they need, and what comes of it.

Every operator is a function of flat element numbers of the result. `needs` gives the elements of each input, of any
shape whose first axis runs over the results (-1: padding); `compute` takes their values.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from tests.machine.nests import Shapes, _flat, padded_windows, window_ints

Array = NDArray[Any]
Ints = NDArray[np.int64]
MOVES = ("Transpose", "Concat", "Slice", "Split", "Expand", "DepthToSpace", "SpaceToDepth", "Tile", "Pad")
_REDUCE: Mapping[str, Callable[..., Array]] = {
    "GlobalAveragePool": np.mean,
    "GlobalMaxPool": np.max,
    "ReduceMean": np.mean,
    "ReduceSum": np.sum,
    "ReduceMax": np.max,
}


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x.astype(np.float64))))


def _clip(x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _erf(x: Array) -> Array:
    from math import erf

    return np.array([erf(v) for v in x.ravel().tolist()]).reshape(x.shape)


POINTWISE: Mapping[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Relu": lambda x: np.maximum(x, 0),
    "Neg": np.negative,
    "Exp": np.exp,
    "Sqrt": np.sqrt,
    "Log": np.log,
    "Tanh": np.tanh,
    "Erf": _erf,
    "Pow": np.power,
    "Sigmoid": _sigmoid,
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Clip": _clip,
}
WITH_ATTRIBUTES: Mapping[str, Callable[..., Array]] = {
    "HardSigmoid": lambda x, attrs: np.clip(attrs.get("alpha", 0.2) * x + attrs.get("beta", 0.5), 0, 1),
    "LeakyRelu": lambda x, attrs: np.where(x < 0, attrs.get("alpha", 0.01) * x, x),
}


def needs(node: gs.Node, shapes: Shapes, out: int, results: Ints, values: Mapping[str, Array]) -> list[Ints | None]:
    """Elements of each input that `results` of output number `out` are made of; None: the input is not an operand."""
    names = [tensor.name for tensor in node.inputs]
    if node.op in MOVES:
        return _moved(node, shapes, out, results, values)
    if node.op in ("MaxPool", "AveragePool"):
        return [_windows(node, shapes)[results]]
    if node.op in _REDUCE:
        return [_reduced(node, shapes, values)[results], *(None for _ in names[1:])]
    if node.op in ("Softmax", "LayerNormalization"):
        block = _block(node, shapes)
        rows = results.reshape(-1, block)
        assert np.array_equal(rows, rows[:, :1] // block * block + np.arange(block)), "a tile holds parts of a row"
        return [results, *(np.broadcast_to(_flat(shapes[n]).ravel(), rows.shape).ravel() for n in names[1:])]
    assert node.op in POINTWISE or node.op in WITH_ATTRIBUTES, f"the tile machine does not know {node.op}"
    shape = shapes[node.outputs[0].name]
    return [np.broadcast_to(_flat(shapes[n]), shape).reshape(-1)[results] if n else None for n in names]


def compute(node: gs.Node, shapes: Shapes, inputs: Sequence[Array | None], found: Sequence[Ints | None]) -> Array:
    """The values of the results; padding holds zeros."""
    data = inputs[0]
    if node.op in MOVES:
        parts = [np.where(f >= 0, v, 0) for v, f in zip(inputs, found, strict=True) if v is not None and f is not None]
        return np.asarray(np.sum(parts, axis=0))
    assert data is not None
    assert found[0] is not None
    if node.op == "MaxPool":
        return np.asarray(np.where(found[0] >= 0, data, -np.inf).max(1))
    if node.op == "AveragePool":
        counts = (found[0] >= 0).sum(1) if not node.attrs.get("count_include_pad", 0) else found[0].shape[1]
        return np.asarray(data.sum(1, dtype=np.float64) / counts)
    if node.op in _REDUCE:
        return np.asarray(_REDUCE[node.op](data.astype(np.float64), axis=1))
    if node.op == "Softmax":
        return _softmax(data, shapes[node.inputs[0].name], int(node.attrs.get("axis", -1)))
    if node.op == "LayerNormalization":
        return _normalized(node, shapes, inputs)
    if node.op in WITH_ATTRIBUTES:
        return np.asarray(WITH_ATTRIBUTES[node.op](data, node.attrs))
    return np.asarray(POINTWISE[node.op](*(v for v in inputs if v is not None)))


def _softmax(data: Array, shape: Sequence[int], axis: int) -> Array:
    rows = data.reshape(-1, *shape[axis % len(shape) :]).astype(np.float64)
    powers = np.exp(rows - rows.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True)).ravel()


def _normalized(node: gs.Node, shapes: Shapes, inputs: Sequence[Array | None]) -> Array:
    rows = np.asarray(inputs[0], np.float64).reshape(-1, _block(node, shapes))
    spread = np.sqrt(rows.var(1, keepdims=True) + node.attrs.get("epsilon", 1e-5))
    scale, bias = np.asarray(inputs[1]), np.asarray(inputs[2] if len(inputs) > 2 else 0.0)
    return np.asarray(((rows - rows.mean(1, keepdims=True)) / spread).ravel() * scale + bias)


def _block(node: gs.Node, shapes: Shapes) -> int:
    """Elements of the pieces that are normalised together with what lies between them."""
    shape = shapes[node.inputs[0].name]
    return int(np.prod(shape[int(node.attrs.get("axis", -1)) % len(shape) :]))


def _windows(node: gs.Node, shapes: Shapes) -> Ints:
    """[result, tap]"""
    (n, c, in_h, in_w), (_, _, out_h, out_w) = shapes[node.inputs[0].name], shapes[node.outputs[0].name]
    kernel, strides = node.attrs["kernel_shape"], window_ints(node, "strides", 1, 2)
    dilations, pads = window_ints(node, "dilations", 1, 2), window_ints(node, "pads", 0, 4)
    at_h = padded_windows(in_h, out_h, kernel[0], strides[0], dilations[0], pads[0])[:, None, :, None]
    at_w = padded_windows(in_w, out_w, kernel[1], strides[1], dilations[1], pads[1])[None, :, None, :]
    plane = np.where((at_h >= 0) & (at_w >= 0), at_h * in_w + at_w, -1).reshape(out_h * out_w, -1)
    planes = np.arange(n * c)[:, None, None] * in_h * in_w + plane
    return np.where(plane >= 0, planes, -1).reshape(n * c * out_h * out_w, -1)


def _reduced(node: gs.Node, shapes: Shapes, values: Mapping[str, Array]) -> Ints:
    """[result, element of its sum]"""
    shape = shapes[node.inputs[0].name]
    axes = node.attrs.get("axes")
    if len(node.inputs) > 1 and node.inputs[1].name:
        axes = values[node.inputs[1].name].tolist()
    if node.op.startswith("Global"):
        axes = range(2, len(shape))
    summed = sorted(axis % len(shape) for axis in (range(len(shape)) if axes is None else axes))
    kept = [axis for axis in range(len(shape)) if axis not in summed]
    return _flat(shape).transpose(*kept, *summed).reshape(-1, int(np.prod([shape[a] for a in summed])))


def _moved(node: gs.Node, shapes: Shapes, out: int, results: Ints, values: Mapping[str, Array]) -> list[Ints | None]:
    """Every result is one element of one input: the operator is run on element numbers to find which."""
    data = len(node.inputs) if node.op == "Concat" else 1
    sizes = [int(np.prod(shapes[tensor.name])) for tensor in node.inputs[:data]]
    starts = np.cumsum([1, *sizes])[:-1].tolist()  # 0 is what comes from nowhere: padding
    inputs = [_flat(shapes[t.name]) + start for t, start in zip(node.inputs, starts, strict=False)]
    inputs += [values[tensor.name] for tensor in node.inputs[data:]]
    sources = _run(node, inputs)[out].reshape(-1)[results].astype(np.int64)
    found: list[Ints | None] = []
    for start, size in zip(starts, sizes, strict=True):
        local = sources - start
        found.append(np.where((local >= 0) & (local < size), local, -1))
    return found + [None] * (len(node.inputs) - data)


def _run(node: gs.Node, arrays: Sequence[Array]) -> list[Array]:
    names = [f"in{at}" for at in range(len(arrays))]
    inputs = dict(zip(names, arrays, strict=True))
    made = onnx.helper.make_node(node.op, names, [t.name for t in node.outputs], **node.attrs)
    ports = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for name, v in inputs.items()
    ]
    outs = [onnx.helper.make_tensor_value_info(t.name, onnx.TensorProto.INT64, None) for t in node.outputs]
    graph = onnx.helper.make_graph([made], "move", ports, outs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    return [np.asarray(v) for v in ReferenceEvaluator(model).run(None, dict(inputs))]
