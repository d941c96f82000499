"""How operators that sum along axes hand dimensions on: reductions, products, windows, recurrences."""

from typing import Any

import onnx_graphsurgeon as gs

from roofwright.passes.cleanup.constant_inputs import normalised
from roofwright.passes.cleanup.dims import Dims, SymbolicShapes


def reduce(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Ones, or nothing, at the reduced axes."""
    dims, axes = shapes.of(shapes.view.input(node, 0)), shapes.integers(node, "axes", 1)
    gone = None if dims is None or not axes else normalised(axes, len(dims))
    if gone is None or dims is None:
        return []
    keeps = shapes.view.attr(node, "keepdims", 1)
    return [[1 if axis in gone else dim for axis, dim in enumerate(dims) if keeps or axis not in gone]]


def arg(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """One, or nothing, at the axis."""
    dims, axis = shapes.of(shapes.view.input(node, 0)), shapes.view.attr(node, "axis", 0)
    if dims is None or not -len(dims) <= axis < len(dims):
        return []
    axis %= len(dims)
    return [[*dims[:axis], *([1] if shapes.view.attr(node, "keepdims", 1) else []), *dims[axis + 1 :]]]


def top_k(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """The axis has k."""
    dims, axis = shapes.of(shapes.view.input(node, 0)), shapes.view.attr(node, "axis", -1)
    k = shapes.view.attr(node, "k") or (shapes.value(shapes.view.input(node, 1)) or [None])[0]
    if dims is None or not -len(dims) <= axis < len(dims):
        return []
    axis %= len(dims)
    return [[*dims[:axis], k, *dims[axis + 1 :]]] * 2


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


def recurrent(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Steps, directions, batch, hidden."""
    dims = shapes.of(shapes.view.input(node, 0))
    if dims is None or len(dims) != 3 or shapes.view.attr(node, "layout", 0):
        return []
    return [[dims[0], None, dims[1], None], [None, dims[1], None], [None, dims[1], None]]
