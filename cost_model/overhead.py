"""What a request costs beside its kernels: launches, hand-overs, dispatch, the host link, the sustained clock."""

import numpy as np

from roofwright.cost_model import link
from roofwright.cost_model.model import GraphModel
from roofwright.cost_model.power import sustained_share
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.timeline import Timeline
from roofwright.cost_model.traffic import Traffic
from roofwright.cost_model.units import Floats
from roofwright.targets import Target


def launch_seconds(prices: Prices, target: Target) -> Floats:
    """Per kernel: its launch, and the hand-over where the kernel before ran on another engine; shape (n,)."""
    changes = np.diff(prices.engine, prepend=prices.engine[:1]) != 0
    return np.asarray(target.stack.launch_s + changes * target.stack.handover_s, np.float64)


def request_seconds(device_s: float, link_s: float, operators: int, target: Target) -> float:
    """What an eager host adds beyond the device's time, and what lifts a request to the stack's least time."""
    dispatch = max(0.0, operators * target.stack.dispatch_s - device_s)
    return dispatch + max(0.0, target.stack.dispatch_floor_s - (device_s + dispatch + link_s))


def link_seconds(model: GraphModel, target: Target) -> tuple[float, tuple[float, float]]:
    """Bytes over the host link, and the seconds of inputs and of outputs."""
    sides = model.link_bytes(target)
    there, back = (float(link.transfer_s(target, side)) for side in sides)
    return sum(sides), (there, back)


def slowdown(prices: Prices, moved: Traffic, burst: Timeline, target: Target) -> float:
    """Sustained over burst clock for the network's average rates; 1.0 where the power limit is not reached.

    A multiplied dtype without an energy of its own is charged the highest one the target states.
    """
    if target.power is None or burst.total_s <= 0:
        return 1.0
    known = target.power.joule_per_mac
    dearest = max(known, key=lambda dtype: known[dtype])
    rates: dict[str, float] = {}
    for dtype, macs in prices.macs_by_dtype.items():
        charged = dtype if dtype in known else dearest
        rates[charged] = rates.get(charged, 0.0) + macs / burst.total_s
    off_chip = float(moved.total_bytes.sum())
    levels = {level.name: off_chip + float(moved.kept_bytes.sum()) for level in target.memories}
    levels[target.device_memory.name] = off_chip
    return float(sustained_share(target, rates, {name: size / burst.total_s for name, size in levels.items()}))
