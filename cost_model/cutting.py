"""How kernels are cut into tiles: as their schedule states, or else so that each is shortest and fits the scratchpad.

Inside a kernel the smaller of weights and inputs is loaded whole and stays, the other operand and the results stream
past it in tiles, two copies of each: that attains the compulsory traffic with a footprint of one operand and a few
slices. Where even that is too much, `tight` searches a tiling along several loops.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.memory import effective_bytes_per_s
from roofwright.cost_model.passing import Passing, pieces, row_trips
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.rates import ceil_div
from roofwright.cost_model.schedule import Loop, Schedule, Tiling
from roofwright.cost_model.traffic import Traffic, holds_weights, is_cache
from roofwright.cost_model.units import Bools, Floats, Ints
from roofwright.targets import Target

MAX_TILES = 64  # more only add set-up time: the fill and drain of the pipeline are below 2 % by then


@dataclass(frozen=True)
class Searched:
    """A kernel cut along several loops: a tile of each operand of its nest, and its copies; `results` are elements."""

    tiling: Tiling
    input_bytes: float
    input_copies: int
    weight_bytes: float
    weight_copies: int
    results: int


@dataclass(frozen=True)
class Grouped:
    """A kernel in groups of channels: bytes loaded before its first step, as (constants, others); stored after all."""

    first_bytes: tuple[float, float]
    last_bytes: float


@dataclass(frozen=True)
class Pipeline:
    """How each of n kernels is cut into tiles along its streamed operand; arrays of shape (n,).

    Attributes:
        tiles: how many.
        weights_stay: whether the weights are the operand that is loaded whole.
        footprint_bytes: on-chip bytes while it runs; 0 where a cache decides.
        least_bytes: the same with the thinnest slices.
        repeat: copies of the nest in one tile.
        slice: rows (weights stay) or output channels of one tile; the whole extent where copies are not cut.
        searched: kernel -> tiles along several loops, where one is not enough to fit; repeat and slice do not count.
        spread: kernels whose weights are loaded again with every tile.
        abreast: kernel -> engines that work at the same time, where a tile is a strip of each.
        grouped: kernel -> what it loads and stores around its tiles, where these are groups of channels.
    """

    tiles: Ints
    weights_stay: Bools
    footprint_bytes: Floats
    least_bytes: Floats
    repeat: Ints
    slice: Ints
    searched: Mapping[int, Searched] = field(default_factory=dict)
    spread: frozenset[int] = frozenset()
    grouped: Mapping[int, Grouped] = field(default_factory=dict)
    abreast: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Extents:
    """What can be cut, per kernel: copies of its nest, rows and output channels of one copy; shape (n,).

    Rows are output rows of full width, of all images of `image` rows each: a tile lies within one, or is of whole
    ones. Kernels without a nest (not `nested`) have as many rows as their results have pieces (see `passing`), and no
    other loop. A nest of several `steps` needs all of its weights again in each of them.
    """

    nested: Bools
    steps: Ints
    repeat: Ints
    rows: Ints
    columns: Ints
    image: Ints


@dataclass(frozen=True)
class Written:
    """Tiles that a schedule states, per kernel; shape (n,).

    Attributes:
        repeat, slice: as in `Pipeline`; 0: not stated, to be chosen.
        weights_stay: 1 and 0: which operand stays; -1: not said by the tiling.
        searched: kernel -> its tiling along several loops.
    """

    repeat: Ints
    slice: Ints
    weights_stay: Ints
    searched: Mapping[int, Tiling]


def pipeline(
    moved: Traffic,
    local_bytes: Floats,
    passing: Passing,
    extents: Extents,
    busy_s: Floats,
    target: Target,
    written: Written,
) -> Pipeline:
    """Cut kernels as their schedule states, or else into as many tiles as make each shortest.

    A scratchpad that would overflow gets more tiles; where even the operand that stays is too large, `tight` searches a
    tiling that moves more.

    Args:
        moved: off-chip bytes.
        local_bytes: bytes that the kernel holds on chip whatever its tiles (operands that others left there).
        passing: the operands that need room of their own.
        extents: what can be cut.
        busy_s: compute time of each kernel.
        target: the machine.
        written: what the schedule states.
    """
    if is_cache(target):
        one = np.ones(len(busy_s), np.int64)
        return Pipeline(one, one > 0, np.zeros(len(one)), np.zeros(len(one)), extents.repeat, extents.rows)
    apart = not holds_weights(target)
    stay = (moved.weight_bytes <= moved.input_bytes) & (not apart)
    stay = np.where(written.weights_stay < 0, stay, written.weights_stay == 1) | ~extents.nested
    stay |= (extents.steps > 1) & (not apart)
    extent = np.where(stay, extents.rows, extents.columns)
    most = extents.repeat * extent
    wanted = _shortest(moved, stay, most, busy_s, target)
    image = np.where(stay, extents.image, 1)

    def on_chip(repeat: Ints, slice_: Ints) -> tuple[Ints, Floats]:
        groups = ceil_div(extents.repeat, repeat)
        tiles = groups * row_trips(slice_, extent, image)
        share = repeat / extents.repeat
        return tiles, local_bytes + passing.on_chip(stay, share, slice_, extent, tiles, groups)

    def footprint(tiles: Ints) -> Floats:
        return on_chip(*_sizes_of(tiles, extents.repeat, extent, image))[1]

    needed = _fitting(wanted, np.where(written.repeat > 0, wanted, most), footprint, _room(passing, target))
    repeat, slice_ = _sizes_of(needed, extents.repeat, extent, image)
    repeat = np.where(written.repeat > 0, written.repeat, repeat)
    slice_ = np.where(written.slice > 0, np.minimum(written.slice, extent), slice_)
    tiles, thick = on_chip(repeat, slice_)
    thin = footprint(np.maximum(tiles, np.minimum(most, MAX_TILES)))
    return Pipeline(tiles, stay, thick, np.minimum(thick, thin), repeat, slice_)


def _shortest(moved: Traffic, stay: Bools, most: Ints, busy_s: Floats, target: Target) -> Ints:
    """The number of tiles that makes each kernel shortest: a power of two up to `MAX_TILES` and `most`.

    The length compared is that of identical tiles on a shared port with double buffering, the least that any order of
    loads and stores allows: first + max(n (L + Y), L + n X + Y, n L + X + Y), set-up included.
    """
    rate, setup_s = effective_bytes_per_s(target.device_memory), target.device_memory.setup_s
    whole = np.where(stay, moved.weight_bytes, moved.input_bytes)
    streamed = np.where(stay, moved.input_bytes, moved.weight_bytes)
    counts = 2 ** np.arange(int(np.log2(MAX_TILES)) + 1, dtype=np.int64)[:, None]
    load = streamed / rate / counts + setup_s * (streamed > 0)
    store = moved.output_bytes / rate / counts + setup_s * (moved.output_bytes > 0)
    length = np.maximum(counts * (load + store), load + busy_s + store)
    length = whole / rate + np.maximum(length, counts * load + busy_s / counts + store)
    return np.asarray(counts[np.argmin(np.where(counts <= most, length, np.inf), axis=0), 0])


def _sizes_of(tiles: Ints, repeat: Ints, extent: Ints, image: Ints) -> tuple[Ints, Ints]:
    """(copies, slice) of about so many even tiles; a slice above one image is of whole ones."""
    parts = np.where(tiles > repeat, ceil_div(tiles, repeat), 1)
    slice_ = ceil_div(extent, parts)
    return ceil_div(repeat, tiles), np.where(slice_ > image, slice_ // image * image, slice_)


def _room(passing: Passing, target: Target) -> Floats:
    """Bytes that buffers may take, whatever their addresses."""
    assert target.on_chip is not None
    return target.on_chip.capacity_bytes - passing.slack_bytes


def _fitting(wanted: Ints, most: Ints, footprint: Callable[[Ints], Floats], room: Floats) -> Ints:
    """Tiles, from those `wanted` on, whose footprint fits the room; those wanted where none does."""
    tiles = wanted
    while True:
        size = footprint(tiles)
        grow = (size > room) & (tiles < most)
        if not grow.any():
            return np.where(size <= room, tiles, wanted)
        tiles = np.where(grow, np.minimum(2 * tiles, most), tiles)


def overflows(cut: Pipeline, passing: Passing, target: Target) -> Bools:
    """Kernels whose tiles do not fit."""
    return np.asarray(cut.footprint_bytes > _room(passing, target))


def extents(kernels: Sequence[KernelWork], prices: Prices) -> Extents:
    """What can be cut of each kernel: the loops of its anchor, or the pieces of its results where it has none."""
    elements = np.array([1 if k.nest_operands else pieces(k) for k in kernels], np.int64)
    one, nests, at, has = np.ones_like(elements), prices.nests, prices.anchor, prices.anchor >= 0
    if not len(nests):
        return Extents(has, one, one, np.maximum(elements, 1), np.maximum(elements, 1), one)
    loops = (nests.steps, nests.repeat, nests.batch * nests.out_h, nests.out_channels, nests.out_h)
    rest = np.maximum(elements, 1)
    others = (one, one, rest, rest, one)
    return Extents(has, *(np.where(has, np.maximum(loop[at], 1), o) for loop, o in zip(loops, others, strict=True)))


def read_tilings(schedule: Schedule | None, size: Extents, target: Target) -> Written:
    """What a schedule states of its kernels' tiles at the on-chip memory."""
    n, searched = len(size.rows), dict[int, Tiling]()
    table = np.zeros((3, n), np.int64)
    table[2] = -1
    stated = schedule.kernels if schedule is not None and len(schedule.kernels) == n and target.on_chip else ()
    for at, kernel in enumerate(stated):
        tiling = next((t for t in kernel.tilings if target.on_chip and t.level == target.on_chip.name), None)
        if tiling is None:
            continue
        loops = set(tiling.order) - {"repeat"}
        if len(loops) > 1 or "in_channels" in loops:
            searched[at] = tiling
            continue
        table[:, at] = _sizes(tiling, (size.repeat[at], size.rows[at], size.columns[at]))
    table[2, ~size.nested] = -1  # their one loop does not tell
    return Written(table[0], table[1], table[2], searched)


def _sizes(tiling: Tiling, whole: tuple[int, int, int]) -> tuple[int, int, int]:
    """(copies, slice, whether the weights stay or -1) of a tiling along at most one loop of a nest."""
    repeat, rows, columns = whole
    copies = min(tiling.tile.get("repeat", repeat), repeat)
    if "rows" in tiling.tile:
        return copies, min(tiling.tile["rows"], rows), 1
    if "out_channels" in tiling.tile:
        return copies, min(tiling.tile["out_channels"], columns), 0
    return copies, max(rows, columns), -1


def tiling_of(cut: Pipeline, at: int, size: Extents, level: str) -> Tiling:
    """How kernel `at` is cut, as a schedule states it: `read_tilings` gives the same tiles back."""
    if at in cut.searched:
        return cut.searched[at].tiling
    along_rows = cut.weights_stay[at] or not size.nested[at]
    loop: Loop = "rows" if along_rows else "out_channels"
    extent = int((size.rows if along_rows else size.columns)[at])
    tile: dict[Loop, int] = {"repeat": int(cut.repeat[at])} if size.repeat[at] > 1 else {}
    if cut.slice[at] < extent or not tile:
        tile[loop] = min(int(cut.slice[at]), extent)
    return Tiling(level=level, order=tuple(tile), tile=tile)
