"""Cycles of a GEMM or convolution on a systolic array: closed forms, exact integers, vectorised.

One *fold* is one filling of the R x C array. With double buffering off a fold is (weight-stationary)

    R   cycles to shift the weights in
    T   rows streamed past them
    R-1 input skew (row r starts r cycles late) and C-1 output drain

and folds are strictly serial, so `folds * (2R + C + T - 2) - 1`; the output-stationary form has no weight shift,
`folds * (R + C + T - 2) - 1`. These equal SCALE-Sim 3.0.0 integer for integer; its "-1" is the index of the last
cycle rather than a count. Which dimension goes where, for C[M,N] = A[M,K] B[K,N]:

    dataflow            rows  columns  time T
    weight_stationary   K     N        M
    input_stationary    K     M        N
    output_stationary   M     N        K

A second plane of weights (Jouppi et al. 2017, section 2: the shift of the next tile hides behind B pipelined cycles of
this one) chains all folds of all repeats, with one first shift exposed and one skew and drain at the end:

    R + (folds - 1) * max(T, R) + T + (R + C - 2)

which is SCALE-Sim + 1 at one fold. Output-stationary arrays hide the read-out of R rows of results in the same way.

Of a product of F folds that is not alone, a weight-stationary array with two planes is busy for less (`ends`): from
the moment at which the last fold of whatever ran before starts to stream, its other plane is free, so that the first
R cycles pass behind that fold and its drain (T + R + C - 2 >= R cycles) where the weights lie ready. What follows may
stream in max(T, R) cycles after the start of the last fold if it does not need its results, and R + C - 2 cycles after
its last row if it does:

    (F - 1) * max(T, R) + T   rows streamed
    max(R - T, 0)             until another tile is in the other plane: nothing, where the array still holds it
    R + C - 2                 until the results of the last row are out

References:
    Samajdar et al., "SCALE-Sim", arXiv:1811.02883 (ISPASS 2020).
    Jouppi et al., "In-Datacenter Performance Analysis of a Tensor Processing Unit", arXiv:1704.04760 (ISCA 2017).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from roofwright.cost_model.rates import ceil_div, dtype_bytes, impossible, issue_efficiency, round_up, untiled
from roofwright.cost_model.units import Bools, Floats, Ints, Nests, UnitTime
from roofwright.targets import Engine, Systolic, Target
from roofwright.targets.spec import Dataflow

_PARTIAL_SUM_BYTES = 4


def cycles(
    m: Any,
    n: Any,
    k: Any,
    rows: Any,
    cols: Any,
    dataflow: Dataflow = "weight_stationary",
    double_buffer: bool = True,
    repeat: Any = 1,
) -> Ints:
    """Cycles of `repeat` products (m, k) x (k, n) on one rows x cols array; int64, arguments broadcast.

    Without double buffering each repeat is a run of its own (SCALE-Sim's count, `repeat` times); with it all folds are
    chained.
    """
    rows, cols, repeat = (np.asarray(a, np.int64) for a in (rows, cols, repeat))
    down, across, time = _mapped(m, n, k, dataflow)
    folds = ceil_div(down, rows) * ceil_div(across, cols)
    shift = 0 if dataflow == "output_stationary" else rows
    if not double_buffer:
        return np.asarray(repeat * (folds * (shift + rows + cols + time - 2) - 1), np.int64)
    return np.asarray(shift + (folds * repeat - 1) * np.maximum(time, rows) + time + rows + cols - 2, np.int64)


def sram_words(m: Any, n: Any, k: Any, rows: Any, cols: Any, dataflow: Dataflow) -> tuple[Ints, Ints, Ints]:
    """Words of (A read, B read, C written) between array and on-chip memory, one product, as SCALE-Sim counts them.

    An operand is fetched again for every fold along a dimension that it does not have; partial sums leave the array
    once per fold of K. (SCALE-Sim's output-stationary trace adds R + C idle slots per fold to C; they are no words.)
    """
    m, n, k = (np.asarray(a, np.int64) for a in (m, n, k))
    if dataflow == "weight_stationary":
        return m * k * ceil_div(n, cols), k * n, m * n * ceil_div(k, rows)
    if dataflow == "input_stationary":
        return m * k, k * n * ceil_div(m, cols), m * n * ceil_div(k, rows)
    return m * k * ceil_div(n, cols), k * n * ceil_div(m, rows), m * n


def smallest_batch_hiding_shift(out_h: Any, out_w: Any, rows: Any) -> Ints:
    """The smallest batch whose streamed rows cover the weight shift: ceil(R / (out_h * out_w))."""
    return ceil_div(rows, np.asarray(out_h, np.int64) * np.asarray(out_w, np.int64))


def time(nests: Nests, engine: Engine, target: Target, dtype: str) -> UnitTime:
    """Price nests on a systolic engine; each gets the cheaper of plain folds and block-diagonal packing.

    A dtype slower (or faster) than one MAC per cell and clock stretches every cycle in proportion.
    """
    array = engine.geometry
    if not isinstance(array, Systolic) or dtype not in engine.macs_per_clock:
        return impossible(len(nests))
    clock_s = _clock_s(array, engine, target, dtype)
    plain, packed = _plain(nests, array), _packed(nests, array)
    use_packed, deal = _best(plain, packed, nests, array, engine.count)
    steady = np.where(use_packed, _steady(packed, nests), _steady(plain, nests)) / engine.count
    busy = deal.cycles
    name = "im2col" if array.conv_rows == "window" else "tap_by_tap"
    names = np.where(use_packed, "pack_depthwise", np.where(nests.kernel_h * nests.kernel_w > 1, name, "direct"))
    ideal_s = nests.macs / engine.peak_macs_per_s(dtype)
    again = np.where(use_packed, _refetched(packed, nests, array, target), _refetched(plain, nests, array, target))
    inner_s = _feed_s(nests, array, target, dtype)
    found = untiled(ideal_s, steady * clock_s, np.maximum(busy, steady) * clock_s, inner_s, names)
    return replace(found, off_chip_factor=again)


@dataclass(frozen=True)
class Ends:
    """What products that follow each other on one array share of their `busy_s`; arrays of shape (n,).

    Attributes:
        fill_s: the first shift, at the start.
        wait_s: how much longer the array waits after the last row before it streams past other weights.
        drain_s: from the last row to its last result; the end of `busy_s`.
        folds: tiles of weights that pass through.
    """

    fill_s: Floats
    wait_s: Floats
    drain_s: Floats
    folds: Ints


def fill_s(engine: Engine, target: Target, dtype: str) -> float:
    """Seconds of a first shift that work before it can hide; 0 where every product waits for the one before."""
    array = engine.geometry
    if not isinstance(array, Systolic) or not _chains(array) or dtype not in engine.macs_per_clock:
        return 0.0
    return array.rows * _clock_s(array, engine, target, dtype)


def ends(nests: Nests, engine: Engine, target: Target, dtype: str) -> Ends:
    """How much of `time` goes on while the array works on what comes before and after; zeros where nothing does."""
    array = engine.geometry
    none = np.zeros(len(nests))
    if not isinstance(array, Systolic) or not _chains(array) or dtype not in engine.macs_per_clock:
        return Ends(none, none, none, none.astype(np.int64))
    clock_s = _clock_s(array, engine, target, dtype)
    deal = _best(_plain(nests, array), _packed(nests, array), nests, array, engine.count)[1]
    wait = np.maximum(array.rows - deal.time, 0)
    return Ends(none + array.rows * clock_s, wait * clock_s, none + (array.rows + array.cols - 2) * clock_s, deal.folds)


def _chains(array: Systolic) -> bool:
    return array.weight_double_buffer and array.dataflow == "weight_stationary"


def _clock_s(array: Systolic, engine: Engine, target: Target, dtype: str) -> float:
    cells = array.rows * array.cols
    return cells / engine.macs_per_clock[dtype] / engine.clock_hz / issue_efficiency(target, engine, dtype)


@dataclass(frozen=True)
class _Folds:
    """Folds of one step: `serial` must run on one array (they share partial sums), `free` may be dealt out."""

    serial: Ints
    free: Ints
    time: Ints  # T, rows streamed per fold


def lowerings(nests: Nests, engine: Engine, target: Target, dtype: str, whole: Bools) -> list[tuple[Floats, Floats]]:
    """Least (seconds on the engine, elements of weights fetched) of every lowering; inf where it does not apply.

    A fold serves one nest and takes max(rows streamed, weight shift) cycles, whatever runs before and after it, however
    it is cut into visits: the parts of a cut take longer together. Fill and drain are left out, they may overlap.

    Args:
        nests: the work.
        engine: the array.
        target: the machine, for its memories and its stack.
        dtype: what is multiplied.
        whole: nests of which no other engine may run a part of the rows, shape (n,): their last rows are padded.
    """
    array = engine.geometry
    if not isinstance(array, Systolic) or dtype not in engine.macs_per_clock:
        return []
    clock_s = array.rows * array.cols / engine.macs_per_clock[dtype] / engine.clock_hz
    clock_s /= issue_efficiency(target, engine, dtype) * engine.count
    weights = nests.repeat.astype(np.float64) * nests.depth * nests.out_channels
    found = []
    for folds, allowed in ((_plain(nests, array), True), (_packed(nests, array), _may_pack(nests, array))):
        count = folds.serial * folds.free
        padded = array.dataflow != "output_stationary"
        rows = np.where(whole & padded, round_up(folds.time, array.row_granule), folds.time)
        shifts = padded & ~((count == 1) & (nests.steps > 1))  # one tile stays for all recurrent steps
        cycles_each = np.where(shifts, np.maximum(rows, array.rows), rows)
        seconds = nests.steps.astype(np.float64) * count * cycles_each * clock_s
        fetched = weights * _refetched(folds, nests, array, target)
        found.append((np.where(allowed, seconds, np.inf), fetched))
    return found


def _mapped(m: Any, n: Any, k: Any, dataflow: Dataflow) -> tuple[Ints, Ints, Ints]:
    m, n, k = (np.asarray(a, np.int64) for a in (m, n, k))
    if dataflow == "weight_stationary":
        return k, n, m
    return (k, m, n) if dataflow == "input_stationary" else (m, n, k)


def _taps(nests: Nests, array: Systolic) -> tuple[Ints, Ints]:
    """(passes over the array, reduction per pass): the whole window at once, or one filter tap after another."""
    window = nests.kernel_h * nests.kernel_w
    if array.conv_rows == "window" or array.dataflow == "output_stationary":
        return np.ones_like(window), nests.depth
    return window, nests.in_channels


def _plain(nests: Nests, array: Systolic) -> _Folds:
    passes, depth = _taps(nests, array)
    down, across, streamed = _mapped(nests.rows, nests.out_channels, depth, array.dataflow)
    if array.dataflow == "output_stationary":
        return _Folds(passes, ceil_div(down, array.rows) * ceil_div(across, array.cols) * nests.repeat, streamed)
    return _Folds(passes * ceil_div(down, array.rows), ceil_div(across, array.cols) * nests.repeat, streamed)


def _may_pack(nests: Nests, array: Systolic) -> Bools:
    """Groups of a convolution (not the copies of a batched MatMul) share input rows, so they can share a tile."""
    convolution = (nests.kernel_h * nests.kernel_w > 1) | (nests.out_w > 1)
    fits = array.depthwise_packing and array.dataflow == "weight_stationary"
    return convolution & (nests.repeat > 1) & (_group_size(nests, array) > 1) & fits


def _group_size(nests: Nests, array: Systolic) -> Ints:
    """Groups that fit one tile block-diagonally: min(floor(R / depth), floor(C / channels)), at least 1."""
    _, depth = _taps(nests, array)
    return np.maximum(np.minimum(array.rows // depth, array.cols // nests.out_channels), 1)


def _packed(nests: Nests, array: Systolic) -> _Folds:
    passes, _ = _taps(nests, array)
    return _Folds(passes, ceil_div(nests.repeat, _group_size(nests, array)), nests.rows)


def _steady(folds: _Folds, nests: Nests) -> Floats:
    """Cycles at unbounded batch: rows streamed, no shift, skew or padding of rows."""
    return np.asarray(nests.steps.astype(np.float64) * folds.serial * folds.free * folds.time)


@dataclass(frozen=True)
class _Deal:
    """Nests on several arrays, each with a part of the rows or of the folds: cycles, folds and rows of one array."""

    cycles: Floats
    folds: Ints
    time: Ints

    def or_if(self, better: Bools, other: "_Deal") -> "_Deal":
        """The other one where it is better."""
        pairs = ((getattr(other, f), getattr(self, f)) for f in _Deal.__dataclass_fields__)
        return _Deal(*(np.where(better, there, here) for there, here in pairs))


def _best(plain: _Folds, packed: _Folds, nests: Nests, array: Systolic, count: int) -> tuple[Bools, _Deal]:
    """Which nests are packed, and the best deal of each."""
    deals = [_busy(folds, nests, array, count) for folds in (plain, packed)]
    use_packed = _may_pack(nests, array) & (deals[1].cycles < deals[0].cycles)
    return use_packed, deals[0].or_if(use_packed, deals[1])


def _busy(folds: _Folds, nests: Nests, array: Systolic, count: int) -> _Deal:
    """The best deal of one kernel over `count` arrays: some share the rows, the others the folds."""
    best = _dealt(folds, nests, array, 1, count)
    for row_ways in (d for d in range(2, count + 1) if count % d == 0):
        other = _dealt(folds, nests, array, row_ways, count // row_ways)
        best = best.or_if(other.cycles < best.cycles, other)
    return best


def _dealt(folds: _Folds, nests: Nests, array: Systolic, row_ways: int, fold_ways: int) -> _Deal:
    streamed = folds.time
    if array.dataflow == "output_stationary":
        row_ways, fold_ways = 1, row_ways * fold_ways
    else:
        streamed = round_up(ceil_div(streamed, row_ways), array.row_granule)
    free = ceil_div(folds.free, fold_ways)
    edge = array.rows + array.cols - 2
    shift = 0 if array.dataflow == "output_stationary" else array.rows
    count = folds.serial * free
    if array.weight_double_buffer:
        step = (count - 1) * np.maximum(streamed, array.rows) + streamed + edge
        return _Deal(shift + nests.steps.astype(np.float64) * step, count, streamed)
    fold = shift + streamed + edge
    resident = (count == 1) & (nests.steps > 1)  # the weights stay: only the first step shifts them
    step = np.where(resident, fold - shift, count * fold - np.minimum(nests.repeat, free))
    return _Deal(nests.steps.astype(np.float64) * step + np.where(resident, shift, 0), count, streamed)


def _refetched(folds: _Folds, nests: Nests, array: Systolic, target: Target) -> Floats:
    """Bytes of weights really fetched over the compulsory ones; more than 1 where no memory on chip holds weights.

    Every fold then fetches its whole tile: a 600 x 600 matrix costs 9 tiles of 256 x 256 (Jouppi et al. 2017, section
    7), and again for every filling of the accumulators. Only a matrix of one tile stays for all recurrent steps.
    """
    if array.dataflow != "weight_stationary" or any("weights" in m.holds for m in target.memories[:-1]):
        return np.ones(len(nests))
    tiles = (folds.serial * folds.free).astype(np.float64)
    if array.accumulator_bytes is not None:
        rows = array.accumulator_bytes // (array.cols * _PARTIAL_SUM_BYTES)
        tiles *= ceil_div(folds.time, max(rows, 1))
    fetches = np.where(tiles == 1, 1, tiles * nests.steps)
    weights = nests.repeat.astype(np.float64) * nests.depth * nests.out_channels
    return np.asarray(np.maximum(1.0, fetches * (array.rows * array.cols) / weights))


def streamed_tiles(nests: Nests, taps: Any, channels: Any, array: Systolic) -> Ints:
    """Tiles of weights that products with so many taps and input channels (of all groups) fetch at least, once each.

    A tile holds R input channels of one tap, or R of all taps' channels, by C filters of one group; packed, whole
    groups.
    """
    taps, channels = np.asarray(taps, np.int64), np.asarray(channels, np.int64)
    tap_by_tap = array.conv_rows == "channels"
    passes, down = (taps, channels) if tap_by_tap else (np.ones_like(taps), taps * channels)
    groups = ceil_div(channels, nests.in_channels)
    plain = passes * np.maximum(ceil_div(down, array.rows), groups) * ceil_div(nests.out_channels, array.cols)
    packed = passes * ceil_div(groups, _group_size(nests, array))
    return np.asarray(np.where(_may_pack(nests, array), np.minimum(plain, packed), plain), np.int64)


def _feed_s(nests: Nests, array: Systolic, target: Target, dtype: str) -> Floats:
    """Least time of the innermost on-chip memory to stream the operands into the array."""
    if len(target.memories) < 2:
        return np.zeros(len(nests))
    feed, weights, _ = sram_words(nests.rows, nests.out_channels, nests.depth, array.rows, array.cols, array.dataflow)
    stationary = {"weight_stationary": feed, "input_stationary": weights, "output_stationary": feed + weights}
    copies = nests.repeat.astype(np.float64) * nests.steps
    return copies * stationary[array.dataflow] * dtype_bytes(dtype) / target.memories[0].bytes_per_s
