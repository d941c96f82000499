"""What every estimate promises, for every network of the zoo on every machine, op by op and scheduled."""

from functools import cache, lru_cache

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import roofwright
from roofwright.cost_model import Estimate, GraphModel, Schedule, check_capacity, estimate, from_json, to_json
from roofwright.cost_model.traffic import is_cache
from roofwright.graph import clone, interface, read
from roofwright.graph.zoo import names
from roofwright.passes import Context, build
from roofwright.passes.runner import Runner
from roofwright.targets import Target, load_target, target_names
from tests.properties.networks import SMALL, graph

SLACK = 1e-9  # relative: below it two figures are the same


@lru_cache(maxsize=1)  # full networks weigh up to half a gigabyte
def whole(name: str) -> gs.Graph:
    return graph(name) if name in SMALL else read(name)


@lru_cache(maxsize=1)
def modelled(name: str) -> GraphModel:
    return GraphModel.of(whole(name))


@cache
def machine(name: str) -> Target:
    return load_target(name)


def both(name: str, target: Target) -> tuple[Estimate, Estimate, Schedule | None]:
    """Op by op, scheduled, and the schedule."""
    model = modelled(name)
    before = estimate(model, target)
    found = clone(whole(name))
    runner = Runner(found, Context(target=target), target, before, interface(found))
    runner.schedule([pass_ for pass_ in build(None) if pass_.schedules])
    return before, runner.latest, runner.ctx.schedule


def holds(found: Estimate) -> None:
    """The accounting identity, the bounds, and no figure without a meaning."""
    evaluations = found.evaluations
    total = evaluations.totals()[0] + sum(evaluations.causes().values())
    assert abs(total - found.latency_s) <= 1e-12 * found.latency_s
    per_kernel = evaluations.timeline_s + evaluations.overhead_s
    by_cause = evaluations.ideal_s + sum(evaluations.by_kernel().values())
    assert np.all(np.abs(by_cause - per_kernel) <= 1e-9 * per_kernel + 1e-18)
    assert found.gap >= 1.0
    assert found.device_s >= found.bound.total_s
    assert np.all(per_kernel >= found.bound.kernels.total_s * (1 - SLACK) - 1e-15)
    assert found.off_chip_bytes >= (found.bound.off_chip_bytes + found.link_bytes) * (1 - SLACK)
    assert np.isfinite(found.latency_s)
    assert 0 < found.clock_ratio <= 1
    assert found.period_s >= found.device_s * (1 - SLACK)
    assert is_cache(found.target) == (found.on_chip_bytes == 0)
    assert 0 <= found.utilisation <= 4  # of the direct algorithm's peak; Winograd's F(4x4, 3x3) multiplies a quarter


def promised(name: str, target: Target) -> None:
    before, after, schedule = both(name, target)
    holds(before)
    holds(after)
    assert after.latency_s <= before.latency_s * (1 + SLACK)
    assert after.off_chip_bytes <= before.off_chip_bytes * (1 + SLACK)
    on_chip = target.on_chip
    assert on_chip is None or is_cache(target) or after.on_chip_bytes <= on_chip.capacity_bytes
    if schedule is not None:
        check_capacity(schedule, target)
        again = estimate(modelled(name), target, from_json(to_json(schedule)))
        assert again.latency_s == after.latency_s
        assert again.off_chip_bytes == after.off_chip_bytes


@pytest.mark.parametrize("target", target_names())
@pytest.mark.parametrize("name", ["mobilenet_v2"])
def test_small_networks_on_every_machine(name: str, target: str) -> None:
    promised(name, machine(target))


@pytest.mark.parametrize("target", ["tpuv1", "tpuv2", "v100", "kirin970", "host"])
@pytest.mark.parametrize("name", SMALL)
def test_every_small_network_on_the_main_machines(name: str, target: str) -> None:
    promised(name, machine(target))


@pytest.mark.parametrize("target", ["tpuv1", "tpuv2", "v100", "kirin970", "host"])
@pytest.mark.parametrize("name", ["mobilenet_v2", "shufflenet_v2", "bert"])
def test_optimizing_never_loses(name: str, target: str) -> None:
    _, report = roofwright.optimize(graph(name), machine(target), check=False)
    gained_s = report.before.latency_s - report.after.latency_s
    assert gained_s >= -SLACK * report.before.latency_s
    assert report.after.off_chip_bytes <= report.before.off_chip_bytes * (1 + SLACK)
    assert abs(sum(p.gain_s for p in report.passes) - gained_s) <= SLACK * report.before.latency_s


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_network_on_every_machine(name: str) -> None:
    for target in target_names():
        promised(f"zoo:{name}", machine(target))
