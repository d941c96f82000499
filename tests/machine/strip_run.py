"""Runs one kernel strip by strip in its declared buffers."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from roofwright.cost_model import Kernel, Placement
from roofwright.cost_model.strip_cost import STREAM_SLICES
from tests.machine.chip import Ints, Pool
from tests.machine.stripping import Job, StripPlan, by_image, slices_of

if TYPE_CHECKING:
    from tests.machine.machine import Machine

Array = NDArray[Any]


class StripRun:
    """A kernel in strips on a machine: the next strip's input is loaded and the last one's results are stored while
    a strip is computed. In step t a node of lag l computes strip t - l.

    Attributes:
        engine: whose samples these are, where several share them; "": all.
        loads: tensor -> bytes loaded.
        stored_bytes: bytes stored.
    """

    def __init__(self, machine: "Machine", kernel: Kernel, plan: StripPlan, engine: str = "") -> None:
        self.machine, self.kernel, self.plan, self.engine = machine, kernel, plan, engine
        self.stack, self.lags = plan.cost.strips.stack, plan.cost.lags
        own = (b for b in kernel.buffers if b.until is None and b.level == machine.level.name)
        self.places = {b.tensor: b for b in own if b.engine in ("", engine)}
        self.resident = {n: slot for n, (slot, first) in machine.resident.items() if first <= kernel.index}
        self.earlier = {n for n, (_, first) in machine.resident.items() if first < kernel.index}
        self.loads: dict[str, int] = {}
        self.stored_bytes = 0
        self.pools: dict[tuple[str, int], Pool] = {}
        self.images: dict[str, list[int]] = {}
        self.stored: dict[str, NDArray[np.bool_]] = {}
        self.waiting: dict[str, Ints] = {}
        self.due: dict[str, Ints] = {}

    def run(self) -> Iterator[None]:
        """All strips; stops after each of them."""
        strips = self.plan.strips
        for name, placement in self.places.items():
            if placement.first_node is None and name in self.stack.grids:
                self._pool(name, self.machine.owner(self.kernel, placement))
        self._load(0)
        for at in range(len(strips) + max(self.lags)):
            self._load(at + 1)
            if at < len(strips):
                self._hold(strips[at].image)
                self._stream()
            self._compute(at)
            self._store()
            self._retire(at)
            yield
        self._store()

    def _span(self, name: str) -> tuple[int, int]:
        """How far behind a tensor is made (what is loaded: before the step), and its last reader."""
        behind = [self.lags[at] for at, *_ in self.stack.readers.get(name, ())]
        own = self.lags[self.stack.made[name]] if name in self.stack.made else min(behind) - 1
        return own, max(behind, default=own)

    def _between(self, first: int, last: int) -> range:
        """Strips, those that there are."""
        return range(max(first, 0), min(last, len(self.plan.strips) - 1) + 1)

    # ---- what comes in
    def _load(self, step: int) -> None:
        """What the first reader of each tensor needs in a step."""
        for name in self.stack.inputs:
            at = step - self._span(name)[0] - 1
            if name in self.earlier or at not in self._between(at, at):
                continue
            elements = self.plan.strips[at].loads[name]
            self.pools[name, 0].put(name, elements, self._fetch(name, elements))

    def _fetch(self, name: str, elements: Ints) -> Array:
        values = self.machine.memory.get(name, elements)
        self.machine.taken(self, name, elements)
        self.loads[name] = self.loads.get(name, 0) + len(values) * self.machine.width(name)
        return values

    def _hold(self, image: int) -> None:
        """Operands that are held whole (what these samples read), or this image's part of them."""
        images = self.stack.last.images
        for name in self.plan.whole:
            if name in self.earlier:
                continue
            placement, size = self.places[name], self.machine.graph.size(name)
            if images > 1 and by_image(self.plan, name):
                number, span = image, (image * size // images, (image + 1) * size // images)
            else:
                mine = [strip.image for strip in self.plan.strips] if self.engine else [0, images - 1]
                number, span = 0, (min(mine) * size // images, (max(mine) + 1) * size // images)
            copy = number % placement.copies
            if self.images.setdefault(name, [-1] * placement.copies)[copy] == number:
                continue
            self.images[name][copy] = number
            elements = np.arange(*span)
            pool = self._pool(name, self.machine.owner(self.kernel, placement), copy)
            pool.put(name, elements, self._fetch(name, elements))

    def _pool(self, name: str, owner: int, copy: int = 0) -> Pool:
        size, width = self.machine.graph.size(name), self.machine.width(name)
        slot = self.machine.chip.slot(owner, copy, size, np.dtype(np.float32), width)
        self.pools[name, copy] = Pool(self.machine.chip, slot)
        return self.pools[name, copy]

    # ---- what is computed
    def _compute(self, at: int) -> None:
        owners: dict[str, int] = {}
        # Nodes of different lags work at the same time: those behind go first, so that none reads what is being made.
        for place, step in sorted(enumerate(self.stack.steps), key=lambda item: (-self.lags[item[0]], item[0])):
            now = self._between(at - self.lags[place], at - self.lags[place])
            jobs = {job.node.outputs[0].name: job for strip in now for job in self.plan.strips[strip].jobs}
            for name, placement in self.places.items():
                if placement.first_node == place:
                    owners[name] = self._open(placement)
            job = jobs.get(step.work.node.outputs[0].name)
            if job is not None:
                self._run(job)
            for name in [n for n in owners if self.places[n].last_node == place]:
                self.machine.chip.close(owners.pop(name))
                del self.pools[name, 0]

    def _open(self, placement: Placement) -> int:
        owner = len(self.machine.owners)
        self.machine.owners[self.kernel.index, f"{placement.tensor}@{owner}"] = owner
        self.machine.chip.open(owner, placement)
        self._pool(placement.tensor, owner)
        return owner

    def _run(self, job: Job) -> None:
        self._weights(job)
        for name, values in job.run(self._read).items():
            elements = job.results[name]
            self.machine.gave(self, name, elements)
            if name in self.resident:
                self.machine.chip.write(self.resident[name], name, elements, values)
            else:
                self.pools[name, 0].put(name, elements, values)
            if name in self.stack.leaving and name not in self.resident:
                self.waiting[name] = np.union1d(self.waiting.get(name, np.zeros(0, np.int64)), elements)

    def _read(self, name: str, elements: Ints) -> Array:
        if name in self.resident:
            self.machine.taken(self, name, elements)
            return self.machine.chip.read(self.resident[name], name, elements)
        if name in self.plan.constants:
            return self._constant(name, elements)
        copies = [pool for (tensor, _), pool in self.pools.items() if tensor == name]
        here = next((pool for pool in copies if pool.has(elements).all()), copies[0])
        return here.get(name, elements)

    # ---- constants
    def _constant(self, name: str, elements: Ints) -> Array:
        if name not in self._again():
            return self.machine.feed(self.kernel.index, name).read(0, elements)
        return self.machine.memory.get(name, elements)

    def _again(self) -> set[str]:
        holds = "weights" in self.machine.level.holds
        return set(self.kernel.streamed) if holds else set(self.plan.constants)

    def _weights(self, job: Job) -> None:
        """Constants of a node: loaded once, or now, slice by slice, through their two copies."""
        for name in [name for name in job.reads if name in self.plan.constants]:
            if name not in self._again():
                self.machine.feed(self.kernel.index, name).load_until(0)

    def _stream(self) -> None:
        """Load every streamed constant once more: slices alternate between the copies of its buffer."""
        for name in sorted(self._again()):
            parts = STREAM_SLICES if name in self.places else 1
            for number, elements in enumerate(slices_of(self.plan, self.machine.graph, name, parts)):
                values = self._fetch(name, elements)
                if name in self.places:
                    copy = number % self.places[name].copies
                    owner = self.machine.owner(self.kernel, self.places[name])
                    self._pool(name, owner, copy).put(name, elements, values)

    # ---- what goes out
    def _store(self) -> None:
        """Results of the strip before this one."""
        for name, elements in self.due.items():
            done = self.stored.setdefault(name, np.zeros(self.machine.graph.size(name), bool))
            new = elements[~done[elements]]
            values = self.pools[name, 0].get(name, new)
            self.machine.memory.put(name, new, values, len(done))
            self.stored_bytes += len(values) * self.machine.width(name)
            done[new] = True
        self.due, self.waiting = self.waiting, {}

    def _retire(self, at: int) -> None:
        """Drop what no later strip reads, what no node that is behind will read, and what is not to be stored."""
        strips = self.plan.strips
        for (name, _), pool in self.pools.items():
            if name not in self.stack.grids:
                continue
            own, behind = self._span(name)
            here = np.flatnonzero(pool.slot.place >= 0)
            stays = [self.plan.needed[s][name] for s in self._between(at - behind, at - behind)]
            for strip in (strips[s] for s in self._between(at - behind + 1, at - own)):
                stays += [strip.loads[name]] if name in strip.loads else []
                stays += [job.results[name] for job in strip.jobs if name in job.results]
            stays += [self.due[name]] if name in self.due else []
            pool.drop(np.setdiff1d(here, np.concatenate([*stays, np.zeros(0, np.int64)])))
