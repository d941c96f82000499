"""Compute time of kernels that run in strips: every strip's part of a nest is priced as a nest of its own.

A systolic array shifts its weights in again for every strip, and a short strip fills neither its pipeline nor a GPU:
what depth-first order costs in computation. Where engines hand over for nothing, every nest of such a kernel runs on
its fastest one; they take turns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from roofwright.cost_model.assume import Storage
from roofwright.cost_model.engines import MatrixTable, matrix_table
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.strip_cost import StripCost
from roofwright.cost_model.units import Floats, Ints, Nests
from roofwright.targets import Target

_TIMES = ("padded_s", "busy_s", "inner_s")


def in_strips(
    table: MatrixTable,
    owner: Ints,
    storage: Sequence[Storage],
    classes: Sequence[str],
    strips: Mapping[int, StripCost],
    target: Target,
) -> MatrixTable:
    """The table with the nests of kernels in `strips` priced strip by strip.

    Args:
        table: every nest, whole, on every engine.
        owner: kernel of each nest.
        storage: dtype of each nest.
        classes: class of work of each nest.
        strips: kernel -> its strips.
        target: the machine.
    """
    nests, many, of = [], [], []
    for kernel, cost in strips.items():
        mine = np.flatnonzero(owner == kernel).tolist()
        for nest, pieces in zip(mine, cost.pieces, strict=True):
            nests += [piece for piece, _ in pieces]
            many += [count for _, count in pieces]
            of += [nest] * len(pieces)
    if not nests:
        return table
    at, which = np.unique(np.array(of, np.int64), return_inverse=True)
    priced = matrix_table(Nests.of(nests), [storage[n] for n in of], [classes[n] for n in of], target)
    sums = {name: _sums(getattr(priced, name) * np.array(many), which, len(at)) for name in _TIMES}
    fetched = _sums(priced.factor * np.array(many), which, len(at)) / _strips_of(owner[at], strips)
    if not target.stack.handover_s:
        best = np.argmin(np.maximum(sums["busy_s"], sums["inner_s"]), axis=0)
        sums = {name: np.broadcast_to(values[best, np.arange(len(at))], values.shape) for name, values in sums.items()}
    sums["factor"] = fetched
    padded_s, busy_s, inner_s = (_put(getattr(table, name), at, sums[name]) for name in _TIMES)
    return replace(table, padded_s=padded_s, busy_s=busy_s, inner_s=inner_s)


def _strips_of(kernels: Ints, strips: Mapping[int, StripCost]) -> Floats:
    return np.array([strips[kernel].strips.count for kernel in kernels.tolist()], np.float64)


def fetched_factor(
    factor: Floats, owner: Ints, each: Floats, kernels: Sequence[KernelWork], strips: Mapping[int, StripCost]
) -> Floats:
    """`factor` of every kernel, where it runs in strips over all its products instead of the first alone.

    Bytes of weights fetched beyond those of each strip are those of every product; the kernel's factor is over the
    weights of the first.

    Args:
        factor: of every kernel, as if none ran in strips.
        owner: kernel of every loop nest.
        each: bytes that a loop nest fetches with every strip, over its weights.
        kernels: in order.
        strips: kernel -> its strips.
    """
    out = factor.copy()
    for kernel in strips:
        at = np.flatnonzero(owner == kernel).tolist()
        nests = [(n, node) for n, (node, _) in zip(at, kernels[kernel].nests, strict=True)]
        sizes = [(n, node.work.reads[1].elements) for n, node in nests if node.work.reads[1].constant]
        more = sum(size * (each[n] - 1.0) for n, size in sizes)
        out[kernel] = 1.0 + more / sizes[0][1] if sizes and sizes[0][0] == at[0] else factor[kernel]
    return out


def _sums(pieces: Floats, which: Ints, count: int) -> Floats:
    """Engine by engine, the sums over the pieces of each of `count` nests."""
    out = np.zeros((len(pieces), count))
    for row, values in zip(out, pieces, strict=True):
        np.add.at(row, which, values)
    return out


def _put(whole: Floats, at: Ints, columns: Floats) -> Floats:
    out = whole.copy()
    out[:, at] = columns
    return out


def lane_factors(kernels: Sequence[KernelWork], strips: Mapping[int, StripCost]) -> list[tuple[float, ...]]:
    """Per kernel and node, elementwise work over that of the whole tensors."""
    return [strips[at].lane_factors if at in strips else (1.0,) * len(k.nodes) for at, k in enumerate(kernels)]
