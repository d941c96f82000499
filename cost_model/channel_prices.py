"""Compute time of kernels that run group of channels by group of channels.

Every node's part of a group is priced as a nest of its own: a range of output channels of a product that opens, of the
reduction of one that closes, of the copies of a grouped convolution or of heads. Slices of whole tiles of a systolic
array have as many folds together as the whole. Steps are as long as the busiest engine (`channel_steps`); what follows
a product that closes runs with its last group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from roofwright.cost_model.channel_cost import ChannelCost
from roofwright.cost_model.channel_maps import ChannelStack, Part
from roofwright.cost_model.channel_steps import GroupPrice, Pieces, Placed
from roofwright.cost_model.engines import MatrixTable, array_ends, has_lanes, lane_seconds, matrix_table
from roofwright.cost_model.memo import Memo
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.schedule import Kernel, Schedule, ScheduleError
from roofwright.cost_model.systolic import Ends
from roofwright.cost_model.units import Floats, Ints, Nests
from roofwright.targets import Target


def in_channels(
    prices: Prices, schedule: Schedule | None, channels: Mapping[int, ChannelCost], target: Target, memo: Memo
) -> tuple[Prices, dict[int, GroupPrice]]:
    """Prices with those of kernels in groups of channels, and these alone.

    Raises:
        ScheduleError: an engine is not the target's, cannot run its node, or waits for another within a step.
    """
    if not channels or schedule is None:
        return prices, {}
    known = memo.once("group prices", (target,), lambda: GroupPrices(target))
    asked = [Placed(c.groups, c.lags, known.engines_of(schedule.kernels[at], c)) for at, c in channels.items()]
    found = dict(zip(channels, known.of(asked), strict=True))
    columns = {name: getattr(prices, name).copy() for name in ("padded_s", "busy_s", "inner_s", "fill_s", "engine")}
    algorithm, factor = list(prices.algorithm), prices.off_chip_factor.copy()
    for (at, each), placed in zip(found.items(), asked, strict=True):
        if not np.isfinite(each.busy_s):
            raise ScheduleError(f"{schedule.kernels[at]}: one of its engines cannot run its nodes")
        for name in ("padded_s", "busy_s", "inner_s", "fill_s"):
            columns[name][at] = getattr(each, name)
        columns["engine"][at], algorithm[at], factor[at] = placed.on[0], each.algorithm, 1.0
    return replace(prices, algorithm=algorithm, off_chip_factor=factor, **columns), found


def group_steps(kernel: Kernel, cost: ChannelCost, target: Target) -> Floats:
    """Busy seconds of every engine in every step of a scheduled kernel, shape (engines, steps)."""
    prices = GroupPrices(target)
    return prices.steps(Placed(cost.groups, cost.lags, prices.engines_of(kernel, cost)))


def places(stack: ChannelStack, asked: Sequence[int], lanes: int) -> tuple[int, ...]:
    """Where every node runs: products where they are asked to, elementwise work on `lanes`, moves where they begin."""
    on: list[int] = []
    for part, engine in zip(stack.parts, asked, strict=True):
        before = [on[stack.made[name]] for name in part.reads if name in stack.made]
        moved = before[0] if part.moves and before else lanes
        on.append(engine if part.work.work.nest else moved)
    return tuple(on)


def waits(part: Part, elsewhere: bool) -> bool:
    """Whether a node must be a group behind what it reads: on another engine, elementwise work apart, which streams."""
    return elsewhere and not part.streams


class GroupPrices:
    """Prices on one target; what looks alike is priced once."""

    def __init__(self, target: Target) -> None:
        """Nothing is known."""
        self.target = target
        self._prices: dict[object, GroupPrice] = {}
        self._lanes: dict[object, Floats] = {}
        self._keys: dict[int, tuple[ChannelStack, object]] = {}

    def of(self, asked: Sequence[Placed]) -> list[GroupPrice]:
        """Of each."""
        keys = [(self._key(each.groups.stack), each.groups.size, each.lags, each.on) for each in asked]
        new = {key: each for key, each in zip(keys, asked, strict=True) if key not in self._prices}
        tables = [Pieces(each, self.target) for each in new.values()]
        if not tables:
            return [self._prices[key] for key in keys]
        priced, ends, start = *self._table(tables), 0
        for key, table in zip(new, tables, strict=True):
            mine = np.arange(start, start + len(table.nests))
            here = {row: _taken(each, mine) for row, each in ends.items()}
            self._prices[key] = table.price(priced.take(mine), self._part_s(table.each), here)
            start += len(table.nests)
        return [self._prices[key] for key in keys]

    def steps(self, placed: Placed) -> Floats:
        """Busy seconds of every engine in every step of a kernel, shape (engines, steps)."""
        table = Pieces(placed, self.target)
        priced, ends = self._table([table])
        return table.steps(priced, self._part_s(placed), ends)

    def _table(self, tables: Sequence[Pieces]) -> tuple[MatrixTable, dict[int, Ends]]:
        """All nests on all engines, and what they share where an engine chains them."""
        nests = Nests.of([nest for table in tables for nest in table.nests])
        storage = [held for table in tables for held in table.storage]
        priced = matrix_table(nests, storage, [kind for table in tables for kind in table.classes], self.target)
        rows = np.flatnonzero(priced.fill_s.any(axis=1)).tolist()
        return priced, {row: array_ends(nests, storage, self.target.engines[row], self.target) for row in rows}

    def lanes_on(self, stack: ChannelStack, engine: int) -> int:
        """The engine of elementwise work: the fastest one at it where handing over is free, else the kernel's own."""
        if self.target.stack.handover_s or not any(has_lanes(part.work) for part in stack.parts):
            return engine
        return int(np.argmin(self._whole_s(stack).sum(axis=1)))

    def engines_of(self, kernel: Kernel, cost: ChannelCost) -> tuple[int, ...]:
        """Where every node of a scheduled kernel runs.

        Raises:
            ScheduleError: the target has no such engine, or one waits for another within a step.
        """
        names = {engine.name: at for at, engine in enumerate(self.target.engines)}
        asked = [node.engine or kernel.engine for node in kernel.nodes]
        for name in asked:
            if name not in names:
                raise ScheduleError(f"{kernel}: the target has no engine {name}")
        stack = cost.groups.stack
        on = places(stack, [names[name] for name in asked], self.lanes_on(stack, names[kernel.engine]))
        for name, before in stack.made.items():
            for at in stack.readers.get(name, ()):
                if waits(stack.parts[at], on[before] != on[at]) and cost.lags[before] == cost.lags[at]:
                    who = [self.target.engines[on[part]].name for part in (at, before)]
                    raise ScheduleError(f"{kernel}: {who[0]} waits for {who[1]} within a step")
        return on

    def _key(self, stack: ChannelStack) -> object:
        """What prices depend on."""
        if id(stack) not in self._keys:
            parts = tuple(
                (p.role, w.nests, w.lane_ops, w.special_ops, w.kind, (w.reads or w.writes)[0].dtype)
                for p in stack.parts
                for w in (p.work.work,)
            )
            self._keys[id(stack)] = (stack, (parts, stack.extent))  # the stack stays alive, so its id stays its own
        return self._keys[id(stack)][1]

    def _whole_s(self, stack: ChannelStack) -> Floats:
        """Elementwise seconds of all of every node on every engine, shape (engines, nodes)."""
        key = self._key(stack)
        if key not in self._lanes:
            here = [at for at, part in enumerate(stack.parts) if has_lanes(part.work)]
            found = np.zeros((len(self.target.engines), len(stack.parts)))
            for row, engine in zip(found, self.target.engines, strict=True):
                row[here] = lane_seconds([stack.parts[at].work for at in here], engine, self.target)
            self._lanes[key] = found
        return self._lanes[key]

    def _part_s(self, each: Placed) -> Floats:
        """Elementwise seconds, shape (engines, nodes, groups)."""
        stack, count = each.groups.stack, each.groups.count
        own = next((on for on, part in zip(each.on, stack.parts, strict=True) if part.work.work.nest), each.on[0])
        engine = self.lanes_on(stack, own)
        share = np.full(count, each.groups.size / stack.extent)
        share[-1] = each.groups.last_size / stack.extent
        last = (np.arange(count) == count - 1).astype(np.float64)
        follows = np.array([part.role == "follows" for part in stack.parts])
        found = np.zeros((len(self.target.engines), len(stack.parts), count))
        part = np.where(follows[:, None], last, share)
        np.multiply(self._whole_s(stack)[engine][:, None], part, out=found[engine], where=part > 0)  # inf: it cannot
        return found


def _taken(ends: Ends, at: Ints) -> Ends:
    return Ends(ends.fill_s[at], ends.wait_s[at], ends.drain_s[at], ends.folds[at])
