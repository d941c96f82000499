"""Networks of the zoo in batches on machines with two engines, scheduled and run strip by strip by both."""

from dataclasses import replace

import pytest

from roofwright.cost_model import Costing, GraphModel
from roofwright.graph import read
from roofwright.passes import Options, optimize_graph
from roofwright.targets import Target, load_target
from tests.machine.networks import NETWORKS, ran


def phone() -> Target:
    """A Kirin 970 with a smaller scratchpad and faster hand-overs, for smaller networks."""
    target = load_target("kirin970")
    scratch, dram = target.memories
    stack = replace(target.stack, handover_s=1e-6)
    return replace(target, memories=(replace(scratch, capacity_bytes=1 << 16), dram), stack=stack)


def shares(costing: Costing) -> tuple[int, int]:
    """How many kernels ran in strips, and how many of them on two engines."""
    return len(costing.strips), sum(bool(cost.shares) for cost in costing.strips.values())


def test_a_small_network_runs_on_both_engines() -> None:
    strips, shared = shares(ran(NETWORKS["mobilenet_v2"](size=32, batch=4), phone()))
    assert 0 < shared <= strips


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "batch"), [("mobilenet_v1", 2), ("mobilenet_v2", 3), ("mobilenet_v2", 8), ("mobilenet_v3_small", 3)]
)
def test_networks_run_on_both_engines(name: str, batch: int) -> None:
    strips, shared = shares(ran(NETWORKS[name](size=64, batch=batch), phone()))
    assert 0 < shared <= strips


@pytest.mark.slow
def test_a_network_runs_on_the_engines_of_a_phone() -> None:
    assert shares(ran(NETWORKS["mobilenet_v1"](size=64, batch=8), load_target("kirin970")))[1] > 0


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2"])
def test_what_is_chosen_is_shorter_than_any_one_engine(name: str) -> None:
    target = load_target("kirin970")
    graph, report = optimize_graph(read(NETWORKS[name](size=128, batch=8)), target, Options(check=False))
    schedule = report.schedule
    assert schedule is not None
    model = GraphModel.of(graph)
    assert any(kernel.shares and kernel.strip_rows is not None for kernel in schedule.kernels)
    for engine in ("npu", "gpu"):
        kernels = tuple(replace(k, engine=engine, shares=(), buffers=(), prefetch=()) for k in schedule.kernels)
        alone = Costing.of(model, target, replace(schedule, kernels=kernels)).estimate()
        assert report.after.device_s < alone.device_s
