"""Kernels that run in strips: what every strip loads, makes, keeps and stores, element by element.

Which part of a tensor a strip makes follows from the schedule; what it reads for that follows from each node. An
element leaves its buffer when no strip reads it any more, or the next one that does has it made or loaded again.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.cost_model.strip_cost import StripCost
from roofwright.cost_model.strip_maps import Grid
from roofwright.cost_model.strips import Region
from tests.machine.nests import Ints, Nest, nest_of, product
from tests.machine.parts import compute, needs
from tests.machine.plan import Graph, Reader, _read

Array = NDArray[Any]


def elements_of(grid: Grid, shape: tuple[int, ...], region: Region) -> Ints:
    """Flat element numbers of a region of a tensor, all of its depth."""
    rows, columns = (slice(*axis) for axis in region.new)
    numbers = np.arange(int(np.prod(shape)))
    if grid.space == "planes":
        return np.asarray(numbers.reshape(shape)[region.image, :, rows, columns].reshape(-1))
    return np.asarray(numbers.reshape(grid.images, grid.rows, grid.depth)[region.image, rows].reshape(-1))


@dataclass
class Job:
    """One node in one strip: elements of its results, elements of each tensor it reads, and how it is computed."""

    node: gs.Node
    graph: Graph
    results: dict[str, Ints]
    nest: tuple[Ints, Ints, tuple[int, ...]] | None = None
    found: dict[int, list[Ints | None]] = field(default_factory=dict)
    reads: dict[str, Ints] = field(default_factory=dict)

    @classmethod
    def of(cls, node: gs.Node, graph: Graph, results: dict[str, Ints], nest: Nest | None, columns: slice) -> "Job":
        """What it reads."""
        job = cls(node, graph, results)
        if nest is not None:
            job._select(nest, columns)
        for at, tensor in enumerate(node.outputs):
            if nest is None and len(results.get(tensor.name, ())):
                job.found[at] = needs(node, graph.shapes, at, results[tensor.name], graph.constants)
                for source, elements in zip(node.inputs, job.found[at], strict=True):
                    if elements is not None:
                        job._need(source.name, elements)
        return job

    def _need(self, name: str, elements: Ints) -> None:
        where = self.graph.storage(name)
        self.reads[where] = np.union1d(self.reads.get(where, np.zeros(0, np.int64)), elements[elements >= 0])

    def _select(self, nest: Nest, columns: slice) -> None:
        out = self.node.outputs[0].name
        mine = np.isin(nest.out[:, :, columns.start, 0], self.results[out])
        copies, rows = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
        left = nest.left[np.ix_(copies, rows)][:, :, columns]
        made = nest.out[np.ix_(copies, rows)][:, :, columns]
        self.results[out], self.nest = made.reshape(-1), (left, nest.right[copies], made.shape)
        for tensor, elements in zip(self.node.inputs, self.nest, strict=False):
            self._need(tensor.name, np.asarray(elements))
        if len(self.node.inputs) > 2:
            self._need(self.node.inputs[2].name, self._bias())

    def _bias(self) -> Ints:
        shape, size = (self.graph.shapes[t.name] for t in (self.node.outputs[0], self.node.inputs[2]))
        size = (*size, 1, 1) if self.node.op == "Conv" else size
        numbers = np.arange(int(np.prod(size, dtype=np.int64))).reshape(size)
        return np.asarray(np.broadcast_to(numbers, shape).reshape(-1)[self.results[self.node.outputs[0].name]])

    def run(self, reader: Reader) -> dict[str, Array]:
        """The values of the results."""
        if self.nest is not None:
            return {self.node.outputs[0].name: self._product(reader, *self.nest[:2])}
        made = {}
        for at, found in self.found.items():
            names = [self.graph.storage(t.name) for t in self.node.inputs]
            inputs = [None if f is None else _read(reader, n, f) for n, f in zip(names, found, strict=True)]
            made[self.node.outputs[at].name] = compute(self.node, self.graph.shapes, inputs, found)
        return {name: values.astype(np.float32) for name, values in made.items()}

    def _product(self, reader: Reader, left: Ints, right: Ints) -> Array:
        names = [self.graph.storage(t.name) for t in self.node.inputs]
        sums = product(_read(reader, names[0], left), _read(reader, names[1], right)).reshape(-1)
        sums = sums * self.node.attrs.get("alpha", 1.0)
        if len(names) > 2:
            sums = sums + _read(reader, names[2], self._bias()) * self.node.attrs.get("beta", 1.0)
        return np.asarray(sums.astype(np.float32))


@dataclass
class Strip:
    """One strip: loads by windows, jobs in order."""

    image: int
    loads: dict[str, Ints]
    jobs: list[Job]


@dataclass
class StripPlan:
    """All strips of a kernel.

    Attributes:
        needed: per strip, tensor -> elements of it that a later strip reads as they are.
        constants, whole: operands that are not read by windows.
    """

    cost: StripCost
    strips: list[Strip]
    needed: list[dict[str, Ints]]
    constants: list[str]
    whole: list[str]

    @classmethod
    def of(cls, cost: StripCost, graph: Graph, constants: list[str]) -> "StripPlan":
        """Strips in order, and when every element is read for the last time."""
        stack = cost.strips.stack
        nests = [nest_of(step.work.node, graph.shapes) for step in stack.steps]
        strips = [_strip(cost, graph, at, nests) for at in cost.strips.order()]
        whole = list(dict.fromkeys(name for step in stack.steps for name in step.whole))
        return cls(cost, strips, _needed(strips, list(stack.grids)), constants, whole)

    def dealt(self, images: list[int]) -> list["StripPlan"]:
        """Parts of so many images each, one after the other."""
        parts, first = [], 0
        for many in images:
            mine = [strip for strip in self.strips if first <= strip.image < first + many]
            needed = _needed(mine, list(self.cost.strips.stack.grids))
            parts.append(StripPlan(self.cost, mine, needed, self.constants, self.whole))
            first += many
        return parts


def _needed(strips: list[Strip], names: list[str]) -> list[dict[str, Ints]]:
    """From the last strip back: what is read there or later, without what is made or loaded first."""
    none = np.zeros(0, np.int64)
    found = [dict.fromkeys(names, none)]
    for strip in reversed(strips[1:]):
        reads = {name: [job.reads[name] for job in strip.jobs if name in job.reads] for name in names}
        made = dict(strip.loads)
        for job in strip.jobs:
            made |= job.results
        after = {name: np.unique(np.concatenate([found[-1][name], *reads[name]])) for name in names}
        found.append({name: np.setdiff1d(after[name], made.get(name, none)) for name in names})
    return found[::-1]


def _strip(cost: StripCost, graph: Graph, at: tuple[int, int, int], nests: list[Nest | None]) -> Strip:
    strips, stack = cost.strips, cost.strips.stack

    def part(name: str) -> Ints:
        return elements_of(stack.grids[name], graph.shapes[name], strips.region(name, at))

    jobs = []
    for step, nest in zip(stack.steps, nests, strict=True):
        results = {name: part(name) for name, _ in step.makes}
        columns = slice(*strips.region(step.makes[0][0], at).new[1])
        if any(len(elements) for elements in results.values()):
            jobs.append(Job.of(step.work.node, graph, results, nest, columns))
    return Strip(at[0], {name: part(name) for name in stack.inputs}, jobs)


def by_image(plan: StripPlan, name: str) -> bool:
    """Whether one image at a time of an operand that is held whole is enough."""
    return all(name in step.by_image for step in plan.cost.strips.stack.steps if name in step.whole)


def slices_of(plan: StripPlan, graph: Graph, name: str, parts: int) -> list[Ints]:
    """Elements of a streamed constant in slices of filters."""
    shape = graph.shapes[name] or (1,)
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    reader = next(s.work.node for s in plan.cost.strips.stack.steps if name in [t.name for t in s.work.node.inputs])
    along = 0 if reader.op == "Conv" or reader.attrs.get("transB", 0) else -1
    step = -(-shape[along] // parts)
    starts = range(0, shape[along], step)
    return [np.take(numbers, range(at, min(at + step, shape[along])), along).reshape(-1) for at in starts]
