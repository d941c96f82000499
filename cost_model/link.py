"""Time on the way between the host's memory and the device's.

One request sends its inputs, runs, and fetches its outputs: two transfers that cannot overlap each other. Each starts
with the link's latency. A machine that shares the host's memory has a link of infinite bandwidth and no latency.
"""

from typing import Any

import numpy as np

from roofwright.cost_model.units import Floats
from roofwright.targets import Target


def transfer_s(target: Target, bytes_moved: Any) -> Floats:
    """Seconds of one transfer in one direction, elementwise; no bytes take no time."""
    moved = np.asarray(bytes_moved, np.float64)
    return np.asarray(np.where(moved > 0, target.link.latency_s + moved / target.link.bytes_per_s, 0.0))


def request_s(target: Target, input_bytes: Any, output_bytes: Any) -> Floats:
    """Seconds that the link adds to one request: its inputs there, its outputs back."""
    return transfer_s(target, input_bytes) + transfer_s(target, output_bytes)
