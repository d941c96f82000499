"""The read-only questions that rewrites ask of a graph. Nothing here changes anything.

An `Index` is built once per pass over the whole model (bodies of If, Loop and Scan included); a `View` answers for one
graph of it. The preconditions that every rewrite shares (one consumer counting outputs and captures, true constants,
default domain) live here and nowhere else.
"""

from collections.abc import Iterator
from math import prod
from typing import Any, TypeGuard

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx_graphsurgeon.ir.tensor import LazyValues

from roofwright.graph.dtypes import dtype_name
from roofwright.graph.sidecar import sidecar
from roofwright.graph.walk import graphs_of

_SMALL_BYTES = 4096
STANDARD_DOMAINS = (None, "", "ai.onnx")


def key(node: gs.Node) -> str:
    """What names a node everywhere: its first output that has a name (node names may be empty or repeated)."""
    return next((tensor.name for tensor in node.outputs if tensor.name), node.name)


class Index:
    """Facts about a whole model that every `View` of it shares: outputs, names, constant values already read.

    `ops` are the operators there were when it was made; a rewrite may have written others since.
    """

    def __init__(self, root: gs.Graph) -> None:
        """Walk the model once, in time linear in nodes and edges."""
        self.root = root
        self.graphs = graphs_of(root)
        self.overridable = frozenset().union(*(sidecar(body).overridable for body in self.graphs))
        self.output_ids = {id(tensor) for graph in self.graphs for tensor in graph.outputs}
        self.ops = {node.op for graph in self.graphs for node in graph.nodes}
        self.names = set(self._names())
        self._values: dict[int, tuple[gs.Constant, NDArray[Any]]] = {}

    def _names(self) -> Iterator[str]:
        for graph in self.graphs:
            for tensor in (*graph.inputs, *graph.outputs):
                yield tensor.name
            for node in graph.nodes:
                yield node.name
                for tensor in (*node.inputs, *node.outputs):
                    yield tensor.name

    def unique(self, wanted: str) -> str:
        """`wanted`, or `wanted_1`, `wanted_2` ... where it is taken; the result is reserved."""
        name, count = wanted, 0
        while name in self.names:
            count += 1
            name = f"{wanted}_{count}"
        self.names.add(name)
        return name

    def values(self, constant: gs.Constant) -> NDArray[Any]:
        """The array of an initializer, read once; the constant itself stays lazy."""
        held = self._values.get(id(constant))
        if held is not None and held[0] is constant:
            return held[1]
        stored = constant._values
        array = stored.load() if isinstance(stored, LazyValues) else np.asarray(stored)
        self._values[id(constant)] = (constant, array)
        return array

    def forget(self) -> None:
        """Let go of large arrays."""
        self._values = {at: held for at, held in self._values.items() if held[1].nbytes <= _SMALL_BYTES}


class View:
    """Questions about one graph (the main graph or a body).

    Attributes:
        memo: what rewrites found out on the way and need not look for again; emptied when one is applied.
    """

    def __init__(self, graph: gs.Graph, index: Index | None = None) -> None:
        """See `graph` through `index` (built for it as a root where none is given)."""
        self.graph = graph
        self.index = index or Index(graph)
        self.opset: int = self.index.root.opset
        self.local_ids = {id(node) for node in graph.nodes}
        self.memo: dict[Any, Any] = {}

    # ---- nodes
    @staticmethod
    def is_op(node: gs.Node | None, *ops: str) -> TypeGuard[gs.Node]:
        """Whether a node is one of `ops` of the default domain (U9)."""
        return node is not None and node.op in ops and node.domain in STANDARD_DOMAINS

    @staticmethod
    def attr(node: gs.Node, name: str, default: Any = None) -> Any:
        """The attribute's value, or `default` where the node does not set it."""
        return node.attrs.get(name, default)

    @staticmethod
    def input(node: gs.Node, position: int) -> gs.Tensor | None:
        """The input at `position`; None where it is absent or an empty name (U6)."""
        if position >= len(node.inputs) or not node.inputs[position].name:
            return None
        return node.inputs[position]

    @staticmethod
    def used_outputs(node: gs.Node) -> list[gs.Tensor]:
        """The outputs that have a name."""
        return [tensor for tensor in node.outputs if tensor.name]

    def is_local(self, node: gs.Node) -> bool:
        """Whether the node lives in this very graph, not in an outer one or a body."""
        return id(node) in self.local_ids

    def producer(self, tensor: gs.Tensor | None) -> gs.Node | None:
        """The node of this graph that makes `tensor`; None for inputs, constants and values of outer graphs."""
        if tensor is None or not tensor.inputs or not self.is_local(tensor.inputs[0]):
            return None
        return tensor.inputs[0]

    # ---- uses
    def is_output(self, tensor: gs.Tensor) -> bool:
        """Whether the tensor is an output of the model or of any body."""
        return id(tensor) in self.index.output_ids

    def consumers(self, tensor: gs.Tensor) -> list[gs.Node]:
        """The nodes that read `tensor`, bodies included, each once, in the order they were attached."""
        return list({id(node): node for node in tensor.outputs}.values())

    def sole_consumer(self, tensor: gs.Tensor) -> gs.Node | None:
        """The only use of `tensor` (U1): one input slot of one node of this graph, and not an output of any graph."""
        if len(tensor.outputs) != 1 or self.is_output(tensor) or not self.is_local(tensor.outputs[0]):
            return None
        return tensor.outputs[0]

    def can_bypass(self, node: gs.Node, source: gs.Tensor) -> bool:
        """Whether readers of a node's output may read `source` and every name survive.

        So it is where the output is no output of a graph, or where the maker of `source` is free to take its name.
        """
        if not self.is_output(node.outputs[0]):
            return True
        return self.producer(source) is not None and not self.is_output(source)

    # ---- values
    def is_constant(self, tensor: gs.Tensor | None) -> bool:
        """Whether the value is fixed and dense (U2): an initializer no caller can override, or made by a Constant."""
        if tensor is None:
            return False
        if isinstance(tensor, gs.Constant):
            return tensor.name not in self.index.overridable
        maker = tensor.inputs[0] if tensor.inputs else None
        return self.is_op(maker, "Constant") and "sparse_value" not in maker.attrs

    def constant_value(self, tensor: gs.Tensor | None) -> NDArray[Any] | None:
        """The array of a constant, None for anything else. Callers must not write into it."""
        if tensor is None or not self.is_constant(tensor):
            return None
        if isinstance(tensor, gs.Constant):
            return self.index.values(tensor)
        return self._constant_node_value(tensor.inputs[0])

    def small_constant(self, tensor: gs.Tensor | None, most: int) -> NDArray[Any] | None:
        """The array of a constant of at most so many elements; larger initializers stay unread."""
        if isinstance(tensor, gs.Constant) and prod(tensor.shape) > most:
            return None
        value = self.constant_value(tensor)  # what a Constant node makes may be declared with names for sizes
        return None if value is None or value.size > most else value

    def _constant_node_value(self, node: gs.Node) -> NDArray[Any] | None:
        for name, value in node.attrs.items():
            if name == "value" and isinstance(value, gs.Constant):
                return self.index.values(value)
            if name in ("value_float", "value_floats"):
                return np.asarray(value, np.float32)
            if name in ("value_int", "value_ints"):
                return np.asarray(value, np.int64)
        return None

    def scalar(self, tensor: gs.Tensor | None) -> float | None:
        """The value of a one-element constant as a Python float, else None."""
        value = self.constant_value(tensor)
        if value is None or value.size != 1 or value.dtype.kind not in "fiub":
            return None
        return float(value.reshape(()))

    def static_shape(self, tensor: gs.Tensor | None) -> tuple[int, ...] | None:
        """All dimensions where every one is a known number, else None."""
        shape = None if tensor is None else tensor.shape
        if shape is None or any(not isinstance(d, (int, np.integer)) or d < 0 for d in shape):
            return None
        return tuple(int(d) for d in shape)

    def enlarges(self, constant: gs.Tensor, other: gs.Tensor) -> bool:
        """Whether broadcasting with the constant may give more than `other` has (U7)."""
        shape, known = self.static_shape(constant), other.shape
        if shape is None or known is None or len(shape) > len(known):
            return True
        return any(size not in (1, have) for size, have in zip(reversed(shape), reversed(known), strict=False))

    @staticmethod
    def rank(tensor: gs.Tensor | None) -> int | None:
        """The number of dimensions where known (U8)."""
        return None if tensor is None or tensor.shape is None else len(tensor.shape)

    @staticmethod
    def dtype(tensor: gs.Tensor | None) -> str | None:
        """The element type's name ("float32", "bfloat16" ...) where known."""
        return None if tensor is None else dtype_name(tensor)
