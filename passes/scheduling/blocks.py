"""The last scheduling pass: kernels that run as one, depth-first, where that is shorter."""

from collections.abc import Collection, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import chain
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.cost_model import (
    Costing,
    Estimate,
    GraphModel,
    Halo,
    Kernel,
    NodeRef,
    Run,
    Runs,
    Schedule,
    effective_bytes_per_s,
    estimate,
    holds_weights,
)
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.passes.scheduling.buffers import bare, own_buffers
from roofwright.passes.scheduling.placement import choose, settle
from roofwright.passes.scheduling.prefetch import PrefetchWeights
from roofwright.targets import Target

ROUNDING = 1e-9  # relative difference below which two latencies are the same
_CLEARANCE = 2048  # bytes on chip that alignment may leave unused
_WORTH = 0.02  # of the device time: what engines that take turns must lose for a search
PLAIN = ("plain", ())  # where the model's memo keeps the schedule without strips, which may still win on shared engines
_PREFER = 0.02  # of a transfer's time counts even where computation hides it


@dataclass(frozen=True)
class FuseBlocks(Pass):
    """kernel i; ...; kernel j --> one kernel that runs strip by strip; tensors between them never leave the chip.

    1. Kernels in a row are one kernel where every node of theirs can be cut: convolutions, pools, products with
       constants, attention (its scores are strips of rows; keys and values stay), elementwise work, Concat of channels.
       A reduction over a whole map (squeeze-and-excite) ends a run: what it reads stays on chip until the second one,
       if there is room.
    2. Rows that neighbouring strips share stay in line buffers, a skip tensor until its Add has read it. Where strips
       of full width do not fit, strips lie side by side too, and shared columns are made again.
    3. Which runs, and how high their strips are, is the shortest path through the cuts between kernels: at each cut
       the tensors alive stay on chip or do not, a run costs the larger of its computation and its transfers.
    4. Where engines hand over for nothing (array and vector unit of a TPU), nodes of different engines work on
       different strips at the same time: behind what it reads from another engine a node lags one strip, buffers hold
       so many more rows, and a run costs its busiest engine and the others' share of its first and last strips.
    5. The result is placed and prefetched like any schedule, and taken where its latency is lower.

    Declines when every tensor moves once at most already and no two engines could overlap, or a cache decides what
    stays on chip.
    Numerics: exact (the graph is not touched).

    References:
        M. Alwani et al., "Fused-Layer CNN Accelerators", MICRO 2016; L. Mei et al., "DeFiNES", HPCA 2023,
        arXiv:2212.05344.
    """

    name: ClassVar[str] = "blocks"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "run whole blocks as one kernel, strip by strip, where that is shorter"
    schedules: ClassVar[bool] = True

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Return the schedule with larger kernels, or nothing where it is not shorter."""
        level = ctx.target.on_chip if ctx.target else None
        if ctx.target is None or ctx.schedule is None or level is None or level.managed == "cache":
            return PassResult()
        model = ctx.model or GraphModel.of(graph, ctx.dims)
        model.memo.once(*PLAIN, lambda: ctx.schedule)
        before = estimate(model, ctx.target, ctx.schedule)
        again = _moves_again(before)
        if "activations" not in level.holds or not (again or _take_turns(before)):
            return PassResult()
        made = planned(graph, ctx, model, again)
        if made is None or estimate(model, ctx.target, made).latency_s >= before.latency_s * (1 - ROUNDING):
            return PassResult()
        return PassResult(tuple(_records(made)), made)


def _moves_again(now: Estimate) -> bool:
    """Whether a tensor between two kernels goes through memory, or two kernels load one of the caller's."""
    costing = now.costing
    pairs = list(zip(costing.kernels, costing.held.kept, strict=True))
    stored = any(o.name not in kept and o.name not in costing.outputs for k, kept in pairs for o in k.writes)
    loaded = [o.name for k, kept in pairs for o in k.reads if not o.constant and o.name not in kept]
    return stored or len(set(loaded)) < len(loaded)


def _take_turns(now: Estimate) -> bool:
    """Whether engines that could work at the same time, each on its strip, would win something by it."""
    costing = now.costing
    busy_s, engine = np.maximum(costing.prices.busy_s, costing.prices.inner_s), costing.prices.engine
    each = [float(busy_s[engine == at].sum()) for at in range(len(costing.target.engines))]
    pays = sum(each) - max(each) > _WORTH * now.device_s
    return pays and holds_weights(costing.target) and not costing.target.stack.handover_s


def planned(graph: gs.Graph, ctx: Context, model: GraphModel, turns: bool = True) -> Schedule | None:
    """The schedule with the best runs as kernels, placed and prefetched; None where no run is worth it.

    `turns`: runs whose engines take turns are of use too.
    """
    assert ctx.target is not None
    assert ctx.schedule is not None
    start = bare(ctx.schedule)
    choice = best_runs(Costing.of(model, ctx.target, start), turns)
    runs = choice.runs
    while runs:
        placed = _placed(with_runs(start, runs), model, ctx.target, choice.stay)
        lost = {k.nodes[0].output for k in placed.kernels if k.strip_rows is not None and not own_buffers(k)}
        runs = [run for run in runs if start.kernels[run.first].nodes[0].output not in lost]
        if not lost:
            again = PrefetchWeights().run(graph, replace(ctx, model=model, schedule=placed)).schedule
            return again or placed
    return None


def _placed(schedule: Schedule, model: GraphModel, target: Target, stay: Collection[str]) -> Schedule:
    costing = Costing.of(model, target, schedule)
    assert target.on_chip is not None
    return settle(schedule, model, target, choose(costing, target.on_chip.capacity_bytes, stay))


def with_runs(schedule: Schedule, runs: Sequence[Run]) -> Schedule:
    """The schedule with every run as one kernel."""
    starts = {run.first: run for run in runs}
    kernels: list[Kernel] = []
    at = 0
    while at < len(schedule.kernels):
        kernel, run = schedule.kernels[at], starts.get(at)
        if run is not None:
            members = schedule.kernels[at : run.last + 1]
            nodes = tuple(n for k in members for n in _on(k, kernel.engine, run.where.get(k.index)))
            halo: Halo = "both" if run.columns is None else "rows"
            kernel = replace(kernel, nodes=nodes, strip_rows=run.rows, strip_columns=run.columns, halo=halo)
        kernels.append(replace(kernel, index=len(kernels)))
        at = at + 1 if run is None else run.last + 1
    return replace(schedule, kernels=tuple(kernels))


def _on(kernel: Kernel, usual: str, asked: tuple[str, int] | None) -> Iterator[NodeRef]:
    """A kernel's nodes as part of another on engine `usual`; `asked`: engine and lag where engines overlap."""
    engine, lag = asked or (kernel.engine, 0)
    for node in kernel.nodes:
        yield replace(node, engine="" if engine == usual else engine, lag=lag)


@dataclass(frozen=True)
class _Way:
    """The shortest way to a cut: seconds, the way before, the run between, and whether what is alive is on chip."""

    seconds: float
    before: "_Way | None" = None
    run: Run | None = None
    on_chip: bool = False


@dataclass(frozen=True)
class Choice:
    """Runs of two kernels or more that pay, and the tensors that were taken to stay on chip between kernels."""

    runs: list[Run]
    stay: frozenset[str]


def best_runs(costing: Costing, turns: bool = True) -> Choice:
    """The runs on the shortest path through all cuts; without `turns` only those whose engines overlap."""
    search = _Search(costing, Runs(costing, turns))
    nowhere = _Way(float("inf"))
    ways: list[tuple[_Way, _Way]] = [(_Way(0.0), nowhere)]  # per cut: tensors off chip, tensors on chip
    for last in range(len(costing.kernels)):
        found = [nowhere, nowhere]
        for run in chain([search.single(last)], search.runs.ending_at(last)):
            search.extend(found, ways[run.first], run)
        ways.append((found[0], found[1]))
    way: _Way | None = ways[-1][0]
    chosen: list[Run] = []
    off_chip = np.zeros(len(costing.kernels) + 1, np.int64)  # cuts at which nothing stays
    while way is not None and way.run is not None:
        chosen.append(way.run)
        way.run.where = search.runs.where(way.run) if way.run.overlaps else {}
        off_chip[way.run.last + 1] = not way.on_chip
        way = way.before
    before = np.cumsum(off_chip)
    spans = {n: (at, search.runs.last_read[n]) for n, at in search.runs.made.items() if n in search.runs.last_read}
    stay = {n for n, (at, end) in spans.items() if n not in costing.outputs and before[end] == before[at]}
    return Choice([run for run in chosen[::-1] if run.first < run.last], frozenset(stay))


class _Search:
    """Prices of runs between two cuts, with tensors on chip at either or not."""

    def __init__(self, costing: Costing, runs: Runs) -> None:
        self.costing, self.runs = costing, runs
        target = costing.target
        assert target.on_chip is not None
        self.room = target.on_chip.capacity_bytes - _CLEARANCE
        self.rate, self.setup_s = effective_bytes_per_s(target.device_memory), target.device_memory.setup_s
        self.launch_s = target.stack.launch_s
        self.live = self._live()
        self.moved = costing.moved.total_bytes.tolist()
        self.least = costing.cut.least_bytes.tolist()
        self.busy = [
            max(busy, inner) for busy, inner in zip(costing.prices.busy_s, costing.prices.inner_s, strict=True)
        ]

    def _live(self) -> list[float]:
        """Bytes of tensors made before and read after each cut."""
        change = [0.0] * (len(self.costing.kernels) + 2)
        for name, at in self.runs.made.items():
            last = min(self.runs.last_read.get(name, at), len(self.costing.kernels) - 1)
            if last > at:
                change[at + 1] += self.runs.sizes[name]
                change[last + 1] -= self.runs.sizes[name]
        total, live = 0.0, []
        for step in change:
            total += step
            live.append(total)
        return live

    def single(self, at: int) -> Run:
        """One kernel as it is."""
        runs, kernel = self.runs, self.costing.kernels[at]
        made = [o.name for o in kernel.reads if o.name in runs.made]
        leaving = [o.name for o in kernel.writes if o.name not in self.costing.outputs]
        loaded = sum(runs.sizes[name] for name in made)
        stored = sum(runs.sizes[name] for name in leaving)
        fixed = max(self.moved[at] - loaded - stored, 0.0)
        return Run(
            at,
            at,
            0,
            None,
            tiles=1,
            busy_s=self.shared_s(at),
            held_bytes=self.least[at],
            loaded_bytes=loaded,
            fixed_bytes=fixed,
            stored_bytes=stored,
        )

    def shared_s(self, at: int) -> float:
        """Computation of one kernel, by all engines that can share it where they could overlap instead."""
        others = (each[0] for each in self.runs.links[at].others.values())
        return 1 / (1 / self.busy[at] + sum(1 / other for other in others if other)) if self.busy[at] else 0.0

    def extend(self, found: list[_Way], before: tuple[_Way, _Way], run: Run) -> None:
        """Better ways to the cut after a run."""
        if run.first < run.last and not (self.runs.turns or run.overlaps):
            return
        for came in (0, 1):
            if before[came].seconds == float("inf"):
                continue
            for goes in (0, 1):
                seconds = before[came].seconds + self.seconds(run, bool(came), bool(goes))
                if seconds < found[goes].seconds:
                    found[goes] = _Way(seconds, before[came], copy(run), bool(goes))

    def seconds(self, run: Run, came: bool, goes: bool) -> float:
        """What a run takes; inf where it does not fit."""
        live, after = self.live[run.first], self.live[run.last + 1]
        passing = max(after - run.stored_bytes, 0.0)
        held = run.held_bytes + run.fixed_buffers
        held += live if came else run.input_bytes
        held += (run.stored_bytes + (0.0 if came else passing)) if goes else run.output_bytes
        streams = run.first == run.last and not came and not goes  # whatever its size, some tiling of it fits
        if held > self.room and not streams:
            return float("inf")
        moved = run.fixed_bytes + run.final_bytes
        moved += (0.0 if came else run.loaded_bytes) + (0.0 if goes else run.stored_bytes)
        moved += passing if came != goes else 0.0
        transfer_s = moved / self.rate
        setups = run.tiles * ((0 if came else 1) + (0 if goes else 1)) * self.setup_s
        return max(run.length_s, transfer_s + setups) + _PREFER * transfer_s + self.launch_s


def _records(schedule: Schedule) -> list[Record]:
    return [
        Record(
            "block", kernel.nodes[0].output, kernel.nodes[0].op, True, removed=tuple(node.op for node in kernel.nodes)
        )
        for kernel in schedule.kernels
        if kernel.strip_rows is not None
    ]
