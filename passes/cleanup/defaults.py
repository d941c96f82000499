"""Optional inputs that hold what the operator assumes without them."""

from dataclasses import dataclass
from typing import ClassVar, Self

import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite
from roofwright.passes.cleanup.zeros import is_zeros

_ZERO_BY_DEFAULT = {"LSTM": (3, 5, 6, 7), "GRU": (3, 5), "RNN": (3, 5)}  # bias, states, peepholes


@dataclass(frozen=True)
class OmitZeroState(Rewrite):
    """LSTM(x, w, r, b, n, 0, 0) --> LSTM(x, w, r, b, n): case 12."""

    name: ClassVar[str] = "omit-zero-state"
    anchors: ClassVar[tuple[str, ...]] = tuple(_ZERO_BY_DEFAULT)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    positions: tuple[int, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The node and the places of its inputs that are zeros."""
        given = [place for place in _ZERO_BY_DEFAULT[node.op] if view.input(node, place) is not None]
        found = tuple(place for place in given if is_zeros(node.inputs[place], view))
        return cls(node, found) if found else None

    def apply(self, edit: Edit) -> None:
        """The inputs are left out; what is omitted at the end is cut off."""
        for position in self.positions:
            edit.set_input(self.node, position, None)
        given = [place for place, tensor in enumerate(self.node.inputs) if tensor.name]
        edit.drop_inputs(self.node, given[-1] + 1)
