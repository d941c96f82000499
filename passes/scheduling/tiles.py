"""The second scheduling pass: how every kernel is cut, for the on-chip memory and for the unit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import onnx_graphsurgeon as gs

from roofwright.cost_model import Costing, GraphModel, Kernel, LoopNest, Tiling
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.targets import Engine, Simd, Simt, Systolic, Target, Window


@dataclass(frozen=True)
class Tiles(Pass):
    """One kernel over whole tensors --> tiles that stream through on-chip memory, each in tiles of the special unit.

    1. Explicit memory: the smaller of weights and inputs stays, the other is cut into up to 64 tiles so that loads,
       computation and stores overlap.
    2. The unit: 128 x 128 or 256 x 256 of reduction x output channels on a systolic array, the library's thread-block
       tile on a GPU, one window on a window unit, one vector (or tile register) on SIMD.

    Numerics: exact (the graph is not touched).

    References:
        MAPPING sections 3.3, 4 and 6; Jouppi et al., "In-Datacenter Performance Analysis of a Tensor Processing Unit",
        ISCA 2017, arXiv:1704.04760.
    """

    name: ClassVar[str] = "tiles"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "cut every kernel for the on-chip memory and the target's matrix unit"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Return the schedule with tilings; without a target or kernels there is nothing to cut."""
        if ctx.target is None or ctx.schedule is None:
            return PassResult()
        costing = Costing.of(ctx.model or GraphModel.of(graph, ctx.dims), ctx.target, ctx.schedule)
        kernels = tuple(
            replace(kernel, tilings=_tilings(kernel, at, costing)) for at, kernel in enumerate(ctx.schedule.kernels)
        )
        cut = sum(1 for kernel in kernels if kernel.tilings)
        records = (Record("tile", ctx.schedule.kernels[0].nodes[0].output, "kernels", cut > 0),) if kernels else ()
        return PassResult(records, replace(ctx.schedule, kernels=kernels))


def _tilings(kernel: Kernel, at: int, costing: Costing) -> tuple[Tiling, ...]:
    target, anchor = costing.target, int(costing.prices.anchor[at])
    nest = costing.kernels[at].nests[0][1] if anchor >= 0 else None
    found = [_memory_tiling(at, nest, costing)] if target.on_chip and target.on_chip.managed == "explicit" else []
    if nest is not None:
        found.append(_unit_tiling(target.engine(kernel.engine), nest, costing.prices.tile[at].tolist(), target))
    return tuple(tiling for tiling in found if tiling is not None and tiling.order)


def _memory_tiling(at: int, nest: LoopNest | None, costing: Costing) -> Tiling | None:
    on_chip, tiles = costing.target.on_chip, int(costing.cut.tiles[at])
    if on_chip is None:
        return None
    if nest is None:
        elements = max((operand.elements for operand in costing.kernels[at].writes), default=1)
        return Tiling(level=on_chip.name, order=("rows",), tile={"rows": -(-elements // tiles)})
    loop = "rows" if costing.cut.weights_stay[at] else "out_channels"
    extent = nest.rows if loop == "rows" else nest.out_channels
    tile = -(-extent * nest.repeat // tiles)
    if tile >= extent:
        return Tiling(level=on_chip.name, order=("repeat",), tile={"repeat": max(1, tile // extent)})
    if nest.repeat == 1:
        return Tiling(level=on_chip.name, order=(loop,), tile={loop: tile})  # type: ignore[dict-item, arg-type]  # one of two Loop names
    return Tiling(level=on_chip.name, order=("repeat", loop), tile={"repeat": 1, loop: tile})  # type: ignore[dict-item, arg-type]  # one of two Loop names


def _unit_tiling(engine: Engine, nest: LoopNest, chosen: list[int], target: Target) -> Tiling | None:
    """The innermost blocking: what one pass of the unit covers."""
    window, unit = nest.kernel_h * nest.kernel_w, engine.geometry
    level = target.memories[0].name
    if any(chosen):
        m, n, k = chosen
        return _clipped(engine.name, nest, {"rows": m, "out_channels": n, "in_channels": max(1, k // window)})
    if isinstance(unit, Systolic):
        return _clipped(engine.name, nest, {"out_channels": unit.cols, "in_channels": max(1, unit.rows // window)})
    if isinstance(unit, Window):
        return _clipped(engine.name, nest, {"rows": 1, "out_channels": unit.lanes, "in_channels": 1})
    if isinstance(unit, Simd):
        return _clipped(engine.name, nest, {"out_channels": unit.channel_granule})
    assert isinstance(unit, Simt), level
    return None


def _clipped(level: str, nest: LoopNest, tile: Mapping[str, int]) -> Tiling:
    extents = {"rows": nest.rows, "out_channels": nest.out_channels, "in_channels": nest.in_channels}
    sizes = {loop: min(size, extents[loop]) for loop, size in tile.items()}
    return Tiling(level=level, order=tuple(sizes), tile=sizes)  # type: ignore[arg-type]  # the keys are Loop names
