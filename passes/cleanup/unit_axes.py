"""An axis of size 1 that is made before a Transpose and taken out behind it."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import integers, normalised, permutation

_FIRST_RESHAPE_WITH_INPUT = 5


@dataclass(frozen=True)
class SqueezeOfTranspose(Rewrite):
    """Squeeze(Transpose(Unsqueeze(x))) --> Transpose(x), and with a Reshape in front of it: case 15.

    `target` is the new target of that Reshape; None where it is an Unsqueeze, which goes.
    """

    name: ClassVar[str] = "squeeze-of-transpose"
    anchors: ClassVar[tuple[str, ...]] = ("Squeeze",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node
    transpose: gs.Node
    maker: gs.Node
    perm: tuple[int, ...]
    target: tuple[int, ...] | None

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The three nodes, the permutation of the axes that stay, and their sizes."""
        transpose = _sole_maker(node, view)
        if not view.is_op(transpose, "Transpose"):
            return None
        maker = _sole_maker(transpose, view)
        perm, axes = permutation(transpose, view), integers(node, view, "axes", 1)
        if perm is None or not axes or not view.is_op(maker, "Unsqueeze", "Reshape"):
            return None
        gone = {perm[place] for place in axes}
        target = _target(maker, gone, len(perm), view)
        if target is None:
            return None
        stay = [axis for axis in range(len(perm)) if axis not in gone]
        kept = tuple(stay.index(axis) for axis in perm if axis not in gone)
        return cls(node, transpose, maker, kept, target or None)

    def apply(self, edit: Edit) -> None:
        """The Transpose makes what the Squeeze made."""
        if self.target is None:
            edit.set_input(self.transpose, 0, self.maker.inputs[0])
            edit.remove(self.maker)
        else:
            out = self.maker.outputs[0]
            edit.set_constant(self.maker, 1, np.asarray(self.target, np.int64), f"{out.name}_shape")
            edit.set_attrs(self.maker, allowzero=None)
            out.shape = [size if size != -1 else None for size in self.target]
        edit.set_attrs(self.transpose, perm=list(self.perm))
        edit.absorb(self.transpose, self.node)


def _sole_maker(node: gs.Node, view: View) -> gs.Node | None:
    tensor = view.input(node, 0)
    return view.producer(tensor) if tensor is not None and view.sole_consumer(tensor) is node else None


def _target(maker: gs.Node, gone: set[int], rank: int, view: View) -> tuple[int, ...] | None:
    """The sizes that stay, -1 for one that is not known; () for an Unsqueeze that makes just these axes."""
    if maker.op == "Unsqueeze":
        axes = integers(maker, view, "axes", 1)
        made = None if axes is None else normalised(axes, rank)
        return () if made is not None and set(made) == gone else None
    shape = maker.outputs[0].shape
    if shape is None or view.opset < _FIRST_RESHAPE_WITH_INPUT:
        return None
    kept = tuple(size if isinstance(size, int) else -1 for axis, size in enumerate(shape) if axis not in gone)
    return kept if kept and 0 not in kept and kept.count(-1) <= 1 else None
