"""Off-chip bytes of kernels, hand-counted."""

from dataclasses import replace

import numpy as np

from roofwright.cost_model.kernels import gather, op_by_op
from roofwright.cost_model.traffic import holds_weights, is_cache, near_seconds, traffic
from roofwright.targets import Assumption, Target
from tests.cost_model import gpus
from tests.scheduling import modelled, scratchpad, with_memory

TEXT = "g (float[1,4,6,6] x) => (float[1,8,6,6] y) { a = Conv(x, w)  y = Relu(a) }"  # 144, 32, 288 and 288 elements


def of(target: Target, *kept: frozenset[str]) -> list[tuple[float, float, float, int, float]]:
    """(weights, inputs, outputs, operands, kept) of both kernels."""
    graph = modelled(TEXT, w=(8, 4, 1, 1))
    kernels = gather(op_by_op(graph.works), graph.works, graph.outputs)
    moved = traffic(kernels, target, kept or (frozenset(), frozenset()))
    columns = (moved.weight_bytes, moved.input_bytes, moved.output_bytes, moved.operands, moved.kept_bytes)
    assert np.array_equal(moved.total_bytes, moved.least_bytes)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_every_operand_crosses_once() -> None:
    assert of(scratchpad(1 << 20)) == [(128, 576, 1152, 2, 0), (0, 1152, 1152, 1, 0)]


def test_what_stays_on_chip_does_not_cross() -> None:
    kept = frozenset({"a"})
    assert of(scratchpad(1 << 20), kept, kept) == [(128, 576, 0, 2, 1152), (0, 0, 1152, 0, 1152)]
    assert of(scratchpad(1 << 20), frozenset(), kept) == [(128, 576, 1152, 2, 0), (0, 0, 1152, 0, 1152)]


def test_bytes_are_those_of_the_storage() -> None:
    stored = replace(scratchpad(1 << 20), assume={"float32": Assumption(storage="int8", multiply="int8")})
    assert of(stored) == [(32, 144, 288, 2, 0), (0, 288, 288, 1, 0)]


def test_what_is_loaded_again_counts_again() -> None:
    graph = modelled(TEXT, w=(8, 4, 1, 1))
    kernels = gather(op_by_op(graph.works), graph.works, graph.outputs)
    once, factor = traffic(kernels, scratchpad(1), (frozenset(), frozenset())), np.array([2.0, 1.0])
    twice = once.times(factor, scratchpad(1))
    assert twice.total_bytes.tolist() == [2 * 128 + 2 * 576 + 1152, 2304]
    assert twice.least_bytes.tolist() == [128 + 576 + 1152, 2304]
    streamed = once.times(factor, with_memory(scratchpad(1), holds=("activations",)))
    assert streamed.total_bytes.tolist() == [2 * 128 + 576 + 1152, 2304]


def test_a_cpus_cache_fetches_the_lines_it_stores_to() -> None:
    graph = modelled(TEXT, w=(8, 4, 1, 1))
    kernels, cpu = (
        gather(op_by_op(graph.works), graph.works, graph.outputs),
        with_memory(scratchpad(1), managed="cache"),
    )
    gpu = replace(cpu, engines=(gpus.engine(),))
    stays = frozenset({"a"})
    for target, times in ((cpu, 2), (gpu, 1), (scratchpad(1), 1)):
        moved = traffic(kernels, target, (stays, stays))
        assert moved.output_bytes.tolist() == [0, times * 1152]
        assert moved.least_bytes.tolist() == [128 + 576, 1152]


def test_the_last_cache_serves_what_it_keeps_at_its_own_rate() -> None:
    graph = modelled(TEXT, w=(8, 4, 1, 1))
    kernels, cpu = (
        gather(op_by_op(graph.works), graph.works, graph.outputs),
        with_memory(scratchpad(1), managed="cache"),
    )
    stays = frozenset({"a"})
    moved = traffic(kernels, cpu, (stays, stays))
    assert near_seconds(moved, cpu).tolist() == [1152 / 1e12, 1152 / 1e12]
    assert near_seconds(moved, scratchpad(1)).tolist() == [0, 0]


def test_what_a_memory_can_hold() -> None:
    assert not is_cache(scratchpad(1))
    assert is_cache(with_memory(scratchpad(1), managed="cache"))
    assert is_cache(replace(scratchpad(1), memories=scratchpad(1).memories[1:]))
    assert holds_weights(scratchpad(1))
    assert not holds_weights(with_memory(scratchpad(1), holds=("activations",)))
