"""Run an optimized graph's schedule on a machine of bytes, and account for everything it moves."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.cost_model import Costing, GraphModel, Kernel, Placement, Schedule
from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.kernels import storage_names
from roofwright.graph import infer
from roofwright.targets import Target
from tests.machine.channel_run import ChannelPlan, ChannelRun
from tests.machine.chip import Chip, Slot
from tests.machine.feeds import PARTIAL, Drain, Feed, OffChip
from tests.machine.plan import Graph, Plan, Step, plan
from tests.machine.strip_run import StripRun
from tests.machine.stripping import StripPlan

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
        self.makers: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        self.feeds: dict[tuple[int, str], Feed] = {}
        self.resident: dict[str, tuple[Slot, int]] = {}
        self.unstored: list[Drain] = []
        works = [node.work for node in model.works]
        self.dtypes = {operand.name: operand.dtype for work in works for operand in (*work.reads, *work.writes)}
        self.in_strips: dict[int, StripPlan] = {}
        self.by_channels: dict[int, ChannelPlan] = {}
        self.plans = [self._plan(kernel) for kernel in schedule.kernels]

    def width(self, name: str) -> int:
        """Bytes of one element as the machine stores it."""
        return int(storage_of(self.dtypes.get(name, "float32"), self.target).bytes(1))

    def _plan(self, kernel: Kernel) -> Plan:
        tiling = next((t for t in kernel.tilings if t.level == self.level.name), None)
        work = self.costing.kernels[kernel.index]
        assert [node.key for node in work.nodes] == [node.output for node in kernel.nodes]
        if kernel.index in self.costing.strips:
            return self._strips(kernel.index, [o.name for o in work.reads if o.constant])
        if kernel.index in self.costing.channels:
            self.by_channels[kernel.index] = ChannelPlan.of(self.costing.channels[kernel.index], self.graph)
            return self.by_channels[kernel.index].constants()
        return plan(work, tiling, int(self.costing.size.rows[kernel.index]), self.graph)

    def _strips(self, index: int, constants: list[str]) -> Plan:
        """Constants that stay are loaded as those of any kernel: once, for one tile."""
        self.in_strips[index] = StripPlan.of(self.costing.strips[index], self.graph, constants)
        return Plan((Step({n: np.arange(self.graph.size(n)) for n in constants}, {}, lambda *_: {}),), slides=False)

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
                if placement.first_node is not None:
                    continue  # its strips open and close it
                if placement.level == self.level.name and kernel.live(placement)[0] == index:
                    self._reserve(kernel, placement)
        for kernel in self.schedule.kernels[index + 1 :]:
            for part in kernel.prefetch:
                if part.during == index:
                    stored = self.memory.tensors[part.tensor]
                    self.feed(kernel.index, part.tensor).prefetch(part.bytes, len(stored), stored.dtype)

    def _reserve(self, kernel: Kernel, placement: Placement) -> None:
        owner = len(self.owners)
        self.owners[kernel.index, placement.tensor + placement.engine] = owner
        self.chip.open(owner, placement)
        if placement in kernel.resident:
            size, width = self.graph.size(placement.tensor), self.width(placement.tensor)
            slot = self.chip.slot(owner, 0, size, np.dtype(np.float32), width)
            self.resident[placement.tensor] = (slot, kernel.index)

    def _close(self, index: int) -> None:
        for kernel in self.schedule.kernels:
            for placement in kernel.buffers:
                if placement.first_node is not None:
                    continue
                if placement.level == self.level.name and kernel.live(placement)[1] == index:
                    self.chip.close(self.owner(kernel, placement))
                    if placement in kernel.resident:
                        del self.resident[placement.tensor]

    def owner(self, kernel: Kernel, placement: Placement) -> int:
        """Who the bytes of a buffer belong to."""
        return self.owners[kernel.index, placement.tensor + placement.engine]

    # ---- who made what
    def gave(self, run: StripRun, name: str, elements: Any) -> None:
        """An engine's strip made some elements of a tensor."""
        if run.engine:
            none = np.full(self.graph.size(name), -1)
            engines, states = self.makers.setdefault(name, (none, none.copy()))
            engines[elements], states[elements] = self._engines.index(run.engine), self._state(run.kernel.index)

    def taken(self, run: StripRun, name: str, elements: Any) -> None:
        """What an engine reads was made by itself, unless there was a hand-over since."""
        if run.engine and name in self.makers:
            engines, states = (column[elements] for column in self.makers[name])
            mine = (engines < 0) | (engines == self._engines.index(run.engine))
            assert np.all(mine | (states != self._state(run.kernel.index))), f"{name} changes hands"

    @property
    def _engines(self) -> list[str]:
        return [engine.name for engine in self.target.engines]

    def _state(self, index: int) -> int:
        prices = self.costing.prices
        return int((prices.engine if prices.state is None else prices.state)[index])

    def feed(self, index: int, name: str) -> Feed:
        """How one operand of a kernel comes to the chip."""
        if (index, name) not in self.feeds:
            steps, slides = self.plans[index].steps, self.plans[index].slides
            tiles = [step.reads.get(name, np.zeros(0, np.int64)) for step in steps]
            owner = self.owners.get((index, name))
            self.feeds[index, name] = Feed(name, tiles, slides, self.chip, self.memory, owner, self.width(name))
        return self.feeds[index, name]

    # ---- kernels
    def _run(self, kernel: Kernel) -> Moved:
        index = kernel.index
        self._open(index)
        self._store_late()
        if index in self.in_strips:
            return self._run_strips(kernel)
        if index in self.by_channels:
            return self._run_channels(kernel)
        steps, work = self.plans[index].steps, self.costing.kernels[index]
        here = {name: slot for name, (slot, first) in self.resident.items() if first < index}
        names = dict.fromkeys(name for step in steps for name in step.reads)
        assert set(names) == {o.name for o in work.reads}, (set(names), {o.name for o in work.reads})
        feeds = {name: self.feed(index, name) for name in names if name not in here}
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
        for name, drain in drains.items():
            if any(b.tensor == name and b.stored is not None for b in kernel.buffers):
                self.unstored.append(drain)
            else:
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
            output_bytes=sum(drain.stored_bytes + drain.waiting_bytes for drain in drains.values()),
            spilled_bytes=again,
            streamed=not kernel.buffers and bool(self.costing.slices(index)),
        )

    def _run_channels(self, kernel: Kernel) -> Moved:
        index, plan_ = kernel.index, self.by_channels[kernel.index]
        running = ChannelRun(self, kernel, plan_)
        running.run()
        self._close(index)
        constants = plan_.cost.groups.stack.constants
        weights = {name: self.feeds[index, name].moved_bytes for name in constants if (index, name) in self.feeds}
        return Moved(
            tiles=plan_.cost.groups.count,
            loads={**running.loads, **weights},
            weight_bytes=sum(weights.values()),
            input_bytes=sum(running.loads.values()),
            output_bytes=running.stored_bytes,
            spilled_bytes=0,
            streamed=not kernel.buffers and bool(self.costing.slices(index)),
        )

    def _store_late(self) -> None:
        """Store what the kernel before left in buffers that are still open: the port does so before it loads."""
        for drain in self.unstored:
            drain.finish()
        self.unstored.clear()

    def _run_strips(self, kernel: Kernel) -> Moved:
        index, plan_ = kernel.index, self.in_strips[kernel.index]
        shares = plan_.cost.shares
        parts = plan_.dealt([images for _, images in shares]) if shares else [plan_]
        names = [engine for engine, _ in shares] or [""]
        runs = [StripRun(self, kernel, part, engine) for part, engine in zip(parts, names, strict=True)]
        for _ in zip_longest(*(run.run() for run in runs)):
            pass  # engines take turns, strip by strip
        self._close(index)
        loads: dict[str, int] = {}
        for run in runs:
            for name, size in run.loads.items():
                loads[name] = loads.get(name, 0) + size
        for name in plan_.constants:
            if (index, name) in self.feeds:
                loads[name] = self.feeds[index, name].moved_bytes
        return Moved(
            tiles=max(len(plan_.strips) // len(runs), 1),
            loads=loads,
            weight_bytes=sum(size for name, size in loads.items() if name in plan_.constants),
            input_bytes=sum(size for name, size in loads.items() if name not in plan_.constants),
            output_bytes=sum(run.stored_bytes for run in runs),
            spilled_bytes=0,
            streamed=not kernel.buffers and bool(self.costing.slices(index)),
        )

    def _drain(self, index: int, name: str) -> Drain:
        slot, first = self.resident.get(name, (None, -1))
        owner = self.owners.get((index, name)) if slot is None else None
        one = self.width(name)
        widths = (one, max(one, PARTIAL) if index in self.costing.cut.searched else one)
        here = slot if first == index else None
        return Drain(name, self.graph.size(name), self.chip, self.memory, owner, here, widths)
