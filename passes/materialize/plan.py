"""Which runs of nodes become strips, and how many: dynamic programming under a limit of memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from math import inf

from roofwright.graph import View
from roofwright.passes.materialize.operators import RANK
from roofwright.passes.materialize.peak import peak_bytes
from roofwright.passes.materialize.program import Plan, Program
from roofwright.passes.materialize.sequence import Step, Steps
from roofwright.passes.materialize.strips import Cost, Segment

COUNTS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
LONGEST = 24  # nodes of one segment
GLUED = (
    "BatchNormalization", "Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh",
)  # fmt: skip
_SHORT = 8  # nodes of a segment on either side of those that hold too much
_STEP = 0.85  # of one limit of memory to the next smaller one


@dataclass(frozen=True)
class Choice:
    """A plan and what it takes.

    Attributes:
        plan: segments and their numbers of strips.
        peak_bytes: modelled, weights left out.
        seconds: modelled, on top of the graph without strips.
    """

    plan: Plan
    peak_bytes: float
    seconds: float


@dataclass
class Planner:
    """Plans for one graph, the cheapest under any limit of memory.

    Attributes:
        whole: the graph.
        lean: 0.0 for strips of equal height. onnxruntime's planner gives the buffer of a dead tensor to the next one of
            the same shape and holds it in between, however long that is; strips of different heights share none.
    """

    whole: Steps
    lean: float = 0.0
    _segments: dict[tuple[int, int], Segment] = field(default_factory=dict)
    _costs: dict[tuple[int, int, int], Cost] = field(default_factory=dict)

    @cached_property
    def before(self) -> Choice:
        """The graph as it is."""
        return Choice((), peak_bytes(Program(self.whole, ())), 0.0)

    def ladder(self, most_seconds: float = inf) -> Iterator[Choice]:
        """Plans under smaller and smaller limits of what lives at a time, until none is left or one costs too much."""
        limit = max(self.held, default=0.0) * _STEP
        while True:
            plan = self._under(limit)
            if plan is None:
                return
            if plan:
                choice = self.judged(plan)
                yield choice
                if choice.seconds > most_seconds:
                    return
            limit *= _STEP

    def alike(self, plan: Plan) -> Plan:
        """The same segments and counts, in strips as this planner makes them."""
        return tuple((self.segment(segment.first, segment.last), count) for segment, count in plan)

    def judged(self, plan: Plan) -> Choice:
        """A plan with its modelled peak and cost."""
        return Choice(plan, peak_bytes(Program(self.whole, plan)), self.seconds(plan))

    def seconds(self, plan: Plan) -> float:
        """What a plan costs."""
        return sum(self._cost(segment, count).seconds for segment, count in plan)

    def segment(self, first: int, last: int) -> Segment:
        """The steps from `first` to `last`."""
        if (first, last) not in self._segments:
            lean = self.lean * (1 + first % 4 / 8)  # not the heights of the segments beside it
            self._segments[first, last] = Segment(self.whole, first, last, lean)
        return self._segments[first, last]

    def starts(self, at: int) -> Iterator[int]:
        """Where a segment that holds a step may start, nearest first."""
        steps = self.whole.steps
        for first in range(at, -1, -1):
            if steps[first].rule is None or steps[first].phase != steps[at].phase:
                return
            if not self._glued(first):
                yield first

    def ends(self, at: int) -> Iterator[int]:
        """Where a segment that holds a step may end, nearest first."""
        steps = self.whole.steps
        for last in range(at, min(at + LONGEST, len(steps))):
            if steps[last].rule is None or steps[last].phase != steps[at].phase:
                return
            if last + 1 == len(steps) or not self._glued(last + 1):
                yield last

    # ---- what lives when
    @cached_property
    def _live(self) -> list[float]:
        """Bytes alive between step i - 1 and step i, shape (n + 1,)."""
        change = [0.0] * (len(self.whole.steps) + 2)
        for tensor in (*self.whole.inputs, *(t for step in self.whole.steps for t in step.makes)):
            size = self.whole.sizes.get(tensor.name, 0.0)
            change[self.whole.made_at[id(tensor)] + 1] += size
            change[self.whole.last_use[id(tensor)] + 1] -= size
        return list(accumulate(change))[:-1]

    @cached_property
    def held(self) -> list[float]:
        """Bytes alive while each step runs whole."""
        return [
            max(self._live[at] + (0.0 if self._glued(at) else self.made(step)), self._live[at + 1])
            + step.workspace_bytes
            + self._again(step)
            for at, step in enumerate(self.whole.steps)
        ]

    @cached_property
    def _opens(self) -> set[int]:
        """Where segments start: more bytes are alive at the next place."""
        return self._places(1)

    @cached_property
    def _closes(self) -> set[int]:
        """Where segments end: more bytes were alive at the place before."""
        return self._places(-1)

    def _places(self, way: int) -> set[int]:
        cuts = [at for at in range(len(self.whole.steps) + 1) if at == len(self.whole.steps) or not self._glued(at)]
        live = [inf, *(self._live[at] for at in cuts), inf]
        return {at for place, at in enumerate(cuts, 1) if live[place] <= live[place + way]}

    def made(self, step: Step) -> float:
        """Bytes of a node's results."""
        return sum(self.whole.sizes.get(tensor.name, 0.0) for tensor in step.makes)

    def _again(self, step: Step) -> float:
        """Bytes of results that are held in a second layout for readers far away (a skip connection)."""
        at, last = self.whole.made_at, self.whole.last_use
        far = [t for t in step.makes if last[id(t)] > at[id(t)] + LONGEST // 4 and View.rank(t) == RANK]
        return sum(self.whole.sizes.get(tensor.name, 0.0) for tensor in far)

    def _glued(self, at: int) -> bool:
        """Whether a step works in place on what the one before it made for it alone."""
        step = self.whole.steps[at]
        if not at or step.node.op not in GLUED or not step.reads:
            return False
        tensor = step.reads[0]
        return self.whole.made_at.get(id(tensor)) == at - 1 and self.whole.last_use[id(tensor)] == at

    # ---- the search
    def _under(self, limit: float) -> Plan | None:
        """The cheapest plan whose every step stays under the limit; None where there is none."""
        count = len(self.whole.steps)
        hot = list(accumulate((size > limit for size in self.held), initial=0))
        best: list[dict[bool, tuple[float, int, bool, int]]] = [{} for _ in range(count + 1)]
        best[0][False] = (0.0, -1, False, 0)
        for at in range(count):
            for loose, (cost, *_) in sorted(best[at].items()):
                if not loose and hot[at + 1] == hot[at]:
                    _offer(best[at + 1], False, (cost, at, loose, 0))
                if hot[min(at + LONGEST, count)] == hot[at] and not loose:
                    continue
                for last, strips, extra, joined in self._from(at, limit, hot):
                    _offer(best[last + 1], not joined, (cost + extra, at, loose, strips))
        return None if False not in best[count] else self._back(best)

    def _from(self, at: int, limit: float, hot: list[int]) -> Iterator[tuple[int, int, float, bool]]:
        """Segments that start at a step: (last step, strips, seconds, whether their results are put together)."""
        if at not in self._opens or hot[min(at + _SHORT, len(hot) - 1)] == hot[at]:
            return
        for last in self.ends(at):
            if last + 1 not in self._closes or hot[last + 1] == hot[max(last - _SHORT, at)]:
                continue
            segment = self.segment(at, last)
            outs = sum(self.whole.sizes.get(tensor.name, 0.0) for tensor in segment.outputs)
            room = limit - max(self._live[at], self._live[last + 1])
            strips = self._fewest(segment, room)
            if strips:
                seconds = self._cost(segment, strips).seconds
                yield last, strips, seconds, False
                if self._live[last + 1] + outs <= limit:
                    yield last, strips, seconds, True

    def _fewest(self, segment: Segment, room: float) -> int:
        """The fewest strips that fit; 0: none do."""
        counts = [count for count in COUNTS if count <= segment.lowest]
        if room <= 0 or not counts or self._cost(segment, counts[-1]).peak_bytes > room:
            return 0
        low, high = 0, len(counts) - 1
        while low < high:
            middle = (low + high) // 2
            if self._cost(segment, counts[middle]).peak_bytes <= room:
                high = middle
            else:
                low = middle + 1
        return counts[low]

    def _cost(self, segment: Segment, count: int) -> Cost:
        key = (segment.first, segment.last, count)
        if key not in self._costs:
            self._costs[key] = segment.cost(count)
        return self._costs[key]

    def _back(self, best: list[dict[bool, tuple[float, int, bool, int]]]) -> Plan:
        plan: list[tuple[Segment, int]] = []
        at, loose = len(best) - 1, False
        while at:
            _, before, was, strips = best[at][loose]
            if strips:
                plan.append((self.segment(before, at - 1), strips))
            at, loose = before, was
        return tuple(reversed(plan))


def _offer(best: dict[bool, tuple[float, int, bool, int]], loose: bool, found: tuple[float, int, bool, int]) -> None:
    if loose not in best or found[0] < best[loose][0]:
        best[loose] = found
