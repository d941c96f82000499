"""The timeline: when every kernel loads, computes and stores, tile by tile, and what of that nothing hides.

Kernels run in order, each from its first load to its last store; inside a kernel the stages of different tiles overlap
as far as its buffers allow, and the port's idle time of one kernel may carry loads of later ones (prefetch). For tile i
with b input and b' output buffers (the recurrence of a three-stage flow shop with bounded buffers):

    start L_i >= end X_{i-b}      start X_i >= max(end L_i, end X_{i-1}, end Y_{i-b'})      start Y_i >= end X_i

On a shared port loads and stores take turns in a fixed order: L_1 .. L_{e+1}, Y_1, L_{e+2}, Y_2, ... for a lookahead
e <= b'; the best e is taken. A fixed order makes every end time a max-plus function of the durations, hence never
longer when a duration shrinks or a buffer is added; greedy dispatch has no such property (Graham, "Bounds on
multiprocessing timing anomalies", SIAM J. Appl. Math. 17(2), 1969, doi:10.1137/0117039).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roofwright.cost_model.pipelining import Makespan, Run, makespan, stage_totals, without_early
from roofwright.cost_model.units import Floats


@dataclass(frozen=True, slots=True)
class KernelTiles:
    """One kernel as the timeline sees it.

    Attributes:
        runs: its tiles in order.
        engine: what computes them.
        in_buffers: tiles whose operands are on chip at once (2: double-buffered).
        out_buffers: tiles whose results are on chip at once.
        fluid: a cache manages its data: loads and stores spread evenly under the computation, whatever the tiles.
        early_bytes: bytes behind the `early_s` of all runs together.
        spare_bytes: on-chip bytes that stay free while it runs, for early loads of later kernels that lie ready.
    """

    runs: tuple[Run, ...]
    engine: str = ""
    in_buffers: int = 2
    out_buffers: int = 2
    fluid: bool = False
    early_bytes: float = 0.0
    spare_bytes: float = 0.0

    @property
    def early_s(self) -> float:
        """Port seconds of the loads that need no earlier kernel's result."""
        return sum(run.count * run.early_s for run in self.runs)


@dataclass(frozen=True, slots=True)
class Prefetched:
    """`seconds` of kernel `kernel`'s early loads (`bytes` of them) travel while kernel `during` runs."""

    kernel: int
    during: int
    seconds: float
    bytes: float


@dataclass(frozen=True)
class Timeline:
    """When each of n kernels runs; arrays of shape (n,), seconds from the start of the first.

    Attributes:
        start_s, end_s: first load to last store of the kernel (its prefetch comes before).
        load_s, compute_s, store_s: busy time of port and engine for this kernel, prefetch left out.
        exposed_load_s: time before and between computations in which the engine waits for operands or free buffers.
        exposed_store_s: time after the last computation.
        prefetched: what travelled ahead of its kernel, and when.
        engines: engine of each kernel.
    """

    start_s: Floats
    end_s: Floats
    load_s: Floats
    compute_s: Floats
    store_s: Floats
    exposed_load_s: Floats
    exposed_store_s: Floats
    prefetched: tuple[Prefetched, ...]
    engines: tuple[str, ...]

    @property
    def total_s(self) -> float:
        """End of the last kernel."""
        return float(self.end_s[-1]) if len(self.end_s) else 0.0

    @property
    def prefetched_s(self) -> Floats:
        """Port seconds that each kernel saved by prefetch, shape (n,)."""
        saved = np.zeros(len(self.end_s))
        for item in self.prefetched:
            saved[item.kernel] += item.seconds
        return saved

    def busy_s(self) -> dict[str, float]:
        """Engine -> seconds in which it computes; "load" and "store" -> seconds of transfers."""
        busy = {"load": float(self.load_s.sum() + self.prefetched_s.sum()), "store": float(self.store_s.sum())}
        for engine, seconds in zip(self.engines, self.compute_s.tolist(), strict=True):
            busy[engine] = busy.get(engine, 0.0) + seconds
        return busy


def timeline(
    kernels: Sequence[KernelTiles],
    *,
    shared_port: bool,
    window: int = 0,
    plan: Iterable[Prefetched] | None = None,
    known: dict[object, Makespan] | None = None,
) -> Timeline:
    """Run the kernels one after the other.

    Args:
        kernels: in order.
        shared_port: loads and stores share one way to memory.
        window: how many kernels ahead early loads may start, nearest kernel first, limited by `spare_bytes`;
            0: no prefetch.
        plan: instead of `window`, what to load during which kernel; a part for which the port has no idle time is
            loaded when its own kernel starts.
        known: spans of kernels met before: schedules of one graph differ in few.

    Returns:
        The timeline. More buffers, more spare bytes, a wider window or shorter transfers never make it longer.
    """
    ahead, known = _Ahead(kernels, window, plan), {} if known is None else known
    rows: list[tuple[float, ...]] = []
    for index, kernel in enumerate(kernels):
        same = (kernel.runs, ahead.done_s[index], kernel.in_buffers, kernel.out_buffers, kernel.fluid, shared_port)
        span = known.get(same)
        if span is None:
            span = known[same] = _span(kernel, ahead.done_s[index], shared_port)
        used_s = span.load_s + span.store_s if shared_port else span.load_s
        ahead.fill(index, span.total_s - used_s)
        after_s = span.total_s - span.compute_end_s
        stall_s = span.compute_end_s - span.compute_s
        rows.append((span.total_s, span.load_s, span.compute_s, span.store_s, stall_s, after_s))
    spans, *parts = np.array(rows, dtype=np.float64).reshape(len(rows), 6).T
    load_s, compute_s, store_s, exposed_load_s, exposed_store_s = parts
    end_s = np.cumsum(spans)
    return Timeline(
        start_s=np.concatenate([[0.0], end_s])[: len(end_s)],
        end_s=end_s,
        load_s=load_s,
        compute_s=compute_s,
        store_s=store_s,
        exposed_load_s=exposed_load_s,
        exposed_store_s=exposed_store_s,
        prefetched=tuple(ahead.log),
        engines=tuple(kernel.engine for kernel in kernels),
    )


def _span(kernel: KernelTiles, done_s: float, shared_port: bool) -> Makespan:
    """The kernel's own time when `done_s` of its early loads have been done before."""
    runs = without_early(kernel.runs, done_s) if done_s > 0 else kernel.runs
    if not kernel.fluid:
        return makespan(runs, kernel.in_buffers, kernel.out_buffers, shared_port)
    load_s, compute_s, store_s = stage_totals(runs)
    transfer_s = load_s + store_s if shared_port else max(load_s, store_s)
    total_s = max(transfer_s, compute_s)
    return Makespan(total_s, total_s, load_s, compute_s, store_s)


class _Ahead:
    """The early loads that wait for idle time on the port, in the order of their kernels.

    Earliest kernel first, and none overtakes: what lies on chip for a far kernel then never takes room that a nearer
    one still waits for. What was loaded ahead takes spare bytes of every kernel until its own begins.
    """

    def __init__(self, kernels: Sequence[KernelTiles], window: int, plan: Iterable[Prefetched] | None) -> None:
        self.kernels = kernels
        self.window = window
        self.left_s = [kernel.early_s for kernel in kernels]
        self.done_s = [0.0] * len(kernels)
        self.spare_bytes = [kernel.spare_bytes for kernel in kernels]
        self.log: list[Prefetched] = []
        self.plan: dict[int, list[Prefetched]] | None = None
        if plan is not None:
            self.plan = {}
            for item in sorted(plan, key=lambda p: (p.during, p.kernel)):
                self.plan.setdefault(item.during, []).append(item)

    def fill(self, during: int, idle_s: float) -> None:
        """Spend the idle port time of kernel `during`."""
        if self.plan is not None:
            for item in self.plan.get(during, ()):
                idle_s -= self._load(item.kernel, during, min(idle_s, item.seconds))
            return
        last = min(during + self.window, len(self.kernels) - 1)
        room_bytes = float("inf")
        for index in range(during + 1, last + 1):
            room_bytes = min(room_bytes, self.spare_bytes[index - 1])
            if self.left_s[index] <= 0:
                continue
            rate = self.kernels[index].early_bytes / self.kernels[index].early_s
            limit_s = room_bytes / rate if rate > 0 else idle_s
            spent_s = self._load(index, during, min(idle_s, limit_s))
            idle_s -= spent_s
            room_bytes -= spent_s * rate
            if self.left_s[index] > 0:
                return

    def _load(self, index: int, during: int, limit_s: float) -> float:
        seconds = min(limit_s, self.left_s[index])
        if seconds <= 0:
            return 0.0
        kernel = self.kernels[index]
        held = seconds / kernel.early_s * kernel.early_bytes
        self.left_s[index] -= seconds
        self.done_s[index] += seconds
        for between in range(during, index):
            self.spare_bytes[between] -= held
        self.log.append(Prefetched(index, during, seconds, held))
        return seconds


def split_evenly(
    load_s: float, compute_s: float, store_s: float, tiles: int, *, first_s: float = 0.0
) -> tuple[Run, ...]:
    """Runs of a kernel whose totals are spread over equal tiles.

    Args:
        load_s: seconds of all loads that the tiles share alike.
        compute_s: seconds of all computation.
        store_s: seconds of all stores.
        tiles: how many.
        first_s: loads that the first tile waits for on top (an operand that then stays), all of them early.
    """
    even = Run(tiles, load_s / tiles, compute_s / tiles, store_s / tiles)
    if first_s <= 0:
        return (even,)
    first = replace(even, count=1, load_s=even.load_s + first_s, early_s=first_s)
    return (first, replace(even, count=tiles - 1)) if tiles > 1 else (first,)
