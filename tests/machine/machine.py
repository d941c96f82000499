"""Run an optimized graph's schedule on a machine of bytes, and account for everything it moves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.cost_model import Costing, GraphModel, Kernel, Placement, Schedule
from roofwright.cost_model.kernels import storage_names
from roofwright.graph import infer
from roofwright.targets import Target
from tests.machine.chip import Chip, Slot
from tests.machine.feeds import Drain, Feed, OffChip
from tests.machine.plan import Graph, Plan, plan

Array = NDArray[Any]


@dataclass(frozen=True)
class Moved:
    """What one kernel did, in bytes between chip and device memory; early loads count for the kernel they are for."""

    tiles: int
    loads: Mapping[str, int]
    weight_bytes: int
    input_bytes: int
    output_bytes: int
    spilled_bytes: int  # partial sums read back
    streamed: bool  # without addresses: some kernel's tiles did not fit


@dataclass(frozen=True)
class Outcome:
    """Results, and what it took to get them."""

    outputs: Mapping[str, Array]
    kernels: tuple[Moved, ...]
    peak_bytes: int


class Machine:
    """A target with one explicit memory between its engines and its device memory."""

    def __init__(self, graph: gs.Graph, target: Target, schedule: Schedule) -> None:
        model = GraphModel.of(graph)
        self.schedule, self.target, self.source = schedule, target, graph
        self.costing = Costing.of(model, target, schedule)
        shapes = {name: tuple(int(d or 0) for d in info.shape or ()) for name, info in infer(graph, {}).items()}
        constants = {t.name: np.asarray(t.values) for n in graph.nodes for t in n.inputs if isinstance(t, gs.Constant)}
        shapes |= {name: value.shape for name, value in constants.items()}
        self.graph = Graph(shapes, storage_names(model.works), constants)
        assert target.on_chip is not None
        self.level = target.on_chip
        self.chip, self.memory = Chip(self.level.capacity_bytes), OffChip()
        self.owners: dict[tuple[int, str], int] = {}
        self.feeds: dict[tuple[int, str], Feed] = {}
        self.resident: dict[str, tuple[Slot, int]] = {}
        self.plans = [self._plan(kernel) for kernel in schedule.kernels]

    def _plan(self, kernel: Kernel) -> Plan:
        tiling = next((t for t in kernel.tilings if t.level == self.level.name), None)
        work = self.costing.kernels[kernel.index]
        assert [node.key for node in work.nodes] == [node.output for node in kernel.nodes]
        return plan(work, tiling, int(self.costing.size.rows[kernel.index]), self.graph)

    def run(self, inputs: Mapping[str, Array]) -> Outcome:
        """Run all kernels in order."""
        for name, values in {**self.graph.constants, **inputs}.items():
            self.memory.put(name, np.arange(values.size), values.reshape(-1), values.size)
        done = tuple(self._run(kernel) for kernel in self.schedule.kernels)
        outputs = {}
        for tensor in self.source.outputs:
            where = self.graph.storage(tensor.name)
            flat = self.memory.get(where, np.arange(self.graph.size(where)))
            outputs[tensor.name] = flat.reshape(self.graph.shapes[tensor.name])
        return Outcome(outputs, done, self.chip.peak_bytes)

    # ---- buffers
    def _open(self, index: int) -> None:
        """Buffers that are live from this kernel on; what is prefetched into those of later ones."""
        for kernel in self.schedule.kernels:
            for placement in kernel.buffers:
                if placement.level == self.level.name and kernel.live(placement)[0] == index:
                    self._reserve(kernel, placement)
        for kernel in self.schedule.kernels[index + 1 :]:
            for part in kernel.prefetch:
                if part.during == index:
                    stored = self.memory.tensors[part.tensor]
                    self._feed(kernel.index, part.tensor).prefetch(part.bytes, len(stored), stored.dtype)

    def _reserve(self, kernel: Kernel, placement: Placement) -> None:
        owner = len(self.owners)
        self.owners[kernel.index, placement.tensor] = owner
        self.chip.open(owner, placement)
        if placement in kernel.resident:
            slot = self.chip.slot(owner, 0, self.graph.size(placement.tensor), np.dtype(np.float32))
            self.resident[placement.tensor] = (slot, kernel.index)

    def _close(self, index: int) -> None:
        for kernel in self.schedule.kernels:
            for placement in kernel.buffers:
                if placement.level == self.level.name and kernel.live(placement)[1] == index:
                    self.chip.close(self.owners[kernel.index, placement.tensor])
                    if placement in kernel.resident:
                        del self.resident[placement.tensor]

    def _feed(self, index: int, name: str) -> Feed:
        if (index, name) not in self.feeds:
            steps, slides = self.plans[index].steps, self.plans[index].slides
            tiles = [step.reads.get(name, np.zeros(0, np.int64)) for step in steps]
            owner = self.owners.get((index, name))
            self.feeds[index, name] = Feed(name, tiles, slides, self.chip, self.memory, owner)
        return self.feeds[index, name]

    # ---- kernels
    def _run(self, kernel: Kernel) -> Moved:
        index = kernel.index
        self._open(index)
        steps, work = self.plans[index].steps, self.costing.kernels[index]
        here = {name: slot for name, (slot, first) in self.resident.items() if first < index}
        names = dict.fromkeys(name for step in steps for name in step.reads)
        assert set(names) == {o.name for o in work.reads}, (set(names), {o.name for o in work.reads})
        feeds = {name: self._feed(index, name) for name in names if name not in here}
        drains = {o.name: self._drain(index, o.name) for o in work.writes}
        for at, step in enumerate(steps):
            for feed in feeds.values():
                feed.load_until(min(at + 1, len(steps) - 1))
            partial = [drains[name].begin(elements, step.first) for name, elements in step.makes.items()]

            def reader(name: str, elements: Any, at: int = at) -> Array:
                if name in here:
                    return self.chip.read(here[name], name, elements)
                return feeds[name].read(at, elements)

            made = step.run(reader, partial[0])
            for name, values in made.items():
                drains[name].end(step.makes[name], values, step.last)
        for drain in drains.values():
            drain.finish()
        self._close(index)
        constant = {o.name for o in work.reads if o.constant}
        loads = {name: feed.moved_bytes for name, feed in feeds.items()}
        again = sum(drain.reloaded_bytes for drain in drains.values())
        return Moved(
            tiles=len(steps),
            loads=loads,
            weight_bytes=sum(size for name, size in loads.items() if name in constant),
            input_bytes=again + sum(size for name, size in loads.items() if name not in constant),
            output_bytes=sum(drain.stored_bytes for drain in drains.values()),
            spilled_bytes=again,
            streamed=not kernel.buffers and bool(self.costing.slices(index)),
        )

    def _drain(self, index: int, name: str) -> Drain:
        slot, first = self.resident.get(name, (None, -1))
        owner = self.owners.get((index, name)) if slot is None else None
        return Drain(name, self.graph.size(name), self.chip, self.memory, owner, slot if first == index else None)
