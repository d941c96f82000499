"""Nodes whose inputs are all constants become constants."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import Edit, Index, View, key
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.passes.cleanup.fold_plan import FoldPlan, Symbol
from roofwright.passes.cleanup.fold_session import Call, evaluate_calls

_FIRST_RESHAPE_WITH_INPUT = 5


@dataclass(frozen=True)
class FoldConstants(Pass):
    """`y = f(c)` --> initializer `y`.

    1. `f` is on our own list of deterministic operators of the default domain; `c` are true constants (no defaults that
       a caller may override). A chain folds as a whole: only values that somebody else reads are kept.
    2. Shape and Size of a tensor whose dimensions are known, `start` and `end` honoured; and what is gathered, sliced
       or concatenated from shapes that are known only in part, where the part is known.
    3. CastLike needs only the type of its second input.
    4. The value is an output of a graph: a Constant node makes it, under the same name.
    5. Reshape to a shape that is known but for one dimension: a constant with -1 there, and with 0 ("copy") where the
       dimension has the same symbol at the same place of the input.

    Declines when the predicted result has more bytes than `fold_limit_bytes` and than the constants that go with it, or
    when its size cannot be predicted; nothing is evaluated to find out. Never: random operators, Dropout, Quantize- and
    DequantizeLinear, nodes with bodies, text, integer division by 0 or -1.

    Numerics: rounding, since a runtime may take another kernel for weights that are constant; where only `exact` is
    allowed, floating-point results stay. Small values are computed by numpy where the result is the same in every bit;
    all others of a graph in one onnxruntime session without optimizations.
    """

    name: ClassVar[str] = "fold-constants"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "evaluate constant subgraphs, within a size limit"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """One round per graph, and another one after each session, whose values may tell the sizes of more."""
        index = Index(graph)
        records: list[Record] = []
        for inner in index.graphs:
            again = True
            while again:
                round_ = _Round(FoldPlan(View(inner, index), ctx.fold_limit_bytes, floats=ctx.allows(self.numerics)))
                again = round_.run()
                records += round_.records
            records += round_.plan.refusals
        return PassResult(tuple(records))


class _Round:
    """Decide, evaluate, write: once over one graph."""

    def __init__(self, plan: FoldPlan) -> None:
        self.view, self.edit, self.plan = plan.view, Edit(plan.view), plan
        self.records: list[Record] = []

    def run(self) -> bool:
        """Fold what can be folded; True where another round may find more."""
        for node in self.view.graph.nodes:
            self.plan.visit(node)
        if self.plan.deferred:
            self._evaluate_deferred()
        self._write()
        self.records += _fix_reshapes(self.view, self.edit, self.plan.values)
        self.edit.flush()
        return any(id(node) in self.plan.folded for node in self.plan.deferred)

    # ---- evaluating
    def _evaluate_deferred(self) -> None:
        """All in one session; where the runtime refuses that, node by node, so that one does not spoil the others."""
        nodes = self.plan.deferred
        wanted = [tensor for node in nodes for tensor in node.outputs if self.plan.is_needed(tensor)]
        try:
            self._evaluate(nodes, wanted)
        except Exception:  # the runtime's exceptions have no common base
            for node in nodes:
                try:
                    self._evaluate([node], node.outputs)
                except Exception as error:
                    self.plan.refuse(node, f"onnxruntime could not evaluate it: {str(error).splitlines()[0][:200]}")

    def _evaluate(self, nodes: Sequence[gs.Node], wanted: Sequence[gs.Tensor]) -> None:
        made = {id(tensor) for node in nodes for tensor in node.outputs}
        feeds: dict[str, NDArray[Any]] = {}
        calls: list[Call] = []
        for node in nodes:
            op, inputs, attrs = self.plan.call(node)
            for tensor in inputs:
                if tensor.name and id(tensor) not in made:
                    feeds[_alias(tensor)] = self._value(tensor)
            calls.append((op, [_alias(t) for t in inputs], [_alias(t) for t in node.outputs], attrs))
        results = evaluate_calls(calls, feeds, [_alias(tensor) for tensor in wanted if tensor.name], self.view.opset)
        self.plan.values.update({id(t): value for t, value in zip(wanted, results, strict=True) if t.name})

    def _value(self, tensor: gs.Tensor) -> NDArray[Any]:
        known = self.plan.values.get(id(tensor))
        value = self.view.constant_value(tensor) if known is None else known
        if value is None:
            raise ValueError(f"{tensor.name!r} could not be evaluated")
        return value

    # ---- writing
    def _write(self) -> None:
        for node in self.plan.folded.values():
            self.records.append(Record("fold", key(node), node.op, applied=True, removed=(node.op,)))
            outputs = list(node.outputs)
            needed = [tensor for tensor in outputs if self.plan.is_needed(tensor)]
            self.edit.remove(node)
            for tensor in needed:
                self._write_value(node, tensor)

    def _write_value(self, node: gs.Node, tensor: gs.Tensor) -> None:
        value = np.ascontiguousarray(self.plan.values[id(tensor)]).reshape(self.plan.values[id(tensor)].shape)
        if not self.view.is_output(tensor):
            self.edit.replace_uses(tensor, gs.Constant(tensor.name, value))
            return
        held = gs.Constant(tensor.name, value)  # case 4
        self.edit.node("Constant", [], [tensor], name=tensor.name, sources=[node], attrs={"value": held}, before=node)


def _alias(tensor: gs.Tensor) -> str:
    return f"t{id(tensor)}" if tensor.name else ""


def _fix_reshapes(view: View, edit: Edit, values: dict[int, NDArray[Any]]) -> list[Record]:
    """Case 5."""
    records = []
    for node in view.graph.nodes:
        if id(node) in edit.removed or not view.is_op(node, "Reshape") or view.opset < _FIRST_RESHAPE_WITH_INPUT:
            continue
        partial = values.get(id(node.inputs[1]))
        if partial is None or partial.dtype != object or partial.ndim != 1 or view.attr(node, "allowzero", 0):
            continue
        target = _target(list(partial), node.inputs[0].shape or ())
        if target.count(-1) > 1:
            continue
        name = f"{node.outputs[0].name}_shape"
        edit.set_input(node, 1, edit.constant(name, np.asarray(target, np.int64)))
        records.append(Record("fix-reshape-target", key(node), node.op, applied=True))
    return records


def _target(partial: list[Any], source: Sequence[Any]) -> list[int]:
    """Known dimensions as they are; a symbol that stands at the same place of the input as 0; what is left as -1."""
    target = []
    for position, dim in enumerate(partial):
        is_copy = isinstance(dim, Symbol) and position < len(source) and source[position] == dim.name
        target.append(int(dim) if isinstance(dim, (int, np.integer)) else -(not is_copy))
    return target
