"""Sequences that are made only to be taken apart."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import integers

_FIRST_SPLIT_WITH_INPUT = 13
_MOST_PARTS = 256


@dataclass(frozen=True)
class SplitOfSequence(Rewrite):
    """SequenceAt(SplitToSequence(x), 0), SequenceAt(..., 1) --> Split(x): case 16.

    `picks` is, for every part, the SequenceAt that takes it, or None where nothing does.
    """

    name: ClassVar[str] = "split-of-sequence"
    anchors: ClassVar[tuple[str, ...]] = ("SplitToSequence",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    sizes: tuple[int, ...]
    picks: tuple[gs.Node | None, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The node, the sizes of its parts, and who takes which."""
        sequence, sizes = node.outputs[0], _sizes(node, view)
        if sizes is None or view.is_output(sequence):
            return None
        picks: list[gs.Node | None] = [None] * len(sizes)
        for reader in view.consumers(sequence):
            index = view.scalar(view.input(reader, 1)) if view.is_op(reader, "SequenceAt") else None
            if index is None or not view.is_local(reader) or not -len(sizes) <= index < len(sizes):
                return None
            if picks[int(index)] is not None:
                return None
            picks[int(index)] = reader
        return cls(node, sizes, tuple(picks))

    def apply(self, edit: Edit) -> None:
        """One Split makes what the picks made; parts that nobody takes get names."""
        node, name = self.node, self.node.outputs[0].name
        source, takers = node.inputs[0], [pick for pick in self.picks if pick is not None]
        outputs = [
            edit.variable(f"{name}_{place}", source.dtype, None) if pick is None else pick.outputs[0]
            for place, pick in enumerate(self.picks)
        ]
        attrs: dict[str, object] = {"axis": node.attrs.get("axis", 0)}
        inputs = [source]
        if edit.view.opset >= _FIRST_SPLIT_WITH_INPUT:
            inputs.append(edit.constant(f"{name}_sizes", np.asarray(self.sizes, np.int64)))
        else:
            attrs["split"] = list(self.sizes)
        for pick in takers:
            edit.remove(pick)
        edit.remove(node)
        edit.node("Split", inputs, outputs, name=node.name or name, sources=(node, *takers), attrs=attrs, before=node)


def _sizes(node: gs.Node, view: View) -> tuple[int, ...] | None:
    """The sizes of the parts, where they are known: a list, or a number of which the last part may have less."""
    values = integers(node, view, "split", 1)
    if values is None:
        return None
    if view.rank(node.inputs[1]) == 1:
        return tuple(values) if len(values) <= _MOST_PARTS else None
    shape, axis = node.inputs[0].shape, view.attr(node, "axis", 0)
    size = None if shape is None else shape[axis]
    if not isinstance(size, int) or size > values[0] * _MOST_PARTS:
        return None
    return tuple(min(values[0], size - start) for start in range(0, size, values[0]))
