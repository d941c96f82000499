"""A better machine is never slower: more on-chip memory, bandwidth or clock, op by op and scheduled."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofwright.cost_model import GraphModel, estimate
from roofwright.graph import interface, read
from roofwright.passes import Context
from roofwright.passes import build as passes
from roofwright.passes.runner import Runner
from roofwright.targets import Target
from tests.builders import model
from tests.cost_model.machines import array, machine, memory, stack
from tests.scheduling import ALL_EPILOGUES, scheduled, scratchpad, with_memory

SLACK = 1e-9  # relative: below it two figures are the same
FILL = 0.05  # tiles are chosen by a bound on their length: another choice may fill and drain a little longer
PROTOS = {
    "convolutions": model(
        """g (float[1,8,16,16] x) => (float[1,16,8,8] y) {
            a = Conv<pads=[1,1,1,1]>(x, u)  b = Relu(a)  c = Conv<pads=[1,1,1,1]>(b, v)  d = Add(c, b)
            e = Relu(d)  y = Conv<pads=[1,1,1,1], strides=[2,2]>(e, w) }""",
        u=(16, 8, 3, 3),
        v=(16, 16, 3, 3),
        w=(16, 16, 3, 3),
    ),
    "depthwise": model(
        """g (float[1,8,16,16] x) => (float[1,8,16,16] y) {
            a = Conv(x, u)  b = Conv<group=32, pads=[1,1,1,1]>(a, v)  c = Conv(b, w)  y = Add(c, x) }""",
        u=(32, 8, 1, 1),
        v=(32, 1, 3, 3),
        w=(8, 32, 1, 1),
    ),
    "attention": model(
        """g (float[4,32,16] q, float[4,16,32] k, float[4,32,16] v) => (float[4,32,16] y) {
            s = MatMul(q, k)  p = Softmax(s)  y = MatMul(p, v) }"""
    ),
    "layers": model(
        "g (float[4,256] x) => (float[4,16] y) { a = MatMul(x, u)  b = Relu(a)  c = MatMul(b, v)  y = MatMul(c, w) }",
        u=(256, 128),
        v=(128, 256),
        w=(256, 16),
    ),
}
NETS = {name: GraphModel.of(read(proto)) for name, proto in PROTOS.items()}
CAPACITY = st.integers(9, 21).map(lambda power: 2**power)
GRAPH = st.sampled_from(sorted(NETS))


def vector(capacity_bytes: int, bytes_per_s: float = 4e9) -> Target:
    return scratchpad(capacity_bytes, bytes_per_s)


def systolic(capacity_bytes: int, bytes_per_s: float = 4e9) -> Target:
    """A 16 x 16 array that multiplies float32, and does elementwise work itself."""
    engine = array(16, 16, clock_hz=1e9)
    engine = replace(engine, macs_per_clock={"float32": 256.0})
    memories = (memory("sram", capacity_bytes, 1e12), memory("dram", 2**33, bytes_per_s))
    return machine(engine, memories, replace(stack(), fuses=ALL_EPILOGUES))


def latency(graph: GraphModel, target: Target, planned: bool) -> float:
    return estimate(graph, target, scheduled(graph, target) if planned else None).latency_s


def faster_memory(target: Target, by: float) -> Target:
    dram = target.memories[1]
    return replace(target, memories=(target.memories[0], replace(dram, bytes_per_s=dram.bytes_per_s * by)))


def faster_clock(target: Target, by: float) -> Target:
    (engine,) = target.engines
    return replace(target, engines=(replace(engine, clock_hz=engine.clock_hz * by),))


@pytest.mark.parametrize("build", [vector, systolic])
@settings(max_examples=15)
@given(name=GRAPH, capacity=CAPACITY)
def test_more_memory_op_by_op(build: Any, name: str, capacity: int) -> None:
    small, large = (estimate(NETS[name], build(size)) for size in (capacity, 2 * capacity))
    assert large.off_chip_bytes <= small.off_chip_bytes
    assert large.evaluations.totals()[3] <= small.evaluations.totals()[3] * (1 + SLACK)  # every kernel at its roofline
    assert large.latency_s <= small.latency_s * (1 + FILL)


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("build", [vector, systolic])
@settings(max_examples=15)
@given(name=GRAPH, capacity=CAPACITY, by=st.floats(1.0, 16.0), rate=st.floats(1e8, 1e11))
def test_more_bandwidth(build: Any, planned: bool, name: str, capacity: int, by: float, rate: float) -> None:
    graph, slow = NETS[name], build(capacity, rate)
    assert latency(graph, faster_memory(slow, by), planned) <= latency(graph, slow, planned) * (1 + FILL)


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("build", [vector, systolic])
@settings(max_examples=15)
@given(name=GRAPH, capacity=CAPACITY, by=st.floats(1.0, 16.0))
def test_a_faster_clock(build: Any, planned: bool, name: str, capacity: int, by: float) -> None:
    graph, slow = NETS[name], build(capacity)
    assert latency(graph, faster_clock(slow, by), planned) <= latency(graph, slow, planned) * (1 + FILL)


@pytest.mark.parametrize("build", [vector, systolic])
@settings(max_examples=15)
@given(name=GRAPH, capacity=CAPACITY)
def test_more_memory_for_a_schedule(build: Any, name: str, capacity: int) -> None:
    small, large = (latency(NETS[name], build(size), planned=True) for size in (capacity, 2 * capacity))
    assert large <= small * (1 + FILL)


@pytest.mark.parametrize("build", [vector, systolic])
@settings(max_examples=15)
@given(name=GRAPH, capacity=CAPACITY)
def test_a_schedule_never_loses(build: Any, name: str, capacity: int) -> None:
    graph, target = NETS[name], build(capacity)
    start, found = estimate(graph, target), read(PROTOS[name])
    runner = Runner(found, Context(target=target), target, start, interface(found))
    runner.schedule([pass_ for pass_ in passes(None) if pass_.schedules])
    assert runner.latest.latency_s <= start.latency_s * (1 + SLACK)


@settings(max_examples=15)
@given(name=GRAPH)
def test_bytes_at_boundless_memory_are_compulsory(name: str) -> None:
    found = estimate(NETS[name], vector(1 << 30))
    assert found.moved.total_bytes.tolist() == found.moved.least_bytes.tolist()


@settings(max_examples=15)
@given(name=GRAPH, capacity=CAPACITY)
def test_a_cache_of_more_bytes_moves_no_more(name: str, capacity: int) -> None:
    small, large = (estimate(NETS[name], with_memory(vector(c), managed="cache")) for c in (capacity, 2 * capacity))
    assert large.off_chip_bytes <= small.off_chip_bytes
    assert large.latency_s <= small.latency_s * (1 + SLACK)
