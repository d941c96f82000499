"""The nodes around a Transpose that could work in the other layout, and which of them should."""

from collections.abc import Hashable, Iterable, Mapping, Sequence

import onnx_graphsurgeon as gs

from roofwright.graph import View
from roofwright.passes.cleanup.constant_inputs import permutation
from roofwright.passes.cleanup.permutations import moves_only_ones
from roofwright.passes.layout.axes import MOVES, Change, Perm, change, inverse
from roofwright.passes.layout.cut import SINK, SOURCE, Net, cheapest, node_count

_MOST_NODES = 512
_SYMBOLIC_SIZE = 64  # of a dimension that is not known, where sizes are weighed against each other
_REDUCTION = 0.75  # of a Transpose, see `_slower`
Member = tuple[gs.Node, Change]


def perm_of(node: gs.Node | None, view: View) -> Perm | None:
    """The permutation of a Transpose that reads something; None for other nodes."""
    if not view.is_op(node, "Transpose"):
        return None
    found = permutation(node, view)
    return None if found is None else tuple(found)


def transpose_of(node: gs.Node | None, view: View) -> tuple[gs.Node, Perm] | None:
    """The node and its permutation where it is a Transpose; None for other nodes."""
    perm = perm_of(node, view)
    return None if node is None or perm is None else (node, perm)


def elements(tensor: gs.Tensor) -> float:
    """How much a Transpose of it moves."""
    size = 1.0
    for dim in tensor.shape or ():
        size *= dim if isinstance(dim, int) else _SYMBOLIC_SIZE
    return max(size, 1.0)


def highest(members: Iterable[Member]) -> int:
    """The highest level of changes; that of a mere move for none."""
    return max((held.level for _, held in members), default=MOVES)


def worthwhile(seeds: Sequence[gs.Node], perm: Perm, view: View, through: int) -> tuple[Member, ...]:
    """The nodes around `seeds` that should change, where one of them needs a change of the level `through`.

    Many Transposes stand around one region: one that is not worth it from here is not from its other nodes.
    """
    known: set[int] = view.memo.setdefault((worthwhile, perm, through), set())
    if all(id(seed) in known for seed in seeds):
        return ()
    region = Region(seeds, perm, view, through)
    found = region.chosen() if region.members and region.level == through else ()
    if found and highest(found) == through:
        return found
    known |= region.met if len(region.members) < _MOST_NODES else set()
    return ()


class Region:
    """Nodes connected with `seeds` that can read `w` where they read `v = Transpose(w, perm)` now.

    Attributes:
        members: by id.
        met: ids of all nodes that were looked at.
    """

    def __init__(self, seeds: Iterable[gs.Node], perm: Perm, view: View, through: int) -> None:
        """Explore; reads only. `through`: the highest level of changes."""
        self.perm, self.back, self.view, self.through = perm, inverse(perm), view, through
        self.members: dict[int, Member] = {}
        self.met: set[int] = set()
        waiting = list(seeds)
        while waiting and len(self.members) < _MOST_NODES:
            node = waiting.pop()
            if self._joins(node):
                waiting += self._neighbours(node)

    @property
    def level(self) -> int:
        """The highest level of changes among the members."""
        return highest(self.members.values())

    def _joins(self, node: gs.Node) -> bool:
        if id(node) in self.met or not self.view.is_local(node):
            return False
        self.met.add(id(node))
        found = change(node, self.perm, self.view, self.through)
        if found is not None:
            self.members[id(node)] = (node, found)
        return found is not None

    def _neighbours(self, node: gs.Node) -> list[gs.Node]:
        near = []
        for tensor in self.tied(node):
            maker = self.view.producer(tensor)
            near += [maker] if maker is not None else []
            near += self.view.consumers(tensor)
        return near

    def tied(self, node: gs.Node) -> list[gs.Tensor]:
        """The tensors of a member that would be read and written in the other layout."""
        found = self.members[id(node)][1]
        return [node.inputs[at] for at in found.inputs] + [node.outputs[at] for at in found.outputs]

    def chosen(self) -> tuple[Member, ...]:
        """The members that should change: those for which fewer elements are transposed, by no more nodes."""
        nets = self._nets()
        ones = cheapest(nets)
        if node_count(nets, ones) > node_count(nets, set()):
            return ()
        return tuple(member for key, member in self.members.items() if key in ones)

    def _nets(self) -> list[Net]:
        seen: dict[int, gs.Tensor] = {}
        for node, _ in self.members.values():
            seen.update((id(tensor), tensor) for tensor in self.tied(node))
        nets = [
            Net(self._maker(tensor), self._readers(tensor, seen), self._work(tensor))
            for tensor in seen.values()
            if not self.view.is_constant(tensor)
        ]
        return nets + [net for node, held in self.members.values() for net in _slower(node, held)]

    def _work(self, tensor: gs.Tensor) -> float:
        """What a Transpose between its two layouts moves."""
        shape = tensor.shape
        is_view = shape is not None and len(shape) == len(self.back) and moves_only_ones(shape, self.back)
        return 0.0 if is_view else elements(tensor)

    def _maker(self, tensor: gs.Tensor) -> Hashable:
        node = self.view.producer(tensor)
        if node is None:
            return SINK
        if id(node) in self.members:
            held = self.members[id(node)][1]
            return id(node) if any(node.outputs[at] is tensor for at in held.outputs) else SINK
        perm = perm_of(node, self.view)
        if perm is None:
            return SINK
        return SOURCE if perm == self.perm else -id(node)  # any other Transpose can give either layout

    def _readers(self, tensor: gs.Tensor, tied: Mapping[int, gs.Tensor]) -> tuple[Hashable, ...]:
        found: list[Hashable] = [SINK] if self.view.is_output(tensor) else []
        for node in self.view.consumers(tensor):
            perm = perm_of(node, self.view) if self.view.is_local(node) else None
            if perm is not None and perm != self.back:
                continue  # it composes with whatever it reads
            if perm is not None:
                found.append(SINK if id(node.outputs[0]) in tied else SOURCE)
                continue
            slots = [at for at, held in enumerate(node.inputs) if held is tensor]
            member = self.members.get(id(node))
            found.append(SINK if member is None or any(at not in member[1].inputs for at in slots) else id(node))
        return tuple(found)


def _slower(node: gs.Node, held: Change) -> list[Net]:
    """What a member costs where it changes.

    A constant on the left of a product is laid out for the unit on every run, one on the right once. Runtimes know a
    normalization by its two reductions of the last axis: taking it apart is worth two Transposes, but not one.
    """
    found = [Net(SINK, (id(node),), elements(node.inputs[at]), 0) for at in held.constants if held.mirrored and at == 1]
    return found + ([Net(SINK, (id(node),), _REDUCTION * elements(node.inputs[0]), 0)] if held.leaves else [])
