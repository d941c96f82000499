"""Kernels that several engines run together: each engine computes some rows of the result.

Rows are samples, or lines of the anchor's result (all samples one after the other), or, for a batch of small products,
products. The kernel takes as long as its slowest engine. Who takes over what is known from the shares alone: between
two kernels that are split at the same samples nothing changes hands; otherwise every change of who computes what costs
one hand-over.

Of a kernel in strips engines share the samples: every strip is of one image, so that an engine with a share f of the
images takes f times the seconds that it would need for all strips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from roofwright.cost_model.assume import Storage, storage_of
from roofwright.cost_model.engines import MatrixTable, has_lanes, lane_seconds, matrix_table
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.schedule import Kernel, Schedule, ScheduleError
from roofwright.cost_model.strip_cost import StripCost
from roofwright.cost_model.strip_prices import in_strips, lane_factors
from roofwright.cost_model.units import Floats, Ints, Nests
from roofwright.targets import Target

_TIMES = ("padded_s", "busy_s", "inner_s")
_LEAST = 1e-12  # a share of nothing, where even that cannot be done


@dataclass(frozen=True)
class Splits:
    """Prices of any share of any kernel on any engine.

    Attributes:
        kernels, target: what is priced, and where.
        prices: of the whole kernels.
        lanes_s: elementwise seconds of kernel k on engine e, shape (engines, kernels); inf where it cannot. Where
            engines hand over for nothing, all of it goes to the fastest, whatever the shares, and others have none.
        strips: kernel -> its strips, where it runs in such.
    """

    kernels: Sequence[KernelWork]
    target: Target
    prices: Prices
    lanes_s: Floats
    strips: Mapping[int, StripCost] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        kernels: Sequence[KernelWork],
        prices: Prices,
        target: Target,
        strips: Mapping[int, StripCost] | None = None,
    ) -> "Splits":
        """Prepare."""
        strips = strips or {}
        found = [(at, node) for at, kernel in enumerate(kernels) for node in kernel.nodes if has_lanes(node)]
        owner, nodes = np.array([at for at, _ in found], np.int64), [node for _, node in found]
        bare = np.array([kernel.nodes[0].work.nest is None for kernel in kernels], bool)
        factors = lane_factors(kernels, strips)
        each = zip(kernels, factors, strict=True)
        again = np.array([f for k, fs in each for n, f in zip(k.nodes, fs, strict=True) if has_lanes(n)])
        lanes_s = np.zeros((len(target.engines), len(kernels)))
        for row, engine in zip(lanes_s, target.engines, strict=True):
            np.add.at(row, owner, lane_seconds(nodes, engine, target) * again)
            row[bare & (not engine.lanes_per_clock)] = np.inf
        if not target.stack.handover_s:
            helps = np.arange(len(lanes_s))[:, None] == np.argmin(lanes_s, axis=0)
            lanes_s = np.where(helps, lanes_s, 0.0)
        return cls(kernels, target, prices, lanes_s, strips)

    @property
    def lines(self) -> Ints:
        """Lines into which each kernel's anchor can be split at most; 1 where it cannot; shape (kernels,)."""
        anchor, nests = self.prices.anchor, self.prices.nests
        if not len(nests):
            return np.ones(len(self.kernels), np.int64)
        many = np.where(_products(nests), nests.repeat, nests.batch * nests.out_h)
        return np.where(anchor >= 0, many[anchor], 1)

    def table(self, share: Floats) -> MatrixTable:
        """Every nest on every engine, `share` of its kernel's rows, shape (kernels,)."""
        nests, part = self.prices.nests, share[self.prices.owner]
        split = _products(nests)
        lines = np.maximum(np.ceil(nests.batch * nests.out_h * part - 1e-9).astype(np.int64), 1)
        piece = replace(
            nests,
            repeat=np.where(split, np.maximum(np.ceil(nests.repeat * part - 1e-9), 1), nests.repeat).astype(np.int64),
            batch=np.where(split, nests.batch, 1),
            out_h=np.where(split, nests.out_h, lines),
            in_h=np.where(split, nests.in_h, np.maximum(np.ceil(nests.batch * nests.in_h * part), 1)).astype(np.int64),
        )
        table = matrix_table(piece, *self._kinds, self.target)
        if not self.strips:
            return table
        at = np.flatnonzero(np.isin(self.prices.owner, list(self.strips)))
        for name in _TIMES:
            getattr(table, name)[:, at] = getattr(self._in_strips, name)[:, at] * np.maximum(part[at], _LEAST)
        return table

    @cached_property
    def _kinds(self) -> tuple[list[Storage], list[str]]:
        """Dtype and class of work of every nest."""
        nodes = [node for kernel in self.kernels for node, _ in kernel.nests]
        return [storage_of(node.work.reads[0].dtype, self.target) for node in nodes], [n.work.kind for n in nodes]

    @cached_property
    def _in_strips(self) -> MatrixTable:
        """Nests of kernels in strips, all samples; zeros elsewhere."""
        shape = (len(self.target.engines), len(self.prices.owner))
        padded_s, busy_s, inner_s, factor, fill_s = (np.zeros(shape) for _ in range(5))
        none = np.full(shape, "", object), np.zeros(0, np.int64)
        empty = MatrixTable(padded_s, busy_s, inner_s, factor, *none, fill_s)
        return in_strips(empty, self.prices.owner, *self._kinds, self.strips, self.target, alone=True)

    def seconds(self, share: Floats, field: str = "length_s", table: MatrixTable | None = None) -> Floats:
        """Seconds of every engine for `share` of every kernel's rows (their `table`), shape (engines, kernels)."""
        part = share if self.target.stack.handover_s else np.ones(len(share))
        found = np.where(np.isfinite(self.lanes_s), self.lanes_s, 0.0) * part
        found[~np.isfinite(self.lanes_s)] = np.inf
        for row, values in zip(found, getattr(table or self.table(share), field) * self.prices.copies, strict=True):
            np.add.at(row, self.prices.owner, values)
        return found


def _products(nests: Nests) -> np.ndarray:
    """Batches of products: no rows of pixels, several copies."""
    plain = (nests.kernel_h * nests.kernel_w == 1) & (nests.out_w == 1) & (nests.batch == 1)
    return np.asarray(plain & (nests.repeat > 1))


def with_shares(
    prices: Prices,
    kernels: Sequence[KernelWork],
    schedule: Schedule | None,
    target: Target,
    batch: int,
    strips: Mapping[int, StripCost],
) -> Prices:
    """Prices of a schedule that states shares: its engines hold, and shared kernels take their slowest engine's time.

    Raises:
        ScheduleError: an engine cannot run what is its share, or the target has no such engine.
    """
    if schedule is None or len(schedule.kernels) != len(kernels):
        return prices
    shared, bound = any(kernel.shares for kernel in schedule.kernels), target.stack.handover_s > 0
    if not shared and not bound:
        return prices
    names = {engine.name: at for at, engine in enumerate(target.engines)}
    asked = {at: parts for at, parts in _asked(schedule, names, prices, bound).items() if not _overlaps(strips, at)}
    if not asked:
        return replace(prices, state=states(schedule.kernels, prices.engine, batch)) if shared else prices
    splits = Splits.of(kernels, prices, target, {at: cost for at, cost in strips.items() if at in asked})
    found, algorithm = _slowest(asked, splits)
    for at, parts in asked.items():
        found["engine"][at] = parts[0][0]
        if not np.isfinite(found["busy_s"][at]):
            raise ScheduleError(f"{schedule.kernels[at]}: {schedule.kernels[at].engine} cannot run it")
    state = states(schedule.kernels, found["engine"], batch) if shared else None
    fill_s = np.where(np.isin(np.arange(len(kernels)), list(asked)), 0.0, prices.fill_s)
    return replace(prices, algorithm=algorithm, state=state, fill_s=fill_s, **found)


def _slowest(asked: Mapping[int, Sequence[tuple[int, float]]], splits: Splits) -> tuple[dict[str, Any], list[str]]:
    """Columns of prices in which kernels take the time of the slowest of their parts, and the lowering of the first."""
    prices = splits.prices
    found = {name: getattr(prices, name).copy() for name in (*_TIMES, "engine", "tile")}
    algorithm = list(prices.algorithm)
    for turn in range(max(len(parts) for parts in asked.values())):
        now = {at: parts[min(turn, len(parts) - 1)] for at, parts in asked.items()}
        share = np.ones(len(splits.kernels))
        share[list(now)] = [part for _, part in now.values()]
        priced = splits.table(share)
        for name in _TIMES:
            table, column = splits.seconds(share, name, priced), found[name]
            for at, (engine, _) in now.items():
                column[at] = table[engine, at] if not turn else max(column[at], table[engine, at])
        for at, (engine, _) in now.items():
            anchor = prices.anchor[at]
            if not turn and anchor >= 0:
                algorithm[at], found["tile"][at] = str(priced.algorithm[engine, anchor]), priced.tile[engine, anchor]
    return found, algorithm


def _overlaps(strips: Mapping[int, StripCost], at: int) -> bool:
    return at in strips and strips[at].overlaps


def _asked(
    schedule: Schedule, names: Mapping[str, int], prices: Prices, bound: bool
) -> dict[int, list[tuple[int, float]]]:
    """Kernel -> (engine, share of the rows) of each part, where that is not what is priced.

    Kernels that nobody shares are `bound` to their engine where a hand-over costs time, if they name one.
    """
    found: dict[int, list[tuple[int, float]]] = {}
    for at, kernel in enumerate(schedule.kernels):
        total = sum(share.rows for share in kernel.shares)
        parts = [(share.engine, share.rows / total) for share in kernel.shares] or [(kernel.engine, 1.0)]
        if not kernel.shares and not (bound and kernel.engine):
            continue
        for name, _ in parts:
            if name not in names:
                raise ScheduleError(f"{kernel}: the target has no engine {name}")
        if len(parts) > 1 or prices.engine[at] not in (-1, names[kernel.engine]):
            found[at] = [(names[name], part) for name, part in parts]
    return found


def states(kernels: Sequence[Kernel], engine: Ints, batch: int) -> Ints:
    """Who computes what, as a number per kernel: between equal ones nothing changes hands; shape (kernels,)."""
    seen: dict[object, int] = {}
    out = np.zeros(len(kernels), np.int64)
    for at, kernel in enumerate(kernels):
        key: object = int(engine[at])
        if kernel.shares:
            total = sum(share.rows for share in kernel.shares)
            cuts = tuple((share.engine, Fraction(share.rows, total)) for share in kernel.shares)
            whole = all((part * batch).denominator == 1 for _, part in cuts)
            key = cuts if whole else (at,)
        out[at] = seen.setdefault(key, len(seen))
    return out
