"""Where the samples of a batch lie in a tensor.

The size of one axis is `outer * batch * inner`: element `(o * batch + sample) * inner + i` of the axis belongs to
`sample`. An untouched batch axis has outer = inner = 1; a Reshape that folds the batch into a neighbour, or a Transpose
before one, makes the others larger.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import prod

import onnx_graphsurgeon as gs

Dims = tuple[int, ...]


class Plain(Enum):
    """What a tensor is that holds no sample.

    FREE: the same value whatever the batch and whatever the samples are. SIZED: its value or its shape follows from the
    size of the batch alone (a shape, an arange over the samples).
    """

    FREE = "free"
    SIZED = "sized"


@dataclass(frozen=True)
class Batched:
    """One slice per sample, `outer * batch * inner` long in all, along `axis`.

    Attributes:
        via: the Reshape with more than one reading that this layout was chosen at last; to revise it when it fails.
    """

    axis: int
    outer: int = 1
    inner: int = 1
    via: gs.Node | None = field(default=None, compare=False, repr=False)

    def size(self, batch: int) -> int:
        """Length of the axis."""
        return self.outer * batch * self.inner

    @property
    def is_pure(self) -> bool:
        """Whether the axis counts samples and nothing else."""
        return self.outer == self.inner == 1


State = Plain | Batched


def scaled(shape: Dims, at: Batched, batch: int) -> Dims:
    """The shape of a tensor when its batch is `batch`."""
    return (*shape[: at.axis], at.size(batch), *shape[at.axis + 1 :])


def carried(shape: Dims, at: Batched, target: Dims, batch: int) -> list[Batched]:
    """Every layout that the batch can have after a reshape from `shape` to `target` (both at `batch`).

    A reshape keeps the linear order, `before * batch * after` elements; the batch must be a factor of one axis of the
    target, with `before` elements ahead of it. With a batch of 1 more than one axis may do.
    """
    before = prod(shape[: at.axis]) * at.outer
    found, ahead = [], 1
    for axis, size in enumerate(target):
        if ahead == 0 or before % ahead:
            break
        outer = before // ahead
        if size and size % (outer * batch) == 0:
            found.append(Batched(axis, outer, size // (outer * batch)))
        ahead *= size
    return found


def resolved(target: Sequence[int], shape: Dims, *, allow_zero: bool) -> Dims | None:
    """What a Reshape's target means for an input shape; None where it does not fit."""
    if any(want == 0 and not allow_zero and axis >= len(shape) for axis, want in enumerate(target)):
        return None
    sizes = [shape[axis] if want == 0 and not allow_zero else int(want) for axis, want in enumerate(target)]
    known = prod(size for size in sizes if size >= 0)
    if sizes.count(-1) == 1 and known:
        sizes[sizes.index(-1)] = prod(shape) // known
    return tuple(sizes) if prod(sizes) == prod(shape) and min(sizes, default=0) >= 0 else None


def from_front(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    return axis + rank if axis < 0 else axis
