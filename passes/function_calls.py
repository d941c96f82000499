"""Calls of the functions that `--emit functions` wrote, taken back to the nodes that they were made of."""

from collections.abc import Iterator

import onnx

from roofwright.passes.emit import FUNCTION_DOMAIN

NODES, VALUES = "nodes", "values"  # attributes of a call: names that the kernel's nodes and inner tensors had
_GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)


def graphs_in(root: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and every body below it, in the order of `graph.graphs_of`."""
    found = [root]
    for graph in found:
        yield graph
        for attribute in (a for node in graph.node for a in node.attribute if a.type in _GRAPHS):
            found += [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs


def expand(model: onnx.ModelProto) -> None:
    """Replace every call by the function's nodes, in place, and drop the functions.

    Names come back from the call; where one is missing or taken, what a hostile model says is not believed and a new
    one is made. Our functions call none of our own.
    """
    library = {made.name: made for made in model.functions if made.domain == FUNCTION_DOMAIN}
    taken = {name for graph in graphs_in(model.graph) for name in _names(graph)}
    for graph in graphs_in(model.graph):
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            function = library.get(node.op_type) if node.domain == FUNCTION_DOMAIN else None
            nodes += [node] if function is None else _expanded(node, function, taken)
        if len(nodes) != len(graph.node) or any(node.domain == FUNCTION_DOMAIN for node in graph.node):
            copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
            del graph.node[:]
            graph.node.extend(copies)
    kept = [made for made in model.functions if made.domain != FUNCTION_DOMAIN]
    imports = [entry for entry in model.opset_import if entry.domain != FUNCTION_DOMAIN]
    del model.functions[:], model.opset_import[:]
    model.functions.extend(kept)
    model.opset_import.extend(imports)


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (info.name for info in (*graph.input, *graph.output))
    yield from (tensor.name for tensor in graph.initializer)
    for node in graph.node:
        yield from (*node.input, *node.output)


def _expanded(call: onnx.NodeProto, function: onnx.FunctionProto, taken: set[str]) -> list[onnx.NodeProto]:
    names = dict(zip(function.input, call.input, strict=False)) | dict(zip(function.output, call.output, strict=False))
    wanted = [name.decode(errors="replace") for name in _strings(call, VALUES)]
    titles = [name.decode(errors="replace") for name in _strings(call, NODES)]
    found = []
    for at, node in enumerate(function.node):
        made = onnx.NodeProto()
        made.CopyFrom(node)
        made.name = titles[at] if at < len(titles) else ""
        for place, name in enumerate(node.output):
            if name and name not in names:
                names[name] = _free(wanted.pop(0) if wanted else name, call.output[0], taken)
            made.output[place] = names.get(name, "")
        made.input[:] = [names.get(name, "") for name in node.input]
        found.append(made)
    return found


def _strings(call: onnx.NodeProto, name: str) -> list[bytes]:
    return next((list(a.strings) for a in call.attribute if a.name == name), [])


def _free(wanted: str, place: str, taken: set[str]) -> str:
    name = wanted
    while not name or name in taken:
        name = f"{place}.{name or wanted}"
    taken.add(name)
    return name
