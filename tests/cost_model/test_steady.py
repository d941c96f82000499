"""Back-to-back requests: the closed forms of a three-stage flow shop, and what the device memory has to hold."""

from dataclasses import replace

import onnx.parser
import pytest

from roofwright.cost_model import GraphModel, estimate
from roofwright.cost_model.steady import Steady
from roofwright.graph import read
from roofwright.targets import Target, load_target

TEXT = """
<ir_version: 8, opset_import: ["" : 17]> g (float[1,1000] x) => (float[1,1000] y)
{ a = Relu(x) b = Relu(a) c = Relu(b) d = Relu(c) y = Relu(d) }
"""
TENSOR_BYTES = 4000


def simulated(requests: int, buffers: int, load: float, compute: float, store: float) -> float:
    """The last output's end, by the recurrence of a flow shop with so many buffers at either side."""
    loads, computes, stores = [0.0] * requests, [0.0] * requests, [0.0] * requests
    for i in range(requests):
        free = computes[i - buffers] if i >= buffers else 0.0
        loads[i] = max(loads[i - 1] if i else 0.0, free) + load
        out = stores[i - buffers] if i >= buffers else 0.0
        computes[i] = max(loads[i], computes[i - 1] if i else 0.0, out) + compute
        stores[i] = max(computes[i], stores[i - 1] if i else 0.0) + store
    return stores[-1]


@pytest.mark.parametrize("buffers", [1, 2])
@pytest.mark.parametrize(
    "stages", [(1.0, 5.0, 2.0), (5.0, 1.0, 2.0), (2.0, 1.0, 5.0), (3.0, 3.0, 3.0), (0.0, 2.0, 0.0)]
)
@pytest.mark.parametrize("requests", [1, 2, 7])
def test_the_closed_form_is_the_recurrence(requests: int, stages: tuple[float, float, float], buffers: int) -> None:
    assert Steady(*stages, buffers).total_s(requests) == pytest.approx(simulated(requests, buffers, *stages))


def machine(capacity_bytes: int) -> Target:
    """A GPU with so little memory."""
    whole = load_target("v100")
    small = replace(whole.device_memory, capacity_bytes=capacity_bytes)
    return replace(whole, memories=(*whole.memories[:-1], small))


@pytest.mark.parametrize(("tensors", "buffers"), [(4, 2), (3, 1)])
def test_two_tensors_are_alive_at_a_time_beside_the_next_requests_ends(tensors: int, buffers: int) -> None:
    model = GraphModel.of(read(onnx.parser.parse_model(TEXT)), {})
    found = estimate(model, machine(tensors * TENSOR_BYTES))
    assert found.steady.buffers == buffers
    longest_s = max(found.steady.input_s, found.steady.output_s)
    both = found.steady.device_s + longest_s
    assert found.period_s == (max(longest_s, found.steady.device_s) if buffers == 2 else both)
