"""The roof of a graph on a target: the proven bounds of `bounds`, fed with its kernels.

Every nest and every elementwise node is one piece of work; any engine that may run a piece may share it. Off chip only
the graph's inputs, weights and outputs must cross; where no on-chip memory holds weights, every fold of an array
fetches its whole tile.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.bounds import GraphBound, KernelBound, graph_bound, kernel_bound
from roofwright.cost_model.engines import has_lanes, lane_seconds
from roofwright.cost_model.floors import Options, nest_options
from roofwright.cost_model.graph_work import NodeWork
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.memory import effective_bytes_per_s
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.strip_maps import Maps
from roofwright.cost_model.traffic import operand_bytes
from roofwright.cost_model.turns import Pieces, turns_s
from roofwright.cost_model.units import Floats, Ints
from roofwright.targets import Target


@dataclass(frozen=True)
class Roof:
    """Lower bounds that no schedule on the target can beat.

    Attributes:
        graph: least device time of the whole graph, and why.
        kernels: least time of each kernel with what the schedule keeps on chip or loads ahead of it.
        off_chip_bytes: inputs, weights and outputs of the graph, each once.
    """

    graph: GraphBound
    kernels: KernelBound
    off_chip_bytes: float

    @property
    def total_s(self) -> float:
        """Least device time of one request, in seconds."""
        return self.graph.total_s


def roof(
    kernels: Sequence[KernelWork],
    prices: Prices,
    target: Target,
    outputs: Collection[str],
    crossing_bytes: Floats,
    maps: Maps,
) -> Roof:
    """Bounds of kernels in their order; vectorised over their pieces of work.

    Args:
        kernels: in order.
        prices: of these kernels.
        target: the machine.
        outputs: tensors whose bytes the caller reads.
        crossing_bytes: what each kernel must move itself, once: operands that are neither found on chip nor loaded
            ahead, and results that leave.
        maps: geometry of the nodes.
    """
    rate = effective_bytes_per_s(target.device_memory)
    pieces, owner, extra_bytes = _pieces(kernels, prices, target, maps)
    made = {operand.name for kernel in kernels for operand in kernel.writes}
    read: dict[str, float] = {}
    for operand in (o for k in kernels for o in k.reads if o.name not in made):
        read[operand.name] = max(read.get(operand.name, 0.0), operand_bytes(operand, target))
    final = {o.name: operand_bytes(o, target) for k in kernels for o in k.writes if o.name in outputs}
    floor_bytes, engines = sum(read.values()) + sum(final.values()), len(target.engines)
    bounds = KernelBound(kernel_bound(pieces.options, owner, engines, len(kernels)), crossing_bytes / rate)
    turn_s = turns_s(pieces, target)
    graph = graph_bound(
        pieces.options, engines, floor_bytes / rate, extra_bytes / rate, turn_s, request_s=target.stack.call_s
    )
    return Roof(graph, bounds, floor_bytes)


def _pieces(kernels: Sequence[KernelWork], prices: Prices, target: Target, maps: Maps) -> tuple[Pieces, Ints, Floats]:
    """(all pieces of work, kernel of each, bytes beyond the compulsory ones of each way): nests, then lanes."""
    nodes = [(at, node) for at, kernel in enumerate(kernels) for node in kernel.nodes]
    works = [node for _, node in nodes]
    heavy = [at for at, node in enumerate(works) for _ in node.work.nests]
    light = [at for at, node in enumerate(works) if has_lanes(node)]
    storage = [storage_of(works[at].work.reads[0].dtype, target) for at in heavy]
    matrix = nest_options(prices.nests, storage, [works[at].work.kind for at in heavy], target)
    weights = np.array([_weight_bytes(works[at], target) for at in heavy], np.float64)
    nests, copies = prices.nests, prices.copies
    once = nests.repeat.astype(np.float64) * nests.depth * nests.out_channels
    extra = np.maximum(matrix.fetched / once[matrix.piece] - 1.0, 0.0) * weights[matrix.piece]
    matrix = replace(matrix, engine_s=matrix.engine_s * copies[matrix.piece])
    vector = np.stack([lane_seconds([works[at] for at in light], engine, target) for engine in target.engines], axis=1)
    piece, engine = np.nonzero(np.isfinite(vector))
    beside = Options(piece + len(heavy), engine, vector[piece, engine], np.zeros(len(piece)))
    place = np.array([*heavy, *light], np.int64)
    made = Pieces(works, maps, nests, place, Options.joined([matrix, beside]), weights)
    return made, np.array([at for at, _ in nodes], np.int64)[place], np.concatenate([extra, beside.fetched])


def _weight_bytes(node: NodeWork, target: Target) -> float:
    """Bytes of a node's weights; 0 where its second operand was computed."""
    constant = len(node.work.nests) == 1 and len(node.work.reads) > 1 and node.work.reads[1].constant
    return operand_bytes(node.work.reads[1], target) if constant else 0.0
