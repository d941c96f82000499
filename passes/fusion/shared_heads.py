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
        if len(view.used_outputs(node)) != 1:
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
        if not view.is_op(node, op):
            return None
        chain.append(node)
        tensor = node.inputs[0]
    reshape, expand, unsqueeze = chain
    if integers(unsqueeze, view, "axes", 1) != [2]:
        return None
    source = unsqueeze.inputs[0]
    before, expanded, after = (list(t.shape or ()) for t in (source, expand.outputs[0], reshape.outputs[0]))
    times = _times(before, expanded, after)
    return None if times is None else (source, times)


def _times(before: list[Any], expanded: list[Any], after: list[Any]) -> int | None:
    """How often, if the shapes are (b, h, s, d), (b, h, n, s, d), (b, h * n, s, d) with numbers for h and n."""
    heads, times = (*before[1:2], *expanded[2:3]) if len(before) == _RANK else (None, None)
    if not isinstance(heads, int) or not isinstance(times, int) or None in before:
        return None
    wanted = [*before[:2], times, *before[2:]], [before[0], heads * times, *before[2:]]
    return times if (expanded, after) == wanted else None
