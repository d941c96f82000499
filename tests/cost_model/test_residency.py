"""What stays on chip: as the schedule says in a scratchpad, by what was touched in between in a cache."""

from dataclasses import replace

import numpy as np
import pytest

from roofwright.cost_model import GraphModel, Placement, Prefetch, Schedule
from roofwright.cost_model.kernels import KernelWork, gather, op_by_op, stored_outputs
from roofwright.cost_model.residency import CACHE_SHARE, Residency, residency, resident_share
from roofwright.cost_model.schedule import Kernel, NodeRef
from roofwright.cost_model.traffic import traffic
from tests.scheduling import modelled, scratchpad, with_memory

CHAIN = modelled("g (float[100] x) => (float[100] y) { a = Exp(x)  b = Neg(a)  c = Abs(b)  y = Add(c, a) }")


def kernels_of(graph: GraphModel) -> list[KernelWork]:
    return gather(op_by_op(graph.works), graph.works, graph.outputs)


def held(graph: GraphModel, *homes: tuple[int, str, int | None]) -> Residency:
    """One kernel per node; (kernel, tensor, until) buffers of 400 bytes."""
    works = [work for work in graph.works if work.work.kind != "view"]
    made = []
    for at, work in enumerate(works):
        buffers = tuple(
            Placement(tensor=name, level="sram", offset_bytes=400 * place, bytes=400, until=until)
            for place, (kernel, name, until) in enumerate(homes)
            if kernel == at
        )
        made.append(Kernel(index=at, engine="unit", nodes=(NodeRef(output=work.key, op=work.op),), buffers=buffers))
    schedule = Schedule(target="m", batch=1, kernels=tuple(made))
    return residency(kernels_of(graph), stored_outputs(graph.works, graph.outputs), schedule, scratchpad(10**6))


def kept(found: Residency) -> list[str]:
    return [" ".join(sorted(names)) for names in found.kept]


def test_without_a_schedule_nothing_stays() -> None:
    found = residency(kernels_of(CHAIN), {"y"}, None, scratchpad(10**6))
    assert kept(found) == ["", "", "", ""]
    assert found.local_bytes.tolist() == [0, 0, 0, 0]


def test_a_tensor_that_stays_for_all_its_readers_is_never_stored() -> None:
    found = held(CHAIN, (0, "a", 3))
    assert kept(found) == ["a", "a", "a", "a"]
    assert found.local_bytes.tolist() == [400, 400, 400, 400]


def test_one_that_leaves_before_its_last_reader_is_stored() -> None:
    found = held(CHAIN, (0, "a", 1))
    assert kept(found) == ["", "a", "", ""]
    assert found.local_bytes.tolist() == [400, 400, 0, 0]


def test_a_kernels_own_buffer_keeps_nothing() -> None:
    found = held(CHAIN, (0, "a", None))
    assert kept(found) == ["", "", "", ""]
    assert found.local_bytes.tolist() == [0, 0, 0, 0]


def test_an_output_is_stored_though_it_stays() -> None:
    graph = modelled("g (float[100] x) => (float[100] a, float[100] y) { a = Exp(x)  y = Neg(a) }")
    assert kept(held(graph, (0, "a", 1))) == ["", "a"]


def test_an_output_through_a_view_is_stored_too() -> None:
    text = "g (float[100] x) => (float[10,10] v, float[100] y) { a = Exp(x)  v = Reshape(a, shape)  y = Neg(a) }"
    assert kept(held(modelled(text, shape=np.array([10, 10])), (0, "a", 1))) == ["", "a"]


def test_prefetches_become_seconds_at_the_ports_rate() -> None:
    graph = modelled("g (float[8,100] x) => (float[8,50] y) { a = Exp(x)  y = MatMul(a, w) }", w=(100, 50))
    works = list(graph.works)
    load = Prefetch(tensor="w", bytes=5000, during=0)
    room = Placement(tensor="w", level="sram", offset_bytes=0, bytes=20000)
    refs = [(NodeRef(output=work.key, op=work.op),) for work in works]
    plain = Kernel(index=0, engine="unit", nodes=refs[0])
    early = Kernel(index=1, engine="unit", nodes=refs[1], buffers=(room,), prefetch=(load,))
    schedule = Schedule(target="m", batch=1, kernels=(plain, early))
    (item,) = residency(kernels_of(graph), {"y"}, schedule, scratchpad(10**6, 1e9)).plan
    assert (item.kernel, item.during, item.seconds, item.bytes) == (1, 0, 5e-6, 5000.0)


def cached(capacity_bytes: int) -> list[str]:
    target = with_memory(scratchpad(capacity_bytes), managed="cache")
    return kept(residency(kernels_of(CHAIN), {"y"}, None, target))


@pytest.mark.parametrize(
    ("room_bytes", "expected"),
    [
        (1190, ["", "", "", ""]),
        (1200, ["", "a b", "b", ""]),  # a and b when their next kernel reads them: 400 of their own, 800 touched
        (1600, ["", "a b", "b c", "c"]),  # c: the last kernel touches 1200
        (3200, ["a", "a b", "b c", "a c"]),  # a for its second reader: 400 + 800 + 800 + 1200
    ],
)
def test_a_cache_keeps_what_little_was_touched_since(room_bytes: int, expected: list[str]) -> None:
    assert cached(round(room_bytes / CACHE_SHARE)) == expected


def test_a_cache_writes_outputs_back() -> None:
    assert "y" not in " ".join(cached(10**6))


def test_a_loops_tensors_are_those_of_one_trip() -> None:
    many = replace(CHAIN, works=tuple(replace(entry, work=replace(entry.work, repeat=9)) for entry in CHAIN.works))
    target = with_memory(scratchpad(round(3200 / CACHE_SHARE)), managed="cache")
    found = [kept(residency(kernels_of(graph), {"y"}, None, target)) for graph in (CHAIN, many)]
    assert found[0] == found[1]


WEIGHTED = modelled(
    "g (float[1,64] x) => (float[1,64] y) { a = MatMul(x, w)  y = MatMul(a, v) }", w=(64, 64), v=(64, 64)
)


@pytest.mark.parametrize(("spare_bytes", "expected"), [(0, 0.0), (8192, 0.25), (10**6, 1.0)])
def test_a_scratchpad_keeps_the_weights_that_fit_beside_all_kernels(spare_bytes: float, expected: float) -> None:
    moved = traffic(kernels_of(WEIGHTED), scratchpad(1), (frozenset(), frozenset()))
    spare = np.array([10.0**6, spare_bytes])
    assert resident_share(moved, spare, scratchpad(1)) == expected
    assert resident_share(moved, spare, with_memory(scratchpad(1), holds=("activations",))) == 0.0


def test_a_cache_keeps_all_weights_or_none() -> None:
    passed = 2 * 16384 + 2 * 256 + 2 * 512  # stores count twice
    for room, expected in ((passed, 1.0), (passed - 1, 0.0)):
        target = with_memory(scratchpad(int(np.ceil(room / CACHE_SHARE))), managed="cache")
        moved = traffic(kernels_of(WEIGHTED), target, (frozenset(), frozenset()))
        assert (float(moved.total_bytes.sum()), resident_share(moved, np.zeros(2), target)) == (passed, expected)
