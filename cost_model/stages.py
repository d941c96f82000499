"""Kernels as the timeline takes them: loads, computation and stores, tile by tile."""

from collections.abc import Sequence
from dataclasses import dataclass

from roofwright.cost_model.cutting import Pipeline
from roofwright.cost_model.memory import effective_bytes_per_s
from roofwright.cost_model.pipelining import Run
from roofwright.cost_model.timeline import KernelTiles
from roofwright.cost_model.traffic import Traffic, holds_weights, is_cache, near_seconds
from roofwright.cost_model.units import Floats
from roofwright.targets import Target


@dataclass(frozen=True)
class Feed:
    """What the timeline needs beside traffic and tiles, per kernel: arrays of shape (n,).

    Attributes:
        busy_s: compute, or the on-chip level that feeds it.
        engines: names.
        serial: whether the engine's loads and stores add to its arithmetic instead of overlapping it.
        spare_bytes: on-chip bytes left free.
    """

    busy_s: Floats
    engines: Sequence[str]
    serial: Sequence[bool]
    spare_bytes: Floats


def kernel_tiles(moved: Traffic, cut: Pipeline, feed: Feed, target: Target) -> list[KernelTiles]:
    """Kernels as the timeline takes them: fluid where a cache manages the data, tile by tile in a scratchpad.

    Weights may be loaded ahead as far as their own buffer and the spare bytes of their kernel can hold them.
    """
    rate, setup_s = effective_bytes_per_s(target.device_memory), target.device_memory.setup_s
    cache = is_cache(target)
    transfers = (moved.weight_bytes / rate, moved.input_bytes / rate, moved.output_bytes / rate)
    near_s = near_seconds(moved, target)
    columns = (*transfers, near_s, feed.busy_s, cut.tiles, cut.weights_stay, moved.weight_bytes, feed.spare_bytes)
    rows = zip(zip(*(c.tolist() for c in columns), strict=True), feed.engines, feed.serial, strict=True)
    made = []
    for at, ((weights, inputs, store, near, busy, tiles, stay, size, spare), engine, serial) in enumerate(rows):
        if cache:
            made.append(KernelTiles((Run(1, weights + inputs + near, busy, store),), engine, fluid=not serial))
            continue
        if at in cut.searched or at in cut.spread:  # both operands pass through in tiles
            runs = _runs(weights + inputs, 0.0, store, busy, tiles, False, 0, setup_s)
            made.append(KernelTiles(runs, engine, spare_bytes=spare))
            continue
        room = spare / size * tiles if size else float(tiles)
        if holds_weights(target):
            ahead, part = tiles if stay else min(tiles, 2 + int(room)), 1.0
        else:  # what waits in the queue before the unit: whole tiles, or a part of the first
            ahead, part = min(tiles, max(int(room), int(room > 0))), min(1.0, room)
        runs = _runs(weights, inputs, store, busy, tiles, stay, ahead, setup_s, part)
        early = size * ahead / tiles * part if ahead else 0.0
        made.append(KernelTiles(runs, engine, early_bytes=early, spare_bytes=spare))
    return made


def _runs(
    weights: float,
    inputs: float,
    store: float,
    busy: float,
    tiles: int,
    stay: bool,
    ahead: int,
    setup_s: float,
    part: float = 1.0,
) -> tuple[Run, ...]:
    """Tiles of one kernel: the first also waits for what stays; the first `ahead` may load `part` of weights early."""
    first, stream = (weights, inputs) if stay else (inputs, weights)
    load = stream / tiles + (setup_s if stream else 0.0)
    compute, put = busy / tiles, store / tiles + (setup_s if store else 0.0)
    early = part * stream / tiles if ahead and not stay else 0.0
    first_early = part * first if ahead and stay else early
    runs = [Run(1, load + first + (setup_s if first else 0.0), compute, put, first_early)]
    if ahead > 1:
        runs.append(Run(ahead - 1, load, compute, put, early))
    if tiles > max(ahead, 1):
        runs.append(Run(tiles - max(ahead, 1), load, compute, put))
    return tuple(runs)
