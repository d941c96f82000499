"""Time of moving bytes to or from one memory level.

A stream of transfers costs

    latency                      until the first byte arrives, once: later transfers are requested ahead
    transfers x setup            programming the DMA engine (zero for caches)
    bytes / (peak x efficiency)  the stream itself
"""

from typing import Any

import numpy as np

from roofwright.cost_model.units import Floats
from roofwright.targets import Memory


def effective_bytes_per_s(memory: Memory) -> float:
    """Bandwidth that a long stream reaches."""
    return memory.bytes_per_s * memory.efficiency


def transfer_s(memory: Memory, bytes_moved: Any, transfers: Any = 1) -> Floats:
    """Seconds of streams of `bytes_moved` in `transfers` pieces, broadcast; a stream of no bytes takes none."""
    moved, pieces = np.broadcast_arrays(np.asarray(bytes_moved, np.float64), np.asarray(transfers, np.float64))
    seconds = memory.latency_s + pieces * memory.setup_s + moved / effective_bytes_per_s(memory)
    return np.asarray(np.where(moved > 0, seconds, 0.0))
