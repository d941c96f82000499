"""Small graphs on small machines, priced and scheduled: for tests of kernels, tiles, placement and prefetch."""

from dataclasses import replace
from typing import Any

import onnx_graphsurgeon as gs

from roofwright.cost_model import Costing, GraphModel, Schedule, check_capacity
from roofwright.graph import read
from roofwright.passes.base import Context, Pass
from roofwright.passes.scheduling import Kernels, PlaceTensors, PrefetchWeights, Tiles
from roofwright.targets import Memory, Target
from tests.builders import model
from tests.cost_model.machines import cores, machine, memory, stack

ALL_EPILOGUES = ("bias", "activation", "residual", "elementwise")


def scratchpad(capacity_bytes: int, bytes_per_s: float = 1e9, *, fuses: tuple[str, ...] = ALL_EPILOGUES) -> Target:
    """32 float32 MACs and 32 float32 lanes per ns behind an explicit memory; an off-chip memory without latency."""
    memories = (memory("sram", capacity_bytes, 1e12), memory("dram", 2**33, bytes_per_s))
    return machine(cores(clock_hz=1e9), memories, replace(stack(), fuses=fuses))


def with_memory(target: Target, **changes: object) -> Target:
    """The target with other figures for its scratchpad."""
    on_chip: Memory = replace(target.memories[0], **changes)  # type: ignore[arg-type]  # test helper
    return replace(target, memories=(on_chip, *target.memories[1:]))


def modelled(text: str, **weights: Any) -> GraphModel:
    """The model of a graph given as `builders.model` takes it."""
    return GraphModel.of(read(model(text, **weights)))


def scheduled(graph: GraphModel, target: Target, *passes: Pass) -> Schedule:
    """What the scheduling passes (all four by default) make of a graph; it must fit the target after each of them."""
    ctx = Context(target=target, model=graph)
    for pass_ in passes or (Kernels(), Tiles(), PlaceTensors(), PrefetchWeights()):
        result = pass_.run(gs.Graph(), ctx)  # the context has the model
        ctx = ctx.with_schedule(result.schedule or ctx.schedule)
        assert ctx.schedule is not None
        check_capacity(ctx.schedule, target)
    assert ctx.schedule is not None
    return ctx.schedule


def costed(graph: GraphModel, target: Target, schedule: Schedule | None = None) -> Costing:
    """The costing of a schedule, or of the baseline."""
    return Costing.of(graph, target, schedule)
