"""Ways to run some kernels as one in groups of channels: size of the groups, who works on what, how long it takes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from roofwright.cost_model.channel_cost import Groups, channel_cost, units_of
from roofwright.cost_model.channel_maps import ChannelStack, NotByChannels
from roofwright.cost_model.channel_prices import GroupPrices, places, waits
from roofwright.cost_model.channel_steps import GroupPrice, Placed
from roofwright.cost_model.channel_traffic import group_runs, padded_bytes
from roofwright.cost_model.costing import Costing
from roofwright.cost_model.cutting import Grouped
from roofwright.cost_model.engines import has_lanes, lane_seconds
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.memory import effective_bytes_per_s
from roofwright.cost_model.passing import ALIGNMENT_BYTES
from roofwright.cost_model.pipelining import makespan, without_early
from roofwright.cost_model.stages import port_of
from roofwright.cost_model.traffic import holds_weights
from roofwright.targets import Systolic, Window

_SIZES = 3  # group sizes that are tried, doubling
_PARTS = (3, 4, 6, 12)  # groups that are tried, of units that are few
_GRANULE = 64  # channels, for engines without a width of their own
_PREFER = 0.02  # of a transfer's time counts even where computation hides it


@dataclass(frozen=True)
class Asked:
    """Kernels that may be one.

    Attributes:
        work: the one; `stack`: its nodes.
        own: engine of every node as it is.
        kept: operands that lie on chip anyway.
        early_s: loads that are done before.
        most_s: what it must be shorter than.
    """

    work: KernelWork
    stack: ChannelStack
    own: tuple[int, ...]
    kept: frozenset[str]
    early_s: float
    most_s: float


@dataclass(frozen=True)
class Way:
    """One way: channels per group, lags and engines of the nodes, seconds, and bytes on chip."""

    size: int
    lags: tuple[int, ...]
    on: tuple[int, ...]
    seconds: float
    bytes: float


class Ways:
    """Prices on one machine, for the kernels of one costing."""

    def __init__(self, costing: Costing) -> None:
        """Prepare."""
        self.costing, self.target = costing, costing.target
        self.rate = effective_bytes_per_s(self.target.device_memory)
        self.prices = costing.model.memo.once("group prices", (self.target,), lambda: GroupPrices(self.target))

    def of(self, asked: Mapping[tuple[int, ...], Asked]) -> dict[tuple[int, ...], list[Way]]:
        """For each, its ways, the shortest first."""
        tries = [(key, each) for key, ask in asked.items() for each in self._tries(ask)]
        prices = self.prices.of([each for _, each in tries])
        found: dict[tuple[int, ...], list[Way]] = {key: [] for key in asked}
        for (key, each), price in zip(tries, prices, strict=True):
            busy_s = max(price.busy_s, price.inner_s)
            way = self._way(asked[key], each, price, busy_s) if busy_s < asked[key].most_s else None
            if way is not None:
                found[key].append(way)
        return {key: sorted(ways, key=lambda way: (way.seconds, way.bytes)) for key, ways in found.items()}

    @cached_property
    def engine_s(self) -> list[list[float]]:
        """Seconds of every kernel on every engine: its nests on its own, elementwise work where it is fastest."""
        prices, engines, kernels = self.costing.prices, self.target.engines, self.costing.kernels
        busy, every, own = np.maximum(prices.busy_s, prices.inner_s), np.arange(len(kernels)), prices.engine
        nodes = [(at, node) for at, kernel in enumerate(kernels) for node in kernel.nodes if has_lanes(node)]
        owner = np.array([at for at, _ in nodes], np.int64)
        lanes = np.zeros((len(engines), len(kernels)))
        for row, engine in zip(lanes, engines, strict=True):
            np.add.at(row, owner, lane_seconds([node for _, node in nodes], engine, self.target))
        found = np.zeros_like(lanes)
        fastest = np.maximum(own, 0) if self.target.stack.handover_s else np.argmin(lanes, axis=0)
        alone = (prices.anchor < 0) | (fastest == own)
        beside = np.where(np.isfinite(lanes[fastest, every]), lanes[fastest, every], 0.0)
        # Where both work at once a kernel takes the longer of the two: nests take no more than that, and nothing is
        # known of them where elementwise work is longer.
        found[fastest, every] = np.where(alone, busy, beside)
        found[own, every] += np.where(alone | (busy <= beside * (1 + 1e-9)), 0.0, busy)
        rows: list[list[float]] = found.T.tolist()
        return rows

    # ---- what is tried
    def _tries(self, ask: Asked) -> Iterator[Placed]:
        stack = ask.stack
        for on in self._engines(stack, ask.own):
            lags = lags_of(stack, on)
            for size in self._sizes(stack):
                yield Placed(Groups(stack, size), lags, on)

    def _sizes(self, stack: ChannelStack) -> list[int]:
        """Whole tiles of the unit, doubling; where units are heads or tiles themselves, any even number of groups."""
        wide = [p.work.work.nests[0].out_channels for p in stack.parts if p.role == "opens"]
        wide += [p.work.work.nests[0].in_channels for p in stack.parts if p.role == "closes"]
        one = -(-self._granule * stack.extent // max(wide)) if wide else 1
        sizes = {one << i for i in range(_SIZES)} if one >= _SIZES else {-(-stack.extent // p) for p in _PARTS}
        return sorted(size for size in sizes if size < stack.extent)

    @cached_property
    def _granule(self) -> int:
        unit = self.target.engines[0].geometry
        if isinstance(unit, Systolic):
            return max(unit.rows, unit.cols)
        return unit.lanes if isinstance(unit, Window) else _GRANULE

    def _engines(self, stack: ChannelStack, own: Sequence[int]) -> list[tuple[int, ...]]:
        """Engines of all nodes: those of their kernels, and, where engines hand over for nothing, others that can."""
        nests = [at for at, part in enumerate(stack.parts) if part.work.work.nests]
        if self.target.stack.handover_s:
            return [(engine,) * len(own) for engine in sorted({own[at] for at in nests}) if engine >= 0]
        if min(own) < 0:
            return []
        lanes = self.prices.lanes_on(stack, own[nests[0]])
        thin = [at for at in nests if stack.parts[at].work.work.kind == "depthwise"]
        able = [e for e, engine in enumerate(self.target.engines) if engine.macs_per_clock and thin]
        asked = [own, *([e if at in thin else old for at, old in enumerate(own)] for e in able)]
        return list(dict.fromkeys(places(stack, each, lanes) for each in asked))

    # ---- prices
    def _way(self, ask: Asked, each: Placed, price: GroupPrice, busy_s: float) -> Way | None:
        """What it takes in the timeline; None where its partial sums do not fit or an engine cannot."""
        target = self.target
        try:
            unit = units_of(each.groups.stack, [target.engines[e].name for e in each.on], target)
            cost = channel_cost(each.groups, each.lags, ask.work, ask.kept, unit, target)
        except NotByChannels:
            return None
        weights = cost.weight_bytes + padded_bytes(cost, price, target)
        moved = (weights / self.rate, cost.input_bytes / self.rate, cost.stored_bytes / self.rate)
        tiles, grouped = cost.groups.count, Grouped(cost.first_bytes, cost.last_bytes)
        ahead = tiles if holds_weights(target) else 1
        runs = group_runs(grouped, (*moved, busy_s), tiles, ahead, 1.0, self.rate)
        span = makespan(without_early(runs, ask.early_s) if ask.early_s else runs, 2, 2, port_of(target))
        slack = ALIGNMENT_BYTES * sum(buffer.copies for buffer in cost.buffers)
        seconds = span.total_s + _PREFER * sum(moved)
        return Way(each.groups.size, each.lags, each.on, seconds, cost.footprint_bytes + slack)


def lags_of(stack: ChannelStack, on: Sequence[int]) -> tuple[int, ...]:
    """Of every node: one more than that of what it waits for, on another engine."""
    lags: list[int] = []
    for at, part in enumerate(stack.parts):
        before = [stack.made[name] for name in (*part.reads, *part.whole) if name in stack.made]
        lags.append(max((lags[b] + waits(part, on[b] != on[at]) for b in before), default=0))
    return tuple(lags)
