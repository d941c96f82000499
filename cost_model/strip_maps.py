"""Which rows and columns a node reads for those that it makes: what running nodes strip by strip needs to know.

A tensor is seen as images of rows x columns, each element of which holds `depth` numbers:

    planes    [N, C, H, W]          N images of H x W positions with C channels: convolutions and pools
    tokens    [..., M, K]           all leading dimensions are images, of M x 1 positions with K numbers: products

A node can be cut where every position of its result depends on a window of positions of the tensors it reads, and on
operands that are held whole. A product of two activations (attention) holds the right one, image by image; a softmax or
normalisation over the last axis, a channel Concat or Split and everything elementwise keep positions as they are. A
reduction over positions (GlobalAveragePool) cannot be cut: it ends the run of nodes, and what follows starts another.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import onnx_graphsurgeon as gs

from roofwright.cost_model.graph_work import NodeWork
from roofwright.cost_model.ops.elementwise import WEIGHTS

Space = Literal["planes", "tokens"]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A tensor as images of rows x columns with `depth` numbers at each position."""

    space: Space
    images: int
    rows: int
    columns: int
    depth: int

    @classmethod
    def of(cls, shape: Shape, space: Space) -> "Grid | None":
        """How a tensor of this shape is seen; None where it cannot be."""
        if space == "planes":
            return cls(space, shape[0], shape[2], shape[3], shape[1]) if len(shape) == 4 else None
        return cls(space, prod(shape[:-2]), shape[-2], 1, shape[-1]) if len(shape) >= 2 else None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to cut."""
        return not self.images * self.rows * self.columns

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns


@dataclass(frozen=True, slots=True)
class Reach:
    """Along one axis, positions [a, b) of the result need [a * stride - pad, (b - 1) * stride - pad + window)."""

    window: int = 1
    stride: int = 1
    pad: int = 0


SAME = Reach()


@dataclass(frozen=True, slots=True)
class Read:
    """A tensor of which a node reads windows; of another image size than the result's only where `rows` says so."""

    name: str
    grid: Grid
    rows: Reach = SAME
    columns: Reach = SAME


@dataclass(frozen=True, slots=True)
class Step:
    """One node as strips see it.

    Attributes:
        work: the node.
        makes: its results and their grids, which have the same images, rows and columns.
        reads: what it reads by windows.
        whole: what it holds whole, without constants.
        by_image: those of `whole` of which one image at a time is enough.
    """

    work: NodeWork
    makes: tuple[tuple[str, Grid], ...]
    reads: tuple[Read, ...]
    whole: tuple[str, ...] = ()
    by_image: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid:
        """Of the first result."""
        return self.makes[0][1]


class Maps:
    """Steps of a graph's nodes, each made once."""

    def __init__(self, alias: Mapping[str, str], dims: Mapping[str, int]) -> None:
        """Prepare.

        Args:
            alias: name of a view -> name of the tensor whose bytes it shows.
            dims: symbolic dimension -> size it is priced at.
        """
        self.alias, self.dims = alias, dims
        self._known: dict[tuple[str, Space], Step | None] = {}

    def step(self, work: NodeWork, space: Space) -> Step | None:
        """The node as a step; None where it cannot be cut."""
        at = (work.key, space)
        if at not in self._known:
            self._known[at] = self._made(work, space)
        return self._known[at]

    def _made(self, work: NodeWork, space: Space) -> Step | None:
        if work.scope or work.repeat != 1 or not work.work.writes:
            return None
        rule = _RULES.get(work.op, _elementwise if work.op in POSITIONWISE else None)
        seen = _Seen(work, space, self) if rule is not None else None
        return rule(seen) if rule is not None and seen is not None and seen.complete else None

    def shape(self, tensor: gs.Tensor) -> Shape | None:
        """Dimensions as numbers; None where one is not known."""
        if tensor.shape is None:
            return None
        sizes = [self.dims.get(d) if isinstance(d, str) else d for d in tensor.shape]
        known = tuple(int(size) for size in sizes if size is not None)
        return known if len(known) == len(sizes) else None


class _Seen:
    """One node with the shapes of its tensors: what the rules below ask."""

    def __init__(self, work: NodeWork, space: Space, maps: Maps) -> None:
        self.work, self.space, self.node, self.maps = work, space, work.node, maps
        constant = {operand.name: operand.constant for operand in work.work.reads}
        self.constant = [constant.get(t.name) for t in self.node.inputs]  # None: not an operand
        self.shapes = [maps.shape(t) if t.name else None for t in self.node.inputs]
        outs = [t for t in self.node.outputs if t.name]
        grids = [(t.name, Grid.of(s, space)) for t in outs for s in [maps.shape(t)] if s is not None]
        self.makes = tuple((name, grid) for name, grid in grids if grid is not None)
        self.complete = len(self.makes) == len(outs) > 0 and len({(g.images, g.extent) for _, g in self.makes}) == 1
        written = {operand.name for operand in work.work.writes}
        self.complete &= all(name in written for name, _ in self.makes)

    def name(self, at: int) -> str:
        """The tensor whose bytes an input is."""
        name = self.node.inputs[at].name
        return self.maps.alias.get(name, name)

    def ints(self, name: str, default: Sequence[int]) -> list[int]:
        found = self.node.attrs.get(name)
        return list(found) if found else list(default)

    def read(self, at: int, rows: Reach = SAME, columns: Reach = SAME) -> Read | None:
        """Input `at`, read by windows."""
        shape = self.shapes[at] if at < len(self.shapes) and self.constant[at] is False else None
        grid = Grid.of(shape, self.space) if shape is not None else None
        if grid is None or grid.images != self.makes[0][1].images:
            return None
        return Read(self.name(at), grid, rows, columns)

    def rest_constant(self, first: int) -> bool:
        """Whether all operands from position `first` on are constants."""
        return all(constant is not False for constant in self.constant[first:])


def _windowed(seen: _Seen, kernel: Sequence[int]) -> Step | None:
    strides, dilations = seen.ints("strides", (1, 1)), seen.ints("dilations", (1, 1))
    pads = seen.ints("pads", (0, 0, 0, 0))
    if len(kernel) != 2 or seen.node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    axes = zip(kernel, strides, pads[:2], dilations, strict=True)
    rows, columns = (Reach((k - 1) * d + 1, stride, pad) for k, stride, pad, d in axes)
    read = seen.read(0, rows, columns)
    return Step(seen.work, seen.makes, (read,)) if read is not None and seen.rest_constant(1) else None


def _conv(seen: _Seen) -> Step | None:
    shape = seen.shapes[1]
    if seen.space != "planes" or shape is None or len(shape) != 4 or not seen.constant[1]:
        return None
    return _windowed(seen, shape[2:])


def _pool(seen: _Seen) -> Step | None:
    if seen.space != "planes" or len(seen.makes) != 1:
        return None
    return _windowed(seen, seen.ints("kernel_shape", ()))


def _product(seen: _Seen) -> Step | None:
    read = seen.read(0)
    if seen.space != "tokens" or read is None or seen.node.attrs.get("transA", 0) or not seen.rest_constant(2):
        return None
    if read.grid.rows != seen.makes[0][1].rows or len(seen.work.work.nests) != 1:
        return None
    if seen.constant[1]:
        shape = seen.shapes[1]
        return Step(seen.work, seen.makes, (read,)) if shape is not None and prod(shape[:-2]) == 1 else None
    right = seen.shapes[1]
    by_image = right is not None and len(right) > 2 and prod(right[:-2]) == read.grid.images
    return Step(seen.work, seen.makes, (read,), (seen.name(1),), (seen.name(1),)) if by_image else None


def _last_axis(seen: _Seen) -> Step | None:
    shape, axis = seen.shapes[0], int(seen.node.attrs.get("axis", -1))
    read = seen.read(0)
    if seen.space != "tokens" or read is None or shape is None or axis % len(shape) != len(shape) - 1:
        return None
    return Step(seen.work, seen.makes, (read,)) if seen.rest_constant(1) and len(seen.makes) == 1 else None


def _joined(seen: _Seen) -> Step | None:
    """Concat or Split of channels."""
    shape = seen.shapes[0]
    axis = -1 if shape is None else int(seen.node.attrs.get("axis", 0)) % len(shape)
    if shape is None or axis != (1 if seen.space == "planes" else len(shape) - 1):
        return None
    reads = [seen.read(at) for at in range(len(seen.shapes)) if seen.constant[at] is False]
    found = tuple(read for read in reads if read is not None)
    alike = all(read.grid.extent == seen.makes[0][1].extent for read in found)
    return Step(seen.work, seen.makes, found) if len(found) == len(reads) > 0 and alike else None


def _elementwise(seen: _Seen) -> Step | None:
    """Operands of the result's shape are read by position, others (they broadcast) are held whole."""
    if len(seen.makes) != 1:
        return None
    reads, whole = [], []
    for at, constant in enumerate(seen.constant):
        if constant is not False:
            continue
        read = seen.read(at)
        if read is not None and read.grid == seen.makes[0][1]:
            reads.append(read)
        else:
            whole.append(seen.name(at))
    return Step(seen.work, seen.makes, tuple(reads), tuple(whole)) if reads else None


POSITIONWISE = {
    *WEIGHTS,
    *("Cast", "Clip", "Where", "Gelu", "Pow", "Sum", "Max", "Min", "Mean"),
    *("QuantizeLinear", "DequantizeLinear", "BatchNormalization"),
}
_RULES: Mapping[str, Callable[[_Seen], Step | None]] = {
    "Conv": _conv,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "MatMul": _product,
    "Gemm": _product,
    "Softmax": _last_axis,
    "LayerNormalization": _last_axis,
    "Concat": _joined,
    "Split": _joined,
}
