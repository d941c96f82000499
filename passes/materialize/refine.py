"""A plan made better step by step: more strips here, a further segment there, as long as the modelled peak falls."""

from collections.abc import Iterator

from roofwright.passes.materialize.plan import COUNTS, Choice, Planner
from roofwright.passes.materialize.program import Plan

_ROUNDS = 10
_TENSORS = 2  # the largest results of whole nodes that a new segment is tried for
_BEFORE, _AFTER = 2, 2  # where such a segment may start and end, in places counted from the tensor's maker
_STRIPS = (4, 8)
_LEAST = 0.01  # of the peak that a step must win


def refine(planner: Planner, start: Choice, most_seconds: float) -> Choice:
    """The best plan found from `start` by single steps that keep the cost within `most_seconds`.

    A step is worth the bytes that it saves for each second that it costs.
    """
    best = start
    for _ in range(_ROUNDS):
        plans = [plan for plan in _neighbours(planner, best.plan) if planner.seconds(plan) <= most_seconds]
        tried = [planner.judged(plan) for plan in plans]
        better = [choice for choice in tried if choice.peak_bytes < (1 - _LEAST) * best.peak_bytes]
        if not better:
            break
        best = min(better, key=lambda choice: (_worth(best, choice), choice.peak_bytes))
    return best


def _worth(old: Choice, new: Choice) -> float:
    """Negative: bytes saved for each second more."""
    return -(old.peak_bytes - new.peak_bytes) / max(new.seconds - old.seconds, 1e-9)


def _neighbours(planner: Planner, plan: Plan) -> Iterator[Plan]:
    for place, (segment, count) in enumerate(plan):
        more = next((n for n in COUNTS if n > count), count)
        if count < more <= segment.lowest:
            yield (*plan[:place], (segment, more), *plan[place + 1 :])
    taken = {at for segment, _ in plan for at in range(segment.first, segment.last + 1)}
    for first, last in _ranges(planner, taken):
        segment = planner.segment(first, last)
        for count in _STRIPS:
            if count <= segment.lowest:
                yield tuple(sorted((*plan, (segment, count)), key=lambda item: item[0].first))


def _ranges(planner: Planner, taken: set[int]) -> Iterator[tuple[int, int]]:
    """Runs of nodes around the makers of the largest tensors that are held whole."""
    steps = planner.whole.steps
    free = [at for at, step in enumerate(steps) if at not in taken and step.rule is not None]
    largest = sorted(free, key=lambda at: -planner.made(steps[at]))[:_TENSORS]
    found: dict[tuple[int, int], None] = {}
    for at in largest:
        inside = set(free)
        starts = [p for p in planner.starts(at) if inside.issuperset(range(p, at + 1))][:_BEFORE]
        ends = [p for p in planner.ends(at) if inside.issuperset(range(at, p + 1))][:_AFTER]
        found.update(((first, last), None) for first in starts for last in ends)
    yield from found
