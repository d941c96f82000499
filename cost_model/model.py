"""A graph as the cost model sees it: works with concrete sizes, interface bytes, and what was assumed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import onnx_graphsurgeon as gs

from roofwright.cost_model.assume import assumptions, storage_of
from roofwright.cost_model.graph_work import NodeWork, graph_work
from roofwright.cost_model.kernels import storage_names
from roofwright.cost_model.memo import Memo
from roofwright.cost_model.strip_maps import Maps
from roofwright.graph import TensorInfo, assumed_dims, dtype_name, infer
from roofwright.targets import Target


@dataclass(frozen=True)
class GraphModel:
    """Everything a price needs to know of a graph.

    Attributes:
        works: every node's work, in topological order.
        inputs, outputs: name -> (elements, dtype) of what crosses the host link; unknown sizes are left out.
        batch: first dimension of the first input (1 where there is none).
        dims: symbolic dimension -> size it is priced at.
    """

    works: tuple[NodeWork, ...]
    inputs: Mapping[str, tuple[int, str]]
    outputs: Mapping[str, tuple[int, str]]
    batch: int
    dims: Mapping[str, int]

    @classmethod
    def of(cls, graph: gs.Graph, dims: Mapping[str, int] | None = None) -> "GraphModel":
        """Infer shapes at `dims` (documented defaults where unbound) and count the work."""
        infos = _noted(graph) or infer(graph, dims or {})
        first = infos.get(graph.inputs[0].name) if graph.inputs else None
        batch = first.shape[0] if first and first.shape and isinstance(first.shape[0], int) else 1
        return cls(
            works=tuple(graph_work(graph, infos)),
            inputs=_interface(graph.inputs, infos),
            outputs=_interface(graph.outputs, infos),
            batch=max(1, batch),
            dims=assumed_dims(graph, dims or {}),
        )

    @cached_property
    def memo(self) -> Memo:
        """What was found about this model before."""
        return Memo()

    @cached_property
    def maps(self) -> Maps:
        """How each node can be cut into strips."""
        return Maps(storage_names(self.works), self.dims)

    @property
    def not_modelled(self) -> tuple[tuple[str, str, str], ...]:
        """(key, op, reason) of nodes whose work is unknown."""
        return tuple((w.key, w.op, w.work.reason) for w in self.works if w.work.kind == "not_modelled")

    def assumptions(self, target: Target) -> tuple[str, ...]:
        """What the figures take for granted, one sentence each."""
        dtypes = {operand.dtype for work in self.works for operand in (*work.work.reads, *work.work.writes)}
        sizes = [f"symbolic dimension {name} is priced at {size}" for name, size in sorted(self.dims.items())]
        control = [f"{w.op} {w.key}: {w.work.reason}" for w in self.works if w.work.kind == "view" and w.work.reason]
        return (*assumptions(dtypes, target), *sizes, *control)

    def link_bytes(self, target: Target) -> tuple[float, float]:
        """Bytes of (inputs, outputs) as the target stores them."""
        inputs, outputs = (
            sum(storage_of(dtype, target).bytes(elements) for elements, dtype in side.values())
            for side in (self.inputs, self.outputs)
        )
        return inputs, outputs


def _noted(graph: gs.Graph) -> dict[str, TensorInfo] | None:
    """What the tensors themselves say, where they say everything: reading annotates them and passes keep that true."""
    infos: dict[str, TensorInfo] = {}
    tensors = (t for node in graph.nodes for t in (*node.inputs, *node.outputs) if t.name)
    for tensor in chain(graph.inputs, graph.outputs, tensors):
        if tensor.name in infos:
            continue
        info = TensorInfo(dtype_name(tensor), None if tensor.shape is None else tuple(tensor.shape))
        if info.dtype is None or not info.is_static:
            return None
        infos[tensor.name] = info
    has_bodies = any(isinstance(value, gs.Graph) for node in graph.nodes for value in node.attrs.values())
    return None if has_bodies or not infos else infos


def _interface(tensors: list[gs.Tensor], infos: Mapping[str, TensorInfo]) -> dict[str, tuple[int, str]]:
    found = {}
    for tensor in tensors:
        info = infos.get(tensor.name)
        if info is None or info.shape is None or info.dtype in (None, "string"):
            continue
        elements = 1
        for size in info.shape:
            elements *= size if isinstance(size, int) else 1
        found[tensor.name] = (elements, str(info.dtype))
    return found
