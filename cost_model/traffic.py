"""Bytes that kernels move to and from the device memory, and how a kernel's tiles overlap those transfers.

Every outside operand crosses the port once per kernel (more often where it does not fit, see `search`), except what the
schedule keeps on chip. Inside a kernel the smaller of weights and inputs is loaded whole and stays, the other operand
and the results stream past it in tiles, two copies of each: that attains the compulsory traffic with a footprint of one
operand and a few slices (MAPPING 3.3).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.memory import effective_bytes_per_s
from roofwright.cost_model.pipelining import Run
from roofwright.cost_model.timeline import KernelTiles
from roofwright.cost_model.units import Floats, Ints
from roofwright.cost_model.work import Operand
from roofwright.targets import Target

MAX_TILES = 64  # more only add set-up time: the fill and drain of the pipeline are below 2 % by then


@dataclass(frozen=True)
class Traffic:
    """Arrays over n kernels, shape (n,).

    Attributes:
        weight_bytes, input_bytes, output_bytes: moved off chip, repeats and re-fetches included.
        operands: how many tensors are loaded.
        kept_bytes: bytes of operands and results that stay on chip instead of crossing the port.
    """

    weight_bytes: Floats
    input_bytes: Floats
    output_bytes: Floats
    operands: Ints
    kept_bytes: Floats

    @property
    def total_bytes(self) -> Floats:
        """All transfers of each kernel."""
        return np.asarray(self.weight_bytes + self.input_bytes + self.output_bytes)


@dataclass(frozen=True)
class Pipeline:
    """How each of n kernels is cut into tiles along its streamed operand; arrays of shape (n,).

    Attributes:
        tiles: how many.
        weights_stay: whether the weights are the operand that is loaded whole.
        footprint_bytes: on-chip bytes while it runs.
    """

    tiles: Ints
    weights_stay: np.ndarray
    footprint_bytes: Floats


def operand_bytes(operand: Operand, target: Target) -> float:
    """Bytes of an operand as the target stores it."""
    return storage_of(operand.dtype, target).bytes(operand.elements)


def traffic(kernels: Sequence[KernelWork], target: Target, kept: Sequence[Collection[str]], factor: Floats) -> Traffic:
    """Off-chip bytes of kernels.

    Args:
        kernels: in order.
        target: decides how dtypes are stored.
        kept: for every kernel, the tensors that it finds or leaves on chip.
        factor: bytes really moved over the compulsory ones, per kernel, for the operands of its loop nest.
    """
    table = np.zeros((len(kernels), 5))
    for row, kernel, here in zip(table, kernels, kept, strict=True):
        for operand in kernel.reads:
            size = operand_bytes(operand, target)
            if operand.name in here:
                row[4] += size
            else:
                row[0 if operand.constant else 1] += size
                row[3] += 1
        for operand in kernel.writes:
            row[4 if operand.name in here else 2] += operand_bytes(operand, target)
    return Traffic(table[:, 0] * factor, table[:, 1] * factor, table[:, 2], table[:, 3].astype(np.int64), table[:, 4])


def pipeline(
    moved: Traffic, local_bytes: Floats, extents: tuple[Ints, Ints], busy_s: Floats, target: Target
) -> Pipeline:
    """Cut kernels into tiles: the power of two up to `MAX_TILES` (and the extent there is) that makes each shortest.

    The length compared is that of identical tiles on a shared port with double buffering, the lower end of MAPPING
    section 6's interval, first + max(n (L + Y), L + n X + Y), set-up included. A scratchpad that would overflow gets
    more tiles; where even the operand that stays is too large, `tight` searches a tiling that moves more.

    Args:
        moved: off-chip bytes.
        local_bytes: bytes that the kernel holds on chip whatever its tiles (operands that others left there).
        extents: (rows, output channels) of each kernel: what can be cut when the weights stay, and when they stream.
        busy_s: compute time of each kernel.
        target: the machine.
    """
    memory, apart = target.device_memory, not holds_weights(target)
    rate = effective_bytes_per_s(memory)
    stay = (moved.weight_bytes <= moved.input_bytes) & (not apart)
    extent = np.maximum(np.where(stay, *extents), 1)
    whole = np.where(stay, moved.weight_bytes, moved.input_bytes)
    streamed = np.where(stay, moved.input_bytes, moved.weight_bytes)
    counts = 2 ** np.arange(int(np.log2(MAX_TILES)) + 1, dtype=np.int64)[:, None]
    load = streamed / rate / counts + memory.setup_s * (streamed > 0)
    store = moved.output_bytes / rate / counts + memory.setup_s * (moved.output_bytes > 0)
    length = whole / rate + np.maximum(counts * (load + store), load + busy_s + store)
    wanted = counts[np.argmin(np.where(counts <= extent, length, np.inf), axis=0), 0]
    passing = moved.output_bytes + (0.0 if apart else streamed)
    wanted = np.minimum(np.maximum(wanted, _fitting(passing, local_bytes + whole, target)), extent)
    tiles = -(-extent // -(-extent // wanted))
    return Pipeline(tiles, stay, local_bytes + whole + np.minimum(2, tiles) * passing / tiles)


def holds_weights(target: Target) -> bool:
    """Whether weights may lie in the on-chip memory; where not, they stream past it into the unit."""
    return target.on_chip is None or "weights" in target.on_chip.holds


def _fitting(passing: Floats, fixed: Floats, target: Target) -> Ints:
    """Tiles needed so that two copies of every slice fit beside what is fixed; 1 in a cache, or where nothing helps."""
    if target.on_chip is None or target.on_chip.managed == "cache":
        return np.ones(len(passing), np.int64)
    free = target.on_chip.capacity_bytes - fixed
    return np.where(free > 0, np.ceil(2 * passing / np.maximum(free, 1.0)), 1.0).astype(np.int64)


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
    cache = target.on_chip is None or target.on_chip.managed == "cache"
    transfers = (moved.weight_bytes / rate, moved.input_bytes / rate, moved.output_bytes / rate)
    columns = (*transfers, feed.busy_s, cut.tiles, cut.weights_stay, moved.weight_bytes, feed.spare_bytes)
    rows = zip(zip(*(c.tolist() for c in columns), strict=True), feed.engines, feed.serial, strict=True)
    made = []
    for (weights, inputs, store, busy, tiles, stay, size, spare), engine, serial in rows:
        if cache:
            made.append(KernelTiles((Run(1, weights + inputs, busy, store),), engine, fluid=not serial))
            continue
        ahead = tiles if stay or not size else min(tiles, 2 + int(spare * tiles / size))
        ahead = ahead if holds_weights(target) else 0
        runs = _runs(weights, inputs, store, busy, tiles, stay, ahead, setup_s)
        early = size if stay else size * ahead / tiles
        made.append(KernelTiles(runs, engine, early_bytes=early, spare_bytes=spare))
    return made


def _runs(
    weights: float, inputs: float, store: float, busy: float, tiles: int, stay: bool, ahead: int, setup_s: float
) -> tuple[Run, ...]:
    """Tiles of one kernel: the first also waits for what stays; the first `ahead` may load their weights early."""
    first, stream = (weights, inputs) if stay else (inputs, weights)
    load = stream / tiles + (setup_s if stream else 0.0)
    plain = Run(tiles, load, busy / tiles, store / tiles + (setup_s if store else 0.0))
    even = plain if stay or not ahead else replace(plain, early_s=stream / tiles)
    head = replace(even, count=1, load_s=load + first + (setup_s if first else 0.0))
    head = replace(head, early_s=first) if stay else head
    rest = (replace(even, count=ahead - 1), replace(plain, count=tiles - max(ahead, 1)))
    return (head, *(run for run in rest if run.count > 0))
