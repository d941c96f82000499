"""The last word on engines: which one runs a kernel, or which two run it together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations, product
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.cost_model import (
    Costing,
    GraphModel,
    Kernel,
    Schedule,
    Share,
    Splits,
    by_sample,
    effective_bytes_per_s,
)
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.passes.scheduling.blocks import PLAIN
from roofwright.passes.scheduling.engine_runs import able
from roofwright.passes.scheduling.kernels import Kernels
from roofwright.passes.scheduling.placement import PlaceTensors
from roofwright.passes.scheduling.prefetch import PrefetchWeights
from roofwright.passes.scheduling.scratchpad import Scratchpad
from roofwright.passes.scheduling.tiles import Tiles
from roofwright.targets import Target

Floats = NDArray[np.float64]
_NEVER = 1e9  # seconds: what no engine can do
_PARTS = 16  # lines are split at sixteenths
_ROUNDS = 4  # choices after what was chosen before was priced
_WRONG = 0.02  # of a kernel's time that a guess may lack


@dataclass(frozen=True)
class Way:
    """One way to run any kernel: `parts` of (engine, share of its rows); `samples`: at whole samples.

    `seconds` has one entry for every kernel.
    """

    seconds: Floats
    parts: tuple[tuple[int, Fraction], ...] = ()
    samples: bool = False


@dataclass(frozen=True)
class Engines(Pass):
    """one engine per kernel --> two engines, each with some rows of it, where the hand-overs are paid for.

    1. Whole samples: one engine takes k of them, the other the rest, kernel after kernel; nothing changes hands.
    2. Lines of one kernel's result: each engine takes so many that both end together; who comes after waits for both.
    3. The shortest path through kernels x ways chooses, hand-overs included; a kernel takes its slowest engine's time,
       and its transfers at least.

    4. Where hand-overs cost nothing (engines of one chip), lines of every kernel that two engines can run: depthwise
       convolutions on a TPU's array and vector unit. Elementwise work stays on its own engine.

    Declines where a cache decides what stays on chip. Kernels in strips keep the shares of samples that `blocks` gave
    them; where hand-overs cost nothing they are not shared, and the schedule without strips competes.
    Numerics: exact (the graph is not touched).

    References:
        L. Zeng et al., "CoEdge: Cooperative DNN Inference with Adaptive Workload Partitioning", IEEE/ACM Transactions
        on Networking 29(2), 2021, arXiv:2012.03257 (rows of a map over several processors).
    """

    name: ClassVar[str] = "engines"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "let two engines share a kernel's rows, where the hand-overs are paid for"
    schedules: ClassVar[bool] = True

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Return the schedule with shares, or nothing where no kernel gains."""
        pad = Scratchpad.of(graph, ctx)
        if pad is None or len(able(pad.target)) < 2 or not pad.schedule.kernels:
            return PassResult()
        started = [pad.schedule]
        if not pad.target.stack.handover_s and _worth_undoing(pad.schedule, pad.model, pad.target):
            plain = pad.model.memo.once(*PLAIN, lambda: _without_strips(graph, replace(ctx, model=pad.model)))
            started.append(plain)
        found = [shared(schedule, pad.model, pad.target) for schedule in started]
        made = min((each for each in found if each), key=pad.latency_s, default=None)
        if made is None or pad.latency_s(made) >= pad.latency_s(pad.schedule):
            return PassResult()
        return PassResult(tuple(_records(made)), made)


def shared(schedule: Schedule, model: GraphModel, target: Target) -> Schedule | None:
    """The schedule with the best shares; None where no kernel gains from any."""
    costing = Costing.of(model, target, schedule)
    splits = Splits.of(costing.kernels, costing.prices, target, costing.strips)
    found = list(ways(costing, schedule, splits))
    chosen = shortest(found, target.stack.handover_s)
    for _ in range(_ROUNDS):
        if not _corrected(chosen, splits):
            break
        chosen = shortest(found, target.stack.handover_s)
    if not target.stack.handover_s:
        chosen = _paying(chosen, splits)
    lines = splits.lines.tolist()
    rows = enumerate(zip(schedule.kernels, chosen, lines, strict=True))
    kernels = tuple(_shared(k, at, way, costing, many) for at, (k, way, many) in rows)
    moved = any(new.engine != old.engine for new, old in zip(kernels, schedule.kernels, strict=True))
    kernels = tuple(_lowered(kernels, schedule.kernels, splits)) if moved else kernels
    return replace(schedule, kernels=kernels) if kernels != schedule.kernels else None


def _lowered(kernels: Sequence[Kernel], before: Sequence[Kernel], splits: Splits) -> Iterator[Kernel]:
    """The kernels, those on another engine than before with the lowering that is the fastest there."""
    found, anchor = splits.table(np.ones(len(kernels))).algorithm, splits.prices.anchor.tolist()
    names = {engine.name: at for at, engine in enumerate(splits.target.engines)}
    for at, (kernel, old) in enumerate(zip(kernels, before, strict=True)):
        moved = kernel.engine != old.engine and anchor[at] >= 0
        yield replace(kernel, algorithm=str(found[names[kernel.engine], anchor[at]])) if moved else kernel


def _corrected(chosen: Sequence[Way], splits: Splits) -> bool:
    """Write into ways what kernels take that were chosen for less; whether there are any: a part may fill worse."""
    rows = [
        _rows(way, lines) / lines if len(way.parts) > 1 else 1.0
        for way, lines in zip(chosen, splits.lines.tolist(), strict=True)
    ]
    first = np.array([float(way.parts[0][1]) if way.samples else part for way, part in zip(chosen, rows, strict=True)])
    if np.all(first == 1):
        return False
    parts = (splits.seconds(first), splits.seconds(1 - first))
    wrong = False
    for at, way in enumerate(chosen):
        ends = [seconds[engine, at] for seconds, (engine, _) in zip(parts, way.parts, strict=False)]
        if len(ends) > 1 and max(ends) > way.seconds[at] * (1 + _WRONG):
            way.seconds[at], wrong = max(ends), True
    return wrong


def _rows(way: Way, lines: int) -> int:
    """Lines that the first engine takes of a kernel."""
    return min(max(int(np.rint(float(way.parts[0][1]) * lines)), 1), max(lines - 1, 1))


def _paying(chosen: Sequence[Way], splits: Splits) -> list[Way]:
    """Without shares that take no less than the kernel alone: a part of it may fill an engine badly."""
    first = np.array([float(way.parts[0][1]) for way in chosen])
    parts = (splits.seconds(first), splits.seconds(1 - first))
    alone = np.maximum(splits.prices.busy_s, splits.prices.inner_s)
    made = list(chosen)
    for at, way in enumerate(chosen):
        ends = [seconds[engine, at] for seconds, (engine, _) in zip(parts, way.parts, strict=False)]
        if len(ends) > 1 and max(ends) >= alone[at]:
            made[at] = Way(way.seconds, ((int(splits.prices.engine[at]), Fraction(1)),))
    return made


def _without_strips(graph: gs.Graph, ctx: Context) -> Schedule:
    """The schedule as it was before kernels were joined: in strips, engines cannot share them."""
    for pass_ in (Kernels(), Tiles(), PlaceTensors(), PrefetchWeights()):
        ctx = ctx.with_schedule(pass_.run(graph, ctx).schedule or ctx.schedule)
    assert ctx.schedule is not None
    return ctx.schedule


def _records(schedule: Schedule) -> list[Record]:
    shared_ = (kernel for kernel in schedule.kernels if kernel.shares)
    return [Record("share", kernel.nodes[0].output, kernel.nodes[0].op, True) for kernel in shared_]


def ways(costing: Costing, schedule: Schedule, splits: Splits) -> Iterator[Way]:
    """Every engine alone, pairs of engines at whole samples, and a pair with a kernel's lines to itself.

    A share of the rows is taken to cost that share of the time: the pipeline prices what is chosen for itself.
    """
    target, count = costing.target, len(costing.kernels)
    moving_s = costing.moved.total_bytes / effective_bytes_per_s(target.device_memory)
    alone = np.minimum(splits.seconds(np.ones(count)), _NEVER)
    fixed = np.isin(np.arange(count), list(costing.apart))
    bound = fixed if not target.stack.handover_s else np.isin(np.arange(count), list(costing.channels))
    priced = np.maximum(costing.prices.busy_s, costing.prices.inner_s)
    dealt = np.array([bool(kernel.shares) for kernel in schedule.kernels], bool)
    for engine, seconds in enumerate(alone):
        other = np.where(bound | (fixed & dealt), np.inf, seconds)
        here = np.where((costing.prices.engine == engine) & ~dealt, priced, other)
        yield Way(_at_least(here, moving_s), ((engine, Fraction(1)),))
    kept = np.zeros_like(alone) if target.stack.handover_s else np.minimum(splits.lanes_s, _NEVER)
    pairs = list(combinations(able(target), 2))
    batch = costing.model.batch
    parts = _sample_parts(batch) if target.stack.handover_s else []
    free = np.array([bool(parts) and by_sample(k, costing.model.maps, batch) for k in costing.kernels], bool)
    for part, (a, b) in product(parts, pairs):
        seconds = np.maximum(alone[a] * float(part), alone[b] * float(1 - part))
        cut = (target.engines[a].name, int(part * batch)), (target.engines[b].name, int((1 - part) * batch))
        as_is = np.array([tuple((s.engine, s.rows) for s in k.shares) == cut for k in schedule.kernels], bool)
        seconds = np.where(free & (~fixed | as_is), seconds, np.inf)
        yield Way(_at_least(seconds, moving_s), ((a, part), (b, 1 - part)), samples=True)
    lines = np.where(fixed, 1, splits.lines)
    for i, (a, b) in product(range(1, _PARTS), pairs):
        rows = np.clip(np.rint(lines * i / _PARTS), 1, np.maximum(lines - 1, 1)) / lines
        one = kept[a] + (alone[a] - kept[a]) * rows
        seconds = np.where(lines > 1, np.maximum(one, kept[b] + (alone[b] - kept[b]) * (1 - rows)), np.inf)
        yield Way(_at_least(seconds, moving_s), ((a, Fraction(i, _PARTS)), (b, Fraction(_PARTS - i, _PARTS))))


def _worth_undoing(schedule: Schedule, model: GraphModel, target: Target) -> bool:
    """Whether a kernel that runs in strips could run on two engines otherwise."""
    if all(kernel.strip_rows is None for kernel in schedule.kernels):
        return False
    if any(node.lag for kernel in schedule.kernels for node in kernel.nodes):
        return True  # engines that overlap instead
    costing = Costing.of(model, target, schedule)
    seconds = Splits.of(costing.kernels, costing.prices, target).seconds(np.ones(len(costing.kernels)))
    twice = np.isfinite(seconds[able(target)]).sum(axis=0) > 1
    return bool(twice[list(costing.apart)].any())


def _sample_parts(batch: int) -> list[Fraction]:
    """Shares of a batch in whole samples, at most seven of them."""
    return sorted({Fraction(max(1, round(batch * i / 8)), batch) for i in range(1, 8)} - {Fraction(1)})


def _at_least(seconds: Floats, moving_s: Floats) -> Floats:
    return np.where(seconds < _NEVER / 1e3, np.maximum(seconds, moving_s), _NEVER)  # a part of never is never


def shortest(found: Sequence[Way], handover_s: float) -> list[Way]:
    """The way of every kernel on the cheapest path; a way at lines hands over to every kernel, its own kind too."""
    cost = np.stack([way.seconds for way in found])
    stays = np.array([len(way.parts) == 1 or way.samples for way in found])
    total, came = cost[:, 0].copy(), np.zeros((cost.shape[1], len(found)), np.int64)
    for at in range(1, cost.shape[1]):
        best = int(np.argmin(total))
        stay = stays & (total <= total[best] + handover_s)
        came[at] = np.where(stay, np.arange(len(found)), best)
        total = np.where(stay, total, total[best] + handover_s) + cost[:, at]
    way, path = int(np.argmin(total)), []
    for at in range(cost.shape[1] - 1, -1, -1):
        path.append(found[way])
        way = int(came[at, way])
    return path[::-1]


def _shared(kernel: Kernel, at: int, way: Way, costing: Costing, lines: int) -> Kernel:
    """The kernel on its engines; the unit's own tiling goes where the engine changes."""
    if at in costing.channels or (at in costing.strips and (kernel.shares or not costing.target.stack.handover_s)):
        return kernel
    names = [costing.target.engines[engine].name for engine, _ in way.parts]
    shares: tuple[Share, ...] = ()
    if len(way.parts) > 1:
        first = way.parts[0][1]
        whole = costing.model.batch if way.samples else lines
        rows = int(first * whole) if way.samples else _rows(way, whole)
        shares = tuple(Share(engine=n, rows=r) for n, r in zip(names, (rows, whole - rows), strict=True))
    if names == [kernel.engine] and not kernel.shares:
        return kernel
    tilings = tuple(tiling for tiling in kernel.tilings if tiling.level != kernel.engine)
    return replace(
        kernel, engine=names[0], shares=shares, tilings=tilings if names[0] != kernel.engine else kernel.tilings
    )
