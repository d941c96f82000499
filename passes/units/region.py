"""A region: routes that meet, and the classes of tensors whose channels must stay in one order."""

from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import View, key
from roofwright.passes.base import Decline
from roofwright.passes.units.routes import Route, channel_count, route_of
from roofwright.passes.units.ties import Follower, Tie, ties

_MOST_TENSORS = 4096  # of a region; a shuffle that reaches further is not worth the search


@dataclass
class Class:
    """Tensors in one order of channels; built by `Region`, read by the plan.

    Attributes:
        count: channels.
        tensors: all of them.
        sources: those that routes read and no route makes.
        sinks: those that routes make.
        followers: parameters in the same order.
        borders: where a cell starts; channels may be permuted inside a cell only.
        reason: what made the cells, in words; "" where there is one cell.
    """

    count: int
    tensors: list[gs.Tensor] = field(default_factory=list)
    sources: list[gs.Tensor] = field(default_factory=list)
    sinks: list[gs.Tensor] = field(default_factory=list)
    followers: list[Follower] = field(default_factory=list)
    borders: NDArray[np.bool_] = field(init=False)
    reason: str = ""

    def __post_init__(self) -> None:
        """One cell."""
        self.borders = np.arange(self.count) == 0

    @property
    def cells(self) -> NDArray[np.int64]:
        """Cell of every channel, counted from 0."""
        return np.cumsum(self.borders) - 1

    def limit(self, groups: int, reason: str) -> None:
        """Channels may not leave any of `groups` equal parts."""
        self.borders = self.borders | (np.arange(self.count) % (self.count // groups) == 0)
        self.reason = self.reason or (reason if groups > 1 else "")


class Region:
    """Everything that one shuffle is linked with: found by a walk that ends where parameters take an order up.

    Attributes:
        routes: in the order in which they can be evaluated.
        classes: of the tensors at the borders of the routes.
    """

    def __init__(self, start: Route, view: View) -> None:
        """Walk from a shuffle; reads only.

        Raises:
            Decline: the region is too large, or a size in it is not known.
        """
        self.view = view
        self.classes: list[Class] = []
        self._class_of: dict[int, Class] = {}
        self._routes: dict[int, Route] = {}
        self._known: dict[int, Route | None] = {}
        self._waiting: list[Route] = []
        self._meet(start)
        while self._waiting:
            self._around(self._waiting.pop())
        self.routes = self._sorted()

    def class_of(self, tensor: gs.Tensor) -> Class:
        """The class of a tensor at a border."""
        return self._class_of[id(tensor)]

    def route(self, node: gs.Node | None) -> Route | None:
        """The route that a node of this graph belongs to."""
        if id(node) not in self.view.local_ids:
            return None
        if id(node) not in self._known:
            found = route_of(node, self.view)
            for part in (node,) if found is None else found.nodes:
                self._known[id(part)] = found
        return self._known[id(node)]

    def _meet(self, route: Route) -> None:
        first = route.nodes[0]
        if id(first) not in self._routes:
            for part in route.nodes:
                self._known[id(part)] = route
            self._routes[id(first)] = route
            self._waiting.append(route)

    def _around(self, route: Route) -> None:
        for tensor in route.inputs:
            maker = self.route(self.view.producer(tensor))
            if maker is None:
                self._flood(tensor)
            else:
                self._meet(maker)
        for tensor, _ in route.picks:
            readers = [self.route(node) for node in self.view.consumers(tensor)]
            for reader in readers:
                if reader is not None:
                    self._meet(reader)
            if self.view.is_output(tensor) or not all(readers):
                self._flood(tensor)

    # ---- classes
    def _flood(self, start: gs.Tensor) -> None:
        """All tensors tied to `start`."""
        group = Class(channel_count(start) or 0)
        waiting, seen = [start], set()
        while waiting:
            tensor = waiting.pop()
            if id(tensor) in self._class_of:
                continue
            if channel_count(tensor) != group.count or len(self._class_of) >= _MOST_TENSORS:
                raise Decline(f"the order of its channels reaches {tensor.name!r}, where it cannot be followed")
            self._class_of[id(tensor)] = group
            group.tensors.append(tensor)
            for node, tie in self._uses(tensor, group):
                if (id(node), tie.inputs, tie.outputs) in seen:
                    continue
                seen.add((id(node), tie.inputs, tie.outputs))
                group.followers += tie.followers
                group.limit(tie.groups, f"{_name(node)} convolves them in {tie.groups} groups")
                waiting += [node.inputs[at] for at in tie.inputs] + [node.outputs[at] for at in tie.outputs]
        self.classes += [group] if group.tensors else []

    def _uses(self, tensor: gs.Tensor, group: Class) -> list[tuple[gs.Node, Tie]]:
        """The ties through which the order of `tensor` spreads; a use without one fixes it, a route ends it."""
        maker = self.view.producer(tensor)
        made_by = self.route(maker)
        if maker is None or self.view.is_output(tensor):
            where = "is an output of a graph" if self.view.is_output(tensor) else "comes from outside"
            group.limit(group.count, f"{tensor.name!r} {where}")
        found = []
        if made_by is not None:
            self._meet(made_by)
            group.sinks.append(tensor)
        elif maker is not None:
            found += self._ties(maker, tensor, "outputs", group)
        is_source = False
        for node in self.view.consumers(tensor):
            reader = self.route(node)
            if reader is None:
                found += self._ties(node, tensor, "inputs", group)
                continue
            self._meet(reader)
            is_source = made_by is None
        if is_source:
            group.sources.append(tensor)
        return found

    def _ties(self, node: gs.Node, tensor: gs.Tensor, side: str, group: Class) -> list[tuple[gs.Node, Tie]]:
        """The ties of a node that hold `tensor` on one side of it; every slot must be in one."""
        slots = {at for at, edge in enumerate(getattr(node, side)) if edge is tensor}
        held = ties(node, self.view) if self.view.is_local(node) else ()
        found = [tie for tie in held if slots.intersection(getattr(tie, side))]
        if slots.difference(*(getattr(tie, side) for tie in found)):
            group.limit(group.count, f"{_name(node)} needs them in their order")
        return [(node, tie) for tie in found]

    def _sorted(self) -> tuple[Route, ...]:
        """The routes, each after those that make what it reads."""
        done: dict[int, Route] = {}
        waiting = list(self._routes.values())
        while waiting:
            route = waiting[-1]
            makers = [self.route(self.view.producer(tensor)) for tensor in route.inputs]
            ahead = [maker for maker in makers if maker is not None and id(maker.nodes[0]) not in done]
            if ahead and id(route.nodes[0]) not in done:
                waiting += ahead
                continue
            done.setdefault(id(route.nodes[0]), route)
            waiting.pop()
        return tuple(done.values())


def _name(node: gs.Node) -> str:
    return f"{node.op} {node.name or key(node)!r}"
