"""estimate(graph, target, schedule=None): what a network costs on a machine, and where the time goes.

Without a schedule the graph is run op by op as a good kernel library would: one kernel per node with its best lowering
and tiles, double-buffered inside, nothing kept on chip between kernels. With one, the schedule's kernels, resident
tensors and prefetches are priced on the same machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from roofwright.cost_model.ahead import KernelTiles, Room
from roofwright.cost_model.channel_cost import ChannelCost, channel_costs
from roofwright.cost_model.channel_prices import in_channels
from roofwright.cost_model.channel_traffic import by_channels
from roofwright.cost_model.cutting import Extents, Pipeline, extents, overflows, pipeline, read_tilings, tiling_of
from roofwright.cost_model.first_shift import hidden_s
from roofwright.cost_model.kernels import KernelWork, gather, op_by_op, scheduled, stored_outputs
from roofwright.cost_model.losses import Evaluations
from roofwright.cost_model.memory import effective_bytes_per_s
from roofwright.cost_model.model import GraphModel
from roofwright.cost_model.operands import Operands
from roofwright.cost_model.overhead import launch_seconds, link_seconds, request_seconds, throttled
from roofwright.cost_model.overlap import overlapped
from roofwright.cost_model.passing import Passing, Slice, roles_of
from roofwright.cost_model.pipelining import Makespan
from roofwright.cost_model.pricing import Prices, price
from roofwright.cost_model.residency import Residency, residency, resident_share
from roofwright.cost_model.roof import Roof, roof
from roofwright.cost_model.schedule import Schedule, Tiling
from roofwright.cost_model.shares import with_shares
from roofwright.cost_model.slices import Kept, slices
from roofwright.cost_model.stages import Feed, kernel_tiles, port_of
from roofwright.cost_model.steady import Steady, steady
from roofwright.cost_model.strip_cost import StripCost, strip_costs
from roofwright.cost_model.strip_traffic import stripped
from roofwright.cost_model.tight import Known, tighten
from roofwright.cost_model.timeline import Timeline, timeline
from roofwright.cost_model.traffic import (
    Traffic,
    holds_weights,
    is_cache,
    near_seconds,
    operand_bytes,
    queue_bytes,
    traffic,
)
from roofwright.cost_model.units import Floats, Ints
from roofwright.cost_model.work import Operand
from roofwright.targets import Engine, Simd, Target


@dataclass(frozen=True)
class Estimate:
    """Modelled cost of a graph on a target; seconds and bytes of one request of `batch` samples.

    Attributes:
        kernels: what runs together, in order; the arrays below have one entry for each.
        prices, moved, cut, evaluations: the parts the figures are made of.
        timeline: when everything happens at the burst clock, without launches and the link.
        latency_s: weights in device memory, input on the host, output back on the host.
        device_s: latency without the link.
        steady: back-to-back requests.
        link_bytes: input and output over the host link.
        on_chip_bytes: most bytes on chip at a time (explicit memories).
        clock_ratio: sustained over burst clock; 1.0 where the machine does not throttle.
        not_modelled: (node, op, reason) of work that is in no figure.
        costing: what the estimate was made from.
    """

    target: Target
    batch: int
    kernels: tuple[KernelWork, ...]
    prices: Prices
    moved: Traffic
    cut: Pipeline
    evaluations: Evaluations
    timeline: Timeline
    latency_s: float
    device_s: float
    steady: Steady
    link_bytes: float
    on_chip_bytes: float
    clock_ratio: float
    not_modelled: tuple[tuple[str, str, str], ...]
    costing: "Costing"

    @property
    def period_s(self) -> float:
        """From one of back-to-back requests to the next."""
        return self.steady.period_s

    @cached_property
    def bound(self) -> Roof:
        """Proven lower bounds on device time and off-chip bytes."""
        return self.costing.roof(self.timeline)

    @cached_property
    def assumptions(self) -> tuple[str, ...]:
        """What the figures take for granted, one sentence each."""
        return self.costing.model.assumptions(self.target)

    @property
    def macs(self) -> float:
        """Useful multiply-accumulates of the direct algorithm."""
        return float(self.prices.macs.sum())

    @property
    def off_chip_bytes(self) -> float:
        """Device memory and link, each transfer once."""
        return float(self.moved.total_bytes.sum()) + self.link_bytes

    @property
    def utilisation(self) -> float:
        """Share of the special unit's peak that the device time reaches."""
        return float(self.evaluations.ideal_s.sum()) / self.device_s if self.device_s else 0.0

    @property
    def gap(self) -> float:
        """Device time over its proven lower bound; 1.0 is the roof."""
        return self.device_s / self.bound.total_s if self.bound.total_s else 1.0

    @property
    def binding(self) -> tuple[str, ...]:
        """What each kernel waits for most: "compute", "memory", "launch"."""
        e = self.evaluations
        memory = e.roofline_s > e.busy_s
        launch = e.overhead_s > e.timeline_s
        return tuple(np.where(launch, "launch", np.where(memory, "memory", "compute")).tolist())


def estimate(
    model: GraphModel, target: Target, schedule: Schedule | None = None, *, resident_weights: bool = False
) -> Estimate:
    """Price a graph on a target.

    Args:
        model: the graph as the cost model sees it (`GraphModel.of(graph, dims)`).
        target: the machine.
        schedule: kernels to price; None prices the op-by-op baseline.
        resident_weights: weights stay on chip between requests where they fit; changes the period only.

    Returns:
        The estimate. Work that is not modelled, or that no engine can run, is listed and in no figure.
    """
    asked = (schedule, target, resident_weights)
    return model.memo.once("estimate", asked, lambda: Costing.of(model, target, schedule).estimate(resident_weights))


def _kernels(model: GraphModel, schedule: Schedule | None) -> tuple[KernelWork, ...]:
    partition = op_by_op(model.works) if schedule is None else scheduled(model.works, schedule)
    known: dict[tuple[int, ...], KernelWork] = model.memo.once("works", (), dict)
    found = tuple(gather(partition, model.works, model.outputs, known))
    return model.memo.once("partition", found, lambda: found)  # the same kernels, whoever wrote them down


def _operands(kernels: Sequence[KernelWork], target: Target) -> tuple[Operands, Ints]:
    """Operands of all kernels, and how each passes through the scratchpad."""
    operands = Operands.of(kernels, target)
    return operands, roles_of(kernels, operands, target)


def overlaps_memory(engine: Engine) -> bool:
    """Whether an engine computes while its operands travel; small in-order cores do not."""
    return not isinstance(engine.geometry, Simd) or engine.geometry.overlaps_memory


@dataclass(frozen=True)
class Costing:
    """Everything known before the timeline runs: what scheduling passes decide on, and `estimate` adds up.

    Attributes:
        model, target: what is priced, and on which machine.
        kernels: what runs together, in order; all else has one entry for each.
        outputs: tensors whose bytes the caller reads.
        prices, held, moved, size, passing, cut: compute, what stays on chip, off-chip bytes, extents of the loops,
            operands that need room, tiles.
        strips: position of a kernel that runs in strips of rows -> what they cost.
        channels: position of a kernel that runs in strips of channels -> what they cost.
    """

    model: GraphModel
    target: Target
    kernels: tuple[KernelWork, ...]
    outputs: frozenset[str]
    prices: Prices
    held: Residency
    moved: Traffic
    size: Extents
    passing: Passing
    cut: Pipeline
    strips: Mapping[int, StripCost]
    channels: Mapping[int, ChannelCost]

    @classmethod
    def of(cls, model: GraphModel, target: Target, schedule: Schedule | None = None) -> "Costing":
        """Group, price and cut the kernels of `schedule`, or of the op-by-op baseline; the same schedule once."""
        return model.memo.once("costing", (schedule, target), lambda: cls._of(model, target, schedule))

    @classmethod
    def _of(cls, model: GraphModel, target: Target, schedule: Schedule | None) -> "Costing":
        once = model.memo.once
        nodes = () if schedule is None else tuple(kernel.nodes for kernel in schedule.kernels)
        kernels = once("kernels", (schedule is None, *nodes), lambda: _kernels(model, schedule))
        outputs = once("outputs", (), lambda: stored_outputs(model.works, model.outputs))
        operands, roles = once("operands", (kernels, target), lambda: _operands(kernels, target))
        held = residency(kernels, outputs, schedule, target)
        kept = model.memo.same(held.kept)  # most schedules of one graph differ in less than what they keep
        least = once("traffic", (kernels, kept, target), lambda: traffic(kernels, target, kept, operands))
        strips = strip_costs(kernels, kept, schedule, model, target)
        channels = channel_costs(kernels, kept, schedule, model, target)
        floor_s = least.least_bytes / effective_bytes_per_s(target.device_memory)
        alone = (kernels, kept, target, *strips.values())
        prices = once("prices", alone, lambda: price(kernels, target, floor_s, strips, model.memo))
        prices = with_shares(prices, kernels, schedule, target, model.batch, strips)
        prices = overlapped(prices, kernels, schedule, strips, target, model.memo)
        prices, groups = in_channels(prices, schedule, channels, target, model.memo)
        moved = least.times(prices.off_chip_factor, target)
        size = once("size", (kernels, prices), lambda: extents(kernels, prices))
        written = read_tilings(schedule, size, target)
        through = (operands, roles, kept, prices.nests, prices.anchor)
        passing = once("passing", through, lambda: Passing.of(*through))
        cut = pipeline(moved, held.local_bytes, passing, size, prices.busy_s, target, written)
        tight = overflows(cut, passing, target) & ~np.isin(np.arange(len(kernels)), [*strips, *channels])
        known = once("tilings", (target,), Known)
        moved, cut = tighten(kernels, prices, held, moved, cut, target, written, tight, known)
        moved, cut = stripped(moved, cut, strips, held.local_bytes, prices.off_chip_factor)
        moved, cut = by_channels(moved, cut, channels, groups, held.local_bytes, target)
        return cls(model, target, kernels, outputs, prices, held, moved, size, passing, cut, strips, channels)

    def estimate(self, resident_weights: bool = False) -> Estimate:
        """Run the timeline and account for every second; see the module's `estimate`."""
        target, prices, moved = self.target, self.prices, self.moved
        burst, slower_s, ratio = throttled(prices, moved, target, lambda factor: self.timeline(slower=factor))
        link_bytes, link_s = link_seconds(self.model, target)
        evaluations = self._evaluations(burst, slower_s, sum(link_s))
        totals = evaluations.totals()
        device_s = totals[-1] - sum(link_s)
        steady_s = device_s - (self._saved(burst) if resident_weights else 0.0)
        return Estimate(
            target=target,
            batch=self.model.batch,
            kernels=self.kernels,
            prices=prices,
            moved=moved,
            cut=self.cut,
            evaluations=evaluations,
            timeline=burst,
            latency_s=totals[-1],
            device_s=device_s,
            steady=steady(self.kernels, self.outputs, steady_s, link_bytes, link_s, target),
            link_bytes=link_bytes,
            on_chip_bytes=self.on_chip_bytes,
            clock_ratio=ratio,
            not_modelled=self.model.not_modelled + self._unplaced(),
            costing=self,
        )

    def bytes_of(self, operand: Operand) -> float:
        """Bytes of an operand as the target stores it."""
        return operand_bytes(operand, self.target)

    @cached_property
    def apart(self) -> Mapping[int, StripCost | ChannelCost]:
        """Kernels that run in strips, of rows or of channels, and what these cost."""
        return {**self.strips, **self.channels}

    @property
    def on_chip_bytes(self) -> float:
        """Most bytes on chip at a time.

        Work without a loop nest that does not fit (a slice of a large map, rows of a large table) has no buffers in the
        schedule: it passes through in whatever pieces its engine takes, and fills the memory at most.
        """
        footprint = self.cut.footprint_bytes
        if self.target.on_chip is not None:
            through = np.minimum(footprint, self.target.on_chip.capacity_bytes)
            footprint = np.where(self.prices.anchor < 0, through, footprint)
        return float(np.max(footprint, initial=self.held.placed_bytes))

    @property
    def spare_bytes(self) -> Floats:
        """On-chip bytes that each kernel leaves free for weights of later ones; none where a cache decides."""
        on_chip = self.target.on_chip
        if not holds_weights(self.target):
            return np.full(len(self.kernels), float(queue_bytes(self.target)))
        if on_chip is None or is_cache(self.target):
            return np.zeros(len(self.kernels))
        return np.maximum(on_chip.capacity_bytes - self.cut.footprint_bytes, 0.0)

    def timeline(
        self,
        *,
        slower: float = 1.0,
        window: int = 0,
        rooms: Mapping[int, Room] | None = None,
        moved: Traffic | None = None,
    ) -> Timeline:
        """When everything happens.

        Args:
            slower: factor on all computation (a throttled clock).
            window: plan prefetches anew, so many kernels ahead; 0 follows the schedule's own plan.
            rooms: plan them where there is room for which kernel's weights.
            moved: other traffic than the costing's own.
        """
        usual = moved is None and slower == 1.0
        tiles = self.tiles if usual else self._tiles(moved or self.moved, slower)
        if not holds_weights(self.target):  # the queue fills by itself, in the order of the kernels
            window = len(tiles)
        known: dict[object, Makespan] = self.model.memo.once("spans", (), dict)
        plan = None if window else self.held.plan
        return timeline(tiles, port_of(self.target), window=window, plan=plan, rooms=rooms, known=known)

    @cached_property
    def tiles(self) -> list[KernelTiles]:
        """Kernels as the timeline takes them, with the costing's own traffic at the burst clock."""
        return self._tiles(self.moved, 1.0)

    def _tiles(self, moved: Traffic, slower: float) -> list[KernelTiles]:
        engines = [self.target.engines[e] if e >= 0 else None for e in self.prices.engine.tolist()]
        feed = Feed(
            busy_s=np.maximum(self.prices.busy_s, self.prices.inner_s) * slower,
            fill_s=hidden_s(self.kernels, self.prices, self.held.kept, self.model) * slower,
            engines=[engine.name if engine else "" for engine in engines],
            serial=[engine is not None and not overlaps_memory(engine) for engine in engines],
            spare_bytes=self.spare_bytes,
        )
        tiles = kernel_tiles(moved, self.cut, feed, self.target)
        for at in self.held.late:
            tiles[at] = replace(tiles[at], late=True)
        return tiles

    def tiling(self, at: int) -> Tiling | None:
        """How kernel `at` is cut at the on-chip memory; None where a cache decides, or strips."""
        on_chip = self.target.on_chip
        if on_chip is None or is_cache(self.target) or at in self.apart:
            return None
        return tiling_of(self.cut, at, self.size, on_chip.name)

    def slices(self, at: int) -> list[Slice]:
        """What kernel `at` alone holds on chip."""
        if at in self.apart:
            return list(self.apart[at].buffers)
        if at not in self._slices:
            kept = Kept(self.kernels[at], at, self.cut, self.size, self._input_shares[at], self.held.kept[at])
            self._slices[at] = slices(kept, self.target)
        return self._slices[at]

    @cached_property
    def _slices(self) -> dict[int, list[Slice]]:
        return {}

    @cached_property
    def _input_shares(self) -> list[float]:
        shares: list[float] = self.passing.input_share(self.cut.slice).tolist()
        return shares

    def roof(self, burst: Timeline) -> Roof:
        """Proven bounds; a kernel must move everything once itself, but what others' time carries for it."""
        elsewhere_s = burst.prefetched_s + np.append(burst.taken_s, 0.0)[1:]
        elsewhere_bytes = elsewhere_s * effective_bytes_per_s(self.target.device_memory)
        crossing_bytes = np.maximum(self.moved.least_bytes - elsewhere_bytes, 0.0)
        return roof(self.kernels, self.prices, self.target, self.outputs, crossing_bytes, self.model.maps)

    def _saved(self, usual: Timeline) -> float:
        """Seconds that a request saves when weights are on chip already, as far as they fit."""
        share = resident_share(self.moved, self.spare_bytes, self.target)
        weights = share * self.moved.weight_bytes
        left, kept = self.moved.weight_bytes - weights, self.moved.kept_bytes + weights
        return usual.total_s - self.timeline(moved=replace(self.moved, weight_bytes=left, kept_bytes=kept)).total_s

    def _evaluations(self, burst: Timeline, slower_s: Floats, link_s: float) -> Evaluations:
        prices, memory = self.prices, self.target.device_memory
        crossing = self.moved.total_bytes if memory.ports == 1 else self.moved.busiest_bytes
        moving_s = crossing / effective_bytes_per_s(memory) + near_seconds(self.moved, self.target)
        spans = np.diff(burst.end_s, prepend=0.0)
        launches = launch_seconds(self.kernels, prices, self.target)
        device_s = float(spans.sum() + slower_s.sum() + launches.sum())
        return Evaluations(
            ideal_s=prices.ideal_s,
            shaped_s=prices.padded_s,
            busy_s=prices.busy_s,
            roofline_s=np.maximum(np.maximum(prices.busy_s, prices.inner_s), moving_s),
            timeline_s=spans,
            overhead_s=slower_s + launches,
            link_s=link_s,
            request_s=request_seconds(self.kernels, prices, device_s, self.target),
        )

    def _unplaced(self) -> tuple[tuple[str, str, str], ...]:
        return tuple((self.kernels[p].key, self.kernels[p].nodes[0].op, why) for p, why in self.prices.unplaced)
