"""Compute time of kernels that run in strips: every strip's part of a nest is priced as a nest of its own.

A systolic array takes other weights for every strip, and a short strip neither hides their shift nor fills a GPU: what
depth-first order costs in computation. Where engines hand over for nothing, every nest of such a kernel runs on its
fastest one; they take turns. What an array with two planes of weights works on is one chain (`visits`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from roofwright.cost_model.assume import Storage
from roofwright.cost_model.engines import MatrixTable, array_ends, matrix_table
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.strip_cost import StripCost
from roofwright.cost_model.units import Floats, Ints, Nests
from roofwright.cost_model.visits import chains, in_turns
from roofwright.targets import Target

_TIMES = ("padded_s", "busy_s", "inner_s", "fill_s")


def in_strips(
    table: MatrixTable,
    owner: Ints,
    storage: Sequence[Storage],
    classes: Sequence[str],
    strips: Mapping[int, StripCost],
    target: Target,
    alone: bool = False,
) -> MatrixTable:
    """The table with the nests of kernels in `strips` priced strip by strip.

    Args:
        table: every nest, whole, on every engine.
        owner: kernel of each nest.
        storage: dtype of each nest.
        classes: class of work of each nest.
        strips: kernel -> its strips.
        target: the machine.
        alone: every engine as it is, even where nests go to their fastest because hand-overs cost nothing.
    """
    mine = {kernel: np.flatnonzero(owner == kernel).tolist() for kernel in strips}
    each = [(n, p) for kernel, cost in strips.items() for n, p in zip(mine[kernel], cost.pieces, strict=True)]
    of = np.array([n for n, pieces in each for _ in pieces], np.int64)
    if not len(of):
        return table
    many = np.array([count for _, pieces in each for _, count in pieces])
    at, which = np.unique(of, return_inverse=True)
    nests, held = Nests.of([nest for _, pieces in each for nest, _ in pieces]), [storage[n] for n in of]
    priced = matrix_table(nests, held, [classes[n] for n in of], target)
    sums = {name: _sums(getattr(priced, name) * many, which, len(at)) for name in _TIMES}
    best = np.argmin(np.maximum(sums["busy_s"] - sums["fill_s"], sums["inner_s"]), axis=0)
    together = alone or bool(target.stack.handover_s)
    for row in np.flatnonzero(priced.fill_s.any(axis=1)).tolist():
        ends, busy_s = array_ends(nests, held, target.engines[row], target), priced.busy_s[row]
        for kernel, cost in strips.items():
            columns = np.searchsorted(at, mine[kernel])
            here = np.flatnonzero(np.isfinite(sums["busy_s"][row, columns]) & (together | (best[columns] == row)))
            visits = chains(cost, here.tolist(), [np.flatnonzero(which == c) for c in columns[here]], busy_s, ends)
            fill_s = np.arange(len(here)) == 0
            sums["fill_s"][row, columns[here]] = fill_s = fill_s * priced.fill_s[row].max()
            sums["busy_s"][row, columns[here]] = fill_s + in_turns(visits, cost.strips.stack.last.images)
    if not together:
        sums = {name: np.broadcast_to(values[best, np.arange(len(at))], values.shape) for name, values in sums.items()}
    padded_s, busy_s, inner_s, fill_s = (_put(getattr(table, name), at, sums[name]) for name in _TIMES)
    return replace(table, padded_s=padded_s, busy_s=busy_s, inner_s=inner_s, fill_s=fill_s)


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
