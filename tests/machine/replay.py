"""A second timeline: every tile of a kernel by itself, its events written down, to hold the cost model's against."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from roofwright.cost_model.ahead import KernelTiles

_SLACK = 1e-12
_LOOKAHEADS = (1, 2, 3)


@dataclass(frozen=True)
class Event:
    """One stage of one tile, in seconds from the start of its kernel."""

    start_s: float
    end_s: float


@dataclass(frozen=True)
class Replay:
    """Loads, computations and stores of a kernel's tiles."""

    loads: list[Event]
    computes: list[Event]
    stores: list[Event]

    @property
    def total_s(self) -> float:
        """End of the last event."""
        return max((event.end_s for event in (*self.loads, *self.computes, *self.stores)), default=0.0)

    def check(self, in_buffers: int, out_buffers: int) -> None:
        """No tile runs before its load ends, none takes a buffer in use, and the port does one thing at a time."""
        for tile, compute in enumerate(self.computes):
            assert compute.start_s >= self.loads[tile].end_s - _SLACK
            assert self.stores[tile].start_s >= compute.end_s - _SLACK
            if tile >= in_buffers:
                assert self.loads[tile].start_s >= self.computes[tile - in_buffers].end_s - _SLACK
            if tile >= out_buffers:
                assert compute.start_s >= self.stores[tile - out_buffers].end_s - _SLACK
            if tile:
                assert compute.start_s >= self.computes[tile - 1].end_s - _SLACK
        port = sorted((e.start_s, e.end_s) for e in (*self.loads, *self.stores) if e.end_s > e.start_s)
        assert all(before[1] <= after[0] + _SLACK for before, after in pairwise(port))


def replay(kernel: KernelTiles, done_s: float, taken_s: float = 0.0) -> Replay:
    """The shortest of the port's fixed orders, with `done_s` of early loads done before.

    For `taken_s` the port stores what the kernel before left.
    """
    tiles = list(_tiles(kernel, done_s))
    orders = [_run(tiles, kernel, ahead, taken_s) for ahead in _LOOKAHEADS if ahead <= kernel.out_buffers]
    return min(orders, key=lambda order: order.total_s)


def _tiles(kernel: KernelTiles, done_s: float) -> Iterator[tuple[float, float, float]]:
    fill_s = kernel.fill_s if done_s < kernel.runs[0].early_s * (1 - _SLACK) else 0.0
    for run in kernel.runs:
        for _ in range(run.count):
            early = min(done_s, run.early_s)
            done_s -= early
            yield max(run.load_s - early, 0.0), run.compute_s + fill_s, run.store_s
            fill_s = 0.0


def _run(tiles: Sequence[tuple[float, float, float]], kernel: KernelTiles, ahead: int, taken_s: float) -> Replay:
    """Port order L0 .. L(ahead - 1), then by turns a load and the store of the tile `ahead` before it."""
    made = Replay([], [], [])
    port_s = taken_s
    for tile in range(len(tiles) + ahead):
        if tile < len(tiles):
            load, compute, _ = tiles[tile]
            free_s = made.computes[tile - kernel.in_buffers].end_s if tile >= kernel.in_buffers else 0.0
            start_s = max(port_s, free_s) if load else free_s
            made.loads.append(Event(start_s, start_s + load))
            port_s = start_s + load if load else port_s
        if tile >= ahead:
            store = tiles[tile - ahead][2]
            done_s = made.computes[tile - ahead].end_s
            start_s = max(port_s, done_s) if store else done_s
            made.stores.append(Event(start_s, start_s + store))
            port_s = start_s + store if store else port_s
        if tile < len(tiles):
            start_s = max(made.loads[tile].end_s, made.computes[tile - 1].end_s if tile else 0.0)
            if tile >= kernel.out_buffers:
                start_s = max(start_s, made.stores[tile - kernel.out_buffers].end_s)
            made.computes.append(Event(start_s, start_s + compute))
    return made
