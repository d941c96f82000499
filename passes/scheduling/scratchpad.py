"""What the passes share that say what lies on chip."""

from dataclasses import dataclass
from typing import Self

import onnx_graphsurgeon as gs

from roofwright.cost_model import GraphModel, Schedule, estimate
from roofwright.passes.base import Context
from roofwright.targets import Memory, Target

ROUNDING = 1e-9  # relative difference below which two latencies are the same


@dataclass(frozen=True)
class Scratchpad:
    """A schedule on a machine whose on-chip memory is the schedule's to manage.

    Attributes:
        target: the machine.
        level: its on-chip memory.
        schedule: as it is.
        model: the graph.
    """

    target: Target
    level: Memory
    schedule: Schedule
    model: GraphModel

    @classmethod
    def of(cls, graph: gs.Graph, ctx: Context) -> Self | None:
        """None without a schedule, without such a memory, or where a cache decides what stays on chip."""
        level = ctx.target.on_chip if ctx.target else None
        if ctx.target is None or ctx.schedule is None or level is None or level.managed == "cache":
            return None
        return cls(ctx.target, level, ctx.schedule, ctx.model or GraphModel.of(graph, ctx.dims))

    @property
    def holds_activations(self) -> bool:
        """Whether anything but weights may lie there."""
        return "activations" in self.level.holds

    def latency_s(self, schedule: Schedule) -> float:
        """Of any schedule of the graph."""
        return estimate(self.model, self.target, schedule).latency_s
