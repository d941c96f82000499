"""Networks as the cost model sees them: read from graphs, or streams of operator calls."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cache

import onnx
import onnx_graphsurgeon as gs

from roofwright.cost_model import GraphModel, LoopNest, NodeWork, Operand, Work, macs
from roofwright.cost_model.work import Kind
from roofwright.graph import Edit, Index, View


def model_of(proto: onnx.ModelProto, without: Collection[str] = ()) -> GraphModel:
    """The network as the cost model sees it, nodes of the operators `without` taken out.

    A converter that folds batch normalization into weights leaves the graph without these nodes; the pass that does so
    here needs weights, which these networks do not carry.
    """
    graph = gs.import_onnx(proto)
    edit = Edit(View(graph, Index(graph)))
    for node in [node for node in graph.nodes if node.op in without]:
        edit.bypass(node, node.inputs[0])
    edit.flush()
    return GraphModel.of(graph)


def with_views(model: GraphModel) -> GraphModel:
    """The network in a framework whose tensors are views: taking channels apart moves nothing."""
    works = [_as_view(entry) if entry.op == "Split" else entry for entry in model.works]
    return replace(model, works=tuple(works))


def _as_view(entry: NodeWork) -> NodeWork:
    source, aliases = entry.node.inputs[0].name, entry.node.outputs
    pairs = tuple((tensor.name, source) for tensor in aliases)
    return replace(entry, work=Work("view", alias_of=source, more_aliases=pairs))


def nearest(build: Callable[[int], onnx.ModelProto], wanted_macs: float, options: Sequence[int]) -> int:
    """The option (growth, channels, pixels) whose network does most nearly so many multiply-accumulates.

    More of the option is never less work.
    """
    count = cache(lambda option: macs(model_of(build(option)).works))
    low, high = 0, len(options) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(options[middle]) <= wanted_macs else (low, middle)
    return min(options[low : high + 1], key=lambda option: abs(count(option) - wanted_macs))


class Calls:
    """A stream of operators without a graph, each on what the one before it left: shapes are all that is known."""

    def __init__(self, *, on_chip: bool = False) -> None:
        """Start an empty stream; `on_chip`: the host writes the first operand into on-chip memory itself."""
        self.works: list[NodeWork] = []
        self._on_chip = on_chip
        self._input = 0

    @property
    def model(self) -> GraphModel:
        """The stream as the cost model sees it."""
        last = self.works[-1].work.writes[0]
        inputs, outputs = {"input": (self._input, "float32")}, {last.name: (last.elements, last.dtype)}
        return GraphModel(tuple(self.works), inputs, outputs, 1, {})

    def nest(self, nest: LoopNest, times: int = 1, *, weights: bool = True) -> None:
        """Matrix work, `times` one after the other; without `weights` the right operand is a value as well."""
        left = self._last(nest.repeat * nest.batch * nest.in_h * nest.in_w * nest.in_channels)
        size = nest.repeat * nest.depth * nest.out_channels
        right = Operand(f"right{len(self.works)}", size, "float32", constant=weights)
        kind: Kind = "conv" if nest.kernel_h * nest.kernel_w > 1 or nest.out_w > 1 else "matmul"
        self._call(Work(kind, nest, reads=(left, right)), nest.repeat * nest.rows * nest.out_channels, times)

    def lanes(self, operations: int, written: int, times: int = 1, *, kind: Kind = "elementwise") -> None:
        """Other work, as many values read as written."""
        self._call(Work(kind, lane_ops=operations, reads=(self._last(written),)), written, times)

    def _last(self, values: int) -> Operand:
        if self.works:
            return Operand(self.works[-1].key, values, "float32")
        self._input = values
        return Operand("input", 0 if self._on_chip else values, "float32")

    def _call(self, work: Work, written: int, times: int) -> None:
        key = f"call{len(self.works)}"
        work = replace(work, writes=(Operand(key, written, "float32"),), repeat=times)
        node = gs.Node(work.kind, inputs=[gs.Variable(o.name) for o in work.reads], outputs=[gs.Variable(key)])
        self.works.append(NodeWork(node, key, (), work.kind, work))
