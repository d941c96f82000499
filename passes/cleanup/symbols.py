"""Sizes that are not known, as symbols: what shape arithmetic computes with them, and what follows about truth."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofwright.graph import evaluate

_MOST_FACTORS = 8
_COMMUTATIVE = ("Add", "Mul", "Min", "Max", "broadcast")
_MIRRORED = {
    "Equal": "Equal",
    "Greater": "Less",
    "Less": "Greater",
    "GreaterOrEqual": "LessOrEqual",
    "LessOrEqual": "GreaterOrEqual",
}
_MOVES = ("Identity", "Concat", "Gather", "Slice", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")
_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Min", "Max")


class Symbol:
    """An integer that is not known; two are equal where they are one object.

    Attributes:
        name: of a dimension that the model names; empty for others.
        is_size: it is never negative.
        parts: operator and operands of what is computed from others.
    """

    __slots__ = ("is_size", "name", "parts")

    def __init__(self, name: str = "", parts: tuple[Any, ...] = (), *, is_size: bool = True) -> None:
        """Made by `Symbols` only, which gives the same object for the same thing."""
        self.name, self.parts, self.is_size = name, parts, is_size


class Symbols:
    """All symbols of one walk, each made once."""

    def __init__(self) -> None:
        """None yet."""
        self._made: dict[tuple[Any, ...], Symbol] = {}

    def named(self, name: str) -> Symbol:
        """The dimension that the model calls so."""
        return self._made.setdefault(("name", name), Symbol(name))

    def axis(self, tensor: object, axis: int) -> Symbol:
        """The size of a tensor along an axis, of which nothing is known."""
        return self._made.setdefault(("axis", id(tensor), axis), Symbol())

    def of(self, op: str, *parts: Any) -> Any:
        """What `op` makes of sizes: an integer, one of them, or the symbol for it."""
        if op in _COMMUTATIVE:
            parts = tuple(
                sorted(parts, key=lambda part: (isinstance(part, int), part if isinstance(part, int) else id(part)))
            )
        simple = _simplified(op, parts)
        if simple is not None:
            return simple
        is_size = op != "Sub" and all(part.is_size if isinstance(part, Symbol) else part >= 0 for part in parts)
        return self._made.setdefault((op, *parts), Symbol(parts=(op, *parts), is_size=is_size))

    def product(self, sizes: list[Any]) -> Any:
        """The product of sizes, the same whatever their order."""
        known = [size for size in sizes if isinstance(size, int)]
        others = sorted((size for size in sizes if not isinstance(size, int)), key=id)
        result: Any = int(np.prod(known, dtype=object)) if known else 1
        for size in others:
            result = self.of("Mul", result, size)
        return result


def _simplified(op: str, parts: tuple[Any, ...]) -> Any:
    """The result where it needs no new symbol; of a commutative operator the integer stands last."""
    left, right = parts[0], parts[-1]
    if all(isinstance(part, int) for part in parts):
        return _exactly(op, left, right)
    if op == "Mul" and right == 0:
        return 0
    if (op in ("Add", "Sub") and right == 0) or (op in ("Mul", "Div") and right == 1):
        return left
    if op in ("Min", "Max", "broadcast") and left is right:
        return left
    if op == "Sub":
        if left is right:
            return 0
        return _without("Add", left, right)
    if op == "Div" and isinstance(right, int) and right > 0 and left.is_size:
        return _without("Mul", left, right)
    return None


def _without(op: str, whole: Any, part: Any) -> Any:
    """`a` of `a op part`, where `whole` was made so."""
    if not isinstance(whole, Symbol) or whole.parts[:1] != (op,):
        return None
    first, second = whole.parts[1:]
    if _same(second, part):
        return first
    return second if _same(first, part) else None


def _same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, int) and isinstance(other, int) and one == other)


def _exactly(op: str, left: int, right: int) -> int | None:
    if op == "Div":
        return None if right == 0 else abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
    table: Mapping[str, Callable[[int, int], int]] = {
        "Add": lambda a, b: a + b,
        "Sub": lambda a, b: a - b,
        "Mul": lambda a, b: a * b,
        "Min": min,
        "Max": max,
    }
    return table[op](left, right) if op in table else None


def factors(size: Any) -> list[Any]:
    """A product taken apart."""
    found: list[Any] = []
    waiting = [size]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Symbol) and part.parts[:1] == ("Mul",) and len(found) + len(waiting) < _MOST_FACTORS:
            waiting += part.parts[1:]
        else:
            found.append(part)
    return found


def computed(op: str, arguments: list[Any], attrs: Mapping[str, Any], symbols: Symbols) -> NDArray[Any] | None:
    """The value of a node of which some arguments hold symbols (dtype object); None where nothing is known of it."""
    if op in _MOVES:
        return evaluate(op, arguments, attrs)
    if op == "Where" and arguments[0].dtype == np.bool_:
        chosen: NDArray[Any] = np.where(*arguments)
        return chosen
    if op in _ARITHMETIC and len(arguments) == 2:
        return _elementwise(arguments, lambda a, b: symbols.of(op, a, b) if op != "Div" or _divides(b) else None)
    if op in _MIRRORED:
        truth = _elementwise(arguments, lambda a, b: _compared(op, a, b))
        return None if truth is None else truth.astype(np.bool_)
    if op == "ReduceProd" and arguments[0].ndim == 1 and len(arguments) == 1 and attrs.get("axes", [0]) in ([0], [-1]):
        product = np.empty((1,) * bool(attrs.get("keepdims", 1)), object)
        product[...] = symbols.product(list(arguments[0]))
        return product
    return None


def _divides(divisor: Any) -> bool:
    return isinstance(divisor, int) and divisor > 0


def _elementwise(arguments: list[Any], function: Callable[[Any, Any], Any]) -> NDArray[Any] | None:
    try:
        left, right = np.broadcast_arrays(*(_plain(argument) for argument in arguments))
    except ValueError:
        return None
    result = np.empty(left.shape, object)
    for place in np.ndindex(*left.shape):
        found = function(left[place], right[place])
        if found is None:
            return None
        result[place] = found
    return result


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Elements as Python's integers and symbols."""
    result = np.empty(values.shape, object)
    for place in np.ndindex(*values.shape):
        item = values[place]
        result[place] = item if isinstance(item, Symbol) else int(item)
    return result


def _compared(op: str, left: Any, right: Any) -> bool | None:
    """The truth of a comparison, where a size is at least 0 and equal to itself."""
    if _same(left, right):
        return op in ("Equal", "GreaterOrEqual", "LessOrEqual")
    if isinstance(left, int) and isinstance(right, int):
        return {"Equal": False, "Greater": left > right, "Less": left < right}.get(
            op, left > right if op == "GreaterOrEqual" else left < right
        )
    if isinstance(left, int):
        return _compared(_MIRRORED[op], right, left)
    if not isinstance(right, int) or not left.is_size:
        return None
    if right < 0:
        return op in ("Greater", "GreaterOrEqual")
    if right == 0 and op in ("GreaterOrEqual", "Less"):
        return op == "GreaterOrEqual"
    return None
