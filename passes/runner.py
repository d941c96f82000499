"""Runs passes: applies, sorts, verifies, prices and records each; a pass that fails is taken out and blamed by name."""

import gc
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count

import onnx_graphsurgeon as gs

from roofwright.cost_model import Estimate, GraphModel, Schedule, estimate, memory_bytes
from roofwright.graph import Index, Interface, RoofwrightError, assumed_dims, clone, interface, sort_nodes, verify
from roofwright.passes.attribution import gains
from roofwright.passes.base import Context, Pass, PassResult, Record
from roofwright.passes.memory import MemoryChange
from roofwright.passes.report import PassReport
from roofwright.targets import Target

ROUNDING = 1e-9  # relative difference below which two latencies are the same
MAX_ROUNDS = 4  # of the graph passes; two are enough unless a fold uncovers another
log = logging.getLogger("roofwright")
Watch = Callable[[str, gs.Graph, Schedule | None], None]


class PassFailed(Exception):
    """A pass raised, or left a graph that breaks the invariant. `name` is to blame, `reason` says how."""

    def __init__(self, name: str, reason: str) -> None:
        """Blame pass `name` for `reason`."""
        super().__init__(f"pass {name}: {reason}")
        self.name, self.reason = name, reason


@dataclass
class Runner:
    """One run of a pipeline over one graph.

    Attributes:
        graph: what the passes work on.
        ctx: what they may know; its schedule grows.
        target: the machine everything is priced on.
        latest: the estimate of the graph and schedule as they are now.
        expected: the interface that every pass must leave alone.
        stale: whether the graph changed since `latest`, in ways that have no price.
        seconds: own run time per pass.
        memory: what strips changed; None where nobody asked for them.
        model: the graph as `latest` saw it; None where it may have changed since.
        settled: passes (by id) that found nothing in the graph as it is.
        watch: told (pass, graph, schedule) after every pass that changed one of the two; must not change them.
    """

    graph: gs.Graph
    ctx: Context
    target: Target
    latest: Estimate
    expected: Interface
    reports: dict[str, PassReport] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    stale: bool = False
    watch: Watch | None = None
    memory: MemoryChange | None = None
    model: GraphModel | None = None
    settled: dict[int, Pass] = field(default_factory=dict)

    def rewrite(self, passes: Sequence[Pass]) -> None:
        """Run graph passes over and over until none of them changes anything."""
        for _ in range(MAX_ROUNDS):
            if not [pass_.name for pass_ in passes if self.once(pass_).changed]:
                break
        if self.stale:
            self.latest, self.stale = self._estimate(None), False

    def once(self, pass_: Pass) -> PassResult:
        """Run one graph pass one time, as far as the budget of rewrites goes; not again where it just found nothing."""
        if id(pass_) in self.settled:
            return PassResult()
        budget = self.ctx.budget
        first = budget.used + 1
        if self.ctx.index is None:
            self.ctx = replace(self.ctx, index=Index(self.graph))
        result = PassResult() if budget.exhausted else self._timed(pass_)
        if not result.changed:
            self.settled[id(pass_)] = pass_
        else:
            self._forget()
            budget.used = first - 1 + sum(1 for record in result.records if record.applied)
            self._sound(pass_.name)
        if any(record.applied and _costs(record) for record in result.records):
            self._reprice(pass_, result, first)
        else:  # constants moved or merged cost nothing
            self.stale |= result.changed
            self._note(pass_, PassResult(_numbered(result.records, first, {})), 0.0)
        if result.changed and self.watch:
            self.watch(pass_.name, self.graph, None)
        return result

    def widen(self, pass_: Pass) -> None:
        """Run the pass that changes the batch, and with it the interface; latencies before and after do not compare."""
        result = self._timed(pass_)
        self._forget()
        self.expected = interface(self.graph)
        self._sound(pass_.name)
        left = assumed_dims(self.graph, {})
        self.ctx = replace(self.ctx, dims={name: size for name, size in self.ctx.dims.items() if name in left})
        self.latest = self._estimate(None)
        self._note(pass_, result, 0.0)
        if self.watch:
            self.watch(pass_.name, self.graph, None)

    def priced_at(self, batch: int, scheduling: Sequence[Pass]) -> tuple[float, float, float]:
        """(device seconds, latency seconds, bytes when it runs) of a copy with another batch, scheduled as this one.

        Raises:
            UnsupportedError: the batch cannot be widened.
        """
        from roofwright.passes.batching import WidenBatch

        trial = replace(self, graph=clone(self.graph), reports={}, seconds={}, watch=None)
        trial._forget()
        trial.widen(WidenBatch(batch=batch))
        trial.schedule(scheduling)
        model = trial.ctx.model or GraphModel.of(trial.graph, trial.ctx.dims)
        return trial.latest.device_s, trial.latest.latency_s, memory_bytes(trial.graph, model, trial.target)

    def schedule(self, passes: Sequence[Pass]) -> None:
        """Run scheduling passes; a schedule that the model prices worse than the best so far is not taken.

        The first schedule starts the search whatever it costs; where what comes out is worse than op by op, there is
        none.
        """
        with _uncollected():
            self._schedule(passes)

    def _schedule(self, passes: Sequence[Pass]) -> None:
        start = self.latest
        self.ctx = replace(self.ctx, model=self.model or GraphModel.of(self.graph, self.ctx.dims))
        for pass_ in passes:
            result = self._timed(pass_)
            if result.schedule is None:
                self._note(pass_, result, 0.0)
                continue
            after = self._estimate(result.schedule)
            gain = self.latest.latency_s - after.latency_s
            if gain < -ROUNDING * self.latest.latency_s and self.ctx.schedule is not None:
                self._note(pass_, PassResult(), 0.0)
                continue
            self.ctx, self.latest = self.ctx.with_schedule(result.schedule), after
            self._note(pass_, result, gain)
            if self.watch:
                self.watch(pass_.name, self.graph, result.schedule)
        if self.latest.latency_s > start.latency_s * (1 + ROUNDING):
            self.ctx, self.latest = self.ctx.with_schedule(None), start
            for pass_ in passes:
                self.reports[pass_.name] = replace(self.reports[pass_.name], applied=0, gain_s=0.0)

    def _estimate(self, schedule: Schedule | None) -> Estimate:
        self.model = model = self.ctx.model or GraphModel.of(self.graph, self.ctx.dims)
        return estimate(model, self.target, schedule, resident_weights=self.ctx.resident_weights)

    def _forget(self) -> None:
        """The graph has changed."""
        self.model, self.ctx, self.settled = None, replace(self.ctx, index=None), {}

    def _timed(self, pass_: Pass) -> PassResult:
        start = time.perf_counter()
        try:
            return pass_.run(self.graph, self.ctx)
        except RoofwrightError:
            raise
        except Exception as error:  # whatever a pass raises, it is to blame and the run goes on without it
            log.debug("pass %s failed", pass_.name, exc_info=True)
            raise PassFailed(pass_.name, f"{type(error).__name__}: {error}") from error
        finally:
            self.seconds[pass_.name] = self.seconds.get(pass_.name, 0.0) + time.perf_counter() - start

    def _sound(self, name: str) -> None:
        try:
            sort_nodes(self.graph)
            verify(self.graph, self.expected)
        except Exception as error:
            raise PassFailed(name, str(error)) from error

    def _reprice(self, pass_: Pass, result: PassResult, first: int) -> None:
        after = self._estimate(None)
        records = _numbered(result.records, first, gains(result.records, self.latest, after))
        self._note(pass_, PassResult(records), self.latest.latency_s - after.latency_s)
        self.latest, self.stale = after, False

    def _note(self, pass_: Pass, result: PassResult, gain_s: float) -> None:
        """Add to the pass's report: what was applied, by every run; near misses, by the last one only."""
        old = self.reports.get(pass_.name, PassReport(pass_.name, pass_.numerics, 0, 0.0, schedules=pass_.schedules))
        applied = sum(1 for record in result.records if record.applied)
        self.reports[pass_.name] = replace(
            old,
            applied=old.applied + applied,
            gain_s=old.gain_s + gain_s,
            records=(*(record for record in old.records if record.applied), *result.records),
        )


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for cycles meanwhile: what scheduling makes has none, and in large graphs it takes long."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _costs(record: Record) -> bool:
    """Whether a rewrite touched anything that has a price: more than Constant nodes."""
    changed = {op for op, _ in (*record.consumed, *record.produced)}
    return bool({*record.removed, *record.added, *changed} - {"Constant"})


def _numbered(records: Sequence[Record], first: int, gained: Mapping[int, tuple[float, float]]) -> tuple[Record, ...]:
    """The records of one run, the applied ones with their numbers from `first` and their gains (by id)."""
    numbers = count(first)
    unknown = (None, None)
    found = []
    for record in records:
        gain_s, gain_bytes = gained.get(id(record), unknown)
        more = replace(record, number=next(numbers), gain_s=gain_s, gain_bytes=gain_bytes) if record.applied else record
        found.append(more)
    return tuple(found)
