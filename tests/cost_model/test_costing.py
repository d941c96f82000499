"""The estimate of small graphs, counted by hand, and what its figures promise each other."""

from dataclasses import replace

import numpy as np
import pytest

from roofwright.cost_model import GraphModel, estimate, from_json, to_json
from roofwright.graph import read
from roofwright.targets import Link
from tests.builders import model
from tests.scheduling import modelled, scheduled, scratchpad

# 4096 rows, 64 -> 32: 8,388,608 MACs at 32 per ns are 262.144 us; 1,048,576 B in, 8,192 B of weights, 524,288 B out.
GEMM = modelled("g (float[4096,64] x) => (float[4096,32] y) { y = MatMul(x, w) }", w=(64, 32))
NET = modelled(
    "g (float[512,64] x) => (float[512,32] y) { a = MatMul(x, v)  b = Relu(a)  c = MatMul(b, w)  y = Relu(c) }",
    v=(64, 64),
    w=(64, 32),
)


def test_ideal_is_useful_macs_at_the_peak() -> None:
    found = estimate(GEMM, scratchpad(1 << 20))
    assert found.macs == 4096 * 64 * 32
    assert found.evaluations.totals()[0] == pytest.approx(4096 * 64 * 32 / 32e9)


def test_a_kernel_that_waits_for_memory_takes_its_transfers() -> None:
    found = estimate(GEMM, scratchpad(1 << 20, bytes_per_s=1e9))
    least = (1048576 + 8192 + 524288) / 1e9
    assert found.evaluations.totals()[3] == pytest.approx(least)
    assert least <= found.device_s <= 1.05 * least + 300e-6
    assert found.binding == ("memory",)
    assert found.off_chip_bytes == 1048576 + 8192 + 524288 + found.link_bytes


def test_a_fast_memory_leaves_computation() -> None:
    found = estimate(GEMM, scratchpad(1 << 20, bytes_per_s=1e15))
    assert found.binding == ("compute",)
    assert found.device_s == pytest.approx(found.evaluations.totals()[2], rel=1e-3)


def test_the_link_carries_inputs_and_outputs() -> None:
    target = replace(scratchpad(1 << 20), link=Link(name="link", bytes_per_s=1e9, latency_s=1e-6))
    found = estimate(GEMM, target)
    assert found.link_bytes == 1048576 + 524288
    assert found.latency_s - found.device_s == pytest.approx(2e-6 + (1048576 + 524288) / 1e9)
    assert found.evaluations.causes()["input"] == pytest.approx(found.latency_s - found.device_s)


def test_the_period_is_the_slower_of_device_and_link() -> None:
    slow = replace(scratchpad(1 << 20), link=Link(name="link", bytes_per_s=1e6, latency_s=0.0))
    assert estimate(GEMM, slow).period_s == pytest.approx(1048576 / 1e6)
    fast = estimate(GEMM, scratchpad(1 << 20))
    assert fast.period_s == fast.device_s


def test_resident_weights_shorten_the_period_as_far_as_they_fit() -> None:
    wide = modelled("g (float[1,256] x) => (float[1,1024] y) { y = MatMul(x, w) }", w=(256, 1024))  # 1 MiB
    saved = []
    for capacity in (1 << 22, 1 << 19, 1 << 16):
        target = scratchpad(capacity)
        usual, resident = estimate(wide, target), estimate(wide, target, resident_weights=True)
        assert resident.latency_s == usual.latency_s
        saved.append(usual.device_s - resident.period_s)
    assert saved == sorted(saved, reverse=True)
    assert all(0 < s <= min(size, 1 << 20) / 1e9 for s, size in zip(saved, (1 << 22, 1 << 19, 1 << 16), strict=True))


def test_the_gap_is_device_time_over_the_bound() -> None:
    found = estimate(NET, scratchpad(1 << 20))
    assert found.gap == found.device_s / found.bound.total_s >= 1.0
    assert found.bound.off_chip_bytes == 4 * (512 * 64 + 64 * 64 + 64 * 32 + 512 * 32)


def test_a_schedule_gains_and_its_parts_still_sum() -> None:
    target = scratchpad(1 << 20)
    before, after = estimate(NET, target), estimate(NET, target, scheduled(NET, target))
    assert after.latency_s < before.latency_s
    assert len(after.kernels) == 2
    for found in (before, after):
        total = found.evaluations.totals()[0] + sum(found.evaluations.causes().values())
        assert total == pytest.approx(found.latency_s, rel=1e-12)


def test_intermediate_tensors_that_stay_are_not_moved() -> None:
    target = scratchpad(1 << 20)
    found = estimate(NET, target, scheduled(NET, target))
    assert found.off_chip_bytes - found.link_bytes == found.bound.off_chip_bytes


def test_a_schedule_read_back_costs_the_same() -> None:
    target = scratchpad(1 << 18)
    schedule = scheduled(NET, target)
    first, again = (estimate(NET, target, s) for s in (schedule, from_json(to_json(schedule))))
    assert first.latency_s == again.latency_s
    assert np.array_equal(first.timeline.end_s, again.timeline.end_s)


def test_what_no_engine_can_run_is_listed_and_in_no_figure() -> None:
    graph = modelled("g (double[8,8] x) => (double[8,8] y) { a = MatMul(x, w)  y = Neg(a) }", w=np.ones((8, 8)))
    found = estimate(graph, scratchpad(1 << 20))
    assert [(key, op) for key, op, _ in found.not_modelled] == [("a", "MatMul"), ("y", "Neg")]
    assert all("float64" in reason for *_, reason in found.not_modelled)


def test_an_unknown_operator_is_listed() -> None:
    header = '<ir_version: 8, opset_import: ["": 17, "acme": 1]>'
    text = f"{header} g (float[4] x) => (float[4] y) <float[4] a> {{ a = acme.Foo(x)  y = Neg(a) }}"
    graph = GraphModel.of(read(model(text)))
    assert [key for key, *_ in graph.not_modelled] == ["a"]
    assert [key for key, *_ in estimate(graph, scratchpad(1 << 20)).not_modelled] == ["a"]


def test_symbolic_dimensions_are_priced_as_documented_and_said() -> None:
    proto = model("g (float[N,T,64] x) => (float[N,T,32] y) { y = MatMul(x, w) }", w=(64, 32))
    graph = read(proto)
    usual, given = GraphModel.of(graph), GraphModel.of(graph, {"T": 10, "N": 3})
    assert usual.dims == {"N": 1, "T": 128}
    assert (usual.batch, given.batch) == (1, 3)
    target = scratchpad(1 << 20)
    assert estimate(usual, target).macs == 128 * 64 * 32
    assert estimate(given, target).macs == 3 * 10 * 64 * 32
    assert "symbolic dimension T is priced at 128" in estimate(usual, target).assumptions
    assert "symbolic dimension T is priced at 10" in estimate(given, target).assumptions


def test_an_empty_graph_costs_only_its_link() -> None:
    found = estimate(modelled("g (float[4] x) => (float[4] y) { y = Identity(x) }"), scratchpad(1 << 20))
    assert found.kernels == ()
    assert found.device_s == 0.0
    assert (found.gap, found.utilisation) == (1.0, 0.0)
