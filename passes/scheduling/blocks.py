"""A scheduling pass: kernels that run as one, depth-first, where that is shorter."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.cost_model import (
    Candidates,
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
from roofwright.passes.scheduling.engine_runs import CLEARANCE, PREFER, Assigned, alive, assigned, dealt, lowered, roams
from roofwright.passes.scheduling.placement import settled
from roofwright.passes.scheduling.prefetch import PrefetchWeights
from roofwright.passes.scheduling.scratchpad import ROUNDING, Scratchpad
from roofwright.targets import Target

Floats = NDArray[np.float64]
_WORTH = 0.02  # of the device time: what engines that take turns must lose for a search
PLAIN = ("plain", ())  # where the model's memo keeps the schedule without strips, which may still win on shared engines


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
    5. Where a hand-over costs time (NPU and GPU of a phone), the same path decides who computes (`engine_runs`): one
       engine, or two that share the samples of a batch, each running the strips of its own through buffers of its own.
    6. The result is placed and prefetched like any schedule, and taken where its latency is lower.

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
        pad = Scratchpad.of(graph, ctx)
        if pad is None:
            return PassResult()
        pad.model.memo.once(*PLAIN, lambda: pad.schedule)
        before = estimate(pad.model, pad.target, pad.schedule)
        again = _moves_again(before)
        if not pad.holds_activations or not (again or _take_turns(before)):
            return PassResult()
        made = planned(pad, again)
        if made is None or pad.latency_s(made) >= before.latency_s * (1 - ROUNDING):
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


def planned(pad: Scratchpad, turns: bool = True) -> Schedule | None:
    """The schedule with the best runs as kernels, placed and prefetched; None where no run is worth it.

    `turns`: runs whose engines take turns are of use too.
    """
    model, target, start = pad.model, pad.target, bare(pad.schedule)
    costing = Costing.of(model, target, start)
    choice: Choice | Assigned
    moves = roams(target)
    if moves:
        choice = assigned(costing, partial(_priced, start, model, target))
        start = dealt(start, choice.parts, target)
    else:
        choice = best_runs(costing, turns)
    runs = choice.runs
    while runs or moves:
        placed = _placed(with_runs(start, runs), model, target, choice.stay)
        lost = {k.nodes[0].output for k in placed.kernels if k.strip_rows is not None and not own_buffers(k)}
        runs = [run for run in runs if start.kernels[run.first].nodes[0].output not in lost]
        if not lost:
            return PrefetchWeights().planned(model, target, placed)
    return None


def _priced(start: Schedule, model: GraphModel, target: Target, choice: Assigned) -> Costing:
    return Costing.of(model, target, with_runs(dealt(start, choice.parts, target), choice.runs))


def _placed(schedule: Schedule, model: GraphModel, target: Target, stay: Collection[str]) -> Schedule:
    costing = Costing.of(model, target, schedule)
    return settled(lowered(schedule, costing) if roams(target) else schedule, costing, stay)


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
class Choice:
    """Runs of two kernels or more that pay, and the tensors that were taken to stay on chip between kernels."""

    runs: list[Run]
    stay: frozenset[str]


def best_runs(costing: Costing, turns: bool = True) -> Choice:
    """The runs on the shortest path through all cuts; without `turns` only those whose engines overlap."""
    runs, count = Runs(costing, turns), len(costing.kernels)
    made, last_read, found = runs.chain.made, runs.chain.last_read, runs.candidates
    chosen: list[Run] = []
    off_chip = np.zeros(count + 1, np.int64)  # cuts at which nothing stays
    for at, stays in _path(found, _seconds(runs), count):
        off_chip[found.last[at] + 1] = not stays
        if found.first[at] < found.last[at]:
            chosen.append(runs.run(at))
    before = np.cumsum(off_chip)
    spans = {name: (at, last_read[name]) for name, at in made.items() if name in last_read}
    stay = {n for n, (at, end) in spans.items() if n not in costing.outputs and before[end] == before[at]}
    return Choice(chosen[::-1], frozenset(stay))


def _path(found: Candidates, seconds: Floats, count: int) -> list[tuple[int, bool]]:
    """(run, whether what is alive after it stays on chip) on the shortest path, the last run first.

    `seconds`: of every run with what is alive before it off chip and on chip, and after it; shape (runs, 2, 2).
    """
    total = np.full((count + 1, 2), np.inf)  # per cut: tensors off chip, tensors on chip
    total[0, 0] = 0.0
    came = np.zeros((count + 1, 2), np.int64)
    begins = np.searchsorted(found.last, np.arange(count + 1)).tolist()
    for last in range(count):
        mine = slice(begins[last], begins[last + 1])
        ways = (total[found.first[mine], :, None] + seconds[mine]).reshape(-1, 2)
        came[last + 1] = np.argmin(ways, axis=0)
        total[last + 1] = ways[came[last + 1], (0, 1)]
    path, cut, stays = list[tuple[int, bool]](), count, 0
    while cut:
        run, before = divmod(int(came[cut, stays]), 2)
        path.append((begins[cut - 1] + run, bool(stays)))
        cut, stays = int(found.first[begins[cut - 1] + run]), before
    return path


def _seconds(runs: Runs) -> Floats:
    """What each run takes with what is alive before it off chip and on chip, and after it; inf: it does not fit."""
    run, target = runs.candidates, runs.chain.costing.target
    assert target.on_chip is not None
    memory, between = target.device_memory, alive(runs)
    live, after = between[run.first], between[run.last + 1]
    single, passing = run.first == run.last, np.maximum(after - run.stored_bytes, 0.0)
    found = np.full((len(live), 2, 2), np.inf)
    for came, goes in product((0, 1), (0, 1)):
        held = run.held_bytes + run.fixed_buffers
        held = held + (live if came else run.input_bytes)
        held = held + ((run.stored_bytes + (0.0 if came else passing)) if goes else run.output_bytes)
        streams = single & (not came and not goes)  # whatever its size, some tiling of it fits
        moved = run.fixed_bytes + run.final_bytes
        moved = moved + ((0.0 if came else run.loaded_bytes) + (0.0 if goes else run.stored_bytes))
        transfer_s = (moved + (passing if came != goes else 0.0)) / effective_bytes_per_s(memory)
        setups_s = run.tiles * (2 - came - goes) * memory.setup_s
        port_s = np.maximum(transfer_s, (transfer_s + setups_s) / memory.engines)
        length_s = np.maximum(run.length_s, port_s) + PREFER * transfer_s + target.stack.launch_s
        fits = (held <= target.on_chip.capacity_bytes - CLEARANCE) | streams
        found[:, came, goes] = np.where(fits & (single | runs.chain.turns | run.overlaps), length_s, np.inf)
    return found


def _records(schedule: Schedule) -> list[Record]:
    return [
        Record(
            "block", kernel.nodes[0].output, kernel.nodes[0].op, True, removed=tuple(node.op for node in kernel.nodes)
        )
        for kernel in schedule.kernels
        if kernel.strip_rows is not None
    ]
