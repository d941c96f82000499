"""Kernels whose operands do not fit the scratchpad: the search finds the tiling that moves the fewest bytes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.candidates import Buffers
from roofwright.cost_model.cutting import Pipeline, Searched, Written
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.residency import Residency
from roofwright.cost_model.schedule import Tiling
from roofwright.cost_model.search import Tilings, best_tiling, stated_tiling
from roofwright.cost_model.tiles import ORDERS, Tiles
from roofwright.cost_model.traffic import Traffic, is_cache
from roofwright.cost_model.units import Floats, Ints
from roofwright.targets import Target

_INNERMOST = {order[-1]: place for place, order in enumerate(ORDERS)}
NOTHING = 1e-9  # bytes: what an operand takes that lies on chip already
ACCUMULATOR_BYTES = 4  # of a partial sum: float32 or int32 on every machine described


def tighten(
    kernels: Sequence[KernelWork],
    prices: Prices,
    held: Residency,
    moved: Traffic,
    cut: Pipeline,
    target: Target,
    written: Written,
) -> tuple[Traffic, Pipeline]:
    """Traffic and tiles with the search's answer where one whole operand and a few slices are too much.

    Only kernels with a nest are searched, those that the schedule has not cut; what it states along several loops is
    taken as it is. Tensors that stay on chip are not moved by any tiling.
    """
    if target.on_chip is None or is_cache(target):
        return moved, cut
    tight = (cut.footprint_bytes > target.on_chip.capacity_bytes) & (prices.anchor >= 0) & (written.repeat == 0)
    at = np.union1d(np.flatnonzero(tight), np.array(sorted(written.searched), np.int64)).astype(np.int64)
    if not len(at):
        return moved, cut
    tilings = search(kernels, prices, held, at, target, written)
    moves = tilings.moved
    changed = replace(
        moved,
        weight_bytes=_at_least(moved.weight_bytes, at, moves.weights),
        input_bytes=_at_least(moved.input_bytes, at, moves.inputs + moves.reloaded),
        output_bytes=_at_least(moved.output_bytes, at, moves.outputs),
    )
    tiles, footprint, stay = cut.tiles.copy(), cut.footprint_bytes.copy(), cut.weights_stay.copy()
    tiles[at], footprint[at], stay[at] = tilings.tiles, held.local_bytes[at] + tilings.footprint_bytes, False
    level = target.on_chip.name
    searched = {k: _searched(tilings, row, level) for row, k in enumerate(at.tolist())}
    sizes = {"footprint_bytes": footprint, "least_bytes": np.maximum(cut.least_bytes, footprint)}
    return changed, replace(cut, tiles=tiles, weights_stay=stay, searched=searched, **sizes)


def _searched(tilings: Tilings, at: int, level: str) -> Searched:
    columns = (tilings.repeat, tilings.rows, tilings.out_channels, tilings.in_channels)
    sizes = dict(zip(("repeat", "rows", "out_channels", "in_channels"), (int(c[at]) for c in columns), strict=True))
    tiling = Tiling(level=level, order=tilings.order[at], tile={loop: sizes[loop] for loop in tilings.order[at]})
    one = tilings.footprint
    parts = (float(part[at]) * sizes["repeat"] for part in (one.inputs, one.weights, one.partials))
    return Searched(tiling, *parts)


def _at_least(now: Floats, at: Ints, found: Floats) -> Floats:
    """Bytes with the tiling's where they are more; an operand that is not moved stays where it is."""
    out = now.copy()
    out[at] = np.where(now[at] > 0, np.maximum(found, now[at]), 0.0)
    return out


def search(
    kernels: Sequence[KernelWork], prices: Prices, held: Residency, at: Ints, target: Target, written: Written
) -> Tilings:
    """Tilings of the anchors of kernels `at`, stated or the best, in what the scratchpad has left for each."""
    assert target.on_chip is not None
    needs = [_Need.of(kernels[k], held.kept[k], target) for k in at.tolist()]
    free = target.on_chip.capacity_bytes - held.local_bytes[at] - np.array([need.fixed_bytes for need in needs])
    columns = np.array([need.element_bytes for need in needs], np.float64).reshape(-1, 4).T
    nests = prices.nests.take(prices.anchor[at])
    room, elements = Buffers(capacity_bytes=np.maximum(free, 1.0)), (columns[0], columns[1], columns[2])
    if not written.searched:
        return best_tiling(nests, room, elements, columns[3])
    stated = [written.searched[k] for k in at.tolist()]
    loops = [np.array([t.tile[loop] for t in stated], np.int64) for loop in ORDERS[0]]
    inner = np.array([_INNERMOST[t.order[-1]] for t in stated], np.int64)
    return stated_tiling(nests, room, elements, columns[3], Tiles(loops[2], loops[0], loops[1], inner))


@dataclass(frozen=True)
class _Need:
    """What a kernel asks of the scratchpad: bytes of one input, weight, output and partial sum, and what is fixed.

    An epilogue's operands as large as the result pass through with it; smaller ones (a bias) stay whole. What lies on
    chip already takes no room of its own.
    """

    element_bytes: tuple[float, float, float, float]
    fixed_bytes: float

    @classmethod
    def of(cls, kernel: KernelWork, kept: Collection[str], target: Target) -> "_Need":
        first, second, result = kernel.nest_operands
        one = [0.0 if o.name in kept else storage_of(o.dtype, target).bytes(1) for o in (first, second)]
        rest = [o for o in kernel.reads if o.name not in kept and o.name not in (first.name, second.name)]
        wide = sum(storage_of(o.dtype, target).bytes(1) for o in rest if o.elements >= result.elements)
        fixed = sum(storage_of(o.dtype, target).bytes(o.elements) for o in rest if o.elements < result.elements)
        out = storage_of(result.dtype, target).bytes(1)
        return cls((max(one[0], NOTHING), max(one[1], NOTHING), out, ACCUMULATOR_BYTES + wide), fixed)
