"""The roof of a graph on a target: the proven bounds of `bounds`, fed with its kernels.

Every nest and every elementwise node is one piece of work; any engine that may run a piece may share it. Off chip, only
the graph's inputs, weights and outputs must cross.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.bounds import GraphBound, KernelBound, engine_floor_s, graph_bound, kernel_bound
from roofwright.cost_model.engines import has_lanes, lane_seconds
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.traffic import operand_bytes
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
    kernels: Sequence[KernelWork], prices: Prices, target: Target, outputs: Collection[str], crossing_bytes: Floats
) -> Roof:
    """Bounds of kernels in their order; vectorised over their pieces of work.

    Args:
        kernels: in order.
        prices: of these kernels.
        target: the machine.
        outputs: tensors whose bytes the caller reads.
        crossing_bytes: what each kernel must move itself, once: operands that are neither found on chip nor loaded
            ahead, and results that leave.
    """
    memory = target.device_memory
    pieces, owner = _pieces(kernels, prices, target)
    made = {operand.name for kernel in kernels for operand in kernel.writes}
    read: dict[str, float] = {}
    for operand in (o for k in kernels for o in k.reads if o.name not in made):
        read[operand.name] = max(read.get(operand.name, 0.0), operand_bytes(operand, target))
    final = {o.name: operand_bytes(o, target) for k in kernels for o in k.writes if o.name in outputs}
    floor_bytes = sum(read.values()) + sum(final.values())
    alone = kernel_bound(pieces, np.zeros(len(pieces)), memory.bytes_per_s).compute_s
    compute_s = np.zeros(len(kernels))
    np.maximum.at(compute_s, owner, alone)
    bounds = KernelBound(compute_s, crossing_bytes / memory.bytes_per_s)
    return Roof(graph_bound(pieces, floor_bytes, memory.bytes_per_s), bounds, floor_bytes)


def _pieces(kernels: Sequence[KernelWork], prices: Prices, target: Target) -> tuple[Floats, Ints]:
    """(seconds of piece i on engine j, kernel of piece i): nests first, then elementwise nodes."""
    nodes = [(at, node) for at, kernel in enumerate(kernels) for node in kernel.nodes]
    nests = [
        (node.work.kind, storage_of(node.work.reads[0].dtype, target).multiply)
        for _, node in nodes
        for _ in node.work.nests
    ]
    kinds, dtypes = (np.array([pair[i] for pair in nests], object) for i in (0, 1))
    matrix = np.full((len(nests), len(target.engines)), np.inf)
    for column, engine in enumerate(target.engines):
        for dtype in dict.fromkeys(dtypes.tolist()):
            at = np.flatnonzero((dtypes == dtype) & np.isin(kinds.astype(str), engine.runs))
            if len(at):
                matrix[at, column] = engine_floor_s(prices.nests.take(at), engine, dtype) * prices.copies[at]
    lanes = [(at, node) for at, node in nodes if has_lanes(node)]
    vector = [lane_seconds([node for _, node in lanes], engine, target) for engine in target.engines]
    owner = np.concatenate([prices.owner, np.array([at for at, _ in lanes], np.int64)])
    return np.concatenate([matrix, np.stack(vector, axis=1)]), owner
