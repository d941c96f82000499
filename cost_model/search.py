"""The best tiling of every loop nest for a memory of given size: exact in the traffic model of `tiles`, vectorised.

With a tiling's innermost loop fixed, its traffic does not depend on the tile of that loop, and falls with every other
trip count. So the innermost loop takes the thinnest slice, one of the other two dimensions runs through its distinct
trip counts, and the third takes the largest tile that still fits, a closed form: about 2 sqrt(extent) candidates per
innermost loop hold an optimum of all tile sizes and all six orders. (Loops that need one trip only fall under the case
of a loop inside them.) Tiles of whole units of the engine join the candidates when computation counts too. The
winner's slices are then made thicker at equal cost, as far as the pipeline's first load and last store stay short.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roofwright.cost_model.candidates import OUT, ROWS, Buffers, Bytes, Grain, Room, Unit, candidates, join
from roofwright.cost_model.rates import ceil_div, round_up
from roofwright.cost_model.schedule import Loop
from roofwright.cost_model.tiles import ORDERS, Footprint, Moved, Problem, Tiles, footprint, moved
from roofwright.cost_model.units import Bools, Floats, Ints, Nests

BYTES_ONLY = Unit()
_SLICES = 16  # tiles that a kernel is cut into where the unit allows it: fill and drain are then about 6 %

_WASTE = 1.25  # units left partly filled matter in steps of this factor: a smaller one is not worth a byte


@dataclass(frozen=True)
class Tilings:
    """The chosen tiling of each of n nests; arrays of shape (n,).

    Attributes:
        repeat, rows, out_channels, in_channels: tile sizes; rows are output rows of full width.
        order: loops over tiles, outermost first, as `schedule.Tiling` takes them.
        moved: off-chip bytes by operand, all repeats and steps; `off_chip_bytes` is their total.
        footprint: bytes and copies of one tile of each operand (one repeat; `repeat` of them are on chip).
        footprint_bytes: on-chip bytes of all copies, in all memories.
        tiles: how many tiles the kernel has, all repeats and steps.
        first_load_bytes: what the first tile waits for.
        last_store_bytes: what is stored after the last computation.
        fits: whether even the smallest tile fits; where not, sizes and bytes are those of the smallest tile.
    """

    repeat: Ints
    rows: Ints
    out_channels: Ints
    in_channels: Ints
    order: tuple[tuple[Loop, ...], ...]
    moved: Moved
    footprint: Footprint
    footprint_bytes: Floats
    tiles: Ints
    first_load_bytes: Floats
    last_store_bytes: Floats
    fits: Bools

    @property
    def off_chip_bytes(self) -> Floats:
        """Loads and stores together."""
        return self.moved.total


def best_tiling(
    nests: Nests, buffers: Buffers, element_bytes: tuple[Any, Any, Any], acc_bytes: Any, unit: Unit = BYTES_ONLY
) -> Tilings:
    """The best tiling for each nest.

    Args:
        nests: what to tile.
        buffers: where the tiles must fit.
        element_bytes: bytes of one input, weight and output element off chip; scalars or arrays of shape (n,).
        acc_bytes: bytes of one partial sum, on chip and when spilled.
        unit: the engine's unit. By default only bytes count, and no other tile sizes or loop order move fewer. With
            `macs_per_byte` the larger of transfers and computation is made small, and slivers that leave much of the
            unit idle are avoided; of equals the one that moves fewer bytes is taken.

    Returns:
        Tilings. Ties go to the shorter first load and last store, then to the smaller footprint; the result depends on
        nothing but the arguments.
    """
    problem = Problem.of(nests, element_bytes, acc_bytes)
    asked = _Case(problem, Room.of(buffers, len(nests)), Grain.of(problem, unit), unit)
    owner, tiles = candidates(problem, asked.room, Grain.of(problem, BYTES_ONLY))
    if unit != BYTES_ONLY:
        coarse, more = candidates(problem, asked.room, asked.grain)
        owner, tiles = np.concatenate([owner, coarse]), join([tiles, more])
    owner, tiles = _winners(asked.take(owner), owner, tiles)
    case = asked.take(owner)
    return _chosen(asked, case, owner, _thicker(case, tiles))


def stated_tiling(
    nests: Nests, buffers: Buffers, element_bytes: tuple[Any, Any, Any], acc_bytes: Any, tiles: Tiles
) -> Tilings:
    """What given tiles cost: arguments and result as those of `best_tiling`."""
    problem, room = Problem.of(nests, element_bytes, acc_bytes), Room.of(buffers, len(nests))
    fits, size = room.holds(problem, footprint(problem, tiles, room.copies))
    return _described(problem, room, tiles, fits, size)


@dataclass(frozen=True)
class _Case:
    """What is asked of each candidate."""

    problem: Problem
    room: Room
    grain: Grain
    unit: Unit

    def take(self, index: Ints) -> "_Case":
        return _Case(self.problem.take(index), self.room.take(index), self.grain.take(index), self.unit)

    def cost(self, tiles: Tiles) -> "_Cost":
        f = footprint(self.problem, tiles, self.room.copies)
        fits, size = self.room.holds(self.problem, f)
        traffic = moved(self.problem, tiles).total + self._setups(tiles) * self.unit.setup_bytes
        exposed = f.inputs + f.weights + f.partials * self.problem.out_bytes / self.problem.acc_bytes
        work, length = np.zeros(len(traffic)), traffic
        if self.unit.macs_per_byte > 0:
            work = self._padded_macs(tiles) / self.unit.macs_per_byte
            least = self._padded_macs(self._whole(tiles)) / self.unit.macs_per_byte
            steps = np.floor(np.log(work / least) / np.log(_WASTE) + 1e-9)
            length = np.maximum(traffic, least * _WASTE**steps)
        return _Cost(np.where(fits, length, np.inf), traffic, work, exposed, size)

    def _setups(self, tiles: Tiles) -> Floats:
        """Tiles that are loaded, all repeats and steps."""
        nests, (a, b, c) = self.problem.nests, tiles.trips(self.problem)
        return np.asarray(nests.repeat.astype(np.float64) * nests.steps * a * b * c)

    def _whole(self, tiles: Tiles) -> Tiles:
        nests = self.problem.nests
        return Tiles(self.problem.rows, nests.out_channels, nests.in_channels, tiles.inner)

    def _padded_macs(self, tiles: Tiles) -> Floats:
        nests, (a, b, c) = self.problem.nests, tiles.trips(self.problem)
        rows = np.maximum(self.problem.rows, a * self.grain.rows)
        out = _padded(nests.out_channels, tiles.out_channels, b, self.unit.channels)
        depth = _padded(nests.depth, tiles.in_channels * self.problem.window, c, self.unit.depth)
        return np.asarray(nests.repeat.astype(np.float64) * nests.steps * rows * nests.out_w * out * depth)


@dataclass(frozen=True)
class _Cost:
    """What candidates cost, all in bytes (computation as the bytes that could move meanwhile); shape (n,)."""

    length: Floats  # the larger of transfers and computation, the latter in steps of `_WASTE`; inf: does not fit
    traffic: Floats
    work: Floats
    exposed: Floats
    size: Floats

    @property
    def preferred(self) -> Floats:
        """What decides between tiles of equal length: traffic, or the size of those that do not fit."""
        return np.where(np.isfinite(self.length), self.traffic, self.size)


def _padded(extent: Ints, tile: Ints, trips: Ints, unit: int) -> Ints:
    """The extent of a loop when every tile is rounded up to whole units."""
    return (trips - 1) * round_up(tile, unit) + round_up(extent - (trips - 1) * tile, unit)


def _winners(case: _Case, owner: Ints, tiles: Tiles) -> tuple[Ints, Tiles]:
    """The best candidate of each nest and innermost loop; of equal ones the smallest."""
    cost = case.cost(tiles)
    group = owner * len(ORDERS) + tiles.inner
    sizes = (tiles.in_channels, tiles.out_channels, tiles.rows)
    ranked = np.lexsort((*sizes, cost.size, cost.work, cost.preferred, cost.length, group))
    first = ranked[np.flatnonzero(np.diff(group[ranked], prepend=-1))]
    return owner[first], tiles.take(first)


def _resized(problem: Problem, tiles: Tiles, axis: int, size: Ints) -> Tiles:
    """Tiles with another size along one loop, within its extent; above one image, rows are whole images."""
    nests = problem.nests
    if axis == ROWS:
        size = np.minimum(size, problem.rows)
        return replace(tiles, rows=np.where(size > nests.out_h, size // nests.out_h * nests.out_h, size))
    if axis == OUT:
        return replace(tiles, out_channels=np.minimum(size, nests.out_channels))
    return replace(tiles, in_channels=np.minimum(size, nests.in_channels))


def _thicker(case: _Case, tiles: Tiles) -> Tiles:
    """Thicken the slices along the innermost loop: a share of the whole loop, or the whole units that fit."""
    problem, room, nests = case.problem, case.room, case.problem.nests
    slices = ceil_div(_SLICES, nests.repeat)
    loops = (
        (tiles.rows, problem.rows, case.grain.rows),
        (tiles.out_channels, nests.out_channels, case.grain.out_channels),
        (tiles.in_channels, nests.in_channels, case.grain.in_channels),
    )
    old = case.cost(tiles)
    for axis, (now, extent, unit) in enumerate(loops):
        if not (tiles.inner == axis).any():
            continue
        wanted = np.minimum(round_up(ceil_div(extent, slices), unit), extent)
        most = _thickest(problem, room, tiles, axis)
        fitting = np.where((most >= unit) & (most < extent), most // unit * unit, most)
        trial = _resized(problem, tiles, axis, np.maximum(np.minimum(wanted, fitting), now))
        new = case.cost(trial)
        better = np.isfinite(new.length) & (new.traffic <= old.traffic) & (new.work <= old.work)
        tiles = tiles.put(np.flatnonzero((tiles.inner == axis) & better), trial)
    return tiles


def _thickest(problem: Problem, room: Room, tiles: Tiles, axis: int) -> Ints:
    """The largest tile along one loop that surely fits, all else as it is; input rows counted with their whole halo."""
    nests, copies = problem.nests, room.copies
    f = footprint(problem, tiles, copies)
    inputs, weights, partials = f.inputs * f.in_copies, f.weights * f.weight_copies, f.partials * f.out_copies
    zero = np.zeros(len(inputs))
    if axis == ROWS:
        line = tiles.in_channels * problem.row_pixels * problem.in_bytes * copies
        extent = (nests.kernel_h - 1) * nests.dilation_h + 1
        halo = np.maximum(extent - nests.stride_h, 0) * np.maximum(tiles.rows // nests.out_h, 1)
        growing = Bytes(line * nests.stride_h, zero, f.partials / tiles.rows * copies)
        return room.most(problem, Bytes(line * halo, weights, zero), growing)
    if axis == OUT:
        growing = Bytes(zero, f.weights / tiles.out_channels * copies, f.partials / tiles.out_channels * copies)
        return room.most(problem, Bytes(inputs, zero, zero), growing)
    growing = Bytes(f.inputs / tiles.in_channels * copies, f.weights / tiles.in_channels * copies, zero)
    return room.most(problem, Bytes(zero, zero, partials), growing)


def _chosen(asked: _Case, case: _Case, owner: Ints, tiles: Tiles) -> Tilings:
    """Of the tilings of each nest (one per innermost loop) the best; then that with the least exposed transfers."""
    cost = case.cost(tiles)
    ranked = np.lexsort((tiles.inner, cost.size, cost.exposed + cost.work, cost.preferred, cost.length, owner))
    first = ranked[np.flatnonzero(np.diff(owner[ranked], prepend=-1))]
    fits = np.isfinite(cost.length[first])
    return _described(asked.problem, asked.room, tiles.take(first), fits, cost.size[first])


def _described(problem: Problem, room: Room, tiles: Tiles, fits: Bools, size: Floats) -> Tilings:
    nests, (a, b, c) = problem.nests, tiles.trips(problem)
    f = footprint(problem, tiles, room.copies)
    repeat = _together(problem, room, tiles, fits)
    results = f.partials * problem.out_bytes / problem.acc_bytes
    return Tilings(
        repeat=repeat,
        rows=tiles.rows,
        out_channels=tiles.out_channels,
        in_channels=tiles.in_channels,
        order=tuple(("repeat", *ORDERS[i]) for i in tiles.inner.tolist()),
        moved=moved(problem, tiles),
        footprint=f,
        footprint_bytes=size * repeat,
        tiles=nests.steps * ceil_div(nests.repeat, repeat) * a * b * c,
        first_load_bytes=repeat * (f.inputs + f.weights),
        last_store_bytes=repeat * results,
        fits=fits,
    )


def _together(problem: Problem, room: Room, tiles: Tiles, fits: Bools) -> Ints:
    """Copies of a nest that share a tile: as many whole ones as fit, in enough groups to overlap them."""
    f = footprint(problem, tiles, room.copies)
    zero = np.zeros(len(f.inputs))
    each = Bytes(f.inputs * f.in_copies, f.weights * f.weight_copies, f.partials * f.out_copies)
    most = room.most(problem, Bytes(zero, zero, zero), each)
    a, b, c = tiles.trips(problem)
    whole = fits & (a * b * c == 1)
    return np.where(whole, np.clip(most, 1, ceil_div(problem.nests.repeat, _SLICES)), 1)
