"""If nodes whose condition is known."""

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from roofwright.graph import Edit, Index, View, bodies, graphs_of, key
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record

_BRANCHES = {True: "then_branch", False: "else_branch"}


@dataclass(frozen=True)
class ConstantIf(Pass):
    """`y = If(true) { then: n1 ... nk } { else: ... }` --> `n1 ... nk`.

    1. The nodes of the taken branch move in front of the If; names of tensors and nodes that exist elsewhere in the
       model (in another body, say) are made unique.
    2. A branch output that a node of the branch makes: that node makes the If's output, which keeps its name.
    3. A branch output that is an initializer, a value of an outer graph, or listed twice: readers of the If's output
       read it directly, or an Identity carries it over where the If's output is an output of a graph.
    4. An If inside the taken branch is tried next.

    Declines when the condition may change: a default that a caller may override is not a constant.

    Numerics: exact.
    """

    name: ClassVar[str] = "constant-if"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "inline the taken branch of an If with a constant condition"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Outer graphs first: what an inlined branch holds belongs to the outer graph then."""
        index = Index(graph)
        records: list[Record] = []
        waiting = deque([graph])
        while waiting:
            inner = waiting.popleft()
            records += _inline_all(View(inner, index))
            waiting.extend(body for node in inner.nodes for body in bodies(node))
        return PassResult(tuple(records))


def _inline_all(view: View) -> list[Record]:
    edit = Edit(view)
    records = []
    work = deque(node for node in view.graph.nodes if view.is_op(node, "If"))
    while work:
        node = work.popleft()
        condition = view.scalar(view.input(node, 0))
        branch = None if condition is None else node.attrs.get(_BRANCHES[bool(condition)])
        if branch is None:
            continue
        moved = list(branch.nodes)
        record = Record("inline-branch", key(node), "If", True, removed=("If",), added=tuple(n.op for n in moved))
        _inline(node, branch, view, edit)
        edit.flush()
        records.append(record)
        work.extend(held for held in moved if view.is_op(held, "If"))  # case 4
    return records


def _inline(node: gs.Node, branch: gs.Graph, view: View, edit: Edit) -> None:
    moved, pairs = list(branch.nodes), list(zip(branch.outputs, node.outputs, strict=True))
    _make_unique(node, branch, view)
    branch.nodes.clear()  # so that removing the If leaves them alone
    for held in moved:
        edit.adopt(held, before=node)
    dead = {id(graph) for body in bodies(node) for graph in graphs_of(body)}
    edit.remove(node)
    kept = [graph for graph in graphs_of(view.index.root) if id(graph) not in dead]
    kept += [graph for held in moved for body in bodies(held) for graph in graphs_of(body)]
    view.index.output_ids = {id(tensor) for graph in kept for tensor in graph.outputs}
    made = {id(tensor) for held in moved for tensor in held.outputs}
    handed: dict[int, gs.Tensor] = {}
    for result, out in pairs:
        if not out.name:
            continue
        if id(result) in made and id(result) not in handed and not view.is_output(result):
            handed[id(result)] = out
            _keep_type(result, out, view)
            edit.hand_over(result, out)  # case 2
            continue
        _carry(node, handed.get(id(result), result), out, view, edit)


def _carry(node: gs.Node, source: gs.Tensor, out: gs.Tensor, view: View, edit: Edit) -> None:
    """Case 3."""
    edit.replace_uses(out, source)
    if view.is_output(out):
        edit.node("Identity", [source], [out], name=node.name or out.name, sources=[node], before=node)


def _keep_type(result: gs.Tensor, out: gs.Tensor, view: View) -> None:
    """The branch may know more of the type than what the two branches agreed on; outputs keep what they declare."""
    if isinstance(out, gs.Variable) and not view.is_output(out):
        out.shape = result.shape if result.shape is not None else out.shape
        out.dtype = result.dtype if result.dtype is not None else out.dtype


def _make_unique(node: gs.Node, branch: gs.Graph, view: View) -> None:
    """Case 1: rename what the branch defines where the name is defined elsewhere too."""
    inside = graphs_of(branch)
    own = {id(tensor): tensor for graph in inside[:1] for held in graph.nodes for tensor in held.outputs if tensor.name}
    own |= _own_constants(branch)
    taken = _defined_elsewhere(view, own)
    for tensor in own.values():
        if tensor.name in taken:
            tensor.name = view.index.unique(f"{node.name or key(node)}_{tensor.name}")
    others = [graph for graph in graphs_of(view.index.root) if graph is not branch]
    names = {held.name for graph in others for held in graph.nodes if held.name}
    for held in branch.nodes:
        if held.name in names:
            held.name = view.index.unique(f"{node.name or key(node)}_{held.name}")


def _own_constants(branch: gs.Graph) -> dict[int, gs.Tensor]:
    """The initializers that only the branch and the bodies inside it read."""
    readers = {id(held) for graph in graphs_of(branch) for held in graph.nodes}
    found = [tensor for held in branch.nodes for tensor in held.inputs] + list(branch.outputs)
    return {
        id(tensor): tensor
        for tensor in found
        if isinstance(tensor, gs.Constant) and all(id(reader) in readers for reader in tensor.outputs)
    }


def _defined_elsewhere(view: View, own: dict[int, gs.Tensor]) -> set[str]:
    taken = set()
    for graph in graphs_of(view.index.root):
        tensors = [*graph.inputs, *graph.outputs]
        for held in graph.nodes:
            tensors += [*held.outputs, *(t for t in held.inputs if isinstance(t, gs.Constant))]
        taken |= {tensor.name for tensor in tensors if id(tensor) not in own}
    return taken
