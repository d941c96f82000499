"""How large a constant node's result will be, found before anything is evaluated."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operand:
    """What is known of one input of a node that may be folded.

    Attributes:
        shape: its dimensions where known exactly.
        elements: at most so many.
        value: the values, where the operand is small and already known.
    """

    shape: Shape | None
    elements: int
    value: NDArray[Any] | None = None


Operands = list[Operand | None]
Rule = Callable[[Operands, Mapping[str, Any]], int | None]

_ELEMENTWISE = [
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Mod",
    "Pow",
    "Min",
    "Max",
    "Sum",
    "Mean",
    "And",
    "Or",
    "Xor",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Where",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "PRelu",
]
_NO_LARGER = [
    "Identity",
    "Cast",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Slice",
    "Split",
    "ReduceMax",
    "ReduceMin",
    "ReduceSum",
    "ReduceMean",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
    "ArgMax",
    "ArgMin",
    "CumSum",
    "Trilu",
    "EyeLike",
    "Compress",
    "TopK",
    "ScatterElements",
    "ScatterND",
    "Abs",
    "Neg",
    "Sign",
    "Ceil",
    "Floor",
    "Round",
    "Sqrt",
    "Exp",
    "Log",
    "Reciprocal",
    "Sigmoid",
    "Tanh",
    "Relu",
    "Erf",
    "Sin",
    "Cos",
    "Tan",
    "Asin",
    "Acos",
    "Atan",
    "Sinh",
    "Cosh",
    "Clip",
    "LeakyRelu",
    "Elu",
    "Softplus",
    "Softmax",
    "LogSoftmax",
    "HardSigmoid",
    "Not",
    "BitwiseNot",
    "IsNaN",
    "IsInf",
    "DepthToSpace",
    "SpaceToDepth",
]


def _broadcast(operands: Operands, attrs: Mapping[str, Any]) -> int | None:
    given = [operand for operand in operands if operand is not None]
    shapes = [operand.shape for operand in given]
    if any(shape is None for shape in shapes):
        return prod(operand.elements for operand in given)
    return _broadcast_size([shape for shape in shapes if shape is not None])


def _broadcast_size(shapes: list[Shape]) -> int:
    """The larger of each dimension: numpy's own function refuses products above 2^63."""
    rank = max((len(shape) for shape in shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return prod(max(sizes) if min(sizes) else 0 for sizes in zip(*padded, strict=True))


def _first(operands: Operands, attrs: Mapping[str, Any]) -> int | None:
    return operands[0].elements if operands[0] is not None else None


def _sum(operands: Operands, attrs: Mapping[str, Any]) -> int | None:
    return sum(operand.elements for operand in operands if operand is not None)


def _values(operands: Operands, position: int) -> list[int] | None:
    operand = operands[position] if position < len(operands) else None
    if operand is None or operand.value is None or operand.value.dtype.kind not in "iu":
        return None
    return [int(item) for item in operand.value.reshape(-1)]


def _filled(operands: Operands, attrs: Mapping[str, Any]) -> int | None:
    sizes = _values(operands, 0)
    return None if sizes is None or any(size < 0 for size in sizes) else prod(sizes)


def _expanded(operands: Operands, attrs: Mapping[str, Any]) -> int | None:
    sizes, data = _values(operands, 1), operands[0]
    if sizes is None or data is None or data.shape is None:
        return None
    return _broadcast_size([data.shape, tuple(sizes)])


def _tiled(operands: Operands, attrs: Mapping[str, Any]) -> int | None:
    repeats, data = _values(operands, 1), _first(operands, attrs)
    return None if repeats is None or data is None else data * prod(repeats)


def _padded(operands: Operands, attrs: Mapping[str, Any]) -> int | None:
    pads: list[int] | None = attrs.get("pads") or _values(operands, 1)
    data = operands[0]
    if pads is None or data is None or data.shape is None or len(pads) != 2 * len(data.shape):
        return None
    half = len(pads) // 2
    return prod(size + low + high for size, low, high in zip(data.shape, pads[:half], pads[half:], strict=True))


def _range(operands: Operands, attrs: Mapping[str, Any]) -> int | None:
    if len(operands) != 3 or any(operand is None or operand.value is None for operand in operands):
        return None
    start, limit, delta = (float(o.value.reshape(())) for o in operands if o is not None and o.value is not None)
    if not delta or not np.isfinite([start, limit, delta]).all():
        return None
    return max(0, ceil((limit - start) / delta))


def _gathered(operands: Operands, attrs: Mapping[str, Any]) -> int | None:
    data, indices = operands[0], operands[1]
    if data is None or data.shape is None or indices is None:
        return None
    axis: int = attrs.get("axis", 0)
    if not -len(data.shape) <= axis < len(data.shape) or data.shape[axis] == 0:
        return None
    return data.elements // data.shape[axis] * indices.elements


def _gathered_nd(operands: Operands, attrs: Mapping[str, Any]) -> int | None:
    data, indices = operands[0], operands[1]
    if data is None or data.shape is None or indices is None or not indices.shape or not indices.shape[-1]:
        return None
    leading = attrs.get("batch_dims", 0) + indices.shape[-1]
    return indices.elements // indices.shape[-1] * prod(data.shape[leading:])


def _second(operands: Operands, attrs: Mapping[str, Any]) -> int | None:
    return None if operands[1] is None else operands[1].elements


def _nonzero(operands: Operands, attrs: Mapping[str, Any]) -> int | None:
    data = operands[0]
    return None if data is None or data.shape is None else max(1, len(data.shape)) * data.elements


def _one_hot(operands: Operands, attrs: Mapping[str, Any]) -> int | None:
    depth, indices = _values(operands, 1), _first(operands, attrs)
    return None if depth is None or len(depth) != 1 or indices is None else indices * depth[0]


def _product(operands: Operands, attrs: Mapping[str, Any]) -> int | None:
    """MatMul and Gemm: rows of one times columns of the other, batches broadcast."""
    a, b = operands[0], operands[1]
    if a is None or b is None or a.shape is None or b.shape is None or min(len(a.shape), len(b.shape)) < 2:
        return None
    rows = a.shape[-1] if attrs.get("transA") else a.shape[-2]
    columns = b.shape[-2] if attrs.get("transB") else b.shape[-1]
    return _broadcast_size([a.shape[:-2], b.shape[:-2]]) * rows * columns


_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, _broadcast),
    **dict.fromkeys(_NO_LARGER, _first),
    "Concat": _sum,
    "ConstantOfShape": _filled,
    "Expand": _expanded,
    "Tile": _tiled,
    "Pad": _padded,
    "Range": _range,
    "Gather": _gathered,
    "GatherElements": _second,
    "GatherND": _gathered_nd,
    "NonZero": _nonzero,
    "OneHot": _one_hot,
    "MatMul": _product,
    "Gemm": _product,
}
FOLDABLE = frozenset(_RULES) | {"Shape", "Size", "CastLike"}


def predicted_elements(op: str, operands: Operands, attrs: Mapping[str, Any]) -> int | None:
    """At most how many elements each output of the node has; None where that depends on something not known."""
    rule = _RULES.get(op)
    if rule is None or not operands:
        return None
    return rule(operands, attrs)
