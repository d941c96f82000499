"""The order in which a graph's nodes can run, without touching the graph."""

from collections import deque
from collections.abc import Iterator

import onnx_graphsurgeon as gs


def in_order(graph: gs.Graph) -> Iterator[gs.Node]:
    """The nodes with every producer before its consumers; as stored where that already holds.

    Producers in outer graphs count as done. Reads inside bodies (captures) are edges of the node that holds the body.
    Nodes of a cycle come last, as stored.
    """
    places = {id(node): place for place, node in enumerate(graph.nodes)}
    needs = [_needs(node, places) for node in graph.nodes]
    if all(max(found, default=-1) < place for place, found in enumerate(needs)):
        return iter(graph.nodes)
    return iter([graph.nodes[place] for place in _sorted(needs)])


def _needs(node: gs.Node, places: dict[int, int]) -> set[int]:
    """Places of the nodes of the same graph that `node` or a body inside it reads from."""
    found: set[int] = set()
    waiting = [node]
    while waiting:
        reader = waiting.pop()
        for tensor in reader.inputs:
            found.update(places[id(producer)] for producer in tensor.inputs if id(producer) in places)
        for value in reader.attrs.values():
            if isinstance(value, gs.Graph):
                waiting.extend(value.nodes)
                for tensor in value.outputs:
                    found.update(places[id(producer)] for producer in tensor.inputs if id(producer) in places)
    return found


def _sorted(needs: list[set[int]]) -> list[int]:
    """Kahn's algorithm, first in first out."""
    left = [len(found) for found in needs]
    users: list[list[int]] = [[] for _ in needs]
    for place, found in enumerate(needs):
        for producer in found:
            users[producer].append(place)
    ready = deque(place for place, count in enumerate(left) if not count)
    order: list[int] = []
    while ready:
        place = ready.popleft()
        order.append(place)
        for user in users[place]:
            left[user] -= 1
            if not left[user]:
                ready.append(user)
    return order + sorted(set(range(len(needs))) - set(order))
