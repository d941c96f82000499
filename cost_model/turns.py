"""The bound of engines and memory that take turns: where `order` and `reach` say what must come after what, in seconds.

The largest, over a few nodes b, of

    T >= least time until all is done that b needs whole (`chain`) + (weights that any result of b meets - room) / rate

and of the least time of the chain itself, in which the weights of a segment count like its work.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roofwright.cost_model.chain import arrivals_s
from roofwright.cost_model.memory import effective_bytes_per_s
from roofwright.cost_model.pieces import Pieces
from roofwright.cost_model.reach import Meeting, met_after
from roofwright.cost_model.systolic import streamed_tiles
from roofwright.cost_model.traffic import is_cache
from roofwright.cost_model.units import Floats, Ints
from roofwright.targets import Engine, Simd, Simt, Systolic, Target

_PLACES = 6  # nodes after which a turn is looked for: those before which most is computed, and after which most loaded
_NECKS = 4  # of them through which all goes
_WIDEST_BYTES = 4  # of an element in a register
_VECTORS = 32  # registers of a core


def turns_s(pieces: Pieces, target: Target, known_s: float = 0.0) -> float:
    """Least seconds of a run in which work waits for results, and weights do.

    Args:
        pieces: the work.
        target: the machine.
        known_s: turns that cannot be longer are not looked for.
    """
    if not len(pieces.options.piece):
        return 0.0
    loads = Loads.of(pieces, target)
    places, promise_s = _places(pieces, loads)
    *arrival_s, best = arrivals_s(pieces, target, loads.whole_s, loads.room_s, places)
    for at, start_s, most_s in zip(places, arrival_s, promise_s, strict=True):
        if most_s > max(best, known_s):
            met_s = loads.seconds(met_after(pieces.works, pieces.maps, at))
            best = max(best, start_s + max(met_s - loads.room_s, 0.0))
    return best


def _places(pieces: Pieces, loads: "Loads") -> tuple[list[int], list[float]]:
    """Nodes after which a turn may be, with the most it may take: one between any two loads, the longest turns first.

    Most are nodes whose result is all that what follows has of what came before: more depends on any part of it.
    """
    if not loads.whole_s.any():
        return [], []
    left_s = loads.whole_s.sum() - np.cumsum(loads.whole_s)
    promise_s = np.cumsum(pieces.least_s) + left_s - loads.room_s
    found: dict[float, int] = {}
    for places, most in ((np.flatnonzero(pieces.necks), _NECKS), (np.arange(len(left_s)), _PLACES)):
        for at in places[np.argsort(-promise_s[places], kind="stable")].tolist():
            if len(found) < most and left_s[at] > loads.room_s and pieces.maps.step(pieces.works[at], "planes"):
                found.setdefault(float(left_s[at]), at)
    return list(found.values()), promise_s[list(found.values())].tolist()


@dataclass(frozen=True)
class Loads:
    """Weights as the port sees them.

    Attributes:
        pieces: the work.
        rate: bytes per second of the port.
        arrays: those that fetch whole tiles for every fold, where all that may run a nest do.
        nest: position of a node -> its nest, for nodes with weights; of several with the same weights the first.
        whole_s: the port's seconds for all weights of each node, once; shape (nodes,).
        room_s: seconds of weights that lie on the chip at a time.
    """

    pieces: Pieces
    rate: float
    arrays: Sequence[Systolic]
    nest: dict[int, int]
    whole_s: Floats
    room_s: float

    @classmethod
    def of(cls, pieces: Pieces, target: Target) -> "Loads":
        """Look at every node."""
        rate, nodes = effective_bytes_per_s(target.device_memory), pieces.node[: len(pieces.nests)]
        placed = np.zeros(len(pieces.node), bool)
        placed[pieces.options.piece] = True
        usable = (pieces.weight_bytes > 0) & placed[: len(nodes)] & (not is_cache(target))
        names = {pieces.weight_name(nodes[at]): at for at in np.flatnonzero(usable)[::-1].tolist()}
        loaded = np.array(sorted(names.values()), np.int64)
        room_s = weight_room_bytes(target) / rate
        found = cls(pieces, rate, _arrays(target), {}, np.zeros(len(pieces.works)), room_s)
        found.nest.update(zip(nodes[loaded].tolist(), loaded.tolist(), strict=True))
        nests = pieces.nests.take(loaded)
        taps, channels = nests.kernel_h * nests.kernel_w, nests.in_channels * nests.repeat
        found.whole_s[nodes[loaded]] = found._bytes(loaded, taps, channels) / rate
        return found

    def seconds(self, met: Sequence[Meeting]) -> float:
        """The port's seconds for what is met of the weights of some nodes; of one node, the most."""
        rows = [(self.nest[m.node], m.taps, m.channels) for m in met if m.node in self.nest]
        at, taps, channels = np.array(rows, np.int64).reshape(-1, 3).T
        most = np.zeros(len(self.pieces.nests))
        np.maximum.at(most, at, self._bytes(at, taps, channels))
        return float(most.sum()) / self.rate

    def _bytes(self, at: Ints, taps: Ints, channels: Ints) -> Floats:
        """Bytes of so many taps and input channels of some nests: those weights alone, or the tiles that hold them."""
        nests = self.pieces.nests.take(at)
        each = self.pieces.weight_bytes[at] / (nests.repeat * nests.depth * nests.out_channels)
        least = taps * np.minimum(channels, nests.in_channels * nests.repeat) * nests.out_channels * each
        if not self.arrays:
            return np.asarray(least, np.float64)
        tiles = [streamed_tiles(nests, taps, channels, a) * (a.rows * a.cols) for a in self.arrays]
        return np.asarray(np.maximum(least, np.min(tiles, axis=0) * each), np.float64)


def _arrays(target: Target) -> Sequence[Systolic]:
    """The arrays, where weights stream past the chip and nothing else multiplies."""
    units = [engine.geometry for engine in target.engines if engine.macs_per_clock]
    arrays = [unit for unit in units if isinstance(unit, Systolic) and unit.dataflow == "weight_stationary"]
    held = any("weights" in memory.holds for memory in target.memories[:-1])
    return arrays if len(arrays) == len(units) and not held else []


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
