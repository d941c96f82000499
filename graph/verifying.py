"""The invariant that every pass must leave true, checked in time linear in nodes and edges."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from roofwright.graph.attributes import value_type
from roofwright.graph.dtypes import dtype_name
from roofwright.graph.errors import InvariantError, printable
from roofwright.graph.order import node_label
from roofwright.graph.ports import shape_of
from roofwright.graph.sidecar import Shape, sidecar
from roofwright.graph.walk import bodies


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output of the model."""

    name: str
    dtype: str | None
    shape: Shape

    def __str__(self) -> str:
        """As messages show it."""
        dims = "?" if self.shape is None else ",".join("?" if dim is None else str(dim) for dim in self.shape)
        return f"{printable(self.name)}: {self.dtype}[{dims}]"


@dataclass(frozen=True, slots=True)
class Interface:
    """What callers see of a model; initializers that only give an input its default belong to it."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    defaults: frozenset[str]


def _port(tensor: gs.Tensor) -> Port:
    return Port(tensor.name, dtype_name(tensor), shape_of(tensor))


def interface(graph: gs.Graph) -> Interface:
    """The interface of a main graph as it is now."""
    return Interface(
        tuple(_port(tensor) for tensor in graph.inputs),
        tuple(_port(tensor) for tensor in graph.outputs),
        sidecar(graph).overridable,
    )


def verify(graph: gs.Graph, expected: Interface | None = None) -> None:
    """Raise where the graph is not well formed.

    Checked: every tensor name is defined once along each path of scopes; every input is an initializer, a graph input
    or made by an earlier node; edges agree on both sides and lead to no node that was taken out; attributes can be
    written; the interface is `expected`.

    Raises:
        InvariantError: with the node or tensor that breaks the invariant.
    """
    scopes = [_Scope(graph, None, 0)]
    seen: list[_Scope] = []
    listed: set[int] = set()
    while scopes:
        scope = scopes.pop()
        scope.check(listed)
        scopes += scope.bodies
        seen.append(scope)
    _check_edges([scope.graph for scope in seen], listed)
    if expected is not None:
        _check_interface(interface(graph), expected)


class _Scope:
    """The check of one graph. A body sees what outer graphs define before the node that holds it (`limit`)."""

    def __init__(self, graph: gs.Graph, outer: "_Scope | None", limit: int) -> None:
        self.graph, self.outer, self.limit = graph, outer, limit
        self.names: dict[str, tuple[gs.Tensor, int]] = {}  # -> the tensor and the position of its producer
        self.position = 0
        self.bodies: list[_Scope] = []

    def check(self, listed: set[int]) -> None:
        """Walk the nodes once, in order, and note them in `listed`."""
        for tensor in self.graph.inputs:
            self._define(tensor, "the graph's inputs")
        for node in self.graph.nodes:
            self.position += 1
            if not node.op or id(node) in listed:
                raise InvariantError(f"{node_label(node)}: has no operator or is listed twice")
            listed.add(id(node))
            self._check_node(node)
        for tensor in self.graph.outputs:
            self._require(tensor, "the graph's outputs")

    def _find(self, name: str) -> gs.Tensor | None:
        if name in self.names:
            return self.names[name][0]
        scope, limit = self.outer, self.limit
        while scope is not None:
            tensor, position = scope.names.get(name, (None, limit))
            if tensor is not None and position < limit:
                return tensor
            limit = scope.limit
            scope = scope.outer
        return None

    def _define(self, tensor: gs.Tensor, where: gs.Node | str) -> None:
        if self._find(tensor.name) is not None:
            raise InvariantError(f"{_place(where)}: tensor {printable(tensor.name)!r} is defined twice")
        self.names[tensor.name] = (tensor, self.position)

    def _require(self, tensor: gs.Tensor, where: gs.Node | str) -> None:
        known = self._find(tensor.name)
        if known is tensor:
            return
        if known is not None:
            raise InvariantError(f"{_place(where)}: two different tensors are called {printable(tensor.name)!r}")
        if not isinstance(tensor, gs.Constant):
            name = printable(tensor.name)
            raise InvariantError(f"{_place(where)}: tensor {name!r} is used before anything produces it")
        self.names[tensor.name] = (tensor, -1)

    def _check_node(self, node: gs.Node) -> None:
        for tensor in node.inputs:
            if tensor.name:
                self._require(tensor, node)
        for name, value in node.attrs.items():
            if not name or (value_type(value) is None and not isinstance(value, gs.Node.AttributeRef)):
                kind = type(value).__name__
                raise InvariantError(f"{node_label(node)}: attribute {name!r} holds a {kind}, which ONNX cannot")
        self.bodies += [_Scope(body, self, self.position) for body in bodies(node)]
        for tensor in node.outputs:
            if not tensor.name:
                continue
            if len(tensor.inputs) != 1 or tensor.inputs[0] is not node:
                name = printable(tensor.name)
                raise InvariantError(f"{node_label(node)}: its output {name!r} does not name it as its producer")
            self._define(tensor, node)


def _place(where: gs.Node | str) -> str:
    return where if isinstance(where, str) else node_label(where)


def _check_edges(graphs: Sequence[gs.Graph], listed: set[int]) -> None:
    """Each tensor knows exactly the nodes that read it, and none that was taken out."""
    tensors = {id(t): t for graph in graphs for node in graph.nodes for t in (*node.inputs, *node.outputs) if t.name}
    uses = Counter(id(t) for graph in graphs for node in graph.nodes for t in node.inputs if t.name)
    for number, tensor in tensors.items():
        for node in tensor.outputs:
            if id(node) not in listed:
                name = printable(tensor.name)
                raise InvariantError(f"tensor {name!r} is still read by {node_label(node)}, which is in no graph")
        if len(tensor.outputs) != uses[number]:
            name = printable(tensor.name)
            raise InvariantError(f"tensor {name!r} has {uses[number]} uses, but knows of {len(tensor.outputs)}")


def _check_interface(found: Interface, expected: Interface) -> None:
    for what in ("inputs", "outputs"):
        now, then = getattr(found, what), getattr(expected, what)
        if len(now) != len(then):
            raise InvariantError(f"the model has {len(now)} {what}, expected {len(then)}")
        for one, other in zip(now, then, strict=True):
            if one != other:
                raise InvariantError(f"the model's {what} changed: {one}, expected {other}")
    if found.defaults != expected.defaults:
        raise InvariantError("an input with a default value was lost")
