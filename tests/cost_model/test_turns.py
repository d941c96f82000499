from dataclasses import replace
from typing import Any

import pytest

from roofwright.cost_model import GraphModel, estimate
from roofwright.cost_model.pieces import Pieces
from roofwright.cost_model.turns import Loads, weight_room_bytes
from roofwright.graph import read
from roofwright.targets import Target
from tests.builders import model
from tests.cost_model.machines import array, machine, memory

# A large map with few weights, then a small one with many: first the array is busy, then the port.
NETWORK = GraphModel.of(
    read(
        model(
            """g (float[1,3,64,64] x) => (float[1,64,8,8] y) {
            a = Conv<pads=[1,1,1,1]>(x, u)  b = MaxPool<kernel_shape=[8,8], strides=[8,8]>(a)
            c = Conv(b, v)  y = Conv(c, w) }""",
            u=(16, 3, 3, 3),
            v=(64, 16, 1, 1),
            w=(64, 64, 1, 1),
        )
    )
)


def streaming(fifo_bytes: int | None, bytes_per_s: float = 0.25) -> Target:
    """An 8 x 8 array at one cycle per second that fetches float32 tiles from memory, for a map that fits on chip."""
    unit = array(8, 8, conv_rows="channels", weight_fifo_bytes=fifo_bytes)
    unit = replace(unit, macs_per_clock={"float32": 64.0})
    chip = replace(memory("chip", 1 << 24, 1e12), holds=("activations",))
    return machine(unit, (chip, memory("dram", 2**33, bytes_per_s)))


def test_what_lies_inside_the_engines_counts_as_room() -> None:
    planes = 2 * 64 * 4
    assert weight_room_bytes(streaming(None)) == planes
    assert weight_room_bytes(streaming(1024)) == planes + 1024


def test_computation_before_and_weights_after_add_up() -> None:
    target = streaming(None, bytes_per_s=2.0)
    bound = estimate(NETWORK, target).bound.graph
    computing = 9 * 2 * 4096  # folds of the first convolution: two blocks of filters, tap by tap
    # An element of its result is one of the 16 channels that c reads, and so of the first of its two blocks of 8;
    # that reaches all that y reads. The first weights of all took 8 cycles to shift in.
    loaded = 64 * 8 * 4 + 64 * 64 * 4 - weight_room_bytes(target)
    pooling = bound.turns_s - 8 - computing - loaded / 2
    assert 0 <= pooling < 0.05 * computing
    assert bound.total_s == max(bound.turns_s, bound.memory_s, bound.compute_s)


def test_room_for_all_weights_leaves_nothing_to_wait_for() -> None:
    bound = estimate(NETWORK, streaming(1 << 20)).bound.graph
    assert bound.turns_s == pytest.approx(bound.compute_s)


def test_weights_that_two_nodes_share_are_loaded_once() -> None:
    text = """g (float[1,8,8,8] x) => (float[1,8,8,8] y) { a = Conv(x, u)  b = Conv(a, v)  y = Conv(b, OTHER) }"""
    target = streaming(None, bytes_per_s=2.0)
    for other, seconds in (("w", [128.0] * 3), ("v", [128.0, 128.0, 0.0])):
        weights: dict[str, Any] = dict.fromkeys({"u", "v", other}, (8, 8, 1, 1))
        graph = GraphModel.of(read(model(text.replace("OTHER", other), **weights)))
        costing = estimate(graph, target).costing
        pieces = Pieces.of(costing.kernels, costing.prices, target, graph.maps)
        assert Loads.of(pieces, target).whole_s.tolist() == seconds


def test_no_estimate_is_below_it() -> None:
    for queue in (None, 256, 4096):
        found = estimate(NETWORK, streaming(queue))
        assert found.device_s >= found.bound.total_s


def test_a_longer_queue_never_hurts() -> None:
    lengths = [estimate(NETWORK, streaming(queue)).device_s for queue in (None, 256, 512, 4096, 1 << 20)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] < lengths[0]
