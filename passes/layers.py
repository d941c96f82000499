"""Per-kernel rows of a report: cost, cause, lever."""

from dataclasses import dataclass

from roofwright.cost_model import CAUSES, Estimate

LEVERS = {
    "special unit": "a layer shape or precision that fills the unit",
    "parallelism": "a larger batch (--batch)",
    "memory": "fusion with its neighbours, or keeping its tensors on chip",
    "overlap": "prefetch of its weights, or more tiles",
    "input": "a smaller input, a faster link, or back-to-back requests",
    "overhead": "fewer kernels (fusion), or a larger batch (--batch)",
}


@dataclass(frozen=True)
class Layer:
    """One kernel; seconds are modelled.

    Attributes:
        name: key of its first node.
        ops: its operators in order.
        engine, algorithm: where and how the matrix part runs.
        seconds: all that it adds to the latency.
        ideal_s: its useful MACs at the special unit's peak.
        causes_s: the rest of `seconds`, by cause (those of a kernel: the link belongs to none).
        worst_cause: the cause that costs it most.
        off_chip_bytes: what it moves.
        bound_s, bound_bytes: proven lower bounds of the kernel run alone, with what is on chip where it is.
        time_ratio: `seconds` over `bound_s`.
    """

    name: str
    ops: tuple[str, ...]
    engine: str
    algorithm: str
    macs: float
    seconds: float
    ideal_s: float
    causes_s: dict[str, float]
    worst_cause: str
    off_chip_bytes: float
    bound_s: float
    bound_bytes: float
    time_ratio: float

    @property
    def lever(self) -> str:
        """What would win its worst cause back."""
        return LEVERS[self.worst_cause]


def layers(estimate: Estimate) -> tuple[Layer, ...]:
    """One row per kernel, in order of execution."""
    evaluations, prices = estimate.evaluations, estimate.prices
    causes = {name: column.tolist() for name, column in evaluations.by_kernel().items()}
    seconds = (evaluations.timeline_s + evaluations.overhead_s).tolist()
    ideal, macs = evaluations.ideal_s.tolist(), prices.macs.tolist()
    moved, least = estimate.moved.total_bytes.tolist(), estimate.moved.least_bytes.tolist()
    bound = estimate.bound.kernels.total_s.tolist()
    engines = [estimate.target.engines[e].name if e >= 0 else "none" for e in prices.engine.tolist()]
    rows = []
    for at, kernel in enumerate(estimate.kernels):
        lost = {name: causes[name][at] for name, _ in CAUSES}
        rows.append(
            Layer(
                name=kernel.key,
                ops=tuple(node.op for node in kernel.nodes),
                engine=engines[at],
                algorithm=prices.algorithm[at],
                macs=macs[at],
                seconds=seconds[at],
                ideal_s=ideal[at],
                causes_s=lost,
                worst_cause=max(lost, key=lambda name: lost[name]),
                off_chip_bytes=moved[at],
                bound_s=bound[at],
                bound_bytes=least[at],
                time_ratio=over(seconds[at], bound[at]),
            )
        )
    return tuple(rows)


def over(reached: float, bound: float) -> float:
    """How many times its bound a figure is; 1.0 where nothing has to be done."""
    return reached / bound if bound > 0 else 1.0
