"""MatMul with Add as one Gemm, and Transposes as flags of a Gemm."""

from dataclasses import dataclass
from typing import ClassVar, Self

import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline, LocalPass, Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import permutation
from roofwright.passes.fusion.weights import only_reader

_FIRST_GEMM_BROADCASTING = 7
_FIRST_BFLOAT16 = 13
_FLOATS = ("float16", "float32", "float64")


def _is_supported(tensor: gs.Tensor, view: View) -> bool:
    name = view.dtype(tensor)
    return name in _FLOATS or (name == "bfloat16" and view.opset >= _FIRST_BFLOAT16)


def _is_bias(bias: gs.Tensor, product: gs.Node, view: View) -> bool:
    """Whether the operand has at most one value per column, so that it cannot broadcast the product up."""
    shape, columns = view.static_shape(bias), _columns(product, view)
    if shape is None or len(shape) > 2 or columns is None:
        return False
    rows = shape[0] if len(shape) == 2 else 1
    return rows == 1 and (not shape or shape[-1] in (1, columns))


def _columns(product: gs.Node, view: View) -> int | None:
    shape = product.inputs[1].shape
    return shape[1] if shape is not None and len(shape) == 2 and isinstance(shape[1], int) else None


@dataclass(frozen=True)
class MatMulAddToGemm(Rewrite):
    """Add(MatMul(a, b), c) --> Gemm(a, b, c): case 1."""

    name: ClassVar[str] = "matmul-add-to-gemm"
    anchors: ClassVar[tuple[str, ...]] = ("Add",)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    product: gs.Node
    bias: gs.Tensor

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The Add, the MatMul on either side of it, and the other operand."""
        if view.opset < _FIRST_GEMM_BROADCASTING or len(node.inputs) != 2:
            return None
        for position in (0, 1):
            product, bias = view.producer(node.inputs[position]), node.inputs[1 - position]
            if product is None or not view.is_op(product, "MatMul") or not _is_bias(bias, product, view):
                continue
            if view.rank(product.inputs[0]) != 2 or not _is_supported(node.outputs[0], view):
                continue
            only_reader(node.inputs[position], node, view)
            return cls(node, product, bias)
        return None

    def apply(self, edit: Edit) -> None:
        """A Gemm replaces both."""
        out, inputs = self.node.outputs[0], [*self.product.inputs, self.bias]
        name = self.product.name or out.name
        edit.remove(self.node)
        edit.remove(self.product)
        edit.node("Gemm", inputs, [out], name=name, sources=(self.product, self.node), before=self.node)


@dataclass(frozen=True)
class TransposeIntoGemm(Rewrite):
    """Gemm(Transpose(a), b) --> Gemm(a, b, transA = 1): case 2."""

    name: ClassVar[str] = "transpose-into-gemm"
    anchors: ClassVar[tuple[str, ...]] = ("Gemm",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    transpose: gs.Node
    position: int

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The Gemm and a Transpose that it alone reads."""
        for position in (0, 1):
            transpose = view.producer(view.input(node, position))
            if transpose is None or not view.is_op(transpose, "Transpose"):
                continue
            if permutation(transpose, view) != [1, 0] or view.input(transpose, 0) is None:
                continue
            if len(view.consumers(node.inputs[position])) > 1 or view.is_output(node.inputs[position]):
                raise Decline(f"the transposed {node.inputs[position].name!r} has another reader")
            if view.sole_consumer(node.inputs[position]) is node:
                return cls(node, transpose, position)
        return None

    def apply(self, edit: Edit) -> None:
        """The Gemm reads the source and flips the flag."""
        flag = "transA" if self.position == 0 else "transB"
        edit.set_attrs(self.node, **{flag: int(not self.node.attrs.get(flag, 0))})
        edit.inherit(self.node, (self.transpose, self.node))
        edit.set_input(self.node, self.position, self.transpose.inputs[0])
        edit.remove(self.transpose)


@dataclass(frozen=True)
class FuseGemm(LocalPass):
    """`y = MatMul(a, b) + c` --> `y = Gemm(a, b, c)`.

    1. `a` and `b` of rank 2; `c` on either side, constant or not: a scalar, [N] or [1, N], so that it cannot broadcast
       the product up.
    2. A Transpose of rank 2 that only the Gemm reads becomes `transA` or `transB`; a second one takes the flag back.

    Declines when the product, or the transposed matrix, has another reader.

    Numerics: rounding (a Gemm may add the bias first); case 2 is exact.
    """

    name: ClassVar[str] = "fuse-gemm"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "MatMul and Add as Gemm, Transpose as a flag of Gemm"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (MatMulAddToGemm, TransposeIntoGemm)
