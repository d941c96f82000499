"""Runs of kernels that could be one kernel in strips, and what each would cost: candidates for depth-first execution.

Kernels in a row, in the order of a schedule, are convex whatever their edges. What a run needs on chip follows from the
steady state of its strips: going back from its last node, where a node makes `pace` rows per strip, the last of them
row `up`, a window of size k, stride s and padding p needs its operand up to row (up - 1) s - p + k and from row
(up - pace) s - p on, and pace * s new rows of it per strip. (Rows count from the end of the last node's strip.) Strips
side by side make what they share again: w columns need (w - 1) s + k of the operand.

These figures choose; `strip_cost` has the exact ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.costing import Costing
from roofwright.cost_model.kernels import storage_names
from roofwright.cost_model.run_links import Link, links
from roofwright.cost_model.strip_maps import Grid, Read, Space, Step
from roofwright.cost_model.traffic import holds_weights

WALK = 40_000  # kernels looked at for all runs together: bounds the time on very large graphs
SMALL = 8  # a run that holds less than this share of the memory leaves room enough for what stays beside it
ACROSS = (1, 2, 4, 8)  # strips side by side
LONGEST = 24  # kernels in one run
PIPE = 6  # the same, where all that is to win is that engines overlap
PIPED = 4  # 2**4 strips of an image are enough for engines to overlap


@dataclass(slots=True)
class Run:
    """Kernels `first` to `last` as one, in strips of `rows` x `columns` at the last node (None: full width).

    Attributes:
        tiles: strips of all images.
        busy_s: computation.
        held_bytes: buffers of constants and of tensors between the nodes.
        input_bytes: buffers of what earlier kernels made; `loaded_bytes`: all of it.
        fixed_bytes: constants and what the caller gives, loaded in any case; `fixed_buffers`: buffers of the latter.
        output_bytes: buffers of results that later kernels read; `stored_bytes`: all of them.
        final_bytes: results for the caller, stored in any case.
        engine_s: computation of every engine, where they can overlap; `engines`: of every kernel, for that.
        where: kernel -> engine and lag, in a run that was chosen because its engines overlap.
    """

    first: int
    last: int
    rows: int
    columns: int | None
    tiles: int = 0
    busy_s: float = 0.0
    held_bytes: float = 0.0
    input_bytes: float = 0.0
    loaded_bytes: float = 0.0
    fixed_bytes: float = 0.0
    fixed_buffers: float = 0.0
    output_bytes: float = 0.0
    stored_bytes: float = 0.0
    final_bytes: float = 0.0
    engine_s: tuple[float, ...] = ()
    engines: tuple[int, ...] = ()
    where: Mapping[int, tuple[str, int]] = field(default_factory=dict)

    @property
    def piped_s(self) -> float:
        """Computation where engines overlap: the busiest one's, and the others' for the strips at either end."""
        if not self.engine_s:
            return float("inf")
        most = max(self.engine_s)
        return most + (sum(self.engine_s) - most) / self.tiles

    @property
    def overlaps(self) -> bool:
        """Whether engines that work at the same time are shorter than engines that take turns."""
        return self.piped_s < self.busy_s

    @property
    def length_s(self) -> float:
        """Computation, in turns or not."""
        return min(self.busy_s, self.piped_s)


@dataclass(slots=True)
class _Asked:
    """A tensor that nodes of a run read: up to and from which row, how wide, how many new rows per strip."""

    grid: Grid
    up: int
    low: int
    width: int
    pace: int


class Runs:
    """All runs of a costing's kernels."""

    def __init__(self, costing: Costing, turns: bool = True) -> None:
        """Look at the kernels of `costing`, none of which runs in strips.

        Args:
            costing: of the kernels.
            turns: False: only runs whose engines overlap are of use.
        """
        self.costing, self.target = costing, costing.target
        self.sizes: dict[str, float] = {}
        self.one: dict[str, float] = {}
        self.made: dict[str, int] = {}
        self.last_read: dict[str, int] = {}
        self.alias = storage_names(costing.model.works)
        for at, kernel in enumerate(costing.kernels):
            self._note(at)
            self.made.update((operand.name, at) for operand in kernel.writes)
            for operand in kernel.reads:
                self.last_read[operand.name] = at
        self.last_read.update(dict.fromkeys(costing.outputs, len(costing.kernels)))
        self.holds = holds_weights(self.target)
        self.longest = max(2, min(LONGEST if turns else PIPE, WALK // max(len(costing.kernels), 1)))
        self.turns = turns
        self.pipes = self.holds and not self.target.stack.handover_s and len(self.target.engines) > 1
        self.links = links(costing, self.pipes)

    def _note(self, at: int) -> None:
        """Bytes of the tensors that a kernel touches: of one number, and whole."""
        for node in self.costing.kernels[at].nodes:
            for operand in (*node.work.reads, *node.work.writes):
                name = self.alias.get(operand.name, operand.name)
                self.one[name] = storage_of(operand.dtype, self.target).bytes(1)
                self.sizes[name] = max(self.sizes.get(name, 0.0), operand.elements * self.one[name])

    def where(self, run: Run) -> dict[int, tuple[str, int]]:
        """Engine and lag of every kernel of a run: one more wherever what it reads comes from another engine."""
        kernels, found = self.costing.kernels, list[int]()
        for at in range(run.first, run.last + 1):
            before = {self.made.get(o.name, -1) - run.first for o in kernels[at].reads}
            own = run.engines[at - run.first]
            found.append(max((found[b] + (run.engines[b] != own) for b in before if b >= 0), default=0))
        names = [self.target.engines[engine].name for engine in run.engines]
        return {run.first + at: pair for at, pair in enumerate(zip(names, found, strict=True))}

    def ending_at(self, last: int) -> Iterator[Run]:
        """All runs of two kernels or more up to kernel `last`: every length and size of strip that fits the chip.

        One object stands for run after run of a size of strip: copy what is to be kept.
        """
        level = self.target.on_chip
        assert level is not None
        for space, steps in self.links[last].steps.items():
            if not steps or steps[-1].grid.is_empty:
                continue
            for across in ACROSS:
                if across > steps[-1].grid.columns:
                    break
                fitted = False
                alone = not self.turns and steps[-1].grid.images == 1  # a strip overlaps with another
                for part in range(int(alone), len(self.links[last].busy_s)):
                    walk = _Walk(self, last, space, part, across)
                    yield from walk
                    fitted = walk.ended
                    enough = part >= PIPED or not self.pipes or across > 1
                    small = walk.run.held_bytes <= level.capacity_bytes / SMALL or not self.turns
                    if fitted and enough and small:
                        break  # still shorter strips only cost
                if fitted or not self.turns:  # narrower strips are for what does not fit in full width
                    break


class _Walk:
    """From one kernel back, as far as kernels can join and what they hold fits; `ended`: not for lack of room."""

    def __init__(self, runs: Runs, last: int, space: Space, part: int, across: int) -> None:
        self.runs, self.last, self.space, self.part, self.across = runs, last, space, part, across
        self.end = runs.links[last].steps[space][-1].grid
        rows, columns = -(-self.end.rows >> part), -(-self.end.columns // across)
        self.rows, self.columns = rows, columns
        tiles = self.end.images * -(-self.end.rows // rows) * -(-self.end.columns // columns)
        self.run = Run(last, last, rows, None if across == 1 else columns, tiles)
        self.open: dict[str, _Asked] = {}
        self.whole: dict[str, float] = {}
        self.constants = 0.0
        self.ended = False
        self.pipes = runs.pipes and across == 1
        self.run.engine_s = (0.0,) * len(runs.target.engines) if self.pipes else ()

    def __iter__(self) -> Iterator[Run]:
        runs, level = self.runs, self.runs.target.on_chip
        assert level is not None
        engine, anywhere = runs.links[self.last].engine, not runs.target.stack.handover_s
        for at in range(self.last, max(self.last - runs.longest, -1), -1):
            link = runs.links[at]
            steps = link.steps.get(self.space)
            same = anywhere or link.engine == engine
            if steps is None or not same or not all(self._add(step) for step in reversed(steps)):
                self.ended = True
                return
            self._count(at, link)
            if self.run.held_bytes > level.capacity_bytes:
                return
            if at < self.last:
                yield self.run
        self.ended = True

    def _count(self, at: int, link: Link) -> None:
        """Seconds and constants of a kernel, and what comes in when it is the first."""
        run, runs = self.run, self.runs
        run.first = at
        run.busy_s += link.busy_s[min(self.part, len(link.busy_s) - 1)] * self._again()
        self._pipe(link)
        run.fixed_bytes = run.loaded_bytes = run.input_bytes = run.fixed_buffers = 0.0
        if runs.holds:
            run.held_bytes += link.constants
        self.constants += link.constants
        run.fixed_bytes = self.constants * (1 if runs.holds else run.tiles)
        sides = [(name, runs.sizes[name], self._buffer(name, asked, 1)) for name, asked in self.open.items()]
        sides += [(name, runs.sizes[name], size) for name, size in self.whole.items()]
        for name, size, buffer in sides:
            if name in runs.made:
                run.loaded_bytes += size
                run.input_bytes += buffer
            else:
                run.fixed_bytes += size
                run.fixed_buffers += buffer

    def _pipe(self, link: Link) -> None:
        """The kernel to the engine that ends first with it; nothing overlaps where an operand is held whole."""
        run = self.run
        if not run.engine_s or self.whole or link.engine < 0:
            run.engine_s = ()
            return
        part = min(self.part, len(link.busy_s) - 1)
        ways = {link.engine: link.busy_s[part]} | {e: each[part + 1] for e, each in link.others.items()}
        times = {e: run.engine_s[e] + seconds for e, seconds in ways.items()}
        best = min(times, key=lambda e: (times[e], e != link.engine))
        run.engine_s = tuple(times[e] if e == best else old for e, old in enumerate(run.engine_s))
        run.engines = (best, *run.engines)

    def _again(self) -> float:
        """Columns made over columns there are, at the widest tensor of the run."""
        if self.across == 1:
            return 1.0
        return max((a.width * self.across / a.grid.columns for a in self.open.values()), default=1.0)

    def _buffer(self, name: str, asked: _Asked, new: int) -> float:
        grid = asked.grid
        rows = min(asked.up - asked.low + new * asked.pace, grid.rows)
        if self.pipes and grid.images > 1:  # parts of two images
            rows = min(asked.up - asked.low, grid.rows) + new * asked.pace
        return rows * min(asked.width, grid.columns) * grid.depth * self.runs.one[name]

    def _add(self, step: Step) -> bool:
        """A node in front of those that are there; False where it cannot join."""
        if step.grid.images != self.end.images:
            return False
        up = pace = width = None
        for name, grid in step.makes:
            made = self._made(name, grid)
            if made is None:
                return False
            if up is None or pace is None or width is None:
                up, pace, width = made.up, made.pace, made.width
            else:  # one node makes them together
                up, pace, width = max(up, made.up), max(pace, made.pace), max(width, made.width)
        if up is None or pace is None or width is None:
            return False
        return all(self._ask(read, up, pace, width) for read in step.reads) and self._hold(step)

    def _hold(self, step: Step) -> bool:
        """What a node holds whole; False where another reads windows of it."""
        for name in step.whole:
            images = self.end.images if name in step.by_image else 1
            self.whole[name] = self.runs.sizes[name] * min(2 / images, 1.0)
        return not any(name in self.open for name in step.whole)

    def _made(self, name: str, grid: Grid) -> _Asked | None:
        """How much of a result is needed; its buffer is held from now on."""
        run, runs = self.run, self.runs
        if name in self.whole:
            return None
        asked, leaves = self.open.pop(name, None), runs.last_read.get(name, -1) > self.last
        if asked is None:
            pace = -(-grid.rows * self.rows // self.end.rows)
            width = grid.columns if self.across == 1 else -(-grid.columns * self.columns // self.end.columns)
            asked = _Asked(grid, 0, -pace, width, pace)
        elif asked.grid != grid:
            return None
        buffer = self._buffer(name, asked, 1 if leaves or self.pipes else 0)
        if not leaves:
            run.held_bytes += buffer
        elif name in runs.costing.outputs:
            run.held_bytes += buffer
            run.final_bytes += runs.sizes[name]
        else:
            run.output_bytes += buffer
            run.stored_bytes += runs.sizes[name]
        return asked

    def _ask(self, read: Read, up: int, pace: int, width: int) -> bool:
        """A tensor of which windows are read for so many rows and columns of a result; False where it cannot be."""
        name, rows, grid = read.name, read.rows, read.grid
        if name in self.whole:
            return False
        top, low, pace = (
            (up - 1) * rows.stride - rows.pad + rows.window,
            (up - pace) * rows.stride - rows.pad,
            pace * rows.stride,
        )
        if self.across == 1:
            wide = grid.columns
        else:
            wide = min((width - 1) * read.columns.stride + read.columns.window, grid.columns)
        old = self.open.get(name)
        if old is None:
            self.open[name] = _Asked(grid, top, low, wide, pace)
            return True
        if old.grid != grid:
            return False
        old.up, old.low = max(old.up, top), min(old.low, low)
        old.width, old.pace = max(old.width, wide), max(old.pace, pace)
        return True
