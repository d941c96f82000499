"""How one node of a kernel in groups of channels is cut: a rule per operator, on its shapes."""

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING

from roofwright.cost_model.channel_maps import NotByChannels, Role
from roofwright.cost_model.graph_work import NodeWork
from roofwright.cost_model.strip_maps import POSITIONWISE, Shape

if TYPE_CHECKING:
    from roofwright.cost_model.channel_walk import Walk

POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
_REDUCES = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum")
_ALONG_ONE = ("QuantizeLinear", "DequantizeLinear", "BatchNormalization")  # their vectors lie along one axis
OUT = -1  # in place of the position of an operand: the result


class Seen:
    """One node with the shapes of its tensors: what the rules below ask.

    Attributes:
        cut: what the rules found: position of an operand (or `OUT`) -> its shape and the axis along which it is cut.
    """

    def __init__(self, work: NodeWork, walk: "Walk") -> None:
        """Look at a node.

        Raises:
            NotByChannels: it runs in a loop, has several results, or a shape is not known.
        """
        if work.scope or work.repeat != 1 or sum(1 for t in work.node.outputs if t.name) != 1:
            raise NotByChannels(f"{work.op} runs in a loop or has several results")
        self.work, self.node, self.walk = work, work.node, walk
        maps, known = walk.maps, {operand.name: operand.constant for operand in work.work.reads}
        tensors = self.node.inputs
        self.names = [maps.alias.get(t.name, t.name) for t in tensors]
        self.constant = [known.get(t.name) for t in tensors]  # None: not an operand
        self.operands = [at for at, constant in enumerate(self.constant) if constant is not None]
        self.shapes = [maps.shape(t) if t.name else None for t in tensors]
        self.out = self.node.outputs[0].name
        shape = maps.shape(self.node.outputs[0])
        if shape is None or any(self.shapes[at] is None for at in self.operands) or not prod(shape):
            raise NotByChannels(f"a shape of {work.op} is not known, or empty")
        self.shape = shape
        self.cut: dict[int, tuple[Shape, int]] = {}

    def of(self, at: int) -> Shape:
        """Shape of an operand; an input that is left out has none."""
        return (self.shapes[at] if at < len(self.shapes) else None) or ()

    def grouped(self, at: int) -> bool:
        """Whether there is a group of an operand at a time."""
        return self.names[at] in self.walk.along

    def axis(self, at: int) -> int:
        """The axis of an operand along which it is cut, or would be."""
        shape = self.of(at)
        if self.grouped(at):
            axis = self.walk.along[self.names[at]].axis(shape)
        elif self.walk.view == "images":
            leading = [axis for axis, size in enumerate(shape[:-2]) if size > 1]
            axis = leading[-1] if leading else None
        else:
            axis = 1 if self.walk.view == "planes" else len(shape) - 1
        if axis is None or axis >= len(shape):
            raise NotByChannels(f"{self.work.op} reads no channels")
        return axis

    def slice(self, at: int, axis: int, shape: Shape | None = None) -> None:
        """Operand `at`, or the result, is cut along an axis."""
        found = shape or (self.shape if at == OUT else self.of(at))
        self.cut[at] = (found, axis)
        self.walk.extent = self.walk.extent or found[axis]

    def broadcasts(self, axis: int, first: int = 0) -> None:
        """Operands from `first` on are read along the result, cut along `axis`, or are the same for all groups."""
        rank = len(self.shape)
        for at in self.operands:
            shape = self.of(at)
            if self.work.op in _ALONG_ONE and len(shape) == 1 and shape[0] > 1:
                own = 1 if self.work.op == "BatchNormalization" else int(self.node.attrs.get("axis", 1)) % rank
                shape = (*shape, *[1] * (rank - own - 1))
            shape = (*[1] * (rank - len(shape)), *shape)
            if at >= first and shape[axis] == self.shape[axis] > 1:
                self.slice(at, axis, shape)

    def refuse(self) -> NotByChannels:
        """That channels mix here."""
        return NotByChannels(f"{self.work.op} mixes channels")


def followed(seen: Seen) -> Role:
    """Work on a result that is whole."""
    closed = seen.walk.parts[-1].work.op
    same = [at for at in seen.operands if seen.walk.is_whole(seen.names[at])]
    if seen.work.op not in POSITIONWISE:
        raise NotByChannels(f"{seen.work.op} comes after {closed}, which has made all channels")
    if any(seen.of(at) != seen.shape for at in same):
        raise NotByChannels(f"{seen.work.op} repeats what {closed} has made")
    return "follows"


def _conv(seen: Seen) -> Role:
    groups = int(seen.node.attrs.get("group", 1))
    if not seen.constant[1] or len(seen.of(1)) < 3:
        raise NotByChannels("Conv without constant weights")
    if seen.grouped(0) and seen.axis(0) != 1:
        raise seen.refuse()
    if groups == 1 and seen.grouped(0):
        seen.slice(0, 1)
        seen.slice(1, 1)
        return "closes"
    seen.walk.extent = seen.walk.extent or (groups if groups > 1 else seen.shape[1])
    if groups > 1:
        seen.slice(0, 1)
        seen.walk.unify(groups)
    for at in seen.operands[1:]:
        seen.slice(at, 0)
    seen.slice(OUT, 1)
    return "opens" if groups == 1 else "each"


def _product(seen: Seen) -> Role:
    left, right, transposed = seen.of(0), seen.of(1), bool(seen.node.attrs.get("transB", 0))
    if seen.node.attrs.get("transA", 0) or seen.constant[0] or min(len(left), len(right)) < 2:
        raise NotByChannels(f"{seen.work.op} whose left operand is transposed, a constant or a vector")
    if not seen.constant[1]:
        return _by_head(seen)
    if prod(right[:-2]) != 1:
        raise NotByChannels("MatMul with a stack of weights")
    rows, columns = (len(right) - 1, len(right) - 2) if transposed else (len(right) - 2, len(right) - 1)
    if seen.grouped(0):
        if seen.axis(0) != len(left) - 1:
            raise seen.refuse()
        seen.slice(0, len(left) - 1)
        seen.slice(1, rows)
        return "closes"
    seen.slice(OUT, len(seen.shape) - 1)
    seen.slice(1, columns)
    seen.broadcasts(len(seen.shape) - 1, first=2)
    return "opens"


def _by_head(seen: Seen) -> Role:
    if seen.work.op == "Gemm" or any(seen.of(at)[:-2] != seen.shape[:-2] for at in (0, 1)):
        raise NotByChannels(f"{seen.work.op} does not multiply head by head")
    axis = seen.axis(1 if seen.grouped(1) else 0)
    if axis >= len(seen.shape) - 2:
        raise seen.refuse()
    for at in (0, 1, OUT):
        seen.slice(at, axis)
    return "each"


def _pool(seen: Seen) -> Role:
    if seen.axis(0) != 1:
        raise seen.refuse()
    seen.slice(0, 1)
    seen.slice(OUT, 1)
    return "each"


def _reduce(seen: Seen) -> Role:
    rank, axes, axis = len(seen.of(0)), seen.node.attrs.get("axes"), seen.axis(0)
    if len(seen.node.inputs) > 1 and seen.node.inputs[1].name:
        value = getattr(seen.node.inputs[1], "values", None)
        axes = None if value is None else value.reshape(-1).tolist()
    over = {int(each) % rank for each in axes} if axes else set(range(rank))
    if axis in over:
        raise seen.refuse()
    kept = bool(seen.node.attrs.get("keepdims", 1))
    seen.slice(0, axis)
    seen.slice(OUT, axis if kept else axis - sum(1 for each in over if each < axis))
    return "each"


def _inside(seen: Seen) -> Role:
    """A softmax or normalisation of the last axis, which is not the one that is cut."""
    rank, axis = len(seen.of(0)), seen.axis(0)
    if int(seen.node.attrs.get("axis", -1)) % rank != rank - 1 or axis == rank - 1:
        raise seen.refuse()
    seen.slice(0, axis)
    seen.slice(OUT, axis)
    return "each"


def _transpose(seen: Seen) -> Role:
    if not seen.grouped(0):
        raise NotByChannels("Transpose reads no group of channels")
    axis, rank = seen.axis(0), len(seen.shape)
    order = list(seen.node.attrs.get("perm") or range(rank - 1, -1, -1))
    seen.slice(0, axis)
    seen.slice(OUT, order.index(axis))
    return "each"


def elementwise(seen: Seen) -> Role:
    """Work on single elements: along what it reads by groups, or along the first operand of its result's shape."""
    rank = len(seen.shape)
    grouped = [at for at in seen.operands if seen.grouped(at)]
    whole = [at for at in seen.operands if not seen.constant[at] and seen.of(at) == seen.shape]
    lead = next(iter([*grouped, *whole]), None)
    if lead is None:
        raise NotByChannels(f"{seen.work.op} reads no group of channels")
    axis = seen.axis(lead) + rank - len(seen.of(lead))
    if seen.shape[axis] < 2:
        raise NotByChannels(f"{seen.work.op} reads no group of channels")
    seen.slice(OUT, axis)
    seen.broadcasts(axis)
    return "each"


RULES: Mapping[str, Callable[[Seen], Role]] = {
    "Conv": _conv,
    "MatMul": _product,
    "Gemm": _product,
    **dict.fromkeys(POOLS, _pool),
    **dict.fromkeys(_REDUCES, _reduce),
    "Softmax": _inside,
    "LayerNormalization": _inside,
    "Transpose": _transpose,
}
