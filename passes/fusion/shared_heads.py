"""Attention whose keys and values are repeated for groups of query heads, which the operator does itself."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import integers

_RANK = 4  # (batch, heads, sequence, head)
_QUERY, _KEY, _VALUE, _MASK = range(4)


@dataclass(frozen=True)
class SharedHeads(Rewrite):
    """Attention(q, Repeat(k), Repeat(v)) --> Attention(q, k, v): case 11."""

    name: ClassVar[str] = "shared-heads"
    anchors: ClassVar[tuple[str, ...]] = ("Attention",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    key: gs.Tensor
    value: gs.Tensor

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The Attention, and keys and values before each head was repeated next to itself."""
        if any(view.input(node, at) is not None for at in range(_MASK + 1, len(node.inputs))):
            return None
        if len(view.used_outputs(node)) != 1 or "q_num_heads" in node.attrs or "kv_num_heads" in node.attrs:
            return None
        key, value = _repeated(view.input(node, _KEY), view), _repeated(view.input(node, _VALUE), view)
        return None if key is None or value is None or key[1] != value[1] else cls(node, key[0], value[0])

    def apply(self, edit: Edit) -> None:
        """The operator reads what was repeated."""
        edit.set_input(self.node, _KEY, self.key)
        edit.set_input(self.node, _VALUE, self.value)


def _repeated(tensor: gs.Tensor | None, view: View) -> tuple[gs.Tensor, int] | None:
    """What `tensor` repeats head by head, and how often: Reshape(Expand(Unsqueeze(k, 2)))."""
    chain: list[gs.Node] = []
    for op in ("Reshape", "Expand", "Unsqueeze"):
        node = view.producer(tensor)
        if node is None or not view.is_op(node, op):
            return None
        chain.append(node)
        tensor = node.inputs[0]
    if (
        tensor is None
        or tensor.shape is None
        or len(tensor.shape) != _RANK
        or integers(chain[2], view, "axes", 1) != [2]
    ):
        return None
    shapes = [node.outputs[0].shape for node in chain[:2]]
    if shapes[0] is None or shapes[1] is None or len(shapes[1]) != _RANK + 1:
        return None
    return _times(list(tensor.shape), list(shapes[1]), list(shapes[0]), tensor)


def _times(before: list[Any], expanded: list[Any], after: list[Any], tensor: gs.Tensor) -> tuple[gs.Tensor, int] | None:
    """How often, if the shapes are (b, h, s, d), (b, h, n, s, d), (b, h * n, s, d) with numbers for h and n."""
    heads, times = before[1], expanded[2]
    if not isinstance(heads, int) or not isinstance(times, int) or None in before:
        return None
    batch, _, sequence, width = before
    is_repeat = expanded == [batch, heads, times, sequence, width] and after == [batch, heads * times, sequence, width]
    return (tensor, times) if is_repeat else None
