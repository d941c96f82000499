"""A call of a model-local function as a graph of its own: inlined by onnx, its tensors named for this call."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import onnx
import onnx_graphsurgeon as gs
from onnx import helper, inliner
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

from roofwright.cost_model.ops.facts import Unmodelled
from roofwright.graph import dtype_number, functions, graphs_of, infer, key

if TYPE_CHECKING:
    from roofwright.graph import TensorInfo

Name = tuple[str, str]
Library = dict[Name, onnx.FunctionProto]
_MOST_INLINED_NODES = 100_000  # calls of calls can multiply without limit


def library(graph: gs.Graph) -> Library:
    """The local functions of a model by (domain, name), those made with graphsurgeon included."""
    protos = [*functions(graph), *(OnnxExporter.export_function(function) for function in graph.functions)]
    return {(proto.domain, proto.name): proto for proto in protos}


def expand(
    call: gs.Node, known: Library, root: gs.Graph, infos: "Mapping[str, TensorInfo]"
) -> "tuple[gs.Graph, dict[str, TensorInfo]]":
    """What `call` runs, calls inside it expanded too, and what is known of its tensors.

    Inputs and outputs carry the names of the call's own tensors, everything inside is prefixed with the call's key, so
    that the nodes fit into the graph around them. Nothing of `root` is changed.

    Raises:
        Unmodelled: the body cannot be expanded, or its inputs have no known shape.
    """
    needed = _reachable((call.domain or "", call.op), known)
    try:
        body = gs.import_onnx(inliner.inline_local_functions(_model(call, needed, root, infos)))
        _rename(body, call)
        _bind(body, call, infos)
        return body, infer(body, {})
    except Unmodelled:
        raise
    except Exception as error:  # the inliner and protobuf raise whatever they like on a body that breaks the rules
        raise Unmodelled(f"the function cannot be expanded ({type(error).__name__})") from error


def _reachable(start: Name, known: Library) -> list[onnx.FunctionProto]:
    """`start` and all it calls; `Unmodelled` where a function calls itself or inlining would explode."""
    sizes: dict[Name, int] = {}
    open_: list[tuple[Name, Iterator[Name]]] = [(start, iter(_calls(known[start], known)))]
    while open_:
        name, calls = open_[-1]
        callee = next((found for found in calls if found not in sizes), None)
        if callee is None:
            sizes[name] = len(known[name].node) + sum(sizes[found] for found in _calls(known[name], known))
            open_.pop()
        elif any(callee == outer for outer, _ in open_):
            raise Unmodelled("the function calls itself")
        else:
            open_.append((callee, iter(_calls(known[callee], known))))
    if sizes[start] > _MOST_INLINED_NODES:
        raise Unmodelled(f"the function expands to more than {_MOST_INLINED_NODES} nodes")
    return [known[name] for name in sizes]


def _calls(function: onnx.FunctionProto, known: Library) -> list[Name]:
    """The local functions that a function's nodes call, bodies included, once per call."""
    found: list[Name] = []
    groups = [function.node]
    while groups:
        for node in groups.pop():
            if (node.domain, node.op_type) in known:
                found.append((node.domain, node.op_type))
            groups.extend(attribute.g.node for attribute in node.attribute if attribute.HasField("g"))
    return found


def _model(
    call: gs.Node, needed: list[onnx.FunctionProto], root: gs.Graph, infos: "Mapping[str, TensorInfo]"
) -> onnx.ModelProto:
    """A model of nothing but the call."""
    node = helper.make_node(
        call.op, [t.name for t in call.inputs], [t.name for t in call.outputs], call.name, domain=call.domain
    )
    node.attribute.extend(OnnxExporter.export_attributes(call.attrs))
    inputs = [_declared(name, infos) for name in dict.fromkeys(t.name for t in call.inputs if t.name)]
    outputs = [onnx.ValueInfoProto(name=tensor.name) for tensor in call.outputs if tensor.name]
    opsets = {entry.domain: entry for entry in root.import_domains or ()}
    opsets.setdefault("", helper.make_operatorsetid("", root.opset))
    for function in needed:
        for entry in function.opset_import:
            opsets.setdefault(entry.domain, entry)
    return helper.make_model(
        helper.make_graph([node], "call", inputs, outputs),
        functions=needed,
        opset_imports=list(opsets.values()),
        ir_version=max(root.ir_version or 0, 8),
    )


def _declared(name: str, infos: "Mapping[str, TensorInfo]") -> onnx.ValueInfoProto:
    info = infos.get(name)
    if info is None or not info.is_static or info.dtype is None:
        raise Unmodelled(f"shape of {name!r} unknown")
    return helper.make_tensor_value_info(name, dtype_number(info.dtype), info.shape)


def _rename(body: gs.Graph, call: gs.Node) -> None:
    """Prefix what is inside with the call's key; each tensor object once."""
    outside = {tensor.name for tensor in (*call.inputs, *call.outputs)}
    done: set[int] = set()
    for graph in graphs_of(body):
        for node in graph.nodes:
            for tensor in (*graph.inputs, *graph.outputs, *node.inputs, *node.outputs):
                if tensor.name and tensor.name not in outside and id(tensor) not in done:
                    tensor.name = f"{key(call)}/{tensor.name}"
                done.add(id(tensor))


def _bind(body: gs.Graph, call: gs.Node, infos: "Mapping[str, TensorInfo]") -> None:
    """Turn the inputs whose values are known into constants; give scalars back the shape that the import drops."""
    constants = {tensor.name: tensor for tensor in call.inputs if isinstance(tensor, gs.Constant)}
    for tensor in body.inputs:
        if tensor.name in constants:
            tensor.to_constant(constants[tensor.name]._values)
        else:
            tensor.shape = infos[tensor.name].shape
    body.inputs = [tensor for tensor in body.inputs if isinstance(tensor, gs.Variable)]
