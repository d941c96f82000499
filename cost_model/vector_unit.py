"""Time of elementwise, special-function, reduction and pooling work on an engine's lanes.

Lane operations and transcendentals share the issue slots of an engine, so their times add. Copies of an engine share
the work evenly: its elements are many and independent.
"""

from typing import Any

import numpy as np

from roofwright.cost_model.units import Floats
from roofwright.targets import Engine


def seconds(lane_ops: Any, special_ops: Any, engine: Engine, dtype: str) -> Floats:
    """Seconds of `lane_ops` elementwise and `special_ops` transcendental operations, broadcast against each other.

    Infinite where the engine has no lanes for the dtype, or is asked for special functions that it does not have.
    """
    lanes, specials = np.broadcast_arrays(np.asarray(lane_ops, np.float64), np.asarray(special_ops, np.float64))
    total = _at_rate(lanes, engine.lanes_per_clock.get(dtype)) + _at_rate(specials, engine.special_per_clock)
    return np.asarray(total / (engine.count * engine.clock_hz), np.float64)


def _at_rate(operations: Floats, per_clock: float | None) -> Floats:
    """Clocks of so many operations; none take none, whatever the rate."""
    if not per_clock:
        return np.where(operations > 0, np.inf, 0.0)
    return np.asarray(operations / per_clock, np.float64)
