"""What must follow the last result of a part of a network: weights that arrive after it.

An array that waits for weights and a port that waits for results take turns, whatever the schedule, where all that one
of them can do depends on the other. Take any node b and a set A of nodes all of whose elements reach some element of
b. Whichever product of A is done last, at time t: the result of b that it reaches is not there before t, so every
product downstream of that element comes later, and the weights of those products are on chip later than t. All of them
but the S bytes that fit on chip at time t cross the port after t:

    T >= bound(A) + (bytes of weights that any one element of b meets downstream - S) / rate

An element of b at (y, x) reaches an interval of rows and of columns of every tensor downstream, and all channels after
the first dense product. Taps of a filter that no position of the interval meets, at edges and between strides, do not
count; neither do nodes whose geometry is not known. The least over all (y, x) is taken. Only how many channels are met
is known, not which: of the parts of a Split those that must be among them count, of the groups of a convolution as many
as they fill. (`turns` says which A, and what the taps and channels met are in bytes.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from roofwright.cost_model.graph_work import NodeWork
from roofwright.cost_model.strip_maps import Maps, Reach, Read, Step
from roofwright.cost_model.work import Operand

_SAME_POSITIONS = ("LRN",)  # results at a position need all that is read there, beside neighbouring channels
_WAYS = 3  # in which a tensor is known to be met: many channels at few positions, few channels at many


@dataclass(frozen=True)
class Span:
    """What one element reaches along an axis of `size` positions: from `low` to `high`, for every place it may have."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    size: int

    @classmethod
    def each(cls, size: int) -> "Span":
        """One position, any."""
        return cls(tuple(range(size)), tuple(range(size)), size)

    @classmethod
    def all(cls, size: int) -> "Span":
        """All positions."""
        return cls((0,), (size - 1,), size)

    @lru_cache(maxsize=4096)  # noqa: B019 - spans are small values, and networks repeat them
    def through(self, reach: Reach, size: int) -> "Span | None":
        """The positions of a result of `size` whose window meets these; None where some place meets none."""
        low = np.maximum(-((reach.window - 1 - np.array(self.low) - reach.pad) // reach.stride), 0)
        high = np.minimum((np.array(self.high) + reach.pad) // reach.stride, size - 1)
        return None if np.any(low > high) else Span(tuple(low.tolist()), tuple(high.tolist()), size)

    def common(self, other: "Span") -> "Span":
        """Positions of both."""
        low, high = np.maximum(self.low, other.low), np.minimum(self.high, other.high)
        return Span(tuple(low.tolist()), tuple(high.tolist()), self.size)

    def within(self, other: "Span") -> bool:
        """Whether the other has all these positions."""
        return bool(np.all(np.less_equal(other.low, self.low)) and np.all(np.less_equal(self.high, other.high)))

    @lru_cache(maxsize=4096)  # noqa: B019 - as above
    def taps(self, reach: Reach, kernel: int, size: int) -> int:
        """Taps of a filter of `kernel` taps that these positions meet in a result of `size`, at least."""
        low, high = np.array(self.low), np.array(self.high)
        dilation = (reach.window - 1) // max(kernel - 1, 1)
        met = np.zeros(len(low), np.int64)
        for tap in range(kernel):
            first = np.maximum(-((tap * dilation - low - reach.pad) // reach.stride), 0)
            last = np.minimum((high + reach.pad - tap * dilation) // reach.stride, size - 1)
            met += first <= last
        return int(met.min()) if met.size else 0

    @property
    def least(self) -> int:
        """Positions reached, at least; none from an empty tensor."""
        return min((high - low + 1 for low, high in zip(self.low, self.high, strict=True)), default=0)


@dataclass(frozen=True)
class Met:
    """Of one tensor: the positions and the number of channels at each that an element reaches at least."""

    rows: Span
    columns: Span
    depth: int

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns of the tensor."""
        return self.rows.size, self.columns.size

    @property
    def elements(self) -> int:
        """Elements reached, at least."""
        return self.rows.least * self.columns.least * self.depth

    def within(self, other: "Met") -> bool:
        """Whether the other says no less."""
        return self.depth <= other.depth and self.rows.within(other.rows) and self.columns.within(other.columns)


@dataclass(frozen=True)
class Meeting:
    """What of one node's weights an element upstream meets at least.

    Attributes:
        node: position of the node.
        taps: of its filter.
        channels: input channels, of all groups together.
    """

    node: int
    taps: int
    channels: int


def met_after(works: Sequence[NodeWork], maps: Maps, first: int) -> list[Meeting]:
    """What any element of node `first` meets of the weights downstream, at least.

    Args:
        works: in execution order.
        maps: their geometry.
        first: the node.

    Returns:
        Any number of meetings of a node, each of which holds.
    """
    step = maps.step(works[first], "planes")
    if step is None:
        return []
    met: dict[str, tuple[Met, ...]] = {}
    for name, grid in step.makes:
        _add(met, name, [Met(Span.each(grid.rows), Span.each(grid.columns), 1)])
    found: list[Meeting] = []
    for at in range(first + 1, len(works)):
        if any(name in met for name in _names(works[at].work.reads, maps)):
            meetings = (Meeting(at, taps, channels) for taps, channels in _downstream(works[at], maps, met))
            found += (meeting for meeting in meetings if meeting.taps * meeting.channels > 0)
    return found


def _downstream(work: NodeWork, maps: Maps, met: dict[str, tuple[Met, ...]]) -> list[tuple[int, int]]:
    """Adds what the node's results are reached in to `met`; the taps and input channels that are met."""
    nest, data = work.work.nest, met.get(_names(work.work.reads[:1], maps)[0], ())
    if mixes_all(work):
        if data:
            depth = max(one.depth for one in data) if nest is None else nest.out_channels
            _reach_all(work, met, (1, 1), depth)
        return [(1, one.elements) for one in data if nest is not None]
    if work.op in _SAME_POSITIONS or (work.op == "Transpose" and _keeps_positions(work, maps, data)):
        _add(met, work.work.writes[0].name, data)
        return []
    step = maps.step(work, "planes")
    return [] if step is None or not gapless(work) else _stepped(work, step, maps, met)


def _keeps_positions(work: NodeWork, maps: Maps, data: Sequence[Met]) -> bool:
    """Whether a Transpose moves channels alone, as in a channel shuffle: rows and columns stay the last two axes."""
    shape = maps.shape(work.node.inputs[0])
    order = list(work.node.attrs.get("perm", ()))
    if not data or shape is None or work.scope or len(shape) < 4 or len(order) != len(shape):
        return False
    return order[-2:] == [len(shape) - 2, len(shape) - 1] and shape[-2:] == data[0].extent


def _stepped(work: NodeWork, step: Step, maps: Maps, met: dict[str, tuple[Met, ...]]) -> list[tuple[int, int]]:
    spread = [one for name in step.whole for one in met.get(name, ()) if _per_channel(work, maps, name)]
    if spread:
        _reach_all(work, met, step.grid.extent, spread[0].depth)
        return []
    reads = [read for read in step.reads if read.name in met and met[read.name][0].extent == read.grid.extent]
    if work.op == "Concat":
        parts = [met[read.name] for read in reads]
        _add(met, step.makes[0][0], [*_joined([part[0] for part in parts]), *(one for part in parts for one in part)])
        return []
    return [found for read in reads for here in met[read.name] for found in _one_read(work, step, read, here, met)]


def _one_read(
    work: NodeWork, step: Step, read: Read, here: Met, met: dict[str, tuple[Met, ...]]
) -> list[tuple[int, int]]:
    rows, columns = step.grid.extent
    down, across = here.rows.through(read.rows, rows), here.columns.through(read.columns, columns)
    if down is None or across is None:
        return []
    for name, grid in step.makes:
        depth = _depth_made(work, here.depth, read.grid.depth, grid.depth)
        _add(met, name, [Met(down, across, depth)] if depth > 0 else [])
    high, wide = kernel_of(work)
    taps = here.rows.taps(read.rows, high, rows) * here.columns.taps(read.columns, wide, columns)
    return [(taps, here.depth)]


def _add(met: dict[str, tuple[Met, ...]], name: str, found: Sequence[Met]) -> None:
    """Notes more that is met of a tensor; what says less than another, and more than a few, is left out."""
    kept = list(met.get(name, ()))
    for one in found:
        if not any(one.within(other) for other in kept):
            kept = [one, *(other for other in kept if not other.within(one))]
    if kept:
        met[name] = tuple(sorted(kept, key=lambda one: -one.depth)[:_WAYS])


def _depth_made(work: NodeWork, depth: int, among: int, made: int) -> int:
    """Channels of a result that are reached from `depth` of the `among` channels read, whichever these are."""
    nest = work.work.nest
    if nest is not None:
        return -(-depth // nest.in_channels) * nest.out_channels
    return max(depth - (among - made), 0) if work.op == "Split" else min(depth, made)


def _per_channel(work: NodeWork, maps: Maps, name: str) -> bool:
    """Whether an operand that broadcasts has one value for all positions of a channel."""
    shapes = [maps.shape(t) for t in work.node.inputs if maps.alias.get(t.name, t.name) == name]
    return all(shape is not None and shape[-2:] == (1, 1) for shape in shapes)


def _joined(parts: Sequence[Met]) -> list[Met]:
    """Channels side by side: those of all parts, at the positions that all reach."""
    if not parts:
        return []
    rows, columns = parts[0].rows, parts[0].columns
    for part in parts[1:]:
        rows, columns = rows.common(part.rows), columns.common(part.columns)
    both = Met(rows, columns, sum(part.depth for part in parts))
    return [both] if both.elements > 0 else []


def _reach_all(work: NodeWork, met: dict[str, tuple[Met, ...]], extent: tuple[int, int], depth: int) -> None:
    for operand in work.work.writes:
        _add(met, operand.name, [Met(Span.all(extent[0]), Span.all(extent[1]), depth)])


def kernel_of(work: NodeWork) -> tuple[int, int]:
    """Taps along rows and columns of a node's filter; zeros where it has none."""
    nest = work.work.nest
    return (nest.kernel_h, nest.kernel_w) if nest is not None else (0, 0)


def mixes_all(work: NodeWork) -> bool:
    """Whether every result depends on all of its image's input: pooling to one position, a dense layer on vectors.

    (Pooled results need all of their own channel.)
    """
    if work.scope or work.repeat != 1:
        return False
    if work.op in ("GlobalAveragePool", "GlobalMaxPool"):
        return True
    nest, reads = work.work.nest, work.work.reads
    vectors = work.op in ("Gemm", "MatMul") and len(work.node.inputs[0].shape or ()) == 2
    return vectors and nest is not None and nest.repeat == 1 and len(reads) > 1 and reads[1].constant


def gapless(work: NodeWork) -> bool:
    """Whether what a node reads for one position lies side by side."""
    return all(dilation == 1 for dilation in work.node.attrs.get("dilations", ()))


def _names(operands: Sequence[Operand], maps: Maps) -> list[str]:
    """The tensors whose bytes operands are."""
    return [maps.alias.get(operand.name, operand.name) for operand in operands]
