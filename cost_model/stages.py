"""Kernels as the timeline takes them: loads, computation and stores, tile by tile."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from roofwright.cost_model.ahead import KernelTiles
from roofwright.cost_model.channel_traffic import group_runs
from roofwright.cost_model.cutting import Pipeline
from roofwright.cost_model.memory import effective_bytes_per_s
from roofwright.cost_model.pipelining import Port, Run
from roofwright.cost_model.traffic import Traffic, holds_weights, is_cache, near_seconds
from roofwright.cost_model.units import Floats
from roofwright.targets import Target


@dataclass(frozen=True)
class Feed:
    """What the timeline needs beside traffic and tiles, per kernel: arrays of shape (n,).

    Attributes:
        busy_s: compute, or the on-chip level that feeds it.
        fill_s: what of it earlier kernels hide once the first tile's weights are there.
        engines: names.
        serial: whether the engine's loads and stores add to its arithmetic instead of overlapping it.
        spare_bytes: on-chip bytes left free.
    """

    busy_s: Floats
    fill_s: Floats
    engines: Sequence[str]
    serial: Sequence[bool]
    spare_bytes: Floats


def port_of(target: Target) -> Port:
    """The way to the device memory; what a cache loads needs no set-up."""
    memory = target.device_memory
    return Port(memory.ports == 1) if is_cache(target) else Port(memory.ports == 1, memory.engines, memory.setup_s)


def kernel_tiles(moved: Traffic, cut: Pipeline, feed: Feed, target: Target) -> list[KernelTiles]:
    """Kernels as the timeline takes them: fluid where a cache manages the data, tile by tile in a scratchpad.

    Weights may be loaded ahead as far as their own buffer and the spare bytes of their kernel can hold them.
    """
    rate, cache = effective_bytes_per_s(target.device_memory), is_cache(target)
    transfers = (moved.weight_bytes / rate, moved.input_bytes / rate, moved.output_bytes / rate)
    near_s = near_seconds(moved, target)
    busy, tiles = (feed.busy_s, feed.fill_s), (cut.tiles, cut.weights_stay)
    columns = (*transfers, near_s, *busy, *tiles, moved.weight_bytes, feed.spare_bytes)
    rows = zip(zip(*(c.tolist() for c in columns), strict=True), feed.engines, feed.serial, strict=True)
    made = []
    for at, ((weights, inputs, store, near, busy, fill, tiles, stay, size, spare), engine, serial) in enumerate(rows):
        if cache:
            made.append(KernelTiles((Run(1, weights + inputs + near, busy, store),), engine, fluid=not serial))
            continue
        abreast, buffers = cut.abreast.get(at, 1), (1, 1) if serial else (2, 2)  # one: loads add to arithmetic
        if at in cut.searched or at in cut.spread:  # both operands pass through in tiles
            runs = _runs(weights + inputs, 0.0, store, busy, tiles, False, 0, abreast)
            made.append(KernelTiles(runs, engine, *buffers, spare_bytes=spare))
            continue
        room, part, own = spare / size * tiles if size else float(tiles), 1.0, inf
        if not holds_weights(target):  # what waits in the queue before the unit: whole tiles, or a part of the first
            ahead, part = min(tiles, max(int(room), int(room > 0))), min(1.0, room)
        elif stay:
            ahead = tiles
        else:
            ahead, own = min(tiles, 2 + int(room)), min(tiles, 2) / tiles * size
        ahead = 0 if serial else ahead  # nobody loads ahead for an engine that does nothing beside its own loads
        if at in cut.grouped:
            runs = group_runs(cut.grouped[at], (weights, inputs, store, busy), tiles, ahead, part, rate)
            early, fill = sum(run.count * run.early_s for run in runs) * rate, 0.0
        else:
            fill = fill if ahead else 0.0
            runs = _runs(weights, inputs, store, busy - fill, tiles, stay, ahead, abreast, part)
            early = size * ahead / tiles * part if ahead else 0.0
        rooms = {"early_bytes": early, "own_bytes": own, "spare_bytes": spare}
        made.append(KernelTiles(runs, engine, *buffers, whole=stay, fill_s=fill, **rooms))
    return made


def _runs(
    weights: float,
    inputs: float,
    store: float,
    busy: float,
    tiles: int,
    stay: bool,
    ahead: int,
    abreast: int,
    part: float = 1.0,
) -> tuple[Run, ...]:
    """Tiles of one kernel: the first also waits for what stays; the first `ahead` may load `part` of weights early."""
    first, stream = (weights, inputs) if stay else (inputs, weights)
    load, compute, put = stream / tiles, busy / tiles, store / tiles
    early = part * load if ahead and not stay else 0.0
    first_early = part * first if ahead and stay else early
    transfers = abreast * max(1, (first > 0) + (stream > 0))
    runs = [Run(1, load + first, compute, put, first_early, transfers, abreast)]
    if ahead > 1:
        runs.append(Run(ahead - 1, load, compute, put, early, abreast, abreast))
    if tiles > max(ahead, 1):
        runs.append(Run(tiles - max(ahead, 1), load, compute, put, 0.0, abreast, abreast))
    return tuple(runs)
