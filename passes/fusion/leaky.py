"""LeakyRelu and Abs written as a maximum, and a PRelu with one slope."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite
from roofwright.passes.fusion.composite import with_scalar
from roofwright.passes.fusion.weights import only_reader

_FIRST_BROADCASTING = 8  # of Max; before, all operands had one shape and the scalar of a Mul cannot have been alone


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
        if len(node.inputs) != 2 or view.opset < _FIRST_BROADCASTING or view.dtype(node.outputs[0]) != "float32":
            return None
        plain = with_scalar(node, view, "Max")
        if plain is not None:
            return cls(node, plain[0], (), "Relu", {}) if plain[1] == 0 else None
        for source, other in (tuple(node.inputs), tuple(reversed(node.inputs))):
            maker = view.producer(other)
            if maker is None or not (view.is_op(maker, "Neg", "Mul") and any(t is source for t in maker.inputs)):
                continue
            scaled = with_scalar(maker, view, "Mul")
            if maker.op == "Mul" and (scaled is None or not 0 < scaled[1] < 1):
                continue
            only_reader(other, node, view)
            op, attrs = ("Abs", {}) if scaled is None else ("LeakyRelu", {"alpha": scaled[1]})
            return cls(node, source, (maker,), op, attrs)
        return None

    def apply(self, edit: Edit) -> None:
        """One node replaces both."""
        out, name = self.node.outputs[0], self.node.name or self.node.outputs[0].name
        for old in (self.node, *self.gone):
            edit.remove(old)
        sources = (*self.gone, self.node)
        edit.node(self.op, [self.source], [out], name=name, sources=sources, attrs=self.attrs, before=self.node)


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
        slope = view.constant_value(view.input(node, 1))
        if slope is None or slope.size == 0 or view.dtype(node.outputs[0]) != "float32":
            return None
        alpha = float(slope.reshape(-1)[0])
        return cls(node, alpha) if np.all(slope == slope.reshape(-1)[0]) else None

    def apply(self, edit: Edit) -> None:
        """The slope becomes an attribute."""
        node, out = self.node, self.node.outputs[0]
        source, name = node.inputs[0], node.name or out.name
        edit.remove(node)
        edit.node("LeakyRelu", [source], [out], name=name, sources=(node,), attrs={"alpha": self.alpha}, before=node)
