"""Spatial strips as real nodes, so that any runtime runs a block depth-first and holds strips of its tensors only."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import onnx_graphsurgeon as gs

from roofwright.cost_model import parameter_bytes
from roofwright.graph import UnsupportedError, View, key
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.passes.materialize.plan import Choice, Planner
from roofwright.passes.materialize.program import Program
from roofwright.passes.materialize.refine import refine
from roofwright.passes.materialize.sequence import sequence
from roofwright.passes.materialize.writing import write
from roofwright.passes.memory import MemoryChange, MemoryResult

LEAST_GAIN = 0.2  # of the peak of a process; below it strips only cost time
MOST_SECONDS = 0.05  # of the modelled time
ALIKE = 1.05  # peaks that differ by less: the cheaper plan is taken
LEANS = (0.0, 0.1)  # strips of equal height, and of heights that differ
RUNTIME_BYTES = 64 << 20  # what a process takes before it loads a model: Python, numpy and onnxruntime 1.32 on Linux


@dataclass(frozen=True)
class Materialize(Pass):
    """`y = Relu(Conv(x))` --> `y = Concat(Relu(Conv(Slice(x))), Relu(Conv(Slice(x))) ...)`, depth-first.

    1. A run of nodes that work row by row on batches of images becomes strips: every strip computes some rows of the
       run's results, from the rows of its inputs that those need. Rows that two strips need are computed twice.
    2. Convolutions and pools: padding stays at the borders of the image and is left out between strips; strides,
       dilations, `auto_pad` and `ceil_mode` keep their meaning.
    3. Transposed convolutions: padding cuts off what belongs to the neighbours.
    4. Resize and Upsample by a whole factor (nearest; linear by a power of two), DepthToSpace, SpaceToDepth.
    5. Elementwise operators: operands that broadcast along the rows are read whole, others in the same rows.
    6. Concat, Split, Softmax and ArgMax along another axis; Slice without steps along the rows.
    7. A tensor that only strips read is never put together: each reads from the pieces that hold its rows (the skip
       connections of a U-Net). Other readers, and graph outputs, get a Concat.
    8. The nodes are listed strip after strip, and the weights stay single initializers.

    Which runs, and how many strips, follows from a model of the memory of a runtime that runs one node at a time:
    smallest peak that costs at most 5 % more modelled time, or with `limit_bytes` the cheapest that fits.

    Declines when
        the modelled peak of the process would fall by less than 20 %, the height of an image is symbolic (the batch may
        be), or an operator in the middle needs its input whole (GlobalAveragePool, Gemm, Reshape ...).

    Numerics: rounding at most. Every element is the sum of the same terms in the same order; a runtime that picks
    another kernel for another shape may round differently.

    References: Alwani et al., "Fused-layer CNN accelerators", MICRO 2016, doi:10.1109/MICRO.2016.7783725; Mei et al.,
    "DeFiNES", HPCA 2023, doi:10.1109/HPCA56546.2023.10071098.
    """

    name: ClassVar[str] = "materialize"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "write spatial strips as nodes, so that a run needs less memory"

    limit_bytes: float | None = None

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Plan and write; without a target there are no prices, and nothing is done.

        Raises:
            UnsupportedError: `limit_bytes` is below what any plan reaches.
        """
        if ctx.target is None:
            return PassResult()
        view = View(graph)
        steps, weights = sequence(graph, view, ctx.target, ctx.dims), parameter_bytes(graph)
        planners = [Planner(steps, lean) for lean in LEANS]
        before = planners[0].before
        if self.limit_bytes is None:
            choice = _smallest(planners, weights)
        else:
            choice = _cheapest(planners, weights, self.limit_bytes)
        peaks = (weights + before.peak_bytes, weights + (choice or before).peak_bytes)
        if choice is None or not choice.plan:
            misses = _misses(planners[0]) if choice is None else ()
            return MemoryResult(misses, memory=MemoryChange(*peaks))
        added = write(Program(steps, choice.plan), view)
        change = MemoryChange(*peaks, len(choice.plan), sum(count for _, count in choice.plan))
        return MemoryResult(_records(choice, added), memory=change)


def _smallest(planners: Sequence[Planner], weights: float) -> Choice | None:
    """The plan with the least memory among those that cost little; None where none gains enough."""
    steps, before = planners[0].whole, planners[0].before
    fixed, most = RUNTIME_BYTES + weights, MOST_SECONDS * steps.seconds
    if before.peak_bytes <= LEAST_GAIN * (fixed + before.peak_bytes):
        return None  # even no activations at all would not be enough
    found = [before]
    ladder = [choice.plan for choice in planners[0].ladder(most_seconds=most)]
    for planner in planners:
        affordable = [one for one in (planner.judged(planner.alike(plan)) for plan in ladder) if one.seconds <= most]
        if affordable:
            found += [*affordable, refine(planner, min(affordable, key=lambda one: one.peak_bytes), most)]
    least = min(choice.peak_bytes for choice in found)
    best = min((one for one in found if one.peak_bytes <= ALIKE * least), key=lambda one: one.seconds)
    return best if fixed + best.peak_bytes <= (1 - LEAST_GAIN) * (fixed + before.peak_bytes) else None


def _cheapest(planners: Sequence[Planner], weights: float, limit_bytes: float) -> Choice:
    """The plan that fits and costs least.

    Raises:
        UnsupportedError: none fits.
    """
    before, limit = planners[0].before, limit_bytes - weights
    if before.peak_bytes <= limit:
        return before
    ladder = [choice.plan for choice in planners[0].ladder()]
    tried: list[Choice] = []
    for planner in planners:
        mine = [planner.judged(planner.alike(plan)) for plan in ladder]
        if mine and not any(one.peak_bytes <= limit for one in mine):
            mine.append(refine(planner, min(mine, key=lambda one: one.peak_bytes), inf))
        tried += mine
    fitting = [choice for choice in tried if choice.peak_bytes <= limit]
    if fitting:
        return min(fitting, key=lambda one: (one.seconds, one.peak_bytes))
    least = min((before, *tried), key=lambda one: one.peak_bytes)
    total = planners[0].whole.seconds
    cost = f", at {least.seconds / total:.0%} more time" if least.plan and total else ""
    raise UnsupportedError(
        f"--max-memory {_mib(limit_bytes)} cannot be met: the smallest peak memory reached is "
        f"{_mib(weights + least.peak_bytes)} ({_mib(weights)} of it weights){cost}"
    )


def _mib(size: float) -> str:
    return f"{size / 2**20:.1f}M"


def _records(choice: Choice, added: dict[int, list[gs.Node]]) -> tuple[Record, ...]:
    """One per segment."""
    records = []
    for segment, count in choice.plan:
        nodes = [step.node for step in segment.steps]
        made = [node for old in nodes for node in added[id(old)]]
        records.append(
            Record(
                f"{count} strips",
                key(made[0]),
                nodes[0].op,
                True,
                removed=tuple(node.op for node in nodes),
                added=tuple(node.op for node in made),
                produced=tuple((node.op, key(node)) for node in made),
            )
        )
    return tuple(records)


def _misses(planner: Planner) -> tuple[Record, ...]:
    """Why nothing was done, at the node that holds the most."""
    steps = planner.whole
    at = max(range(len(steps.steps)), key=lambda i: planner.held[i], default=None)
    if at is None:
        return ()
    step = steps.steps[at]
    few = f"strips would save less than {LEAST_GAIN:.0%} of the memory or cost over {MOST_SECONDS:.0%} of the time"
    return (Record("strips", key(step.node), step.node.op, False, step.reason or few),)
