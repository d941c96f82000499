"""TPU tables: the goals of the truth folder, and what the workload models must do without it."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from roofwright.targets import Target, load_target
from roofwright.tools.validate import tpu
from roofwright.tools.validate.base import Comparison, Score, Tally, read_one
from roofwright.tools.validate.tpuv1_apps import applications, run
from roofwright.tools.validate.training import Nets, price
from tests.shared import TRUTH, needs_truth


def _results(name: str) -> list[Any]:
    return read_one(TRUTH / name, tpu.READERS[name])


@needs_truth
def test_training_steps_of_tpu_v2() -> None:
    (comparison,) = _results("paradnn_tpuv2_fc.json")
    score = Score.of(comparison)
    assert score.points > 300
    assert score.rank >= 0.99
    assert score.median_error <= 0.08


@needs_truth
def test_binding_resources_of_tpu_v2() -> None:
    (tally,) = _results("paradnn_tpuv2_trace.json")
    assert isinstance(tally, Tally)
    assert tally.total > 50
    assert tally.share >= 0.95


@needs_truth
def test_what_fits_a_tpu_v2() -> None:
    (tally,) = _results("paradnn_tpuv2_memfit.json")
    assert tally.share >= 0.98


@needs_truth
def test_applications_of_tpu_v1() -> None:
    by_rate, by_counter = _results("tpuv1_isca17.json")
    assert isinstance(by_rate, Comparison)
    error = dict(zip(by_rate.labels, np.abs(by_rate.measured_s / by_rate.predicted_s - 1), strict=True))
    assert len(error) >= 3
    assert all(value <= 0.25 for name, value in error.items() if name != "CNN1")
    useful = dict(zip(by_counter.labels, by_counter.measured_s / by_counter.predicted_s, strict=True))
    assert abs(useful["CNN1"] - 1) <= 0.25


def _changed(target: Target, bandwidth: float = 1, clock: float = 1) -> Target:
    device = dataclasses.replace(target.device_memory, bytes_per_s=bandwidth * target.device_memory.bytes_per_s)
    engines = tuple(dataclasses.replace(e, clock_hz=clock * e.clock_hz) for e in target.engines)
    return dataclasses.replace(target, engines=engines, memories=(*target.memories[:-1], device))


@pytest.mark.parametrize("name", ["MLP0", "MLP1", "LSTM0", "LSTM1"])
def test_memory_bandwidth_not_clock_makes_a_tpu_v1_faster(name: str) -> None:
    # Jouppi et al., arXiv:1704.04760, figure 11: 4x bandwidth gives about 3x on MLPs and LSTMs, 4x clock nothing
    target, app = load_target("tpuv1"), applications()[name]
    before = run(app, target).seconds
    assert before / run(app, _changed(target, bandwidth=4)).seconds >= 2.5
    assert before / run(app, _changed(target, clock=4)).seconds == pytest.approx(1, abs=0.02)


def test_applications_have_the_weights_of_the_paper() -> None:
    # Table 1 of the paper: weights in millions, and MACs per weight
    table = {"MLP0": (20, 200), "MLP1": (5, 168), "LSTM0": (52, 64), "LSTM1": (34, 96), "CNN0": (8, 2888)}
    for name, (millions, reuse) in {**table, "CNN1": (100, 1750)}.items():
        nests = applications()[name].layers
        weights = sum(n.depth * n.out_channels for n in nests)
        assert weights / 1e6 == pytest.approx(millions, rel=0.06)
        assert sum(n.macs for n in nests) / weights == pytest.approx(reuse, rel=0.07)


def _steps(**changes: int) -> Any:
    row = {"layers": 8, "nodes": 1024, "input": 2000, "output": 1000, "global_batch": 1024, **changes}
    return price(Nets.of([row]), load_target("tpuv2", stack="tf-tpu-training"))


def test_what_binds_a_training_step() -> None:
    assert _steps(nodes=64, global_batch=16384).binding() == ["input"]
    assert _steps(nodes=8192, global_batch=64).binding() == ["memory"]
    assert _steps(nodes=8192, global_batch=16384).binding() == ["matrix"]


def test_a_training_step_grows_with_everything() -> None:
    base = _steps().step_s
    for change in ({"layers": 32}, {"nodes": 4096}, {"global_batch": 8192}, {"input": 20000}):
        assert _steps(**change).step_s > base


def test_parameters_and_activations_of_a_net() -> None:
    nets = Nets.of([{"layers": 2, "nodes": 3, "input": 5, "output": 7, "global_batch": 8}])
    assert nets.parameters == 5 * 3 + 3 * 3 + 3 * 7 + 2 * 3 + 7
    assert nets.activations == 5 + 6 + 7
