"""Which engine runs which kernel: every engine's price for every piece of work, and the cheapest assignment.

Engines that share their storage (a matrix unit and the vector unit behind it) hand over for nothing: the matrix and the
elementwise part of a kernel each take their fastest engine and overlap. Where a hand-over costs time (NPU, GPU and CPU
of a phone), kernels are assigned together: the shortest path through kernels x engines, which keeps neighbours on one
engine unless the gain pays for the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roofwright.cost_model import systolic, vector_unit
from roofwright.cost_model.assume import Storage, storage_of
from roofwright.cost_model.graph_work import NodeWork
from roofwright.cost_model.matrix_unit import unit_time
from roofwright.cost_model.memo import Memo
from roofwright.cost_model.units import Floats, Ints, Nests
from roofwright.targets import Engine, Target

_KNOWN = Memo(most=8)  # targets
_MOST = 1 << 16  # nests


@dataclass(frozen=True)
class MatrixTable:
    """Every nest on every engine; arrays of shape (engines, nests), inf where an engine cannot run a nest.

    `fill_s` is what of `busy_s` passes before the first row: earlier work may hide it (`systolic.ends`).
    """

    padded_s: Floats
    busy_s: Floats
    inner_s: Floats
    factor: Floats
    algorithm: NDArray[np.object_]
    tile: Ints  # (engines, nests, 3)
    fill_s: Floats

    @property
    def length_s(self) -> Floats:
        """What decides between engines: compute, or the on-chip memory that feeds it."""
        return np.maximum(self.busy_s, self.inner_s)

    def take(self, index: Ints) -> "MatrixTable":
        """The nests at `index`."""
        return MatrixTable(*(values[:, index] for values in vars(self).values()))

    def with_more(self, other: "MatrixTable") -> "MatrixTable":
        """These nests, then those of `other`."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return MatrixTable(*(np.concatenate(pair, axis=1) for pair in pairs))


def matrix_table(nests: Nests, storage: Sequence[Storage], classes: Sequence[str], target: Target) -> MatrixTable:
    """Price nests on all engines: what was not met on this target before, one vectorised call per engine and dtype."""
    return _KNOWN.once("priced", (target,), _Priced).table(nests, [held.multiply for held in storage], classes, target)


class _Priced:
    """Nests that were priced on one target: layers of one shape, schedule after schedule, cost the same."""

    def __init__(self) -> None:
        self.place: dict[tuple[object, ...], int] = {}
        self.known: MatrixTable | None = None

    def table(self, nests: Nests, dtypes: Sequence[str], classes: Sequence[str], target: Target) -> MatrixTable:
        """Every nest on every engine."""
        if len(self.place) > _MOST:
            self.place, self.known = {}, None
        rows = list(zip(*(getattr(nests, name).tolist() for name in vars(nests)), dtypes, classes, strict=True))
        new: dict[tuple[object, ...], int] = {}
        for at, row in enumerate(rows):
            if row not in self.place and row not in new:
                new[row] = at
        if new or self.known is None:
            which = np.array(list(new.values()), np.int64)
            more = _table(nests.take(which), np.array(dtypes, str)[which], np.array(classes, str)[which], target)
            self.known = more if self.known is None else self.known.with_more(more)
            self.place.update(zip(new, range(len(self.place), len(self.place) + len(new)), strict=True))
        return self.known.take(np.array([self.place[row] for row in rows], np.int64))


def _table(nests: Nests, dtypes: NDArray[np.str_], classes: NDArray[np.str_], target: Target) -> MatrixTable:
    shape = (len(target.engines), len(nests))
    table = MatrixTable(
        np.full(shape, np.inf),
        np.full(shape, np.inf),
        np.zeros(shape),
        np.ones(shape),
        np.full(shape, "", object),
        np.zeros((*shape, 3), np.int64),
        np.zeros(shape),
    )
    for row, engine in enumerate(target.engines):
        for dtype in engine.macs_per_clock:
            at = np.flatnonzero((dtypes == dtype) & np.isin(classes, engine.runs))
            if not len(at):
                continue
            times = unit_time(nests.take(at), engine, target, dtype)
            table.padded_s[row, at], table.busy_s[row, at] = times.padded_s, times.busy_s
            table.inner_s[row, at], table.factor[row, at] = times.inner_s, times.off_chip_factor
            table.algorithm[row, at], table.tile[row, at] = times.algorithm, times.tile
            if engine.kind == "systolic":
                table.fill_s[row, at] = np.where(np.isfinite(times.busy_s), systolic.fill_s(engine, target, dtype), 0.0)
    return table


def array_ends(nests: Nests, storage: Sequence[Storage], engine: Engine, target: Target) -> systolic.Ends:
    """What products on one engine share with those before and after them."""
    dtypes = np.array([held.multiply for held in storage], str)
    none = np.zeros(len(nests))
    found = systolic.Ends(none.copy(), none.copy(), none.copy(), none.astype(np.int64))
    for dtype in dict.fromkeys(dtypes.tolist()):
        at = np.flatnonzero(dtypes == dtype)
        part = systolic.ends(nests.take(at), engine, target, dtype)
        for name in systolic.Ends.__dataclass_fields__:
            getattr(found, name)[at] = getattr(part, name)
    return found


def lane_dtype(dtype: str, engine: Engine) -> str:
    """The lanes a dtype uses: its own, or for integers and booleans (index arithmetic, masks) those of int32."""
    if dtype in engine.lanes_per_clock or dtype.startswith(("float", "bfloat", "complex")):
        return dtype
    return "int32" if "int32" in engine.lanes_per_clock else next(iter(engine.lanes_per_clock), dtype)


def has_lanes(node: NodeWork) -> bool:
    """Whether a node has elementwise work."""
    return bool(node.work.lane_ops or node.work.special_ops)


def holds_constant(node: NodeWork) -> bool:
    """Whether the operand that an array holds is known before anything runs."""
    return len(node.work.reads) > 1 and node.work.reads[1].constant


def node_dtype(node: NodeWork) -> str:
    """The dtype a node works on: that of its first operand."""
    operands = node.work.reads or node.work.writes
    return operands[0].dtype if operands else "float32"


def lane_seconds(nodes: Sequence[NodeWork], engine: Engine, target: Target) -> Floats:
    """Seconds of every node's elementwise work on one engine; inf where it cannot run it; shape (nodes,)."""
    seconds = np.full(len(nodes), np.inf)
    dtypes = np.array([lane_dtype(storage_of(node_dtype(n), target).storage, engine) for n in nodes], object)
    allowed = np.array([n.work.nest is not None or n.work.kind in engine.runs for n in nodes], bool)
    lanes = np.array([n.work.lane_ops * n.work.repeat for n in nodes], np.float64)
    special = np.array([n.work.special_ops * n.work.repeat for n in nodes], np.float64)
    for dtype in dict.fromkeys(dtypes):
        at = np.flatnonzero((dtypes == dtype) & allowed)
        seconds[at] = vector_unit.seconds(lanes[at], special[at], engine, dtype)
    return seconds


def assign(matrix_s: Floats, vector_s: Floats, floor_s: Floats, handover_s: float) -> tuple[Ints, Ints]:
    """The engines of the matrix and of the elementwise part of every kernel.

    Args:
        matrix_s: seconds of the matrix part of kernel k on engine e, shape (engines, kernels); inf where it cannot, 0
            where the kernel has none.
        vector_s: the same of its elementwise part.
        floor_s: seconds that a kernel takes whatever its engine (its transfers), shape (kernels,).
        handover_s: cost of moving from one engine to another.

    Returns:
        Two arrays of shape (kernels,); ties go to the earlier engine.
    """
    if handover_s <= 0 or len(matrix_s) == 1:
        return np.argmin(matrix_s, axis=0), np.argmin(vector_s, axis=0)
    helper = np.argmin(vector_s, axis=0)
    away_s = vector_s[helper, np.arange(vector_s.shape[1])] + 2 * handover_s
    cost = np.maximum(matrix_s + np.minimum(vector_s, away_s), floor_s)
    path = _shortest(np.where(np.isfinite(cost), cost, 1e9), handover_s)
    own = vector_s[path, np.arange(len(path))]
    return path, np.where(own <= away_s, path, helper)


def _shortest(cost: Floats, handover_s: float) -> Ints:
    """The engine of every kernel on the cheapest path (Viterbi); shape (kernels,)."""
    engines, kernels = range(cost.shape[0]), cost.shape[1]
    total = [0.0] * len(engines)
    came: list[list[int]] = []
    for column in cost.T.tolist():
        best = min(engines, key=total.__getitem__)
        most = total[best] + handover_s
        came.append([engine if total[engine] <= most else best for engine in engines])
        total = [min(total[engine], most) + column[engine] for engine in engines]
    path = np.zeros(kernels, np.int64)
    engine = min(engines, key=total.__getitem__)
    for at in range(kernels - 1, -1, -1):
        path[at] = engine
        engine = came[at][engine]
    return path
