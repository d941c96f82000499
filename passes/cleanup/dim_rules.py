"""How each operator hands dimensions on: one function per operator, (shapes, node) -> the dimensions of each output."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.passes.cleanup.constant_inputs import normalised, permutation
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
_TO_THE_END = 2**31 - 1


def tell(shapes: SymbolicShapes, node: gs.Node) -> None:
    """Find the dimensions of what a node makes, as far as its operator is known here."""
    rule = _RULES.get(node.op)
    if rule is None or all(_is_static(tensor) for tensor in node.outputs) or not shapes.view.is_op(node, node.op):
        return
    found = rule(shapes, node)
    for tensor, dims in zip(node.outputs, found or (), strict=False):
        if dims is None or not tensor.name or not isinstance(tensor, gs.Variable):
            continue
        if tensor.shape is None or len(tensor.shape) == len(dims):
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


def reshape(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """The target; a 0 copies, one -1 is what is left."""
    dims, target = shapes.of(shapes.view.input(node, 0)), shapes.value(shapes.view.input(node, 1))
    if target is None:
        return []
    if not shapes.view.attr(node, "allowzero", 0):
        if 0 in target and (dims is None or len(dims) < max(i + 1 for i, d in enumerate(target) if d == 0)):
            return []
        target = [dims[axis] if dim == 0 and dims is not None else dim for axis, dim in enumerate(target)]
    if -1 not in target:
        return [target]
    rest = None if dims is None else shapes.quotient(dims, [dim for dim in target if dim != -1])
    return [[rest if dim == -1 else dim for dim in target]]


def flatten(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Two products."""
    dims, axis = shapes.of(shapes.view.input(node, 0)), shapes.view.attr(node, "axis", 1)
    if dims is None:
        return []
    axis += len(dims) * (axis < 0)
    return [[shapes.symbols.product(dims[:axis]), shapes.symbols.product(dims[axis:])]]


def transpose(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Permuted."""
    dims, perm = shapes.of(shapes.view.input(node, 0)), permutation(node, shapes.view)
    return [] if dims is None or perm is None or len(perm) != len(dims) else [[dims[axis] for axis in perm]]


def squeeze(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Without the listed axes."""
    dims, axes = shapes.of(shapes.view.input(node, 0)), shapes.integers(node, "axes", 1)
    gone = None if dims is None or axes is None else normalised(axes, len(dims))
    return [] if gone is None or dims is None else [[dim for axis, dim in enumerate(dims) if axis not in gone]]


def unsqueeze(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """With ones at the listed axes."""
    dims, axes = shapes.of(shapes.view.input(node, 0)), shapes.integers(node, "axes", 1)
    new = None if dims is None or axes is None else normalised(axes, len(dims) + len(axes))
    if new is None or dims is None:
        return []
    rest = iter(dims)
    return [[1 if axis in new else next(rest) for axis in range(len(dims) + len(new))]]


def concat(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """A sum along the axis; elsewhere all agree, so that the best known one counts."""
    known = [shapes.of(tensor) for tensor in node.inputs]
    ranks = {None if dims is None else len(dims) for dims in known}
    axis = shapes.view.attr(node, "axis", 1)
    if None in ranks or len(ranks) != 1 or not -len(known[0] or ()) <= axis < len(known[0] or ()):
        return []
    given = [dims for dims in known if dims is not None]
    result = [next((dim for dim in column if isinstance(dim, int)), column[0]) for column in zip(*given, strict=True)]
    total: Any = 0
    for dims in given:
        total = shapes.symbols.of("Add", total, dims[axis])
    result[axis] = total
    return [result]


def slice_(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Whole axes stay; 0 to a size is the smaller of the two."""
    dims = shapes.of(shapes.view.input(node, 0))
    if dims is None or "starts" in node.attrs:
        return []
    starts, ends, axes, steps = (shapes.value(shapes.view.input(node, position)) for position in (1, 2, 3, 4))
    axes = list(range(len(starts or ()))) if shapes.view.input(node, 3) is None else axes
    steps = [1] * len(starts or ()) if shapes.view.input(node, 4) is None else steps
    if starts is None or axes is None or steps is None or any(isinstance(axis, Symbol) for axis in axes):
        return []
    places = normalised(axes, len(dims))
    if places is None:
        return []
    result = list(dims)
    for axis, start, end, step in zip(places, starts, ends or [None] * len(starts), steps, strict=True):
        result[axis] = _cut(shapes, dims[axis], start, end, step)
    return [result]


def _cut(shapes: SymbolicShapes, dim: Any, start: Any, end: Any, step: Any) -> Any:
    if start != 0 or step != 1 or end is None:
        return None
    if end is dim or (isinstance(end, int) and end >= (dim if isinstance(dim, int) else _TO_THE_END)):
        return dim
    if isinstance(end, Symbol):
        return shapes.symbols.of("least", end, dim) if end.is_size and isinstance(dim, int) and dim > 0 else None
    return min(end, dim) if isinstance(dim, int) and end >= 0 else None


def gather(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """The axis gives way to the shape of the indices."""
    dims, picks = shapes.of(shapes.view.input(node, 0)), shapes.of(shapes.view.input(node, 1))
    axis = shapes.view.attr(node, "axis", 0)
    if dims is None or picks is None or not -len(dims) <= axis < len(dims):
        return []
    axis %= len(dims)
    return [[*dims[:axis], *picks, *dims[axis + 1 :]]]


def indices(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """GatherElements: those of the indices."""
    return [shapes.of(shapes.view.input(node, 1))]


def split(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """All but the axis stay."""
    dims, axis = shapes.of(shapes.view.input(node, 0)), shapes.view.attr(node, "axis", 0)
    if dims is None or not -len(dims) <= axis < len(dims):
        return []
    axis %= len(dims)
    return [[*dims[:axis], None, *dims[axis + 1 :]]] * len(node.outputs)


def reduce(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Ones, or nothing, at the reduced axes."""
    dims, axes = shapes.of(shapes.view.input(node, 0)), shapes.integers(node, "axes", 1)
    gone = None if dims is None or not axes else normalised(axes, len(dims))
    if gone is None or dims is None:
        return []
    keeps = shapes.view.attr(node, "keepdims", 1)
    return [[1 if axis in gone else dim for axis, dim in enumerate(dims) if keeps or axis not in gone]]


def matmul(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Batches broadcast, rows of one, columns of the other."""
    left, right = shapes.of(shapes.view.input(node, 0)), shapes.of(shapes.view.input(node, 1))
    if left is None or right is None or min(len(left), len(right)) < 2:
        return []
    return [[*shapes.joined(left[:-2], right[:-2]), left[-2], right[-1]]]


def gemm(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Rows of one, columns of the other, transposed as the attributes say."""
    left, right = shapes.of(shapes.view.input(node, 0)), shapes.of(shapes.view.input(node, 1))
    if left is None or right is None or len(left) != 2 or len(right) != 2:
        return []
    return [[left[bool(shapes.view.attr(node, "transA", 0))], right[not shapes.view.attr(node, "transB", 0)]]]


def conv(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """The batch of the input, the channels of the weight, and how often the window fits."""
    dims, weight = shapes.of(shapes.view.input(node, 0)), shapes.of(shapes.view.input(node, 1))
    if not dims or weight is None or len(weight) != len(dims) or not isinstance(weight[1], int):
        return []
    channels = weight[0] if node.op == "Conv" else weight[1] * shapes.view.attr(node, "group", 1)
    sizes = [None] * (len(dims) - 2) if node.op != "Conv" else _windows(node, shapes, dims[2:], weight[2:])
    return [[dims[0], channels, *sizes]]


def pool(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Batch and channels of the input, and how often the window fits."""
    dims = shapes.of(shapes.view.input(node, 0))
    if dims is None or len(dims) < 2:
        return []
    if node.op.startswith("Global"):
        return [dims[:2] + [1] * (len(dims) - 2)]
    return [dims[:2] + _windows(node, shapes, dims[2:], shapes.view.attr(node, "kernel_shape") or [])] * 2


def _windows(node: gs.Node, shapes: SymbolicShapes, sizes: Dims, kernel: Dims) -> Dims:
    """How often a window fits along each axis; None where that is not a matter of numbers."""
    rank, attr = len(sizes), shapes.view.attr
    strides, dilations = attr(node, "strides") or [1] * rank, attr(node, "dilations") or [1] * rank
    pads, auto = attr(node, "pads") or [0] * 2 * rank, attr(node, "auto_pad", "NOTSET")
    if not len(kernel) == len(strides) == len(dilations) == rank or len(pads) != 2 * rank:
        return [None] * rank
    if auto not in ("NOTSET", "VALID") or any(not isinstance(size, int) for size in (*sizes, *kernel)) or 0 in strides:
        return [None] * rank
    added = [0] * rank if auto == "VALID" else [a + b for a, b in zip(pads[:rank], pads[rank:], strict=True)]
    if attr(node, "ceil_mode", 0):
        return [None] * rank
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    free = [size + more - span for size, more, span in zip(sizes, added, reach, strict=True)]
    return [left // stride + 1 if left >= 0 else None for left, stride in zip(free, strides, strict=True)]


def resize(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """The wanted sizes, or the input's times the scales."""
    dims, wanted = shapes.of(shapes.view.input(node, 0)), shapes.value(shapes.view.input(node, 3))
    if dims is None or shapes.view.attr(node, "axes"):
        return []
    plain = shapes.view.attr(node, "keep_aspect_ratio_policy", "stretch") == "stretch"
    if wanted is not None and len(wanted) == len(dims) and plain:
        return [wanted]
    scales = shapes.view.constant_value(shapes.view.input(node, 2))
    if scales is None or scales.shape != (len(dims),) or node.op != "Resize":
        return []
    return [[_scaled(dim, float(scale)) for dim, scale in zip(dims, scales, strict=True)]]


def _scaled(dim: Any, scale: float) -> Any:
    """Whole factors only: the rounding of others is a matter of the runtime's precision."""
    if scale == 1:
        return dim
    return dim * int(scale) if isinstance(dim, int) and scale == int(scale) and scale > 0 else None


def tile(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Sizes times repeats."""
    dims, repeats = shapes.of(shapes.view.input(node, 0)), shapes.value(shapes.view.input(node, 1))
    if dims is None or repeats is None or len(dims) != len(repeats):
        return []
    return [[shapes.symbols.of("Mul", dim, count) for dim, count in zip(dims, repeats, strict=True)]]


def top_k(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """The axis has k."""
    dims, axis = shapes.of(shapes.view.input(node, 0)), shapes.view.attr(node, "axis", -1)
    k = shapes.view.attr(node, "k") or (shapes.value(shapes.view.input(node, 1)) or [None])[0]
    if dims is None or not -len(dims) <= axis < len(dims):
        return []
    axis %= len(dims)
    return [[*dims[:axis], k, *dims[axis + 1 :]]] * 2


def arg(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """One, or nothing, at the axis."""
    dims, axis = shapes.of(shapes.view.input(node, 0)), shapes.view.attr(node, "axis", 0)
    if dims is None or not -len(dims) <= axis < len(dims):
        return []
    axis %= len(dims)
    return [[*dims[:axis], *([1] if shapes.view.attr(node, "keepdims", 1) else []), *dims[axis + 1 :]]]


def pad(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Sizes and what is added before and behind."""
    dims, pads = shapes.of(shapes.view.input(node, 0)), shapes.integers(node, "pads", 1)
    if dims is None or pads is None or len(pads) != 2 * len(dims) or shapes.view.input(node, 3) is not None:
        return []
    added = [low + high for low, high in zip(pads[: len(dims)], pads[len(dims) :], strict=True)]
    return [[shapes.symbols.of("Add", dim, size) if size >= 0 else None for dim, size in zip(dims, added, strict=True)]]


def recurrent(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Steps, directions, batch, hidden."""
    dims = shapes.of(shapes.view.input(node, 0))
    if dims is None or len(dims) != 3 or shapes.view.attr(node, "layout", 0):
        return []
    return [[dims[0], None, dims[1], None], [None, dims[1], None], [None, dims[1], None]]


def _is_static(tensor: gs.Tensor) -> bool:
    return tensor.shape is not None and all(isinstance(dim, (int, np.integer)) for dim in tensor.shape)


_RULES: dict[str, Callable[[SymbolicShapes, gs.Node], list[Dims | None] | None]] = {
    **dict.fromkeys(_SAME, same),
    **dict.fromkeys(_BROADCAST, broadcast),
    **dict.fromkeys(_REDUCE, reduce),
    **dict.fromkeys(_POOLS, pool),
    **dict.fromkeys(("Conv", "ConvTranspose"), conv),
    **dict.fromkeys(("ArgMax", "ArgMin"), arg),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent),
    "ConstantOfShape": filled,
    "Concat": concat,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "GatherElements": indices,
    "Gemm": gemm,
    "MatMul": matmul,
    "Pad": pad,
    "Range": range_,
    "Reshape": reshape,
    "Resize": resize,
    "Slice": slice_,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "TopK": top_k,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
