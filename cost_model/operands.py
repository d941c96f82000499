"""The operands of all kernels side by side: what is asked of them again and again, as arrays."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.units import Bools, Floats, Ints
from roofwright.targets import Target


@dataclass(frozen=True)
class Operands:
    """Every operand of every kernel, in order: what a kernel reads, then what it writes; arrays of shape (operands,).

    Attributes:
        kernel: position of the kernel.
        names: of the tensors.
        bytes, one: of all of an operand, and of one element, as the target stores it.
        constant, read: what it is.
        nested: whether it is one of its nest's own.
        first: where the operands of each kernel begin, and their end; shape (kernels + 1,).
    """

    kernel: Ints
    names: Sequence[str]
    bytes: Floats
    one: Floats
    constant: Bools
    read: Bools
    nested: Bools
    first: Sequence[int]

    @classmethod
    def of(cls, kernels: Sequence[KernelWork], target: Target) -> "Operands":
        """Of `kernels` on a machine."""
        sizes: dict[str, float] = {}
        rows: list[tuple[int, int, float, bool, bool, bool]] = []
        names: list[str] = []
        first = [0]
        for at, kernel in enumerate(kernels):
            own = [part.name for part in kernel.nest_operands]
            for side, is_read in ((kernel.reads, True), (kernel.writes, False)):
                for operand in side:
                    one = sizes.get(operand.dtype)
                    if one is None:
                        one = sizes[operand.dtype] = storage_of(operand.dtype, target).bytes(1)
                    names.append(operand.name)
                    rows.append((at, operand.elements, one, operand.constant, is_read, operand.name in own))
            first.append(len(rows))
        kernel_, elements, one_, constant, read, nested = zip(*rows, strict=True) if rows else ((),) * 6
        each = np.array(one_, np.float64)
        return cls(
            kernel=np.array(kernel_, np.int64),
            names=names,
            bytes=np.array(elements, np.float64) * each,
            one=each,
            constant=np.array(constant, bool),
            read=np.array(read, bool),
            nested=np.array(nested, bool),
            first=first,
        )

    def among(self, kept: Sequence[Collection[str]]) -> Bools:
        """Whether each is one of the tensors that its kernel finds or leaves on chip."""
        found = np.zeros(len(self.names), bool)
        for at, here in enumerate(kept):
            if here:
                start, end = self.first[at], self.first[at + 1]
                found[start:end] = [name in here for name in self.names[start:end]]
        return found

    def sums(self, values: Floats, where: Bools) -> Floats:
        """Per kernel, the sum of `values` over the operands `where`, shape (kernels,)."""
        return np.asarray(np.bincount(self.kernel, values * where, minlength=len(self.first) - 1), np.float64)
