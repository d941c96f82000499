"""Two linear operators, one behind the other, multiplied into one."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Context, Decline, Numerics, Rewrite
from roofwright.passes.fusion.images import is_padded
from roofwright.passes.fusion.linear_sum import SumConvolutions, SumProducts
from roofwright.passes.fusion.weights import (
    FLOATS,
    Array,
    Vector,
    WeightPass,
    constant_weight,
    given_weight,
    only_reader,
    stored,
)

_MOST_PRODUCTS = 1 << 31  # multiplications of two weights that are worth it while a model is optimized
_PRODUCTS = ("MatMul", "Gemm")
_FIRST_GEMM_BROADCASTING = 7


@dataclass(frozen=True)
class Chain:
    """What one operator does that stands for two.

    Attributes:
        weight, bias: computed in float64, stored in the type of the weights; no bias where neither has one.
        attrs: of the operator.
    """

    op: str
    weight: Array = field(repr=False)
    bias: Array | None = field(repr=False)
    attrs: dict[str, Any]


def _int_list(node: gs.Node, view: View, name: str, default: int, count: int) -> list[int]:
    return list(view.attr(node, name, [default] * count))


def _is_pointwise(node: gs.Node, shape: tuple[int, ...], view: View) -> bool:
    """Whether a convolution looks at one pixel at a time: 1 x 1 and no padding."""
    return all(size == 1 for size in shape[2:]) and not is_padded(node, view)


@dataclass(frozen=True)
class MultiplyChain(Rewrite):
    """Conv(Conv(x, V, c), W, b) --> Conv(x, W * V, W * c + b): cases 1 to 3."""

    name: ClassVar[str] = "multiply-chain"
    anchors: ClassVar[tuple[str, ...]] = ("Conv", *_PRODUCTS)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    first: gs.Node
    chain: Chain

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The second operator, the first one, and what both are together."""
        first = view.producer(node.inputs[0])
        if not view.is_op(first, *(("Conv",) if node.op == "Conv" else _PRODUCTS)):
            return None
        if not view.is_constant(first.inputs[1]) or not view.is_constant(node.inputs[1]):
            return None
        v, w = (view.static_shape(one.inputs[1]) for one in (first, node))
        if v is None or w is None or view.dtype(first.inputs[1]) not in FLOATS:
            return None
        make = _convolutions if node.op == "Conv" else _products
        if not _is_smaller(first, node, v, w, view):
            return None
        chain = make(first, node, view)
        return None if chain is None else cls(node, first, chain)

    def apply(self, edit: Edit) -> None:
        """One operator reads what the first one read."""
        node, first, out = self.node, self.first, self.node.outputs[0]
        inputs = [first.inputs[0], edit.constant(f"{out.name}_weight", self.chain.weight)]
        if self.chain.bias is not None:
            inputs.append(edit.constant(f"{out.name}_bias", self.chain.bias))
        edit.remove(node)
        edit.remove(first)
        name = node.name or out.name
        edit.node(self.chain.op, inputs, [out], name=name, sources=(first, node), attrs=self.chain.attrs, before=node)


def _is_smaller(first: gs.Node, node: gs.Node, v: tuple[int, ...], w: tuple[int, ...], view: View) -> bool:
    """Whether one operator multiplies no more, and its weight is no larger, than the two; sizes of weights alone."""
    if node.op == "Conv":
        if view.attr(first, "group", 1) != 1 or view.attr(node, "group", 1) != 1:
            return False
        kernel = int(np.prod(v[2:]) * np.prod(w[2:]))
        together, apart = w[0] * v[1] * kernel, int(np.prod(v)) + int(np.prod(w))
        return (_is_pointwise(node, w, view) or _is_pointwise(first, v, view)) and together <= apart
    if len(v) != 2 or len(w) != 2 or ("Gemm" in (first.op, node.op) and view.opset < _FIRST_GEMM_BROADCASTING):
        return False
    inner, mid = v[::-1] if view.attr(first, "transB", 0) else v
    same, wide = w[::-1] if view.attr(node, "transB", 0) else w
    return bool(same == mid and inner * wide <= mid * (inner + wide) and inner * mid * wide <= _MOST_PRODUCTS)


def _convolutions(first: gs.Node, node: gs.Node, view: View) -> Chain | None:
    """Cases 1 and 2."""
    shapes = tuple(first.inputs[1].shape), tuple(node.inputs[1].shape)
    rank = len(shapes[0]) - 2
    behind = _is_pointwise(node, shapes[1], view)
    own, given = (first, node) if behind else (node, first)  # whose kernel and padding stay, and the pointwise one
    if not behind and any(step != 1 for step in view.attr(given, "strides", ())):
        return None
    if not behind and _grows(own, shapes[1], view):
        return None
    if shapes[0][0] * shapes[1][0] * int(np.prod(shapes[0][1:])) * int(np.prod(shapes[1][2:])) > _MOST_PRODUCTS:
        return None
    only_reader(node.inputs[0], node, view)
    c, b = constant_weight(first, 2, view), constant_weight(node, 2, view)
    if not behind and is_padded(own, view) and c is not None and np.any(c):
        raise Decline("the first convolution has a bias, which the padding of the second one lacks")
    v, w = given_weight(first, 1, view), given_weight(node, 1, view)
    left, right = w.astype(np.float64), v.astype(np.float64)
    if behind:
        weight = np.tensordot(left.reshape(left.shape[0], -1), right, 1)
    else:
        weight = np.moveaxis(np.tensordot(left, right.reshape(right.shape[:2]), (1, 0)), -1, 1)
    bias = None if c is None else left.sum(axis=tuple(range(2, left.ndim))) @ c.astype(np.float64)
    both = zip(_int_list(first, view, "strides", 1, rank), _int_list(node, view, "strides", 1, rank), strict=True)
    attrs = {**own.attrs, "strides": [a * b for a, b in both], "kernel_shape": list(weight.shape[2:])}
    return Chain("Conv", stored(weight, v.dtype, "weight"), _total(bias, b, v.dtype), attrs)


def _grows(node: gs.Node, shape: tuple[int, ...], view: View) -> bool:
    """Whether a convolution may make more pixels than it reads, so that the first one had fewer to make."""
    rank = len(shape) - 2
    pads, steps = _int_list(node, view, "pads", 0, 2 * rank), _int_list(node, view, "dilations", 1, rank)
    return any(pads[k] + pads[rank + k] > (shape[2 + k] - 1) * steps[k] for k in range(rank))


def _products(first: gs.Node, node: gs.Node, view: View) -> Chain | None:
    """Case 3."""
    if view.attr(node, "transA", 0) or view.attr(first, "transA", 0):
        return None
    only_reader(node.inputs[0], node, view)
    v, w = _matrix(first, view), _matrix(node, view)
    c, b = _row(first, v.shape[1], view), _row(node, w.shape[1], view)
    dtype = given_weight(first, 1, view).dtype
    weight = stored(v @ w, dtype, "weight")
    bias = _total(None if c is None else c @ w, b, dtype)
    if bias is None and "Gemm" not in (first.op, node.op):
        return Chain("MatMul", weight, None, {})
    return Chain("Gemm", weight, bias, {})


def _matrix(node: gs.Node, view: View) -> Vector:
    """Rows in, columns out, with `alpha`."""
    wide = given_weight(node, 1, view).astype(np.float64) * float(view.attr(node, "alpha", 1.0))
    return np.asarray(wide.T if view.attr(node, "transB", 0) else wide)


def _row(node: gs.Node, count: int, view: View) -> Vector | None:
    """The bias with `beta`, one value per column."""
    value = constant_weight(node, 2, view)
    if value is None:
        return None
    wide = np.atleast_1d(value.astype(np.float64)) * float(view.attr(node, "beta", 1.0))
    return np.broadcast_to(wide, (*wide.shape[:-1], count))


def _total(carried: Vector | None, own: Array | None, dtype: Any) -> Array | None:
    if carried is None and own is None:
        return None
    total = (0.0 if carried is None else carried) + (0.0 if own is None else own.astype(np.float64))
    return stored(np.asarray(total, np.float64), dtype, "bias")


@dataclass(frozen=True)
class FuseLinearChain(WeightPass):
    """`y = Conv(Conv(x, V, c), W, b)` --> `y = Conv(x, W * V, W * c + b)`.

    1. The second convolution is 1 x 1 without padding: kernel, padding and dilations of the first one stay, strides
       are multiplied.
    2. The first one is 1 x 1 with stride 1 and without padding: those of the second one stay. Padding would be zeros
       and not `c`, so the second one must have none, or the first one no bias.
    3. MatMul and Gemm with constant matrices (`alpha`, `beta`, `transB`): one matrix. A bias makes it a Gemm.
    4. A sum of two convolutions of the same tensor, alike in strides, dilations and groups, one kernel inside the other
       (RepVGG and ACNet as they are trained): one, with the sum of the weights.
    5. A sum of a convolution and the tensor it reads, or a BatchNormalization of that: a 1, or the scale, is added in
       the middle of every filter. Not in float16 and bfloat16, where a small weight would lose its digits.
    6. A sum of two products of the same tensor with constant matrices, one of which may be a product itself (LoRA as it
       is trained): one, with the sum of the matrices.

    Always a gain, because it only fires where the new operator multiplies no more and has no more weights than the two:
    a bottleneck (V narrows, W widens again) is left alone.

    Declines when the value between them has another reader; a weight is not a constant; padding would lack the bias; a
    value is not finite in the weight's type.

    Numerics: rounding; the weights are multiplied and added in float64.
    References: Ding et al., RepVGG, CVPR 2021, arXiv:2101.03697, section 3.3; Hu et al., LoRA, arXiv:2106.09685.
    """

    name: ClassVar[str] = "fuse-linear-chain"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "two linear operators in a row or side by side as one, where that is less work"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (MultiplyChain, SumConvolutions, SumProducts)

    def limits(self, rewrite: Rewrite, view: View, ctx: Context) -> None:
        """Decline where weights that others read too stay beside a product above the fold limit."""
        super().limits(rewrite, view, ctx)
        if not isinstance(rewrite, MultiplyChain) or rewrite.chain.weight.nbytes <= ctx.fold_limit_bytes:
            return
        for tensor in (rewrite.first.inputs[1], rewrite.node.inputs[1]):
            if len(tensor.outputs) > 1:
                raise Decline(
                    f"weight {tensor.name!r} is shared, and the product has {rewrite.chain.weight.nbytes} bytes"
                )
