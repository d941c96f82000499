"""The clock that a machine can hold within its power limit.

At the burst clock a kernel draws

    P = idle + sum over dtypes of MACs/s x J/MAC + sum over levels of bytes/s x J/byte

Compute and on-chip traffic belong to the core's clock domain: their rates, and so their watts, follow the clock f.
Off-chip memory has a clock of its own: its watts stay. The sustained clock is the largest f with

    idle + off_chip + core x f / burst  <=  limit

and never below the lowest clock of the machine. Voltage is held constant, which understates what a lower clock saves.

The energies come from tables of operations: Horowitz, "Computing's energy problem (and what we can do about it)",
ISSCC 2014, doi:10.1109/ISSCC.2014.6757323; each target's file states how they were scaled.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from roofwright.cost_model.units import Floats
from roofwright.targets import Power, Target

Rates = Mapping[str, Any]


def burst_clock_hz(target: Target) -> float:
    """The fastest clock of the machine's engines, which the throttled clock is a share of."""
    return max(engine.clock_hz for engine in target.engines)


def drawn_w(target: Target, macs_per_s: Rates, bytes_per_s: Rates) -> Floats:
    """Watts at the burst clock; NaN where nothing is known of the machine's power.

    Args:
        target: the machine.
        macs_per_s: multiplied dtype -> MACs per second at the burst clock, arrays that broadcast.
        bytes_per_s: memory level -> bytes per second at the burst clock.
    """
    if target.power is None:
        return np.asarray(np.nan)
    core, off_chip = _split_w(target, target.power, macs_per_s, bytes_per_s)
    return np.asarray(target.power.idle_w + core + off_chip)


def sustained_share(target: Target, macs_per_s: Rates, bytes_per_s: Rates) -> Floats:
    """Share of the burst clock that the machine holds under rates stated at the burst clock; at most 1.

    1 where the power is not described: such a machine never throttles.
    """
    if target.power is None:
        return np.asarray(1.0)
    core, off_chip = _split_w(target, target.power, macs_per_s, bytes_per_s)
    left = target.power.limit_w - target.power.idle_w - off_chip
    share = np.divide(left, core, out=np.ones(np.broadcast(left, core).shape), where=core > 0)
    lowest = min(1.0, target.power.min_clock_hz / burst_clock_hz(target))
    return np.clip(share, lowest, 1.0)


def throttled_clock_hz(target: Target, macs_per_s: Rates, bytes_per_s: Rates) -> Floats:
    """The sustained clock under rates stated at the burst clock; the burst clock where the limit is not reached."""
    return np.asarray(burst_clock_hz(target) * sustained_share(target, macs_per_s, bytes_per_s))


def _split_w(target: Target, power: Power, macs_per_s: Rates, bytes_per_s: Rates) -> tuple[Floats, Floats]:
    """(watts that follow the core's clock, watts of the off-chip memory) at the burst clock."""
    off_name = target.device_memory.name
    core = _watts(macs_per_s, power.joule_per_mac)
    core = core + _watts({k: v for k, v in bytes_per_s.items() if k != off_name}, power.joule_per_byte)
    return core, _watts({off_name: bytes_per_s.get(off_name, 0.0)}, power.joule_per_byte)


def _watts(rates: Rates, joules: Mapping[str, float]) -> Floats:
    total: Floats = np.zeros(())
    for name, rate in rates.items():
        total = total + np.asarray(rate, np.float64) * joules[name]
    return total
