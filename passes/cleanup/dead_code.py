"""Nodes and trailing optional outputs that nobody reads."""

from dataclasses import dataclass
from typing import ClassVar

import onnx
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, Index, View, bodies, drop_unused_initializers, functions, graphs_of, key
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record

_OUTPUTS_MATTER = ("BatchNormalization",)  # how many outputs it has says whether it trains
_OPTIONAL = onnx.defs.OpSchema.FormalParameterOption.Optional


@dataclass(frozen=True)
class DeadCode(Pass):
    """`y = f(x)`, `y` unused --> nothing.

    1. A node of which no output is read, in its graph or in a body below it, and none is an output of a graph; then
       the nodes that only it read.
    2. A body node: the same inside its own graph. A dead If, Loop or Scan takes its bodies along.
    3. Trailing outputs that the operator declares optional and nobody reads (the mask of Dropout, the indices of
       MaxPool) are cut off a living node. Not those of BatchNormalization, whose number means training.
    4. Initializers that nothing used when the model was read.
    5. Local functions that no node calls, nor a function that is called.

    Declines when the node, or a node in one of its bodies, belongs to a custom domain: it may have an effect that the
    graph does not show.

    Numerics: exact.
    """

    name: ClassVar[str] = "dead-code"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "remove nodes whose results nobody reads"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Sweep every graph once, consumers first; inner graphs first, so that what they captured is freed."""
        index = Index(graph)
        records: list[Record] = []
        for inner in reversed(index.graphs):
            view = View(inner, index)
            edit = Edit(view)
            records += _sweep(view, edit)
            edit.flush()
            records += [record for node in inner.nodes for record in _trim(node, view, edit)]
        unused = [name for name in drop_unused_initializers(graph) if name not in index.overridable]
        records += [Record("drop-unused-initializer", name, "Constant", applied=True) for name in unused]
        records += [Record("drop-unused-function", name, "Function", applied=True) for name in _drop_functions(index)]
        return PassResult(tuple(records))


def _sweep(view: View, edit: Edit) -> list[Record]:
    """Cases 1 and 2: a worklist from the last node to the first; a removal revisits the makers of its inputs."""
    records = []
    work = list(view.graph.nodes)
    while work:
        node = work.pop()
        if id(node) in edit.removed or not _is_dead(node, view):
            continue
        makers = [tensor.inputs[0] for tensor in _reads(node) if tensor.inputs and view.is_local(tensor.inputs[0])]
        records.append(Record("remove-dead-node", key(node), node.op, applied=True, removed=(node.op,)))
        edit.remove(node)
        work += makers
    return records


def _reads(node: gs.Node) -> list[gs.Tensor]:
    """What a node reads, captures of its bodies included."""
    inner = [held for body in bodies(node) for graph in graphs_of(body) for held in graph.nodes]
    return [tensor for reader in (node, *inner) for tensor in reader.inputs]


def _is_dead(node: gs.Node, view: View) -> bool:
    if any(tensor.outputs or view.is_output(tensor) for tensor in node.outputs):
        return False
    below = [graph for body in bodies(node) for graph in graphs_of(body)]
    return all(view.is_op(held, held.op) for held in (node, *(n for graph in below for n in graph.nodes)))


def _trim(node: gs.Node, view: View, edit: Edit) -> list[Record]:
    """Case 3."""
    keep = len(node.outputs)
    if (
        keep < 2
        or not view.is_op(node, node.op)
        or node.op in _OUTPUTS_MATTER
        or not onnx.defs.has(node.op, view.opset)
    ):
        return []
    formal = onnx.defs.get_schema(node.op, view.opset).outputs
    while keep > 1 and keep <= len(formal) and formal[keep - 1].option == _OPTIONAL:
        last = node.outputs[keep - 1]
        if last.outputs or view.is_output(last):
            break
        keep -= 1
    if keep == len(node.outputs):
        return []
    edit.drop_outputs(node, keep)
    return [Record("trim-unused-output", key(node), node.op, applied=True)]


def _drop_functions(index: Index) -> list[str]:
    """Case 5; returns the names. Functions made with graphsurgeon may call others: then all stay."""
    held = functions(index.root)
    if not held or index.root.functions:
        return []
    by_name = {(function.domain, function.name): function for function in held}
    waiting = [(node.domain or "", node.op) for graph in index.graphs for node in graph.nodes]
    while waiting:
        function = by_name.pop(waiting.pop(), None)
        if function is None:
            continue
        groups = [function.node]
        while groups:
            for node in groups.pop():
                waiting.append((node.domain, node.op_type))
                groups += [attribute.g.node for attribute in node.attribute if attribute.HasField("g")]
    held[:] = [function for function in held if (function.domain, function.name) not in by_name]
    return [function.name for function in by_name.values()]
