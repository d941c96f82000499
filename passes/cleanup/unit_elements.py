"""Arithmetic with the operator's unit element."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline, Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import all_equal
from roofwright.passes.fusion.norms import is_in_norm

_UNITS = {"Mul": 1, "Div": 1, "Pow": 1, "Add": 0, "Sub": 0, "And": True, "Or": False}
_SYMMETRIC = ("Mul", "Add", "And", "Or")
_FIRST_BROADCASTING = 7  # before, broadcasting was an attribute
_SMALL = 1 << 16  # elements; larger constants are not read for this


def _operands(node: gs.Node, view: View) -> tuple[gs.Tensor, NDArray[Any]] | None:
    """The operand that stays and the values of the other, where these are the unit of the operator."""
    if view.opset < _FIRST_BROADCASTING:
        return None
    for position in (1, 0) if node.op in _SYMMETRIC else (1,):
        constant, other = node.inputs[position], node.inputs[1 - position]
        if view.enlarges(constant, other):
            continue
        values = view.small_constant(constant, _SMALL)
        if values is not None and all_equal(values, _UNITS[node.op]):
            return other, values
    return None


def _rounds(node: gs.Node, values: NDArray[Any]) -> bool:
    """Whether a zero turns -0 into +0: -0 + (+0) and -0 - (-0) are +0; integers have one zero."""
    if values.dtype.kind in "iu":
        return False
    negative = np.signbit(values.astype(np.float64))
    return not bool(np.all(negative == (node.op == "Add")))


@dataclass(frozen=True)
class UnitElement(Rewrite):
    """x*1, x/1, x^1, x-0, x+(-0), integer x+0, x and true, x or false --> x: case 10."""

    name: ClassVar[str] = "unit-element"
    anchors: ClassVar[tuple[str, ...]] = tuple(_UNITS)
    numerics: ClassVar[Numerics] = "exact"
    rounds: ClassVar[bool] = False
    node: gs.Node
    source: gs.Tensor

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The node and the operand it returns."""
        found = _operands(node, view)
        if found is None or _rounds(node, found[1]) is not cls.rounds or not view.can_bypass(node, found[0]):
            return None
        if found[1].size > 1 and is_in_norm(node, view):
            raise Decline("it is the scale or bias of a normalization written out, which runtimes take as a whole")
        return cls(node, found[0])

    def apply(self, edit: Edit) -> None:
        """Readers read the operand."""
        edit.bypass(self.node, self.source)


@dataclass(frozen=True)
class AddZero(UnitElement):
    """x+0 and x-(-0) --> x for floats: case 11; -0 stays -0 instead of becoming +0."""

    name: ClassVar[str] = "add-zero"
    anchors: ClassVar[tuple[str, ...]] = ("Add", "Sub")
    numerics: ClassVar[Numerics] = "rounding"
    rounds: ClassVar[bool] = True
