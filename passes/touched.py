"""Which nodes a rewrite consumed and produced: those it took out or made, and those it bound and changed in place."""

from dataclasses import fields, is_dataclass
from itertools import islice
from typing import Any

import onnx_graphsurgeon as gs

from roofwright.graph import Edit, key

Named = tuple[str, str]  # operator and key of a node


class Touched:
    """Made before a rewrite is applied, asked afterwards."""

    def __init__(self, bound: object, edit: Edit) -> None:
        """Note what `bound` (the matched rewrite) holds and how far `edit` has come."""
        self.edit = edit
        self.removed, self.added = len(edit.removed), len(edit.added)
        self.before = [(node, (node.op, key(node)), _edges(node)) for node in _ordered(bound_nodes(bound))]

    def names(self) -> dict[str, Any]:
        """The fields `removed`, `added`, `consumed` and `produced` of the rewrite's record."""
        removed, edit = self.edit.removed, self.edit
        gone = list(islice(reversed(removed.values()), len(removed) - self.removed))
        came = edit.added[self.added :]
        changed = [(node, named) for node, named, edges in self.before if id(node) in removed or _moved(node, edges)]
        known = {id(node) for node, _ in changed}
        consumed = [named for _, named in changed]
        consumed += [(node.op, edit.key_of(node)) for node in reversed(gone) if id(node) not in known]
        made = {id(node): node for node in (*(node for node, _ in changed), *came) if id(node) not in removed}
        return {
            "removed": tuple(node.op for node in gone),
            "added": tuple(node.op for node in came),
            "consumed": tuple(consumed),
            "produced": tuple((node.op, key(node)) for node in made.values()),
        }


def bound_nodes(bound: object) -> list[gs.Node]:
    """The nodes in the fields of a dataclass, of the dataclasses in its fields, and of tuples of either, each once."""
    found: dict[int, gs.Node] = {}
    waiting: list[Any] = [bound]
    while waiting:
        item = waiting.pop()
        if isinstance(item, gs.Node):
            found[id(item)] = item
        elif isinstance(item, (tuple, list)):
            waiting += reversed(item)
        elif is_dataclass(item) and not isinstance(item, type):
            waiting += [getattr(item, field.name) for field in reversed(fields(item))]
    return list(found.values())


def _ordered(nodes: list[gs.Node]) -> list[gs.Node]:
    """The nodes, each after those that make what it reads."""
    pending = {id(node): node for node in nodes}
    readers: dict[int, list[gs.Node]] = {}
    waits = dict.fromkeys(pending, 0)
    for node in nodes:
        for maker in {id(tensor.inputs[0]) for tensor in node.inputs if tensor.inputs} & pending.keys():
            readers.setdefault(maker, []).append(node)
            waits[id(node)] += 1
    ready = [node for node in nodes if not waits[id(node)]]
    for node in ready:  # grows while it is walked
        for reader in readers.get(id(node), ()):
            waits[id(reader)] -= 1
            ready += [] if waits[id(reader)] else [reader]
    return ready


def _edges(node: gs.Node) -> tuple[str, Any, list[gs.Tensor], list[gs.Tensor]]:
    return node.op, node.attrs, list(node.inputs), list(node.outputs)


def _moved(node: gs.Node, before: tuple[str, Any, list[gs.Tensor], list[gs.Tensor]]) -> bool:
    """Whether the operator, the attributes or an edge of a node is another one than before."""
    op, attrs, inputs, outputs = before
    if node.op != op or node.attrs is not attrs or len(node.inputs) != len(inputs) or len(node.outputs) != len(outputs):
        return True
    pairs = zip((*node.inputs, *node.outputs), (*inputs, *outputs), strict=True)
    return any(now is not was for now, was in pairs)
