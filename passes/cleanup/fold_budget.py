"""Which large results a fold may keep: no more bytes than the constants that go with it."""

import onnx_graphsurgeon as gs

from roofwright.graph import View

_SMALL_BYTES = 1 << 10  # axes and sizes, shared all over a model, do not tie what reads them together


class Budget:
    """Constants and folded results in groups that belong together, as a union-find over tensors.

    A result above the limit is *lent* its bytes where its group has read as many: three slices of one weight that are
    concatenated again are as large as the weight, though none of the four nodes frees it alone. `unpaid` says at the
    end where more is kept than goes.
    """

    def __init__(self, view: View, limit_bytes: int) -> None:
        """Nothing is lent; no result up to `limit_bytes` needs to be."""
        self.view, self.limit_bytes = view, limit_bytes
        self._parent: dict[int, int] = {}
        self._read: dict[int, dict[int, gs.Constant]] = {}  # group -> the larger constants it reads
        self._bytes: dict[int, int] = {}  # group -> of these
        self._lent: dict[int, tuple[gs.Node, int]] = {}

    def joined(self, inputs: list[gs.Tensor], outputs: list[gs.Tensor]) -> int:
        """Put a node's tensors in one group; returns the bytes that the group reads."""
        root = self._find(id(outputs[0]))
        for tensor in (*inputs, *outputs):
            if isinstance(tensor, gs.Constant) and tensor._values.nbytes < _SMALL_BYTES:
                continue
            if isinstance(tensor, gs.Constant) and id(tensor) not in self._parent:
                self._read[id(tensor)] = {id(tensor): tensor}
                self._bytes[id(tensor)] = int(tensor._values.nbytes)
            root = self._unite(root, self._find(id(tensor)))
        return self._bytes.get(root, 0)

    def lend(self, node: gs.Node, size_bytes: int) -> None:
        """Note that the node's results have so many bytes, above the limit."""
        self._lent[id(node)] = (node, size_bytes)

    def unpaid(self, folded: dict[int, gs.Node]) -> dict[int, str]:
        """The lent nodes, by id, of the groups in which more is kept than goes when `folded` go; and why they stay."""
        kept: dict[int, int] = {}
        for node, size_bytes in self._lent.values():
            stays = any(self._is_read(tensor, folded) for tensor in node.outputs)
            root = self._find(id(node.outputs[0]))
            kept[root] = kept.get(root, 0) + (size_bytes if stays and id(node) in folded else 0)
        freed = {root: self._freed(root, folded) for root, size_bytes in kept.items() if size_bytes}
        found = {}
        for node, size_bytes in self._lent.values():
            root = self._find(id(node.outputs[0]))
            if kept[root] > freed.get(root, 0):
                limit = max(self.limit_bytes, freed.get(root, 0))
                found[id(node)] = too_large(max(size_bytes, kept[root]), limit)
        return found

    def _freed(self, root: int, folded: dict[int, gs.Node]) -> int:
        """The bytes of the group's constants that nothing reads once the nodes are gone."""
        read = self._read.get(root, {}).values()
        return sum(int(constant._values.nbytes) for constant in read if not self._is_read(constant, folded))

    def _is_read(self, tensor: gs.Tensor, folded: dict[int, gs.Node]) -> bool:
        return self.view.is_output(tensor) or any(id(reader) not in folded for reader in tensor.outputs)

    def _find(self, item: int) -> int:
        root = self._parent.setdefault(item, item)
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[item] != root:
            self._parent[item], item = root, self._parent[item]
        return root

    def _unite(self, one: int, other: int) -> int:
        if one == other:
            return one
        if len(self._read.get(one, ())) < len(self._read.get(other, ())):
            one, other = other, one
        self._parent[other] = one
        read = self._read.setdefault(one, {})
        read.update(self._read.pop(other, {}))
        self._bytes[one] = self._bytes.get(one, 0) + self._bytes.pop(other, 0)
        return one


def too_large(size_bytes: int, limit_bytes: int) -> str:
    """The reason of a refusal."""
    return f"its result is predicted to have {size_bytes} bytes, above the limit of {limit_bytes}"
