"""What a kernel holds on chip while it runs: operands that stay, and slices of those that pass through."""

from collections.abc import Collection
from dataclasses import dataclass
from math import ceil

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.cutting import Extents, Pipeline, Searched
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.passing import Role, Slice, own_operands
from roofwright.cost_model.rates import ceil_div
from roofwright.cost_model.work import Operand
from roofwright.targets import Target

ACCUMULATOR_BYTES = 4  # of a partial sum: float32 or int32 on every machine described
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Kept:
    """All of a kernel that says what it holds: the kernel, its position, how it is cut, and what is on chip anyway.

    `input_share`: share of its input under the rows of one tile.
    """

    kernel: KernelWork
    at: int
    cut: Pipeline
    size: Extents
    input_share: float
    on_chip: Collection[str]


def slices(kept: Kept, target: Target) -> list[Slice]:
    """The buffers of a kernel, without tensors that stay on chip beyond it and what streams past the scratchpad."""
    found = []
    for operand, role in own_operands(kept.kernel, kept.on_chip, target):
        one = storage_of(operand.dtype, target).bytes(1)
        searched = kept.cut.searched.get(kept.at)
        if searched is not None:
            size, copies = _searched(kept.kernel, operand, role, searched, one)
        else:
            size, copies = _cut(kept, operand, role, one)
        found.append(Slice(operand.name, max(1, ceil(size - _ROUNDING)), copies))
    return found


def _cut(kept: Kept, operand: Operand, role: Role, one: float) -> tuple[float, int]:
    """Bytes and copies along one loop; where two slices are all of the operand, it is held whole."""
    whole, (part, groups) = operand.elements * one, _share(kept, operand, role)
    size = min(whole, part * one) if role == "moved" else whole * part
    copies = min(2, groups)
    return (whole, 1) if copies * size >= whole else (size, copies)


def _share(kept: Kept, operand: Operand, role: Role) -> tuple[float, int]:
    """(share of the operand in one tile, how many tiles change it); of what is moved, elements."""
    at, cut, size = kept.at, kept.cut, kept.size
    stay, slice_, tiles = bool(cut.weights_stay[at]), int(cut.slice[at]), int(cut.tiles[at])
    copies, extent = cut.repeat[at] / size.repeat[at], int((size.rows if stay else size.columns)[at])
    if role == "moved":
        return slice_, tiles
    if role == "whole" or (role == "input" and not stay) or (role == "weights" and stay and operand.constant):
        return 1.0, 1
    if role == "weights" and stay:
        return copies, int(ceil_div(size.repeat[at], cut.repeat[at]))
    if role == "input":
        return copies * kept.input_share, tiles
    return copies * slice_ / extent, tiles


def _searched(kernel: KernelWork, operand: Operand, role: Role, tile: Searched, one: float) -> tuple[float, int]:
    whole, result = operand.elements * one, kernel.nest_operands[2]
    if role == "whole":
        return whole, 1
    if role == "result":
        written = any(operand.name == made.name for made in kernel.writes)
        size = tile.results * (max(one, ACCUMULATOR_BYTES) if written else one)
        return size, 2 if tile.results < result.elements else 1
    size, copies = (tile.input_bytes, tile.input_copies)
    if role == "weights":
        size, copies = (tile.weight_bytes, tile.weight_copies)
    return (min(size, whole), 2) if copies > 1 else (whole, 1)
