"""A sum of linear operators of the same tensor, written as one operator with the sum of their weights."""

from dataclasses import dataclass, field
from typing import ClassVar, Self, TypeGuard

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline, Numerics, Rewrite
from roofwright.passes.fusion.batch_norm import scale_and_shift
from roofwright.passes.fusion.images import IMAGE_RANK
from roofwright.passes.fusion.weights import Array, NewWeight, constant_weight, given_weight, only_reader, stored

_MOST_PRODUCTS = 1 << 31  # multiplications of two weights that are worth it while a model is optimized
_WIDE = ("float32", "float64")
_GEOMETRY = ("strides", "dilations")


def _pads(node: gs.Node, view: View) -> list[int] | None:
    """Explicit padding of an image convolution; None where the runtime chooses."""
    if view.attr(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    return list(view.attr(node, "pads", [0] * 4))


def _room(wide: gs.Node, small: gs.Node | None, view: View) -> tuple[int, ...] | None:
    """Rows and columns of the wide kernel before the small one's (1 x 1 where None); None where they do not line up."""
    outer, inner = _pads(wide, view), [0] * 4 if small is None else _pads(small, view)
    big, little = wide.inputs[1].shape[2:], (1, 1) if small is None else small.inputs[1].shape[2:]
    if outer is None or inner is None:
        return None
    steps = view.attr(wide, "dilations", [1, 1])
    room = []
    for axis in (0, 1):
        before, rest = divmod(outer[axis] - inner[axis], steps[axis])
        after = big[axis] - little[axis] - before
        if rest or before < 0 or after < 0 or outer[2 + axis] - inner[2 + axis] != after * steps[axis]:
            return None
        room.append(before)
    return tuple(room)


def _is_image(node: gs.Node | None, view: View) -> TypeGuard[gs.Node]:
    """Whether a node is a convolution of images whose weight has a known shape."""
    return view.is_op(node, "Conv") and len(view.static_shape(node.inputs[1]) or ()) == IMAGE_RANK


@dataclass(frozen=True)
class SumConvolutions(Rewrite):
    """Conv(x, V) + Conv(x, W) --> Conv(x, V + W); Conv(x, V) + x --> Conv(x, V + 1): cases 4 and 5."""

    name: ClassVar[str] = "sum-convolutions"
    anchors: ClassVar[tuple[str, ...]] = ("Add",)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    wide: gs.Node
    other: gs.Node | None
    weights: tuple[NewWeight, ...] = field(repr=False)

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The sum, the convolution that stays, the one that goes, and the new weights."""
        makers = [view.producer(tensor) for tensor in node.inputs[:2]]
        found = [maker for maker in makers if _is_image(maker, view)]
        if len(found) == 2 and found[0] is not found[1] and found[0].inputs[0] is found[1].inputs[0]:
            found.sort(key=lambda n: -int(np.prod(n.inputs[1].shape[2:])))
            return cls._of_two(node, found[0], found[1], view)
        for position, maker in enumerate(makers):
            other, norm = node.inputs[1 - position], makers[1 - position]
            if not _is_image(maker, view):
                continue
            if maker.inputs[0] is other:
                return cls._of_one(node, maker, None, view)
            if view.is_op(norm, "BatchNormalization") and norm.inputs[0] is maker.inputs[0]:
                return cls._of_one(node, maker, norm, view)
        return None

    @classmethod
    def _of_two(cls, node: gs.Node, wide: gs.Node, small: gs.Node, view: View) -> Self | None:
        """Case 4."""
        same = all(view.attr(wide, n, [1, 1]) == view.attr(small, n, [1, 1]) for n in _GEOMETRY)
        same = same and view.attr(wide, "group", 1) == view.attr(small, "group", 1)
        room = _room(wide, small, view) if same else None
        if room is None or tuple(wide.inputs[1].shape[:2]) != tuple(small.inputs[1].shape[:2]):
            return None
        for maker in (wide, small):
            only_reader(maker.outputs[0], node, view)
        added, more = given_weight(small, 1, view), constant_weight(small, 2, view)
        return cls(node, wide, small, _sums(wide, added, more, room, view))

    @classmethod
    def _of_one(cls, node: gs.Node, wide: gs.Node, norm: gs.Node | None, view: View) -> Self | None:
        """Case 5."""
        shape, room = wide.inputs[1].shape, _room(wide, None, view)
        groups = view.attr(wide, "group", 1)
        if room is None or shape[0] != shape[1] * groups or set(view.attr(wide, "strides", [1])) != {1}:
            return None
        for maker in (wide, norm):
            if maker is not None:
                only_reader(maker.outputs[0], node, view)
        name = view.dtype(wide.inputs[1])
        if name not in _WIDE:
            raise Decline(f"a weight plus 1 would lose its digits in {name}")
        scale, shift = (np.ones(shape[0]), None) if norm is None else scale_and_shift(norm, shape[0], view)
        identity, rows = np.zeros((*shape[:2], 1, 1)), np.arange(shape[0])
        identity[rows, rows % shape[1], 0, 0] = scale
        return cls(node, wide, norm, _sums(wide, identity, shift, room, view))

    def apply(self, edit: Edit) -> None:
        """The convolution that stays makes the sum."""
        for new in self.weights:
            new.write(edit)
        gone = [] if self.other is None else [self.other]
        edit.inherit(self.wide, (self.wide, *gone))
        edit.absorb(self.wide, self.node)
        for node in gone:
            edit.remove(node)


def _sums(wide: gs.Node, added: Array, more: Array | None, room: tuple[int, ...], view: View) -> tuple[NewWeight, ...]:
    """Weight and bias of a convolution with those of another one, or of a diagonal, added."""
    weight, bias = given_weight(wide, 1, view), constant_weight(wide, 2, view)
    total = weight.astype(np.float64)
    height, width = added.shape[2:]
    total[:, :, room[0] : room[0] + height, room[1] : room[1] + width] += added.astype(np.float64)
    new = NewWeight(wide, 1, stored(total, weight.dtype, "weight"))
    if more is None:
        return (new,)
    both = more.astype(np.float64) + (0.0 if bias is None else bias.astype(np.float64))
    return new, NewWeight(wide, 2, stored(both, weight.dtype, "bias"))


@dataclass(frozen=True)
class SumProducts(Rewrite):
    """x V + x A B --> x (V + A B): case 6."""

    name: ClassVar[str] = "sum-products"
    anchors: ClassVar[tuple[str, ...]] = ("Add",)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    kept: gs.Node
    gone: tuple[gs.Node, ...]
    weights: tuple[NewWeight, ...] = field(repr=False)

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The sum, the product that stays, those that go, and the new matrix."""
        for position in (0, 1):
            kept = view.producer(node.inputs[position])
            if not _is_product(kept, view):
                continue
            chain = _products_up(node.inputs[1 - position], kept.inputs[0], view)
            if not chain or chain[-1] is kept or kept.inputs[1].shape[1] != chain[-1].inputs[1].shape[1]:
                continue
            for reader, tensor in ((node, kept.outputs[0]), *_links(node, chain)):
                only_reader(tensor, reader, view)
            own = given_weight(kept, 1, view)
            rest = [given_weight(n, 1, view).astype(np.float64) for n in chain]
            total = own.astype(np.float64) + (rest[0] @ rest[1] if len(rest) == 2 else rest[0])
            return cls(node, kept, chain, (NewWeight(kept, 1, stored(np.asarray(total), own.dtype, "weight")),))
        return None

    def apply(self, edit: Edit) -> None:
        """The product that stays makes the sum."""
        for new in self.weights:
            new.write(edit)
        edit.inherit(self.kept, (self.kept, *self.gone))
        edit.absorb(self.kept, self.node)
        for node in reversed(self.gone):
            edit.remove(node)


def _is_product(node: gs.Node | None, view: View) -> TypeGuard[gs.Node]:
    """Whether a node is a MatMul by a constant matrix."""
    if not view.is_op(node, "MatMul"):
        return False
    return len(view.static_shape(node.inputs[1]) or ()) == 2 and view.is_constant(node.inputs[1])


def _products_up(tensor: gs.Tensor, source: gs.Tensor, view: View) -> tuple[gs.Node, ...]:
    """One or two products that lead from `source` to `tensor`, first to last; none where there are no such."""
    chain: list[gs.Node] = []
    while len(chain) < 2:
        maker = view.producer(tensor)
        if not _is_product(maker, view):
            return ()
        chain.insert(0, maker)
        tensor = maker.inputs[0]
        if tensor is source:
            sizes = [node.inputs[1].shape for node in chain]
            small = len(chain) == 1 or sizes[0][0] * sizes[0][1] * sizes[1][1] <= _MOST_PRODUCTS
            return tuple(chain) if small else ()
    return ()


def _links(node: gs.Node, chain: tuple[gs.Node, ...]) -> list[tuple[gs.Node, gs.Tensor]]:
    """Every value of a chain with the node that is to be its only reader."""
    return [(reader, maker.outputs[0]) for maker, reader in zip(chain, (*chain[1:], node), strict=True)]
