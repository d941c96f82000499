"""How each operator hands dimensions on: one function per operator, (shapes, node) -> the dimensions of each output."""

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.passes.cleanup import dim_moves, dim_sums
from roofwright.passes.cleanup.dims import Dims, SymbolicShapes
from roofwright.passes.cleanup.symbols import Symbol

_SAME = (
    *("Abs", "Acos", "Asin", "Atan", "BatchNormalization", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos"),
    *("CumSum", "DequantizeLinear", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "GroupNormalization"),
    *("HardSigmoid", "HardSwish", "Hardmax", "Identity", "InstanceNormalization", "IsInf", "IsNaN", "LRN"),
    *("LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization", "Mish", "Neg", "Not"),
    *("QuantizeLinear", "RMSNormalization", "Reciprocal", "Relu", "Round", "ScatterElements", "ScatterND"),
    *("Selu", "Sigmoid", "Sign", "Sin", "Softmax", "Softplus", "Softsign", "Sqrt", "Swish", "Tanh"),
    *("ThresholdedRelu", "Trilu"),
)
_BROADCAST = (
    *("Add", "And", "BitwiseAnd", "BitwiseOr", "Div", "Equal", "Greater", "GreaterOrEqual", "Less"),
    *("LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor"),
)
_REDUCE = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceProd", "ReduceSum", "ReduceSumSquare"),
)
_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")


def tell(shapes: SymbolicShapes, node: gs.Node) -> None:
    """Find the dimensions of what a node makes, as far as its operator is known here."""
    rule = _RULES.get(node.op)
    if not shapes.view.is_op(node, node.op) or all(_is_static(tensor) for tensor in node.outputs):
        return
    found = [] if rule is None else rule(shapes, node)
    for tensor, dims in zip(node.outputs, found, strict=False):
        if dims is not None and (tensor.shape is None or len(tensor.shape) == len(dims)):
            shapes.note(tensor, shapes.keep(tensor, dims))


def same(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Those of the first input."""
    return [shapes.of(shapes.view.input(node, 0))] * (2 if node.op == "Dropout" else 1)


def broadcast(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Of all inputs together."""
    known = [shapes.of(tensor) for tensor in node.inputs]
    result: Dims = []
    for dims in known:
        if dims is None:
            return []
        result = shapes.joined(result, dims)
    return [result]


def expand(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Broadcast with the wanted shape."""
    dims, wanted = shapes.of(shapes.view.input(node, 0)), shapes.value(shapes.view.input(node, 1))
    if dims is None or wanted is None or any(isinstance(want, int) and want < 0 for want in wanted):
        return []
    return [shapes.joined(dims, wanted)]


def filled(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """ConstantOfShape."""
    return [shapes.value(shapes.view.input(node, 0))]


def range_(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Range from 0 in steps of 1."""
    start, limit, step = (shapes.scalar(tensor) for tensor in node.inputs[:3])
    is_count = start == 0 and step == 1 and (not isinstance(limit, Symbol) or limit.is_size)
    return [[limit if is_count else None]]


def _is_static(tensor: gs.Tensor) -> bool:
    return tensor.shape is not None and all(isinstance(dim, (int, np.integer)) for dim in tensor.shape)


_RULES: dict[str, Callable[[SymbolicShapes, gs.Node], list[Dims | None]]] = {
    **dict.fromkeys(_SAME, same),
    **dict.fromkeys(_BROADCAST, broadcast),
    **dict.fromkeys(_REDUCE, dim_sums.reduce),
    **dict.fromkeys(_POOLS, dim_sums.pool),
    **dict.fromkeys(("Conv", "ConvTranspose"), dim_sums.conv),
    **dict.fromkeys(("ArgMax", "ArgMin"), dim_sums.arg),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), dim_sums.recurrent),
    "ConstantOfShape": filled,
    "Concat": dim_moves.concat,
    "Expand": expand,
    "Flatten": dim_moves.flatten,
    "Gather": dim_moves.gather,
    "GatherElements": dim_moves.indices,
    "Gemm": dim_sums.gemm,
    "MatMul": dim_sums.matmul,
    "Pad": dim_moves.pad,
    "Range": range_,
    "Reshape": dim_moves.reshape,
    "Resize": dim_sums.resize,
    "Slice": dim_moves.slice_,
    "Split": dim_moves.split,
    "Squeeze": dim_moves.squeeze,
    "Tile": dim_moves.tile,
    "TopK": dim_sums.top_k,
    "Transpose": dim_moves.transpose,
    "Unsqueeze": dim_moves.unsqueeze,
}
