"""Kernels as links of runs: what each would take in more and more strips, on every engine that can run it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.costing import Costing
from roofwright.cost_model.engines import matrix_table
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.strip_cost import one_strip
from roofwright.cost_model.strip_maps import Space, Step
from roofwright.cost_model.units import Floats, Nests

_SPACES: tuple[Space, ...] = ("planes", "tokens")


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


def links(costing: Costing, pipes: bool) -> list[Link]:
    """All kernels of a costing; `pipes`: engines may overlap, so that others than a kernel's own are of interest."""
    maps, kernels = costing.model.maps, costing.kernels
    steps: list[dict[Space, tuple[Step, ...]]] = []
    for kernel in kernels:
        seen: dict[Space, tuple[Step, ...]] = {}
        for space in _SPACES:
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
    counts = [0] * len(steps)
    for at, seen in enumerate(steps):
        for step in next(iter(seen.values()), ()):
            grid = step.grid
            counts[at] = max(counts[at], (grid.rows - 1).bit_length() + 1)
            for nest in step.work.work.nests:
                heights = [-(-grid.rows >> part) for part in range(counts[at])]
                nests += [nest, *(one_strip(nest, step, rows, grid.columns) for rows in heights)]
                owner += [(at, part) for part in range(counts[at] + 1)]
                times += [1, *(-(-grid.rows // rows) * grid.images for rows in heights)]
                storage += [storage_of(step.work.work.reads[0].dtype, target)] * (1 + len(heights))
                classes += [step.work.work.kind] * (1 + len(heights))
    longest = max(counts, default=0)
    every = np.zeros((len(target.engines), len(steps), longest + 2))
    if nests:
        table = matrix_table(Nests.of(nests), storage, classes, target)
        kernel, part = np.array(owner).T
        for row, length_s in zip(every, table.length_s, strict=True):
            np.add.at(row, (kernel, part), length_s * np.array(times))
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
