"""Bytes that kernels move to and from the device memory.

Every outside operand crosses the port once per kernel (more often where it does not fit, see `search`), except what the
schedule keeps on chip. How a kernel is cut into tiles is decided in `cutting`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.memory import effective_bytes_per_s
from roofwright.cost_model.operands import Operands
from roofwright.cost_model.units import Floats, Ints
from roofwright.cost_model.work import Operand
from roofwright.targets import Systolic, Target


@dataclass(frozen=True)
class Traffic:
    """Arrays over n kernels, shape (n,).

    Attributes:
        weight_bytes, input_bytes, output_bytes: moved off chip, repeats and re-fetches included.
        operands: how many tensors are loaded.
        kept_bytes: bytes of operands and results that stay on chip instead of crossing the port.
        least_bytes: what of the kernel's operands and results crosses if everything that crosses does so once.
        blocked_bytes: (weights, inputs) of the loop nest alone, without bias or residual: what its blocking may load
            again; shape (2, n).
    """

    weight_bytes: Floats
    input_bytes: Floats
    output_bytes: Floats
    operands: Ints
    kept_bytes: Floats
    least_bytes: Floats
    blocked_bytes: Floats

    @property
    def total_bytes(self) -> Floats:
        """All transfers of each kernel."""
        return np.asarray(self.weight_bytes + self.input_bytes + self.output_bytes)

    @property
    def busiest_bytes(self) -> Floats:
        """Loads or stores of each kernel, whichever are more: what counts where each has a way of its own."""
        return np.maximum(self.weight_bytes + self.input_bytes, self.output_bytes)

    def times(self, factor: Floats, target: Target) -> "Traffic":
        """With `factor` times the bytes that an engine's own blocking loads again: weights, and inputs beside them.

        Where weights stream past the on-chip memory, it is they alone.
        """
        again = self.blocked_bytes * (factor - 1.0)
        inputs = self.input_bytes + (again[1] if holds_weights(target) else 0.0)
        return replace(self, weight_bytes=self.weight_bytes + again[0], input_bytes=inputs)


def operand_bytes(operand: Operand, target: Target) -> float:
    """Bytes of an operand as the target stores it."""
    return storage_of(operand.dtype, target).bytes(operand.elements)


def traffic(
    kernels: Sequence[KernelWork],
    target: Target,
    kept: Sequence[Collection[str]],
    operands: Operands | None = None,
) -> Traffic:
    """Off-chip bytes of kernels, each operand once.

    Args:
        kernels: in order.
        target: decides how dtypes are stored.
        kept: for every kernel, the tensors that it finds or leaves on chip.
        operands: of the kernels, where they are known.
    """
    all_ = operands or Operands.of(kernels, target)
    stays = all_.among(kept)
    loaded, stored = all_.read & ~stays, ~all_.read & ~stays
    constant, own = loaded & all_.constant, loaded & all_.nested
    weights, inputs, outputs = (all_.sums(all_.bytes, where) for where in (constant, loaded & ~all_.constant, stored))
    count = all_.sums(np.ones_like(all_.bytes), loaded).astype(np.int64)
    blocked = np.stack([all_.sums(all_.bytes, where) for where in (own & all_.constant, own & ~all_.constant)])
    moved = outputs * (2 if allocates_writes(target) else 1)
    return Traffic(weights, inputs, moved, count, all_.sums(all_.bytes, stays), weights + inputs + outputs, blocked)


def allocates_writes(target: Target) -> bool:
    """Whether a result that does not stay in the cache crosses twice: CPU caches fetch the lines that a store hits.

    Hennessy and Patterson, Computer Architecture, 6th edition, appendix B.1 (write-allocate); the STREAM benchmark's
    notes count the same bytes (www.cs.virginia.edu/stream/ref.html).
    """
    return is_cache(target) and all(engine.kind == "simd" for engine in target.engines)


def near_seconds(moved: Traffic, target: Target) -> Floats:
    """Seconds in which the last cache serves what it keeps, shape (n,); a scratchpad feeds its engine directly."""
    if target.on_chip is None or target.on_chip.managed != "cache":
        return np.zeros(len(moved.kept_bytes))
    return np.asarray(moved.kept_bytes / effective_bytes_per_s(target.on_chip))


def is_cache(target: Target) -> bool:
    """Whether no schedule can say what lies on chip: a cache decides, or there is no memory that could hold it."""
    return target.on_chip is None or target.on_chip.managed == "cache"


def holds_weights(target: Target) -> bool:
    """Whether weights may lie in the on-chip memory; where not, they stream past it into the unit."""
    return target.on_chip is None or "weights" in target.on_chip.holds


def queue_bytes(target: Target) -> int:
    """Bytes of weights that wait in the queues before the target's arrays (TPU v1's weight FIFO)."""
    units = [engine.geometry for engine in target.engines]
    return sum((unit.weight_fifo_bytes or 0) for unit in units if isinstance(unit, Systolic))
