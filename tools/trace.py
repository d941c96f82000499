"""The modelled timeline as a trace for Perfetto or Chrome: one track per engine and transfer, counters per memory.

Format: "Trace Event Format" (Chromium, JSON object form): complete events `X`, counters `C`, names `M`; times in us.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from roofwright.cost_model import Estimate, Schedule
from roofwright.graph import printable

MOST_TILES = 64  # events of one kernel and stage; more tiles share one
MOST_EVENTS = 60_000  # of tiles in the whole trace
_BUFFERS = 2  # tiles whose operands are on chip at once
_ENGINES, _TRANSFERS, _MEMORIES = 1, 2, 3
_LOAD, _STORE, _AHEAD = 1, 2, 3
_US = 1e6
Event = dict[str, Any]


def trace(estimate: Estimate, schedule: Schedule | None) -> str:
    """The trace's JSON.

    A kernel is drawn from its first load to its last store. Its tiles are drawn as equal parts of its load, compute and
    store times, double-buffered, over exactly that span; more than `MOST_TILES` are drawn in groups.

    Args:
        estimate: what was priced; its timeline is drawn, at the burst clock, without launches and the host link.
        schedule: whose buffers the counters add up; None: no counters.
    """
    events = [*_names(estimate, schedule), *_kernels(estimate), *_prefetches(estimate)]
    if schedule is not None:
        events += _occupancy(estimate, schedule)
    content = {
        "displayTimeUnit": "ns",
        "otherData": {
            "target": estimate.target.name,
            "batch": estimate.batch,
            "modelled_s": estimate.timeline.total_s,
            "note": "modelled, not measured; at the burst clock, without launches and the host link; "
            f"tiles as equal parts, at most {_per_kernel(estimate)} events per kernel and stage",
        },
        "traceEvents": events,
    }
    return json.dumps(content, indent=None, separators=(",", ":"), allow_nan=False) + "\n"


def _names(estimate: Estimate, schedule: Schedule | None) -> Iterator[Event]:
    yield from _named("process_name", _ENGINES, 0, f"{estimate.target.name}: engines")
    yield from _named(
        "process_name", _TRANSFERS, 0, f"{estimate.target.name}: {estimate.target.device_memory.name} port"
    )
    for engine, track in _tracks(estimate).items():
        yield from _named("thread_name", _ENGINES, track, engine or "no engine")
    for track, name in ((_LOAD, "load"), (_STORE, "store"), (_AHEAD, "prefetch")):
        yield from _named("thread_name", _TRANSFERS, track, name)
    if schedule is not None:
        yield from _named("process_name", _MEMORIES, 0, f"{estimate.target.name}: memories")


def _named(kind: str, process: int, track: int, name: str) -> Iterator[Event]:
    yield {"ph": "M", "name": kind, "pid": process, "tid": track, "args": {"name": printable(name)}}


def _tracks(estimate: Estimate) -> Mapping[str, int]:
    return {name: at for at, name in enumerate(dict.fromkeys(estimate.timeline.engines), 1)}


def _per_kernel(estimate: Estimate) -> int:
    return max(1, min(MOST_TILES, MOST_EVENTS // (3 * max(len(estimate.kernels), 1))))


def _kernels(estimate: Estimate) -> Iterator[Event]:
    """Every kernel, and inside it the tiles of its stages."""
    line, tracks, most = estimate.timeline, _tracks(estimate), _per_kernel(estimate)
    columns = (line.start_s, line.end_s, line.load_s, line.compute_s, line.store_s)
    rows = zip(estimate.kernels, line.engines, zip(*(column.tolist() for column in columns), strict=True), strict=True)
    for at, (kernel, engine, (start, end, *stages)) in enumerate(rows):
        name, track = printable(kernel.key), tracks[engine]
        args = {"kernel": at, "ops": " ".join(node.op for node in kernel.nodes), "macs": kernel.macs}
        yield _event(name, _ENGINES, track, start, end, args)
        tiles = max(1, int(estimate.cut.tiles[at]))
        groups = min(tiles, most)
        for group, spans in enumerate(_flow(stages, groups, start, end)):
            first, last = group * tiles // groups, (group + 1) * tiles // groups
            label = f"tile {first + 1}" if last - first == 1 else f"tiles {first + 1}-{last}"
            for (process, line_of), (low, high) in zip(
                ((_TRANSFERS, _LOAD), (_ENGINES, track), (_TRANSFERS, _STORE)), spans, strict=True
            ):
                if high > low:
                    what = label if process == _ENGINES else f"{name} {label}"
                    yield _event(what, process, line_of, low, high, {"kernel": at, "tiles": tiles})


def _flow(stages: Sequence[float], tiles: int, start: float, end: float) -> Iterator[tuple[tuple[float, float], ...]]:
    """(load, compute, store) of equal tiles with two buffers each, stretched over the kernel's span."""
    load, compute, store = (seconds / tiles for seconds in stages)
    loaded, done, stored = [0.0], [0.0] * _BUFFERS, [0.0] * _BUFFERS
    found = []
    for _ in range(tiles):
        loaded.append(max(loaded[-1], done[-_BUFFERS]) + load)
        done.append(max(loaded[-1], done[-1], stored[-_BUFFERS]) + compute)
        stored.append(max(done[-1], stored[-1]) + store)
        found.append(
            ((loaded[-1] - load, loaded[-1]), (done[-1] - compute, done[-1]), (stored[-1] - store, stored[-1]))
        )
    scale = (end - start) / stored[-1] if stored[-1] else 0.0
    for spans in found:
        yield tuple((start + low * scale, start + high * scale) for low, high in spans)


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
