"""onnxruntime's CPU arena: what it takes from the system for a sequence of allocations, and never gives back.

Best fit among free chunks, a chunk split where it is at least twice as large, free neighbours merged; a new region of
the next power of two where nothing fits (`BFCArena`, core/framework/bfc_arena.cc, strategy kNextPowerOfTwo). Pages
count once they are used.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field

_ALIGNMENT = 256
_FIRST_REGION = 1 << 20
_LARGEST_DOUBLING = 1 << 30
_MOST_DEAD = 128 << 20


@dataclass
class Arena:
    """Regions of memory; chunks are (size, region, offset).

    Attributes:
        region_bytes: of the next region.
        most_dead: bytes that may lie idle behind a request in a chunk that is less than twice as large.
    """

    region_bytes: int = _FIRST_REGION
    most_dead: int = _MOST_DEAD
    free: list[tuple[int, int, int]] = field(default_factory=list)
    used: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    touched: list[int] = field(default_factory=list)
    _starts: dict[tuple[int, int], int] = field(default_factory=dict)
    _ends: dict[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def planned(cls) -> "Arena":
        """One block without end, as `MemPatternPlanner` fills it: best fit among the gaps, else at the end."""
        return cls(region_bytes=1 << 62, most_dead=0)

    @property
    def bytes(self) -> int:
        """Pages that were used at any time."""
        return sum(self.touched)

    def take(self, number: int, size: float) -> None:
        """Allocate `size` bytes under a number of the caller's."""
        wanted = -(-int(size) // _ALIGNMENT) * _ALIGNMENT
        if not wanted:
            return
        at = bisect_left(self.free, (wanted, -1, -1))
        if at == len(self.free):
            self._extend(wanted)
            at = bisect_left(self.free, (wanted, -1, -1))
        have, region, offset = self.free[at]
        self._forget(self.free[at])
        if have >= 2 * wanted or have - wanted >= self.most_dead:
            self._offer(have - wanted, region, offset + wanted)
            have = wanted
        self.used[number] = (have, region, offset)
        self.touched[region] = max(self.touched[region], offset + wanted)

    def give(self, number: int) -> None:
        """Free what `take` took."""
        held = self.used.pop(number, None)
        if held is None:
            return
        size, region, offset = held
        after = self._starts.get((region, offset + size))
        if after is not None:
            self._forget((after, region, offset + size))
            size += after
        before = self._ends.get((region, offset))
        if before is not None:
            self._forget((before, region, offset - before))
            size, offset = size + before, offset - before
        self._offer(size, region, offset)

    def _extend(self, wanted: int) -> None:
        grown = False
        while self.region_bytes < wanted and self.region_bytes < _LARGEST_DOUBLING:
            self.region_bytes, grown = self.region_bytes * 2, True
        self._offer(max(self.region_bytes, wanted), len(self.touched), 0)
        self.touched.append(0)
        if not grown and self.region_bytes < _LARGEST_DOUBLING:
            self.region_bytes *= 2

    def _offer(self, size: int, region: int, offset: int) -> None:
        insort(self.free, (size, region, offset))
        self._starts[region, offset] = self._ends[region, offset + size] = size

    def _forget(self, chunk: tuple[int, int, int]) -> None:
        size, region, offset = chunk
        del self.free[bisect_left(self.free, chunk)]
        del self._starts[region, offset], self._ends[region, offset + size]
