"""Constant nodes as initializers, so that every later pass sees one form."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import LocalPass, Numerics, Rewrite

_NUMBERS: dict[str, Any] = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


@dataclass(frozen=True)
class LiftConstant(Rewrite):
    """A Constant node becomes an initializer of the same name."""

    name: ClassVar[str] = "constant-to-initializer"
    anchors: ClassVar[tuple[str, ...]] = ("Constant",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    values: Any

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The node and its values, unread."""
        if view.is_output(node.outputs[0]):
            return None  # case 2
        values = _values(node)
        return None if values is None else cls(node, values)

    def apply(self, edit: Edit) -> None:
        """The new initializer takes the name of the node's output."""
        out = self.node.outputs[0]
        edit.replace_uses(out, gs.Constant(out.name, self.values))
        edit.remove(self.node)


def _values(node: gs.Node) -> Any:
    for name, value in node.attrs.items():
        if name == "value" and isinstance(value, gs.Constant):
            is_text = np.dtype(value.dtype).kind in "OUS"  # case 3
            return None if is_text else value._values
        if name in _NUMBERS and not isinstance(value, gs.Node.AttributeRef):
            return np.asarray(value, _NUMBERS[name])
    return None


@dataclass(frozen=True)
class Constants(LocalPass):
    """`y = Constant<c>()` --> initializer `y = c`.

    1. Every numeric form: `value`, `value_float`, `value_floats`, `value_int`, `value_ints`; in bodies too, where the
       initializer belongs to the body.
    2. The value is an output of a graph: the node stays, since not every consumer accepts an initializer as an output.
    3. Text and sparse values stay as they are.

    Declines nothing. Numerics: exact. The values are not read.
    """

    name: ClassVar[str] = "constants"
    summary: ClassVar[str] = "turn Constant nodes into initializers"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (LiftConstant,)
