"""Kernels as links of runs: what each would take in more and more strips, on every engine that can run it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.costing import Costing
from roofwright.cost_model.engines import matrix_table
from roofwright.cost_model.kernels import storage_names
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.strip_cost import one_strip
from roofwright.cost_model.strip_maps import Space, Step
from roofwright.cost_model.traffic import holds_weights
from roofwright.cost_model.units import Floats, Nests
from roofwright.cost_model.work import LoopNest

WALK = 40_000  # kernels looked at for all runs together: bounds the time on very large graphs
LONGEST = 24  # kernels in one run
PIPE = 6  # the same, where all that is to win is that engines overlap
SPACES: tuple[Space, ...] = ("planes", "tokens")


@dataclass(frozen=True)
class Link:
    """One kernel: its nodes as steps in each space, its engine, bytes of constants, seconds in 2**i strips.

    `others`: engines that could run its nests instead, with their seconds for it whole, then likewise.
    """

    steps: Mapping[Space, tuple[Step, ...]]
    engine: int
    constants: float
    busy_s: Sequence[float]
    others: Mapping[int, Sequence[float]]


class Chain:
    """The kernels of a costing one after the other, none of which runs in strips, and the tensors between them.

    Attributes:
        sizes, one: bytes of every tensor, and of one number of it.
        made, last_read: kernel that makes it, and last one that reads it (the caller: as many as there are).
        turns: whether runs are of use whose engines take turns.
        pipes, roams: whether engines may overlap; whether kernels move to other engines for the time of a hand-over.
        longest: kernels in one run.
    """

    def __init__(self, costing: Costing, turns: bool) -> None:
        """Look at the kernels of `costing`."""
        target = costing.target
        assert target.on_chip is not None
        self.costing, self.turns, self.capacity_bytes = costing, turns, target.on_chip.capacity_bytes
        self.sizes: dict[str, float] = {}
        self.one: dict[str, float] = {}
        self.made: dict[str, int] = {}
        self.last_read: dict[str, int] = {}
        alias = storage_names(costing.model.works)
        for at, kernel in enumerate(costing.kernels):
            for operand in (o for node in kernel.nodes for o in (*node.work.reads, *node.work.writes)):
                name = alias.get(operand.name, operand.name)
                self.one[name] = storage_of(operand.dtype, target).bytes(1)
                self.sizes[name] = max(self.sizes.get(name, 0.0), operand.elements * self.one[name])
            self.made.update((operand.name, at) for operand in kernel.writes)
            self.last_read.update((operand.name, at) for operand in kernel.reads)
        self.last_read.update(dict.fromkeys(costing.outputs, len(costing.kernels)))
        self.longest = max(2, min(LONGEST if turns else PIPE, WALK // max(len(costing.kernels), 1)))
        self.holds = holds_weights(target)
        self.pipes = self.holds and not target.stack.handover_s and len(target.engines) > 1
        self.roams = target.stack.handover_s > 0 and len(target.engines) > 1
        self.links = links(costing, self.pipes or self.roams)

    def grows(self, last: int, space: Space) -> bool:
        """Whether kernel `last` and the one before could be a run: seen alike, with room for their constants."""
        pair = self.links[max(last - 1, 0) : last + 1]
        fits = not self.holds or sum(link.constants for link in pair) <= self.capacity_bytes
        return len(pair) > 1 and fits and all(space in link.steps for link in pair)


def links(costing: Costing, pipes: bool) -> list[Link]:
    """All kernels of a costing; `pipes`: engines may overlap, so that others than a kernel's own are of interest."""
    maps, kernels = costing.model.maps, costing.kernels
    steps: list[dict[Space, tuple[Step, ...]]] = []
    for kernel in kernels:
        seen: dict[Space, tuple[Step, ...]] = {}
        for space in SPACES:
            found = [maps.step(node, space) for node in kernel.nodes]
            if all(step is not None for step in found):
                seen[space] = tuple(step for step in found if step is not None)
        steps.append(seen)
    seconds, others = _seconds(costing, steps, pipes)
    constants = [sum(costing.bytes_of(o) for o in kernel.reads if o.constant) for kernel in kernels]
    engines = costing.prices.engine.tolist()
    return [Link(*found) for found in zip(steps, engines, constants, seconds, others, strict=True)]


def _seconds(
    costing: Costing, steps: Sequence[Mapping[Space, Sequence[Step]]], pipes: bool
) -> tuple[list[list[float]], list[dict[int, list[float]]]]:
    """Computation of every kernel in 1, 2, 4, ... strips per image: its own, and what its nests take longer.

    Also that of its nests on every other engine that can run them, where engines may overlap.
    """
    prices, target = costing.prices, costing.target
    nests, owner, times, storage, classes = [], [], [], [], []
    counts, alike = [0] * len(steps), dict[object, list[LoopNest]]()
    for at, seen in enumerate(steps):
        for step in next(iter(seen.values()), ()):
            grid = step.grid
            counts[at] = max(counts[at], (grid.rows - 1).bit_length() + 1)
            for nest in step.work.work.nests:
                heights = [-(-grid.rows >> part) for part in range(counts[at])]
                case = (nest, step.work.op, step.reads[0].rows, step.reads[0].columns, grid, len(heights))
                if case not in alike:
                    alike[case] = [nest, *(one_strip(nest, step, rows, grid.columns) for rows in heights)]
                nests += alike[case]
                owner += [(at, part) for part in range(counts[at] + 1)]
                times += [1, *(-(-grid.rows // rows) * grid.images for rows in heights)]
                storage += [storage_of(step.work.work.reads[0].dtype, target)] * (1 + len(heights))
                classes += [step.work.work.kind] * (1 + len(heights))
    longest = max(counts, default=0)
    every = np.zeros((len(target.engines), len(steps), longest + 2))
    if nests:
        table = matrix_table(Nests.of(nests), storage, classes, target)
        kernel, part = np.array(owner).T
        again = np.array(times) - 1
        for row, length_s, fill_s in zip(every, table.length_s, table.fill_s, strict=True):
            np.add.at(row, (kernel, part), length_s * np.array(times) - fill_s * again)  # the first shift is exposed
    busy = every[np.maximum(prices.engine, 0), np.arange(len(steps))]
    whole = np.maximum(prices.busy_s, prices.inner_s)
    longer = np.where(np.isfinite(busy), busy - busy[:, :1], np.inf)
    own = [(whole[at] + longer[at, 1 : count + 1]).tolist() for at, count in enumerate(counts)]
    return own, [
        _others(prices, at, every[:, at, : count + 1]) if pipes and count else {} for at, count in enumerate(counts)
    ]


def _others(prices: Prices, at: int, seconds: Floats) -> dict[int, list[float]]:
    """Seconds of a kernel's nests on engines that are not its own."""
    if prices.anchor[at] < 0:
        return {}
    rows = enumerate(seconds.tolist())
    return {e: row for e, row in rows if e != prices.engine[at] and np.isfinite(row[0])}
