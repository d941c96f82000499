"""An on-chip memory of bytes that knows which element every byte holds, and who may write where."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofwright.cost_model import Placement

Ints = NDArray[np.int64]
Array = NDArray[Any]
_PER_TENSOR = 1 << 32
_NOBODY = -1


@dataclass
class Slot:
    """One copy of a buffer: where it starts, how long it is, and which elements of its tensor lie where.

    `width` bytes of the memory are one element, whatever `dtype` its value has in the graph.
    """

    base: int
    length: int
    dtype: np.dtype[Any]
    width: int
    owner: int
    place: Ints  # element -> position in the slot, -1: not here
    held: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


class Chip:
    """Bytes with a tag each: the element they belong to. Nothing is read that was not written since.

    Elements take as many bytes as the machine stores; the first of them holds the value, in the graph's precision.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self.memory = np.zeros(capacity_bytes, np.float64)
        self.tags = np.full(capacity_bytes, _NOBODY, np.int64)
        self.reserved = np.full(capacity_bytes, _NOBODY, np.int64)
        self.live: dict[int, Placement] = {}
        self.tensors: dict[str, int] = {}
        self.peak_bytes = 0

    def open(self, owner: int, placement: Placement) -> None:
        """Reserve a buffer's bytes; they must be inside the memory and free."""
        assert placement.offset_bytes is not None
        assert placement.end_bytes <= len(self.memory), f"{placement.tensor} ends past the memory"
        span = slice(placement.offset_bytes, placement.end_bytes)
        assert np.all(self.reserved[span] == _NOBODY), f"{placement.tensor} overlaps a live buffer"
        self.reserved[span], self.tags[span] = owner, _NOBODY
        self.live[owner] = placement
        self.peak_bytes = max(self.peak_bytes, sum(p.total_bytes for p in self.live.values()))

    def close(self, owner: int) -> None:
        """Give a buffer's bytes back."""
        placement = self.live.pop(owner)
        span = slice(placement.offset_bytes or 0, placement.end_bytes)
        self.reserved[span], self.tags[span] = _NOBODY, _NOBODY

    def slot(self, owner: int, copy: int, elements: int, dtype: np.dtype[Any], width: int) -> Slot:
        """One copy of an open buffer, for a tensor of so many elements."""
        placement = self.live[owner]
        base = (placement.offset_bytes or 0) + copy * placement.bytes
        return Slot(base, placement.bytes, dtype, width, owner, np.full(elements, -1, np.int64))

    def clear(self, slot: Slot) -> None:
        """Forget what a slot holds: a new tile goes there."""
        self.tags[slot.base : slot.base + slot.length] = _NOBODY
        slot.place[slot.held] = -1
        slot.held = np.zeros(0, np.int64)

    def write(self, slot: Slot, tensor: str, elements: Ints, values: Array) -> None:
        """Put elements that are not in the slot yet behind those that are, and others where they lie."""
        new = elements[slot.place[elements] < 0]
        slot.place[new] = len(slot.held) + np.arange(len(new))
        slot.held = np.concatenate([slot.held, new])
        size = slot.width
        assert len(slot.held) * size <= slot.length, (
            f"{tensor}: {len(slot.held) * size} bytes in a buffer of {slot.length}"
        )
        at = self._addresses(slot, elements)
        assert np.all(self.reserved[at] == slot.owner), f"{tensor} is written outside its buffer"
        self.memory[at[:, 0]] = values
        self.tags[at] = self._tag(tensor, elements)[:, None]

    def read(self, slot: Slot, tensor: str, elements: Ints) -> Array:
        """Elements that must all lie in the slot."""
        assert np.all(slot.place[elements] >= 0), f"{tensor}: elements are read that were never loaded"
        at = self._addresses(slot, elements)
        assert np.all(self.tags[at] == self._tag(tensor, elements)[:, None]), f"{tensor}: its bytes were overwritten"
        return np.asarray(self.memory[at[:, 0]].astype(slot.dtype))

    def _addresses(self, slot: Slot, elements: Ints) -> Ints:
        size = slot.width
        return np.asarray(slot.base + slot.place[elements][:, None] * size + np.arange(size))

    def _tag(self, tensor: str, elements: Ints) -> Ints:
        return self.tensors.setdefault(tensor, len(self.tensors)) * _PER_TENSOR + elements


class Pool:
    """One copy of a buffer whose elements come and go one by one."""

    def __init__(self, chip: Chip, slot: Slot) -> None:
        self.chip, self.slot = chip, slot
        self.free = np.arange(slot.length // slot.width)[::-1]

    def put(self, tensor: str, elements: Ints, values: Array) -> None:
        """Write elements: those that are here in their place, others where there is room."""
        new = elements[self.slot.place[elements] < 0]
        assert len(new) <= len(self.free), f"{tensor}: {len(new) - len(self.free)} elements too many in its buffer"
        self.slot.place[new] = self.free[len(self.free) - len(new) :]
        self.free = self.free[: len(self.free) - len(new)]
        self.chip.write(self.slot, tensor, elements, values)

    def drop(self, elements: Ints) -> None:
        """Give the room of elements back; those that are not here have none."""
        here = elements[self.slot.place[elements] >= 0]
        size = self.slot.width
        at = self.slot.base + self.slot.place[here][:, None] * size + np.arange(size)
        self.chip.tags[at] = _NOBODY
        self.free = np.concatenate([self.free, self.slot.place[here]])
        self.slot.place[here] = -1

    def has(self, elements: Ints) -> NDArray[np.bool_]:
        """Which elements are here."""
        return np.asarray(self.slot.place[elements] >= 0)

    def get(self, tensor: str, elements: Ints) -> Array:
        """Elements that must all be here."""
        return self.chip.read(self.slot, tensor, elements)
