"""Nodes that run depth-first, strip by strip: which part of every tensor each strip makes, and what stays between.

Going back from the last node, a part [a, b) of a result along one axis needs [a s - p, (b - 1) s - p + k) of what a
window of size k, stride s and padding p reads, clipped at the borders. What two strips need is made again, or stays:

    recompute   every strip makes all that it needs; nothing stays
    rows        strips run down one column of strips after the other; shared rows stay, shared columns are made again
    both        strips run along one row of strips after the other; every element is made once and stays while needed

Strips of full width have no columns to share. M. Alwani et al., "Fused-Layer CNN Accelerators", MICRO 2016; L. Mei et
al., "DeFiNES", HPCA 2023, arXiv:2212.05344 (modes and names of the overlap).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model.graph_work import NodeWork
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.rates import ceil_div
from roofwright.cost_model.schedule import Halo
from roofwright.cost_model.strip_maps import Grid, Maps, Reach, Space, Step
from roofwright.cost_model.units import Ints

ROWS, COLUMNS = 0, 1
_FAR = 1 << 40  # positions; no tensor has so many


@dataclass(frozen=True)
class Cut:
    """Size of a strip at the last node's result, and what becomes of shared elements; None: full width."""

    rows: int
    columns: int | None
    halo: Halo

    def kept(self, axis: int) -> bool:
        """Whether what neighbours along an axis share stays."""
        return self.halo == "both" or (self.halo == "rows" and axis == ROWS)


@dataclass(frozen=True)
class Track:
    """One tensor along one axis, strip by strip; arrays of shape (strips,).

    Strip i makes (or loads) positions [new, up) and has [low, up) to read from.
    """

    low: Ints
    new: Ints
    up: Ints


@dataclass(frozen=True)
class Stack:
    """Nodes that can run in strips together.

    Attributes:
        steps: in order.
        grids: of every tensor that is made or read by windows.
        made: tensor -> position of the step that makes it.
        readers: tensor -> positions of the steps that read windows of it, with how.
        leaving: tensors that others than these steps need.
    """

    steps: tuple[Step, ...]
    grids: Mapping[str, Grid]
    made: Mapping[str, int]
    readers: Mapping[str, Sequence[tuple[int, Reach, Reach]]]
    leaving: frozenset[str]

    @property
    def last(self) -> Grid:
        """Of the last node's first result."""
        return self.steps[-1].grid

    @property
    def inputs(self) -> list[str]:
        """What is read by windows and comes from outside."""
        return [name for name in self.grids if name not in self.made]


def stack_of(steps: Sequence[Step], leaving: frozenset[str]) -> Stack | None:
    """The steps as a stack; None where they do not fit together.

    They do where all have the same number of images, a tensor is seen alike wherever it is made and read, and no step
    needs another one's result whole.
    """
    grids: dict[str, Grid] = {}
    made: dict[str, int] = {}
    held = {name for step in steps for name in step.whole}
    readers: dict[str, list[tuple[int, Reach, Reach]]] = {}
    for at, step in enumerate(steps):
        for read in step.reads:
            if grids.setdefault(read.name, read.grid) != read.grid or read.name in held:
                return None
            readers.setdefault(read.name, []).append((at, read.rows, read.columns))
        for name, grid in step.makes:
            if name in grids or name in held:
                return None
            grids[name], made[name] = grid, at
    if len({grid.images for grid in grids.values()}) != 1:
        return None
    unread = {name for name in made if name not in readers}
    return Stack(tuple(steps), grids, made, readers, leaving & made.keys() | unread)


def space_stack(maps: Maps, works: Sequence[NodeWork], leaving: frozenset[str]) -> Stack | None:
    """Nodes as a stack, seen as planes or else as tokens; None where they cannot run in strips."""
    spaces: tuple[Space, ...] = ("planes", "tokens")
    for space in spaces:
        steps = [step for work in works if (step := maps.step(work, space)) is not None]
        stack = stack_of(steps, leaving) if len(steps) == len(works) else None
        if stack is not None:
            return stack
    return None


def by_sample(kernel: KernelWork, maps: Maps, batch: int) -> bool:
    """Whether every sample of a kernel's results needs that sample of its operands alone, constants aside."""
    return all(_keeps_samples(node, maps, batch) for node in kernel.nodes)


def _keeps_samples(work: NodeWork, maps: Maps, batch: int) -> bool:
    """The same of a node: it keeps positions, or moves and sums only what lies within a sample."""
    if any((maps.shape(t) or (0,))[0] != batch for t in work.node.outputs if t.name):
        return False
    step = maps.step(work, "planes") or maps.step(work, "tokens")
    shapes = {maps.alias.get(t.name, t.name): maps.shape(t) for t in work.node.inputs}
    if step is None:
        first = work.node.attrs.get("perm", (-1,))[0] if work.op == "Transpose" else 0
        read = maps.shape(work.node.inputs[0]) if work.node.inputs else None
        return work.op in _WITHIN_SAMPLES and first == 0 and (read or (0,))[0] == batch
    return all((shapes.get(name) or (0,))[0] == batch for name in step.whole)


_WITHIN_SAMPLES = {"GlobalAveragePool", "GlobalMaxPool", "Transpose", "DepthToSpace", "SpaceToDepth"}


@dataclass(frozen=True)
class Region:
    """What of one tensor a strip makes and reads, as half-open ranges (rows, then columns)."""

    image: int
    new: tuple[tuple[int, int], tuple[int, int]]
    seen: tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Strips:
    """A stack that is cut.

    Attributes:
        stack, cut: what, and how.
        tracks: tensor -> along rows and along columns.
        shape: strips along rows and columns of one image.
    """

    stack: Stack
    cut: Cut
    tracks: Mapping[str, tuple[Track, Track]]
    shape: tuple[int, int]

    @classmethod
    def of(cls, stack: Stack, cut: Cut) -> "Strips":
        """Every tensor's tracks."""
        columns = stack.last.columns if cut.columns is None else cut.columns
        rows = _axis_tracks(stack, ROWS, cut.rows, cut.kept(ROWS))
        across = _axis_tracks(stack, COLUMNS, columns, cut.kept(COLUMNS))
        last = stack.steps[-1].makes[0][0]
        shape = (len(rows[last].up), len(across[last].up))
        return cls(stack, cut, {name: (rows[name], across[name]) for name in stack.grids}, shape)

    @property
    def count(self) -> int:
        """Strips of all images."""
        return self.stack.last.images * self.shape[0] * self.shape[1]

    def order(self) -> list[tuple[int, int, int]]:
        """(image, row, column) of the strips as they run."""
        images, (rows, columns) = range(self.stack.last.images), self.shape
        if self.cut.halo == "rows":
            return [(n, i, j) for n in images for j in range(columns) for i in range(rows)]
        return [(n, i, j) for n in images for i in range(rows) for j in range(columns)]

    def region(self, name: str, strip: tuple[int, int, int]) -> Region:
        """What of a tensor one strip makes (or loads) and has to read from."""
        image, *at = strip
        ends = [(int(t.new[i]), int(t.up[i]), int(t.low[i])) for t, i in zip(self.tracks[name], at, strict=True)]
        (new_r, up_r, low_r), (new_c, up_c, low_c) = ends
        return Region(image, ((new_r, up_r), (new_c, up_c)), ((low_r, up_r), (low_c, up_c)))

    def new(self, name: str) -> tuple[Ints, Ints]:
        """Rows and columns that each strip makes of a tensor."""
        rows, columns = self.tracks[name]
        return rows.up - rows.new, columns.up - columns.new

    def positions(self, name: str) -> int:
        """Positions made (or loaded) over all strips of one image, those made again included."""
        rows, columns = self.new(name)
        return int(rows.sum()) * int(columns.sum())

    def made_by_strip(self, name: str) -> Ints:
        """Positions that each strip makes (or loads), in the order of one image's strips."""
        return self.in_order(np.multiply.outer(*self.new(name)))

    def held_by_strip(self, name: str) -> Ints:
        """Positions that lie ready while each strip is computed, in the order of one image's strips."""
        return self.in_order(self._held(name))

    def in_order(self, table: Ints) -> Ints:
        """Entries of a table of rows and columns of strips, in the order of one image's strips."""
        return (table.T if self.cut.halo == "rows" else table).reshape(-1)

    def _held(self, name: str) -> Ints:
        rows, columns = self.tracks[name]
        tall, wide = rows.up - rows.low, columns.up - columns.low
        if self.cut.halo != "both" or self.shape[1] == 1:
            return np.asarray(np.multiply.outer(tall, wide), np.int64)
        # Left of the strip: what the next row of strips needs; right of it: what this one still needs of those before.
        width = self.stack.grids[name].columns
        next_low = np.minimum(np.append(rows.low[1:], rows.up[-1]), rows.up)
        left = (rows.up - next_low)[:, None] * columns.low[None, :]
        right = np.maximum(rows.new - rows.low, 0)[:, None] * (width - columns.up)[None, :]
        return np.asarray(left + tall[:, None] * wide[None, :] + right)

    def passes(self, name: str) -> bool:
        """Whether nothing of a tensor stays from one strip to the next."""
        return all(bool((track.low >= track.new).all()) for track in self.tracks[name])


def _axis_tracks(stack: Stack, axis: int, size: int, kept: bool) -> dict[str, Track]:
    """Tracks of all tensors along one axis; strips of `size` at the last node.

    Where results stay, nodes far from the last one start before it: there are strips in which the last node makes
    nothing yet, and all strips are of one size, the first included. Positions before those of the first strip are
    counted too, below 0, until the end.
    """
    extent = stack.last.extent[axis]
    count = int(ceil_div(extent, size))
    first = 1 - _early(stack, axis, size) if kept and count > 1 else 1
    ends = np.minimum(np.arange(first, count + 1, dtype=np.int64) * size, extent)
    found = _back(stack, axis, ends, kept)
    return {n: Track(*(np.maximum(part, 0) for part in (t.low, t.new, t.up))) for n, t in found.items()}


def _early(stack: Stack, axis: int, size: int) -> int:
    """Strips in which some node makes a part of its result and the last one none."""
    away = 1 << 12  # strips before the first: so far out that no border matters
    ends = np.array([-(away + 1) * size, -away * size], np.int64)
    ups = [track.up.tolist() for track in _back(stack, axis, ends, True).values()]
    paces = [(now - before, now + away * (now - before)) for before, now in ups]
    return max(int(ceil_div(lead, pace)) for pace, lead in paces)


def _back(stack: Stack, axis: int, ends: Ints, kept: bool) -> dict[str, Track]:
    """Tracks where the last node's strips end at `ends`, from there back."""
    found: dict[str, Track] = {}
    for step in reversed(stack.steps):
        for name, _ in step.makes:
            found[name] = _track(stack, name, axis, ends, kept, found)
        made = [found[name] for name, _ in step.makes]
        if len(made) > 1:  # one node makes them together
            joint = _joined(made, kept)
            found.update((name, joint) for name, _ in step.makes)
    for name in stack.inputs:
        found[name] = _track(stack, name, axis, ends, kept, found)
    return found


def _track(stack: Stack, name: str, axis: int, ends: Ints, kept: bool, found: Mapping[str, Track]) -> Track:
    extent, unread = stack.grids[name].extent[axis], name not in stack.readers
    low, up = np.full(len(ends), extent), np.full(len(ends), -_FAR)
    for at, *reaches in stack.readers.get(name, ()):
        reach, out = reaches[axis], found[stack.steps[at].makes[0][0]]
        needed = (out.up > out.new) | (out.up <= 0)
        low = np.where(needed, np.minimum(low, out.new * reach.stride - reach.pad), low)
        stop = (out.up - 1) * reach.stride - reach.pad + reach.window
        up = np.where(needed, np.maximum(up, np.minimum(stop, extent)), up)
    leaves = name in stack.leaving
    if leaves:
        end = stack.last.extent[axis]
        up = ceil_div(ends * extent, end) if unread else np.where(ends == end, extent, up)
    if not (kept or leaves):
        low = np.minimum(low, up)
        return Track(low, low, up)
    up = np.maximum.accumulate(up)
    before = np.concatenate([[min(0, int(up[0])) if leaves else -_FAR], up[:-1]])
    low = np.minimum(low, before) if leaves else low
    low = np.minimum(np.minimum.accumulate(low[::-1])[::-1], up)
    return Track(low, np.maximum(before, low) if kept else low, up)


def _joined(tracks: Sequence[Track], kept: bool) -> Track:
    low = np.min([t.low for t in tracks], axis=0)
    up = np.max([t.up for t in tracks], axis=0)
    before = np.concatenate([[-_FAR], up[:-1]])
    return Track(low, np.maximum(before, low) if kept else low, up)
