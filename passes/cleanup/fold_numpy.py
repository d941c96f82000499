"""Constant nodes evaluated by numpy, where it gives the very bits that a runtime gives."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofwright.graph import evaluate, numpy_dtype

Array = NDArray[Any]
MOVES = frozenset(  # no arithmetic: any size and element type
    ("Identity", "Concat", "Gather", "Slice", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")
)
_EXACT = frozenset(  # correctly rounded by IEEE 754, or not rounded
    [
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Neg",
        "Sqrt",
        "Floor",
        "Ceil",
        "Abs",
        "Not",
        "And",
        "Or",
        "Where",
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
    ]
)
_INTEGERS_ONLY = frozenset(("Range", "Mod", "ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin", "Min", "Max"))
_MOST_ELEMENTS = 1 << 14  # of arithmetic; above, onnxruntime is faster
_DIVISIONS = ("Div", "Mod")


def by_numpy(op: str, arguments: list[Array | None], attrs: Mapping[str, Any]) -> Array | None:
    """The value of the node's only output; None where this is not numpy's business."""
    given = [argument for argument in arguments if argument is not None]
    kinds = {argument.dtype.kind for argument in given}
    if op == "ConstantOfShape":
        return _filled(given[0], attrs)
    if op == "Expand":
        return _expanded(given)
    if op in MOVES:
        return evaluate(op, arguments, attrs)
    if sum(argument.size for argument in given) > _MOST_ELEMENTS:
        return None
    if op == "Cast":
        return _cast(given[0], numpy_dtype(attrs["to"]))
    integers = kinds <= set("iub") and not has_bad_divisor(op, arguments)
    if op in _EXACT and (integers or kinds <= set("fb")):
        return evaluate(op, arguments, attrs)
    return evaluate(op, arguments, attrs) if op in _INTEGERS_ONLY and integers and not attrs.get("fmod") else None


def has_bad_divisor(op: str, arguments: list[Array | None]) -> bool:
    """Whether an integer division has a divisor of 0 (or -1, which overflows at the lowest value), or one not known.

    A processor traps on these, and takes the process with it.
    """
    if op not in _DIVISIONS:
        return False
    if any(argument is not None and argument.dtype.kind == "f" for argument in arguments):
        return False
    divisor = arguments[1] if len(arguments) > 1 else None
    if divisor is None:
        return True
    minus_one = divisor.dtype.kind == "i" and bool(np.any(divisor == -1))
    return minus_one or bool(np.any(divisor == 0))


def _filled(shape: Array, attrs: Mapping[str, Any]) -> Array:
    fill = attrs.get("value", np.zeros(1, np.float32))
    return np.full(tuple(int(size) for size in shape), fill.reshape(-1)[0], fill.dtype)


def _expanded(given: list[Array]) -> Array | None:
    try:
        shape = np.broadcast_shapes(given[0].shape, tuple(int(size) for size in given[1]))
    except ValueError:
        return None
    return np.ascontiguousarray(np.broadcast_to(given[0], shape)).reshape(shape)


def _cast(data: Array, to: np.dtype[Any]) -> Array | None:
    """Cast where every implementation agrees: not out of an integer's range, not by two roundings, no narrow floats."""
    if data.dtype.kind not in "fiub" or to.kind not in "fiub":
        return None
    if to == np.float16 and data.dtype not in (np.float16, np.float32):
        return None
    if data.dtype.kind == "f" and to.kind in "iu":
        bounds = np.iinfo(to)
        if not np.all(np.isfinite(data)) or np.any(data <= bounds.min - 1) or np.any(data >= bounds.max):
            return None
    with np.errstate(all="ignore"):
        return data.astype(to)
