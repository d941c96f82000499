"""Walks over a graph and its bodies: iterative, outer before inner."""

from collections.abc import Iterator

import onnx_graphsurgeon as gs


def bodies(node: gs.Node) -> list[gs.Graph]:
    """The graphs held by a node's attributes, those in lists included, in attribute order."""
    found: list[gs.Graph] = []
    for value in node.attrs.values():
        if isinstance(value, gs.Graph):
            found.append(value)
        elif isinstance(value, list) and value and isinstance(value[0], gs.Graph):  # an attribute has one type
            found += value
    return found


def graphs_of(root: gs.Graph) -> list[gs.Graph]:
    """`root` and every body below it, outer before inner."""
    found, position = [root], 0
    while position < len(found):
        for node in found[position].nodes:
            if node.attrs:
                found += bodies(node)
        position += 1
    return found


def tensors_of(graph: gs.Graph) -> Iterator[gs.Tensor]:
    """The named tensors that one graph mentions (bodies not included), with repeats."""
    yield from graph.inputs
    for node in graph.nodes:
        yield from (tensor for tensor in node.inputs if tensor.name)
        yield from (tensor for tensor in node.outputs if tensor.name)
    yield from graph.outputs


def captures(body: gs.Graph) -> list[gs.Tensor]:
    """What a body and the bodies in it take from outside `body`, each tensor once, in the order of first use."""
    inside = graphs_of(body)
    own = {id(tensor) for graph in inside for node in graph.nodes for tensor in node.outputs}
    own |= {id(tensor) for graph in inside for tensor in graph.inputs}
    for graph in inside:
        held = graph.__dict__.get("sidecar")
        own |= {id(tensor) for tensor in held.constants.values()} if held is not None else set()
    taken: dict[int, gs.Tensor] = {}
    for graph in inside:
        used = [tensor for node in graph.nodes for tensor in node.inputs if tensor.name]
        taken.update({id(tensor): tensor for tensor in (*used, *graph.outputs) if id(tensor) not in own})
    return list(taken.values())
