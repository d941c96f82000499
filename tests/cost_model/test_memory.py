import dataclasses

import numpy as np
import pytest

from roofwright.cost_model.memory import effective_bytes_per_s, transfer_s
from tests.cost_model.machines import memory

LEVEL = dataclasses.replace(memory("dram", 1 << 30, 100e9), efficiency=0.8, latency_s=1e-6, setup_s=2e-7)


def test_a_stream_is_latency_and_setups_and_bytes_at_the_effective_bandwidth() -> None:
    assert effective_bytes_per_s(LEVEL) == 80e9
    assert transfer_s(LEVEL, 80e3) == pytest.approx(1e-6 + 2e-7 + 1e-6)
    assert transfer_s(LEVEL, 80e3, transfers=5) == pytest.approx(1e-6 + 1e-6 + 1e-6)


def test_no_bytes_take_no_time() -> None:
    assert transfer_s(LEVEL, 0) == 0.0
    assert transfer_s(LEVEL, 0, transfers=3) == 0.0


def test_sizes_and_transfers_broadcast() -> None:
    sizes = np.array([[0.0], [80e9]])
    seconds = transfer_s(LEVEL, sizes, np.array([1, 10]))
    assert seconds.shape == (2, 2)
    assert seconds[0].tolist() == [0.0, 0.0]
    assert seconds[1, 1] - seconds[1, 0] == pytest.approx(9 * LEVEL.setup_s)


def test_time_grows_with_bytes() -> None:
    assert np.all(np.diff(transfer_s(LEVEL, np.arange(1, 1000))) > 0)
