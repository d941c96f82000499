"""The cheapest of all ways to give every vertex one of two labels: a minimum cut (Ford and Fulkerson 1956)."""

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

SOURCE, SINK = "one", "other"


@dataclass(frozen=True)
class Net:
    """Costs `cost`, and `nodes` nodes, where a reader's label is not the maker's; SOURCE and SINK have theirs given."""

    maker: Hashable
    readers: tuple[Hashable, ...]
    cost: float
    nodes: int = 1

    @property
    def weight(self) -> float:
        """The cost; among equal ones, that of fewer nodes is less."""
        return self.cost + self.nodes / 2


def node_count(nets: Iterable[Net], ones: set[Hashable]) -> int:
    """Nodes where the vertices in `ones`, and SOURCE, have the label of SOURCE."""
    inside = ones | {SOURCE}
    return sum(net.nodes for net in nets if any((reader in inside) != (net.maker in inside) for reader in net.readers))


def cheapest(nets: list[Net]) -> set[Hashable]:
    """The vertices with SOURCE's label in a labelling of least cost, as few as possible.

    Shortest augmenting paths (Edmonds and Karp, 1972, doi:10.1145/321694.321699); the graphs have a few dozen vertices.
    """
    room: dict[Hashable, dict[Hashable, float]] = {SOURCE: {}, SINK: {}}

    def connect(tail: Hashable, head: Hashable, capacity: float) -> None:
        room.setdefault(tail, {}).setdefault(head, 0.0)
        room.setdefault(head, {}).setdefault(tail, 0.0)
        room[tail][head] += capacity

    for at, net in enumerate(nets):
        connect(net.maker, (at, "out"), net.weight)
        connect((at, "in"), net.maker, net.weight)
        for reader in net.readers:
            connect((at, "out"), reader, float("inf"))
            connect(reader, (at, "in"), float("inf"))
    while True:
        came = _reached(room)
        if SINK not in came:
            return {vertex for vertex in came if not isinstance(vertex, tuple)} - {SOURCE}
        path, vertex = [], SINK
        while vertex != SOURCE:
            path.append((came[vertex], vertex))
            vertex = came[vertex]  # type: ignore[assignment] # every vertex on the way was reached from one
        flow = min(room[tail][head] for tail, head in path)
        for tail, head in path:
            room[tail][head] -= flow
            room[head][tail] += flow


def _reached(room: dict[Hashable, dict[Hashable, float]]) -> dict[Hashable, Hashable]:
    """Vertices that SOURCE still reaches, each with the one before it."""
    came: dict[Hashable, Hashable] = {SOURCE: SOURCE}
    waiting: deque[Hashable] = deque([SOURCE])
    while waiting and SINK not in came:
        tail = waiting.popleft()
        for head, capacity in room[tail].items():
            if capacity > 0 and head not in came:
                came[head] = tail
                waiting.append(head)
    return came
