"""Casts that change nothing, and casts of casts."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import Edit, View, dtype_number, name_of, numpy_dtype
from roofwright.passes.base import Numerics, Rewrite

_FIRST_NUMBERED = 6  # before, `to` was a name
_MANTISSA = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}  # bits, the hidden one included
_EXPONENT = {"float16": 5, "bfloat16": 8, "float32": 8, "float64": 11}
_FILLS = (
    "bool",
    "float16",
    "float32",
    "float64",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
)
_INTEGER_BITS = {f"{sign}int{bits}": bits for sign in ("", "u") for bits in (8, 16, 32, 64)}


def target_dtype(node: gs.Node, view: View) -> str | None:
    """The element type that a Cast or CastLike produces, by name; None where not known."""
    if view.is_op(node, "CastLike"):
        return view.dtype(view.input(node, 1))
    to = view.attr(node, "to")
    return name_of(to) if view.is_op(node, "Cast") and isinstance(to, int) and view.opset >= _FIRST_NUMBERED else None


def is_noop_cast(node: gs.Node, view: View) -> bool:
    """Whether a cast gives its input's own type."""
    return target_dtype(node, view) == (view.dtype(view.input(node, 0)) or "")


def is_lossless(source: str, target: str) -> bool:
    """Whether every value of `source` survives in `target` (8-bit and narrower floats: never said)."""
    if source == "bool":
        return target in ("bool", *_INTEGER_BITS, *_MANTISSA)
    if source in _INTEGER_BITS:
        return _holds_integer(source, target)
    if source in _MANTISSA and target in _MANTISSA:
        return _MANTISSA[source] <= _MANTISSA[target] and _EXPONENT[source] <= _EXPONENT[target]
    return False


def _holds_integer(source: str, target: str) -> bool:
    value_bits = _INTEGER_BITS[source] - (not source.startswith("u"))
    if target in _MANTISSA:
        return value_bits <= _MANTISSA[target]
    if target not in _INTEGER_BITS:
        return False
    signed_to_unsigned = target.startswith("u") and not source.startswith("u")
    return not signed_to_unsigned and value_bits <= _INTEGER_BITS[target] - (not target.startswith("u"))


def _skippable(first: str, middle: str, last: str) -> bool:
    """Whether `first -> middle -> last` is `first -> last`.

    The first step must lose nothing. Then a round trip, a lossless direct cast, or a last step of the same kind (float
    to float, integer to integer) gives the same result with or without the middle; float to integer is left alone,
    since what happens out of range is not the same for every pair.
    """
    if not is_lossless(first, middle):
        return False
    floats = all(name in _MANTISSA for name in (first, middle, last))
    integers = all(name in _INTEGER_BITS for name in (first, middle, last))
    return last == first or is_lossless(first, last) or floats or integers


@dataclass(frozen=True)
class MergeCasts(Rewrite):
    """Cast(Cast(x)) --> Cast(x): case 3, the first cast being lossless."""

    name: ClassVar[str] = "merge-casts"
    anchors: ClassVar[tuple[str, ...]] = ("Cast",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    source: gs.Tensor

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The second cast and what the first one read."""
        first = view.producer(view.input(node, 0))
        if not view.is_op(first, "Cast", "CastLike"):
            return None
        source = first.inputs[0]
        names = (view.dtype(source), target_dtype(first, view), target_dtype(node, view))
        return cls(node, source) if _skippable(*map(str, names)) else None

    def apply(self, edit: Edit) -> None:
        """The second cast reads the source (and is then a no-op where the types agree)."""
        edit.set_input(self.node, 0, self.source)


@dataclass(frozen=True)
class CastOfFill(Rewrite):
    """Cast(ConstantOfShape(s)) --> ConstantOfShape(s) with the value cast: case 3."""

    name: ClassVar[str] = "cast-of-fill"
    anchors: ClassVar[tuple[str, ...]] = ("Cast",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    inner: gs.Node
    fill: NDArray[Any]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """Both nodes and the new value: a small integer, which every type holds."""
        inner, to = view.producer(node.inputs[0]), target_dtype(node, view)
        if not view.is_op(inner, "ConstantOfShape") or to not in _FILLS:
            return None
        held = view.attr(inner, "value")
        value = np.zeros(1, np.float32) if held is None else view.index.values(held)
        is_plain = value.size == 1 and value.dtype.kind in "fiub" and value.reshape(-1)[0] in (0, 1)
        if not is_plain or view.sole_consumer(node.inputs[0]) is not node:
            return None
        return cls(node, inner, value.reshape(1).astype(numpy_dtype(dtype_number(to))))

    def apply(self, edit: Edit) -> None:
        """The ConstantOfShape makes what the Cast made."""
        edit.set_attrs(self.inner, value=edit.constant(f"{self.node.outputs[0].name}_value", self.fill))
        edit.absorb(self.inner, self.node)
