"""What is loaded ahead of its kernel: while the port is idle, into bytes that are free for as long as it waits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from roofwright.cost_model.pipelining import Port, Run


@dataclass(frozen=True, slots=True)
class KernelTiles:
    """One kernel as the timeline sees it.

    Attributes:
        runs: its tiles in order.
        engine: what computes them.
        in_buffers: tiles whose operands are on chip at once (2: double-buffered).
        out_buffers: tiles whose results are on chip at once.
        fluid: a cache manages its data: loads and stores spread evenly under the computation, whatever the tiles.
        late: results that wait when the last computation ends are stored while the next kernel runs.
        early_bytes: bytes behind the `early_s` of all runs together.
        whole: its early loads share one buffer, taken whole as soon as the first of them begins.
        own_bytes: bytes of its own buffers that early loads may fill; beyond them they take room while it runs, too.
        spare_bytes: on-chip bytes that stay free while it runs, for early loads that lie ready.
        fill_s: how much longer its first computation is if the early loads of the first tile are not done before.
    """

    runs: tuple[Run, ...]
    engine: str = ""
    in_buffers: int = 2
    out_buffers: int = 2
    fluid: bool = False
    late: bool = False
    early_bytes: float = 0.0
    whole: bool = False
    own_bytes: float = inf
    spare_bytes: float = 0.0
    fill_s: float = 0.0

    @property
    def early_s(self) -> float:
        """Seconds in which the bytes move that need no earlier kernel's result."""
        return sum(run.count * run.early_s for run in self.runs)

    def early_slot_s(self, port: Port) -> float:
        """What those loads take of the port, transfer by transfer."""
        return sum(run.count * port.slot_s(run.early_s) for run in self.runs)


@dataclass(frozen=True, slots=True)
class Prefetched:
    """`seconds` of kernel `kernel`'s early loads (`bytes` of them) travel while kernel `during` runs."""

    kernel: int
    during: int
    seconds: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Room:
    """Where early loads of one kernel wait: so many bytes, from the time of kernel `first` on."""

    first: int
    bytes: float


class Ahead:
    """The early loads that wait for idle time on the port; here, none."""

    def __init__(self, kernels: Sequence[KernelTiles], port: Port) -> None:
        """Of these kernels nothing is loaded yet."""
        self.kernels, self.port = kernels, port
        self.left_s = [kernel.early_s for kernel in kernels]
        self.done_s = [0.0] * len(kernels)
        self.log: list[Prefetched] = []

    def fill(self, during: int, idle_s: float) -> None:
        """Spend the idle port time of kernel `during`."""

    def load(self, index: int, during: int, idle_s: float, limit_s: float) -> float:
        """Load as much for kernel `index` as there is time and room for; the time of the port that it takes."""
        left_s, kernel = self.left_s[index], self.kernels[index]
        if left_s <= 0 or idle_s <= 0 or limit_s <= 0:
            return 0.0
        cost = kernel.early_slot_s(self.port) / kernel.early_s
        seconds = min(limit_s, left_s, idle_s / cost)
        self.left_s[index] = left_s - seconds
        self.done_s[index] += seconds
        self.log.append(Prefetched(index, during, seconds, seconds / kernel.early_s * kernel.early_bytes))
        return seconds * cost


class _Planned(Ahead):
    """Loads as a plan says, as far as the port is idle."""

    def __init__(self, kernels: Sequence[KernelTiles], port: Port, plan: Iterable[Prefetched]) -> None:
        super().__init__(kernels, port)
        self.plan: dict[int, list[Prefetched]] = {}
        for item in sorted(plan, key=lambda p: (p.during, p.kernel)):
            self.plan.setdefault(item.during, []).append(item)

    def fill(self, during: int, idle_s: float) -> None:
        """What the plan has for this kernel."""
        for item in self.plan.get(during, ()):
            idle_s -= self.load(item.kernel, during, idle_s, item.seconds)


class _Roomed(Ahead):
    """Loads of the nearest kernel first, of those that have room from now on."""

    def __init__(self, kernels: Sequence[KernelTiles], port: Port, rooms: Mapping[int, Room]) -> None:
        super().__init__(kernels, port)
        self.rooms, self.open = rooms, list[int]()
        self.starts: dict[int, list[int]] = {}
        for index in sorted(rooms):
            self.starts.setdefault(rooms[index].first, []).append(index)

    def fill(self, during: int, idle_s: float) -> None:
        """Everything that has room."""
        self.open = sorted(i for i in (*self.open, *self.starts.get(during, ())) if i > during and self.left_s[i] > 0)
        for index in self.open:
            kernel = self.kernels[index]
            rate = kernel.early_bytes / kernel.early_s
            room_s = self.rooms[index].bytes / rate - self.done_s[index] if rate > 0 else inf
            idle_s -= self.load(index, during, idle_s, room_s)


class _Windowed(Ahead):
    """Loads of the nearest kernel first, as far as spare bytes reach.

    Earliest kernel first, and none overtakes: what lies on chip for a far kernel then never takes room that a nearer
    one still waits for. What was loaded ahead takes spare bytes of every kernel until its own begins, and what its own
    buffers do not hold until that one ends.
    """

    def __init__(self, kernels: Sequence[KernelTiles], port: Port, window: int) -> None:
        super().__init__(kernels, port)
        self.window, self.next = window, 0
        self.spare_bytes = np.array([kernel.spare_bytes for kernel in kernels])

    def fill(self, during: int, idle_s: float) -> None:
        """From the first kernel that still waits on."""
        last = min(during + self.window, len(self.kernels) - 1)
        self.next = max(self.next, during + 1)
        while self.next <= last:
            index = self.next
            if self.left_s[index] > 0:
                idle_s -= self._within(index, during, idle_s)
                if self.left_s[index] > 0:
                    return
            self.next += 1

    def _within(self, index: int, during: int, idle_s: float) -> float:
        kernel = self.kernels[index]
        rate = kernel.early_bytes / kernel.early_s
        if rate <= 0:
            return self.load(index, during, idle_s, inf)
        own = max(kernel.own_bytes - self.done_s[index] * rate, 0.0)
        room = min(float(self.spare_bytes[during:index].min()), own + float(self.spare_bytes[index]))
        before_s = self.done_s[index]
        taken_s = self.load(index, during, idle_s, room / rate)
        held = (self.done_s[index] - before_s) * rate
        self.spare_bytes[during:index] -= held
        self.spare_bytes[index] -= max(held - own, 0.0)
        return taken_s


def loading(
    kernels: Sequence[KernelTiles],
    port: Port,
    window: int,
    plan: Iterable[Prefetched] | None,
    rooms: Mapping[int, Room] | None,
) -> Ahead:
    """What fills the port's idle time: see `timeline`."""
    if rooms is not None:
        return _Roomed(kernels, port, rooms)
    if plan is not None:
        return _Planned(kernels, port, plan)
    return _Windowed(kernels, port, window) if window else Ahead(kernels, port)


def latest(kernels: Sequence[KernelTiles], port: Port, idle_s: Sequence[float], window: int) -> list[Prefetched]:
    """Early loads, each as late as the port's idle time allows: what waits on chip then waits shortest.

    From the last kernel back to the first, each takes the latest idle time before it. A kernel's loads have one buffer,
    occupied from the first of them on, so that none starts where the spare bytes do not hold all of them.

    Args:
        kernels: in order.
        port: the way to the device memory.
        idle_s: of the port while each kernel runs.
        window: how many kernels ahead loads may start.
    """
    left_s, spare = list(idle_s), np.array([kernel.spare_bytes for kernel in kernels])
    before = list(range(-1, len(kernels)))  # before[d + 1]: the latest kernel up to d with idle time left
    found: list[Prefetched] = []
    for index in range(len(kernels) - 1, 0, -1):
        kernel = kernels[index]
        if kernel.early_s <= 0 or kernel.early_bytes <= 0:
            continue
        rate, cost = kernel.early_bytes / kernel.early_s, kernel.early_slot_s(port) / kernel.early_s
        room, held, first, at = kernel.own_bytes + float(spare[index]), 0.0, index, _up_to(before, left_s, index - 1)
        while at >= max(index - window, 0):
            room = min(room, float(spare[at:first].min()))
            size = min(kernel.early_bytes - held, room - held, left_s[at] / cost * rate)
            if size <= 0 or (kernel.whole and room < kernel.early_bytes):
                break
            left_s[at] -= size / rate * cost
            held, first = held + size, at
            found.append(Prefetched(index, at, size / rate, size))
            at = _up_to(before, left_s, at - 1)
        spare[first:index] -= kernel.early_bytes if kernel.whole else held
        spare[index] -= max(held - kernel.own_bytes, 0.0)
    return found


def _up_to(before: list[int], left_s: Sequence[float], at: int) -> int:
    """The latest kernel up to `at` with idle time left, -1 where there is none; what was passed is not passed again."""
    end = at
    while end >= 0 and left_s[end] <= 0:
        end = min(before[end + 1], end - 1)
    while at > end:
        before[at + 1], at = end, min(before[at + 1], at - 1)
    return end
