"""The second scheduling pass: how every kernel is cut, for the on-chip memory and for the unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import onnx_graphsurgeon as gs

from roofwright.cost_model import Costing, GraphModel, Kernel, Loop, LoopNest, Schedule, Tiling
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.targets import Engine, Simd, Systolic, Window


@dataclass(frozen=True)
class Tiles(Pass):
    """One kernel over whole tensors --> tiles that stream through on-chip memory, each in tiles of the special unit.

    1. Explicit memory: the smaller of weights and inputs stays, the other is cut into up to 64 tiles so that loads,
       computation and stores overlap.
    2. The unit: 128 x 128 or 256 x 256 of reduction x output channels on a systolic array, the library's thread-block
       tile on a GPU, one window on a window unit, one vector (or tile register) on SIMD.

    Declines nothing. Numerics: exact (the graph is not touched).

    References:
        Jouppi et al., "In-Datacenter Performance Analysis of a Tensor Processing Unit",
        ISCA 2017, arXiv:1704.04760.
    """

    name: ClassVar[str] = "tiles"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "cut every kernel for the on-chip memory and the target's matrix unit"
    schedules: ClassVar[bool] = True

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Return the schedule with tilings; without a target or kernels there is nothing to cut."""
        if ctx.target is None or ctx.schedule is None:
            return PassResult()
        costing = Costing.of(ctx.model or GraphModel.of(graph, ctx.dims), ctx.target, ctx.schedule)
        made = tiled(ctx.schedule, costing)
        records = tuple(Record("tile", k.nodes[0].output, k.nodes[0].op, True) for k in made.kernels if k.tilings)
        return PassResult(records, made)


def tiled(schedule: Schedule, costing: Costing) -> Schedule:
    """The schedule with the tiles that `costing` priced it with."""
    pairs = zip(schedule.kernels, tilings_of(schedule, costing), strict=True)
    return replace(schedule, kernels=tuple(replace(kernel, tilings=tilings) for kernel, tilings in pairs))


def tilings_of(schedule: Schedule, costing: Costing) -> list[tuple[Tiling, ...]]:
    """The tiles of every kernel that `costing` priced it with."""
    return [_tilings(kernel, at, costing) for at, kernel in enumerate(schedule.kernels)]


def _tilings(kernel: Kernel, at: int, costing: Costing) -> tuple[Tiling, ...]:
    target, anchor = costing.target, int(costing.prices.anchor[at])
    nest = costing.kernels[at].nests[0][1] if anchor >= 0 else None
    found = [costing.tiling(at)]
    if nest is not None:
        found.append(_unit_tiling(target.engine(kernel.engine), nest, costing.prices.tile[at].tolist()))
    return tuple(tiling for tiling in found if tiling is not None and tiling.order)


def _unit_tiling(engine: Engine, nest: LoopNest, chosen: Sequence[int]) -> Tiling | None:
    """The innermost blocking: what one pass of the unit covers; `chosen` is the engine model's own (m, n, k)."""
    window, unit = nest.kernel_h * nest.kernel_w, engine.geometry
    if any(chosen):
        m, n, k = chosen
        return _clipped(engine.name, nest, {"rows": m, "out_channels": n, "in_channels": k // window})
    if isinstance(unit, Systolic):
        return _clipped(engine.name, nest, {"out_channels": unit.cols, "in_channels": unit.rows // window})
    if isinstance(unit, Window):
        return _clipped(engine.name, nest, {"rows": 1, "out_channels": unit.lanes, "in_channels": 1})
    if isinstance(unit, Simd):
        return _clipped(engine.name, nest, {"out_channels": unit.channel_granule})
    return None


def _clipped(level: str, nest: LoopNest, tile: Mapping[Loop, int]) -> Tiling:
    extents = {"rows": nest.rows, "out_channels": nest.out_channels, "in_channels": nest.in_channels}
    sizes: dict[Loop, int] = {loop: max(1, min(size, extents[loop])) for loop, size in tile.items()}
    return Tiling(level=level, order=tuple(sizes), tile=sizes)
