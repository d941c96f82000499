"""A scheduling pass: kernels that run as one, group of channels by group of channels, where that is shorter."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import onnx_graphsurgeon as gs

from roofwright.cost_model import (
    ChannelRun,
    ChannelRuns,
    Costing,
    Kernel,
    Schedule,
    Timeline,
    estimate,
)
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.passes.scheduling.buffers import bare, own_buffers
from roofwright.passes.scheduling.placement import settled
from roofwright.passes.scheduling.prefetch import PrefetchWeights
from roofwright.passes.scheduling.scratchpad import ROUNDING, Scratchpad
from roofwright.targets import Target

_TRIES = 3  # schedules that are priced as a whole
_WORTH = 3e-3  # of the device time: what all runs together must gain to be placed


@dataclass(frozen=True)
class FuseChannels(Pass):
    """kernel i; ...; kernel j --> one kernel that runs group of channels by group of channels.

    1. A product opens it (its input stays whole, its weights come by output channels), a product closes it (its
       weights come by input channels, its partial sums stay whole), or both; between them everything that keeps
       channels apart: depthwise convolutions, pools, elementwise work. There is no halo, weights are read once, and
       the wide tensors between the two are never on chip whole.
    2. Attention: groups are heads; scores, softmax and values of different heads at the same time, with the
       projections before and after them where these fit.
    3. Where engines hand over for nothing, nodes of different engines work on different groups at the same time:
       behind what it waits for on another engine a node lags one group.
    4. Which runs, and how large their groups are, is the shortest way through the kernels, under the timeline's price
       of each run; groups are whole tiles of the unit.
    5. The result is placed and prefetched like any schedule, and taken where its latency is lower; runs that are no
       shorter there than their kernels were are given up.

    Declines where channels mix (a Concat, a shuffle, a normalisation over them), where what lies
    between is read by others that need it whole, where partial sums do not fit, and where a cache decides what stays
    on chip.
    Numerics: exact (the graph is not touched).

    References:
        M. Alwani et al., "Fused-Layer CNN Accelerators", MICRO 2016; the order of loops is that of T. Dao et al.,
        "FlashAttention", NeurIPS 2022, arXiv:2205.14135, with channels in place of keys.
    """

    name: ClassVar[str] = "channels"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "run products and what is between them as one kernel, by groups of channels, where shorter"
    schedules: ClassVar[bool] = True

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Return the schedule with larger kernels, or nothing where it is not shorter."""
        pad = Scratchpad.of(graph, ctx)
        made = planned(pad) if pad is not None and pad.holds_activations else None
        return PassResult() if made is None else PassResult(tuple(_records(made)), made)


def planned(pad: Scratchpad) -> Schedule | None:
    """The schedule with the best runs as kernels, placed and prefetched; None where none is shorter."""
    model, target, schedule = pad.model, pad.target, pad.schedule
    before, kernels = estimate(model, target, schedule), schedule.kernels
    found = ChannelRuns(before.costing, before.timeline, schedule).best()
    found = [run for run in found if not any(k.shares for k in kernels[run.first : run.last + 1])]
    runs = shortest(found, len(kernels))
    start = bare(schedule)
    stay = {buffer.tensor for kernel in kernels for buffer in kernel.resident}
    for _ in range(_TRIES):
        if sum(run.before_s - run.seconds for run in runs) < _WORTH * before.device_s:
            return None
        joined = with_groups(start, runs, target)
        placed = settled(joined, Costing.of(model, target, joined), stay)
        after = Costing.of(model, target, placed).timeline(window=len(placed.kernels))
        good = [run for run in runs if _shorter(run, runs, placed, after)]
        if len(good) == len(runs):
            made = PrefetchWeights().planned(model, target, placed)
            return made if pad.latency_s(made) < before.latency_s * (1 - ROUNDING) else None
        bad = {(run.first, run.last) for run in runs} - {(run.first, run.last) for run in good}
        found = [run for run in found if (run.first, run.last) not in bad]
        runs = shortest(found, len(kernels))
    return None


def shortest(found: Sequence[ChannelRun], count: int) -> list[ChannelRun]:
    """Runs that do not overlap and gain most together."""
    ending: dict[int, list[ChannelRun]] = {}
    for run in found:
        ending.setdefault(run.last, []).append(run)
    gain, came = [0.0] * (count + 1), list[ChannelRun | None]([None] * (count + 1))
    for at in range(count):
        gain[at + 1] = gain[at]
        for run in ending.get(at, ()):
            if gain[run.first] + run.before_s - run.seconds > gain[at + 1]:
                gain[at + 1], came[at + 1] = gain[run.first] + run.before_s - run.seconds, run
    chosen, at = list[ChannelRun](), count
    while at:
        best = came[at]
        chosen += [] if best is None else [best]
        at = at - 1 if best is None else best.first
    return chosen[::-1]


def with_groups(schedule: Schedule, runs: Sequence[ChannelRun], target: Target) -> Schedule:
    """The schedule with every run as one kernel."""
    starts = {run.first: run for run in runs}
    kernels: list[Kernel] = []
    at = 0
    while at < len(schedule.kernels):
        kernel, run = schedule.kernels[at], starts.get(at)
        if run is not None:
            kernel = _joined(schedule.kernels[at : run.last + 1], run, target)
        kernels.append(replace(kernel, index=len(kernels)))
        at = at + 1 if run is None else run.last + 1
    return replace(schedule, kernels=tuple(kernels))


def _joined(members: Sequence[Kernel], run: ChannelRun, target: Target) -> Kernel:
    usual = target.engines[run.engines[0]].name
    refs = (node for kernel in members for node in kernel.nodes)
    names = (target.engines[engine].name for engine in run.engines)
    nodes = tuple(
        replace(node, engine="" if name == usual else name, lag=lag)
        for node, name, lag in zip(refs, names, run.lags, strict=True)
    )
    return replace(members[0], nodes=nodes, engine=usual, strip_channels=run.size)


def _shorter(run: ChannelRun, runs: Sequence[ChannelRun], made: Schedule, after: Timeline) -> bool:
    """Whether a run is shorter as one kernel, in its place in the schedule."""
    at = run.first - sum(other.last - other.first for other in runs if other.first < run.first)
    span_s = float(after.end_s[at] - after.start_s[at])
    return bool(own_buffers(made.kernels[at])) and span_s < run.before_s


def _records(schedule: Schedule) -> list[Record]:
    return [
        Record(
            "channels",
            kernel.nodes[0].output,
            kernel.nodes[0].op,
            True,
            removed=tuple(node.op for node in kernel.nodes),
        )
        for kernel in schedule.kernels
        if kernel.strip_channels is not None
    ]
