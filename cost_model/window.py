"""Time of convolutions on a unit wired for one filter window, such as the 3 x 3 unit of the Kirin 970.

The unit multiplies one whole window (kernel_h x kernel_w products, summed) per lane and clock. Any other filter is
covered by whole windows: a 1 x 1 (and a GEMM, which is one) uses 1/9 of the multipliers of a 3 x 3 unit, a 5 x 5 takes
ceil(5/3)^2 = 4 windows, a 7 x 7 takes 9. A dilated filter takes the cheaper of windows over its whole extent (holes
filled with zeros) and one window per tap. Windows are fetched at output positions only, so a stride costs nothing by
itself; a depthwise filter is one window per output element with nothing to add over channels.

A lane works on one (output element, input channel) pair; pairs are dealt over lanes without gaps, and the last clock of
a layer may be partly filled. Neither the arrangement of the lanes nor the clock of this unit was ever published: the
target's file says from what its numbers are derived.
"""

from typing import Any

import numpy as np

from roofwright.cost_model.rates import ceil_div, dtype_bytes, impossible, issue_efficiency, untiled
from roofwright.cost_model.units import Floats, Ints, Nests, UnitTime
from roofwright.targets import Engine, Target, Window


def windows(nests: Nests, unit_h: Any, unit_w: Any) -> Ints:
    """Windows of unit_h x unit_w that cover one filter, shape (n,)."""
    extent_h = (nests.kernel_h - 1) * nests.dilation_h + 1
    extent_w = (nests.kernel_w - 1) * nests.dilation_w + 1
    filled = ceil_div(extent_h, unit_h) * ceil_div(extent_w, unit_w)
    return np.asarray(np.minimum(filled, nests.kernel_h * nests.kernel_w), np.int64)


def time(nests: Nests, engine: Engine, target: Target, dtype: str) -> UnitTime:
    """Price nests on a window engine."""
    unit = engine.geometry
    if not isinstance(unit, Window) or dtype not in engine.macs_per_clock:
        return impossible(len(nests))
    per_filter = windows(nests, unit.kernel_h, unit.kernel_w)
    pairs = nests.repeat.astype(np.float64) * nests.rows * nests.out_channels * nests.in_channels * per_filter
    slots = unit.kernel_h * unit.kernel_w
    lanes = engine.count * min(float(unit.lanes), engine.macs_per_clock[dtype] / slots)
    clock_s = 1 / engine.clock_hz / issue_efficiency(target, engine, dtype)
    padded_s = pairs * nests.steps * clock_s / lanes
    busy_s = np.maximum(np.ceil(pairs / lanes) * nests.steps * clock_s, padded_s)
    names = np.where(per_filter == 1, "direct", "windows")
    ideal_s = nests.macs / engine.peak_macs_per_s(dtype)
    return untiled(ideal_s, padded_s, busy_s, _feed_s(nests, target, dtype), names)


def floor_s(nests: Nests, engine: Engine, target: Target, dtype: str) -> Floats:
    """Least seconds of each nest, however it is cut: whole windows on all lanes, clock after clock."""
    return time(nests, engine, target, dtype).padded_s


def _feed_s(nests: Nests, target: Target, dtype: str) -> Floats:
    """Least time of the innermost on-chip memory: every operand once per step."""
    if len(target.memories) < 2:
        return np.zeros(len(nests))
    touched = nests.batch * nests.in_h * nests.in_w * nests.in_channels + nests.depth * nests.out_channels
    copies = nests.repeat.astype(np.float64) * nests.steps
    words = copies * (touched + nests.rows * nests.out_channels)
    return np.asarray(words * dtype_bytes(dtype) / target.memories[0].bytes_per_s)
