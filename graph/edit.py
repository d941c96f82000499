"""The few mutations that rewrites may make. Nothing else in the project touches edges.

graphsurgeon's lists compare nodes and tensors by name and its removals search by equality, so every edge here is moved
by identity. Node lists are rebuilt once, by `flush`, which keeps a pass linear.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph.sidecar import node_metadata
from roofwright.graph.view import View, key
from roofwright.graph.walk import bodies, graphs_of

SOURCE_KEY = "roofwright.source"  # the nodes of the original model that a surviving node stands for


def _drop(items: list[Any], item: object) -> None:
    """Remove one occurrence of `item`, found by identity, without touching the other side of the edge."""
    for position, candidate in enumerate(items):
        if candidate is item:
            list.__delitem__(items, position)
            return


class Edit:
    """Changes to one graph, recorded so that the runner knows what was touched."""

    def __init__(self, view: View) -> None:
        """Edit the graph that `view` sees; the view stays true after every call."""
        self.view = view
        self.removed: dict[int, gs.Node] = {}  # holds the nodes, so that no id is reused while the pass runs
        self.added: list[gs.Node] = []
        self._before: dict[int, list[gs.Node]] = {}
        self._last: list[gs.Node] = []
        self._keys: dict[int, str] = {}  # of nodes whose outputs are gone, or have another name

    # ---- making things
    def constant(self, name: str, values: NDArray[Any]) -> gs.Constant:
        """A new initializer; its name is made unique."""
        return gs.Constant(self.view.index.unique(name), np.ascontiguousarray(values).reshape(values.shape))

    def variable(self, name: str, dtype: Any, shape: Sequence[int | str | None] | None) -> gs.Variable:
        """A new intermediate tensor; its name is made unique. `dtype` is numpy's or ONNX's number."""
        return gs.Variable(self.view.index.unique(name), dtype, None if shape is None else list(shape))

    def node(
        self,
        op: str,
        inputs: Sequence[gs.Tensor | None],
        outputs: Sequence[gs.Tensor],
        *,
        name: str,
        sources: Iterable[gs.Node],
        attrs: Mapping[str, Any] | None = None,
        before: gs.Node | None = None,
    ) -> gs.Node:
        """A new node of the default domain that stands for `sources`, whose metadata it inherits (U10).

        Args:
            op: operator name.
            inputs: tensors; None for an omitted optional input.
            outputs: tensors without a producer (new ones, or released by `remove`).
            name: wanted node name, made unique.
            sources: the nodes it replaces.
            attrs: attributes.
            before: where in the list it goes; at the end where None (the runner sorts afterwards).
        """
        filled = [gs.Variable.empty() if tensor is None else tensor for tensor in inputs]
        made = gs.Node(op, self.view.index.unique(name), dict(attrs or {}), filled, list(outputs))
        self.inherit(made, sources)
        self._before.setdefault(id(before), []).append(made) if before is not None else self._last.append(made)
        self.added.append(made)
        self.view.local_ids.add(id(made))
        return made

    # ---- moving edges
    def set_input(self, node: gs.Node, position: int, tensor: gs.Tensor | None) -> None:
        """Make `tensor` the input at `position`, padding with omitted inputs where the list is too short."""
        while len(node.inputs) <= position:
            node.inputs.append(gs.Variable.empty())
        new = gs.Variable.empty() if tensor is None else tensor
        _drop(node.inputs[position].outputs, node)
        list.__setitem__(node.inputs, position, new)
        list.append(new.outputs, node)

    def drop_inputs(self, node: gs.Node, first: int) -> None:
        """Cut the input list before `first`."""
        while len(node.inputs) > first:
            _drop(node.inputs[-1].outputs, node)
            list.__delitem__(node.inputs, -1)

    @staticmethod
    def drop_outputs(node: gs.Node, first: int) -> None:
        """Cut the output list before `first`; nobody may read what is cut."""
        while len(node.outputs) > first:
            _drop(node.outputs[-1].inputs, node)
            list.__delitem__(node.outputs, -1)

    def set_constant(self, node: gs.Node, position: int, values: NDArray[Any], name: str) -> None:
        """Give `node` a new constant at `position`; a constant that others share is never edited in place (U3)."""
        old = self.view.input(node, position)
        keep = (
            old is not None and isinstance(old, gs.Constant) and len(old.outputs) == 1 and not self.view.is_output(old)
        )
        new = gs.Constant(old.name, values) if keep and old is not None else self.constant(name, values)
        self.set_input(node, position, new)

    def replace_uses(self, old: gs.Tensor, new: gs.Tensor) -> None:
        """Every node that reads `old`, in this graph or a body, reads `new`. Graph outputs are not touched."""
        for node in self.view.consumers(old):
            for position, tensor in enumerate(node.inputs):
                if tensor is old:
                    self.set_input(node, position, new)

    def set_attrs(self, node: gs.Node, **attrs: Any) -> None:
        """Set attributes (None removes one) in a new dictionary: copies of a graph share the old one."""
        merged = {**node.attrs, **attrs}
        node.attrs = {name: value for name, value in merged.items() if value is not None}

    # ---- taking nodes out
    def remove(self, node: gs.Node) -> None:
        """Detach a node, with what its bodies read; its outputs lose their producer and may go to another node."""
        self._keys.setdefault(id(node), key(node))
        below = [inner for body in bodies(node) for inner in graphs_of(body)]
        for inside in [held for inner in below for held in inner.nodes]:
            self._detach(inside)
        self._detach(node)
        self.removed[id(node)] = node
        self.view.local_ids.discard(id(node))

    @staticmethod
    def _detach(node: gs.Node) -> None:
        for tensor in node.inputs:
            _drop(tensor.outputs, node)
        for tensor in node.outputs:
            _drop(tensor.inputs, node)
        list.clear(node.inputs)
        list.clear(node.outputs)

    def adopt(self, node: gs.Node, before: gs.Node) -> None:
        """Take in a node that lived in a body of `before`; its edges stay as they are."""
        self._before.setdefault(id(before), []).append(node)
        self.added.append(node)
        self.view.local_ids.add(id(node))

    def absorb(self, survivor: gs.Node, absorbed: gs.Node) -> None:
        """`survivor` makes what `absorbed` made: it takes over its first output and its metadata; `absorbed` goes."""
        tensor, old = absorbed.outputs[0], survivor.outputs[0]
        self.inherit(survivor, (survivor, absorbed))
        self.remove(absorbed)
        _drop(old.inputs, survivor)
        list.__setitem__(survivor.outputs, 0, tensor)
        list.append(tensor.inputs, survivor)

    def bypass(self, node: gs.Node, source: gs.Tensor) -> None:
        """Readers of the node's only output read `source` instead; a graph output keeps its name (U4).

        `View.can_bypass` says whether that is possible.
        """
        out = node.outputs[0]
        if not self.view.is_output(out):
            self._tell_type(source, out)
            self.replace_uses(out, source)
            self.remove(node)
            return
        maker = source.inputs[0]
        self.inherit(maker, (maker, node))
        self.remove(node)
        self.hand_over(source, out)

    def hand_over(self, old: gs.Tensor, new: gs.Tensor) -> None:
        """The node that makes `old` makes `new` (which has no producer) instead, for all of its readers."""
        maker = old.inputs[0]
        self._keys.setdefault(id(maker), key(maker))
        self.replace_uses(old, new)
        position = next(i for i, tensor in enumerate(maker.outputs) if tensor is old)
        _drop(old.inputs, maker)
        list.__setitem__(maker.outputs, position, new)
        list.append(new.inputs, maker)

    @staticmethod
    def _tell_type(source: gs.Tensor, twin: gs.Tensor) -> None:
        """What is known of `twin` holds for `source` too, where the two have the same value."""
        if isinstance(source, gs.Constant):
            return
        source.shape = twin.shape if source.shape is None else source.shape
        source.dtype = twin.dtype if source.dtype is None else source.dtype

    # ---- bookkeeping
    def key_of(self, node: gs.Node) -> str:
        """The key of a node, also of one that was taken out."""
        return self._keys.get(id(node)) or key(node)

    def inherit(self, survivor: gs.Node, sources: Iterable[gs.Node]) -> None:
        """Merge metadata (first key wins) and record the names of the original nodes that `survivor` stands for."""
        metadata, names = node_metadata(survivor), []
        for source in sources:
            theirs = node_metadata(source)
            names += theirs.get(SOURCE_KEY, source.name or self.key_of(source)).split(" + ")
            for name, value in theirs.items():
                metadata.setdefault(name, value)
        metadata[SOURCE_KEY] = " + ".join(dict.fromkeys(names))

    def flush(self) -> None:
        """Rebuild the graph's node list with the additions in place and the removals gone."""
        if not self.removed and not self.added:
            return
        kept = []
        for node in self.view.graph.nodes:
            kept += [new for new in self._before.pop(id(node), ()) if id(new) not in self.removed]
            if id(node) not in self.removed:
                kept.append(node)
        pending = [new for group in self._before.values() for new in group] + self._last
        kept += [new for new in pending if id(new) not in self.removed]
        self.view.graph.nodes[:] = kept
        self._before, self._last = {}, []
