"""The main graph as one sequence in which every contiguous run of row-wise nodes may become strips."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import onnx_graphsurgeon as gs

from roofwright.cost_model import GraphModel, estimate
from roofwright.graph import TensorInfo, View, bodies, graphs_of, infer, key
from roofwright.passes.materialize.operators import RANK, ROWS, rule_of
from roofwright.passes.materialize.rows import NotByRows, Pointwise
from roofwright.targets import Target

BYTES = {"float16": 2, "bfloat16": 2, "float64": 8, "int64": 8, "uint64": 8, "int8": 1, "uint8": 1, "bool": 1}


@dataclass(frozen=True, eq=False)
class Step:
    """One node of the sequence.

    Attributes:
        node: the node.
        reads: its inputs that are no constants, those of its bodies included.
        makes: its outputs that have a name.
        rule: how it runs by rows; None where it needs its input whole.
        reason: why there is no rule.
        phase: between row-wise nodes of one phase no path leaves the phase.
        seconds: modelled cost of the whole node.
        workspace_bytes: what the runtime takes on top of inputs and outputs.
    """

    node: gs.Node
    reads: tuple[gs.Tensor, ...]
    makes: tuple[gs.Tensor, ...]
    rule: Pointwise | None
    reason: str
    phase: int
    seconds: float
    workspace_bytes: float

    @cached_property
    def height(self) -> int:
        """Rows of its results."""
        return height(self.makes[0]) if self.makes else 1


@dataclass(frozen=True)
class Steps:
    """Every node of the main graph, phase by phase, and what its tensors weigh.

    Attributes:
        steps: in an order that is topological and keeps row-wise nodes of one phase together.
        inputs, outputs: of the graph.
        sizes: tensor name -> bytes of the whole.
        copy_s: seconds that copying one byte costs.
        launch_s: seconds that one more kernel costs.
    """

    steps: Sequence[Step]
    inputs: Sequence[gs.Tensor]
    outputs: Sequence[gs.Tensor]
    sizes: Mapping[str, float]
    copy_s: float
    launch_s: float

    @cached_property
    def rates(self) -> dict[int, float]:
        """Tensor -> bytes of one row."""
        made = (tensor for step in self.steps for tensor in (*step.makes, *step.reads))
        return {id(tensor): self.row_bytes(tensor) for tensor in (*self.inputs, *made)}

    def row_bytes(self, tensor: gs.Tensor) -> float:
        """Bytes of one row of a batch of images."""
        return self.sizes.get(tensor.name, 0.0) / max(height(tensor), 1)

    @cached_property
    def seconds(self) -> float:
        """Modelled cost of all nodes."""
        return sum(step.seconds for step in self.steps)

    @cached_property
    def made_at(self) -> dict[int, int]:
        """Tensor -> position of its producer; -1 for inputs of the graph."""
        made = {id(tensor): at for at, step in enumerate(self.steps) for tensor in step.makes}
        return {id(tensor): -1 for tensor in self.inputs} | made

    @cached_property
    def last_use(self) -> dict[int, int]:
        """Tensor -> position of its last reader; one past the end for outputs of the graph."""
        last = {id(tensor): -1 for tensor in self.inputs}
        for at, step in enumerate(self.steps):
            last.update((id(tensor), at) for tensor in (*step.makes, *step.reads))
        last.update((id(tensor), len(self.steps)) for tensor in self.outputs)
        return last


def height(tensor: gs.Tensor) -> int:
    """Rows of a batch of images."""
    return int(tensor.shape[ROWS]) if View.rank(tensor) == RANK and isinstance(tensor.shape[ROWS], int) else 1


def sequence(graph: gs.Graph, view: View, target: Target, dims: Mapping[str, int]) -> Steps:
    """The sequence of a graph, priced on a target at `dims`."""
    priced = estimate(GraphModel.of(graph, dims), target)
    took = (priced.evaluations.timeline_s + priced.evaluations.overhead_s).tolist()
    seconds = {kernel.key: cost for kernel, cost in zip(priced.kernels, took, strict=True)}
    sizes = {name: _bytes(info) for name, info in infer(graph, dims).items()}
    steps = list(_steps(graph, view, seconds, sizes))
    sizes.update(dict.fromkeys(_foldable(steps), 0.0))
    return Steps(
        steps=sorted(steps, key=lambda step: (step.phase, step.rule is not None)),
        inputs=graph.inputs,
        outputs=graph.outputs,
        sizes=sizes,
        copy_s=2 / target.device_memory.bytes_per_s,
        launch_s=target.stack.launch_s + target.stack.dispatch_s,
    )


def _steps(graph: gs.Graph, view: View, seconds: Mapping[str, float], sizes: Mapping[str, float]) -> Iterator[Step]:
    made: dict[int, Step] = {}
    for node in graph.nodes:
        rule, reason = None, ""
        try:
            rule = rule_of(node, view)
        except NotByRows as refusal:
            reason = str(refusal)
        reads = tuple({id(t): t for t in _reads(node) if not isinstance(t, gs.Constant)}.values())
        by_rows = {id(node.inputs[at]) for at in rule.rows} if rule is not None else set()
        makers = [(made[id(t)], id(t) in by_rows) for t in reads if id(t) in made]
        phase = max((m.phase + (m.rule is None or not rows) for m, rows in makers), default=0)
        makes = tuple(t for t in node.outputs if t.name)
        work = _workspace(node, view, sizes)
        step = Step(node, reads, makes, rule, reason, phase, seconds.get(key(node), 0.0), work)
        made.update((id(t), step) for t in makes)
        yield step


def _foldable(steps: Sequence[Step]) -> Iterator[str]:
    """Names of what is made of constants alone: a runtime does so when it loads the model."""
    fixed: set[int] = set()
    for step in steps:
        if all(id(tensor) in fixed for tensor in step.reads):
            fixed.update(id(tensor) for tensor in step.makes)
            yield from (tensor.name for tensor in step.makes)


def _reads(node: gs.Node) -> Iterator[gs.Tensor]:
    yield from (tensor for tensor in node.inputs if tensor.name)
    for body in bodies(node):
        for inner in graphs_of(body):
            yield from (t for held in inner.nodes for t in held.inputs if t.name)
            yield from inner.outputs


def _workspace(node: gs.Node, view: View, sizes: Mapping[str, float]) -> float:
    """A transposed convolution is one product whose columns are then added up: onnxruntime holds all of them."""
    weight = view.static_shape(node.inputs[1]) if node.op == "ConvTranspose" else None
    shape = view.rank(node.inputs[0]) if weight else None
    channels = node.inputs[0].shape[1] if shape == RANK else None
    if weight is None or not isinstance(channels, int):
        return 0.0
    columns = prod(weight[1:]) * int(node.attrs.get("group", 1))
    return sizes.get(node.inputs[0].name, 0.0) / channels * columns


def _bytes(info: TensorInfo) -> float:
    if info.shape is None or info.dtype is None:
        return 0.0
    known = [dim for dim in info.shape if isinstance(dim, int)]
    return float(prod(known) * BYTES.get(info.dtype, 4)) if len(known) == len(info.shape) else 0.0
