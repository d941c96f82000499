"""The pass protocol: a rewrite matches, prices and applies itself; a pass runs rewrites; the runner does the rest.

A `Rewrite` is a frozen dataclass whose fields are the nodes it bound. `match` reads only; raising `Decline` says that
the pattern is there but must not be touched, and why. `saving` prices a rewrite that adds work or bytes. `apply`
writes, through an `Edit`. A `Pass` is a frozen dataclass whose fields are its options.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import onnx_graphsurgeon as gs

from roofwright.cost_model import GraphModel, Schedule
from roofwright.graph import Edit, Index, View, key
from roofwright.passes.touched import Named, Touched
from roofwright.targets import Target

Numerics = Literal["exact", "rounding", "approx"]
NUMERICS: tuple[Numerics, ...] = ("exact", "rounding", "approx")


class Decline(Exception):
    """The pattern is here but must not be touched; the message says why, in words a user can act on."""


@dataclass(frozen=True)
class Record:
    """One applied rewrite, or one near miss (`applied` is False and `reason` says why).

    Attributes:
        rewrite: name of the rewrite.
        anchor: key of the node it is about (name of its first output, before the rewrite).
        op: operator of the anchor.
        removed, added: operator names of the nodes that went and came.
        consumed: (operator, key) of the nodes that it took out or changed, as they were.
        produced: (operator, key) of the nodes that it made or changed, as they are now.
        numerics: of this rewrite; "" where it is the pass's.
        number: its place among all applied rewrites of a run, from 1; 0 for what changes no graph.
        gain_s, gain_bytes: modelled seconds and off-chip bytes that the consumed nodes cost more than the produced
            ones, op by op; None where they have no price. The runner fills these and the number in.
    """

    rewrite: str
    anchor: str
    op: str
    applied: bool
    reason: str = ""
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    consumed: tuple[Named, ...] = ()
    produced: tuple[Named, ...] = ()
    numerics: str = ""
    number: int = 0
    gain_s: float | None = None
    gain_bytes: float | None = None

    @property
    def taken(self) -> tuple[Named, ...]:
        """What it consumed; the anchor where it says no more than that the anchor went."""
        alone = not self.consumed and self.removed == (self.op,)
        return ((self.op, self.anchor),) if alone else self.consumed


@dataclass(frozen=True)
class PassResult:
    """What a pass did. `schedule` is set by passes that write the schedule instead of the graph."""

    records: tuple[Record, ...] = ()
    schedule: Schedule | None = None

    @property
    def changed(self) -> bool:
        """Whether anything was applied: derived, never set by hand."""
        return any(record.applied for record in self.records)


@dataclass
class Budget:
    """How many rewrites a run may apply, as LLVM's `-opt-bisect-limit`: a limited run is the start of a longer one.

    Attributes:
        limit: the most; None: no limit.
        used: applied so far.
    """

    limit: int | None = None
    used: int = 0

    @property
    def exhausted(self) -> bool:
        """Whether no further rewrite may be applied."""
        return self.limit is not None and self.used >= self.limit


@dataclass(frozen=True)
class Context:
    """What a pass may know beside the graph.

    Attributes:
        target: the machine; None where a pass is used without one (only passes that need no prices then fire).
        numerics: the most that a rewrite may change results.
        fold_limit_bytes: no constant is created that is larger than this and than what it replaces.
        dims: sizes of symbolic dimensions for pricing; unbound ones get the documented defaults.
        schedule: the schedule so far; None before the first scheduling pass.
        model: the graph as the cost model sees it, where the caller has it already; must describe the graph as it is.
        resident_weights: weights stay on chip between requests where they fit.
        budget: how many rewrites may still be applied; shared by all passes of a run.
        prices: what `gains` priced so far in this run.
        index: of the graph as it is, where the caller has it already.
    """

    target: Target | None = None
    numerics: Numerics = "rounding"
    fold_limit_bytes: int = 1 << 20
    dims: Mapping[str, int] = field(default_factory=dict)
    schedule: Schedule | None = None
    model: GraphModel | None = None
    resident_weights: bool = False
    budget: Budget = field(default_factory=Budget)
    prices: dict[Any, float | None] = field(default_factory=dict, compare=False, repr=False)
    index: Index | None = field(default=None, compare=False, repr=False)

    def with_schedule(self, schedule: Schedule | None) -> "Context":
        """The same context, with another schedule."""
        return replace(self, schedule=schedule)

    def allows(self, numerics: Numerics) -> bool:
        """Whether a rewrite with these numerics may fire."""
        return NUMERICS.index(numerics) <= NUMERICS.index(self.numerics)


class Pass(ABC):
    """A transformation of a graph or of a schedule; the same object may run many times.

    Attributes:
        name: kebab-case; the spelling on the command line and in reports.
        numerics: the most that any of its rewrites changes results.
        summary: one line for listings.
        schedules: it returns a schedule and leaves the graph alone; such passes run after all others.
        on_request: it runs only where it is named or enabled.
    """

    name: ClassVar[str]
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str]
    schedules: ClassVar[bool] = False
    on_request: ClassVar[bool] = False

    @abstractmethod
    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Change `graph` in place (or return a schedule) and say what was done."""


class Rewrite(ABC):
    """One rewrite; a concrete class is a frozen dataclass whose fields are the nodes and values bound by `match`.

    Attributes:
        name: kebab-case, unique inside its pass.
        anchors: operators of the default domain at which `match` is tried.
        numerics: "exact", "rounding" (reassociates) or "approx" (changes the function).
    """

    name: ClassVar[str]
    anchors: ClassVar[tuple[str, ...]]
    numerics: ClassVar[Numerics]

    @classmethod
    @abstractmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The bound rewrite at `node`, None where the pattern is not here; Decline where it must not be touched."""

    def saving(self, ctx: Context) -> float | None:
        """Modelled seconds gained; None: adds neither work nor bytes and always fires."""
        return None

    @abstractmethod
    def apply(self, edit: Edit) -> None:
        """Write the rewrite. May rely on everything `match` saw."""


@dataclass(frozen=True)
class LocalPass(Pass):
    """A pass made of local rewrites, tried at every node of every graph until none fires.

    `limits` narrows a rewrite by its context (a size limit, say): it sees the bound rewrite and may raise Decline.
    """

    rewrites: ClassVar[tuple[type[Rewrite], ...]]

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Apply the rewrites to a fixpoint, main graph first, then bodies; linear in the nodes touched."""
        index = ctx.index or Index(graph)
        if not any(op in index.ops for rewrite in self.rewrites for op in rewrite.anchors):
            return PassResult()
        records: dict[tuple[object, ...], Record] = {}
        for inner in index.graphs:
            for record in _Walk(self, View(inner, index), ctx).records():
                missed = (record.rewrite, record.anchor)
                if record.applied:
                    records.pop(missed, None)  # what fires in the end was no near miss
                records.setdefault((*missed, ctx.budget.used) if record.applied else missed, record)
        index.forget()
        return PassResult(tuple(records.values()))

    def limits(self, rewrite: Rewrite, view: View, ctx: Context) -> None:
        """Raise Decline where the context forbids what `match` allowed; nothing by default."""


class _Walk:
    """One walk of a local pass over one graph: a worklist that revisits what a rewrite touched."""

    def __init__(self, owner: LocalPass, view: View, ctx: Context) -> None:
        self.owner, self.view, self.ctx, self.edit = owner, view, ctx, Edit(view)
        self.by_op: dict[str, list[type[Rewrite]]] = {}
        for rewrite in owner.rewrites:
            for op in rewrite.anchors:
                self.by_op.setdefault(op, []).append(rewrite)

    def records(self) -> Iterable[Record]:
        """Walk until nothing fires; yields applied rewrites and near misses as they are met."""
        work, waiting = deque(self.view.graph.nodes), {id(node) for node in self.view.graph.nodes}
        while work:
            node = work.popleft()
            waiting.discard(id(node))
            if node.op not in self.by_op or id(node) in self.edit.removed or not self.view.is_op(node, node.op):
                continue
            added, near = len(self.edit.added), self._around(node)
            fired = False
            for record in self._at(node):
                fired = record.applied
                yield record
            if not fired:
                continue
            for other in (*self.edit.added[added:], *near, *self._around(node)):
                if id(other) not in waiting and id(other) not in self.edit.removed and self.view.is_local(other):
                    waiting.add(id(other))
                    work.append(other)
        self.edit.flush()

    def _at(self, node: gs.Node) -> Iterable[Record]:
        """Near misses at `node`, then the first rewrite that fires."""
        for rewrite in self.by_op.get(node.op, ()):
            record = self._try(rewrite, node)
            if record is None:
                continue
            yield record
            if record.applied:
                return

    def _around(self, node: gs.Node) -> list[gs.Node]:
        near = [node]
        near += [tensor.inputs[0] for tensor in node.inputs if tensor.inputs]
        near += [consumer for tensor in node.outputs for consumer in self.view.consumers(tensor)]
        return near

    def _try(self, rewrite: type[Rewrite], node: gs.Node) -> Record | None:
        anchor, op = key(node), node.op
        try:
            bound = rewrite.match(node, self.view)
            if bound is None:
                return None
            self._allowed(bound)
        except Decline as reason:
            return Record(rewrite.name, anchor, op, applied=False, reason=str(reason))
        if self.ctx.budget.exhausted:
            return None
        self.ctx.budget.used += 1
        touched = Touched(bound, self.edit)
        bound.apply(self.edit)
        self.view.memo.clear()
        return Record(rewrite.name, anchor, op, True, numerics=bound.numerics, **touched.names())

    def _allowed(self, bound: Rewrite) -> None:
        if not self.ctx.allows(bound.numerics):
            raise Decline(f"its numerics are '{bound.numerics}', only '{self.ctx.numerics}' is allowed")
        self.owner.limits(bound, self.view, self.ctx)
        gain = bound.saving(self.ctx)
        if gain is not None and gain <= 0:
            raise Decline(f"the cost model prices it as a loss of {-gain * 1e6:.3g} us")
