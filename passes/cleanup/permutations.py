"""A Transpose behind another one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import permutation


def moves_only_ones(shape: Sequence[Any], perm: Sequence[int]) -> bool:
    """Whether transposing a tensor of this shape moves no data: axes longer than 1 keep their order."""
    longer = [axis for axis in perm if shape[axis] != 1]
    return longer == sorted(longer)


def is_only_transposed(tensor: gs.Tensor, view: View) -> bool:
    """Whether nothing asks for the tensor itself: it is no output, and all its readers are Transposes of this graph."""
    readers = view.consumers(tensor)
    return not view.is_output(tensor) and all(view.is_op(n, "Transpose") and view.is_local(n) for n in readers)


@dataclass(frozen=True)
class TransposeOfTranspose(Rewrite):
    """Transpose(Transpose(x)) --> Transpose(x), or x: case 4."""

    name: ClassVar[str] = "transpose-of-transpose"
    anchors: ClassVar[tuple[str, ...]] = ("Transpose",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    source: gs.Tensor
    perm: tuple[int, ...]
    cancels: bool

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The outer node, what the inner one read, and the composed permutation."""
        inner = view.producer(node.inputs[0])
        if not view.is_op(inner, "Transpose"):
            return None
        source, second, first = inner.inputs[0], permutation(node, view), permutation(inner, view)
        if first is None or second is None:
            return None
        perm = tuple(first[axis] for axis in second)
        cancels = perm == tuple(range(len(perm))) and view.can_bypass(node, source)
        is_free = cancels or (source.shape is not None and moves_only_ones(source.shape, perm))
        if not is_free and not is_only_transposed(node.inputs[0], view):
            return None  # both would stay, and the source be read once more
        return cls(node, source, perm, cancels)

    def apply(self, edit: Edit) -> None:
        """The outer node reads the source; the inner one is left to dead-code."""
        if self.cancels:
            edit.bypass(self.node, self.source)
            return
        edit.set_input(self.node, 0, self.source)
        edit.set_attrs(self.node, perm=list(self.perm))
