"""What a kernel holds on chip while it runs: the operand that stays, and slices of those that pass through."""

from collections.abc import Collection
from dataclasses import dataclass
from math import ceil

from roofwright.cost_model.cutting import Pipeline, Searched
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.traffic import holds_weights, operand_bytes
from roofwright.cost_model.work import Operand
from roofwright.targets import Target


@dataclass(frozen=True)
class Slice:
    """A buffer of a tensor's tiles: bytes of one copy, and 2 copies where the next tile loads meanwhile."""

    tensor: str
    bytes: int
    copies: int


def slices(kernel: KernelWork, at: int, cut: Pipeline, kept: Collection[str], target: Target) -> list[Slice]:
    """The buffers of kernel `at`, without tensors that stay on chip beyond it and what streams past the scratchpad."""
    found: dict[str, Slice] = {}
    for operand, is_read in [*((o, True) for o in kernel.reads), *((o, False) for o in kernel.writes)]:
        if operand.name in kept or operand.name in found or (operand.constant and not holds_weights(target)):
            continue
        whole = operand_bytes(operand, target)
        one = _one_tile(kernel, operand, is_read, cut, at, whole)
        size = max(1, ceil(one))
        found[operand.name] = Slice(operand.name, size, 1 if one >= whole else 2)
    return list(found.values())


def _one_tile(kernel: KernelWork, operand: Operand, is_read: bool, cut: Pipeline, at: int, whole: float) -> float:
    if at in cut.searched:
        return _searched(kernel, operand, is_read, cut.searched[at], whole)
    streams = not is_read or bool(cut.weights_stay[at]) != operand.constant
    return whole / int(cut.tiles[at]) if streams else whole


def _searched(kernel: KernelWork, operand: Operand, is_read: bool, tile: Searched, whole: float) -> float:
    first, second, result = kernel.nest_operands
    if is_read and operand.name == first.name:
        return min(tile.input_bytes, whole)
    if is_read and operand.name == second.name:
        return min(tile.weight_bytes, whole)
    return whole if operand.elements < result.elements else min(tile.output_bytes, whole)
