"""What a nest takes of a machine at least: per engine and declared lowering, engine seconds and bytes of weights.

The lowerings are those that the engine's model prices: im2col or one filter tap after another, depthwise channels
packed along the diagonal, windows, register and thread-block tiles, Winograd where declared. Each is taken at its best,
without fill, drain, shifts that others hide, partial waves or idle cores, and is linear in the rows, so that engines
may share a nest along them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model import simd, systolic, window
from roofwright.cost_model.assume import Storage
from roofwright.cost_model.matrix_unit import runs
from roofwright.cost_model.rates import WINOGRAD_SHARE
from roofwright.cost_model.simt_machine import Machine, Tile, machine
from roofwright.cost_model.units import Bools, Floats, Ints, Nests
from roofwright.cost_model.winograd import suits
from roofwright.targets import Engine, Simt, Systolic, Target, Window


@dataclass(frozen=True)
class Options:
    """Ways to run pieces of work; arrays of shape (m,), one entry per way.

    Attributes:
        piece: which piece of work.
        engine: on which engine.
        engine_s: its least seconds there.
        fetched: elements of weights that it fetches; 0 for work without weights.
    """

    piece: Ints
    engine: Ints
    engine_s: Floats
    fetched: Floats

    @classmethod
    def joined(cls, parts: "Sequence[Options]") -> "Options":
        """All ways of all parts."""
        return cls(*(np.concatenate([getattr(part, f) for part in parts]) for f in cls.__dataclass_fields__))


def nest_options(nests: Nests, storage: Sequence[Storage], classes: Sequence[str], target: Target) -> Options:
    """Every nest by every lowering on every engine that may run it; `fetched` in elements."""
    kinds, dtypes = np.array(classes, str), np.array([held.multiply for held in storage], str)
    able = np.array([np.isin(kinds, engine.runs) & runs(nests, engine) for engine in target.engines])
    able &= np.array([np.isin(dtypes, list(engine.macs_per_clock)) for engine in target.engines])
    whole = able.sum(axis=0) == 1
    empty = np.zeros(0)
    found = [Options(empty.astype(np.int64), empty.astype(np.int64), empty, empty)]
    for row, engine in enumerate(target.engines):
        for dtype in engine.macs_per_clock:
            at = np.flatnonzero(able[row] & (dtypes == dtype))
            if len(at):
                ways = _lowerings(nests.take(at), engine, target, dtype, whole[at])
                found += [_options(at, row, seconds, fetched) for seconds, fetched in ways]
    return Options.joined(found)


def _options(at: Ints, row: int, seconds: Floats, fetched: Floats) -> Options:
    can = np.isfinite(seconds)
    return Options(at[can], np.full(int(can.sum()), row), seconds[can], fetched[can])


def _lowerings(
    nests: Nests, engine: Engine, target: Target, dtype: str, whole: Bools
) -> Sequence[tuple[Floats, Floats]]:
    if isinstance(engine.geometry, Systolic):
        return systolic.lowerings(nests, engine, target, dtype, whole)
    if isinstance(engine.geometry, Simt):
        seconds = simt_floor_s(nests, machine(engine, engine.geometry, target, dtype), engine)
    elif isinstance(engine.geometry, Window):
        seconds = window.floor_s(nests, engine, target, dtype)
    else:
        seconds = simd.floor_s(nests, engine, target, dtype)
    return [(seconds, nests.repeat.astype(np.float64) * nests.depth * nests.out_channels)]


def simt_floor_s(nests: Nests, gpu: Machine, engine: Engine) -> Floats:
    """Least seconds of each nest on a GPU: the library's tiles on every multiprocessor, without partial waves.

    A tile spans whole thread-block columns and slabs; its rows count as far as they are used. Winograd's forms count
    their products alone, depthwise work the rate of the load units.
    """
    n, granule = len(nests), gpu.granule
    columns, channels = (np.ceil(c / granule) * granule for c in (nests.out_channels, nests.in_channels))
    depth = channels * nests.kernel_h * nests.kernel_w
    copies = nests.steps.astype(np.float64) * nests.repeat * nests.rows
    best = np.full(n, np.inf)
    for tiles, issue in ((gpu.tiles, gpu.issue), (gpu.conv_tiles, gpu.conv_issue)):
        for m, wide, slab in {turned for tile in tiles for turned in _turns(tile)}:
            macs = copies * np.ceil(columns / wide) * wide * np.ceil(depth / slab) * slab
            best = np.minimum(best, macs / gpu.tile_efficiency((m, wide, slab), issue))
    thin = simd.is_depthwise(nests)
    best = np.where(thin, np.minimum(best, nests.macs / gpu.lib["gpu_depthwise_issue"]), best)
    shares = [WINOGRAD_SHARE[a] for a in engine.algorithms if a in WINOGRAD_SHARE]
    issue = max(gpu.issue, gpu.conv_issue, gpu.lib["gpu_winograd_issue"])
    fewer = nests.macs * min([1.0, *shares]) / issue
    return np.asarray(np.where(suits(nests, gpu), np.minimum(best, fewer), best) / gpu.peak, np.float64)


def _turns(tile: Tile) -> tuple[Tile, Tile]:
    return tile, (tile[1], tile[0], tile[2])
