"""The modelled timeline as a trace for Perfetto or Chrome: one track per engine and transfer, counters per memory.

Format: "Trace Event Format" (Chromium, JSON object form): complete events `X`, counters `C`, names `M`; times in us.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from roofwright.cost_model import Estimate, Schedule, engine_steps, group_steps, port_of, spans_of
from roofwright.graph import printable

MOST_TILES = 64  # events of one kernel and stage; more tiles share one
MOST_EVENTS = 60_000  # of tiles in the whole trace
_ENGINES, _TRANSFERS, _MEMORIES, _LINK = 1, 2, 3, 4
_LOAD, _STORE, _AHEAD = 1, 2, 3
_IN, _OUT = 1, 2
_US = 1e6
Event = dict[str, Any]
Span = tuple[float, float]


def trace(estimate: Estimate, schedule: Schedule | None) -> str:
    """The trace's JSON.

    A kernel is drawn from its first load to its last computation or store, on the track of every engine that works for
    it; its tiles as the timeline has them, more than `MOST_TILES` in groups. What overlaps the computation of other
    kernels (weights that travel ahead, results stored late) is drawn when it travels.

    Args:
        estimate: what was priced; one request of many that follow each other is drawn, at the burst clock and without
            launches, the link with the next request's input and the last one's output.
        schedule: whose buffers the counters add up, and whose engines share kernels; None: no counters.
    """
    events = [*_names(estimate, schedule), *_kernels(estimate, schedule), *_prefetches(estimate), *_link(estimate)]
    if schedule is not None:
        events += _occupancy(estimate, schedule)
    content = {
        "displayTimeUnit": "ns",
        "otherData": {
            "target": estimate.target.name,
            "batch": estimate.batch,
            "modelled_s": estimate.timeline.total_s,
            "prologue_s": estimate.steady.input_s,
            "period_s": estimate.period_s,
            "epilogue_s": estimate.steady.output_s,
            "note": "modelled, not measured; one of back-to-back requests, at the burst clock and without launches; "
            f"at most {_per_kernel(estimate)} events per kernel and stage",
        },
        "traceEvents": events,
    }
    return json.dumps(content, indent=None, separators=(",", ":"), allow_nan=False) + "\n"


def _names(estimate: Estimate, schedule: Schedule | None) -> Iterator[Event]:
    target = estimate.target
    yield from _named("process_name", _ENGINES, 0, f"{target.name}: engines")
    yield from _named("process_name", _TRANSFERS, 0, f"{target.name}: {target.device_memory.name} port")
    for engine, track in _tracks(estimate, schedule).items():
        yield from _named("thread_name", _ENGINES, track, engine or "no engine")
    for track, name in ((_LOAD, "load"), (_STORE, "store"), (_AHEAD, "prefetch")):
        yield from _named("thread_name", _TRANSFERS, track, name)
    if schedule is not None:
        yield from _named("process_name", _MEMORIES, 0, f"{target.name}: memories")
    if estimate.link_bytes and np.isfinite(target.link.bytes_per_s):
        yield from _named("process_name", _LINK, 0, f"{target.name}: {target.link.name}")
        yield from _named("thread_name", _LINK, _IN, "to the device")
        yield from _named("thread_name", _LINK, _OUT, "to the host")


def _named(kind: str, process: int, track: int, name: str) -> Iterator[Event]:
    yield {"ph": "M", "name": kind, "pid": process, "tid": track, "args": {"name": printable(name)}}


def _tracks(estimate: Estimate, schedule: Schedule | None) -> Mapping[str, int]:
    shared = [name for kernel in (schedule.kernels if schedule else ()) for name in _beside(kernel)]
    return {name: at for at, name in enumerate(dict.fromkeys([*estimate.timeline.engines, *shared]), 1)}


def _beside(kernel: Any) -> list[str]:
    """Engines that a kernel of the schedule runs on."""
    return [s.engine for s in kernel.shares] + [node.engine for node in kernel.nodes if node.engine]


def _per_kernel(estimate: Estimate) -> int:
    return max(1, min(MOST_TILES, MOST_EVENTS // (3 * max(len(estimate.kernels), 1))))


def _kernels(estimate: Estimate, schedule: Schedule | None) -> Iterator[Event]:
    """Every kernel, and inside it the tiles of its stages."""
    line, tracks, port = estimate.timeline, _tracks(estimate, schedule), port_of(estimate.target)
    tiles, done_s, most = estimate.costing.tiles, line.prefetched_s.tolist(), _per_kernel(estimate)
    same = schedule is not None and len(schedule.kernels) == len(estimate.kernels)
    columns = (line.start_s.tolist(), line.end_s.tolist(), line.taken_s.tolist())
    for at, (kernel, start, end, taken_s) in enumerate(zip(estimate.kernels, *columns, strict=True)):
        name, own = printable(kernel.key), line.engines[at]
        args = {"kernel": at, "ops": " ".join(node.op for node in kernel.nodes), "macs": kernel.macs}
        yield _event(name, _ENGINES, tracks[own], start, end, args)
        stages = zip(*spans_of(tiles[at], done_s[at], taken_s, port), strict=True)
        loads, computes, stores = ([(start + low, start + high) for low, high in stage] for stage in stages)
        count = {"kernel": at, "tiles": len(computes)}
        for label, span in _grouped(loads, most):
            yield _event(f"{name} {label}", _TRANSFERS, _LOAD, *span, count)
        for label, span in _grouped(stores, most):
            yield _event(f"{name} {label}", _TRANSFERS, _STORE, *span, count)
        working = _working(estimate, schedule, at, computes) if same and schedule else {own: computes}
        for engine, spans in working.items():
            if engine != own:
                yield _event(name, _ENGINES, tracks[engine], start, end, {"kernel": at})
            for label, span in _grouped(spans, most):
                yield _event(label, _ENGINES, tracks[engine], *span, count)


def _working(estimate: Estimate, schedule: Schedule, at: int, computes: Sequence[Span]) -> Mapping[str, Sequence[Span]]:
    """Engine -> when it computes for kernel `at`: its part of every step where nodes overlap, else with every tile."""
    kernel, own, cost = schedule.kernels[at], estimate.timeline.engines[at], estimate.costing.strips.get(at)
    groups = estimate.costing.channels.get(at)
    if groups is not None and groups.overlaps:
        steps = group_steps(kernel, groups, estimate.target)
    elif cost is not None and cost.overlaps:
        steps = engine_steps(kernel, estimate.kernels[at], cost, estimate.target)
    else:
        return dict.fromkeys([own, *(share.engine for share in kernel.shares)], computes)
    begins = np.concatenate([[0.0], np.cumsum(steps.max(axis=0))])
    busy = np.concatenate([[0.0], np.cumsum([high - low for low, high in computes])])
    scale = busy[-1] / begins[-1] if begins[-1] else 0.0
    ends = np.array([high for _, high in computes])

    def moments(seconds: Any) -> Any:
        """Busy seconds of the kernel as times: every computation goes on without a break."""
        tile = np.clip(np.searchsorted(busy, seconds * scale, side="left") - 1, 0, len(computes) - 1)
        return ends[tile] - busy[tile + 1] + seconds * scale

    names = [engine.name for engine in estimate.target.engines]
    spans = {
        name: list(zip(moments(begins[:-1]).tolist(), moments(begins[:-1] + part).tolist(), strict=True))
        for name, part in zip(names, steps, strict=True)
        if part.any()
    }
    return {name: [(low, max(low, high)) for low, high in found] for name, found in spans.items()}


def _grouped(spans: Sequence[Span], most: int) -> Iterator[tuple[str, Span]]:
    """(label, span) of tiles, in at most so many groups; those that take no time are left out."""
    groups = min(len(spans), most)
    bounds = [group * len(spans) // groups for group in range(groups + 1)] if groups else []
    for first, last in pairwise(bounds):
        real = [span for span in spans[first:last] if span[1] > span[0]]
        if real:
            label = f"tile {first + 1}" if last - first == 1 else f"tiles {first + 1}-{last}"
            yield label, (real[0][0], real[-1][1])


def _link(estimate: Estimate) -> Iterator[Event]:
    """The next request's input and the output of the one before, from the start of this one on."""
    steady = estimate.steady
    ways = ("input of the next request", steady.input_s), ("output of the one before", steady.output_s)
    for track, (name, seconds) in zip((_IN, _OUT), ways, strict=True):
        if seconds > 0:
            yield _event(name, _LINK, track, 0.0, seconds, {"buffers": steady.buffers})


def _prefetches(estimate: Estimate) -> Iterator[Event]:
    """What travels ahead of its kernel, at the end of the kernel that it travels under."""
    line = estimate.timeline
    ends = line.end_s.tolist()
    for item in reversed(line.prefetched):
        high = ends[item.during]
        low = max(high - item.seconds, float(line.start_s[item.during]))
        ends[item.during] = low
        name = f"weights of {printable(estimate.kernels[item.kernel].key)}"
        yield _event(name, _TRANSFERS, _AHEAD, low, high, {"kernel": item.kernel, "bytes": item.bytes})


def _occupancy(estimate: Estimate, schedule: Schedule) -> Iterator[Event]:
    """Bytes of every explicit memory that are taken, kernel by kernel."""
    line = estimate.timeline
    times = _times(estimate, schedule)
    explicit = [memory.name for memory in estimate.target.memories if memory.managed == "explicit"]
    for level in explicit:
        for at, live in enumerate(schedule.live_by_kernel(level)):
            if at in times:
                taken = sum(placement.total_bytes for _, placement in live)
                yield _counter(level, times[at], taken)
        yield _counter(level, line.total_s, 0)


def _times(estimate: Estimate, schedule: Schedule) -> dict[int, float]:
    """Kernel of the schedule -> when it starts."""
    place = {ref.output: kernel.index for kernel in schedule.kernels for ref in kernel.nodes}
    starts: dict[int, float] = {}
    for kernel, start in zip(estimate.kernels, estimate.timeline.start_s.tolist(), strict=True):
        index = place.get(kernel.key)
        if index is not None:
            starts.setdefault(index, start)
    return starts


def _counter(level: str, at: float, taken: int) -> Event:
    return {"ph": "C", "name": level, "pid": _MEMORIES, "tid": 0, "ts": at * _US, "args": {"bytes": taken}}


def _event(name: str, process: int, track: int, start: float, end: float, args: Event) -> Event:
    return {
        "ph": "X",
        "name": name,
        "pid": process,
        "tid": track,
        "ts": start * _US,
        "dur": max(end - start, 0.0) * _US,
        "args": args,
    }
