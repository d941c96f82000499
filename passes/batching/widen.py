"""Batch widening: every dimension that has the batch baked in is rewritten, or a node is named that prevents it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import (
    Edit,
    Index,
    InvariantError,
    UnsupportedError,
    UsageError,
    annotate,
    infer,
    key,
    printable,
)
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.passes.batching.analysis import Analysis, Question, analyse
from roofwright.passes.batching.layout import Batched
from roofwright.passes.batching.ports import Ports, ports_of, stand_ins
from roofwright.passes.batching.sight import Integers, Plan, Refused, Repeat

_DEFAULT_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True)
class BatchAxes:
    """Where a model's interface holds the batch.

    Attributes:
        size: samples of one request; None where the model leaves it open.
        inputs, outputs: name -> axis; what is not named is the same for every sample.
    """

    size: int | None
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True)
class _Study:
    """An analysis and what it was made of."""

    ports: Ports
    analysis: Analysis
    others: Mapping[str, int]


@dataclass(frozen=True)
class WidenBatch(Pass):
    """`f(x[b, ...])` --> `f(x[n, ...])`, whose result is that of n single samples, joined.

    1. The batch is a number: inputs, outputs and everything between get the new one. Targets of Reshape, Expand and
       Resize that hold it, alone or in a product, get new entries; constants and states made for the old batch are
       repeated for every sample.
    2. The batch is symbolic: the dimension becomes a number in the interface and wherever it is named.
    3. An input of one dimension that cannot be a value for each sample stays as it is, one value for all.

    Refuses (`UnsupportedError`) with the name of a node that mixes samples, picks them by their place, draws random
    numbers, counts through the whole batch, or of which it is not known that it treats samples apart.

    Numerics: rounding. The formula of every sample stays; a kernel may add in another order for another batch.
    """

    name: ClassVar[str] = "batch"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "rewrite the batch dimension everywhere it is baked in"
    batch: int

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Widen `graph` in place; nothing is changed where it is refused."""
        if self.batch < 1:
            raise UsageError(f"a batch is at least 1, not {self.batch}")
        ports = ports_of(graph)
        if ports.size == self.batch:
            return PassResult()
        study = _study(graph, ports, self.batch, ctx.dims, ctx.fold_limit_bytes)
        records = _apply(graph, study)
        _settle(graph, study)
        return PassResult(tuple(records))


def batch_axes(graph: gs.Graph, dims: Mapping[str, int] | None = None) -> BatchAxes:
    """Where the interface of a model holds the batch.

    Raises:
        UnsupportedError: the batch cannot be followed through the model; the message names the node.
    """
    ports = ports_of(graph)
    study = _study(graph, ports, 2 if ports.size != 2 else 3, dims or {}, _DEFAULT_LIMIT_BYTES)
    states = {tensor.name: study.analysis.state(tensor) for tensor in graph.outputs}
    outputs = {name: state.axis for name, state in states.items() if isinstance(state, Batched)}
    return BatchAxes(ports.size, dict(study.analysis.question.inputs), outputs)


def _study(graph: gs.Graph, ports: Ports, batch: int, dims: Mapping[str, int], limit_bytes: int) -> _Study:
    """The first reading of the interface that leads through the whole model."""
    others = stand_ins(graph, ports, dims)
    is_free = any(
        not isinstance(dim, int) and ports.axes.get(tensor.name) != axis
        for tensor in graph.inputs
        for axis, dim in enumerate(tensor.shape or ())
    )
    index, first = Index(graph), None
    for inputs, old in ports.readings(batch):
        infos = infer(graph, {**others, **ports.bound(old)})
        for held in _held(graph, inputs):
            question = Question(index, infos, held, old, batch, is_free, limit_bytes)
            try:
                return _Study(ports, analyse(question), others)
            except Refused as refusal:
                first = first or refusal
    raise UnsupportedError(_words(first, ports, batch))


def _held(graph: gs.Graph, inputs: Mapping[str, int]) -> list[Mapping[str, int]]:
    """Case 3: all inputs, then those of more than one dimension."""
    ranks = {tensor.name: len(tensor.shape or ()) for tensor in graph.inputs}
    wide = {name: axis for name, axis in inputs.items() if ranks[name] > 1}
    return [inputs] if wide == inputs or not wide else [inputs, wide]


def _words(refusal: Refused | None, ports: Ports, batch: int) -> str:
    what = f"set the batch to {batch}" if ports.size is None else f"widen the batch from {ports.size} to {batch}"
    if refusal is None or refusal.node is None:
        return f"cannot {what}: {refusal.reason if refusal else 'there is no way to read its inputs'}"
    node = refusal.node
    return f"cannot {what}: node {printable(node.name or key(node))!r} ({printable(node.op)}): {refusal.reason}"


# ---- writing
def _apply(graph: gs.Graph, study: _Study) -> Iterator[Record]:
    """Write every plan; one record for each, and one for each input."""
    edits: dict[int, Edit] = {}
    records = [Record("widen-input", name, "Input", applied=True) for name in study.analysis.question.inputs]
    for plan in study.analysis.plans:
        edit = edits.setdefault(id(plan.view), Edit(plan.view))
        records.append(_written(edit, plan))
    for edit in edits.values():
        edit.flush()
    return iter(records)


def _written(edit: Edit, plan: Plan) -> Record:
    anchor, op = key(plan.node), plan.node.op
    if isinstance(plan, Integers):
        _write_integers(edit, plan)
        return Record("rewrite-sizes", anchor, op, applied=True)
    if plan.value is not None:
        edit.set_constant(plan.node, plan.position, plan.value, f"{anchor}_input{plan.position}")
        return Record("repeat-constant", anchor, op, applied=True)
    _insert_tile(edit, plan)
    return Record("repeat-operand", anchor, op, applied=True, added=("Tile",))


def _write_integers(edit: Edit, plan: Integers) -> None:
    if plan.position is None:
        edit.set_attrs(plan.node, **{plan.name: list(plan.values)})
        return
    held = edit.view.constant_value(plan.node.inputs[plan.position])
    dtype = np.int64 if held is None else held.dtype
    edit.set_constant(plan.node, plan.position, np.asarray(plan.values, dtype), f"{key(plan.node)}_{plan.name}")


def _insert_tile(edit: Edit, plan: Repeat) -> None:
    source, name = plan.node.inputs[plan.position], f"{key(plan.node)}_input{plan.position}"
    rank = len(source.shape or ())
    counts = np.asarray([plan.times if axis == plan.axis else 1 for axis in range(rank)], np.int64)
    shape = [
        d * plan.times if axis == plan.axis and isinstance(d, int) else d for axis, d in enumerate(source.shape or ())
    ]
    made = edit.variable(name, source.dtype, shape)
    repeats = edit.constant(f"{name}_repeats", counts)
    edit.node("Tile", [source, repeats], [made], name=f"{name}_tile", sources=(plan.node,), before=plan.node)
    edit.set_input(plan.node, plan.position, made)


def _settle(graph: gs.Graph, study: _Study) -> None:
    """Give every tensor its new shape, then hold them against what inference says."""
    analysis, index = study.analysis, study.analysis.question.index
    tensors = {
        id(t): t for g in index.graphs for t in (*g.inputs, *g.outputs, *(o for n in g.nodes for o in n.outputs))
    }
    for tensor in tensors.values():
        if isinstance(tensor, gs.Variable) and tensor.shape is not None:
            tensor.shape = _new_shape(tensor, study)
    annotate(graph)
    infos = infer(graph, study.others)
    for tensor in tensors.values():
        expected, found = analysis.new_shape(tensor), infos.get(tensor.name)
        if expected is None or found is None or found.shape is None or not found.is_static:
            continue
        if found.shape != expected:
            raise InvariantError(f"{tensor.name} has the shape {found.shape} at the new batch, expected {expected}")


def _new_shape(tensor: gs.Variable, study: _Study) -> list[int | str | None]:
    analysis, state = study.analysis, study.analysis.state(tensor)
    batch = analysis.new
    shape = [batch if study.ports.symbol and dim == study.ports.symbol else dim for dim in tensor.shape]
    if isinstance(state, Batched) and state.axis < len(shape):
        is_known = state.is_pure or not analysis.free_dims
        shape[state.axis] = state.size(batch) if is_known else None
    values = analysis.known.get(id(tensor))
    if values is not None and len(values[1].shape) == len(shape):
        shape = list(values[1].shape)
    return shape
