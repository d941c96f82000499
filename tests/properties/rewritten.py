"""The same model written in another way: order of nodes, names, constants, operands, nodes that do nothing."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import onnx
from onnx import helper

Model = onnx.ModelProto
_COMMUTATIVE = ("Add", "Mul", "Max", "Min", "Sum", "And", "Or", "Equal")


def _copy(model: Model) -> Model:
    copy = Model()
    copy.CopyFrom(model)
    return copy


def _replaced(copy: Model, nodes: list[onnx.NodeProto]) -> Model:
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return copy


def _graphs(model: Model) -> Iterator[onnx.GraphProto]:
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]


def _reads(node: onnx.NodeProto) -> set[str]:
    """What a node needs, its bodies included."""
    found, waiting = set(node.input), [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    while waiting:
        graph = waiting.pop()
        for inner in graph.node:
            found |= set(inner.input)
            waiting += [attribute.g for attribute in inner.attribute if attribute.HasField("g")]
        found |= {output.name for output in graph.output}
    return found


def permuted(model: Model, seed: int = 0) -> Model:
    """Nodes in another topological order."""
    rng = np.random.default_rng(seed)
    waiting = list(model.graph.node)
    pending = {name for node in waiting for name in node.output if name}
    order = []
    while waiting:
        ready = [node for node in waiting if not _reads(node) & pending]
        chosen = ready[int(rng.integers(len(ready)))]
        order.append(chosen)
        waiting = [node for node in waiting if node is not chosen]
        pending -= set(chosen.output)
    return _replaced(_copy(model), order)


def renamed(model: Model) -> Model:
    """Other names for everything but inputs, outputs and defaults; node names too."""
    copy = _copy(model)
    kept = {port.name for port in (*model.graph.input, *model.graph.output)} | {""}
    made = [name for node in copy.graph.node for name in node.output] + [t.name for t in copy.graph.initializer]
    names = {name: f"zz{len(made) - at}/{name[::-1]}" for at, name in enumerate(made) if name not in kept}
    for graph in _graphs(copy):
        for node in graph.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
            node.name = f"other {node.name}"
        for port in (*graph.output, *graph.value_info):
            port.name = names.get(port.name, port.name)
    for tensor in copy.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    return copy


def constants_as_nodes(model: Model) -> Model:
    """Every initializer is a Constant node, but for defaults of inputs."""
    copy = _copy(model)
    listed = {port.name for port in copy.graph.input} | {port.name for port in copy.graph.output}
    moved = [tensor for tensor in model.graph.initializer if tensor.name not in listed]
    kept = [tensor for tensor in model.graph.initializer if tensor.name in listed]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(kept)
    nodes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in moved]
    return _replaced(copy, [*nodes, *model.graph.node])


def identities_inserted(model: Model) -> Model:
    """An Identity in front of every operand of the main graph's nodes, but for inputs."""
    copy, nodes = _copy(model), []
    inputs = {port.name for port in model.graph.input} | {""}  # one that is an output too keeps its Identity
    for at, node in enumerate(copy.graph.node):
        for place, name in enumerate(node.input):
            if name not in inputs:
                nodes.append(helper.make_node("Identity", [name], [f"same_{at}_{place}"]))
                node.input[place] = f"same_{at}_{place}"
        nodes.append(node)
    return _replaced(copy, nodes)


def operands_swapped(model: Model) -> Model:
    """The operands of commutative operators in reverse."""
    copy = _copy(model)
    for node in copy.graph.node:
        if node.op_type in _COMMUTATIVE:
            node.input[:] = list(node.input)[::-1]
    return copy


WAYS: Mapping[str, Callable[[Model], Model]] = {
    "other order": permuted,
    "other names": renamed,
    "Constant nodes": constants_as_nodes,
    "Identities": identities_inserted,
    "swapped operands": operands_swapped,
}
