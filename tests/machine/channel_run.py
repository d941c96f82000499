"""Runs one kernel group of channels by group of channels in its declared buffers.

Group g of a tensor lies in copy g mod copies of its buffer. In step t a node of lag l works on group t - l; what step
t + 1 reads is loaded, and what step t - 1 made is stored, while step t computes. Elementwise nodes that run behind
another one of their step find its values in registers, for that step only.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.cost_model import Kernel, Placement
from roofwright.cost_model.channel_cost import SUMS, ChannelCost, passing_by
from roofwright.cost_model.channel_maps import Along, Part
from roofwright.targets import Systolic
from tests.machine.chip import Chip, Ints, Slot
from tests.machine.nests import Nest, nest_of, product
from tests.machine.parts import compute, needs
from tests.machine.plan import Graph, Plan, Reader, Step, _read
from tests.machine.stripping import Job

if TYPE_CHECKING:
    from tests.machine.machine import Machine

Array = NDArray[Any]
_ALL = -1  # the group of what is held whole


def members(along: Along, span: tuple[int, int]) -> Ints:
    """Flat element numbers of a range of channels."""
    numbers = np.arange(along.before * along.extent * along.after).reshape(along.before, along.extent, along.after)
    return np.asarray(numbers[:, slice(*span)].reshape(-1))


def _cut(nest: Nest, part: Part, along: Along | None, extent: int, span: tuple[int, int]) -> tuple[Ints, Ints, Ints]:
    """(left, right, result) of a product's part of a group."""
    if part.role == "each":
        heads, before = len(nest.left), along.before if along is not None and part.work.op == "MatMul" else 1
        own = np.arange(heads).reshape(before, extent, -1)[:, slice(*span)].reshape(-1)
        return nest.left[own], nest.right[own], nest.out[own]
    if part.role == "opens":
        columns = _range(nest.right.shape[1], extent, span)
        return nest.left, nest.right[:, columns], nest.out[..., columns]
    rows = _range(nest.right.shape[2], extent, span)
    return nest.left[:, :, :, rows], nest.right[:, :, rows], nest.out


def _range(size: int, extent: int, span: tuple[int, int]) -> slice:
    return slice(span[0] * size // extent, span[1] * size // extent)


@dataclass
class Task:
    """One node for one group: elements of its result, what it reads for them, and how they are computed."""

    node: gs.Node
    graph: Graph
    made: Ints
    bias: Ints | None = None
    nest: tuple[Ints, Ints] | None = None
    found: list[Ints | None] = field(default_factory=list)
    reads: dict[str, Ints] = field(default_factory=dict)

    @classmethod
    def of(
        cls, part: Part, graph: Graph, along: Along | None, extent: int, span: tuple[int, int], last: bool
    ) -> "Task":
        """What it reads."""
        node, name = part.work.node, part.makes
        nest = nest_of(node, graph.shapes)
        if nest is None:
            made = np.arange(graph.size(name)) if along is None else members(along, span)
            task = cls(node, graph, made, found=needs(node, graph.shapes, 0, made, graph.constants))
        else:
            left, right, out = _cut(nest, part, along, extent, span)
            task = cls(node, graph, out.reshape(-1), nest=(left, right), found=[left, right])
            if len(node.inputs) > 2 and (part.role != "closes" or last):
                task.bias = Job(node, graph, {name: task.made})._bias()
                task.found.append(task.bias)
        for source, elements in zip(node.inputs, task.found, strict=False):
            if elements is not None:
                where = graph.storage(source.name)
                old = task.reads.get(where, np.zeros(0, np.int64))
                task.reads[where] = np.union1d(old, elements[elements >= 0])
        return task

    def run(self, reader: Reader) -> Array:
        """Values of the result, or of the part of it that a group adds."""
        names = [self.graph.storage(t.name) for t in self.node.inputs]
        if self.nest is None:
            inputs = [None if f is None else _read(reader, n, f) for n, f in zip(names, self.found, strict=True)]
            return np.asarray(compute(self.node, self.graph.shapes, inputs, self.found).astype(np.float32))
        left, right = (_read(reader, name, at) for name, at in zip(names, self.nest, strict=False))
        sums = product(left, right).reshape(-1) * self.node.attrs.get("alpha", 1.0)
        if self.bias is not None:
            sums = sums + _read(reader, names[2], self.bias) * self.node.attrs.get("beta", 1.0)
        return np.asarray(sums.astype(np.float32))


@dataclass
class ChannelPlan:
    """A kernel in groups: tasks per node and group (None: what follows has no part of a group before the last)."""

    cost: ChannelCost
    tasks: list[list[Task | None]]

    @classmethod
    def of(cls, cost: ChannelCost, graph: Graph) -> "ChannelPlan":
        """All tasks."""
        groups, stack = cost.groups, cost.groups.stack
        end = groups.count - 1
        tasks = [
            [
                Task.of(part, graph, stack.along.get(part.makes), stack.extent, groups.span(at), at == end)
                if part.role != "follows" or at == end
                else None
                for at in range(groups.count)
            ]
            for part in stack.parts
        ]
        return cls(cost, tasks)

    def wanted(self, name: str, group: int) -> Ints:
        """Elements of a tensor that a group of any node reads; `_ALL`: that all do."""
        chosen = [t for row in self.tasks for t in (row if group == _ALL else [row[group]]) if t is not None]
        found = [task.reads[name] for task in chosen if name in task.reads]
        return np.unique(np.concatenate([np.zeros(0, np.int64), *found]))

    def constants(self) -> Plan:
        """Constants as tiles of a kernel: so they are loaded, early or not, and into as many copies as there are."""
        stack, count = self.cost.groups.stack, self.cost.groups.count
        steps = []
        for at in range(count):
            reads = {n: self.wanted(n, at if n in stack.along else _ALL) for n in stack.constants}
            steps.append(Step(reads, {}, lambda *_: {}))
        return Plan(tuple(steps), slides=False)


class ChannelRun:
    """A kernel in groups of channels on a machine.

    Attributes:
        loads: tensor -> bytes loaded, without constants.
        stored_bytes: bytes stored.
    """

    def __init__(self, machine: "Machine", kernel: Kernel, plan: ChannelPlan) -> None:
        self.machine, self.kernel, self.plan = machine, kernel, plan
        self.cost, self.stack = plan.cost, plan.cost.groups.stack
        self.count, self.lags = plan.cost.groups.count, plan.cost.lags
        self.resident = {n: slot for n, (slot, first) in machine.resident.items() if first <= kernel.index}
        self.earlier = {n for n, (_, first) in machine.resident.items() if first < kernel.index}
        self.slots: dict[str, list[Slot]] = {}
        self.holds: dict[tuple[str, int], int] = {}
        self.registers: dict[str, tuple[Ints, Array]] = {}
        self.inner = passing_by(self.stack, self.lags)
        self.loads: dict[str, int] = {}
        self.stored_bytes = 0
        self.made: list[tuple[str, int]] = []
        self.due: list[tuple[str, int]] = []
        self.sums: dict[str, tuple[Chip, Slot]] = {}

    def run(self) -> None:
        """All steps."""
        self._open()
        for name in self.stack.whole:
            if name not in self.stack.constants and name not in self.earlier:
                self._load(name, _ALL)
        self._fetch(0)
        for step in range(self.count + max(self.lags)):
            self._fetch(step + 1)
            self.registers.clear()
            # Nodes of different lags work at the same time: what is made must not lie where what is behind is read.
            for at in sorted(range(len(self.lags)), key=lambda at: (self.lags[at], at)):
                task = self._task(at, step)
                if task is not None:
                    self._compute(at, step - self.lags[at], task)
            self._store()
        self._store()
        assert not self.made
        assert not self.due

    def _task(self, at: int, step: int) -> Task | None:
        group = step - self.lags[at]
        return self.plan.tasks[at][group] if 0 <= group < self.count else None

    # ---- buffers
    def _open(self) -> None:
        machine, index = self.machine, self.kernel.index
        for placement in self.kernel.buffers:
            name = placement.tensor
            if placement.until is not None or placement.level != machine.level.name or name in self.stack.constants:
                continue
            owner, of = machine.owners[index, name], name.removesuffix(SUMS)
            size, width = machine.graph.size(of), 4 if name.endswith(SUMS) else machine.width(of)
            kind = np.dtype(np.float32)
            self.slots[name] = [machine.chip.slot(owner, c, size, kind, width) for c in range(placement.copies)]
        inside = self._accumulators()
        for at in self.stack.closing:
            name = self.stack.parts[at].makes
            chip = inside if inside is not None else machine.chip
            self.sums[name] = (chip, self.slots[f"{name}{SUMS}"][0])

    def _accumulators(self) -> Chip | None:
        """The unit's own, with room for the groups of products beside the sums; None: sums have a buffer."""
        if not self.cost.sums_bytes:
            return None
        units = [e.geometry for e in self.machine.target.engines if isinstance(e.geometry, Systolic)]
        chip, start = Chip(max(unit.accumulator_bytes or 0 for unit in units)), 0
        for owner, at in enumerate(self.stack.closing):
            name = self.stack.parts[at].makes
            size = self.machine.graph.size(name)
            chip.open(owner, Placement(tensor=name, level="", offset_bytes=start, bytes=4 * size))
            self.slots[f"{name}{SUMS}"] = [chip.slot(owner, 0, size, np.dtype(np.float32), 4)]
            start += 4 * size
        products = [part for part in self.stack.parts if part.role in ("opens", "each") and part.work.work.nest]
        channels = min(self.cost.groups.size, self.stack.extent)
        sizes = sorted(4 * self.stack.along[part.makes].each * channels for part in products)
        for owner, size in enumerate(sizes[-2:], len(self.stack.closing)):  # one is made, one before it taken out
            chip.open(owner, Placement(tensor="groups", level="", offset_bytes=start, bytes=size))
            start += size
        return chip

    def _slot(self, name: str, group: int) -> Slot:
        copies = self.slots[name]
        return copies[0 if group == _ALL else group % len(copies)]

    # ---- what comes in
    def _fetch(self, step: int) -> None:
        """What the nodes of a step read of what is outside, by groups."""
        for at, part in enumerate(self.stack.parts):
            group = step - self.lags[at]
            if not 0 <= group < self.count:
                continue
            for name in (*part.reads, *part.whole):
                if name in self.stack.constants:
                    self.machine.feed(self.kernel.index, name).load_until(group)
                elif name in self.stack.inputs and name not in self.earlier:
                    self._load(name, group)

    def _load(self, name: str, group: int) -> None:
        slot = self._slot(name, group)
        at = (name, slot.base)
        if self.holds.get(at) == group:
            return
        self.machine.chip.clear(slot)
        self.holds[at] = group
        elements = self.plan.wanted(name, group)
        values = self.machine.memory.get(name, elements)
        self.loads[name] = self.loads.get(name, 0) + len(values) * self.machine.width(name)
        self.machine.chip.write(slot, name, elements, values)

    # ---- what is computed
    def _compute(self, at: int, group: int, task: Task) -> None:
        part = self.stack.parts[at]

        def reader(name: str, elements: Ints) -> Array:
            return self._read(name, group, elements)

        values = task.run(reader)
        if part.role == "closes":
            values = self._add(part, group, task, values)
            if group < self.count - 1 or part.makes not in self.stack.leaving:
                return
        if part.makes in self.inner:
            self.registers[part.makes] = (task.made, values)
            return
        whole = part.makes not in self.stack.along
        self._write(part.makes, _ALL if whole else group, task.made, values)
        if part.makes in self.stack.leaving and part.makes not in self.resident:
            self.made.append((part.makes, _ALL if whole else group))

    def _add(self, part: Part, group: int, task: Task, values: Array) -> Array:
        """A group's part of the sums; the sums so far."""
        chip, slot = self.sums[part.makes]
        if group:
            values = values + chip.read(slot, f"{part.makes}:{group - 1}", task.made)
        chip.write(slot, part.makes if group == self.count - 1 else f"{part.makes}:{group}", task.made, values)
        return values

    def _write(self, name: str, group: int, elements: Ints, values: Array) -> None:
        if name in self.resident:
            self.machine.chip.write(self.resident[name], name, elements, values)
            return
        slot = self._slot(name, group)
        self.machine.chip.clear(slot)
        self.machine.chip.write(slot, name, elements, values)

    def _read(self, name: str, group: int, elements: Ints) -> Array:
        if name in self.registers:
            places = np.full(self.machine.graph.size(name), -1, np.int64)
            places[self.registers[name][0]] = np.arange(len(self.registers[name][0]))
            assert np.all(places[elements] >= 0), f"{name}: registers hold another group"
            return np.asarray(self.registers[name][1][places[elements]])
        if name in self.stack.constants:
            return self.machine.feed(self.kernel.index, name).read(group, elements)
        if name in self.sums:
            chip, slot = self.sums[name]
            return chip.read(slot, name, elements)
        if name in self.resident:
            return self.machine.chip.read(self.resident[name], name, elements)
        whole = name not in self.stack.along
        return self.machine.chip.read(self._slot(name, _ALL if whole else group), name, elements)

    # ---- what goes out
    def _store(self) -> None:
        """Results of the step before this one."""
        for name, group in self.due:
            at = self.stack.made[name]
            task = self.plan.tasks[at][self.count - 1 if group == _ALL else group]
            assert task is not None
            values = self.machine.chip.read(self._slot(name, group), name, task.made)
            self.machine.memory.put(name, task.made, values, self.machine.graph.size(name))
            self.stored_bytes += len(values) * self.machine.width(name)
        self.due, self.made = self.made, []
