"""The strips of one run of nodes: which rows of every tensor each of them makes, and what that costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import onnx_graphsurgeon as gs

from roofwright.passes.materialize.rows import Span
from roofwright.passes.materialize.sequence import Step, Steps, height

IN_PLACE = (
    "Abs", "Add", "BatchNormalization", "Cast", "Clip", "Elu", "Erf", "Exp", "HardSigmoid", "HardSwish", "Identity",
    "LeakyRelu", "Mul", "Neg", "Relu", "Selu", "Sigmoid", "Sub", "Sum", "Tanh",
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """What running a segment in strips takes.

    Attributes:
        peak_bytes: the most that one strip holds beside what lives outside the segment.
        seconds: rows computed twice, copies and kernels, on top of the segment's own cost.
    """

    peak_bytes: float
    seconds: float


class Segment:
    """A contiguous run of row-wise nodes of one phase."""

    def __init__(self, whole: Steps, first: int, last: int, lean: float = 0.0) -> None:
        """The steps `first` to `last`, inclusive; `lean`: by what share the heights of the strips differ."""
        self.whole, self.first, self.last, self.lean = whole, first, last, lean
        self.steps = [step for step in whole.steps[first : last + 1] if step.rule is not None]

    @cached_property
    def outputs(self) -> list[gs.Tensor]:
        """Tensors that are read outside."""
        last = self.whole.last_use
        return [tensor for step in self.steps for tensor in step.makes if last[id(tensor)] > self.last]

    @cached_property
    def lowest(self) -> int:
        """Rows of the output that has the fewest: there are at most as many strips."""
        return min((height(tensor) for tensor in self.outputs), default=0)

    def part(self, tensor: gs.Tensor, strip: int, count: int) -> Span:
        """The rows of an output that a strip answers for; all strips together make each row once."""
        rows = height(tensor)
        low, high = (self._border(at / count) for at in (strip, strip + 1))
        return low * rows // self.lowest, high * rows // self.lowest

    def _border(self, share: float) -> int:
        return int(self.lowest * (share + self.lean * share * (1 - share)) + 0.5)

    def spans(self, strip: int, count: int) -> dict[int, Span]:
        """Node -> rows of its outputs that a strip computes."""
        wanted = {id(tensor): self.part(tensor, strip, count) for tensor in self.outputs}
        spans: dict[int, Span] = {}
        for step in reversed(self.steps):
            found = [wanted[id(tensor)] for tensor in step.makes if id(tensor) in wanted]
            if not found or step.rule is None:
                continue
            out = spans[id(step.node)] = _hull(found)
            for position, rows in step.rule.reads(out).items():
                tensor = step.node.inputs[position]
                known = wanted.get(id(tensor))
                wanted[id(tensor)] = rows if known is None else _hull([known, rows])
        return spans

    def cost(self, count: int) -> Cost:
        """Of so many strips, judged by one from the middle."""
        strip = (count - 1) // 2
        spans = self.spans(strip, count)
        walk = _Walk(self, spans)
        again = sum(
            step.seconds * max(count * (out[1] - out[0]) / step.height - 1, 0)
            for step in self.steps
            if (out := spans.get(id(step.node)))
        )
        launches = (count - 1) * len(spans) * self.whole.launch_s
        copies = (walk.copied_bytes * count + sum(map(self._size, self.outputs))) * self.whole.copy_s
        return Cost(walk.peak_bytes, again + launches + copies)

    def _size(self, tensor: gs.Tensor) -> float:
        return self.whole.sizes.get(tensor.name, 0.0)


def _hull(spans: Sequence[Span]) -> Span:
    return min(first for first, _ in spans), max(last for _, last in spans)


class _Walk:
    """Bytes alive while one strip runs."""

    def __init__(self, segment: Segment, spans: Mapping[int, Span]) -> None:
        self.rates, self.spans = segment.whole.rates, spans
        self.steps = [step for step in segment.steps if id(step.node) in spans]
        self.last = {id(t): at for at, step in enumerate(self.steps) for t in step.reads}
        self.last.update((id(tensor), len(self.steps)) for tensor in segment.outputs)
        self.alive: dict[int, tuple[float, Span]] = {}
        self.now = self.peak_bytes = self.copied_bytes = 0.0
        for at, step in enumerate(self.steps):
            self._take(at, step)

    def _take(self, at: int, step: Step) -> None:
        """Run one node: cut its inputs, make its outputs, let go of what nobody reads again."""
        out = self.spans[id(step.node)]
        rows = out[1] - out[0]
        cut = self._cut(step, out)
        gone = [id(t) for t in step.reads if self.last[id(t)] == at and id(t) in self.alive]
        fresh = sum(self.rates[id(t)] * rows for t in step.makes)
        in_place = step.node.op in IN_PLACE and any(self.alive[number][0] == fresh for number in gone)
        work = step.workspace_bytes * rows / step.height
        self.peak_bytes = max(self.peak_bytes, self.now + cut + (0.0 if in_place else fresh) + work)
        self.now += fresh - sum(self.alive.pop(number)[0] for number in gone)
        self.alive.update((id(t), (self.rates[id(t)] * rows, out)) for t in step.makes)

    def _cut(self, step: Step, out: Span) -> float:
        """Bytes of the slices that this node alone reads."""
        assert step.rule is not None
        total = 0.0
        for position, rows in step.rule.reads(out).items():
            number = id(step.node.inputs[position])
            held = self.alive.get(number)
            if held is None or held[1] != rows:
                total += self.rates.get(number, 0.0) * (rows[1] - rows[0])
        self.copied_bytes += total
        return total
