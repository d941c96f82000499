"""Calls of model-local functions become the nodes that they stand for."""

from dataclasses import dataclass
from typing import ClassVar

import onnx
import onnx_graphsurgeon as gs
from onnx import helper
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

from roofwright.graph import Edit, Index, View, annotate, functions, graphs_of, key
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.passes.emit import FUNCTION_DOMAIN

_IR = 8  # the first version with functions in a model
Name = tuple[str, str]
Library = dict[Name, onnx.FunctionProto]


@dataclass(frozen=True)
class InlineFunctions(Pass):
    """`y = f(x)`, `f(a) = n1 ... nk` --> `n1 ... nk`.

    1. The nodes stand in front of the call; functions that they call are expanded too; attributes of the call replace
       the references to them. Names inside get the call's name in front and are made unique.
    2. Calls in bodies likewise.

    Declines when the function was written for another version of the operators than the model, uses a domain that the
    model does not import, or gives an input back as an output. Functions of the domain `roofwright` are left to those
    who made them.

    Numerics: exact. It helps where exporters put whole modules into functions: no other pass looks inside them.
    """

    name: ClassVar[str] = "inline-functions"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "replace calls of model-local functions by their nodes"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Every call of every graph, once: what comes in its place calls nothing local."""
        known = {(made.domain, made.name): made for made in functions(graph) if made.domain != FUNCTION_DOMAIN}
        if not known:
            return PassResult()
        index = Index(graph)
        records: list[Record] = []
        for inner in index.graphs:
            edit = Edit(View(inner, index))
            calls = [node for node in inner.nodes if (node.domain or "", node.op) in known]
            records += [_inlined(call, known, edit) for call in calls]
            edit.flush()
        if any(record.applied for record in records):
            annotate(graph)
        return PassResult(tuple(records))


def _inlined(call: gs.Node, known: Library, edit: Edit) -> Record:
    versions = {entry.domain: entry.version for entry in edit.view.index.root.import_domains or ()}
    versions[""] = versions.pop("ai.onnx", edit.view.opset)
    needed = _reachable((call.domain or "", call.op), known)
    reason = _obstacle(needed, versions)
    anchor, op = key(call), call.op
    if reason:
        return Record("inline-call", anchor, op, applied=False, reason=reason)
    body = _expanded(call, needed, versions)
    moved = list(body.nodes)
    _rename(body, call, edit)
    _replace(call, body, moved, edit)
    return Record("inline-call", anchor, op, True, "", (op,), tuple(node.op for node in moved))


def _reachable(start: Name, known: Library) -> list[onnx.FunctionProto]:
    """The function and all that it calls."""
    left, found, waiting = dict(known), [], [start]
    while waiting:
        function = left.pop(waiting.pop(), None)
        if function is None:
            continue
        found.append(function)
        groups = [function.node]
        while groups:
            for node in groups.pop():
                waiting.append((node.domain, node.op_type))
                groups += [attribute.g.node for attribute in node.attribute if attribute.HasField("g")]
    return found


def _obstacle(needed: list[onnx.FunctionProto], versions: dict[str, int]) -> str:
    """Why the nodes would not mean the same outside of the function; empty where they do."""
    for function in needed:
        if set(function.input) & set(function.output):
            return f"function {function.name!r} gives an input back as an output"
        for entry in function.opset_import:
            domain = "" if entry.domain == "ai.onnx" else entry.domain
            have = versions.get(domain)
            if have != entry.version:
                there = "does not import it" if have is None else f"has version {have}"
                label = domain or "ai.onnx"
                return f"function {function.name!r} uses version {entry.version} of {label!r}, and the model {there}"
    return ""


def _expanded(call: gs.Node, needed: list[onnx.FunctionProto], versions: dict[str, int]) -> gs.Graph:
    """The call alone, expanded by onnx."""
    from onnx import inliner

    node = helper.make_node(
        call.op, [t.name for t in call.inputs], [t.name for t in call.outputs], call.name, domain=call.domain
    )
    node.attribute.extend(OnnxExporter.export_attributes(call.attrs))
    names = dict.fromkeys(tensor.name for tensor in call.inputs if tensor.name)
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names]
    outputs = [onnx.ValueInfoProto(name=tensor.name) for tensor in call.outputs if tensor.name]
    model = helper.make_model(
        helper.make_graph([node], "call", inputs, outputs),
        functions=needed,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in versions.items()],
        ir_version=_IR,
    )
    return gs.import_onnx(inliner.inline_local_functions(model))


def _rename(body: gs.Graph, call: gs.Node, edit: Edit) -> None:
    """Case 1: unique names; each tensor object once."""
    outside = {tensor.name for tensor in (*call.inputs, *call.outputs)}
    done: set[int] = set()
    for graph in graphs_of(body):
        for node in graph.nodes:
            node.name = edit.view.index.unique(f"{key(call)}/{node.name or node.op}")
            for tensor in (*graph.inputs, *graph.outputs, *node.inputs, *node.outputs):
                if tensor.name and tensor.name not in outside and id(tensor) not in done:
                    tensor.name = edit.view.index.unique(f"{key(call)}/{tensor.name}")
                done.add(id(tensor))


def _replace(call: gs.Node, body: gs.Graph, moved: list[gs.Node], edit: Edit) -> None:
    """The moved nodes read what the call read and make what it made."""
    outer = {tensor.name: tensor for tensor in call.inputs if tensor.name}
    wanted = {tensor.name: tensor for tensor in call.outputs if tensor.name}
    for held in moved:
        edit.inherit(held, (call,))
        edit.adopt(held, before=call)
    edit.remove(call)
    for tensor in body.inputs:
        edit.replace_uses(tensor, outer[tensor.name])
    for tensor in body.outputs:
        edit.hand_over(tensor, wanted[tensor.name])
