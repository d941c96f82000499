"""Which nodes run as one kernel: a matrix node with its epilogue, or a chain of elementwise nodes.

An epilogue streams behind the matrix unit while its result is still on chip: bias, activation, residual Add. The rules
are those of every kernel library: same shape as the anchor's result (nothing broadcasts it up), every other operand is
a constant or was finished by an earlier kernel, and exactly one tensor leaves the kernel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from roofwright.cost_model import NodeWork

MAX_NODES = 32  # of one kernel: keeps the walk linear; real epilogues are shorter


@dataclass
class _Region:
    """A kernel that grows: its nodes and, per tensor made inside, how many readers are still outside."""

    nodes: list[NodeWork]
    open_uses: dict[str, int] = field(default_factory=dict)


class Grouper:
    """Groups the works of one graph, in topological order, in time linear in the edges."""

    def __init__(
        self,
        works: Sequence[NodeWork],
        outputs: Sequence[str],
        fuses: Sequence[str],
        composites: Sequence[Sequence[str]] = (),
    ) -> None:
        """Prepare for `works`.

        Args:
            works: all nodes of the graph in topological order.
            outputs: names of the graph's outputs, which always leave their kernel.
            fuses: what the stack's kernels take in: "bias", "activation", "residual", "elementwise".
            composites: keys of nodes that are one kernel of their own, group by group (see `composites`).
        """
        self.works, self.fuses = works, frozenset(fuses)
        self.position = {work.key: i for i, work in enumerate(works)}
        self.readers: dict[str, list[NodeWork]] = {}
        self.uses: dict[str, int] = dict.fromkeys(outputs, 1)
        for work in works:
            for tensor in work.node.inputs:
                self.uses[tensor.name] = self.uses.get(tensor.name, 0) + 1
                self.readers.setdefault(tensor.name, []).append(work)
        self.maker = {tensor.name: work.key for work in works for tensor in work.node.outputs}
        self.taken: dict[str, int] = {}  # node key -> kernel
        self.composite = {name: at for at, group in enumerate(composites) for name in group}
        self.members: dict[int, list[NodeWork]] = {}
        for work in works:
            if work.key in self.composite and work.work.kind != "view":
                self.members.setdefault(self.composite[work.key], []).append(work)

    def groups(self) -> list[list[NodeWork]]:
        """The kernels, in order of execution; views belong to none."""
        found: list[list[NodeWork]] = []
        for work in self.works:
            if work.work.kind == "view":
                self.taken[work.key] = max((self._kernel_of(t.name) for t in work.node.inputs), default=-1)
                continue
            if work.key in self.taken:
                continue
            members = self.members.get(self.composite.get(work.key, -1), [work])
            if work is not members[-1]:
                continue  # all that a composite reads is finished before its last node
            nodes = members if len(members) > 1 else self._grown(work, len(found))
            for node in nodes:
                self.taken[node.key] = len(found)
            found.append(nodes)
        return found

    def _kernel_of(self, name: str) -> int:
        """The kernel that finishes a tensor; -1 for inputs, constants and what only depends on them."""
        return self.taken.get(self.maker.get(name, ""), -1)

    def _grown(self, first: NodeWork, index: int) -> list[NodeWork]:
        """The longest run of followers after which exactly one tensor leaves the kernel."""
        region = _Region([first])
        if not self._may_lead(first):
            return [first]
        self._open(region, first)
        best = 1
        while len(region.nodes) < MAX_NODES:
            follower = self._follower(region, index)
            if follower is None:
                break
            region.nodes.append(follower)
            self._open(region, follower)
            if sum(1 for uses in region.open_uses.values() if uses) == 1:
                best = len(region.nodes)
        return region.nodes[:best]

    def _may_lead(self, work: NodeWork) -> bool:
        if len([t for t in work.node.outputs if t.name]) != 1 or work.work.repeat != 1:
            return False
        return work.work.nest is not None or (work.work.kind == "elementwise" and "elementwise" in self.fuses)

    def _open(self, region: _Region, work: NodeWork) -> None:
        out = work.node.outputs[0].name
        region.open_uses[out] = self.uses.get(out, 0)
        for tensor in work.node.inputs:
            if tensor.name in region.open_uses:
                region.open_uses[tensor.name] -= 1

    def _follower(self, region: _Region, index: int) -> NodeWork | None:
        """The first node, in graph order, that reads a tensor of the region and can join it."""
        members = {node.key for node in region.nodes}
        candidates = {
            reader.key: reader
            for name, uses in region.open_uses.items()
            if uses
            for reader in self.readers.get(name, ())
            if reader.key not in members and reader.key not in self.taken and reader.key not in self.composite
        }
        for reader in sorted(candidates.values(), key=lambda work: self.position[work.key]):
            if self._joins(reader, region, index):
                return reader
        return None

    def _joins(self, work: NodeWork, region: _Region, index: int) -> bool:
        if work.work.kind != "elementwise" or work.work.repeat != 1 or work.scope != region.nodes[0].scope:
            return False
        if len([t for t in work.node.outputs if t.name]) != 1 or not self._same_shape(work, region):
            return False
        outside = [o for o in work.work.reads if o.name not in region.open_uses]
        if any(not operand.constant and not self._done(operand.name, index) for operand in outside):
            return False
        return self._role(work, outside, region) in self.fuses

    def _done(self, name: str, index: int) -> bool:
        """Whether an earlier kernel (or the caller) has finished the tensor."""
        maker = self.maker.get(name)
        return maker is None or self.taken.get(maker, index) < index

    @staticmethod
    def _same_shape(work: NodeWork, region: _Region) -> bool:
        made = region.nodes[0].work.writes[0]
        return bool(work.work.writes) and work.work.writes[0].elements == made.elements

    @staticmethod
    def _role(work: NodeWork, outside: Sequence[object], region: _Region) -> str:
        if region.nodes[0].work.nest is None:
            return "elementwise"
        if any(not getattr(operand, "constant", False) for operand in outside):
            return "residual"
        return "bias" if work.op in ("Add", "Sub") and outside else "activation"
