"""Values of the small tensors that shapes are made of (Shape -> Gather -> Concat -> Reshape), where they are known."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Protocol

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx_graphsurgeon.ir.tensor import LazyValues

from roofwright.graph.dtypes import numpy_dtype

Array = NDArray[Any]
Known = dict[tuple[int, int], Array]  # (graph, node) -> the value of the node's only output
_MOST_ELEMENTS = 1024
_STANDARD = (None, "", "ai.onnx")


class _Info(Protocol):
    @property
    def shape(self) -> tuple[int | str | None, ...] | None: ...


def known_values(
    graphs: Sequence[gs.Graph], scopes: Sequence[Mapping[str, _Info]], excluded: frozenset[str], before: Known
) -> Known:
    """Evaluate what follows from constants and known shapes, in one pass over nodes in topological order.

    Args:
        graphs: the main graph and its bodies, outer first.
        scopes: what is known of each graph's tensors, by name.
        excluded: initializers that are only defaults.
        before: what was found when less was known of the shapes.
    """
    values: dict[int, Array] = {}
    shapes: dict[int, tuple[int | str | None, ...]] = {}
    found: Known = {}
    for index, (graph, infos) in enumerate(zip(graphs, scopes, strict=True)):
        for tensor in (*graph.inputs, *(t for node in graph.nodes for t in node.outputs)):
            shape = infos[tensor.name].shape if tensor.name in infos else None
            if shape is not None:
                shapes[id(tensor)] = shape
        for position, node in enumerate(graph.nodes):
            value = before.get((index, position))
            value = value_of(node, values, shapes, excluded) if value is None else value
            if value is not None:
                values[id(node.outputs[0])] = value
                if node.op != "Constant":
                    found[index, position] = value
    return found


def value_of(
    node: gs.Node, values: Mapping[int, Array], shapes: Mapping[int, Any], excluded: frozenset[str]
) -> Array | None:
    """The value of a node's only output where it is small and follows from what is known (by id of the tensor)."""
    if len(node.outputs) != 1 or node.domain not in _STANDARD:
        return None
    if node.op in ("Shape", "Size"):
        return _of_shape(node, _shape(node.inputs[0], shapes) if node.inputs else None)
    if node.op not in _RULES:
        return None
    arguments = [_value(tensor, values, excluded) if tensor.name else None for tensor in node.inputs]
    if any(argument is None and tensor.name for argument, tensor in zip(arguments, node.inputs, strict=True)):
        return None
    result = evaluate(node.op, arguments, node.attrs)
    return result if result is not None and result.size <= _MOST_ELEMENTS else None


def evaluate(op: str, arguments: list[Any], attrs: Mapping[str, Any]) -> Array | None:
    """The value of a standard operator on small arrays (None for an omitted one), by numpy.

    Returns:
        None where there is no rule for the operator, where the result would be large, or where the node is malformed.
    """
    rule = _RULES.get(op)
    if rule is None:
        return None
    try:
        with np.errstate(all="ignore"):
            return None if (result := rule(arguments, attrs)) is None else np.asarray(result)
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, MemoryError):
        return None  # a malformed node: inference says what is wrong with it, if anybody must


def _shape(tensor: gs.Tensor, shapes: Mapping[int, Any]) -> Any:
    return tuple(tensor.shape) if isinstance(tensor, gs.Constant) else shapes.get(id(tensor))


def _value(tensor: gs.Tensor, values: Mapping[int, Array], excluded: frozenset[str]) -> Array | None:
    if not isinstance(tensor, gs.Constant):
        return values.get(id(tensor))
    if tensor.name in excluded or prod(tensor.shape) > _MOST_ELEMENTS:
        return None
    stored = tensor._values
    return np.asarray(stored.load() if isinstance(stored, LazyValues) else stored)


def _of_shape(node: gs.Node, shape: Any) -> Array | None:
    if shape is None:
        return None
    if node.op == "Shape":
        shape = shape[slice(node.attrs.get("start", 0), node.attrs.get("end"))]
    if any(not isinstance(dim, int) for dim in shape):
        return None
    return np.asarray(shape if node.op == "Shape" else prod(shape), np.int64)


# ---- one function per operator: (arguments, attributes) -> value
Rule = Callable[[list[Any], Mapping[str, Any]], Any]


def _axes(arguments: list[Any], attrs: Mapping[str, Any]) -> tuple[int, ...] | None:
    given = arguments[1] if len(arguments) > 1 and arguments[1] is not None else attrs.get("axes")
    return None if given is None else tuple(int(axis) for axis in np.ravel(given))


def _bounded(shape: Any) -> tuple[int, ...]:
    sizes = tuple(int(dim) for dim in shape)
    if prod(sizes) > _MOST_ELEMENTS or any(dim < 0 for dim in sizes):
        raise ValueError("too large to matter for a shape")
    return sizes


def _constant(arguments: list[Any], attrs: Mapping[str, Any]) -> Any:
    for name, dtype in (("value_int", np.int64), ("value_ints", np.int64), ("value_float", np.float32)):
        if name in attrs:
            return np.asarray(attrs[name], dtype)
    held = attrs.get("value")
    return _value(held, {}, frozenset()) if isinstance(held, gs.Constant) else None


def _constant_of_shape(arguments: list[Any], attrs: Mapping[str, Any]) -> Any:
    held = attrs.get("value")
    fill = np.zeros(1, np.float32) if held is None else _value(held, {}, frozenset())
    return None if fill is None else np.full(_bounded(arguments[0]), fill.reshape(-1)[0], fill.dtype)


def slice_of(size: int, start: int, end: int, step: int) -> slice:
    """What a Slice takes of an axis of this size, for Python's own counting.

    The two differ where a Slice goes backwards: an end of -1 or less counts from the back only once, and a start before
    the axis is its first element (ONNX, operator Slice-13).
    """
    start, end = (place + size if place < 0 else place for place in (start, end))
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    stop = min(max(end, -1), size - 1)
    return slice(min(max(start, 0), size - 1), None if stop < 0 else stop, step)


def _slice(arguments: list[Any], attrs: Mapping[str, Any]) -> Any:
    data = arguments[0]
    given = [*arguments[1:], None, None, None, None][:4]
    bounds: Any = (  # what is missing raises a TypeError, which says "malformed"
        attrs.get(n) if v is None else np.ravel(v).tolist()
        for n, v in zip(("starts", "ends", "axes", "steps"), given, strict=True)
    )
    starts, ends, axes, steps = bounds
    picks = [slice(None)] * data.ndim
    for position, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = int(axes[position]) if axes is not None else position
        step = int(steps[position]) if steps is not None else 1
        picks[axis] = slice_of(data.shape[axis], int(start), int(end), step)
    return data[tuple(picks)]


def _reshape(arguments: list[Any], attrs: Mapping[str, Any]) -> Any:
    data, wanted = arguments[0], [int(dim) for dim in arguments[1]]
    if not attrs.get("allowzero", 0):
        wanted = [data.shape[axis] if dim == 0 else dim for axis, dim in enumerate(wanted)]
    return data.reshape(wanted)


def _range(arguments: list[Any], attrs: Mapping[str, Any]) -> Any:
    start, limit, delta = (value.reshape(()) for value in arguments)
    _bounded([max(0, int(np.ceil((float(limit) - float(start)) / float(delta))))])
    return np.arange(start.item(), limit.item(), delta.item()).astype(arguments[0].dtype)


def _divide(arguments: list[Any], attrs: Mapping[str, Any]) -> Any:
    left, right = arguments
    if left.dtype.kind not in "iu":
        return left / right
    if np.any(right == 0):
        return None
    quotient = np.abs(left) // np.abs(right) * np.sign(left) * np.sign(right)
    return quotient.astype(left.dtype)


def _squeeze(arguments: list[Any], attrs: Mapping[str, Any]) -> Any:
    return np.squeeze(arguments[0], _axes(arguments, attrs))


def _unsqueeze(arguments: list[Any], attrs: Mapping[str, Any]) -> Any:
    axes = _axes(arguments, attrs)
    return None if axes is None else np.expand_dims(arguments[0], axes)


def _expand(arguments: list[Any], attrs: Mapping[str, Any]) -> Any:
    shape = _bounded(np.broadcast_shapes(arguments[0].shape, _bounded(arguments[1])))
    return np.broadcast_to(arguments[0], shape).copy()


def _reduced(function: Callable[..., Any]) -> Rule:
    def rule(arguments: list[Any], attrs: Mapping[str, Any]) -> Any:
        axes, keep = _axes(arguments, attrs), bool(attrs.get("keepdims", 1))
        if axes is None and attrs.get("noop_with_empty_axes"):
            return arguments[0]
        return np.asarray(function(arguments[0], axis=axes, keepdims=keep), arguments[0].dtype)

    return rule


def _folded(function: Callable[..., Any]) -> Rule:
    def rule(arguments: list[Any], attrs: Mapping[str, Any]) -> Any:
        result = arguments[0]
        for argument in arguments[1:]:
            result = function(result, argument)
        return np.asarray(result)

    return rule


def _elementwise(function: Callable[[Any], Any]) -> Rule:
    return lambda arguments, _: np.asarray(function(arguments[0]))


def _tile(arguments: list[Any], attrs: Mapping[str, Any]) -> Any:
    repeats = [int(count) for count in arguments[1]]
    _bounded([size * count for size, count in zip(arguments[0].shape, repeats, strict=True)])
    return np.tile(arguments[0], repeats)


_BINARY: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Min": np.minimum,
    "Max": np.maximum,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
}
_UNARY: dict[str, Callable[..., Any]] = {
    "Not": np.logical_not,
    "Neg": np.negative,
    "Abs": np.abs,
    "Ceil": np.ceil,
    "Floor": np.floor,
    "Sqrt": np.sqrt,
    "Identity": np.asarray,
}
_RULES: dict[str, Rule] = {
    "Constant": _constant,
    "Cast": lambda a, attrs: a[0].astype(numpy_dtype(attrs["to"])),
    "Concat": lambda a, attrs: np.concatenate(a, attrs.get("axis", 1)),
    "Gather": lambda a, attrs: np.take(a[0], a[1], attrs.get("axis", 0)),
    "Slice": _slice,
    "Reshape": _reshape,
    "Flatten": lambda a, attrs: a[0].reshape(prod(a[0].shape[: attrs.get("axis", 1)]), -1),
    "Transpose": lambda a, attrs: np.transpose(a[0], attrs.get("perm")),
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Expand": _expand,
    "Tile": _tile,
    "Range": _range,
    "ConstantOfShape": _constant_of_shape,
    "Where": lambda a, _: np.where(*a),
    "Div": _divide,
    "Mod": lambda a, attrs: np.fmod(*a) if attrs.get("fmod") else np.mod(*a),
    "Pow": lambda a, _: np.power(a[0], a[1]).astype(a[0].dtype),
    "NonZero": lambda a, _: np.asarray(np.nonzero(a[0]), np.int64),
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
    **{op: _folded(function) for op, function in _BINARY.items()},
    **{op: _elementwise(function) for op, function in _UNARY.items()},
}
