"""Groups of nodes that make one operator together: Gelu, normalizations, Softmax, rotary embedding.

The finders are those of pass fuse-composites; where the operator could not be written (the opset is too old, the stack
does not list it), its nodes still belong into one kernel. Nothing inside has a reader outside, and only the last node's
result leaves.
"""

from collections.abc import Iterator, Sequence

import onnx_graphsurgeon as gs

from roofwright.cost_model import NodeWork
from roofwright.graph import Index, View, key
from roofwright.passes.base import Decline
from roofwright.passes.fusion.attention import WriteAttention
from roofwright.passes.fusion.composite import Composite, Pattern
from roofwright.passes.fusion.composites import COMPOSITES
from roofwright.passes.fusion.gates import WriteGate
from roofwright.passes.fusion.weights import closed
from roofwright.passes.scheduling.grouping import Grouper

Group = tuple[str, ...]


def grouped(
    graph: gs.Graph, works: Sequence[NodeWork], outputs: Sequence[str], fuses: Sequence[str]
) -> list[list[NodeWork]]:
    """The kernels of `Grouper`, with composites as kernels of their own.

    A pointwise one may end a matrix kernel as its activation; where it does not, it is a kernel like the others.
    """
    patterns = composites(graph)
    whole = [keys for finder, keys in patterns if finder is not WriteGate]
    gates = [keys for finder, keys in patterns if finder is WriteGate]
    found = Grouper(works, outputs, fuses, whole).groups()
    kernel = {work.key: at for at, group in enumerate(found) for work in group}
    scattered = [keys for keys in gates if len({kernel.get(name) for name in keys}) > 1]
    return Grouper(works, outputs, fuses, [*whole, *scattered]).groups() if scattered else found


def composites(graph: gs.Graph) -> list[tuple[type[Composite], Group]]:
    """Every composite with the keys of its nodes, bodies included, largest first; no node is in two.

    One whose inner value is read from outside, or that shares a node with a larger one, is left out; so is attention,
    whose products are kernels of a matrix unit.
    """
    index = Index(graph)
    found = [pair for inner in index.graphs for pair in _patterns(View(inner, index))]
    taken: set[int] = set()
    groups: list[tuple[type[Composite], Group]] = []
    for finder, pattern in sorted(found, key=lambda pair: -len(pair[1].nodes)):
        nodes = {id(node) for node in pattern.nodes}
        if not nodes & taken:
            taken |= nodes
            groups.append((finder, tuple(key(node) for node in pattern.nodes)))
    return groups


def _patterns(view: View) -> Iterator[tuple[type[Composite], Pattern]]:
    by_op: dict[str, list[type[Composite]]] = {}
    for finder in COMPOSITES:
        for op in finder.anchors if finder is not WriteAttention else ():
            by_op.setdefault(op, []).append(finder)
    for node in view.graph.nodes:
        for finder in by_op.get(node.op, ()) if view.is_op(node, node.op) else ():
            pattern = finder.find(node, view)
            if pattern is not None and _is_closed(pattern, view):
                yield finder, pattern


def _is_closed(pattern: Pattern, view: View) -> bool:
    try:
        closed(pattern.nodes, view)
    except Decline:
        return False
    return True
