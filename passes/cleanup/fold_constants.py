"""Nodes whose inputs are all constants become constants."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import Edit, Index, View, key
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.passes.cleanup.fold_plan import FoldPlan
from roofwright.passes.cleanup.fold_session import Call, evaluate_calls
from roofwright.passes.cleanup.fold_symbols import write_symbols


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
       dimension has the same symbol at the same place of the input. Expand likewise, with 1 there.
    6. A result above `fold_limit_bytes` that is made of larger constants, where these go with it: what is kept of such
       a region is not larger than what it frees (a weight, cut and put together in another order).
    7. Sizes that are not known are symbols (files `symbols`, `dims`, `dim_rules`), handed on from node to node; integer
       arithmetic and comparisons with them are done where the result follows (a size is at least 0 and equal to
       itself), and readers of a value that an earlier node makes already read that.
    8. Reshape, Expand, Slice, Squeeze and Flatten to the very dimensions of the input go, symbols included.
    9. Expand in front of an operator that broadcasts goes where the result has the same dimensions without it.

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
                round_ = _Round(_planned(View(inner, index), ctx.fold_limit_bytes, floats=ctx.allows(self.numerics)))
                again = round_.run()
                records += round_.records
            records += round_.plan.refusals
        return PassResult(tuple(records))


def _planned(view: View, limit_bytes: int, *, floats: bool) -> FoldPlan:
    """What folds, decided again without the nodes that would keep more bytes than go with them."""
    denied: dict[int, str] = {}
    while True:
        plan = FoldPlan(view, limit_bytes, floats=floats, denied=denied)
        for node in view.graph.nodes:
            plan.visit(node)
        unpaid = plan.budget.unpaid(plan.folded)
        if not unpaid:
            return plan
        denied |= unpaid


class _Round:
    """Evaluate and write what was decided, once over one graph."""

    def __init__(self, plan: FoldPlan) -> None:
        self.view, self.edit, self.plan = plan.view, Edit(plan.view), plan
        self.records: list[Record] = []

    def run(self) -> bool:
        """Fold what can be folded; True where another round may find more."""
        if self.plan.deferred:
            self._evaluate_deferred()
        self._write()
        self.records += write_symbols(self.plan, self.edit)
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
