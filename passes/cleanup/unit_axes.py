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
        maker = None if transpose is None else _sole_maker(transpose, view)
        if transpose is None or maker is None or not view.is_op(transpose, "Transpose"):
            return None
        perm, axes = permutation(transpose, view), integers(node, view, "axes", 1)
        places = None if perm is None or not axes else normalised(axes, len(perm))
        if perm is None or places is None:
            return None
        gone = {perm[place] for place in places}
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
    if view.is_op(maker, "Unsqueeze"):
        axes = integers(maker, view, "axes", 1)
        made = None if axes is None else normalised(axes, rank)
        return () if made is not None and set(made) == gone else None
    shape = maker.outputs[0].shape
    if not view.is_op(maker, "Reshape") or shape is None or view.opset < _FIRST_RESHAPE_WITH_INPUT:
        return None
    if len(shape) != rank or any(shape[axis] != 1 for axis in gone) or not view.is_constant(view.input(maker, 1)):
        return None
    kept = tuple(size if isinstance(size, int) else -1 for axis, size in enumerate(shape) if axis not in gone)
    return kept if kept and 0 not in kept and kept.count(-1) <= 1 else None
