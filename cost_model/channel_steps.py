"""The steps of a kernel in groups of channels: what its nests take, group by group, and how long all of them take.

What an array with two planes of weights works on is one chain (`visits`): only the first shift of a kernel is exposed,
parts of a step and of the next follow each other without, and results drain behind what comes between.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np

from roofwright.cost_model.assume import Storage, storage_of
from roofwright.cost_model.channel_cost import Groups
from roofwright.cost_model.channel_maps import Part
from roofwright.cost_model.engines import MatrixTable
from roofwright.cost_model.overlap import in_steps, makespan
from roofwright.cost_model.systolic import Ends
from roofwright.cost_model.units import Floats
from roofwright.cost_model.visits import Visits, stepped
from roofwright.cost_model.work import LoopNest
from roofwright.targets import Target


@dataclass(frozen=True)
class Placed:
    """A kernel in groups: lags and engines of its nodes."""

    groups: Groups
    lags: tuple[int, ...]
    on: tuple[int, ...]


@dataclass(frozen=True)
class GroupPrice:
    """One kernel.

    Attributes:
        padded_s, busy_s, inner_s, fill_s: as in `Prices`.
        algorithm: of the first node with a nest.
        fetched: node -> bytes of its weights that are fetched, over their own.
    """

    padded_s: float
    busy_s: float
    inner_s: float
    fill_s: float
    algorithm: str
    fetched: Mapping[int, float]


class Pieces:
    """Nests of one kernel's groups: of a full one, then of the last, for every nest of every node (`nodes`)."""

    def __init__(self, each: Placed, target: Target) -> None:
        """All of them."""
        self.each, self.groups = each, each.groups
        self.nodes: list[int] = []
        self.nests: list[LoopNest] = []
        self.storage: list[Storage] = []
        self.classes: list[str] = []
        extent = self.groups.stack.extent
        shares = [min(self.groups.size, extent) / extent, self.groups.last_size / extent]
        for at, part in enumerate(self.groups.stack.parts):
            work = part.work.work
            for nest in work.nests:
                self.nodes.append(at)
                self.nests += [one_group(nest, part, share) for share in shares]
                self.storage += [storage_of(work.reads[0].dtype, target)] * 2
                self.classes += [work.kind] * 2
        self.rows = [each.on[at] for at in self.nodes]

    def price(self, priced: MatrixTable, lanes: Floats, ends: Mapping[int, Ends]) -> GroupPrice:
        """All steps.

        Args:
            priced: the nests on all engines.
            lanes: elementwise seconds, shape (engines, nodes, groups).
            ends: engine -> what its nests share, where they are chained.
        """
        chained = {row: each for row, each in ends.items() if row in self.rows and not lanes[row].any()}
        fed = priced.length_s.copy()
        for row, each in chained.items():
            fed[row] = np.maximum(fed[row], priced.inner_s[row] + each.fill_s + each.drain_s)
        fill_s = max((float(priced.fill_s[row].max()) for row in chained), default=0.0)
        busy_s = fill_s + self._length(priced.busy_s, lanes, chained)
        starved = bool((fed > priced.busy_s)[self.rows].any())  # by what feeds an engine
        full = np.arange(len(self.rows)) * 2
        share = self.groups.last_size / self.groups.stack.extent
        factor = priced.factor[self.rows, full] * (1 - share) + priced.factor[self.rows, full + 1] * share
        return GroupPrice(
            padded_s=makespan(self._placed(priced.padded_s) + lanes, self.each.lags),
            busy_s=busy_s,
            inner_s=fill_s + self._length(fed, lanes, chained) if starved else busy_s,
            fill_s=fill_s,
            algorithm=str(priced.algorithm[self.rows[0], 0]) if self.rows else "",
            fetched=dict(zip(self.nodes[::-1], factor.tolist()[::-1], strict=True)),
        )

    def steps(self, priced: MatrixTable, lanes: Floats, ends: Mapping[int, Ends]) -> Floats:
        """Busy seconds of every engine in every step, without what passes before or behind the rows of a chain."""
        each = priced.busy_s.copy()
        for row, shared in ends.items():
            each[row] -= shared.fill_s + shared.drain_s
        return in_steps(self._placed(each) + lanes, self.each.lags)

    def _placed(self, table: Floats) -> Floats:
        """Seconds of all parts on the engine of their node, shape (engines, nodes, groups)."""
        made = np.zeros((len(table), len(self.each.on), self.groups.count))
        for number, (row, node) in enumerate(zip(self.rows, self.nodes, strict=True)):
            made[row, node, :-1] += table[row, 2 * number]
            made[row, node, -1] += table[row, 2 * number + 1]
        return made

    def _length(self, table: Floats, lanes: Floats, chained: Mapping[int, Ends]) -> float:
        """Length of all steps; `table`: of every part alone on every engine."""
        if not chained or not np.isfinite(table[self.rows, np.arange(len(self.rows)) * 2]).all():
            return makespan(self._placed(table) + lanes, self.each.lags)
        found = [self._visits(row, table[row], each) for row, each in chained.items()]
        off = np.isin(np.arange(len(table)), list(chained))[:, None]
        beside = in_steps(self._placed(np.where(off, 0.0, table)) + lanes, self.each.lags).max(axis=0)
        return stepped(found, beside.tolist(), self._late(lanes, chained))

    def _visits(self, row: int, seconds: Floats, ends: Ends) -> list[Visits]:
        """The parts that an array works on, step by step."""
        mine = [number for number, on in enumerate(self.rows) if on == row]
        reached, found = self._sources([self.nodes[number] for number in mine]), []
        streams = seconds - ends.fill_s - ends.drain_s
        for number, sources in zip(mine, reached, strict=True):
            lag = self.each.lags[self.nodes[number]]
            before, after = [0.0] * lag, [0.0] * (max(self.each.lags) - lag)
            full, last = 2 * number, 2 * number + 1
            in_order = [full] * (self.groups.count - 1) + [last]
            stream_s, wait_s = ([*before, *values[in_order].tolist(), *after] for values in (streams, ends.wait_s))
            found.append(Visits(stream_s, wait_s, float(ends.drain_s[full]), sources))
        return found

    def _sources(self, on: Sequence[int]) -> list[list[int]]:
        """Of every node of an array, positions in `on` of those whose results reach it, directly or past other work.

        Past other work of the same step only: what that made in an earlier one does not wait for the latest results.
        """
        place = {node: at for at, node in enumerate(on)}
        stack, lags = self.groups.stack, self.each.lags
        reach: list[AbstractSet[int]] = []  # in the same step
        found: list[AbstractSet[int]] = []
        for at, part in enumerate(stack.parts):
            before = {stack.made[name] for name in (*part.reads, *part.whole) if name in stack.made}
            here = {b: {b} if b in place else reach[b] for b in before}
            reach.append({n for b, nodes in here.items() if lags[b] == lags[at] for n in nodes})
            found.append({n for nodes in here.values() for n in nodes})
        return [sorted(place[source] for source in found[node]) for node in on]

    def _late(self, lanes: Floats, chained: Mapping[int, Ends]) -> bool:
        """Whether an array reads what others make for it in the step before."""
        stack, lags, on = self.groups.stack, self.each.lags, self.each.on
        for name, made in stack.made.items():
            later = any(lags[at] > lags[made] and on[at] in chained for at in stack.readers.get(name, ()))
            if later and (on[made] not in chained or lanes[:, made].any()):
                return True
        return False


def one_group(nest: LoopNest, part: Part, share: float) -> LoopNest:
    """The nest of a group that has so much of all channels."""
    if part.role == "opens":
        return replace(nest, out_channels=round(nest.out_channels * share))
    if part.role == "closes":
        return replace(nest, in_channels=round(nest.in_channels * share))
    return replace(nest, repeat=round(nest.repeat * share))
