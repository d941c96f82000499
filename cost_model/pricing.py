"""What kernels cost on a machine, resource by resource, before anything overlaps: arrays over kernels.

Every loop nest is priced on every engine that may run it and takes the fastest; elementwise work likewise. A kernel's
matrix and vector parts overlap when they run on different engines (an epilogue streams behind the matrix unit) and add
up when they share one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from roofwright.cost_model.assume import Storage, storage_of
from roofwright.cost_model.engines import (
    MatrixTable,
    assign,
    has_lanes,
    holds_constant,
    lane_seconds,
    matrix_table,
    node_dtype,
)
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.memo import Memo
from roofwright.cost_model.strip_cost import StripCost
from roofwright.cost_model.strip_prices import fetched_factor, in_strips, lane_factors
from roofwright.cost_model.units import Floats, Ints, Nests
from roofwright.cost_model.work import LoopNest
from roofwright.targets import Target


@dataclass(frozen=True)
class Prices:
    """Costs of `n` kernels; every array has shape (n,).

    Attributes:
        ideal_s: useful direct MACs at the peak of the special unit (T0).
        padded_s: steady-state compute with the unit's shape and ops it cannot do (T1).
        busy_s: compute at the real batch with fill, drain, shifts and partial waves (T2).
        fill_s: what of `busy_s` passes before the first row and may be hidden by earlier kernels (`systolic.ends`).
        inner_s: least time of on-chip levels that feed the engine.
        off_chip_factor: bytes the engine's own blocking really moves over the compulsory ones, 1.0 or more.
        engine: position in `target.engines` of the engine that runs the kernel; -1 where no engine can.
        algorithm: lowering of the anchor.
        tile: (m, n, k) that the engine's own blocking takes for the anchor, shape (n, 3); zeros where it has no choice.
        macs_by_dtype: multiplied dtype -> MACs.
        anchor: position of the anchor in `nests`; -1 for kernels without a nest.
        nests: all loop nests, with `owner` (kernel position) and `copies` (repeats of the node in a loop body).
        unplaced: (kernel position, reason) for kernels that no engine can run.
        state: who computes what, where engines share kernels (`shares`); None: `engine` says it.
    """

    macs: Floats
    ideal_s: Floats
    padded_s: Floats
    busy_s: Floats
    fill_s: Floats
    inner_s: Floats
    off_chip_factor: Floats
    engine: Ints
    algorithm: list[str]
    tile: Ints
    macs_by_dtype: dict[str, float]
    anchor: Ints
    nests: Nests
    owner: Ints
    copies: Floats
    unplaced: tuple[tuple[int, str], ...]
    state: Ints | None = None


def special_peak(target: Target, dtype: str) -> float:
    """MACs per second of the special unit for a dtype: its own rate, or that of the widest narrower float it has.

    fp32 on a machine whose matrix unit multiplies only fp16 is held against the fp16 rate: that is the loss the sixth
    part of the accounting ("ops the unit cannot do") is there to show.
    """
    peaks = [engine.peak_macs_per_s(dtype) for engine in target.engines]
    unit = next((e for e in target.engines if e.kind != "simd" and e.macs_per_clock), target.engines[0])
    if dtype not in unit.macs_per_clock and (dtype.startswith("float") or dtype == "bfloat16"):
        peaks += [unit.peak_macs_per_s(d) for d in ("float32", "float16", "bfloat16")]
    return max(peaks)


def price(
    kernels: Sequence[KernelWork],
    target: Target,
    floor_s: Floats,
    strips: Mapping[int, StripCost] | None = None,
    memo: Memo | None = None,
) -> Prices:
    """Price kernels; vectorised over all nests of all kernels, one call per engine and dtype.

    Args:
        kernels: what runs together.
        target: the machine.
        floor_s: what each kernel takes on any engine (its transfers), shape (n,).
        strips: kernel position -> its strips, where it runs in such.
        memo: of the same kernels before.
    """
    count, strips, memo = len(kernels), strips or {}, memo or Memo()
    owner, copies, storage, classes, stacked, whole = memo.once(
        "nests", (kernels, target), lambda: _nests(kernels, target)
    )
    table = in_strips(whole, owner, storage, classes, strips, target)
    anchor = np.full(count, -1, np.int64)
    anchor[owner[::-1]] = np.arange(len(owner))[::-1]  # the first nest of each kernel wins
    matrix_s, vector_s = _summed(table.length_s, owner, copies, count), _lanes(kernels, target, strips, memo)
    on, beside = assign(matrix_s, vector_s, floor_s, target.stack.handover_s)
    here = (on[owner], np.arange(len(owner)))
    able, lanes_s = np.isfinite(matrix_s[on, np.arange(count)]), vector_s[beside, np.arange(count)]
    away = (on != beside) & (anchor >= 0) & (lanes_s > 0)  # there and back, as `assign` counts it
    lanes_s = np.where(away, lanes_s + 2 * target.stack.handover_s, lanes_s)
    engine = np.where(anchor >= 0, np.where(able, on, -1), np.where(np.isfinite(lanes_s), beside, -1))
    combine = _combined(on == beside, np.where(np.isfinite(lanes_s), lanes_s, 0.0))

    def total(values: Floats) -> Floats:
        finite = np.where(np.isfinite(values), values, 0.0) * copies
        return np.asarray(np.bincount(owner, finite, minlength=count), np.float64)

    peaks = {dtype: special_peak(target, dtype) for dtype in {held.multiply for held in storage}}
    peak = np.array([peaks[held.multiply] for held in storage])
    macs = stacked.macs * copies
    factor = np.ones(count)
    np.maximum.at(factor, owner, table.factor[here])
    factor = fetched_factor(factor, owner, table.factor[here], kernels, strips)
    return Prices(
        macs=total(stacked.macs),
        ideal_s=total(np.divide(stacked.macs, peak, out=np.zeros_like(macs), where=peak > 0)),
        padded_s=combine(total(table.padded_s[here])),
        busy_s=combine(total(table.busy_s[here])),
        fill_s=combine(total(table.busy_s[here])) - combine(total(table.busy_s[here] - table.fill_s[here])),
        inner_s=total(table.inner_s[here]),
        off_chip_factor=factor,
        engine=engine,
        algorithm=[str(table.algorithm[on[k], a]) if a >= 0 else "" for k, a in enumerate(anchor.tolist())],
        tile=table.tile[on, anchor] * (anchor >= 0)[:, None] if len(owner) else np.zeros((count, 3), np.int64),
        macs_by_dtype=_by_dtype(macs, storage),
        anchor=anchor,
        nests=stacked,
        owner=owner,
        copies=copies,
        unplaced=tuple(_unplaced(kernels, anchor, able, np.isfinite(lanes_s), target)),
    )


def _nests(
    kernels: Sequence[KernelWork], target: Target
) -> tuple[Ints, Floats, list[Storage], list[str], Nests, MatrixTable]:
    """All nests: owner, copies, dtype and class of each, side by side, and what each costs on every engine.

    Constant weights of a kernel's second and further products are shifted in behind the product before.
    """
    nests, owner, copies, storage, classes = _flatten(kernels, target)
    stacked = Nests.of(nests)
    table = matrix_table(stacked, storage, classes, target)
    again = np.append(False, owner[1:] == owner[:-1])[: len(owner)]
    again &= np.array([holds_constant(node) for kernel in kernels for node, _ in kernel.nests], bool)
    busy_s = np.where(again, table.busy_s - table.fill_s, table.busy_s)
    table = replace(table, busy_s=busy_s, fill_s=np.where(again, 0.0, table.fill_s))
    return owner, copies, storage, classes, stacked, table


def _summed(values: Floats, owner: Ints, copies: Floats, count: int) -> Floats:
    """Per kernel and engine, the sum over its nests; shape (engines, count)."""
    out = np.zeros((len(values), count))
    for row, priced in zip(out, values * copies, strict=True):
        np.add.at(row, owner, priced)
    return out


def _lanes(kernels: Sequence[KernelWork], target: Target, strips: Mapping[int, StripCost], memo: Memo) -> Floats:
    """Elementwise seconds of every kernel on every engine, shape (engines, kernels).

    A kernel without such work takes no time on engines with lanes, and is kept off those without.
    """
    factors = lane_factors(kernels, strips)
    if all(factor == 1.0 for each in factors for factor in each):
        return memo.once("lanes", (kernels, target), lambda: _lanes_times(kernels, target, factors))
    return _lanes_times(kernels, target, factors)


def _lanes_times(kernels: Sequence[KernelWork], target: Target, factors: Sequence[Sequence[float]]) -> Floats:
    """The same, with each node's work so many times its own."""
    found = [
        (p, node, factor)
        for p, kernel in enumerate(kernels)
        for node, factor in zip(kernel.nodes, factors[p], strict=True)
        if has_lanes(node)
    ]
    parts, owner = [node for _, node, _ in found], np.array([p for p, *_ in found], np.int64)
    again = np.array([factor for *_, factor in found], np.float64)
    rows = []
    for engine in target.engines:
        sums = np.zeros(len(kernels))
        np.add.at(sums, owner, lane_seconds(parts, engine, target) * again)
        bare = np.array([k.nodes[0].work.nest is None and not engine.lanes_per_clock for k in kernels], bool)
        rows.append(np.where(bare, np.inf, sums))
    return np.stack(rows)


def _unplaced(
    kernels: Sequence[KernelWork], anchor: Ints, able: NDArray[np.bool_], has: NDArray[np.bool_], target: Target
) -> Iterator[tuple[int, str]]:
    for at, kernel in enumerate(kernels):
        lead = kernel.nodes[0]
        if anchor[at] >= 0 and not able[at]:
            held = storage_of(node_dtype(lead), target)
            yield at, f"no engine of {target.name} multiplies {held.multiply} in {lead.work.kind} work"
        elif not has[at]:
            yield at, f"no engine of {target.name} runs {lead.op} of {node_dtype(lead)}"


def _flatten(
    kernels: Sequence[KernelWork], target: Target
) -> tuple[list[LoopNest], Ints, Floats, list[Storage], list[str]]:
    nests, owner, copies, storage = [], [], [], []
    classes: list[str] = []
    for position, kernel in enumerate(kernels):
        for node, nest in kernel.nests:
            nests.append(nest)
            owner.append(position)
            copies.append(node.work.repeat)
            storage.append(storage_of(node.work.reads[0].dtype, target))
            classes.append(node.work.kind)
    return nests, np.array(owner, np.int64), np.array(copies, np.float64), storage, classes


def _by_dtype(macs: Floats, storage: Sequence[Storage]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for count, held in zip(macs.tolist(), storage, strict=True):
        sums[held.multiply] = sums.get(held.multiply, 0.0) + count
    return sums


def _combined(same: NDArray[np.bool_], vector_s: Floats) -> Callable[[Floats], Floats]:
    return lambda matrix_s: np.where(same, matrix_s + vector_s, np.maximum(matrix_s, vector_s))
