"""Nodes that compute the same thing, and initializers that hold the same bytes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, Index, View, key
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record

_NOT_REPEATABLE = frozenset(
    ("RandomUniform", "RandomUniformLike", "RandomNormal", "RandomNormalLike", "Multinomial", "Bernoulli", "Dropout")
)
_QDQ = ("QuantizeLinear", "DequantizeLinear")  # runtimes look for a pair of its own around each operator
_NEVER = _NOT_REPEATABLE.union(_QDQ, ["Identity"])  # Identity carries names; file `identities` takes out the others
_SAMPLE_BYTES = 512
Key = tuple[object, ...]


@dataclass(frozen=True)
class CommonSubexpressions(Pass):
    """`y = f(x); z = f(x)` --> `y = f(x)`, readers of `z` read `y`.

    1. Same operator of the default domain, same attributes (tensors by dtype, shape and bytes; 0.0 and -0.0 differ),
       same inputs in the same places, omitted ones included, and the same outputs named.
    2. `z` is an output of a graph and `y` is not: the node takes the name `z`.
    3. Both are outputs: the second node becomes an Identity, both names stay.
    4. Initializers of equal dtype, shape and bytes become one (weight tying); compared in full, and read only where
       dtype, shape and a sample agree. Never one that a caller can override, nor an output.
    5. A body: the same among the nodes of one body; values of different bodies never meet.
    6. A Constant that makes an output stays: an Identity of another one would be folded to a Constant again.

    Declines for random operators, Dropout, nodes with bodies, custom domains: two of them are not one. QuantizeLinear
    and DequantizeLinear belong to pass qdq: runtimes look for a pair of its own around each operator.

    Numerics: exact. References: value numbering, Alpern, Wegman, Zadeck, POPL 1988, doi:10.1145/73560.73561.
    """

    name: ClassVar[str] = "common-subexpressions"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "merge equal nodes and equal initializers"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Initializers first, so that nodes which read equal ones become equal; then nodes in order."""
        index = Index(graph)
        records: list[Record] = []
        for inner in index.graphs:
            view = View(inner, index)
            edit = Edit(view)
            records += _merge_initializers(view, edit)
            records += _merge_nodes(view, edit)
            edit.flush()
        return PassResult(tuple(records))


# ---- nodes
def _merge_nodes(view: View, edit: Edit) -> list[Record]:
    seen: dict[Key, gs.Node] = {}
    renamed: dict[int, gs.Tensor] = {}  # id of the tensor that took a name over (case 2) -> the one it stands for
    twins: dict[int, list[gs.Node]] = {}
    records = []
    for node in list(view.graph.nodes):
        signature = _signature(node, view, renamed)
        if signature is None or (node.op == "Constant" and view.is_output(node.outputs[0])):  # case 6
            continue
        first = seen.setdefault(signature, node)
        if first is not node:
            records.append(_merge(first, node, view, edit, renamed))
            twins.setdefault(id(first), [first]).append(node)
    for first, *others in twins.values():
        edit.inherit(first, (first, *others))
    return records


def _signature(node: gs.Node, view: View, renamed: dict[int, gs.Tensor]) -> Key | None:
    """What two nodes must share to be one; None where a node is never merged."""
    if node.op in _NEVER or not view.is_op(node, node.op):
        return None
    attributes = _attributes(node, view)
    if attributes is None:
        return None
    inputs = tuple(id(renamed.get(id(tensor), tensor)) if tensor.name else 0 for tensor in node.inputs)
    return (node.op, inputs, tuple(bool(tensor.name) for tensor in node.outputs), attributes)


def _attributes(node: gs.Node, view: View) -> Key | None:
    found: list[object] = []
    for name in sorted(node.attrs):
        value = node.attrs[name]
        if isinstance(value, gs.Constant):
            array = view.index.values(value)
            value = (array.dtype.str, array.dtype.name, array.shape, array.tobytes())
        elif isinstance(value, list):
            value = tuple(map(repr, value)) if _are_plain(value) else None
        else:
            value = repr(value) if _are_plain([value]) else None
        if value is None:
            return None
        found.append((name, value))
    return tuple(found)


def _are_plain(values: Iterable[Any]) -> bool:
    return all(isinstance(value, (int, float, str, bytes, type)) for value in values)


def _merge(first: gs.Node, second: gs.Node, view: View, edit: Edit, renamed: dict[int, gs.Tensor]) -> Record:
    anchor, op = key(second), second.op
    outputs = list(second.outputs)
    added: list[str] = []
    edit.remove(second)
    for kept, gone in zip(list(first.outputs), outputs, strict=True):
        edit.replace_uses(gone, kept)
        if view.is_output(gone) and not view.is_output(kept):
            edit.hand_over(kept, gone)  # case 2
            renamed[id(gone)] = renamed.get(id(kept), kept)
        elif view.is_output(gone):
            edit.node("Identity", [kept], [gone], name=second.name or anchor, sources=[second], before=second)
            added.append("Identity")  # case 3
    return Record("merge-nodes", anchor, op, applied=True, removed=(op,), added=tuple(added))


# ---- initializers
def _merge_initializers(view: View, edit: Edit) -> list[Record]:
    """Case 4: staged, so that a weight whose dtype and shape are its own is never read."""
    groups: dict[Key, list[gs.Constant]] = {}
    for constant in _mergeable(view):
        dtype, shape = np.dtype(constant.dtype), tuple(constant.shape)
        groups.setdefault((dtype.str, dtype.name, shape), []).append(constant)
    records = []
    for group in groups.values():
        if len(group) > 1:
            records += _merge_group(group, view, edit)
    return records


def _mergeable(view: View) -> list[gs.Constant]:
    """The initializers that nodes of this graph read, text and outputs left out."""
    found = {id(t): t for node in view.graph.nodes for t in node.inputs if isinstance(t, gs.Constant)}
    return [
        constant
        for constant in found.values()
        if view.is_constant(constant) and not view.is_output(constant) and np.dtype(constant.dtype).kind not in "OUS"
    ]


def _merge_group(group: list[gs.Constant], view: View, edit: Edit) -> list[Record]:
    by_sample: dict[bytes, list[gs.Constant]] = {}
    records = []
    for constant in group:
        flat = np.ascontiguousarray(view.index.values(constant)).reshape(-1).view(np.uint8)
        sample = flat[:_SAMPLE_BYTES].tobytes() + flat[-_SAMPLE_BYTES:].tobytes()
        twins = by_sample.setdefault(sample, [])
        twin = next((other for other in twins if _same_bytes(other, flat, view)), None)
        if twin is None:
            twins.append(constant)
        elif all(view.is_local(reader) for reader in view.consumers(constant)):
            edit.replace_uses(constant, twin)
            records.append(Record("merge-initializers", constant.name, "Constant", applied=True))
    return records


def _same_bytes(other: gs.Constant, flat: Any, view: View) -> bool:
    return np.array_equal(np.ascontiguousarray(view.index.values(other)).reshape(-1).view(np.uint8), flat)
