"""Traffic and tiles of a schedule some of whose kernels run in strips."""

from collections.abc import Mapping
from dataclasses import replace

from roofwright.cost_model.cutting import Pipeline
from roofwright.cost_model.strip_cost import StripCost
from roofwright.cost_model.traffic import Traffic
from roofwright.cost_model.units import Floats


def stripped(
    moved: Traffic, cut: Pipeline, strips: Mapping[int, StripCost], local_bytes: Floats, factor: Floats
) -> tuple[Traffic, Pipeline]:
    """Traffic and tiles with those of kernels in strips.

    Args:
        moved: off-chip bytes as if no kernel ran in strips.
        cut: tiles likewise.
        strips: kernel -> its strips.
        local_bytes: what each kernel holds on chip whatever its strips.
        factor: bytes that the engine's own blocking moves over those of the operands, for weights that stream past.
    """
    if not strips:
        return moved, cut
    padded = moved.blocked_bytes[0] * (factor - 1.0)
    weights, inputs = moved.weight_bytes.copy(), moved.input_bytes.copy()
    tiles, stay, size = cut.tiles.copy(), cut.weights_stay.copy(), cut.footprint_bytes.copy()
    least = cut.least_bytes.copy()
    for at, cost in strips.items():
        weights[at] = cost.weight_bytes + padded[at] * (cost.strips.count if cost.spread else 1)
        inputs[at] = cost.input_bytes
        tiles[at], stay[at] = cost.rounds, True
        size[at] = least[at] = local_bytes[at] + cost.footprint_bytes
    spread = frozenset(at for at, cost in strips.items() if cost.spread)
    abreast = {at: len(cost.shares) for at, cost in strips.items() if cost.shares}
    changed = replace(moved, weight_bytes=weights, input_bytes=inputs)
    held = replace(cut, footprint_bytes=size, least_bytes=least)
    return changed, replace(held, tiles=tiles, weights_stay=stay, spread=spread, abreast=abreast)
