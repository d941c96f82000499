"""Nodes that run group of channels by group of channels, one added after the other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import Literal

from roofwright.cost_model.channel_maps import Along, ChannelStack, NotByChannels, Part, Role
from roofwright.cost_model.channel_rules import OUT, POOLS, RULES, Seen, elementwise, followed
from roofwright.cost_model.graph_work import NodeWork
from roofwright.cost_model.strip_maps import POSITIONWISE, Maps

View = Literal["planes", "tokens", "images"]


def channel_stack(maps: Maps, works: Sequence[NodeWork], leaving: frozenset[str]) -> ChannelStack:
    """Nodes as a stack of groups of channels.

    Raises:
        NotByChannels: they cannot run so; the message is a clause that says why.
    """
    return Walk.of(maps, works).stack(leaving)


def view_of(works: Sequence[NodeWork]) -> View:
    """What channels are where nothing is cut yet: axis 1 of maps, the last axis of tokens, or heads."""
    ops = {work.op for work in works}
    if ops & {"Conv", *POOLS}:
        return "planes"
    right = [work.work.reads[1].constant for work in works if work.op == "MatMul" and len(work.work.reads) > 1]
    return "tokens" if all(right) and ops & {"MatMul", "Gemm"} else "images"


@dataclass
class Walk:
    """A stack that grows node by node."""

    maps: Maps
    view: View
    extent: int = 0
    parts: list[Part] = field(default_factory=list)
    along: dict[str, Along] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)
    readers: dict[str, list[int]] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, maps: Maps, works: Sequence[NodeWork]) -> "Walk":
        """All of some nodes."""
        walk = cls(maps, view_of(works))
        for work in works:
            walk.add(work)
        return walk

    @property
    def runs(self) -> bool:
        """Whether there are groups, and a product that makes or reads them."""
        return self.extent > 1 and any(part.work.work.nests for part in self.parts)

    def stack(self, leaving: frozenset[str]) -> ChannelStack:
        """What there is so far; `leaving`: results that others need."""
        if not self.runs:
            raise NotByChannels("there is one group at most, or no product")
        unread = {name for name in self.made if name not in self.readers}
        readers = {name: tuple(found) for name, found in self.readers.items()}
        out = frozenset(leaving & self.made.keys() | unread)
        parts, constants = tuple(self.parts), frozenset(self.constants)
        return ChannelStack(parts, self.extent, dict(self.along), dict(self.made), readers, constants, out)

    def add(self, work: NodeWork) -> None:
        """A node behind those that are there."""
        seen = Seen(work, self)
        rule = RULES.get(work.op, elementwise if work.op in POSITIONWISE else None)
        if rule is None:
            raise NotByChannels(f"{work.op} mixes channels")
        follows = any(self.is_whole(seen.names[at]) for at in seen.operands)
        role = followed(seen) if follows else rule(seen)
        for shape, axis in seen.cut.values():
            self.unify(shape[axis])
        self._note(seen, role)

    def is_whole(self, name: str) -> bool:
        """Whether a tensor is what a product that closes, or work behind it, has made."""
        at = self.made.get(name)
        return at is not None and self.parts[at].role in ("closes", "follows")

    def unify(self, size: int) -> None:
        """Go over to units in which an axis of this size can be cut as well.

        Raises:
            NotByChannels: there are none.
        """
        units = gcd(self.extent, size)
        if units < 2:
            raise NotByChannels(f"{size} channels and {self.extent} have no common groups")
        if units < self.extent:
            by = self.extent // units
            self.along = {name: Along(a.before, units, a.after * by) for name, a in self.along.items()}
        self.extent = units

    def _note(self, seen: Seen, role: Role) -> None:
        cut = {seen.names[at]: Along.of(*pair, self.extent) for at, pair in seen.cut.items() if at != OUT}
        for at, pair in seen.cut.items():
            name = seen.out if at == OUT else seen.names[at]
            along = Along.of(*pair, self.extent)
            if name in self.held or self.along.setdefault(name, along) != along:
                raise NotByChannels(f"{name} is read in more ways than one")
        whole = [seen.names[at] for at in seen.operands if seen.names[at] not in cut]
        if any(name in self.along for name in whole):
            raise NotByChannels(f"{seen.work.op} needs all of a tensor of which there is a group at a time")
        self.held.update(whole)
        self.constants.update(seen.names[at] for at in seen.operands if seen.constant[at])
        for name in (*cut, *dict.fromkeys(whole)):
            self.readers.setdefault(name, []).append(len(self.parts))
        self.made[seen.out] = len(self.parts)
        self.parts.append(Part(seen.work, role, seen.out, tuple(cut), tuple(dict.fromkeys(whole))))
