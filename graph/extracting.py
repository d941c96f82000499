"""Some nodes of a main graph as a model of their own."""

from collections.abc import Collection, Iterator

import onnx_graphsurgeon as gs

from roofwright.graph.cloning import clone
from roofwright.graph.edit import Edit
from roofwright.graph.sidecar import sidecar
from roofwright.graph.view import Index, View
from roofwright.graph.walk import bodies, captures, tensors_of


def extract(graph: gs.Graph, places: Collection[int]) -> gs.Graph:
    """A new model of the nodes at `places` of the main graph's list; bodies come with the nodes that hold them.

    Its inputs are what the nodes read of other nodes and of the graph's inputs; its outputs are what the graph gives
    out of theirs, then what other nodes read (all that nobody reads, where that is nothing). Weights are shared with
    `graph`, which stays as it is.
    """
    made = clone(graph)
    nodes = [made.nodes[place] for place in sorted(places)]
    kept = {id(node) for node in nodes}
    own = {id(tensor): tensor for node in nodes for tensor in node.outputs if tensor.name}
    reads = {id(tensor): tensor for node in nodes for tensor in _reads(node) if not isinstance(tensor, gs.Constant)}
    outside = {id(tensor) for node in made.nodes if id(node) not in kept for tensor in _reads(node)}
    inside = {id(tensor) for node in nodes for tensor in _reads(node)}
    given_out = {id(tensor): tensor for tensor in made.outputs if id(tensor) in own}
    outputs = given_out | {number: tensor for number, tensor in own.items() if number in outside}
    made.outputs = list(outputs.values()) or [tensor for number, tensor in own.items() if number not in inside]
    made.inputs = [tensor for number, tensor in reads.items() if number not in own]
    edit = Edit(View(made, Index(made)))
    for node in list(made.nodes):
        if id(node) not in kept:
            edit.remove(node)
    edit.flush()
    _forget_constants(made)
    return made


def _reads(node: gs.Node) -> Iterator[gs.Tensor]:
    """The named tensors that a node reads itself or by its bodies."""
    yield from (tensor for tensor in node.inputs if tensor.name)
    for body in bodies(node):
        yield from captures(body)


def _forget_constants(graph: gs.Graph) -> None:
    held = sidecar(graph)
    used = {tensor.name for tensor in tensors_of(graph)}
    used |= {tensor.name for node in graph.nodes for tensor in _reads(node)}
    held.unused = set()
    held.overridable = frozenset(name for name in held.overridable if name in used)
