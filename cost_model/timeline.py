"""The timeline: when every kernel loads, computes and stores, tile by tile, and what of that nothing hides.

Kernels run in order, each from its first load to its last store; inside a kernel the stages of different tiles overlap
as far as its buffers allow, the port's idle time of one kernel may carry loads of later ones (prefetch), and the last
results of one may be stored while the next computes. For tile i
with b input and b' output buffers (the recurrence of a three-stage flow shop with bounded buffers):

    start L_i >= end X_{i-b}      start X_i >= max(end L_i, end X_{i-1}, end Y_{i-b'})      start Y_i >= end X_i

On a shared port loads and stores take turns in a fixed order: L_1 .. L_{e+1}, Y_1, L_{e+2}, Y_2, ... for a lookahead
e <= b'; the best e is taken. A fixed order makes every end time a max-plus function of the durations, hence never
longer when a duration shrinks or a buffer is added; greedy dispatch has no such property (Graham, "Bounds on
multiprocessing timing anomalies", SIAM J. Appl. Math. 17(2), 1969, doi:10.1137/0117039).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roofwright.cost_model.ahead import KernelTiles, Prefetched, Room, loading
from roofwright.cost_model.pipelining import (
    Makespan,
    Port,
    Run,
    makespan,
    stage_totals,
    tile_spans,
    tiles_of,
    without_early,
)
from roofwright.cost_model.units import Floats

_ROUNDING = 1e-9  # relative difference below which all of a load is done


@dataclass(frozen=True)
class Timeline:
    """When each of n kernels runs; arrays of shape (n,), seconds from the start of the first.

    Attributes:
        start_s, end_s: first load to last store of the kernel (its prefetch comes before).
        load_s, compute_s, store_s: busy time of port and engine for this kernel, prefetch left out.
        exposed_load_s: time before and between computations in which the engine waits for operands or free buffers.
        exposed_store_s: time after the last computation, without what is stored under the next kernel.
        prefetched: what travelled ahead of its kernel, and when.
        engines: engine of each kernel.
        taken_s: of the port, from the start of each kernel on, by results of the kernel before.
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
    taken_s: Floats

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
    port: Port,
    *,
    window: int = 0,
    plan: Iterable[Prefetched] | None = None,
    rooms: Mapping[int, Room] | None = None,
    known: dict[object, Makespan] | None = None,
) -> Timeline:
    """Run the kernels one after the other.

    Args:
        kernels: in order.
        port: the way to the device memory.
        window: how many kernels ahead early loads may start, nearest kernel first, limited by `spare_bytes`;
            0: no prefetch.
        plan: instead of `window`, what to load during which kernel; a part for which the port has no idle time is
            loaded when its own kernel starts.
        rooms: instead of either, where the early loads of which kernels have room; nearest kernel first.
        known: spans of kernels met before: schedules of one graph differ in few.

    Returns:
        The timeline. More buffers, more spare bytes, a wider window or shorter transfers never make it longer.
    """
    ahead, known = loading(kernels, port, window, plan, rooms), {} if known is None else known
    rows: list[tuple[float, ...]] = []
    taken_s = 0.0  # of the port, by results of the kernel before
    for index, kernel in enumerate(kernels):
        own = (kernel.runs, kernel.in_buffers, kernel.out_buffers, kernel.fluid, kernel.fill_s)
        same = (own, ahead.done_s[index], port, taken_s)
        span = known.get(same)
        if span is None:
            span = known[same] = _span(kernel, ahead.done_s[index], port, taken_s)
        late = kernel.late and index + 1 < len(kernels) and not kernels[index + 1].fluid
        length_s = max(span.compute_end_s, taken_s) if late else span.total_s
        left_s = span.total_s - length_s
        used_s = span.load_s + span.store_s + taken_s - left_s if port.shared else span.load_s
        ahead.fill(index, length_s - used_s)
        stall_s = span.compute_end_s - span.compute_s
        after_s = length_s - span.compute_end_s
        rows.append((length_s, span.load_s, span.compute_s, span.store_s, stall_s, after_s, taken_s))
        taken_s = left_s
    spans, *parts = np.array(rows, dtype=np.float64).reshape(len(rows), 7).T
    load_s, compute_s, store_s, exposed_load_s, exposed_store_s, taken = parts
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
        taken_s=taken,
    )


def _left(kernel: KernelTiles, done_s: float) -> Sequence[Run]:
    """The tiles of a kernel when `done_s` of its early loads have been done before."""
    runs = without_early(kernel.runs, done_s) if done_s > 0 else kernel.runs
    if not kernel.fill_s or done_s >= kernel.runs[0].early_s * (1 - _ROUNDING):
        return runs
    first = replace(runs[0], count=1, compute_s=runs[0].compute_s + kernel.fill_s)
    return [run for run in (first, replace(runs[0], count=runs[0].count - 1), *runs[1:]) if run.count]


def _span(kernel: KernelTiles, done_s: float, port: Port, taken_s: float) -> Makespan:
    """The kernel's own time when `done_s` of its early loads have been done before."""
    runs = _left(kernel, done_s)
    if not kernel.fluid:
        in_buffers = max(kernel.in_buffers, tiles_of(kernel.runs, done_s))
        return makespan(runs, in_buffers, kernel.out_buffers, port, taken_s)
    load_s, compute_s, store_s = stage_totals(runs, port)
    transfer_s = load_s + store_s if port.shared else max(load_s, store_s)
    total_s = max(transfer_s, compute_s)
    return Makespan(total_s, total_s, load_s, compute_s, store_s)


def spans_of(
    kernel: KernelTiles, done_s: float, taken_s: float, port: Port
) -> Iterator[tuple[tuple[float, float], tuple[float, float], tuple[float, float]]]:
    """(start, end) of every tile's load, computation and store, from the start of its kernel.

    What a cache spreads under the computation is one load, one computation and one store side by side.

    Args:
        kernel: in a timeline.
        done_s: of its early loads done before.
        taken_s: of the port, by results of the kernel before.
        port: the way to the device memory.
    """
    runs = _left(kernel, done_s)
    if not kernel.fluid:
        in_buffers = max(kernel.in_buffers, tiles_of(kernel.runs, done_s))
        yield from tile_spans(runs, in_buffers, kernel.out_buffers, port, taken_s)
        return
    load_s, compute_s, store_s = stage_totals(runs, port)
    first = load_s if port.shared else 0.0
    yield (0.0, load_s), (0.0, compute_s), (first, first + store_s)


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
