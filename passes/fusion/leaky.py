"""LeakyRelu and Abs written as a maximum, and a PRelu with one slope."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite
from roofwright.passes.fusion.composite import WithScalar, with_scalar
from roofwright.passes.fusion.weights import only_reader


@dataclass(frozen=True)
class MaximumToActivation(Rewrite):
    """Max(x, a * x) --> LeakyRelu(x, a), Max(x, -x) --> Abs(x), Max(x, 0) --> Relu(x): case 5."""

    name: ClassVar[str] = "maximum-to-activation"
    anchors: ClassVar[tuple[str, ...]] = ("Max",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    source: gs.Tensor
    gone: tuple[gs.Node, ...]
    op: str
    attrs: dict[str, Any]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The maximum, `x` and what makes the other operand."""
        if len(node.inputs) != 2 or view.dtype(node.outputs[0]) != "float32":
            return None
        plain = with_scalar(node, view, "Max")
        if plain is not None:
            return cls(node, plain.operand, (), "Relu", {}) if plain.value == 0 else None
        for source, other in (node.inputs, reversed(node.inputs)):
            found = _slope(view.producer(other), source, view)
            if found is None:
                continue
            only_reader(other, node, view)
            op, attrs = ("Abs", {}) if found.value == -1 else ("LeakyRelu", {"alpha": found.value})
            return cls(node, source, (found.node,), op, attrs)
        return None

    def apply(self, edit: Edit) -> None:
        """One node replaces both."""
        out, name = self.node.outputs[0], self.node.name or self.node.outputs[0].name
        for old in (self.node, *self.gone):
            edit.remove(old)
        sources = (*self.gone, self.node)
        edit.node(self.op, [self.source], [out], name=name, sources=sources, attrs=self.attrs, before=self.node)


def _slope(node: gs.Node | None, source: gs.Tensor, view: View) -> WithScalar | None:
    """`a * source` where `node` makes that and the maximum with `source` is one of case 5."""
    if view.is_op(node, "Neg"):
        return WithScalar(source, -1.0, node) if node.inputs[0] is source else None
    scaled = with_scalar(node, view, "Mul")
    if scaled is None or scaled.operand is not source:
        return None
    return scaled if 0 < scaled.value < 1 else None


@dataclass(frozen=True)
class OneSlope(Rewrite):
    """PRelu(x, a) with one slope --> LeakyRelu(x, a): case 6."""

    name: ClassVar[str] = "one-slope"
    anchors: ClassVar[tuple[str, ...]] = ("PRelu",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    alpha: float

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The PRelu and its slope."""
        source, slopes = node.inputs
        if view.dtype(source) != "float32" or view.enlarges(slopes, source):  # runtimes take more slopes than values
            return None
        slope = view.constant_value(slopes)
        if slope is None or slope.size == 0:
            return None
        alpha = float(slope.reshape(-1)[0])
        return cls(node, alpha) if np.all(slope == slope.reshape(-1)[0]) else None

    def apply(self, edit: Edit) -> None:
        """The slope becomes an attribute."""
        node, out = self.node, self.node.outputs[0]
        source, name = node.inputs[0], node.name or out.name
        edit.remove(node)
        edit.node("LeakyRelu", [source], [out], name=name, sources=(node,), attrs={"alpha": self.alpha}, before=node)
