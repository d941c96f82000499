"""The plan for a region: an order for every class of tensors in which what is read together lies together."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.passes.units.region import Class, Region

_MOST_PIECES = 16  # of one Concat; beyond, its channels are put in order by a Gather
Order = NDArray[np.int64]


@dataclass(frozen=True)
class Piece:
    """Neighbouring channels of a tensor: `start` to `stop`, in the new order."""

    tensor: gs.Tensor
    start: int
    stop: int


@dataclass(frozen=True)
class Sink:
    """A tensor to be made again: its pieces in order, then, where `gather` is given, its channels picked from those."""

    tensor: gs.Tensor
    pieces: tuple[Piece, ...]
    gather: Order | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Plan:
    """New orders and what they leave to be moved.

    Attributes:
        orders: per class, position in the new order -> old channel.
        sinks: every tensor that routes made and others read.
        cuts: per source tensor (by id), where it is cut: 0, ..., its number of channels.
    """

    orders: tuple[tuple[Class, Order], ...] = field(repr=False)
    sinks: tuple[Sink, ...]
    cuts: dict[int, tuple[int, ...]]

    def parts(self, piece: Piece) -> int:
        """Of how many outputs of a Split a piece is made."""
        cuts = self.cuts[id(piece.tensor)]
        return cuts.index(piece.stop) - cuts.index(piece.start)

    @property
    def moved_channels(self) -> int:
        """How many channels the new nodes write."""
        moved = sum(cuts[-1] for cuts in self.cuts.values() if len(cuts) > 2)
        for sink in self.sinks:
            size = sum(piece.stop - piece.start for piece in sink.pieces)
            moved += size * ((sum(map(self.parts, sink.pieces)) > 1) + (sink.gather is not None))
        return moved

    @property
    def node_count(self) -> int:
        """How many nodes are written."""
        splits = sum(len(cuts) > 2 for cuts in self.cuts.values())
        concats = sum(sum(map(self.parts, sink.pieces)) > 1 for sink in self.sinks)
        return splits + concats + sum(sink.gather is not None for sink in self.sinks)

    @property
    def most_pieces(self) -> int:
        """Inputs of the largest Concat."""
        return max((sum(map(self.parts, sink.pieces)) for sink in self.sinks), default=0)


def plan(region: Region) -> Plan:
    """Choose the orders.

    Channels of a source that go the same ways get neighbours: the ways of all sinks are known before those of the
    classes whose tensors they are made of, so classes are visited backwards for the blocks and forwards for the order
    inside a block.
    """
    atoms, starts = _atoms(region)
    classes = _levels(region)
    blocks = _blocks(region, classes, atoms, starts)
    places = _Places(sum(group.count + 1 for group in region.classes for _ in group.sources))
    orders: dict[int, Order] = {}
    for group in classes:
        ways, order = blocks[id(group)], np.arange(group.count)
        if group.sinks:
            order = places.found[atoms[id(group.sinks[0])]]
        orders[id(group)] = np.lexsort((order, ways))
        for source in group.sources:
            places.put(starts[id(source)], orders[id(group)], source)
    sinks = [_sink(t, orders[id(group)], atoms[id(t)], places, group) for group in classes for t in group.sinks]
    return Plan(tuple((group, orders[id(group)]) for group in classes), tuple(sinks), _cuts(sinks))


class _Places:
    """Where every channel of every source lies, in one numbering with a gap after each tensor."""

    def __init__(self, size: int) -> None:
        self.found = np.zeros(size, np.int64)
        self.tensors: dict[int, gs.Tensor] = {}

    def put(self, start: int, order: Order, tensor: gs.Tensor) -> None:
        self.found[start + order] = start + np.arange(order.size)
        self.tensors[start] = tensor

    def pieces(self, channels: Order) -> tuple[Piece, ...]:
        """Runs of neighbours."""
        places, firsts = self.found[channels], np.asarray(sorted(self.tensors))
        ends = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), places.size]
        found = []
        for low, high in pairwise(ends):
            start = int(firsts[np.searchsorted(firsts, places[low], "right") - 1])
            first = int(places[low]) - start
            found.append(Piece(self.tensors[start], first, first + high - low))
        return tuple(found)


def _atoms(region: Region) -> tuple[dict[int, Order], dict[int, int]]:
    """Per tensor that routes read or make, the source channels in it; and the number of each source's first one."""
    atoms: dict[int, Order] = {}
    starts: dict[int, int] = {}
    total = 0
    for group in region.classes:
        for source in group.sources:
            starts[id(source)] = total
            atoms[id(source)] = total + np.arange(group.count)
            total += group.count + 1
    for route in region.routes:
        channels = np.concatenate([atoms[id(tensor)] for tensor in route.inputs])
        for tensor, picks in route.picks:
            atoms[id(tensor)] = channels[picks]
    return atoms, starts


def _levels(region: Region) -> list[Class]:
    """Classes, each after those that its tensors are made of (where they depend on each other: in any order)."""
    place = {id(node): at for at, node in enumerate(region.view.graph.nodes)}
    last = len(place)

    def level(group: Class) -> int:
        return min((place.get(id(sink.inputs[0]), last) for sink in group.sinks), default=-1)

    return sorted(region.classes, key=level)


def _blocks(region: Region, classes: list[Class], atoms: dict[int, Order], starts: dict[int, int]) -> dict[int, Order]:
    """Per class, the block of every channel: channels of one block may lie in any order."""
    ways: dict[int, list[Order]] = {id(group): [] for group in classes}
    owners = [(group, starts[id(source)]) for group in region.classes for source in group.sources]
    firsts = np.asarray([start for _, start in owners])
    blocks: dict[int, Order] = {}
    for group in reversed(classes):
        _, block = np.unique(np.stack([group.cells, *ways[id(group)]]), axis=1, return_inverse=True)
        blocks[id(group)] = block.reshape(-1)
        for sink in group.sinks:
            channels = atoms[id(sink)]
            makers = np.searchsorted(firsts, channels, "right") - 1
            for at in np.unique(makers):
                owner, start = owners[at]
                way = np.zeros(owner.count, np.int64)
                way[channels[makers == at] - start] = 1 + blocks[id(group)][makers == at]
                ways[id(owner)].append(way)
    return blocks


def _sink(tensor: gs.Tensor, order: Order, channels: Order, places: _Places, group: Class) -> Sink:
    pieces = places.pieces(channels[order])
    if len(pieces) <= _MOST_PIECES:
        return Sink(tensor, pieces)
    free = np.argsort(places.found[channels], kind="stable")
    where = np.empty_like(free)
    where[free] = np.arange(free.size)
    return Sink(tensor, places.pieces(channels[free]), where[order])


def _cuts(sinks: list[Sink]) -> dict[int, tuple[int, ...]]:
    cuts: dict[int, set[int]] = {}
    for piece in (piece for sink in sinks for piece in sink.pieces):
        count = (piece.tensor.shape or [0, 0])[1]
        cuts.setdefault(id(piece.tensor), {0, int(count)}).update((piece.start, piece.stop))
    return {tensor: tuple(sorted(found)) for tensor, found in cuts.items()}
