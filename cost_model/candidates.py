"""Tile sizes worth looking at: for every innermost loop the distinct trip counts, and what then still fits on chip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from roofwright.cost_model.rates import ceil_div, round_up
from roofwright.cost_model.tiles import Footprint, Problem, Tiles
from roofwright.cost_model.units import Bools, Floats, Ints

ROWS, OUT, IN = range(3)  # positions in `tiles.ORDERS`: which loop is innermost


@dataclass(frozen=True, kw_only=True)
class Buffers:
    """The on-chip storage a kernel's tiles must fit into.

    Attributes:
        capacity_bytes: the memory shared by all operands (scalar, or one per nest).
        weight_bytes: a memory that holds the weights apart; None: they share the main one.
        accumulator_bytes: a memory that holds partial sums apart; the main one then holds finished results.
        copies: buffers of an operand that passes through in several tiles; 2 overlaps transfers with computation.
    """

    capacity_bytes: Any
    weight_bytes: int | None = None
    accumulator_bytes: int | None = None
    copies: int = 2


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What an engine works on at a time; a tile that fills it only in part costs as much as a full one.

    Attributes:
        pixels: output pixels (rows of a GEMM) that one filling of the unit should see.
        channels: out channels.
        depth: reduction length.
        macs_per_byte: MACs that the engine does while one byte moves off chip; 0: only bytes count.
        setup_bytes: bytes that could move while one tile's transfers are set up.
    """

    pixels: int = 1
    channels: int = 1
    depth: int = 1
    macs_per_byte: float = 0.0
    setup_bytes: float = 0.0


@dataclass(frozen=True)
class Bytes:
    """Bytes of the three operands, or their growth per unit of a tile size."""

    inputs: Floats
    weights: Floats
    partials: Floats


@dataclass(frozen=True)
class Room:
    """Capacities per nest (or candidate), inf where a memory is not kept apart."""

    main: Floats
    weights: Floats
    sums: Floats
    copies: int
    weights_apart: bool
    sums_apart: bool

    @classmethod
    def of(cls, buffers: Buffers, n: int) -> "Room":
        """One entry per nest."""
        apart = (buffers.weight_bytes, buffers.accumulator_bytes)
        limits = (np.inf if b is None else b for b in (buffers.capacity_bytes, *apart))
        main, weights, sums = (np.broadcast_to(np.asarray(b, np.float64), (n,)) for b in limits)
        return cls(main, weights, sums, buffers.copies, apart[0] is not None, apart[1] is not None)

    def take(self, index: Any) -> "Room":
        """The entries at `index`."""
        return replace(self, main=self.main[index], weights=self.weights[index], sums=self.sums[index])

    def most(self, problem: Problem, fixed: Bytes, growing: Bytes) -> Ints:
        """The largest x >= 0 for which operands of fixed + x * growing bytes fit."""
        rooms = (self.main, self.weights, self.sums)
        limit = np.full(len(self.main), np.inf)
        for room, used, unit in zip(rooms, self.split(problem, fixed), self.split(problem, growing), strict=True):
            free = room - used
            limit = np.minimum(limit, np.divide(free, unit, out=np.where(free >= 0, np.inf, -1.0), where=unit > 0))
        return np.asarray(np.clip(np.floor(limit + 1e-9), 0, 2**40), np.int64)

    def holds(self, problem: Problem, f: Footprint) -> tuple[Bools, Floats]:
        """Whether tiles of this footprint fit, and their bytes in all memories together."""
        total = Bytes(f.inputs * f.in_copies, f.weights * f.weight_copies, f.partials * f.out_copies)
        main, weights, sums = self.split(problem, total)
        fits = (main <= self.main) & (weights <= self.weights) & (sums <= self.sums)
        size = main + (weights if self.weights_apart else 0.0) + (sums if self.sums_apart else 0.0)
        return np.asarray(fits), np.asarray(size, np.float64)

    def split(self, problem: Problem, part: Bytes) -> tuple[Floats, Floats, Floats]:
        """Bytes in the main memory, the weight memory and the accumulators."""
        results = part.partials * (problem.out_bytes / problem.acc_bytes if self.sums_apart else 1.0)
        main = part.inputs + results + (0.0 if self.weights_apart else part.weights)
        return np.asarray(main, np.float64), part.weights, part.partials


@cache
def sizes(extent: int, unit: int = 1) -> Ints:
    """Smallest tile, in whole units, of each distinct trip count: about 2 sqrt(extent) sizes, ascending."""
    trips = np.arange(1, int(extent**0.5) + 2, dtype=np.int64)
    large = ceil_div(extent, trips)
    exact = np.concatenate([large, ceil_div(extent, ceil_div(extent, trips))])
    return np.unique(np.minimum(round_up(exact, unit), extent))


@cache
def row_sizes(out_h: int, batch: int, unit: int = 1) -> Ints:
    """Row tiles within one image, or of several whole images."""
    return np.unique(np.concatenate([sizes(out_h, unit), sizes(batch, -(-unit // out_h)) * out_h]))


@dataclass(frozen=True)
class Grain:
    """The engine's unit in tile sizes, never more than a loop has; arrays of shape (n,)."""

    rows: Ints
    out_channels: Ints
    in_channels: Ints

    @classmethod
    def of(cls, problem: Problem, unit: Unit) -> "Grain":
        """Rows and in channels from the unit's pixels and reduction length."""
        nests = problem.nests
        rows = np.minimum(ceil_div(unit.pixels, nests.out_w), problem.rows)
        into = np.maximum(unit.depth // problem.window, 1)
        return cls(rows, np.minimum(unit.channels, nests.out_channels), np.minimum(into, nests.in_channels))

    def take(self, index: Any) -> "Grain":
        """The entries at `index`."""
        return Grain(self.rows[index], self.out_channels[index], self.in_channels[index])


def candidates(problem: Problem, room: Room, grain: Grain) -> tuple[Ints, Tiles]:
    """(nest of each candidate, candidates): per innermost loop, the distinct trips of one of the other loops."""
    nests = problem.nests
    images = zip(nests.out_h.tolist(), nests.batch.tolist(), grain.rows.tolist(), strict=True)
    rows = [row_sizes(*image) for image in images]
    outs = [sizes(*loop) for loop in zip(nests.out_channels.tolist(), grain.out_channels.tolist(), strict=True)]
    owners: list[Ints] = []
    found: list[Tiles] = []
    many = (nests.out_channels > grain.out_channels, nests.in_channels > grain.in_channels)
    for inner, loops, values in ((ROWS, np.ones(len(nests), bool), outs), (OUT, many[0], rows), (IN, many[1], rows)):
        use = np.flatnonzero(loops)
        owner = np.repeat(use, [len(values[i]) for i in use.tolist()])
        size = np.concatenate([*(values[i] for i in use.tolist()), np.zeros(0, np.int64)])
        for tiles in _filled(problem.take(owner), room.take(owner), grain.take(owner), inner, size):
            owners.append(owner)
            found.append(tiles)
    return np.concatenate(owners), join(found)


def join(parts: Sequence[Tiles]) -> Tiles:
    """Tiles one after the other."""
    return Tiles(
        np.concatenate([t.rows for t in parts]),
        np.concatenate([t.out_channels for t in parts]),
        np.concatenate([t.in_channels for t in parts]),
        np.concatenate([t.inner for t in parts]),
    )


def _filled(problem: Problem, room: Room, grain: Grain, inner: int, size: Ints) -> Iterator[Tiles]:
    """Candidates with one dimension given, the innermost loop's tile one unit, and the third as large as fits.

    First as if every operand had all its copies; then with the operand that the innermost loop does not touch whole,
    which needs one copy only.
    """
    nests, code = problem.nests, np.full(len(size), inner, np.int64)
    row = grain.rows if inner == ROWS else size
    pixels = problem.input_rows(row) * problem.row_pixels * problem.in_bytes * room.copies
    taps = problem.window * problem.weight_bytes * room.copies
    sums = nests.out_w * problem.acc_bytes * room.copies * row
    zero = np.zeros(len(size))
    if inner == IN:
        one = grain.in_channels
        third = room.most(problem, Bytes(pixels * one, zero, zero), Bytes(zero, taps * one, sums))
        yield Tiles(row, _floored(third, grain.out_channels, nests.out_channels), one, code)
        yield Tiles(problem.rows, nests.out_channels, one, code)
        return
    out = size if inner == ROWS else grain.out_channels
    third = room.most(problem, Bytes(zero, zero, sums * out), Bytes(pixels, taps * out, zero))
    yield Tiles(row, out, _floored(third, grain.in_channels, nests.in_channels), code)
    whole_row, whole_out = (row, nests.out_channels) if inner == ROWS else (problem.rows, out)
    yield Tiles(whole_row, whole_out, nests.in_channels, code)


def _floored(most: Ints, unit: Ints, extent: Ints) -> Ints:
    """The largest tile up to `most`: the whole loop, whole units, or what there is."""
    return np.where(most >= extent, extent, np.where(most >= unit, most // unit * unit, np.maximum(most, 1)))
