"""Kernels whose operands do not fit the scratchpad: the search finds the tiling that moves the fewest bytes."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.candidates import Buffers, Unit
from roofwright.cost_model.cutting import Pipeline, Searched, Written
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.memory import effective_bytes_per_s
from roofwright.cost_model.passing import ALIGNMENT_BYTES
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.residency import Residency
from roofwright.cost_model.schedule import Loop, Tiling
from roofwright.cost_model.search import BYTES_ONLY, Tilings, best_tiling, stated_tiling
from roofwright.cost_model.slices import ACCUMULATOR_BYTES
from roofwright.cost_model.tiles import ORDERS, Problem, Tiles
from roofwright.cost_model.tiles import moved as bytes_moved
from roofwright.cost_model.traffic import Traffic, is_cache, operand_bytes
from roofwright.cost_model.units import Bools, Floats, Ints, Nests
from roofwright.targets import Target

_LOOPS: tuple[Loop, ...] = ("rows", "out_channels", "in_channels")
_INNERMOST = {order[-1]: place for place, order in enumerate(ORDERS)}
SLICE = 32  # channels of a slice that is worth a transfer of its own
NOTHING = 1e-9  # bytes: what an operand takes that lies on chip already
Case = tuple[float, ...]  # a nest, the room for its tiles, bytes of its elements
Sizes = tuple[int, int, int, int]  # of tiles: rows, out channels, in channels; then the innermost loop that is cut


@dataclass(frozen=True)
class Told:
    """A nest in tiles: their number and bytes on chip; bytes of inputs, weights and partial sums that are loaded."""

    searched: Searched
    tiles: int
    footprint_bytes: float
    input_bytes: float
    weight_bytes: float
    reloaded_bytes: float


class Known:
    """What was found before on one target: equal nests in equal room have the same tiles, and these the same cost."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.best: dict[Case, Sizes] = {}
        self.told: dict[tuple[Case, Sizes], Told] = {}


def tighten(
    kernels: Sequence[KernelWork],
    prices: Prices,
    held: Residency,
    moved: Traffic,
    cut: Pipeline,
    target: Target,
    written: Written,
    tight: Bools,
    known: Known,
) -> tuple[Traffic, Pipeline]:
    """Traffic and tiles with the search's answer where one whole operand and a few slices are too much.

    Only kernels with a nest are searched, those that the schedule has not cut and that are `tight`; what it states
    along several loops is taken as it is. Tensors that stay on chip are not moved by any tiling; the partial sums of a
    result that stays are added up where it lies. `known`: what was found before on this target.
    """
    if target.on_chip is None or is_cache(target):
        return moved, cut
    tight = tight & (prices.anchor >= 0) & (written.repeat == 0)
    at = np.union1d(np.flatnonzero(tight), np.array(sorted(written.searched), np.int64)).astype(np.int64)
    if not len(at):
        return moved, cut
    needs = [_Need.of(kernels[k], held.kept[k], target) for k in at.tolist()]
    nests = prices.nests.take(prices.anchor[at])
    told = search(nests, needs, held.local_bytes[at], at, target, written, known)
    changed = _retold(moved, kernels, at, told, held, target)
    tiles, footprint, stay = cut.tiles.copy(), cut.footprint_bytes.copy(), cut.weights_stay.copy()
    fixed = held.local_bytes[at] + np.array([need.fixed_bytes for need in needs])
    tiles[at], footprint[at] = [one.tiles for one in told], fixed + np.array([one.footprint_bytes for one in told])
    stay[at] = False
    searched = {k: one.searched for k, one in zip(at.tolist(), told, strict=True)}
    cut = replace(cut, footprint_bytes=footprint, least_bytes=np.maximum(cut.least_bytes, footprint))
    return changed, replace(cut, tiles=tiles, weights_stay=stay, searched=searched)


def _tell(nests: Nests, free: Floats, one: Floats, tiles: Tiles, level: str) -> Iterator[Told]:
    """What tiles of nests cost in free bytes; a partial sum that spills is nothing but that.

    `one`: bytes of one input, weight, output and partial sum, shape (4, n).
    """
    elements = (one[0], one[1], one[2])
    tilings = stated_tiling(nests, Buffers(capacity_bytes=free), elements, one[3], tiles)
    moves = bytes_moved(Problem.of(nests, elements, ACCUMULATOR_BYTES), tiles)
    results = tilings.repeat * tilings.rows * nests.out_w * tilings.out_channels
    for at in range(len(nests)):
        yield Told(
            searched=_searched(tilings, at, int(results[at]), level),
            tiles=int(tilings.tiles[at]),
            footprint_bytes=float(tilings.footprint_bytes[at]),
            input_bytes=float(moves.inputs[at]),
            weight_bytes=float(moves.weights[at]),
            reloaded_bytes=float(moves.reloaded[at]),
        )


def _searched(tilings: Tilings, at: int, results: int, level: str) -> Searched:
    columns = (tilings.repeat, tilings.rows, tilings.out_channels, tilings.in_channels)
    sizes = dict(zip(("repeat", "rows", "out_channels", "in_channels"), (int(c[at]) for c in columns), strict=True))
    tiling = Tiling(level=level, order=tilings.order[at], tile={loop: sizes[loop] for loop in tilings.order[at]})
    one = tilings.footprint
    return Searched(
        tiling=tiling,
        input_bytes=float(one.inputs[at]) * sizes["repeat"],
        input_copies=int(one.in_copies[at]),
        weight_bytes=float(one.weights[at]) * sizes["repeat"],
        weight_copies=int(one.weight_copies[at]),
        results=results,
    )


def _retold(
    moved: Traffic, kernels: Sequence[KernelWork], at: Ints, told: Sequence[Told], held: Residency, target: Target
) -> Traffic:
    """The traffic with what kernels `at` load again, and the partial sums that they store and load."""
    weights, inputs, outputs = moved.weight_bytes.copy(), moved.input_bytes.copy(), moved.output_bytes.copy()
    for moves, k in zip(told, at.tolist(), strict=True):
        kernel, kept = kernels[k], held.kept[k]
        for part, found in zip(kernel.nest_operands[:2], (moves.input_bytes, moves.weight_bytes), strict=True):
            once = sum(operand_bytes(operand, target) for operand in kernel.reads if operand.name == part.name)
            if part.name not in kept:
                (weights if part.constant else inputs)[k] += max(found - once, 0.0)
        if any(operand.name not in kept for operand in kernel.writes):
            inputs[k] += moves.reloaded_bytes
            outputs[k] += moves.reloaded_bytes
    return replace(moved, weight_bytes=weights, input_bytes=inputs, output_bytes=outputs)


def search(
    nests: Nests,
    needs: Sequence["_Need"],
    local_bytes: Floats,
    at: Ints,
    target: Target,
    written: Written,
    known: Known,
) -> list[Told]:
    """Tiles of the anchors of kernels `at`, stated or the best, in what the scratchpad has left for each."""
    assert target.on_chip is not None
    free = target.on_chip.capacity_bytes - local_bytes
    free -= np.array([need.fixed_bytes + need.buffers * (ALIGNMENT_BYTES - 1) for need in needs])
    free, one = np.maximum(free, 1.0), np.array([need.element_bytes for need in needs], np.float64).reshape(-1, 4).T
    cases = list(zip(*(column.tolist() for column in (*vars(nests).values(), free, *one)), strict=True))
    stated = [written.searched.get(k) for k in at.tolist()]
    new = {case: row for row, case in enumerate(cases) if stated[row] is None and case not in known.best}
    if new:
        rows = list(new.values())
        room, (*elements, sums) = Buffers(capacity_bytes=free[rows]), one[:, rows]
        best = best_tiling(nests.take(rows), room, (elements[0], elements[1], elements[2]), sums, _unit(target))
        inner = [_INNERMOST[order[-1]] for order in best.order]
        found = zip(best.rows.tolist(), best.out_channels.tolist(), best.in_channels.tolist(), inner, strict=True)
        known.best.update(zip(new, found, strict=True))
    sizes = [known.best[cases[row]] if s is None else _stated(nests, row, s) for row, s in enumerate(stated)]
    asked = list(zip(cases, sizes, strict=True))
    more = {pair: row for row, pair in enumerate(asked) if pair not in known.told}
    if more:
        rows, tiles = list(more.values()), Tiles(*np.array([size for _, size in more], np.int64).T)
        told = _tell(nests.take(rows), free[rows], one[:, rows], tiles, target.on_chip.name)
        known.told.update(zip(more, told, strict=True))
    return [known.told[pair] for pair in asked]


def _unit(target: Target) -> Unit:
    """Where every transfer has to be set up, slices of one channel are not worth the bytes that they save."""
    memory = target.device_memory
    if not memory.setup_s:
        return BYTES_ONLY
    return Unit(channels=SLICE, depth=SLICE, setup_bytes=2 * memory.setup_s * effective_bytes_per_s(memory))


def _stated(nests: Nests, row: int, tiling: Tiling) -> Sizes:
    """The sizes of a stated tiling."""
    extents = (nests.batch * nests.out_h, nests.out_channels, nests.in_channels)
    whole = {loop: int(extent[row]) for loop, extent in zip(_LOOPS, extents, strict=True)}
    sizes = {loop: min(tiling.tile.get(loop, extent), extent) for loop, extent in whole.items()}
    cut = [loop for loop in tiling.order if loop in whole and sizes[loop] < whole[loop]]
    inner = _INNERMOST[cut[-1]] if cut else 0
    return sizes["rows"], sizes["out_channels"], sizes["in_channels"], inner


@dataclass(frozen=True)
class _Need:
    """What a kernel asks of the scratchpad: bytes of one input, weight, output and partial sum, and what is fixed.

    An epilogue's operands as large as the result pass through with it; smaller ones (a bias) stay whole. What lies on
    chip already takes no room of its own.
    """

    element_bytes: tuple[float, float, float, float]
    fixed_bytes: float
    buffers: int

    @classmethod
    def of(cls, kernel: KernelWork, kept: Collection[str], target: Target) -> "_Need":
        first, second, result = kernel.nest_operands
        one = [0.0 if o.name in kept else storage_of(o.dtype, target).bytes(1) for o in (first, second)]
        rest = [o for o in kernel.reads if o.name not in kept and o.name not in (first.name, second.name)]
        wide = sum(storage_of(o.dtype, target).bytes(1) for o in rest if o.elements == result.elements)
        fixed = sum(storage_of(o.dtype, target).bytes(o.elements) for o in rest if o.elements != result.elements)
        out, buffers = storage_of(result.dtype, target).bytes(1), len(kernel.reads) + len(kernel.writes)
        return cls((max(one[0], NOTHING), max(one[1], NOTHING), out, ACCUMULATOR_BYTES + wide), fixed, buffers)
