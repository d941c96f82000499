"""The roof of a graph on a target: the proven bounds of `bounds`, fed with its kernels.

Every nest and every elementwise node is one piece of work; any engine that may run a piece may share it. Off chip only
the graph's inputs, weights and outputs must cross; where no on-chip memory holds weights, every fold of an array
fetches its whole tile.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from roofwright.cost_model.bounds import GraphBound, KernelBound, graph_bound, kernel_bound
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.memory import effective_bytes_per_s
from roofwright.cost_model.pieces import Pieces
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.strip_maps import Maps
from roofwright.cost_model.traffic import operand_bytes
from roofwright.cost_model.turns import turns_s
from roofwright.cost_model.units import Floats
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
    pieces = Pieces.of(kernels, prices, target, maps)
    made = {operand.name for kernel in kernels for operand in kernel.writes}
    read: dict[str, float] = {}
    for operand in (o for k in kernels for o in k.reads if o.name not in made):
        read[operand.name] = max(read.get(operand.name, 0.0), operand_bytes(operand, target))
    final = {o.name: operand_bytes(o, target) for k in kernels for o in k.writes if o.name in outputs}
    floor_bytes, engines = sum(read.values()) + sum(final.values()), len(target.engines)
    ports = target.device_memory.ports
    port_bytes = sum(read.values()) if ports > 1 else floor_bytes  # results leave on a way of their own
    crossing_s = crossing_bytes / rate / ports
    bounds = KernelBound(kernel_bound(pieces.options, pieces.owner, engines, len(kernels)), crossing_s)
    extra_s, call_s = pieces.extra_bytes / rate, target.stack.call_s
    graph = graph_bound(pieces.options, engines, port_bytes / rate, extra_s, request_s=call_s)
    known_s = max(graph.compute_s, graph.memory_s, graph.shared_s)
    graph = replace(graph, turns_s=turns_s(pieces, target, known_s))
    return Roof(graph, bounds, floor_bytes)
