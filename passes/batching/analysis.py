"""Follows the batch from the inputs through every node of a model, bodies of If and Loop included.

Nothing is changed: what would have to be is collected as plans. A node that mixes samples, or of which that is not
known, raises `Refused`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import STANDARD_DOMAINS, Index, TensorInfo, View, bodies, evaluate, graphs_of
from roofwright.passes.batching.layout import Batched, Dims, Plain, State, scaled
from roofwright.passes.batching.loops import LoopWalk
from roofwright.passes.batching.moves import created
from roofwright.passes.batching.sight import Plan, Refused, Sight, Values
from roofwright.passes.batching.table import CREATORS, RANDOM, REASONS, RULES

_MOST_ELEMENTS = 1 << 18  # of values that are followed: shapes, indices, scales
_MOST_READ = 1024  # of an initializer that is read for them
_MOST_REVISIONS = 32
_SHAPES = ("Shape", "Size")


@dataclass(frozen=True)
class Question:
    """What is asked: from `old` to `new` samples, with the batch at the given axes of the inputs.

    Attributes:
        index: of the model.
        infos: element type and shape of every tensor at the old batch; other free dimensions at a stand-in.
        inputs: name -> axis of the batch; inputs that are not named are the same for every sample.
        free_dims: whether dimensions other than the batch are symbolic.
        limit_bytes: no constant is made larger.
    """

    index: Index
    infos: Mapping[str, TensorInfo]
    inputs: Mapping[str, int]
    old: int
    new: int
    free_dims: bool
    limit_bytes: int


@dataclass
class _Frame:
    """A graph under way; `end` runs when its nodes are through."""

    nodes: Iterator[gs.Node]
    view: View
    end: Callable[[], None]


class Analysis:
    """One walk; after `run`, `states` and `plans` say where the samples are and what must change."""

    def __init__(self, question: Question, revised: Mapping[int, int]) -> None:
        """`revised` numbers the reading to take at Reshapes (by id) that have several; 0 where not given."""
        self.question, self.revised = question, revised
        self.old, self.new, self.free_dims = question.old, question.new, question.free_dims
        self.limit_bytes = question.limit_bytes
        self.states: dict[int, State] = {}
        self.known: dict[int, Values] = {}
        self.plans: list[Plan] = []
        self.readings: dict[int, tuple[int, tuple[gs.Node, ...]]] = {}  # Reshape -> (readings, Reshapes before it)
        self.stack: list[_Frame] = []

    def run(self) -> None:
        """Walk the whole model."""
        root = self.question.index.root
        for tensor in root.inputs:
            if tensor.name in self.question.inputs:
                self.states[id(tensor)] = Batched(self.question.inputs[tensor.name])
        self.push(root, lambda: None)
        while self.stack:
            top = self.stack[-1]
            node = next(top.nodes, None)
            if node is not None:
                self._visit(node, top.view)
                continue
            self.stack.pop()
            top.end()
        for tensor in root.outputs:
            self._check_output(tensor)

    def push(self, graph: gs.Graph, end: Callable[[], None]) -> None:
        """Walk `graph` before anything else, then call `end`."""
        self.stack.append(_Frame(iter(graph.nodes), View(graph, self.question.index), end))

    def _check_output(self, tensor: gs.Tensor) -> None:
        state = self.state(tensor)
        maker = tensor.inputs[0] if tensor.inputs else None
        if state is Plain.SIZED:
            raise Refused(maker, f"output {tensor.name} depends on the size of the batch", ())
        if isinstance(state, Batched) and state.outer > 1:
            via = () if state.via is None else (state.via,)
            raise Refused(maker, f"output {tensor.name} interleaves the samples", via)

    # ---- what rules may ask
    def state(self, tensor: gs.Tensor) -> State:
        """Where the samples of a tensor are."""
        return self.states.get(id(tensor), Plain.FREE)

    def shape(self, tensor: gs.Tensor) -> Dims | None:
        """The shape at the old batch; None where it is not known in full."""
        shape = tensor.shape if isinstance(tensor, gs.Constant) else None
        if tensor.name in self.question.infos:
            shape = self.question.infos[tensor.name].shape
        if shape is None or any(not isinstance(dim, (int, np.integer)) for dim in shape):
            return None
        return tuple(int(dim) for dim in shape)

    def values(self, tensor: gs.Tensor, view: View) -> Values | None:
        """A small value at the old and the new batch, where it is known."""
        if id(tensor) in self.known:
            return self.known[id(tensor)]
        if not view.is_constant(tensor):
            return None
        shape = tensor.shape
        if isinstance(tensor, gs.Constant) and int(np.prod(shape or (), dtype=np.int64)) > _MOST_READ:
            return None
        array = view.constant_value(tensor)
        return None if array is None or array.size > _MOST_ELEMENTS else (array, array)

    def choose(self, node: gs.Node, readings: list[Batched]) -> Batched:
        """The reading of an ambiguous Reshape that is on trial."""
        before = self.state(node.inputs[0])
        via = (before.via,) if isinstance(before, Batched) and before.via is not None else ()
        self.readings[id(node)] = (len(readings), via)
        return replace(readings[min(self.revised.get(id(node), 0), len(readings) - 1)], via=node)

    def plan(self, step: Plan) -> None:
        """Remember a change."""
        self.plans.append(step)

    # ---- nodes
    def _visit(self, node: gs.Node, view: View) -> None:
        sight = Sight(node, view, self)
        if node.op in RANDOM and node.domain in STANDARD_DOMAINS:
            sight.refuse("it draws random numbers")
        if view.is_op(node, "If"):
            self._branches(sight)
        elif view.is_op(node, "Loop"):
            LoopWalk(self, sight).start()
        elif view.is_op(node, *_SHAPES):
            self._measure(sight)
        elif sight.used or self._captures(node):
            self.record(sight, self._apply(sight))
        else:
            self._compute(sight)

    def _captures(self, node: gs.Node) -> bool:
        inside = [held for body in bodies(node) for inner in graphs_of(body) for held in inner.nodes]
        return any(self.state(tensor) is not Plain.FREE for held in inside for tensor in held.inputs)

    def _apply(self, sight: Sight) -> list[State]:
        node = sight.node
        if node.domain not in STANDARD_DOMAINS:
            sight.refuse(f"nothing is known of operators of the domain {node.domain}")
        if node.op not in RULES:
            sight.refuse(REASONS.get(node.op, "it is not known to treat samples apart from each other"))
        return RULES[node.op](sight)

    def record(self, sight: Sight, states: list[State]) -> None:
        """Store the states of a node's outputs; a layout that contradicts the known shape refuses."""
        for position, (tensor, state) in enumerate(zip(sight.node.outputs, states, strict=False)):
            if not tensor.name:
                continue
            self.states[id(tensor)] = state
            self.known.pop(id(tensor), None)
            shape = self.shape(tensor)
            if isinstance(state, Batched) and shape is not None and shape[state.axis] != state.size(self.old):
                sight.refuse(f"output {position} has the shape {list(shape)}, which holds no batch")

    def _measure(self, sight: Sight) -> None:
        """Shape and Size, of whatever they are."""
        shapes = self._shapes(sight)
        if shapes is None:
            self.record(sight, [Plain.FREE if sight.state(0) is Plain.FREE else Plain.SIZED])
            return
        old, new = (np.asarray(shape, np.int64) for shape in shapes)
        if sight.node.op == "Size":
            self._store(sight, (np.asarray(np.prod(old)), np.asarray(np.prod(new))))
            return
        part = slice(sight.attr("start", 0), sight.attr("end"))
        self._store(sight, (old[part], new[part]))

    def _shapes(self, sight: Sight) -> tuple[Dims, Dims] | None:
        """Shape of input 0 at the old and the new batch."""
        tensor, values = sight.node.inputs[0], sight.values(0)
        if values is not None:
            return values[0].shape, values[1].shape
        if self.shape(tensor) is None or sight.state(0) is Plain.SIZED:
            return None
        return sight.shape(), sight.new_shape()

    def _store(self, sight: Sight, values: Values) -> None:
        tensor = sight.node.outputs[0]
        same = values[0].shape == values[1].shape and bool(np.array_equal(*values))
        self.states[id(tensor)] = Plain.FREE if same else Plain.SIZED
        self.known[id(tensor)] = (np.asarray(values[0]), np.asarray(values[1]))

    def _compute(self, sight: Sight) -> None:
        """A node without samples: its value is followed where it is small."""
        node = sight.node
        states = [sight.state(position) for position in range(len(node.inputs))]
        is_sized = Plain.SIZED in states
        made = self._evaluated(sight)
        if made is not None and (node.op not in CREATORS or made[0].shape == made[1].shape):
            self._store(sight, made)
        elif (
            is_sized
            and node.op in CREATORS
            and node.domain in STANDARD_DOMAINS
            and states[0 if len(states) == 1 else 1] is Plain.SIZED
        ):
            self.record(sight, created(sight))
        elif is_sized:
            for tensor in node.outputs:
                self.states[id(tensor)] = Plain.SIZED

    def _evaluated(self, sight: Sight) -> Values | None:
        node = sight.node
        if len(node.outputs) != 1 or node.domain not in STANDARD_DOMAINS or node.op == "Constant":
            return None
        given = [sight.values(position) for position in range(len(node.inputs))]
        if any(value is None and sight.is_given(position) for position, value in enumerate(given)):
            return None
        old, new = (evaluate(node.op, [v if v is None else v[side] for v in given], node.attrs) for side in (0, 1))
        if old is None or new is None or max(old.size, new.size) > _MOST_ELEMENTS:
            return None
        return old, new

    # ---- bodies
    def _branches(self, sight: Sight) -> None:
        if sight.state(0) is not Plain.FREE:
            sight.refuse("its condition depends on the samples or on their number")
        branches = bodies(sight.node)

        def join() -> None:
            found = [[self.state(tensor) for tensor in body.outputs] for body in branches]
            if any(other != found[0] for other in found):
                sight.refuse("its branches hold the batch in different ways")
            self.record(sight, found[0])

        self.push(branches[0], join)
        for body in branches[1:]:
            self.push(body, lambda: None)

    def new_shape(self, tensor: gs.Tensor) -> Dims | None:
        """The shape of a tensor that holds samples, at the new batch."""
        state, shape = self.state(tensor), self.shape(tensor)
        return scaled(shape, state, self.new) if shape is not None and isinstance(state, Batched) else None


def analyse(question: Question) -> Analysis:
    """Follow the batch; where a Reshape has several readings, one that leads to a refusal is revised.

    Raises:
        Refused: the refusal of the first readings.
    """
    revised: dict[int, int] = {}
    first: Refused | None = None
    for _ in range(_MOST_REVISIONS):
        analysis = Analysis(question, revised)
        try:
            analysis.run()
            return analysis
        except Refused as refusal:
            first = first or refusal
            if not _revise(revised, analysis.readings, list(refusal.via)):
                raise first from None
    raise first if first is not None else AssertionError


def _revise(
    revised: dict[int, int], readings: Mapping[int, tuple[int, tuple[gs.Node, ...]]], waiting: list[gs.Node]
) -> bool:
    """Take the next reading of the nearest Reshape ahead of the refusal that has one left."""
    seen: set[int] = set()
    while waiting:
        node = waiting.pop(0)
        if id(node) in seen or id(node) not in readings:
            continue
        seen.add(id(node))
        count, before = readings[id(node)]
        if revised.get(id(node), 0) + 1 < count:
            revised[id(node)] = revised.get(id(node), 0) + 1
            return True
        waiting.extend(before)
    return False
