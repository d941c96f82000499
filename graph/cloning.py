"""An independent copy of a graph with everything that we keep beside it; weight arrays are shared."""

from dataclasses import replace
from functools import partial
from typing import Any, cast

import onnx_graphsurgeon as gs

from roofwright.graph.sidecar import Sidecar
from roofwright.graph.walk import graphs_of, tensors_of


def clone(root: gs.Graph) -> gs.Graph:
    """Copy a main graph: nodes, tensors, bodies and attribute lists are new, weights and source protos are shared.

    graphsurgeon's own `copy` matches tensors by name, shares attribute lists and forgets what graphsurgeon does not
    hold; a graph made by `read` or `clone` answers `copy()` with this function instead.
    """
    tensors: dict[int, gs.Tensor] = {}
    originals = graphs_of(root)
    for graph in originals:
        held: Sidecar | None = graph.__dict__.get("sidecar")
        for tensor in (*tensors_of(graph), *(held.constants.values() if held else ())):
            if id(tensor) not in tensors:
                tensors[id(tensor)] = _copy_tensor(tensor)
    copies = {id(graph): _copy_shell(graph) for graph in originals}
    for graph in originals:
        _fill(copies[id(graph)], graph, tensors, copies)
    top = copies[id(root)]
    own_copy(top)
    return top


def own_copy(graph: gs.Graph) -> None:
    """Make `graph.copy()` a `clone`."""
    graph.__dict__["copy"] = partial(clone, graph)


def _copy_tensor(tensor: gs.Tensor) -> gs.Tensor:
    if isinstance(tensor, gs.Constant):
        made = gs.Constant(tensor.name, tensor._values, tensor.data_location)
        made._export_dtype = tensor.__dict__.get("_export_dtype")
        if "source" in tensor.__dict__:
            made.__dict__["source"] = tensor.__dict__["source"]
        return made
    shape = None if tensor.shape is None else list(tensor.shape)
    kind = tensor.type if isinstance(tensor, gs.Variable) else "tensor_type"
    return gs.Variable(tensor.name, tensor.dtype, shape, kind)


def _copy_shell(graph: gs.Graph) -> gs.Graph:
    imports = graph.import_domains
    return gs.Graph(
        name=graph.name,
        doc_string=graph.doc_string,
        opset=graph.opset,
        import_domains=None if imports is None else list(imports),
        producer_name=graph.producer_name,
        producer_version=graph.producer_version,
        functions=list(graph.functions),
        ir_version=graph.ir_version,
    )


def _fill(made: gs.Graph, graph: gs.Graph, tensors: dict[int, gs.Tensor], copies: dict[int, gs.Graph]) -> None:
    made.inputs = [tensors[id(tensor)] for tensor in graph.inputs]
    made.outputs = [tensors[id(tensor)] for tensor in graph.outputs]
    made.nodes[:] = [_copy_node(node, tensors, copies) for node in graph.nodes]
    held: Sidecar | None = graph.__dict__.get("sidecar")
    if held is None:
        return
    model = held.model and replace(
        held.model,
        functions=list(held.model.functions),
        metadata=None if held.model.metadata is None else dict(held.model.metadata),
        notes=list(held.model.notes),
    )
    made.__dict__["sidecar"] = replace(
        held,
        constants={name: cast(gs.Constant, tensors[id(t)]) for name, t in held.constants.items()},
        unused=set(held.unused),
        metadata=None if held.metadata is None else dict(held.metadata),
        model=model,
    )


def _copy_node(node: gs.Node, tensors: dict[int, gs.Tensor], copies: dict[int, gs.Graph]) -> gs.Node:
    made = gs.Node(
        node.op,
        node.name,
        {name: _copy_value(value, copies) for name, value in node.attrs.items()},
        [tensors[id(tensor)] if tensor.name else gs.Variable.empty() for tensor in node.inputs],
        [tensors[id(tensor)] if tensor.name else gs.Variable.empty() for tensor in node.outputs],
        node.domain,
    )
    if "proto" in node.__dict__:
        made.__dict__["proto"] = node.__dict__["proto"]
    if "metadata" in node.__dict__:
        made.__dict__["metadata"] = dict(node.__dict__["metadata"])
    return made


def _copy_value(value: Any, copies: dict[int, gs.Graph]) -> Any:
    if isinstance(value, gs.Graph):
        return copies[id(value)]
    if isinstance(value, gs.Tensor):
        return _copy_tensor(value)
    if isinstance(value, (list, tuple)):
        return [_copy_value(item, copies) for item in value]
    return value
