"""Strips whose samples engines share: all at the same time, each in buffers of its own, and nothing changes hands."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

from roofwright.cost_model import (
    Costing,
    GraphModel,
    Kernel,
    NodeRef,
    Schedule,
    ScheduleError,
    Share,
    check_capacity,
    from_json,
    to_json,
)
from roofwright.graph import read
from roofwright.passes.scheduling.buffers import Resident
from roofwright.passes.scheduling.placement import settle
from roofwright.targets import Target
from tests.builders import feeds, model
from tests.machine.machine import Machine
from tests.machine.targets import TARGETS
from tests.passes.test_tile_machine_strips import CUTS, OTHERS, check

SEPARABLE = """agraph (float[8,6,17,9] x) => (float[8,6,9,5] y, float[8,12,17,9] b) {
    a = Conv <kernel_shape = [1,1]> (x, w0)
    b = Relu (a)
    c = Conv <kernel_shape = [3,3], pads = [1,1,1,1], strides = [2,2], group = 12> (b, w1)
    d = Relu (c)
    y = Conv <kernel_shape = [1,1]> (d, w2) }"""
GATED = """agraph (float[3,8,9,10] x) => (float[3,8,9,10] y) {
    a = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (x, w0)
    b = Relu (a)
    p = GlobalAveragePool (b)
    q = Sigmoid (p)
    e = Mul (b, q)
    f = Conv <kernel_shape = [1,1]> (e, w1)
    y = Add (f, x) }"""


def separable(batch: int) -> onnx.ModelProto:
    text = SEPARABLE.replace("[8,", f"[{batch},")
    return model(text, w0=(12, 6, 1, 1), w1=(12, 1, 3, 3), w2=(6, 12, 1, 1))


def gated() -> onnx.ModelProto:
    return model(GATED, w0=(8, 8, 3, 3), w1=(8, 8, 1, 1))


def phone(handover_s: float = 1e-4) -> Target:
    """An array and one of half its clock, that hand over in `handover_s`."""
    target = TARGETS["array-1m"]
    first = target.engines[0]
    second = replace(first, name="beside", clock_hz=first.clock_hz / 2)
    return replace(target, engines=(first, second), stack=replace(target.stack, handover_s=handover_s))


def stated(
    proto: onnx.ModelProto, groups: Sequence[int], first: int, stay: Sequence[str] = (), **cut: Any
) -> tuple[Costing, Schedule]:
    """Nodes in kernels of so many; those of several in strips; the first engine takes `first` samples of all."""
    target, graph = phone(), GraphModel.of(read(proto))
    works = [work for work in graph.works if work.work.kind != "view"]
    starts, names = np.cumsum([0, *groups]).tolist(), [engine.name for engine in target.engines]
    shares = tuple(Share(engine=n, rows=r) for n, r in zip(names, (first, graph.batch - first), strict=True))
    shares = shares if first < graph.batch else ()
    kernels = []
    for index, (start, size) in enumerate(zip(starts, groups, strict=False)):
        nodes = tuple(NodeRef(output=w.key, op=w.op) for w in works[start : start + size])
        kernels.append(Kernel(index=index, nodes=nodes, engine=names[0], shares=shares, **(cut if size > 1 else {})))
    schedule = Schedule(target=target.name, batch=graph.batch, kernels=tuple(kernels))
    costing = Costing.of(graph, target, schedule)
    made = settle(schedule, graph, target, [_resident(costing, name) for name in stay])
    assert {b.tensor for kernel in made.kernels for b in kernel.resident} == set(stay)
    return costing, from_json(to_json(made))


def _resident(costing: Costing, name: str) -> Resident:
    made = next(at for at, k in enumerate(costing.kernels) if name in [o.name for o in k.writes])
    last = max(at for at, k in enumerate(costing.kernels) if name in [o.name for o in k.reads])
    size = next(costing.bytes_of(o) for o in costing.kernels[made].writes if o.name == name)
    return Resident(name, int(size), made, last)


@pytest.mark.parametrize(("batch", "first"), [(2, 1), (3, 1), (3, 2), (8, 3)])
@pytest.mark.parametrize("cut", ["rows of one", "rows of three", "columns of strips", "recompute", "all at once"])
def test_shared_strips_give_the_outputs_of_the_graph(batch: int, first: int, cut: str) -> None:
    proto = separable(batch)
    check(proto, phone(), stated(proto, [5], first, **CUTS[cut])[1])


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("stay", [(), ("b",), ("q",), ("b", "p", "q")])
def test_nothing_changes_hands_between_kernels_split_alike(first: int, stay: Sequence[str]) -> None:
    proto = gated()
    _, schedule = stated(proto, [2, 1, 1, 3], first, stay, strip_rows=2, halo="both")
    costing, _ = check(proto, phone(), schedule)
    assert costing.prices.state is not None
    assert np.ptp(costing.prices.state) == 0


@pytest.mark.parametrize("rows", [1, 7, 20])
def test_attention_is_shared_in_whole_samples(rows: int) -> None:
    proto = OTHERS["attention"]
    costing, schedule = stated(proto, [5], 1, strip_rows=rows, halo="both")
    check(proto, phone(), schedule)
    assert costing.strips[0].shares == (("unit", 3), ("beside", 3))


@pytest.mark.parametrize("tensor", ["x", "d"])
def test_a_buffer_that_is_too_small_for_one_engine_is_noticed(tensor: str) -> None:
    proto = separable(3)
    _, schedule = stated(proto, [5], 1, strip_rows=2, halo="both")
    kernel = schedule.kernels[0]
    mine = next(b for b in kernel.buffers if (b.tensor, b.engine) == (tensor, "beside"))
    buffers = tuple(replace(b, bytes=b.bytes - 4) if b is mine else b for b in kernel.buffers)
    with pytest.raises(AssertionError, match="too many in its buffer"):
        check(proto, phone(), replace(schedule, kernels=(replace(kernel, buffers=buffers),)))


def test_what_another_engine_made_is_noticed_unless_there_was_a_hand_over() -> None:
    proto = separable(8)
    first, second = (stated(proto, [2, 3], samples, strip_rows=2, halo="both")[1].kernels for samples in (3, 5))
    schedule = replace(stated(proto, [2, 3], 3, strip_rows=2, halo="both")[1], kernels=(first[0], second[1]))
    machine = Machine(read(proto), phone(), schedule)
    state = machine.costing.prices.state
    assert state is not None
    assert np.ptp(state) > 0
    machine.run(feeds(proto))
    free = replace(machine.costing, prices=replace(machine.costing.prices, state=np.zeros_like(state)))
    machine = Machine(read(proto), phone(), schedule)
    machine.costing = free
    with pytest.raises(AssertionError, match="changes hands"):
        machine.run(feeds(proto))


def test_weights_are_held_once_and_strips_by_every_engine() -> None:
    proto = separable(8)
    alone = stated(proto, [5], 8, strip_rows=2, halo="both")[0].strips[0]
    cost = stated(proto, [5], 5, strip_rows=2, halo="both")[0].strips[0]
    constants = {"w0", "w1", "w2"}
    engines = {name: sorted(b.engine for b in cost.buffers if b.tensor == name) for name in ("w0", "x", "b", "d", "y")}
    both = ["beside", "unit"]
    assert engines == {"w0": [""], "x": both, "b": both, "d": both, "y": both}
    once = sum(b.bytes for b in alone.buffers if b.tensor in constants)
    steady = sum(b.bytes * b.copies for b in alone.buffers) - once
    assert cost.footprint_bytes == once + 2 * steady
    assert (cost.weight_bytes, cost.input_bytes, cost.strips.count) == (
        alone.weight_bytes,
        alone.input_bytes,
        alone.strips.count,
    )
    assert cost.rounds == alone.rounds // 2


def test_a_shared_kernel_takes_its_slowest_engine_and_no_more_than_one_alone() -> None:
    proto = separable(8)
    busy = [stated(proto, [5], first, strip_rows=2, halo="both")[0].prices.busy_s[0] for first in range(1, 9)]
    one = busy[-1]
    assert busy == pytest.approx([max(first, 2 * (8 - first)) / 8 * one for first in range(1, 9)])
    assert min(busy) == busy[4]  # five samples on the engine that is twice as fast
    device = [stated(proto, [5], first, strip_rows=2, halo="both")[0].estimate().device_s for first in (5, 8)]
    assert device[0] < device[1]


def test_unshared_kernels_are_where_their_schedule_says() -> None:
    proto, target = separable(2), phone()
    costing, schedule = stated(proto, [5], 2, strip_rows=2, halo="both")
    moved = replace(schedule, kernels=(replace(schedule.kernels[0], engine="beside"),))
    there = Costing.of(costing.model, target, moved)
    assert there.prices.engine.tolist() == [1]
    assert there.prices.busy_s[0] == pytest.approx(2 * costing.prices.busy_s[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"streamed": ("w0",)}, "shares need nodes in turns"),
        ({"shares": (Share(engine="unit", rows=1), Share(engine="beside", rows=1))}, "shares of 2 of 3 samples"),
    ],
)
def test_shares_that_strips_cannot_have_say_so(change: dict[str, Any], said: str) -> None:
    _, schedule = stated(separable(3), [5], 1, strip_rows=2, halo="both")
    with pytest.raises(ScheduleError, match=said):
        replace(schedule, kernels=(replace(schedule.kernels[0], **change),))


def test_a_buffer_for_one_engine_needs_its_share() -> None:
    _, schedule = stated(separable(3), [5], 1, strip_rows=2, halo="both")
    kernel = schedule.kernels[0]
    with pytest.raises(ScheduleError, match="has a buffer for unit alone"):
        replace(kernel, shares=())
    with pytest.raises(ScheduleError, match="two buffers for tensor, level"):
        replace(kernel, buffers=(*kernel.buffers, next(b for b in kernel.buffers if b.engine)))


def test_samples_that_need_each_other_are_not_shared() -> None:
    text = "agraph (float[2,4,8] x) => (float[2,4,8] y) { a = Relu (x)  y = Mul (a, r) }"
    proto = model(text.replace("float[2,4,8] x", "float[2,4,8] x, float[1,4,1] r"))
    with pytest.raises(ScheduleError, match="engines cannot share its strips sample by sample"):
        stated(proto, [2], 1, strip_rows=2, halo="both")


def test_an_unknown_engine_of_a_share_is_refused() -> None:
    _, schedule = stated(separable(3), [5], 1, strip_rows=2, halo="both")
    one = replace(phone(), engines=phone().engines[:1])
    with pytest.raises(ScheduleError, match="has no engine 'beside'"):
        check_capacity(schedule, one)
