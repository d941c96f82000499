"""Biases of nothing but zeros, dropped."""

from dataclasses import dataclass
from typing import ClassVar, Self

import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite

_FIRST_GEMM_WITHOUT_BIAS = 11


@dataclass(frozen=True)
class DropZeroBias(Rewrite):
    """Conv(x, W, 0) --> Conv(x, W); the sign of a result that is 0 may change."""

    name: ClassVar[str] = "drop-zero-bias"
    anchors: ClassVar[tuple[str, ...]] = ("Conv", "ConvTranspose", "Gemm")
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """A node with a bias of zeros of either sign."""
        if node.op == "Gemm" and view.opset < _FIRST_GEMM_WITHOUT_BIAS:
            return None
        bias = view.constant_value(view.input(node, 2))
        if bias is None or bias.any():
            return None
        return cls(node)

    def apply(self, edit: Edit) -> None:
        """The node has two inputs."""
        edit.drop_inputs(self.node, 2)
        edit.set_attrs(self.node, beta=None)  # of a Gemm: it multiplies nothing
