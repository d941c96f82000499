"""Schedules are executable: run tile by tile in buffers of the declared size they give the graph's outputs."""

from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from roofwright.cost_model import Costing, Schedule, from_json, holds_weights, to_json
from roofwright.cost_model.pipelining import tiles_of
from roofwright.graph import read, run_model
from roofwright.passes import Options, optimize_graph
from tests.builders import feeds
from tests.machine.machine import Machine, Outcome
from tests.machine.models import MODELS
from tests.machine.replay import replay
from tests.machine.targets import TARGETS

everywhere = pytest.mark.parametrize("machine", TARGETS)
everything = pytest.mark.parametrize("name", MODELS)


@cache
def _optimized(name: str, machine: str) -> tuple[onnx.ModelProto, gs.Graph, Schedule]:
    proto = MODELS[name]()
    graph, report = optimize_graph(read(proto), TARGETS[machine], Options(check=False))
    assert report.schedule is not None
    assert [p.name for p in report.passes if p.rolled_back] == []
    return proto, graph, from_json(to_json(report.schedule))


@cache
def _ran(name: str, machine: str) -> tuple[Costing, Outcome]:
    proto, graph, schedule = _optimized(name, machine)
    made = Machine(graph, TARGETS[machine], schedule)
    return made.costing, made.run(feeds(proto))


@everywhere
@everything
def test_tiles_give_the_outputs_of_the_graph(name: str, machine: str) -> None:
    proto, _, _ = _optimized(name, machine)
    expected, found = run_model(proto, feeds(proto)), _ran(name, machine)[1].outputs
    assert list(found) == list(expected)
    for output, value in expected.items():
        np.testing.assert_allclose(found[output], value, atol=1e-4, rtol=1e-4)


@everywhere
@everything
def test_every_kernel_runs_in_the_buffers_of_the_schedule(name: str, machine: str) -> None:
    costing, outcome = _ran(name, machine)
    assert not [at for at, kernel in enumerate(outcome.kernels) if kernel.streamed]
    assert outcome.peak_bytes <= costing.estimate().on_chip_bytes <= TARGETS[machine].memories[0].capacity_bytes


@everywhere
@everything
def test_bytes_moved_and_tiles_are_those_of_the_estimate(name: str, machine: str) -> None:
    costing, outcome = _ran(name, machine)
    moved, cut = costing.moved, costing.cut
    again = np.zeros(1) if holds_weights(TARGETS[machine]) else costing.prices.off_chip_factor - 1  # padding of tiles
    times = np.array([cut.tiles[at] if at in costing.strips else 1 for at in range(len(cut.tiles))])
    weights = np.rint(moved.weight_bytes - again * moved.blocked_bytes[0] * times)
    for at, cost in costing.channels.items():
        assert moved.weight_bytes[at] >= cost.weight_bytes
        weights[at] = cost.weight_bytes  # without the padding of tiles likewise
    columns = (cut.tiles, weights, moved.input_bytes, moved.output_bytes)
    expected = [tuple(column) for column in np.stack(columns, 1).tolist()]
    assert [(k.tiles, k.weight_bytes, k.input_bytes, k.output_bytes) for k in outcome.kernels] == expected


@everywhere
@everything
def test_no_tile_is_computed_before_its_load_ends(name: str, machine: str) -> None:
    costing, _ = _ran(name, machine)
    line = costing.timeline()
    taken_s = 0.0
    for at, kernel in enumerate(costing.tiles):
        done_s, late = float(line.prefetched_s[at]), at in costing.held.late
        kernel = replace(kernel, in_buffers=max(kernel.in_buffers, tiles_of(kernel.runs, done_s)))
        made = replay(kernel, done_s, taken_s)
        made.check(kernel.in_buffers, kernel.out_buffers)
        assert len(made.computes) == costing.cut.tiles[at]
        length_s = max(made.computes[-1].end_s, taken_s) if late else max(made.total_s, taken_s)
        assert length_s == pytest.approx(line.end_s[at] - line.start_s[at], rel=1e-9)
        taken_s = max(made.total_s, taken_s) - length_s


@everywhere
@everything
def test_early_loads_find_the_port_idle(name: str, machine: str) -> None:
    _, _, schedule = _optimized(name, machine)
    costing = _ran(name, machine)[0]
    line = costing.timeline()
    during = np.zeros(len(schedule.kernels))
    for part in line.prefetched:
        assert part.during < part.kernel
        during[part.during] += part.seconds
    used_s = line.load_s + line.store_s + during
    left_s, span_s = 0.0, line.end_s - line.start_s
    for at in range(len(used_s)):  # what a kernel stores late takes time of the next one
        left_s = max(used_s[at] + left_s - span_s[at], 0.0)
        assert left_s <= (line.store_s[at] if at in costing.held.late else 0.0) + 1e-9 * span_s[at]


def _changed(schedule: Schedule, change: str) -> Schedule:
    kernel = schedule.kernels[0]
    if change == "a thicker tile":
        thick = tuple(replace(t, tile={loop: 2 * size for loop, size in t.tile.items()}) for t in kernel.tilings)
        return replace(schedule, kernels=(replace(kernel, tilings=thick), *schedule.kernels[1:]))
    first = kernel.buffers[0]
    assert first.copies == 2
    less = {"a smaller buffer": replace(first, bytes=first.bytes - 4), "a single copy": replace(first, copies=1)}
    buffers = (less[change], *kernel.buffers[1:])
    return replace(schedule, kernels=(replace(kernel, buffers=buffers), *schedule.kernels[1:]))


@pytest.mark.parametrize("change", ["a thicker tile", "a smaller buffer", "a single copy"])
def test_the_machine_notices(change: str) -> None:
    proto, graph, schedule = _optimized("residual_block", "array-64k")
    machine = Machine(graph, TARGETS["array-64k"], _changed(schedule, change))
    with pytest.raises(AssertionError, match="bytes in a buffer of"):
        machine.run(feeds(proto))


def test_the_machines_are_tight_enough_to_matter() -> None:
    seen = {
        "residents": 0,
        "prefetches": 0,
        "late stores": 0,
        "searched": 0,
        "several tiles": 0,
        "strips": 0,
        "tensors in strips": 0,
    }
    for name in MODELS:
        for machine in TARGETS:
            schedule, (costing, outcome) = _optimized(name, machine)[2], _ran(name, machine)
            seen["residents"] += sum(len(kernel.resident) for kernel in schedule.kernels)
            seen["prefetches"] += sum(len(kernel.prefetch) for kernel in schedule.kernels)
            seen["late stores"] += len(costing.held.late)
            seen["searched"] += len(costing.cut.searched)
            seen["strips"] += len(costing.strips)
            seen["tensors in strips"] += sum(len(cost.strips.stack.readers) for cost in costing.strips.values())
            seen["several tiles"] += sum(kernel.tiles > 1 for kernel in outcome.kernels)
    assert all(seen.values()), seen
