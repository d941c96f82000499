"""MatMul and Gemm with what follows them as one Gemm, and Transposes as flags of a Gemm."""

from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, Self, TypeGuard

import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import LocalPass, Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import permutation
from roofwright.passes.fusion.gemm_rows import BiasedRows, ReshapedGemm, is_row
from roofwright.passes.fusion.scales import scalar_factor
from roofwright.passes.fusion.weights import FLOATS, only_reader

_FIRST_GEMM_WITHOUT_BIAS = 11


def _is_bias(bias: gs.Tensor, product: gs.Node, view: View) -> bool:
    """Whether the operand cannot broadcast the product up: one value per column, or a matrix of its very shape."""
    whole = product.outputs[0].shape
    if bias.shape is not None and whole is not None and None not in whole and list(bias.shape) == list(whole):
        return True
    return is_row(bias, _columns(product), view)


def _columns(product: gs.Node) -> Any:
    shape = product.inputs[1].shape
    return shape[0 if product.attrs.get("transB") else 1] if shape is not None and len(shape) == 2 else None


@dataclass(frozen=True)
class MatMulAddToGemm(Rewrite):
    """Add(MatMul(a, b), c) --> Gemm(a, b, c): cases 1 and 3."""

    name: ClassVar[str] = "matmul-add-to-gemm"
    anchors: ClassVar[tuple[str, ...]] = ("Add", "Sum")
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    product: gs.Node
    bias: gs.Tensor

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The Add, the MatMul or Gemm on either side of it, and the other operand."""
        if len(node.inputs) != 2:
            return None
        for position in (0, 1):
            product, bias = view.producer(node.inputs[position]), node.inputs[1 - position]
            if not _can_take_bias(product, view) or not _is_bias(bias, product, view):
                continue
            if view.dtype(node.outputs[0]) not in FLOATS:
                return None
            only_reader(node.inputs[position], node, view)
            return cls(node, product, bias)
        return None

    def apply(self, edit: Edit) -> None:
        """A Gemm replaces both."""
        out, inputs = self.node.outputs[0], [*self.product.inputs[:2], self.bias]
        name, attrs = self.product.name or out.name, {n: v for n, v in self.product.attrs.items() if n != "beta"}
        edit.remove(self.node)
        edit.remove(self.product)
        sources = (self.product, self.node)
        edit.node("Gemm", inputs, [out], name=name, sources=sources, attrs=attrs, before=self.node)


def _can_take_bias(product: gs.Node | None, view: View) -> TypeGuard[gs.Node]:
    if view.is_op(product, "MatMul"):
        return all(view.rank(held) == 2 for held in product.inputs)
    return view.is_op(product, "Gemm") and view.input(product, 2) is None


@dataclass(frozen=True)
class ScaleToAlpha(Rewrite):
    """Mul(Gemm(a, b, c), s) --> Gemm(a, b, c, alpha = s, beta = s): case 4."""

    name: ClassVar[str] = "scale-to-alpha"
    anchors: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    product: gs.Node
    factor: float

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The multiplication and the product of two computed matrices (the weights of others take numbers in)."""
        found = scalar_factor(node, view)
        if found is None or not isfinite(found[1]):
            return None
        product = view.producer(found[0])
        if not view.is_op(product, "Gemm", "MatMul"):
            return None
        if any(view.rank(held) != 2 or view.is_constant(held) for held in product.inputs[:2]):
            return None
        if len(product.inputs) < 3 and view.opset < _FIRST_GEMM_WITHOUT_BIAS:
            return None
        only_reader(found[0], node, view)
        return cls(node, product, found[1])

    def apply(self, edit: Edit) -> None:
        """A Gemm replaces both."""
        out, inputs, product = self.node.outputs[0], list(self.product.inputs), self.product
        attrs = dict(product.attrs) | {"alpha": float(product.attrs.get("alpha", 1.0) * self.factor)}
        if len(inputs) > 2:
            attrs["beta"] = float(product.attrs.get("beta", 1.0) * self.factor)
        edit.remove(self.node)
        edit.remove(product)
        name = product.name or out.name
        edit.node("Gemm", inputs, [out], name=name, sources=(product, self.node), attrs=attrs, before=self.node)


@dataclass(frozen=True)
class TransposeIntoGemm(Rewrite):
    """Gemm(Transpose(a), b) --> Gemm(a, b, transA = 1): cases 2 and 5."""

    name: ClassVar[str] = "transpose-into-gemm"
    anchors: ClassVar[tuple[str, ...]] = ("Gemm", "MatMul")
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    transpose: gs.Node
    position: int

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The product and a Transpose that it alone reads."""
        turned = [position for position in (0, 1) if _is_turned(node.inputs[position], view)]
        if not turned or (node.op == "MatMul" and not _can_be_gemm(node, view)):
            return None
        own = [position for position in turned if view.sole_consumer(node.inputs[position]) is node]
        position = own[0] if own else turned[0]
        only_reader(node.inputs[position], node, view)
        return cls(node, node.inputs[position].inputs[0], position)

    def apply(self, edit: Edit) -> None:
        """The Gemm reads the source and flips the flag."""
        flag, node = "transA" if self.position == 0 else "transB", self.node
        if node.op == "MatMul":
            inputs, out = list(node.inputs), node.outputs[0]
            edit.remove(node)
            node = edit.node("Gemm", inputs, [out], name=node.name or out.name, sources=[node], before=node)
        edit.set_attrs(node, **{flag: int(not node.attrs.get(flag, 0))})
        edit.inherit(node, (self.transpose, node))
        edit.set_input(node, self.position, self.transpose.inputs[0])
        edit.remove(self.transpose)


def _is_turned(tensor: gs.Tensor, view: View) -> bool:
    maker = view.producer(tensor)
    return view.is_op(maker, "Transpose") and permutation(maker, view) == [1, 0]


def _can_be_gemm(node: gs.Node, view: View) -> bool:
    ranks = [view.rank(tensor) for tensor in node.inputs]
    return view.opset >= _FIRST_GEMM_WITHOUT_BIAS and ranks == [2, 2] and view.dtype(node.outputs[0]) in FLOATS


@dataclass(frozen=True)
class FuseGemm(LocalPass):
    """`y = MatMul(a, b) + c` --> `y = Gemm(a, b, c)`.

    1. `a` and `b` of rank 2; `c` on either side of Add or Sum, constant or not, where it cannot broadcast the product
       up: a scalar, [N] or [1, N], or a matrix of the product's own shape, symbolic or not.
    2. A Transpose of rank 2 that only the Gemm reads becomes `transA` or `transB`; a second one takes the flag back.
    3. A Gemm without `c` takes one; its `alpha` and flags stay.
    4. A product of two computed matrices, times or divided by one number: `alpha` and `beta`.
    5. Case 2 with a MatMul of rank 2 makes it a Gemm (opset 11, from which it needs no `c`).
    6. Gemm or MatMul with a constant matrix between two Reshapes that join all axes but the last, and part them again
       as they were: MatMul of any rank. A bias becomes an Add, where the target prices that as a gain.
    7. MatMul of any rank with a matrix, then Add of a bias, between two Reshapes that nobody else reads: the first
       makes a matrix, a Gemm takes the bias in, the last one parts what it parted before.

    Declines when the product, or the transposed or reshaped matrix, has another reader, or the cost model prices case 6
    as a loss.

    Numerics: rounding (a Gemm may add the bias first); case 2 is exact.
    """

    name: ClassVar[str] = "fuse-gemm"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "MatMul with Add, Mul, Transpose and Reshapes around it as one product"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (
        MatMulAddToGemm,
        ScaleToAlpha,
        TransposeIntoGemm,
        ReshapedGemm,
        BiasedRows,
    )
