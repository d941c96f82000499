"""The six causes: an accounting identity from a chip's peak to what a network gets of it.

Seven evaluations of one model, each adding a constraint; a cause is the difference of two neighbours, so the causes and
the ideal sum to the total exactly, whatever the model says. After F. Iandola, "Not all TOPS are created equal".
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from roofwright.cost_model.units import Floats

CAUSES: tuple[tuple[str, str], ...] = (
    ("special unit", "the unit's shape, and work it cannot do"),
    ("parallelism", "fill, drain, weight shifts and partial waves at this batch"),
    ("memory", "bytes beyond what hides under the computation of a kernel"),
    ("overlap", "loads, computation and stores that wait for each other"),
    ("input", "the link from the host"),
    ("overhead", "launches, hand-overs and the sustained clock"),
)


@dataclass(frozen=True)
class Evaluations:
    """Cumulative seconds T0 ... T6 of n kernels, each of shape (n,), and the seconds that belong to no kernel.

    Attributes:
        ideal_s: useful MACs at the unit's peak (T0).
        shaped_s: + the unit's shape, and ops that it cannot do (T1).
        busy_s: + the real batch (T2).
        roofline_s: + bandwidth, each kernel at its roofline (T3).
        timeline_s: + the order of loads, computation and stores (T4).
        overhead_s: + launches, hand-overs, sustained clock (what T6 adds to T4 for each kernel).
        link_s: the host link, input and output (T5 - T4).
        request_s: overhead of the whole request (dispatch, floor).
    """

    ideal_s: Floats
    shaped_s: Floats
    busy_s: Floats
    roofline_s: Floats
    timeline_s: Floats
    overhead_s: Floats
    link_s: float
    request_s: float

    def totals(self) -> tuple[float, ...]:
        """T0 ... T6 of the network, in seconds."""
        steps = [float(np.sum(t)) for t in (self.ideal_s, self.shaped_s, self.busy_s, self.roofline_s, self.timeline_s)]
        linked = steps[-1] + self.link_s
        return (*steps, linked, linked + float(np.sum(self.overhead_s)) + self.request_s)

    def causes(self) -> dict[str, float]:
        """Seconds lost to each cause; a negative one was won back."""
        totals = self.totals()
        return {name: totals[i + 1] - totals[i] for i, (name, _) in enumerate(CAUSES)}

    def by_kernel(self) -> dict[str, Floats]:
        """Seconds that every kernel loses to each cause, shape (n,); the link belongs to none of them."""
        steps = (self.ideal_s, self.shaped_s, self.busy_s, self.roofline_s, self.timeline_s)
        parts = [later - earlier for earlier, later in pairwise(steps)]
        columns = [*parts, np.zeros_like(self.ideal_s), self.overhead_s]
        return {name: column for (name, _), column in zip(CAUSES, columns, strict=True)}
