"""Walks back from every kernel, in every size of strip, side by side as arrays: what runs of kernels hold and load.

What a run needs on chip follows from the steady state of its strips: going back from its last node, where a node makes
`pace` rows per strip, the last of them row `up`, a window of size k, stride s and padding p needs its operand up to row
(up - 1) s - p + k and from row (up - pace) s - p on, and pace * s new rows of it per strip. (Rows count from the end of
the last node's strip.) Strips side by side make what they share again: w columns need (w - 1) s + k of the operand.

All walks visit the kernels in the same order, the last one first; each begins at its own. Arrays have one entry for
every walk that still goes on.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from roofwright.cost_model.rates import ceil_div
from roofwright.cost_model.run_links import Chain, Link
from roofwright.cost_model.run_starts import Starts
from roofwright.cost_model.strip_maps import Grid, Read, Space, Step
from roofwright.cost_model.units import Bools, Floats, Ints


class _Asked(NamedTuple):
    """A tensor that nodes of a run read: up to and from which row, how wide, how many new rows per strip.

    `held`: whether the walk is at a place where it is asked for.
    """

    held: Bools
    up: Ints
    low: Ints
    width: Ints
    pace: Ints


_HELD, _BUSY, _OUTPUT, _STORED, _FINAL, _CONSTANTS, _ENGINES = range(7)  # rows of `Walks.sums`; engines are last


class Walks:
    """All walks of one space."""

    def __init__(self, chain: Chain, space: Space) -> None:
        """Walk."""
        self.chain, self.space = chain, space
        self.starts = Starts.of(chain, space)
        count = len(self.starts.last)
        self.ended = np.zeros(count, bool)  # not for lack of room
        self.held_bytes = np.zeros(count)  # at the end
        self.choices: dict[int, tuple[Ints, Ints]] = {}  # kernel -> walks, and the engine that each gives it
        self.found: list[tuple[Ints, Floats]] = []
        self.live = np.zeros(0, np.int64)
        self.here = self.starts.take(self.live)
        self.sums = np.zeros((_ENGINES + len(chain.costing.target.engines), 0))
        self.pipes = self.piped = np.zeros(0, bool)
        self.asked: dict[str, dict[Grid, _Asked]] = {}
        self.whole: dict[str, Floats] = {}  # bytes of the buffer; below 0: not held
        begins = np.searchsorted(self.starts.last, np.arange(len(chain.links) + 1)).tolist()
        for at in range(len(chain.links) - 1, -1, -1):
            self._begin(np.arange(begins[at], begins[at + 1]))
            if len(self.live):
                self._step(at, chain.links[at])

    def runs(self) -> tuple[Ints, Ints, Floats]:
        """(walk, first kernel, figures) of the runs of two kernels or more that fit the chip.

        Figures, by row: bytes held, seconds in turns, bytes of output buffers, stored, final; seconds of engines that
        overlap; bytes loaded, of input buffers, fixed, of buffers for those.
        """
        if not self.found:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((10, 0))
        whole, figures = (np.concatenate(parts, axis=1) for parts in zip(*self.found, strict=True))
        wanted = self.starts.wanted(self.ended, self.held_bytes, self.chain)[whole[0]]
        return whole[0][wanted], whole[1][wanted], figures[:, wanted]

    def engine_at(self, walk: int, at: int) -> int:
        """The engine that a walk gives to kernel `at`, where engines overlap."""
        walks, engines = self.choices[at]
        return int(engines[walks == walk][0])

    def _begin(self, walks: Ints) -> None:
        """More walks."""
        more = len(walks)
        if not more:
            return
        self.live = np.concatenate([self.live, walks])
        self.here = self.starts.take(self.live)
        self.sums = np.concatenate([self.sums, np.zeros((len(self.sums), more))], axis=1)
        self.pipes = (self.here.across == 1) & self.chain.pipes
        self.piped = np.concatenate([self.piped, self.pipes[len(self.piped) :]])
        for grids in self.asked.values():
            for grid, asked in grids.items():
                grids[grid] = _mapped(lambda part: np.concatenate([part, np.zeros(more, part.dtype)]), asked)
        for name, size in self.whole.items():
            self.whole[name] = np.concatenate([size, np.full(more, -1.0)])

    def _keep(self, on: Bools) -> None:
        """Only the walks that go `on`."""
        if on.all():
            return
        at = np.flatnonzero(on)
        self.live, self.here, self.sums = self.live[at], self.here.take(at), self.sums[:, at]
        self.pipes, self.piped = self.pipes[at], self.piped[at]
        for grids in self.asked.values():
            for grid, asked in grids.items():
                grids[grid] = _mapped(lambda part: part[at], asked)
        self.asked = {name: left for name, grids in self.asked.items() if (left := _any(grids))}
        self.whole = {name: size[at] for name, size in self.whole.items() if (size[at] >= 0).any()}

    def _end(self, over: Bools) -> None:
        """Walks that are over, though not for lack of room."""
        self.ended[self.live[over]] = True
        self.held_bytes[self.live[over]] = self.sums[_HELD, over]
        self._keep(~over)

    def _step(self, at: int, link: Link) -> None:
        """One kernel more in front of every walk."""
        chain = self.chain
        joins = np.full(len(self.live), self.space in link.steps)
        for step in reversed(link.steps.get(self.space, ())):
            joins &= self.here.images == step.grid.images
            self._add(step, joins)
        self._end(~joins)
        if not len(self.live):
            return
        inside = self._count(at, link)
        fits = self.sums[_HELD] <= chain.capacity_bytes
        new = np.flatnonzero(fits & (self.here.last > at))
        if len(new):
            self._note(at, new, inside)
        self._keep(fits)
        self._end((self.here.last - at + 1 >= chain.longest) | (at == 0))

    def _note(self, at: int, new: Ints, inside: Sequence[Floats]) -> None:
        """The runs from kernel `at` to where the walks `new` began, as rows."""
        sums, tiles = self.sums[:, new], self.here.tiles[new]
        most, total = sums[_ENGINES:].max(axis=0), sums[_ENGINES:].sum(axis=0)
        piped_s = np.where(self.piped[new], most + (total - most) / tiles, np.inf)
        whole = np.array([self.live[new], np.full(len(new), at)])
        self.found.append((whole, np.array([*sums[:_CONSTANTS], piped_s, *(part[new] for part in inside)])))

    def _count(self, at: int, link: Link) -> tuple[Floats, Floats, Floats, Floats]:
        """Seconds and constants of a kernel; then (loaded, input, fixed bytes, fixed buffers) if it is the first."""
        part = np.minimum(self.here.part, len(link.busy_s) - 1)
        self.sums[_BUSY] += np.array(link.busy_s)[part] * self._again()
        if self.chain.pipes:
            self._pipe(at, link, part)
        if self.chain.holds:
            self.sums[_HELD] += link.constants
        self.sums[_CONSTANTS] += link.constants
        loaded, into, buffers = (np.zeros(len(self.live)) for _ in range(3))
        fixed = self.sums[_CONSTANTS] * (1 if self.chain.holds else self.here.tiles)
        for name, held, buffer in self._inputs():
            size = np.where(held, self.chain.sizes[name], 0.0)
            buffer = np.where(held, buffer, 0.0)
            if name in self.chain.made:
                loaded, into = loaded + size, into + buffer
            else:
                fixed, buffers = fixed + size, buffers + buffer
        return loaded, into, fixed, buffers

    def _inputs(self) -> Iterator[tuple[str, Bools, Floats]]:
        """What comes in: name, by which walks, and its buffer."""
        for name, grids in self.asked.items():
            for grid, asked in grids.items():
                yield name, asked.held, self._buffer(name, grid, asked, 1)
        for name, buffer in self.whole.items():
            yield name, buffer >= 0, buffer

    def _pipe(self, at: int, link: Link, part: Ints) -> None:
        """The kernel to the engine that ends first with it; nothing overlaps where an operand is held whole."""
        for size in self.whole.values():
            self.piped &= size < 0
        self.piped &= link.engine >= 0
        if not self.piped.any():
            return
        seconds = [np.array(link.busy_s)[part], *(np.array(each)[part + 1] for each in link.others.values())]
        engines = np.array([link.engine, *link.others])
        times = self.sums[_ENGINES + engines] + seconds
        best = np.argmin(times, axis=0)
        every = np.arange(len(best))
        self.sums[_ENGINES + engines[best], every] = times[best, every]
        self.choices[at] = (self.live, engines[best])

    def _again(self) -> Floats:
        """Columns made over columns there are, at the widest tensor of the run; 1.0 in full width."""
        most = np.zeros(len(self.live))
        for grids in self.asked.values():
            for grid, asked in grids.items():
                most = np.where(asked.held, np.maximum(most, asked.width * self.here.across / grid.columns), most)
        return np.where((self.here.across == 1) | (most == 0), 1.0, most)

    def _buffer(self, name: str, grid: Grid, asked: _Asked, new: Any) -> Floats:
        rows = np.minimum(asked.up - asked.low + new * asked.pace, grid.rows)
        if grid.images > 1 and self.chain.pipes:  # parts of two images
            two = np.minimum(asked.up - asked.low, grid.rows) + new * asked.pace
            rows = np.where(self.pipes, two, rows)
        return np.asarray(rows * np.minimum(asked.width, grid.columns) * grid.depth * self.chain.one[name])

    def _add(self, step: Step, joins: Bools) -> None:
        """A node in front of those that are there; `joins` becomes False where it cannot be."""
        made = [self._made(name, grid, joins) for name, grid in step.makes]
        up, pace, width = made[0].up, made[0].pace, made[0].width
        for more in made[1:]:  # one node makes them together
            up, pace, width = np.maximum(up, more.up), np.maximum(pace, more.pace), np.maximum(width, more.width)
        for read in step.reads:
            self._ask(read, _Asked(joins, up, up - pace, width, pace), joins)
        for name in step.whole:
            images = self.here.images if name in step.by_image else np.ones(len(joins))
            self.whole[name] = self.chain.sizes[name] * np.minimum(2 / images, 1.0)
            for asked in self.asked.get(name, {}).values():  # another node reads windows of it
                joins &= ~asked.held

    def _made(self, name: str, grid: Grid, joins: Bools) -> _Asked:
        """How much of a result is needed; its buffer is held from now on."""
        chain, here = self.chain, self.here
        if name in self.whole:
            joins &= self.whole[name] < 0
        pace = ceil_div(grid.rows * here.rows, here.end_rows)
        width = ceil_div(grid.columns * here.columns, here.end_columns)
        asked = _Asked(joins, np.zeros_like(pace), -pace, width, pace)
        for seen, before in self.asked.pop(name, {}).items():
            if seen != grid:
                joins &= ~before.held
            else:
                asked = _Asked(*(np.where(before.held, old, new) for old, new in zip(before, asked, strict=True)))
        leaves = here.last < chain.last_read.get(name, -1)
        buffer = np.where(joins, self._buffer(name, grid, asked, leaves | self.pipes), 0.0)
        size = np.where(joins & leaves, chain.sizes[name], 0.0)
        if name in chain.costing.outputs:
            self.sums[_HELD] += buffer
            self.sums[_FINAL] += size
            return asked
        self.sums[_HELD] += np.where(leaves, 0.0, buffer)
        self.sums[_OUTPUT] += np.where(leaves, buffer, 0.0)
        self.sums[_STORED] += size
        return asked

    def _ask(self, read: Read, out: _Asked, joins: Bools) -> None:
        """A tensor of which windows are read for so many rows and columns of a result."""
        name, grid, down, across = read.name, read.grid, read.rows, read.columns
        if name in self.whole:
            joins &= self.whole[name] < 0
        top = (out.up - 1) * down.stride - down.pad + down.window
        wide = np.minimum((out.width - 1) * across.stride + across.window, grid.columns)
        wide = np.where(self.here.across == 1, grid.columns, wide)
        asked = _Asked(np.ones_like(joins), top, out.low * down.stride - down.pad, wide, out.pace * down.stride)
        grids = self.asked.setdefault(name, {})
        for seen, before in grids.items():
            if seen != grid:
                joins &= ~before.held
        old = grids.get(grid)
        grids[grid] = asked if old is None else _joint(old, asked)


def _mapped(change: Callable[[Any], Any], asked: _Asked) -> _Asked:
    """Every array changed."""
    return _Asked(*(change(part) for part in asked))


def _joint(old: _Asked, new: _Asked) -> _Asked:
    """Both, where the old one is held."""
    up, low = np.maximum(old.up, new.up), np.minimum(old.low, new.low)
    both = _Asked(new.held, up, low, np.maximum(old.width, new.width), np.maximum(old.pace, new.pace))
    return _Asked(*(np.where(old.held, one, other) for one, other in zip(both, new, strict=True)))


def _any(grids: dict[Grid, _Asked]) -> dict[Grid, _Asked]:
    return {grid: asked for grid, asked in grids.items() if asked.held.any()}
