from collections.abc import Callable
from typing import Any

import onnx_graphsurgeon as gs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model import GraphModel, estimate
from roofwright.graph import UnsupportedError, interface, read, zoo
from roofwright.passes import Context, build
from roofwright.passes.batching import Price, choose_batch
from roofwright.passes.runner import Runner
from roofwright.targets import load_target
from tests.builders import model


def pricing(fixed_s: float, each_s: float = 1e-3) -> Callable[[int], tuple[float, float, float]]:
    return lambda batch: (fixed_s + each_s * batch, 2 * (fixed_s + each_s * batch), 100.0 * batch)


def by_force(price: Callable[[int], tuple[float, float, float]], allowed: range) -> int:
    best = min(price(batch)[0] / batch for batch in allowed)
    return next(batch for batch in allowed if price(batch)[0] / batch <= 1.05 * best)


def test_without_a_fixed_cost_one_sample_is_enough() -> None:
    assert choose_batch(pricing(0.0)) == 1


@given(st.floats(0, 1, allow_subnormal=False), st.integers(1, 1024))
def test_the_smallest_good_batch_is_found_exactly_and_with_few_prices(fixed_s: float, most: int) -> None:
    asked: list[int] = []

    def price(batch: int) -> tuple[float, float, float]:
        asked.append(batch)
        return pricing(fixed_s)(batch)

    assert choose_batch(price, max_memory_bytes=100 * most) == by_force(pricing(fixed_s), range(1, most + 1))
    assert len(asked) == len(set(asked)) <= 29


def test_limits_bind_to_the_sample() -> None:
    price = pricing(10.0)
    assert choose_batch(price, max_latency_s=20.0 + 2e-3 * 100) == by_force(price, range(1, 101))
    assert choose_batch(price, max_memory_bytes=7_700) == by_force(price, range(1, 78))


def test_a_batch_outside_the_limits_is_no_measure_of_the_best() -> None:
    assert choose_batch(lambda b: (1.0 if b < 8 else 0.1, 1.0, float(b)), max_memory_bytes=7) == 7


@pytest.mark.parametrize(
    ("limits", "named"), [({"max_latency_s": 1e-6}, "--max-latency"), ({"max_memory_bytes": 10}, "--max-memory")]
)
def test_where_nothing_keeps_a_limit_it_is_named(limits: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedError, match=named):
        choose_batch(pricing(1.0), **limits)


def runner(graph: gs.Graph, **dims: int) -> Runner:
    target = load_target("tpuv2")
    before = estimate(GraphModel.of(graph, dims), target)
    return Runner(graph, Context(target=target, dims=dims), target, before, interface(graph))


SCHEDULING = build(["kernels", "tiles", "placement", "prefetch"])


def test_more_samples_cost_more_in_all_and_less_each() -> None:
    graph = read(zoo.mobilenet_v2(size=64))
    one, eight = (Price(*runner(graph).priced_at(batch, SCHEDULING)) for batch in (1, 8))
    assert one.device_s < eight.device_s < 8 * one.device_s
    assert one.memory_bytes < eight.memory_bytes < 8 * one.memory_bytes
    assert graph.inputs[0].shape[0] == 1


def test_the_model_itself_is_priced_within_the_limit() -> None:
    wide = runner(read(zoo.mobilenet_v2(size=64)))
    found = choose_batch(lambda batch: wide.priced_at(batch, SCHEDULING), max_memory_bytes=40e6)
    assert found > 1
    assert Price(*wide.priced_at(found, SCHEDULING)).memory_bytes <= 40e6


def test_a_symbolic_batch_is_priced_whatever_its_name_was_bound_to() -> None:
    graph = read(model("agraph (float[batch,64] x) => (float[batch,64] y) { y = Relu(x) }"))
    assert runner(graph, batch=2).priced_at(8, SCHEDULING) == runner(graph).priced_at(8, SCHEDULING)
