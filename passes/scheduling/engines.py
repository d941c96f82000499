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
    estimate,
)
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.passes.scheduling.blocks import PLAIN
from roofwright.passes.scheduling.kernels import Kernels
from roofwright.passes.scheduling.placement import PlaceTensors
from roofwright.passes.scheduling.prefetch import PrefetchWeights
from roofwright.passes.scheduling.tiles import Tiles
from roofwright.targets import Target

Floats = NDArray[np.float64]
_NEVER = 1e9  # seconds: what no engine can do
_PARTS = 16  # lines are split at sixteenths


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

    Declines where a cache decides what stays on chip. Kernels that run in strips are not shared: the schedule without
    strips competes.
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
        level = ctx.target.on_chip if ctx.target else None
        if ctx.target is None or ctx.schedule is None or level is None or level.managed == "cache":
            return PassResult()
        if len(_able(ctx.target)) < 2 or not ctx.schedule.kernels:
            return PassResult()
        model = ctx.model or GraphModel.of(graph, ctx.dims)
        started = [ctx.schedule]
        if _worth_undoing(ctx.schedule, model, ctx.target):
            plain = model.memo.once(*PLAIN, lambda: _without_strips(graph, replace(ctx, model=model)))
            started.append(plain)
        found = [shared(schedule, model, ctx.target) for schedule in started]
        made = min((each for each in found if each), key=lambda s: _latency_s(s, model, ctx), default=None)
        if made is None or _latency_s(made, model, ctx) >= _latency_s(ctx.schedule, model, ctx):
            return PassResult()
        return PassResult(tuple(_records(made)), made)


def shared(schedule: Schedule, model: GraphModel, target: Target) -> Schedule | None:
    """The schedule with the best shares; None where no kernel gains from any."""
    costing = Costing.of(model, target, schedule)
    chosen = shortest(list(ways(costing)), target.stack.handover_s)
    splits = Splits.of(costing.kernels, costing.prices, target)
    if not target.stack.handover_s:
        chosen = _paying(chosen, splits)
    if not any(len(way.parts) > 1 for way in chosen):
        return None
    lines = splits.lines.tolist()
    rows = enumerate(zip(schedule.kernels, chosen, lines, strict=True))
    return replace(schedule, kernels=tuple(_shared(k, at, way, costing, many) for at, (k, way, many) in rows))


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


def _latency_s(schedule: Schedule, model: GraphModel, ctx: Context) -> float:
    assert ctx.target is not None
    return estimate(model, ctx.target, schedule).latency_s


def _records(schedule: Schedule) -> list[Record]:
    shared_ = (kernel for kernel in schedule.kernels if kernel.shares)
    return [Record("share", kernel.nodes[0].output, kernel.nodes[0].op, True) for kernel in shared_]


def ways(costing: Costing) -> Iterator[Way]:
    """Every engine alone, pairs of engines at whole samples, and a pair with a kernel's lines to itself.

    A share of the rows is taken to cost that share of the time: the pipeline prices what is chosen for itself.
    """
    target, count = costing.target, len(costing.kernels)
    moving_s = costing.moved.total_bytes / effective_bytes_per_s(target.device_memory)
    splits = Splits.of(costing.kernels, costing.prices, target)
    alone = np.minimum(splits.seconds(np.ones(count)), _NEVER)
    fixed = np.isin(np.arange(count), list(costing.strips))
    priced = np.maximum(costing.prices.busy_s, costing.prices.inner_s)
    for engine, seconds in enumerate(alone):
        here = np.where(costing.prices.engine == engine, priced, np.where(fixed, np.inf, seconds))
        yield Way(_at_least(here, moving_s), ((engine, Fraction(1)),))
    kept = np.zeros_like(alone) if target.stack.handover_s else np.minimum(splits.lanes_s, _NEVER)
    pairs = list(combinations(_able(target), 2))
    batch = costing.model.batch
    parts = _sample_parts(batch) if target.stack.handover_s else []
    free = np.array([bool(parts) and by_sample(k, costing.model.maps, batch) for k in costing.kernels], bool) & ~fixed
    for part, (a, b) in product(parts, pairs):
        seconds = np.maximum(alone[a] * float(part), alone[b] * float(1 - part))
        yield Way(_at_least(np.where(free, seconds, np.inf), moving_s), ((a, part), (b, 1 - part)), samples=True)
    lines = np.where(fixed, 1, splits.lines)
    for i, (a, b) in product(range(1, _PARTS), pairs):
        rows = np.clip(np.rint(lines * i / _PARTS), 1, np.maximum(lines - 1, 1)) / lines
        one = kept[a] + (alone[a] - kept[a]) * rows
        seconds = np.where(lines > 1, np.maximum(one, kept[b] + (alone[b] - kept[b]) * (1 - rows)), np.inf)
        yield Way(_at_least(seconds, moving_s), ((a, Fraction(i, _PARTS)), (b, Fraction(_PARTS - i, _PARTS))))


def _able(target: Target) -> list[int]:
    """Engines that multiply."""
    return [e for e, engine in enumerate(target.engines) if engine.macs_per_clock]


def _worth_undoing(schedule: Schedule, model: GraphModel, target: Target) -> bool:
    """Whether a kernel that runs in strips could run on two engines otherwise."""
    if all(kernel.strip_rows is None for kernel in schedule.kernels):
        return False
    if any(node.lag for kernel in schedule.kernels for node in kernel.nodes):
        return True  # engines that overlap instead
    costing = Costing.of(model, target, schedule)
    seconds = Splits.of(costing.kernels, costing.prices, target).seconds(np.ones(len(costing.kernels)))
    twice = np.isfinite(seconds[_able(target)]).sum(axis=0) > 1
    return bool(twice[list(costing.strips)].any())


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
    if at in costing.strips:
        return kernel
    names = [costing.target.engines[engine].name for engine, _ in way.parts]
    shares: tuple[Share, ...] = ()
    if len(way.parts) > 1:
        first = way.parts[0][1]
        whole = costing.model.batch if way.samples else lines
        rows = int(first * whole) if way.samples else min(max(int(np.rint(float(first) * whole)), 1), whole - 1)
        shares = tuple(Share(engine=n, rows=r) for n, r in zip(names, (rows, whole - rows), strict=True))
    if names == [kernel.engine]:
        return kernel
    tilings = tuple(tiling for tiling in kernel.tilings if tiling.level != kernel.engine)
    return replace(
        kernel, engine=names[0], shares=shares, tilings=tilings if names[0] != kernel.engine else kernel.tilings
    )
