"""Scaled dot-product attention written out: two products with a Softmax between."""

from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from roofwright.graph import View
from roofwright.passes.cleanup.constant_inputs import permutation
from roofwright.passes.fusion.composite import Composite, Pattern, Turned, with_scalar

_RANK = 4  # (batch, heads, sequence, head)
_AS_IT_IS = (0, 1, 2, 3)


@dataclass(frozen=True)
class _Logits:
    """What goes into the Softmax: `scale * (query @ key^T) + mask`, with its nodes, the product among them.

    `key` is what the one Transpose reads; turned by `perm` it has the axes of the query.
    """

    nodes: tuple[gs.Node, ...]
    query: gs.Tensor
    key: gs.Tensor
    perm: tuple[int, ...]
    scale: float
    mask: gs.Tensor | None


def _scaled(tensor: gs.Tensor, view: View) -> tuple[tuple[gs.Node, ...], gs.Tensor, float]:
    """The Mul or Div by a scalar that makes `tensor`, what it scales, and by how much; none, itself and 1 otherwise."""
    found = with_scalar(view.producer(tensor), view, "Mul", "Div")
    if found is None or (found.node.op == "Div" and found.value == 0):
        return (), tensor, 1.0
    return (found.node,), found.operand, 1 / found.value if found.node.op == "Div" else found.value


def _masked(tensor: gs.Tensor, view: View) -> tuple[tuple[gs.Node, ...], gs.Tensor, gs.Tensor | None]:
    """The Add of a mask, the logits before it, and the mask."""
    add = view.producer(tensor)
    if not view.is_op(add, "Add"):
        return (), tensor, None
    for position in (0, 1):
        _, inner, _ = _scaled(add.inputs[position], view)
        if view.is_op(view.producer(inner), "MatMul"):
            return (add,), add.inputs[position], add.inputs[1 - position]
    return (), tensor, None


def _logits(tensor: gs.Tensor, view: View) -> _Logits | None:
    adds, unmasked, mask = _masked(tensor, view)
    scales, product, scale = _scaled(unmasked, view)
    matmul = view.producer(product)
    if not view.is_op(matmul, "MatMul"):
        return None
    query_nodes, query, by = _scaled(matmul.inputs[0], view)
    key_nodes, turned, key_by = _scaled(matmul.inputs[1], view)
    transpose = view.producer(turned)
    if not view.is_op(transpose, "Transpose"):
        return None
    perm = permutation(transpose, view) or []
    if len(perm) != _RANK:
        return None
    inner, key, inner_by = _scaled(transpose.inputs[0], view)
    nodes = (*query_nodes, *inner, transpose, *key_nodes, matmul, *scales, *adds)
    return _Logits(nodes, query, key, (perm[0], perm[1], perm[3], perm[2]), scale * by * key_by * inner_by, mask)


class WriteAttention(Composite):
    """`Softmax(s * q @ Transpose(k) + m) @ v` --> Attention(q, k, v, m, scale=s): case 10."""

    name: ClassVar[str] = "to-attention"
    anchors: ClassVar[tuple[str, ...]] = ("Softmax",)

    @classmethod
    def find(cls, node: gs.Node, view: View) -> Pattern | None:
        """The products before and behind a Softmax over the last of four axes."""
        last = view.sole_consumer(node.outputs[0])
        if view.attr(node, "axis", -1) not in (-1, _RANK - 1):
            return None
        if not view.is_op(last, "MatMul") or last.inputs[0] is not node.outputs[0]:
            return None
        logits = _logits(node.inputs[0], view)
        if logits is None:
            return None
        key = logits.key if logits.perm == _AS_IT_IS else Turned(logits.key, logits.perm)
        inputs = (logits.query, key, last.inputs[1], logits.mask)
        operands = inputs if logits.mask is not None else inputs[:3]
        nodes = (*logits.nodes, node, last)
        return Pattern("Attention", nodes, operands, {"scale": logits.scale}, _obstacle(logits, last.inputs[1], view))


def _obstacle(logits: _Logits, value: gs.Tensor, view: View) -> str:
    shapes = [tensor.shape for tensor in (logits.query, logits.key, value)]
    if any(shape is None or len(shape) != _RANK for shape in shapes):
        return "query, key and value are not known to have four dimensions"
    query, unturned, values = (list(shape) for shape in shapes if shape is not None)
    key = [unturned[axis] for axis in logits.perm]
    if not query[:2] == key[:2] == values[:2] or key[2] != values[2] or None in (*query, *key, *values):
        return "batch, heads or lengths of query, key and value are not known to be equal"
    if logits.mask is None:
        return ""
    mask = logits.mask.shape
    if mask is None or not _fits(list(mask), [*query[:3], key[2]]):
        return f"the mask {logits.mask.name!r} is not known to have one value for every query and key"
    return ""


def _fits(mask: list[Any], wanted: list[Any]) -> bool:
    """Whether a mask has the last two dimensions in full, since a short last one is filled up with minus infinity."""
    in_front = zip(reversed(mask[:-2]), reversed(wanted[:-2]), strict=False)
    return len(mask) <= _RANK and mask[-2:] == wanted[-2:] and all(have in (1, want) for have, want in in_front)
