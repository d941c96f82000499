"""What kernels cost on a machine, resource by resource, before anything overlaps: arrays over kernels.

Every loop nest is priced on every engine that may run it and takes the fastest; elementwise work likewise. A kernel's
matrix and vector parts overlap when they run on different engines (an epilogue streams behind the matrix unit) and add
up when they share one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roofwright.cost_model import vector_unit
from roofwright.cost_model.assume import Storage, storage_of
from roofwright.cost_model.graph_work import NodeWork
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.matrix_unit import unit_time
from roofwright.cost_model.units import Floats, Ints, Nests
from roofwright.cost_model.work import LoopNest
from roofwright.targets import Engine, Target


@dataclass(frozen=True)
class Prices:
    """Costs of `n` kernels; every array has shape (n,).

    Attributes:
        ideal_s: useful direct MACs at the peak of the special unit (T0).
        padded_s: steady-state compute with the unit's shape and ops it cannot do (T1).
        busy_s: compute at the real batch with fill, drain, shifts and partial waves (T2).
        inner_s: least time of on-chip levels that feed the engine.
        off_chip_factor: bytes the engine's own blocking really moves over the compulsory ones, 1.0 or more.
        engine: position in `target.engines` of the engine that runs the kernel; -1 where no engine can.
        algorithm: lowering of the anchor.
        tile: (m, n, k) that the engine's own blocking takes for the anchor, shape (n, 3); zeros where it has no choice.
        macs_by_dtype: multiplied dtype -> MACs.
        anchor: position of the anchor in `nests`; -1 for kernels without a nest.
        nests: all loop nests, with `owner` (kernel position) and `copies` (repeats of the node in a loop body).
        unplaced: (kernel position, reason) for kernels that no engine can run.
    """

    macs: Floats
    ideal_s: Floats
    padded_s: Floats
    busy_s: Floats
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


@dataclass(frozen=True)
class _Matrix:
    """Every nest at its fastest engine; arrays over nests."""

    padded_s: Floats
    busy_s: Floats
    inner_s: Floats
    factor: Floats
    engine: Ints
    algorithm: NDArray[np.object_]
    tile: Ints


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


def price(kernels: Sequence[KernelWork], target: Target) -> Prices:
    """Price kernels; vectorised over all nests of all kernels, one call per engine and dtype."""
    count = len(kernels)
    nests, owner, copies, storage, classes = _flatten(kernels, target)
    stacked = Nests.of(nests)
    matrix = _fastest(stacked, storage, classes, target)
    vector_s, vector_engine, unplaced = _vector(kernels, target)
    unplaced += _homeless(matrix, owner, storage, classes)
    peak = np.array([special_peak(target, s.multiply) for s in storage])
    macs = stacked.macs * copies

    def total(values: Floats) -> Floats:
        return np.bincount(owner, np.where(np.isfinite(values), values, 0.0) * copies, minlength=count)

    anchor = np.full(count, -1, np.int64)
    anchor[owner[::-1]] = np.arange(len(owner))[::-1]  # the first nest of each kernel wins
    engine = np.where(anchor >= 0, matrix.engine[anchor] if len(owner) else -1, vector_engine)
    combine = _combined(engine, vector_engine, vector_s)
    factor = np.ones(count)
    np.maximum.at(factor, owner, np.where(np.isfinite(matrix.factor), matrix.factor, 1.0))
    return Prices(
        macs=np.bincount(owner, macs, minlength=count),
        ideal_s=np.bincount(owner, np.divide(macs, peak, out=np.zeros_like(macs), where=peak > 0), minlength=count),
        padded_s=combine(total(matrix.padded_s)),
        busy_s=combine(total(matrix.busy_s)),
        inner_s=total(matrix.inner_s),
        off_chip_factor=factor,
        engine=engine,
        algorithm=[str(matrix.algorithm[a]) if a >= 0 else "" for a in anchor],
        tile=matrix.tile[anchor] * (anchor >= 0)[:, None] if len(owner) else np.zeros((count, 3), np.int64),
        macs_by_dtype=_by_dtype(macs, storage),
        anchor=anchor,
        nests=stacked,
        owner=owner,
        copies=copies,
        unplaced=tuple(sorted(set(unplaced))),
    )


def _flatten(
    kernels: Sequence[KernelWork], target: Target
) -> tuple[list[LoopNest], Ints, Floats, list[Storage], list[str]]:
    nests, owner, copies, storage, classes = [], [], [], [], []
    for position, kernel in enumerate(kernels):
        for node, nest in kernel.nests:
            nests.append(nest)
            owner.append(position)
            copies.append(node.work.repeat)
            storage.append(storage_of(node.work.reads[0].dtype, target))
            classes.append(node.work.kind)
    return nests, np.array(owner, np.int64), np.array(copies, np.float64), storage, classes


def _fastest(nests: Nests, storage: Sequence[Storage], classes: Sequence[str], target: Target) -> _Matrix:
    n = len(nests)
    best = _Matrix(
        np.full(n, np.inf),
        np.full(n, np.inf),
        np.zeros(n),
        np.ones(n),
        np.full(n, -1, np.int64),
        np.full(n, "", object),
        np.zeros((n, 3), np.int64),
    )
    kinds, dtypes = np.array(classes, object), np.array([s.multiply for s in storage], object)
    for dtype in dict.fromkeys(dtypes):
        for position, engine in enumerate(target.engines):
            mask = (dtypes == dtype) & np.isin(kinds.astype(str), engine.runs)
            if not mask.any() or dtype not in engine.macs_per_clock:
                continue
            _improve(best, np.flatnonzero(mask), position, engine, nests, target, dtype)
    return best


def _improve(best: _Matrix, at: Ints, position: int, engine: Engine, nests: Nests, target: Target, dtype: str) -> None:
    """Put the nests that run faster on this engine into `best`, in place."""
    times = unit_time(nests.take(at), engine, target, dtype)
    faster = np.maximum(times.busy_s, times.inner_s) < np.maximum(best.busy_s[at], best.inner_s[at])
    won = at[faster]
    best.padded_s[won], best.busy_s[won] = times.padded_s[faster], times.busy_s[faster]
    best.inner_s[won], best.factor[won] = times.inner_s[faster], times.off_chip_factor[faster]
    best.engine[won], best.algorithm[won], best.tile[won] = position, times.algorithm[faster], times.tile[faster]


def _by_dtype(macs: Floats, storage: Sequence[Storage]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for count, held in zip(macs.tolist(), storage, strict=True):
        sums[held.multiply] = sums.get(held.multiply, 0.0) + count
    return sums


def lane_dtype(dtype: str, engine: Engine) -> str:
    """The lanes a dtype uses: its own, or for integers and booleans (index arithmetic, masks) those of int32."""
    if dtype in engine.lanes_per_clock or dtype.startswith(("float", "bfloat", "complex")):
        return dtype
    return "int32" if "int32" in engine.lanes_per_clock else next(iter(engine.lanes_per_clock), dtype)


def _vector(kernels: Sequence[KernelWork], target: Target) -> tuple[Floats, Ints, list[tuple[int, str]]]:
    """Elementwise seconds and engine of every kernel; a kernel without such work takes 0 s on the first vector engine.

    All elementwise nodes of a kernel run on the one engine that is fastest for them together.
    """
    parts = [(p, node) for p, kernel in enumerate(kernels) for node in kernel.nodes if has_lanes(node)]
    owner = np.array([p for p, _ in parts], np.int64)
    times = np.stack([lane_seconds([n for _, n in parts], engine, target) for engine in target.engines])
    sums = np.stack([np.bincount(owner, row, minlength=len(kernels)) for row in times])
    equipped = [bool(engine.lanes_per_clock) for engine in target.engines]
    chosen = np.argmin(np.where(np.array(equipped)[:, None], sums, np.inf), axis=0)
    seconds = sums[chosen, np.arange(len(kernels))]
    lost = [
        (p, f"no engine of {target.name} runs {n.op} of {_dtype(n)}") for p, n in parts if not np.isfinite(seconds[p])
    ]
    chosen[~np.isfinite(seconds)] = -1
    return np.where(np.isfinite(seconds), seconds, 0.0), chosen.astype(np.int64), lost


def has_lanes(node: NodeWork) -> bool:
    """Whether a node has elementwise work."""
    return bool(node.work.lane_ops or node.work.special_ops)


def _dtype(node: NodeWork) -> str:
    operands = node.work.reads or node.work.writes
    return operands[0].dtype if operands else "float32"


def lane_seconds(nodes: Sequence[NodeWork], engine: Engine, target: Target) -> Floats:
    """Seconds of every node on one engine; inf where it cannot run it."""
    seconds = np.full(len(nodes), np.inf)
    dtypes = np.array([lane_dtype(storage_of(_dtype(n), target).storage, engine) for n in nodes], object)
    allowed = np.array([n.work.nest is not None or n.work.kind in engine.runs for n in nodes], bool)
    lanes = np.array([n.work.lane_ops * n.work.repeat for n in nodes], np.float64)
    special = np.array([n.work.special_ops * n.work.repeat for n in nodes], np.float64)
    for dtype in dict.fromkeys(dtypes):
        at = np.flatnonzero((dtypes == dtype) & allowed)
        seconds[at] = vector_unit.seconds(lanes[at], special[at], engine, dtype)
    return seconds


def _homeless(
    matrix: _Matrix, owner: Ints, storage: Sequence[Storage], classes: Sequence[str]
) -> list[tuple[int, str]]:
    return [
        (int(owner[i]), f"no engine multiplies {s.multiply} in a {classes[i]}")
        for i, s in enumerate(storage)
        if not np.isfinite(matrix.busy_s[i])
    ]


def _combined(engine: Ints, vector_engine: Ints, vector_s: Floats) -> Callable[[Floats], Floats]:
    same = engine == vector_engine
    return lambda matrix_s: np.where(same, matrix_s + vector_s, np.maximum(matrix_s, vector_s))
