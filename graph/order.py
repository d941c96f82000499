"""Topological order of a graph's nodes: stable, iterative, linear but for the heap."""

import heapq

import onnx_graphsurgeon as gs

from roofwright.graph.errors import InvalidModelError, printable
from roofwright.graph.walk import bodies, captures, graphs_of


def reads(node: gs.Node) -> list[gs.Tensor]:
    """What a node needs: its inputs and what its bodies take from outside."""
    needed = [tensor for tensor in node.inputs if tensor.name]
    for body in bodies(node):
        needed += captures(body)
    return needed


def node_label(node: gs.Node) -> str:
    """How a message names a node."""
    name = node.name or next((tensor.name for tensor in node.outputs if tensor.name), "")
    return f"node {printable(name)!r} ({printable(node.op)})"


def in_order(nodes: list[gs.Node]) -> list[gs.Node]:
    """The nodes, each after its producers, otherwise in the order given; the rest of a cycle is missing."""
    maker = {id(tensor): index for index, node in enumerate(nodes) for tensor in node.outputs if tensor.name}
    needs = [{maker[id(tensor)] for tensor in reads(node) if id(tensor) in maker} for node in nodes]
    if all(max(needed, default=-1) < index for index, needed in enumerate(needs)):
        return nodes
    users: list[list[int]] = [[] for _ in nodes]
    for index, needed in enumerate(needs):
        for producer in needed:
            users[producer].append(index)
    waiting = [len(needed) for needed in needs]
    ready = [index for index, count in enumerate(waiting) if not count]
    order = []
    while ready:
        index = heapq.heappop(ready)
        order.append(nodes[index])
        for user in users[index]:
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(ready, user)
    return order


def sort_nodes(root: gs.Graph) -> bool:
    """Put the nodes of a graph and of every body below it into topological order, in place.

    Returns:
        Whether anything moved.

    Raises:
        InvalidModelError: where nodes need each other.
    """
    moved = False
    for graph in graphs_of(root):
        order = in_order(graph.nodes)
        if len(order) != len(graph.nodes):
            placed = {id(node) for node in order}
            stuck = next(node for node in graph.nodes if id(node) not in placed)
            raise InvalidModelError(f"{node_label(stuck)} is part of or behind a cycle, expected an acyclic graph")
        if order is not graph.nodes:
            graph.nodes[:] = order
            moved = True
    return moved
