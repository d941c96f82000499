"""Kernels that several engines run together: each engine computes some rows of the result.

Rows are samples, or lines of the anchor's result (all samples one after the other), or, for a batch of small products,
products. The kernel takes as long as its slowest engine. Who takes over what is known from the shares alone: between
two kernels that are split at the same samples nothing changes hands; otherwise every change of who computes what costs
one hand-over.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.engines import MatrixTable, has_lanes, lane_seconds, matrix_table
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.schedule import Kernel, Schedule, ScheduleError
from roofwright.cost_model.strip_maps import Maps
from roofwright.cost_model.units import Floats, Ints, Nests
from roofwright.targets import Target


@dataclass(frozen=True)
class Splits:
    """Prices of any share of any kernel on any engine.

    Attributes:
        kernels, target: what is priced, and where.
        prices: of the whole kernels.
        lanes_s: elementwise seconds of kernel k on engine e, shape (engines, kernels); inf where it cannot. Where
            engines hand over for nothing, all of it goes to the fastest, whatever the shares, and others have none.
    """

    kernels: Sequence[KernelWork]
    target: Target
    prices: Prices
    lanes_s: Floats

    @classmethod
    def of(cls, kernels: Sequence[KernelWork], prices: Prices, target: Target) -> "Splits":
        """Prepare."""
        found = [(at, node) for at, kernel in enumerate(kernels) for node in kernel.nodes if has_lanes(node)]
        owner, nodes = np.array([at for at, _ in found], np.int64), [node for _, node in found]
        bare = np.array([kernel.nodes[0].work.nest is None for kernel in kernels], bool)
        lanes_s = np.zeros((len(target.engines), len(kernels)))
        for row, engine in zip(lanes_s, target.engines, strict=True):
            np.add.at(row, owner, lane_seconds(nodes, engine, target))
            row[bare & (not engine.lanes_per_clock)] = np.inf
        if not target.stack.handover_s:
            helps = np.arange(len(lanes_s))[:, None] == np.argmin(lanes_s, axis=0)
            lanes_s = np.where(helps, lanes_s, 0.0)
        return cls(kernels, target, prices, lanes_s)

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
        nodes = [node for kernel in self.kernels for node, _ in kernel.nests]
        storage = [storage_of(node.work.reads[0].dtype, self.target) for node in nodes]
        return matrix_table(piece, storage, [node.work.kind for node in nodes], self.target)

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
    strips: Collection[int],
) -> Prices:
    """Prices of a schedule that states shares: its engines hold, and shared kernels take their slowest engine's time.

    Raises:
        ScheduleError: an engine cannot run what is its share, or the target has no such engine.
    """
    if schedule is None or len(schedule.kernels) != len(kernels) or not any(k.shares for k in schedule.kernels):
        return prices
    names = {engine.name: at for at, engine in enumerate(target.engines)}
    splits = Splits.of(kernels, prices, target)
    asked = _asked(schedule, names, prices, strips, bound=target.stack.handover_s > 0)
    engine, columns = prices.engine.copy(), {f: getattr(prices, f).copy() for f in ("padded_s", "busy_s", "inner_s")}
    for round_of in range(max((len(parts) for parts in asked.values()), default=0)):
        share = np.ones(len(kernels))
        for at, parts in asked.items():
            share[at] = parts[min(round_of, len(parts) - 1)][1]
        priced = splits.table(share)
        for field, column in columns.items():
            table = splits.seconds(share, field, priced)
            for at, parts in asked.items():
                taken = table[parts[min(round_of, len(parts) - 1)][0], at]
                column[at] = taken if not round_of else max(column[at], taken)
    for at, parts in asked.items():
        engine[at] = parts[0][0]
        if not np.isfinite(columns["busy_s"][at]):
            raise ScheduleError(f"{schedule.kernels[at]}: {schedule.kernels[at].engine} cannot run it")
    return replace(prices, engine=engine, state=states(schedule.kernels, engine, batch), **columns)


def _asked(
    schedule: Schedule, names: Mapping[str, int], prices: Prices, strips: Collection[int], bound: bool
) -> dict[int, list[tuple[int, float]]]:
    """Kernel -> (engine, share of the rows) of each part, where that is not what is priced; strips stay as they are.

    Kernels that nobody shares are `bound` to their engine where a hand-over costs time.
    """
    found: dict[int, list[tuple[int, float]]] = {}
    for at, kernel in enumerate(schedule.kernels):
        for name in (kernel.engine, *(share.engine for share in kernel.shares)):
            if name not in names:
                raise ScheduleError(f"{kernel}: the target has no engine {name}")
        total = sum(share.rows for share in kernel.shares)
        if kernel.shares:
            found[at] = [(names[share.engine], share.rows / total) for share in kernel.shares]
        elif bound and at not in strips and prices.engine[at] not in (-1, names[kernel.engine]):
            found[at] = [(names[kernel.engine], 1.0)]
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


def by_sample(kernel: KernelWork, maps: Maps, batch: int) -> bool:
    """Whether every sample of a kernel's results needs that sample of its operands alone, constants aside."""
    for node in kernel.nodes:
        if any((maps.shape(t) or (0,))[0] != batch for t in node.node.outputs if t.name):
            return False
        step = maps.step(node, "planes") or maps.step(node, "tokens")
        if step is None and node.op != "GlobalAveragePool":
            return False
        shapes = {maps.alias.get(t.name, t.name): maps.shape(t) for t in node.node.inputs}
        if any((shapes.get(name) or (0,))[0] != batch for name in (step.whole if step else ())):
            return False
    return True
