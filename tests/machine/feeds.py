"""How tensors come to the chip and leave it: loads into copies of a buffer, results waiting to be stored."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofwright.cost_model import Placement
from tests.machine.chip import Chip, Ints, Slot

Array = NDArray[Any]
PARTIAL = 4  # bytes of a partial sum, wherever it is


@dataclass
class OffChip:
    """The device memory: flat tensors, and which elements of them were written."""

    tensors: dict[str, Array] = field(default_factory=dict)
    valid: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    def put(self, name: str, elements: Ints, values: Array, size: int) -> None:
        """Store elements of a tensor of `size`."""
        if name not in self.tensors:
            self.tensors[name], self.valid[name] = np.zeros(size, values.dtype), np.zeros(size, bool)
        self.tensors[name][elements], self.valid[name][elements] = values, True

    def get(self, name: str, elements: Ints) -> Array:
        """Load elements that were stored before."""
        assert name in self.tensors, f"{name} is not in the device memory"
        assert np.all(self.valid[name][elements]), f"{name}: elements are loaded that were never stored"
        return self.tensors[name][elements]


class Feed:
    """One operand of one kernel: tile after tile into the copies of its buffer, each as early as a copy is free.

    Attributes:
        moved_bytes: loaded from the device memory so far, early loads included.
    """

    def __init__(
        self, name: str, tiles: Sequence[Ints], slides: bool, chip: Chip, memory: OffChip, owner: int | None, width: int
    ) -> None:
        self.width = width
        self.name, self.slides, self.chip, self.memory = name, slides, chip, memory
        self.owner, self.moved_bytes, self.done, self.early = owner, 0, 0, 0
        self.slots: list[Slot] = []
        self.loads: list[Ints] = []
        self.load_of: list[int] = []
        self._gather(tiles)

    def _gather(self, tiles: Sequence[Ints]) -> None:
        """Tiles as loads, one for each change."""
        self.whole = self.owner is not None and self.chip.live[self.owner].copies == 1
        for tile in tiles:
            if not self.loads or not np.array_equal(tile, self.loads[-1]):
                self.loads.append(tile)
            self.load_of.append(len(self.loads) - 1)

    def load_until(self, tile: int) -> None:
        """Everything that `tile` and those before it read."""
        while self.done <= self.load_of[tile]:
            self._load(self.done)
            self.done += 1

    def prefetch(self, count_bytes: int, size: int, dtype: np.dtype[Any]) -> None:
        """The first bytes of what the tiles load, whole elements of them; the rest comes later."""
        assert self.owner is not None
        left = count_bytes // self.width
        copies = self.chip.live[self.owner].copies
        for at, elements in enumerate(self.loads):
            if left <= 0:
                break
            assert self.whole or at < copies, f"{self.name}: tile {at} is prefetched into {copies} copies"
            slot = self._slot(at, size, dtype)
            new = elements[slot.place[elements] < 0][:left]
            self.chip.write(slot, self.name, new, self.memory.get(self.name, new))
            self.moved_bytes += len(new) * self.width
            left -= len(new)

    def _slot(self, at: int, size: int, dtype: np.dtype[Any]) -> Slot:
        assert self.owner is not None
        if not self.slots:
            copies = self.chip.live[self.owner].copies
            self.slots = [self.chip.slot(self.owner, copy, size, dtype, self.width) for copy in range(copies)]
            self.holds = [-1] * copies
        copy = at % len(self.slots)
        if self.holds[copy] != at and not self.whole:  # a whole tensor grows in its place
            self.chip.clear(self.slots[copy])
        self.holds[copy] = at
        return self.slots[copy]

    def _load(self, at: int) -> None:
        elements, stored = self.loads[at], self.memory.tensors[self.name]
        if self.owner is None:
            self.memory.get(self.name, elements)
            self.moved_bytes += len(elements) * self.width
            return
        slot = self._slot(at, len(stored), stored.dtype)
        here = slot.place[elements] >= 0
        missing = elements[~here]
        if self.slides and at and not self.whole:
            before = self.slots[(at - 1) % len(self.slots)]
            over = missing[before.place[missing] >= 0]
            self.chip.write(slot, self.name, over, self.chip.read(before, self.name, over))
            missing = missing[before.place[missing] < 0]
        self.chip.write(slot, self.name, missing, self.memory.get(self.name, missing))
        self.moved_bytes += len(missing) * self.width

    def read(self, tile: int, elements: Ints) -> Array:
        """Elements as `tile` finds them on chip."""
        if self.owner is None:
            return self.memory.get(self.name, elements)
        at = self.load_of[tile]
        copy = at % len(self.slots)
        assert self.whole or self.holds[copy] == at, f"{self.name}: the slice of tile {tile} was replaced"
        return self.chip.read(self.slots[copy], self.name, elements)


class Drain:
    """One result of one kernel: tiles in the copies of its buffer, each stored as late as its copy is needed again."""

    def __init__(
        self,
        name: str,
        size: int,
        chip: Chip,
        memory: OffChip,
        owner: int | None,
        resident: Slot | None,
        widths: tuple[int, int],
    ) -> None:
        self.width, self.room = widths  # bytes of one result, and of its place in the buffer
        self.name, self.size, self.chip, self.memory = name, size, chip, memory
        self.owner, self.resident = owner, resident
        self.stored_bytes = self.reloaded_bytes = 0
        self.waiting: deque[tuple[Slot, Ints, bool]] = deque()
        self.slots: list[Slot] = []
        self.count = 0
        self.now: tuple[Slot, Ints, bool] | None = None
        self.whole = owner is not None and chip.live[owner].copies == 1
        placement: Placement | None = chip.live[owner] if owner is not None else None
        if owner is not None and placement is not None:
            self.slots = [
                chip.slot(owner, copy, size, np.dtype(np.float32), self.room) for copy in range(placement.copies)
            ]

    @property
    def partial(self) -> str:
        """The name under which partial sums go."""
        return f"{self.name}:partial"

    def begin(self, elements: Ints, first: bool) -> Array | None:
        """Make room for a tile of results; the partial sums so far, where it has any."""
        if self.resident is not None:
            return None if first else self.chip.read(self.resident, self.partial, elements)
        if not self.slots:
            return None if first else self._again(elements)
        if self.now is not None and np.array_equal(self.now[1], elements):
            return None if first else self.chip.read(self.now[0], self.partial, elements)
        if self.now is not None:
            self.waiting.append(self.now)
        while len(self.waiting) >= len(self.slots) and not self.whole:
            self._store()
        slot = self.slots[self.count % len(self.slots)]
        self.count += 1
        if not self.whole:
            self.chip.clear(slot)
        self.now = (slot, elements, False)
        if first:
            return None
        values = self._again(elements)
        self.chip.write(slot, self.partial, elements, values)
        return self.chip.read(slot, self.partial, elements)

    def end(self, elements: Ints, values: Array, last: bool) -> None:
        """Write a tile of partial sums or results."""
        tensor, values = self.name if last else self.partial, values.astype(np.float32)
        if self.resident is not None:
            self.chip.write(self.resident, tensor, elements, values)
            return
        if self.now is None:
            self.memory.put(tensor, elements, values, self.size)
            self.stored_bytes += len(values) * (self.width if last else PARTIAL)
            return
        self.chip.write(self.now[0], tensor, elements, values)
        self.now = (self.now[0], elements, last)

    @property
    def waiting_bytes(self) -> int:
        """Results that are not stored yet."""
        tiles = [*self.waiting, *(() if self.now is None else (self.now,))]
        return sum(len(elements) * (self.width if last else PARTIAL) for _, elements, last in tiles)

    def finish(self) -> None:
        """Store what waits."""
        if self.now is not None:
            self.waiting.append(self.now)
            self.now = None
        while self.waiting:
            self._store()

    def _store(self) -> None:
        slot, elements, last = self.waiting.popleft()
        tensor = self.name if last else self.partial
        values = self.chip.read(slot, tensor, elements)
        self.memory.put(tensor, elements, values, self.size)
        self.stored_bytes += len(values) * (self.width if last else PARTIAL)

    def _again(self, elements: Ints) -> Array:
        values = self.memory.get(self.partial, elements)
        self.reloaded_bytes += len(values) * PARTIAL
        return values
