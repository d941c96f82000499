"""An order of nodes that depends on structure only: not on their order in the list, not on names."""

from hashlib import sha256

import onnx_graphsurgeon as gs

from roofwright.graph.order import reads


def canonical_order(graph: gs.Graph) -> list[gs.Node]:
    """Nodes as a depth-first walk from the outputs, operand by operand, completes them; then nodes without use."""
    local = {id(node) for node in graph.nodes}
    order: list[gs.Node] = []
    done: set[int] = set()
    _complete([t.inputs[0] for t in graph.outputs if t.inputs and id(t.inputs[0]) in local], local, done, order)
    if len(order) < len(graph.nodes):
        _complete(_sinks(graph, done), local, done, order)
    return order


def _complete(roots: list[gs.Node], local: set[int], done: set[int], order: list[gs.Node]) -> None:
    for root in roots:
        path = [(root, iter(_producers(root, local)))] if id(root) not in done else []
        done.add(id(root))
        while path:
            rest = path[-1][1]
            producer = next((p for p in rest if id(p) not in done), None)
            if producer is None:
                order.append(path.pop()[0])
                continue
            done.add(id(producer))
            path.append((producer, iter(_producers(producer, local))))


def _producers(node: gs.Node, local: set[int]) -> list[gs.Node]:
    return [tensor.inputs[0] for tensor in reads(node) if tensor.inputs and id(tensor.inputs[0]) in local]


def _sinks(graph: gs.Graph, done: set[int]) -> list[gs.Node]:
    """Nodes that no output needs and no other node reads, in an order made of what they compute."""
    sinks = [node for node in graph.nodes if id(node) not in done and not any(t.outputs for t in node.outputs)]
    return sorted(sinks, key=lambda node: _fingerprint(graph, node))


def _fingerprint(graph: gs.Graph, sink: gs.Node) -> str:
    """A digest of the operators above a node, in the order of a depth-first walk."""
    order: list[gs.Node] = []
    _complete([sink], {id(node) for node in graph.nodes}, set(), order)
    text = "|".join(f"{n.domain}.{n.op}{sorted(k for k in n.attrs)}{len(n.inputs)}" for n in order)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
