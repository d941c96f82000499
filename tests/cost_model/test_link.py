import numpy as np
import pytest

from roofwright.cost_model.link import request_s, transfer_s
from roofwright.targets import load_target


def test_a_transfer_is_latency_and_bytes() -> None:
    v100 = load_target("v100")
    assert transfer_s(v100, 12e6) == pytest.approx(v100.link.latency_s + 12e6 / v100.link.bytes_per_s)
    assert transfer_s(v100, 0) == 0.0


def test_inputs_and_outputs_follow_each_other() -> None:
    v100 = load_target("v100")
    assert request_s(v100, 600e3, 4e3) == transfer_s(v100, 600e3) + transfer_s(v100, 4e3)
    assert request_s(v100, np.array([0, 600e3]), 4e3).shape == (2,)


@pytest.mark.parametrize("name", ["host", "kirin970", "jetson_tx2", "cortex_a53"])
def test_shared_memory_has_no_link(name: str) -> None:
    assert request_s(load_target(name), 1e12, 1e12) == 0.0
