"""Which kernels find their first weights in the array when they begin.

A second plane takes weights from the moment at which the last fold of an earlier kernel starts to stream: while that
fold and its R + C - 2 cycles of drain pass, and while other engines work. R cycles are hidden there, if the weights lie
on chip by then: those that were loaded ahead (the timeline knows), and results of earlier kernels that stayed, but for
the kernel just before. The first kernel of a graph that uses an array pays.

References:
    Jouppi et al., arXiv:1704.04760 (ISCA 2017), section 2.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.model import GraphModel
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.units import Bools, Floats


def hidden_s(
    kernels: Sequence[KernelWork], prices: Prices, kept: Sequence[Collection[str]], model: GraphModel
) -> Floats:
    """How much shorter each kernel is if its first tile of constants lies on chip when it begins, shape (n,).

    Args:
        kernels: in order.
        prices: theirs.
        kept: operands that each finds on chip, or leaves there.
        model: the graph, for its memo.
    """
    if not prices.fill_s.any():
        return prices.fill_s
    same, alias = model.memo.same(tuple(kept)), model.maps.alias
    known = model.memo.once("known", (kernels, same), lambda: known_before(kernels, same, alias))
    hidden = np.where(known & (np.cumsum(prices.fill_s > 0) > 1), prices.fill_s, 0.0)
    return np.maximum(prices.busy_s, prices.inner_s) - np.maximum(prices.busy_s - hidden, prices.inner_s)


def known_before(kernels: Sequence[KernelWork], kept: Sequence[Collection[str]], alias: Mapping[str, str]) -> Bools:
    """Kernels whose products' second operands can be there while the kernel before runs, shape (n,).

    Constants can; what another kernel made where it stays on chip and the kernel just before did not make it.
    """
    made: dict[str, int] = {}
    found = np.zeros(len(kernels), bool)
    for at, kernel in enumerate(kernels):
        operands = [node.work.reads[1] for node, _ in kernel.nests if len(node.work.reads) > 1]
        names = [alias.get(operand.name, operand.name) for operand in operands if not operand.constant]
        found[at] = all(name in kept[at] and made.get(name, at) < at - 1 for name in names)
        made.update((operand.name, at) for operand in kernel.writes)
    return found
