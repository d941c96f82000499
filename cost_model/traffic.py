"""Bytes that kernels move to and from the device memory.

Every outside operand crosses the port once per kernel (more often where it does not fit, see `search`), except what the
schedule keeps on chip. How a kernel is cut into tiles is decided in `cutting`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.units import Floats, Ints
from roofwright.cost_model.work import Operand
from roofwright.targets import Target


@dataclass(frozen=True)
class Traffic:
    """Arrays over n kernels, shape (n,).

    Attributes:
        weight_bytes, input_bytes, output_bytes: moved off chip, repeats and re-fetches included.
        operands: how many tensors are loaded.
        kept_bytes: bytes of operands and results that stay on chip instead of crossing the port.
        least_bytes: what of the kernel's operands and results crosses if everything that crosses does so once.
    """

    weight_bytes: Floats
    input_bytes: Floats
    output_bytes: Floats
    operands: Ints
    kept_bytes: Floats
    least_bytes: Floats

    @property
    def total_bytes(self) -> Floats:
        """All transfers of each kernel."""
        return np.asarray(self.weight_bytes + self.input_bytes + self.output_bytes)


def operand_bytes(operand: Operand, target: Target) -> float:
    """Bytes of an operand as the target stores it."""
    return storage_of(operand.dtype, target).bytes(operand.elements)


def traffic(kernels: Sequence[KernelWork], target: Target, kept: Sequence[Collection[str]], factor: Floats) -> Traffic:
    """Off-chip bytes of kernels.

    Args:
        kernels: in order.
        target: decides how dtypes are stored.
        kept: for every kernel, the tensors that it finds or leaves on chip.
        factor: bytes really moved over the compulsory ones, per kernel, for the operands of its loop nest.
    """
    table = np.zeros((len(kernels), 5))
    for row, kernel, here in zip(table, kernels, kept, strict=True):
        for operand in kernel.reads:
            size = operand_bytes(operand, target)
            if operand.name in here:
                row[4] += size
            else:
                row[0 if operand.constant else 1] += size
                row[3] += 1
        for operand in kernel.writes:
            row[4 if operand.name in here else 2] += operand_bytes(operand, target)
    weights, inputs, outputs, count, stays = table.T
    least = weights + inputs + outputs
    return Traffic(weights * factor, inputs * factor, outputs, count.astype(np.int64), stays, least)


def is_cache(target: Target) -> bool:
    """Whether no schedule can say what lies on chip: a cache decides, or there is no memory that could hold it."""
    return target.on_chip is None or target.on_chip.managed == "cache"


def holds_weights(target: Target) -> bool:
    """Whether weights may lie in the on-chip memory; where not, they stream past it into the unit."""
    return target.on_chip is None or "weights" in target.on_chip.holds
