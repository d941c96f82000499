"""Traffic and tiles of a schedule some of whose kernels run group of channels by group of channels."""

from collections.abc import Mapping
from dataclasses import replace

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.channel_cost import ChannelCost
from roofwright.cost_model.channel_steps import GroupPrice
from roofwright.cost_model.cutting import Grouped, Pipeline
from roofwright.cost_model.pipelining import Run
from roofwright.cost_model.traffic import Traffic
from roofwright.cost_model.units import Floats
from roofwright.targets import Target


def by_channels(
    moved: Traffic,
    cut: Pipeline,
    channels: Mapping[int, ChannelCost],
    priced: Mapping[int, GroupPrice],
    local_bytes: Floats,
    target: Target,
) -> tuple[Traffic, Pipeline]:
    """Traffic and tiles with those of kernels in groups of channels.

    Args:
        moved: off-chip bytes as if no kernel ran so.
        cut: tiles likewise.
        channels: kernel -> its groups.
        priced: kernel -> what its steps take.
        local_bytes: what each kernel holds on chip whatever its groups.
        target: the machine.
    """
    if not channels:
        return moved, cut
    weights, inputs = moved.weight_bytes.copy(), moved.input_bytes.copy()
    tiles, stay = cut.tiles.copy(), cut.weights_stay.copy()
    size, least = cut.footprint_bytes.copy(), cut.least_bytes.copy()
    grouped = {}
    for at, cost in channels.items():
        padded = padded_bytes(cost, priced[at], target)
        weights[at], inputs[at] = cost.weight_bytes + padded, cost.input_bytes
        tiles[at], stay[at] = cost.groups.count, False
        size[at] = least[at] = local_bytes[at] + cost.footprint_bytes
        grouped[at] = Grouped(cost.first_bytes, cost.last_bytes)
    changed = replace(moved, weight_bytes=weights, input_bytes=inputs)
    whole = replace(
        cut, tiles=tiles, weights_stay=stay, footprint_bytes=size, least_bytes=least, grouped={**cut.grouped, **grouped}
    )
    return changed, whole


def padded_bytes(cost: ChannelCost, price: GroupPrice, target: Target) -> float:
    """Bytes of weights fetched beyond their own: the unit fetches whole tiles where no memory holds weights."""
    more = 0.0
    for at, factor in price.fetched.items():
        right = cost.groups.stack.parts[at].work.work.reads[1]
        if right.constant and factor > 1.0:
            more += storage_of(right.dtype, target).bytes(right.elements) * (factor - 1.0)
    return more


def group_runs(
    each: Grouped,
    seconds: tuple[float, float, float, float],
    tiles: int,
    ahead: int,
    part: float,
    rate: float,
) -> tuple[Run, ...]:
    """Steps of one kernel: what is held whole comes before the first, results that add up leave after the last.

    Args:
        each: what comes first and leaves last.
        seconds: of all weights, of all other loads, of all stores, and of computation.
        tiles: groups.
        ahead: of how many groups the weights may be loaded early, `part` of them.
        part: see `ahead`.
        rate: bytes per second of the port.
    """
    weights, inputs, store, busy = seconds
    constants, others = (size / rate for size in each.first_bytes)
    last = each.last_bytes / rate
    slices, stream = max(weights - constants, 0.0) / tiles, max(inputs - others, 0.0) / tiles
    load, first = slices + stream, constants + others
    put = max(store - last, 0.0) / tiles
    early = part * slices if ahead else 0.0
    left, runs = tiles, []
    final, leaving = put + last, max(1, (put > 0) + (last > 0))
    whole = early + (constants * part if ahead else 0.0)
    coming = max(1, (first > 0) + (load > 0))
    alone = (final, whole, coming, leaving) if tiles == 1 else (put, whole, coming, 1)
    head = Run(1, load + first, busy / tiles, *alone)
    runs.append(head)
    left -= 1
    more = min(max(ahead - 1, 0), max(left - 1, 0))
    if more:
        runs.append(Run(more, load, busy / tiles, put, early))
    if left - more > 1:
        runs.append(Run(left - more - 1, load, busy / tiles, put))
    if left:
        runs.append(Run(1, load, busy / tiles, final, stores=leaving))
    return tuple(runs)
