"""What a request costs beside its kernels: launches, hand-overs, dispatch, call, host link, the sustained clock."""

from collections.abc import Callable, Sequence

import numpy as np

from roofwright.cost_model import link
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.model import GraphModel
from roofwright.cost_model.power import burst_clock_hz, drawn_w
from roofwright.cost_model.pricing import Prices
from roofwright.cost_model.timeline import Timeline
from roofwright.cost_model.traffic import Traffic
from roofwright.cost_model.units import Floats
from roofwright.targets import Target


def launch_seconds(kernels: Sequence[KernelWork], prices: Prices, target: Target) -> Floats:
    """Per kernel: its launches, and the hand-over where other engines ran the kernel before it; shape (n,).

    A library without grouped convolutions (`launches_per_group` of its stack) launches one kernel per group; depthwise
    ones have kernels of their own.
    """
    state = prices.engine if prices.state is None else prices.state
    changes = np.diff(state, prepend=state[:1]) != 0
    launches = np.array([kernel.repeat for kernel in kernels], np.float64)
    if target.stack.constants.get("launches_per_group"):
        grouped = np.array([kernel.nodes[0].work.kind == "conv" for kernel in kernels], bool)[prices.owner]
        np.add.at(launches, prices.owner, grouped * (prices.nests.repeat - 1) * prices.copies)
    return np.asarray(target.stack.launch_s * launches + changes * target.stack.handover_s, np.float64)


def request_seconds(kernels: Sequence[KernelWork], prices: Prices, device_s: float, target: Target) -> float:
    """What the host adds to a request: the call itself, and the dispatch of its kernels.

    Kernels are dispatched ahead of a device of its own, and cost what that does not hide. Vector cores dispatch their
    own kernels and do nothing else meanwhile.
    """
    own = np.array([at >= 0 and target.engines[at].kind == "simd" for at in prices.engine.tolist()], bool)
    dispatch_s = np.array([kernel.repeat for kernel in kernels], np.float64) * target.stack.dispatch_s
    ahead_s = float(dispatch_s[~own].sum())
    return target.stack.call_s + float(dispatch_s[own].sum()) + max(0.0, ahead_s - device_s)


def link_seconds(model: GraphModel, target: Target) -> tuple[float, tuple[float, float]]:
    """Bytes over the host link, and the seconds of inputs and of outputs."""
    sides = model.link_bytes(target)
    there, back = (float(link.transfer_s(target, side)) for side in sides)
    return sum(sides), (there, back)


def least_seconds(prices: Prices, moved: Traffic, target: Target) -> float:
    """The shortest run whose average power is within the limit: its energy over the watts left beside the idle ones.

    Energy per operation does not depend on the clock (voltage is constant), so a run that does less never takes longer.
    A multiplied dtype without an energy of its own is charged the highest one the target states.
    """
    if target.power is None:
        return 0.0
    known = target.power.joule_per_mac
    dearest = max(known, key=lambda dtype: known[dtype])
    macs: dict[str, float] = {}
    for dtype, count in prices.macs_by_dtype.items():
        charged = dtype if dtype in known else dearest
        macs[charged] = macs.get(charged, 0.0) + count
    off_chip = float(moved.total_bytes.sum())
    levels = {level.name: off_chip + float(moved.kept_bytes.sum()) for level in target.memories}
    levels[target.device_memory.name] = off_chip
    idle_w, limit_w = target.power.idle_w, target.power.limit_w
    energy_j = float(drawn_w(target, macs, levels)) - idle_w  # of one run: counts instead of rates give joules
    return energy_j / (limit_w - idle_w) if limit_w > idle_w else np.inf


def throttled(
    prices: Prices, moved: Traffic, target: Target, run: Callable[[float], Timeline]
) -> tuple[Timeline, Floats, float]:
    """The timeline at the burst clock, what the sustained clock adds to each kernel, and sustained over burst clock.

    Between the burst clock and the machine's lowest one, the clock is as high as the power limit allows on average.

    Args:
        prices: computation.
        moved: traffic.
        target: the machine.
        run: the timeline with all computation slower by a factor.
    """
    burst, needed_s = run(1.0), least_seconds(prices, moved, target)
    none = np.zeros(len(burst.end_s))
    if target.power is None or needed_s <= burst.total_s:
        return burst, none, 1.0
    lowest = min(1.0, target.power.min_clock_hz / burst_clock_hz(target))
    slowest = run(1 / lowest)
    room_s = slowest.total_s - burst.total_s
    if room_s <= 0:
        return burst, none, 1.0
    share = min(1.0, (needed_s - burst.total_s) / room_s)
    longer_s = np.diff(slowest.end_s, prepend=0.0) - np.diff(burst.end_s, prepend=0.0)
    return burst, share * longer_s, 1 / (1 + share * (1 / lowest - 1))
