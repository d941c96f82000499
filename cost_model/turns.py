"""The bound of engines and memory that take turns: where `reach` says what must come after what, in seconds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model.floors import Options
from roofwright.cost_model.graph_work import NodeWork
from roofwright.cost_model.memory import effective_bytes_per_s
from roofwright.cost_model.rates import ceil_div
from roofwright.cost_model.reach import Weights, covering, weights_after
from roofwright.cost_model.sharing import busiest
from roofwright.cost_model.strip_maps import Maps
from roofwright.cost_model.traffic import is_cache
from roofwright.cost_model.units import Floats, Ints, Nests
from roofwright.targets import Engine, Simd, Simt, Systolic, Target

_PLACES = 6  # nodes after which a turn is looked for: those before which most is computed, and after which most loaded
_WIDEST_BYTES = 4  # of an element in a register
_VECTORS = 32  # registers of a core
_PARTIAL_SUM_BYTES = 4


@dataclass(frozen=True)
class Pieces:
    """Work of a graph, and how it can be run.

    Attributes:
        works: nodes in execution order.
        maps: their geometry.
        nests: loop nests, the first pieces of `options`.
        node: position in `works` of every piece.
        options: ways to run each piece.
        weight_bytes: weights of each nest, once, shape (nests,).
    """

    works: Sequence[NodeWork]
    maps: Maps
    nests: Nests
    node: Ints
    options: Options
    weight_bytes: Floats


def turns_s(pieces: Pieces, target: Target) -> float:
    """Least seconds of a run in which weights wait for results; 0 where nothing is known to wait."""
    if is_cache(target) or not len(pieces.nests):
        return 0.0
    rate, room = effective_bytes_per_s(target.device_memory), weight_room_bytes(target)
    streamed = _weights(pieces, target)
    load_s = np.zeros(len(pieces.works))
    load_s[list(streamed)] = [weights.fetched / rate for weights in streamed.values()]
    engines = len(target.engines)
    least_s = np.full(len(pieces.node), np.inf)
    np.minimum.at(least_s, pieces.options.piece, pieces.options.engine_s)
    compute_s = np.zeros(len(pieces.works))
    np.add.at(compute_s, pieces.node, np.where(np.isfinite(least_s), least_s, 0.0))
    promise_s = np.cumsum(compute_s) + load_s.sum() - np.cumsum(load_s)
    best = 0.0
    for at in np.argsort(-promise_s, kind="stable")[:_PLACES].tolist():
        after_s = (weights_after(pieces.works, pieces.maps, at, streamed) - room) / rate
        if after_s > 0:
            best = max(best, after_s + _computing_s(pieces, covering(pieces.works, pieces.maps, at), engines))
    return best


def _computing_s(pieces: Pieces, of: np.ndarray, engines: int) -> float:
    """Least seconds of the work of some nodes."""
    options = pieces.options
    ways = np.flatnonzero(of[pieces.node][options.piece])
    ways = ways[np.argsort(options.piece[ways], kind="stable")]
    loads = np.zeros((len(ways), engines))
    loads[np.arange(len(ways)), options.engine[ways]] = options.engine_s[ways]
    return busiest(loads, options.piece[ways], np.zeros(engines))[0]


def _weights(pieces: Pieces, target: Target) -> dict[int, Weights]:
    """Position of a node -> its weights; tiles count once, however often they are fetched for further rows."""
    options, nests = pieces.options, pieces.nests
    fetched = np.full(len(pieces.node), np.inf)
    np.minimum.at(fetched, options.piece, options.fetched)
    arrays = [engine.geometry for engine in target.engines if isinstance(engine.geometry, Systolic)]
    once = nests.repeat.astype(np.float64) * nests.depth * nests.out_channels
    visits = nests.steps.astype(np.float64)
    for array in arrays:
        if array.accumulator_bytes is not None:
            visits = visits * ceil_div(nests.rows, max(array.accumulator_bytes // (array.cols * _PARTIAL_SUM_BYTES), 1))
    share = np.maximum(fetched[: len(nests)] / visits / once, 1.0)
    by_tap = all(array.conv_rows == "channels" for array in arrays)
    return {
        node: Weights(size, size * times, by_tap)
        for node, size, times in zip(pieces.node.tolist(), pieces.weight_bytes.tolist(), share.tolist(), strict=False)
        if size > 0 and np.isfinite(times)
    }


def weight_room_bytes(target: Target) -> float:
    """The most bytes of weights that lie on the chip at a time: on-chip memories that hold them, and the engines."""
    held = sum(memory.capacity_bytes for memory in target.memories[:-1] if "weights" in memory.holds)
    return held + sum(engine.count * _inside_bytes(engine) for engine in target.engines)


def _inside_bytes(engine: Engine) -> float:
    """Bytes inside one copy of an engine: planes of an array and the queue before it, registers, local memory."""
    unit = engine.geometry
    if isinstance(unit, Systolic):
        return 2 * unit.rows * unit.cols * _WIDEST_BYTES + (unit.weight_fifo_bytes or 0)
    if isinstance(unit, Simt):
        return unit.shared_bytes + unit.register_bytes
    if isinstance(unit, Simd):
        return _VECTORS * unit.vector_bits / 8
    return unit.kernel_h * unit.kernel_w * unit.lanes * _WIDEST_BYTES
