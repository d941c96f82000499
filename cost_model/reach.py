"""What must follow the last result of a part of a network: weights that arrive after it.

An array that waits for weights and a port that waits for results take turns, whatever the schedule, where all that one
of them can do depends on the other. Take any node b and a set A of nodes all of whose elements reach some element of
b. Whichever product of A is done last, at time t: the result of b that it reaches is not there before t, so every
product downstream of that element comes later, and the weights of those products are on chip later than t. All of them
but the S bytes that fit on chip at time t cross the port after t:

    T >= bound(A) + (bytes of weights that any one element of b meets downstream - S) / rate

An element of b at (y, x) reaches an interval of rows and of columns of every tensor downstream, and all channels after
the first dense product. Taps of a filter that no position of the interval meets, at edges and between strides, do not
count; neither do nodes whose geometry is not known. The least over all (y, x) is taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model.graph_work import NodeWork
from roofwright.cost_model.strip_maps import Maps, Reach, Step
from roofwright.cost_model.units import Bools, Ints
from roofwright.cost_model.work import Operand

_SAME_POSITIONS = ("LRN",)  # results at a position need all that is read there, beside neighbouring channels


@dataclass(frozen=True)
class Span:
    """What one element reaches along an axis of `size` positions, for every place it may have; all of shape (n,)."""

    low: Ints
    high: Ints
    size: int

    @classmethod
    def each(cls, size: int) -> "Span":
        """One position, any."""
        return cls(np.arange(size), np.arange(size), size)

    @classmethod
    def all(cls, size: int) -> "Span":
        """All positions."""
        return cls(np.zeros(1, np.int64), np.full(1, size - 1), size)

    def through(self, reach: Reach, size: int) -> "Span | None":
        """The positions of a result of `size` whose window meets these; None where some place meets none."""
        low = np.maximum(-((reach.window - 1 - self.low - reach.pad) // reach.stride), 0)
        high = np.minimum((self.high + reach.pad) // reach.stride, size - 1)
        return None if np.any(low > high) else Span(low, high, size)

    def common(self, other: "Span") -> "Span":
        """Positions of both."""
        return Span(np.maximum(self.low, other.low), np.minimum(self.high, other.high), self.size)

    def taps(self, reach: Reach, kernel: int, size: int) -> int:
        """Taps of a filter of `kernel` taps that these positions meet in a result of `size`, at least."""
        dilation = (reach.window - 1) // max(kernel - 1, 1)
        met = np.zeros(len(self.low), np.int64)
        for tap in range(kernel):
            first = np.maximum(-((tap * dilation - self.low - reach.pad) // reach.stride), 0)
            last = np.minimum((self.high + reach.pad - tap * dilation) // reach.stride, size - 1)
            met += first <= last
        return int(met.min()) if met.size else 0

    @property
    def least(self) -> int:
        """Positions reached, at least; none from an empty tensor."""
        return int((self.high - self.low + 1).min()) if self.low.size else 0


@dataclass(frozen=True)
class Met:
    """Of one tensor: the positions and the number of channels that an element reaches at least."""

    rows: Span
    columns: Span
    depth: int

    @property
    def elements(self) -> int:
        """Elements reached, at least."""
        return self.rows.least * self.columns.least * self.depth


def covering(works: Sequence[NodeWork], maps: Maps, last: int) -> Bools:
    """Which of the nodes up to `last` have no element that fails to reach some element of node `last`."""
    covers = np.zeros(len(works), bool)
    covers[last] = True
    covered: set[str] = set()
    for at in range(last, -1, -1):
        work = works[at]
        covers[at] |= any(name in covered for name in _names(work.work.writes, maps))
        if covers[at]:
            covered.update(_used_up(work, maps))
    return covers


def _used_up(work: NodeWork, maps: Maps) -> list[str]:
    """Operands every element of which some element of the node's result depends on."""
    if _mixes_all(work) or (work.op in _SAME_POSITIONS and not work.scope):
        return _names(work.work.reads, maps)
    step = maps.step(work, "planes")
    if step is None or not _gapless(work):
        return []
    found = list(step.whole)
    for read in step.reads:
        kernels = _kernel(work)
        axes = zip(read.grid.extent, (read.rows, read.columns), kernels, step.grid.extent, strict=True)
        if all(Span.each(size).taps(reach, kernel or reach.window, out) for size, reach, kernel, out in axes):
            found.append(read.name)
    return found


def weights_after(works: Sequence[NodeWork], maps: Maps, first: int, streamed: Mapping[int, "Weights"]) -> float:
    """Bytes of weights that any element of node `first` meets downstream, at least.

    Args:
        works: in execution order.
        maps: their geometry.
        first: the node.
        streamed: position of a node -> its weights.
    """
    step = maps.step(works[first], "planes")
    if step is None:
        return 0.0
    met = {name: Met(Span.each(grid.rows), Span.each(grid.columns), 1) for name, grid in step.makes}
    total = 0.0
    for at in range(first + 1, len(works)):
        work = works[at]
        if not any(name in met for name in _names(work.work.reads, maps)):
            continue
        taps, depth = _downstream(work, maps, met)
        if at in streamed:
            total += streamed[at].bytes(taps, depth)
    return total


@dataclass(frozen=True)
class Weights:
    """Of one node: bytes, bytes in the whole tiles in which they are fetched, and whether tiles hold whole taps."""

    once: float
    fetched: float
    by_tap: bool

    def bytes(self, taps: float, depth: float) -> float:
        """Bytes fetched for so large shares of the taps and of the channels."""
        whole = depth >= 1 and (taps >= 1 or self.by_tap)
        return taps * self.fetched if whole else taps * depth * self.once


def _downstream(work: NodeWork, maps: Maps, met: dict[str, Met]) -> tuple[float, float]:
    """Adds what the node's results are reached in to `met`; shares of its taps and input channels that are met."""
    if _mixes_all(work):
        source, nest = met.get(_names(work.work.reads, maps)[0]), work.work.nest
        if source is None:
            return 0.0, 0.0
        _reach_all(work, met, (1, 1), source.depth if nest is None else nest.out_channels)
        return (0.0, 0.0) if nest is None else (1.0, source.elements / nest.in_channels)
    if work.op in _SAME_POSITIONS:
        met[work.work.writes[0].name] = met[_names(work.work.reads, maps)[0]]
        return 0.0, 0.0
    step = maps.step(work, "planes")
    return (0.0, 0.0) if step is None or not _gapless(work) else _stepped(work, step, met)


def _stepped(work: NodeWork, step: Step, met: dict[str, Met]) -> tuple[float, float]:
    rows, columns = step.grid.extent
    spread = [met[name] for name in step.whole if name in met]
    if spread:
        _reach_all(work, met, (rows, columns), spread[0].depth)
        return 0.0, 0.0
    reads = [read for read in step.reads if read.name in met]
    if not reads:
        return 0.0, 0.0
    if work.op == "Concat":
        _join(step, [met[read.name] for read in reads], met)
        return 0.0, 0.0
    read = max(reads, key=lambda r: (met[r.name].depth, met[r.name].elements))
    here, (high, wide) = met[read.name], _kernel(work)
    down, across = here.rows.through(read.rows, rows), here.columns.through(read.columns, columns)
    if down is None or across is None or (len(step.makes) > 1 and here.depth < read.grid.depth):
        return 0.0, 0.0
    nest = work.work.nest
    dense = nest is not None and nest.repeat == 1
    for name, grid in step.makes:
        met[name] = Met(down, across, grid.depth if dense else min(here.depth, grid.depth))
    if nest is None:
        return 0.0, 0.0
    taps = here.rows.taps(read.rows, high, rows) * here.columns.taps(read.columns, wide, columns)
    return taps / (high * wide), here.depth / read.grid.depth


def _join(step: Step, parts: Sequence[Met], met: dict[str, Met]) -> None:
    """Channels side by side: those of all parts, at the positions that all reach; or else those of one part."""
    rows, columns = parts[0].rows, parts[0].columns
    for part in parts[1:]:
        rows, columns = rows.common(part.rows), columns.common(part.columns)
    whole = min(rows.least, columns.least) > 0
    best = max(parts, key=lambda part: part.depth)
    met[step.makes[0][0]] = Met(rows, columns, sum(part.depth for part in parts)) if whole else best


def _reach_all(work: NodeWork, met: dict[str, Met], extent: tuple[int, int], depth: int) -> None:
    for operand in work.work.writes:
        met[operand.name] = Met(Span.all(extent[0]), Span.all(extent[1]), depth)


def _kernel(work: NodeWork) -> tuple[int, int]:
    nest = work.work.nest
    return (nest.kernel_h, nest.kernel_w) if nest is not None else (0, 0)


def _mixes_all(work: NodeWork) -> bool:
    """Whether every result depends on all of its image's input: pooling to one position, a dense layer on vectors."""
    if work.scope or work.repeat != 1:
        return False
    if work.op in ("GlobalAveragePool", "GlobalMaxPool"):
        return True
    nest, reads = work.work.nest, work.work.reads
    vectors = work.op in ("Gemm", "MatMul") and len(work.node.inputs[0].shape or ()) == 2
    return vectors and nest is not None and nest.repeat == 1 and len(reads) > 1 and reads[1].constant


def _gapless(work: NodeWork) -> bool:
    """Whether what a node reads for one position lies side by side."""
    return all(dilation == 1 for dilation in work.node.attrs.get("dilations", ()))


def _names(operands: Sequence[Operand], maps: Maps) -> list[str]:
    """The tensors whose bytes operands are."""
    return [maps.alias.get(operand.name, operand.name) for operand in operands]
