"""A plan as a list of instructions: kept nodes, strips of nodes, slices and concatenations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from roofwright.passes.materialize.rows import Span
from roofwright.passes.materialize.sequence import Step, Steps, height
from roofwright.passes.materialize.strips import Segment

Plan = Sequence[tuple[Segment, int]]  # segments in order, each with its number of strips


@dataclass(frozen=True, eq=False)
class Value:
    """Some rows of a tensor, or all of it (`rows` is None)."""

    tensor: gs.Tensor
    rows: Span | None
    bytes: float


@dataclass(frozen=True, eq=False)
class Instruction:
    """One node of the program.

    Attributes:
        op: "keep" (a node as it was), "strip" (a node on `rows`), "slice" or "join".
        step: of "keep" and "strip".
        strip: number of the strip.
        rows: of "strip": rows of the outputs; of "slice": rows taken, counted in its input.
        reads: input position -> value for "strip"; in order for the others.
        makes: what comes out, one value per named output.
        workspace_bytes: taken beside reads and makes.
    """

    op: str
    reads: Mapping[int, Value]
    makes: tuple[Value, ...]
    step: Step | None = None
    strip: int = 0
    rows: Span = (0, 0)
    workspace_bytes: float = 0.0


class Program:
    """The instructions of a plan, strips depth-first: all of one before the next."""

    def __init__(self, whole: Steps, plan: Plan) -> None:
        """Write the program of `plan`."""
        self.whole, self.instructions = whole, list[Instruction]()
        self._whole: dict[int, Value] = {}
        self._pieces: dict[int, list[Value]] = {}
        self._strip: dict[tuple[int, Span | None], Value] = {}
        self._whole.update((id(tensor), self._all(tensor)) for tensor in whole.inputs)
        starts = {segment.first: (segment, count) for segment, count in plan}
        at = 0
        while at < len(whole.steps):
            if at in starts:
                segment, count = starts[at]
                self._segment(segment, count)
                at = segment.last + 1
            else:
                self._keep(whole.steps[at])
                at += 1
        self.interface = [self._get(tensor) for tensor in (*whole.inputs, *whole.outputs)]

    # ---- values
    def _all(self, tensor: gs.Tensor) -> Value:
        return Value(tensor, None, self.whole.sizes.get(tensor.name, 0.0))

    def _some(self, tensor: gs.Tensor, rows: Span) -> Value:
        return Value(tensor, rows, self.whole.row_bytes(tensor) * (rows[1] - rows[0]))

    def _get(self, tensor: gs.Tensor) -> Value:
        """The whole tensor, put together from its pieces where there are only those."""
        held = self._whole.get(id(tensor))
        if held is None and id(tensor) in self._pieces:
            parts = [self._cut(piece, part) for piece, part in self._cover(tensor, (0, height(tensor)))]
            held = self._all(tensor)
            self.instructions.append(Instruction("join", dict(enumerate(parts)), (held,)))
        if held is None:  # a value of the outer graph, or a constant
            held = Value(tensor, None, 0.0)
        self._whole[id(tensor)] = held
        return held

    def _cover(self, tensor: gs.Tensor, rows: Span) -> list[tuple[Value, Span]]:
        """Pieces that hold the rows, each with the part to take of it; as few as possible."""
        found, at = [], rows[0]
        pieces = [(piece, piece.rows) for piece in self._pieces[id(tensor)] if piece.rows]
        while at < rows[1]:
            piece, held = max((p for p in pieces if p[1][0] <= at < p[1][1]), key=lambda p: p[1][1])
            found.append((piece, (at, min(held[1], rows[1]))))
            at = held[1]
        return found

    def _cut(self, value: Value, rows: Span) -> Value:
        """Some rows of a value; itself where those are all."""
        held = value.rows or (0, height(value.tensor))
        if held == rows:
            return value
        made = self._some(value.tensor, rows)
        self.instructions.append(Instruction("slice", {0: value}, (made,), rows=(rows[0] - held[0], rows[1] - held[0])))
        return made

    def _read(self, tensor: gs.Tensor, rows: Span) -> Value:
        """Rows of a tensor for the strip that is being written; cut once per strip."""
        known = self._strip.get((id(tensor), rows))
        if known is not None:
            return known
        local = self._strip.get((id(tensor), None))
        if local is not None:
            made = self._cut(local, rows)
        elif id(tensor) in self._whole or id(tensor) not in self._pieces:
            made = self._cut(self._get(tensor), rows)
        else:
            parts = [self._cut(piece, part) for piece, part in self._cover(tensor, rows)]
            made = parts[0]
            if len(parts) > 1:
                made = self._some(tensor, rows)
                self.instructions.append(Instruction("join", dict(enumerate(parts)), (made,)))
        self._strip[id(tensor), rows] = made
        return made

    # ---- instructions
    def _keep(self, step: Step) -> None:
        reads = {position: self._get(tensor) for position, tensor in enumerate(step.reads)}
        makes = tuple(self._all(tensor) for tensor in step.makes)
        self._whole.update((id(value.tensor), value) for value in makes)
        self.instructions.append(Instruction("keep", reads, makes, step, workspace_bytes=step.workspace_bytes))

    def _segment(self, segment: Segment, count: int) -> None:
        pieces: dict[int, list[Value]] = {id(tensor): [] for tensor in segment.outputs}
        for strip in range(count):
            spans = segment.spans(strip, count)
            self._strip.clear()
            for step in segment.steps:
                if id(step.node) in spans:
                    self._one(step, spans[id(step.node)], strip)
            for tensor in segment.outputs:
                pieces[id(tensor)].append(self._strip[id(tensor), None])
        self._strip.clear()
        self._pieces.update(pieces)

    def _one(self, step: Step, out: Span, strip: int) -> None:
        assert step.rule is not None
        reads = {
            position: self._read(step.node.inputs[position], rows) for position, rows in step.rule.reads(out).items()
        }
        for position, tensor in enumerate(step.node.inputs):
            if tensor.name and position not in reads and not isinstance(tensor, gs.Constant):
                reads[position] = self._get(tensor)
        raw = step.rule.raw(out)
        made = tuple(self._some(tensor, raw) for tensor in step.makes)
        share = (raw[1] - raw[0]) / max(height(step.makes[0]), 1)
        work = step.workspace_bytes * share
        self.instructions.append(Instruction("strip", reads, made, step, strip, out, work))
        for value in made:
            self._strip[id(value.tensor), None] = self._cut(value, out)
