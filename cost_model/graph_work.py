"""The work of a whole graph: one `NodeWork` per node, bodies of control flow and local functions included.

Nodes whose outputs can be folded (all inputs constant, nothing random, shapes of tensors with a known shape) are views:
the op-by-op baseline does not pay for them. Shape arithmetic is priced at the dimensions that `infos` was inferred for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from roofwright.cost_model.function_body import expand, library
from roofwright.cost_model.ops.control import CONTROL, Body, Plan
from roofwright.cost_model.ops.facts import VIEW, Facts, Unmodelled, known_shape
from roofwright.cost_model.ops.registry import NOT_MODELLED, RULES
from roofwright.cost_model.work import Work
from roofwright.graph import STANDARD_DOMAINS, in_order, key, overridable

if TYPE_CHECKING:
    from roofwright.graph import TensorInfo

Scope = tuple[str, ...]
_NEVER_FOLDED = {
    "Dropout",
    "Multinomial",
    "Bernoulli",
    *(op for op in NOT_MODELLED if op.startswith("Random")),
    *CONTROL,
}
_SHAPE_READERS = ("Shape", "Size")
_MALFORMED = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError)  # a rule met a broken node


@dataclass(frozen=True, slots=True)
class NodeWork:
    """One node and its work.

    Attributes:
        node: the node; inside a local function a copy of the function's own, with the names of this call.
        key: name of the node's first output that has one.
        scope: keys of the control nodes and calls around it, each with the body's name; () in the main graph.
        op: operator, with its domain where that is not the default one.
        work: what it does, once per repeat.
    """

    node: gs.Node = field(compare=False)
    key: str
    scope: Scope
    op: str
    work: Work

    @property
    def repeat(self) -> int:
        """How often the node runs per request."""
        return self.work.repeat


def graph_work(graph: gs.Graph, infos: "Mapping[str, TensorInfo]") -> list[NodeWork]:
    """The work of every node in topological order; a control node is a view, after the nodes of its body.

    A call of a local function is replaced by the nodes of the function's body. Nothing is left out: what cannot be
    counted is `not_modelled`, with the reason.
    """
    return _Walk(graph, infos).run()


@dataclass(slots=True)
class _Frame:
    """A graph being walked: what is left of it, and where its works go."""

    nodes: Iterator[gs.Node]
    scope: Scope
    repeat: int
    out: list[NodeWork]


@dataclass(slots=True)
class _Join:
    """The end of a control node: its bodies have been walked, the costliest goes to the frame of the node."""

    node: gs.Node
    frame: _Frame
    plan: Plan
    found: list[list[NodeWork]]


class _Walk:
    """An iterative walk; `stack` holds graphs under way and, below its bodies, the join of a control node."""

    def __init__(self, graph: gs.Graph, infos: "Mapping[str, TensorInfo]") -> None:
        self.graph = graph
        self.infos = dict(infos)
        self.functions = library(graph)
        self.overridable = overridable(graph)
        self.constants: set[int] = set()
        self.stack: list[_Frame | _Join] = []

    def run(self) -> list[NodeWork]:
        """Walk everything."""
        works: list[NodeWork] = []
        self.stack.append(_Frame(iter(in_order(self.graph.nodes)), (), 1, works))
        while self.stack:
            top = self.stack[-1]
            if isinstance(top, _Join):
                self._join(top)
                continue
            node = next(top.nodes, None)
            if node is None:
                self.stack.pop()
            else:
                self._visit(node, top)
        return works

    def _visit(self, node: gs.Node, frame: _Frame) -> None:
        for tensor in node.inputs:
            if isinstance(tensor, gs.Constant) and tensor.name not in self.overridable:
                self.constants.add(id(tensor))
        standard = node.domain in STANDARD_DOMAINS
        if standard and self._folds(node):
            self.constants.update(id(tensor) for tensor in node.outputs)
            self._emit(node, frame, VIEW)
        elif (node.domain or "", node.op) in self.functions:
            self._call(node, frame)
        elif not standard:
            self._emit(node, frame, Work("not_modelled", reason=f"no rule for the domain {node.domain}"))
        elif node.op in CONTROL:
            self._open(node, frame)
        else:
            self._emit(node, frame, self._count(node))

    def _folds(self, node: gs.Node) -> bool:
        """Whether the outputs are known before any request: deterministic, from constants or known shapes alone."""
        if node.op in _NEVER_FOLDED:
            return False
        if node.op in _SHAPE_READERS and known_shape(node.inputs[0], self.infos) is not None:
            return True
        return all(id(tensor) in self.constants or not tensor.name for tensor in node.inputs)

    def _count(self, node: gs.Node) -> Work:
        rule = RULES.get(node.op)
        if rule is None:
            return Work("not_modelled", reason=NOT_MODELLED.get(node.op, f"no rule for {node.op}"))
        try:
            return rule(Facts(node, self.infos, self.constants))
        except Unmodelled as error:
            return Work("not_modelled", reason=str(error))
        except _MALFORMED as error:
            return Work("not_modelled", reason=f"attributes or shapes do not fit {node.op} ({type(error).__name__})")

    def _emit(self, node: gs.Node, frame: _Frame, work: Work) -> None:
        op = node.op if node.domain in STANDARD_DOMAINS else f"{node.domain}.{node.op}"
        work = work if frame.repeat == 1 else replace(work, repeat=frame.repeat)
        frame.out.append(NodeWork(node, key(node), frame.scope, op, work))

    # ---- bodies
    def _open(self, node: gs.Node, frame: _Frame) -> None:
        try:
            plan = CONTROL[node.op](Facts(node, self.infos, self.constants))
        except (Unmodelled, *_MALFORMED) as error:
            self._emit(node, frame, Work("not_modelled", reason=str(error)))
            return
        join = _Join(node, frame, plan, [[] for _ in plan.bodies])
        self.stack.append(join)
        for body, found in zip(plan.bodies, join.found, strict=True):
            scope = (*frame.scope, f"{key(node)}/{body.name}")
            self.stack.append(_Frame(iter(in_order(body.graph.nodes)), scope, frame.repeat * body.trips, found))

    def _join(self, join: _Join) -> None:
        self.stack.pop()
        best = max(range(len(join.found)), key=lambda place: _weight(join.found[place]), default=None)
        body: Body | None = None if best is None else join.plan.bodies[best]
        chosen = f": {body.name}" if body and len(join.found) > 1 else ""
        pairs = self._aliases(body) if body else ()
        first = [inner for outer, inner in pairs if outer == join.node.outputs[0].name]
        work = Work("view", alias_of="".join(first), more_aliases=pairs, reason=join.plan.remark + chosen)
        join.frame.out.extend(join.found[best] if best is not None else [])
        self._emit(join.node, join.frame, work)

    def _aliases(self, body: Body) -> tuple[tuple[str, str], ...]:
        """Names of the body's aliases; a constant is never aliased, it keeps its flag."""
        known = self.constants
        named = [(outer, inner) for outer, inner in body.aliases if outer.name and inner.name]
        return tuple((outer.name, inner.name) for outer, inner in named if not known & {id(outer), id(inner)})

    def _call(self, node: gs.Node, frame: _Frame) -> None:
        try:
            body, inner = expand(node, self.functions, self.graph, self.infos)
        except Unmodelled as error:
            self._emit(node, frame, Work("not_modelled", reason=str(error)))
            return
        self.infos.update(inner)
        scope = (*frame.scope, f"{key(node)}/{node.op}")
        self.stack.append(_Frame(iter(in_order(body.nodes)), scope, frame.repeat, frame.out))


def _weight(works: list[NodeWork]) -> tuple[int, int, bool]:
    """What makes a branch costlier where no machine is known: operations, then elements moved, then unknown work."""
    counts = [(w.work.repeat, w.work) for w in works]
    operations = sum(work.macs + times * (work.lane_ops + work.special_ops) for times, work in counts)
    moved = sum(times * operand.elements for times, work in counts for operand in (*work.reads, *work.writes))
    return operations, moved, any(work.kind == "not_modelled" for _, work in counts)
