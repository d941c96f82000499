"""Kernels of a schedule as model-local functions: `--emit functions`.

Every kernel becomes a function of the domain `roofwright`, and a call of it that carries the kernel's tiling as
attributes. Functions need IR 8; inlining them (`onnx.inliner`) gives the graph back.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from roofwright.cost_model import Schedule, to_json
from roofwright.graph import (
    Edit,
    Index,
    View,
    bodies,
    functions,
    graphs_of,
    key,
    model_sidecar,
    node_metadata,
    notes,
    read,
    sort_nodes,
    to_proto,
)
from roofwright.passes.emit import FUNCTION_DOMAIN as DOMAIN
from roofwright.passes.emit import KERNEL_KEY
from roofwright.passes.function_calls import NODES, VALUES, expand, graphs_in

_IR = 8  # the first version with functions in a model
_OURS = "roofwright."


def outline(graph: gs.Graph, schedule: Schedule) -> None:
    """Replace the nodes of every kernel by one call; `graph` computes the same.

    1. A kernel's function takes what its nodes read from outside, weights and values of outer graphs included, and
       gives what is read outside; both in the order of the nodes.
    2. Kernels of the same nodes share one function; the tilings are attributes of the calls.
    3. Views between nodes of a kernel go with it.
    4. Nodes with bodies stay where they are; kernels inside the bodies are outlined there.
    5. A kernel whose call would need its own results stays as nodes.
    """
    writer = _Writer(graph, schedule)
    for inner, proto in zip(graphs_of(graph), graphs_in(to_proto(graph).graph), strict=True):
        writer.outline(inner, proto)
    sort_nodes(graph)
    if writer.count and (graph.ir_version or 0) < _IR:
        notes(graph).append(f"the IR version was raised from {graph.ir_version} to {_IR}, which functions need")
        graph.ir_version = _IR


def inlined(graph: gs.Graph) -> gs.Graph:
    """The model without functions that `outline` made: as `graph` itself where it has none."""
    if not any(made.domain == DOMAIN for made in functions(graph)):
        return graph
    proto = to_proto(graph, embed=True)
    expand(proto)
    made = read(proto)
    model_sidecar(made).path = model_sidecar(graph).path
    notes(made)[:0] = notes(graph)
    return made


@dataclass
class _Group:
    """Nodes of one kernel in one graph, with their protos."""

    index: int
    nodes: list[gs.Node]
    protos: list[onnx.NodeProto]


class _Writer:
    """Outlines one model; `count` calls so far."""

    def __init__(self, root: gs.Graph, schedule: Schedule) -> None:
        self.root, self.count = root, 0
        self.kernels = json.loads(to_json(schedule))["kernels"]
        self.owner = {ref.output: kernel.index for kernel in schedule.kernels for ref in kernel.nodes}
        self.library: dict[bytes, str] = {}
        self.taken = {made.name for made in functions(root) if made.domain == DOMAIN}
        self.versions = {entry.domain: entry.version for entry in root.import_domains or ()} | {"": root.opset}
        self.versions.pop("ai.onnx", None)

    def outline(self, graph: gs.Graph, proto: onnx.GraphProto) -> None:
        """Every kernel of one graph."""
        view = View(graph, Index(self.root))
        pairs = dict(zip(map(id, graph.nodes), proto.node, strict=True))
        groups: dict[int, _Group] = {}
        for node, index in _kernels_of(view, self.owner):
            group = groups.setdefault(index, _Group(index, [], []))
            group.nodes.append(node)
            group.protos.append(pairs[id(node)])
        calls = {}
        for group in _acyclic(graph, list(groups.values())):
            calls[id(group.nodes[-1])] = self._call(group, view)
        gone = view.local_ids
        kept = [(calls.get(id(node)), node) for node in graph.nodes]
        graph.nodes[:] = [call or node for call, node in kept if call or id(node) in gone]

    def _call(self, group: _Group, view: View) -> gs.Node | None:
        """The call that stands for a kernel; None where nobody reads its results."""
        inside = {id(node) for node in group.nodes}
        made = [tensor for node in group.nodes for tensor in view.used_outputs(node)]
        own = {id(tensor) for tensor in made}
        read = (tensor for node in group.nodes for tensor in node.inputs if tensor.name)
        inputs = list({id(tensor): tensor for tensor in read if id(tensor) not in own}.values())
        outputs = [t for t in made if view.is_output(t) or any(id(n) not in inside for n in view.consumers(t))]
        if not outputs:
            return None
        attrs = _attributes(self.kernels[group.index])
        faces = {tensor.name for tensor in outputs}
        attrs[NODES] = [node.name for node in group.nodes]
        attrs[VALUES] = [tensor.name for tensor in made if tensor.name not in faces]
        attrs = {name: value for name, value in attrs.items() if value != []}
        function = self._function(group, inputs, outputs, attrs)
        edit, metadata = Edit(view), _merged(group.nodes)
        for node in group.nodes:
            edit.remove(node)
        call = gs.Node(function, view.index.unique(f"kernel_{group.index}"), attrs, inputs, outputs, DOMAIN)
        node_metadata(call).update(metadata | {KERNEL_KEY: str(group.index)})
        self.count += 1
        return call

    def _function(
        self, group: _Group, inputs: Sequence[gs.Tensor], outputs: Sequence[gs.Tensor], attrs: Mapping[str, Any]
    ) -> str:
        """The name of the function of a kernel; a new one unless there is its equal."""
        names = {tensor.name: f"x{at}" for at, tensor in enumerate(inputs)}
        names |= {tensor.name: f"y{at}" for at, tensor in enumerate(outputs)}
        function = onnx.FunctionProto(domain=DOMAIN)
        function.input.extend(names[tensor.name] for tensor in inputs)
        function.output.extend(names[tensor.name] for tensor in outputs)
        function.attribute.extend(sorted(attrs))
        function.node.extend(_renamed(proto, names) for proto in group.protos)
        domains = sorted({"" if proto.domain == "ai.onnx" else proto.domain for proto in group.protos})
        function.opset_import.extend(onnx.helper.make_opsetid(d, self.versions.get(d, 1)) for d in domains)
        body = function.SerializeToString(deterministic=True)
        if body not in self.library:
            name = f"kernel_{group.index}"
            while name in self.taken:
                name += "_"
            self.taken.add(name)
            self.library[body] = function.name = name
            functions(self.root).append(function)
        return self.library[body]


def _kernels_of(view: View, owner: Mapping[str, int]) -> list[tuple[gs.Node, int]]:
    """(node, kernel) of the nodes that can be outlined, in order; a view between nodes of one kernel is one of them."""
    place = {id(node): owner[key(node)] for node in view.graph.nodes if key(node) in owner and not bodies(node)}
    wanted: dict[int, int | None] = {}  # node that no kernel has -> the kernel that reads all its results
    for node in reversed(view.graph.nodes):
        if id(node) in place or bodies(node):
            continue
        readers = [reader for tensor in view.used_outputs(node) for reader in view.consumers(tensor)]
        found = {place.get(id(reader), wanted.get(id(reader))) for reader in readers}
        wanted[id(node)] = found.pop() if len(found) == 1 else None
    for node in view.graph.nodes:
        makers = [view.producer(tensor) for tensor in node.inputs if tensor.name]
        kernel = wanted.get(id(node))
        if kernel is not None and kernel in [place.get(id(maker)) for maker in makers if maker is not None]:
            place[id(node)] = kernel
    return [(node, place[id(node)]) for node in view.graph.nodes if id(node) in place]


def _acyclic(graph: gs.Graph, groups: Sequence[_Group]) -> list[_Group]:
    """The groups that can be one node each, all together."""
    left = list(groups)
    while True:
        stuck = _stuck(graph, left)
        if not stuck:
            return left
        left = [group for group in left if group.index not in stuck]


def _stuck(graph: gs.Graph, groups: Iterable[_Group]) -> set[int]:
    """The group with the most nodes among those on a cycle when every group is one node; empty where there is none."""
    sizes = {group.index: len(group.nodes) for group in groups}
    owner = {id(node): group.index for group in groups for node in group.nodes}
    place = {id(node): owner.get(id(node), -1 - at) for at, node in enumerate(graph.nodes)}
    maker = {id(t): place[id(node)] for node in graph.nodes for t in node.outputs if t.name}
    edges = {(maker[id(t)], place[id(node)]) for node in graph.nodes for t in _reads(node) if id(t) in maker}
    edges = {(one, other) for one, other in edges if one != other}
    left = _peeled({(other, one) for one, other in _peeled(edges)})
    stuck = {at for edge in left for at in edge if at >= 0}
    return {max(stuck, key=lambda at: (sizes[at], at))} if stuck else set()


def _peeled(edges: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """The edges that are left when what nothing leads to is taken away, over and over."""
    users: dict[int, list[int]] = {}
    waiting: dict[int, int] = {}
    for one, other in edges:
        users.setdefault(one, []).append(other)
        waiting[other] = waiting.get(other, 0) + 1
    ready = [at for at in users if at not in waiting]
    gone = set(ready)
    while ready:
        for user in users.get(ready.pop(), ()):
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)
                gone.add(user)
    return {(one, other) for one, other in edges if one not in gone and other not in gone}


def _reads(node: gs.Node) -> list[gs.Tensor]:
    inner = [held for body in bodies(node) for graph in graphs_of(body) for held in (graph.outputs, *_inputs(graph))]
    return [*node.inputs, *(tensor for tensors in inner for tensor in tensors)]


def _inputs(graph: gs.Graph) -> Iterator[list[gs.Tensor]]:
    yield from (node.inputs for node in graph.nodes)


def _attributes(kernel: Mapping[str, Any]) -> dict[str, Any]:
    """A kernel of the schedule's JSON as attributes: numbers and text as they are, all else as JSON."""
    fields = {name: value for name, value in kernel.items() if name != "nodes"}
    return {
        name: value if isinstance(value, (int, str)) else json.dumps(value, separators=(",", ":"), sort_keys=True)
        for name, value in sorted(fields.items())
    }


def _merged(nodes: Iterable[gs.Node]) -> dict[str, str]:
    """Our own notes on the nodes, the originals they stand for joined."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        for name, value in node_metadata(node).items():
            if name.startswith(_OURS) and value not in found.setdefault(name, []):
                found[name].append(value)
    return {name: " + ".join(values) for name, values in found.items()}


def _renamed(proto: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    """A copy with the function's own names of tensors, and without ours of the node."""
    made = onnx.NodeProto()
    made.CopyFrom(proto)
    made.ClearField("name")
    theirs = [entry for entry in proto.metadata_props if not entry.key.startswith(_OURS)]
    del made.metadata_props[:]
    made.metadata_props.extend(theirs)
    for tensors in (made.input, made.output):
        for at, name in enumerate(tensors):
            if name:
                tensors[at] = names.setdefault(name, f"t{len(names)}")
    return made
