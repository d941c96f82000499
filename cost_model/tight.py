"""Kernels whose operands do not fit the scratchpad: the search finds the tiling that moves the fewest bytes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.candidates import Buffers
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.residency import Residency
from roofwright.cost_model.search import Tilings, best_tiling
from roofwright.cost_model.traffic import Pipeline, Traffic
from roofwright.cost_model.units import Floats, Ints
from roofwright.cost_model.work import Operand
from roofwright.targets import Target

ACCUMULATOR_BYTES = 4  # of a partial sum: float32 or int32 on every machine described


def tighten(
    kernels: Sequence[KernelWork], prices: Prices, held: Residency, moved: Traffic, cut: Pipeline, target: Target
) -> tuple[Traffic, Pipeline]:
    """Traffic and tiles with the search's answer where one whole operand and a few slices are too much.

    Only kernels with one nest are searched; tensors that stay on chip are not moved by any tiling.
    """
    on_chip = target.on_chip
    if on_chip is None or on_chip.managed == "cache":
        return moved, cut
    at = np.flatnonzero((cut.footprint_bytes > on_chip.capacity_bytes) & (prices.anchor >= 0))
    if not len(at):
        return moved, cut
    tilings = search(kernels, prices, held, at, target)
    moves = tilings.moved
    changed = replace(
        moved,
        weight_bytes=_at_least(moved.weight_bytes, at, moves.weights),
        input_bytes=_at_least(moved.input_bytes, at, moves.inputs + moves.reloaded),
        output_bytes=_at_least(moved.output_bytes, at, moves.outputs),
    )
    tiles, footprint, stay = cut.tiles.copy(), cut.footprint_bytes.copy(), cut.weights_stay.copy()
    tiles[at], footprint[at], stay[at] = tilings.tiles, held.local_bytes[at] + tilings.footprint_bytes, False
    return changed, Pipeline(tiles, stay, footprint)


def _at_least(now: Floats, at: Ints, found: Floats) -> Floats:
    """Bytes with the tiling's where they are more; an operand that is not moved stays where it is."""
    out = now.copy()
    out[at] = np.where(now[at] > 0, np.maximum(found, now[at]), 0.0)
    return out


def search(kernels: Sequence[KernelWork], prices: Prices, held: Residency, at: Ints, target: Target) -> Tilings:
    """The best tilings of the anchors of kernels `at` in what the scratchpad has left for each."""
    assert target.on_chip is not None
    free = np.maximum(target.on_chip.capacity_bytes - held.local_bytes[at], 1.0)
    sizes = [[storage_of(o.dtype, target).bytes(1) for o in _operands(kernels[k])] for k in at.tolist()]
    columns = np.array(sizes, np.float64).T
    nests = prices.nests.take(prices.anchor[at])
    return best_tiling(nests, Buffers(capacity_bytes=free), (columns[0], columns[1], columns[2]), ACCUMULATOR_BYTES)


def _operands(kernel: KernelWork) -> tuple[Operand, Operand, Operand]:
    """Input, weight and output of the anchor."""
    node = next(node for node in kernel.nodes if node.work.nest is not None)
    reads = node.work.reads
    return reads[0], reads[min(1, len(reads) - 1)], node.work.writes[0]
