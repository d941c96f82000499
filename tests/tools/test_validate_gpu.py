"""GPU goals, on the measurements beside the checkout."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from roofwright.targets import load_target
from roofwright.tools.validate import deepbench, networks_gpu
from roofwright.tools.validate.base import Comparison, Score, Tally, read_table
from tests.shared import TRUTH, needs_truth

pytestmark = needs_truth


@cache
def _comparisons() -> dict[tuple[str, str], Comparison]:
    found = [*deepbench.load(TRUTH), *networks_gpu.load(TRUTH)]
    return {(c.machine, c.kind): c for c in found if isinstance(c, Comparison)}


def _score(machine: str, kind: str) -> Score:
    return Score.of(_comparisons()[machine, kind])


def _wide(machine: str) -> Score:
    """GEMMs whose two sides exceed 128."""
    c = _comparisons()[machine, "gemm fp32"]
    at = np.array([min(map(int, label.split()[0].split("x")[:2])) > 128 for label in c.labels])
    parts = {"predicted_s": c.predicted_s[at], "measured_s": c.measured_s[at]}
    names = tuple(np.array(c.labels)[at]), tuple(np.array(c.reasons)[at])
    return Score.of(dataclasses.replace(c, **parts, labels=names[0], reasons=names[1]))


@pytest.mark.parametrize(
    ("machine", "kind", "within", "rank"),
    [
        ("v100", "gemm fp32", 0.95, 0.99),
        ("v100", "gemm fp16", 0.88, 0.99),
        ("t4", "gemm fp32", 0.95, 0.98),
        ("t4", "gemm fp16", 0.83, 0.98),
        ("gtx1080ti", "gemm fp32", 0.70, 0.98),
        ("m40", "gemm fp32", 0.70, 0.98),
        ("titan_x_maxwell", "gemm fp32", 0.70, 0.98),
        ("titan_x_pascal", "gemm fp32", 0.70, 0.98),
        ("vega_fe", "gemm fp32", 0.70, 0.98),
    ],
)
def test_products(machine: str, kind: str, within: float, rank: float) -> None:
    score = _score(machine, kind)
    assert score.within_25 >= within
    assert score.rank >= rank


@pytest.mark.parametrize("machine", ["gtx1080ti", "m40", "titan_x_pascal"])
def test_wide_products_from_the_spec_sheet_alone(machine: str) -> None:
    assert _wide(machine).within_25 >= 0.90


def test_every_wide_product_of_a_v100() -> None:
    assert _wide("v100").within_25 == 1.0


@pytest.mark.parametrize(
    ("machine", "kind", "error", "rank"),
    [
        ("v100", "conv fp32 forward", 0.14, 0.975),
        ("gtx1080ti", "conv fp32 forward", 0.14, 0.975),
        ("v100", "conv fp16 forward", 0.22, 0.95),
        ("m40", "conv fp32 forward", 0.22, 0.97),
        ("titan_x_maxwell", "conv fp32 forward", 0.22, 0.97),
        ("titan_x_pascal", "conv fp32 forward", 0.22, 0.97),
        ("v100", "conv fp32 data gradient", 0.25, 0.90),
        ("v100", "conv fp32 weight gradient", 0.25, 0.90),
        ("gtx1080ti", "conv fp32 data gradient", 0.25, 0.90),
        ("gtx1080ti", "conv fp32 weight gradient", 0.25, 0.90),
        ("t4", "conv fp32 data gradient", 0.25, 0.90),
        ("t4", "conv fp32 weight gradient", 0.25, 0.90),
    ],
)
def test_convolutions(machine: str, kind: str, error: float, rank: float) -> None:
    score = _score(machine, kind)
    assert score.median_error <= error
    assert score.rank >= rank


@pytest.mark.parametrize(("device", "machine"), [("NV_V100", "v100"), ("NV_1080Ti", "gtx1080ti")])
def test_rows_above_the_direct_peak_are_explained_by_winograd(device: str, machine: str) -> None:
    table = read_table(TRUTH / "deepbench_conv.json")
    records = list(table.records(device=device, precision="fp32"))
    measured_s = np.array([r["ms_fwd"] for r in records]) / 1e3
    target = load_target(machine)
    above = deepbench.conv_nests(records).macs / target.engine("sm").peak_macs_per_s("float32") > measured_s
    reasons = _comparisons()[machine, "conv fp32 forward"].reasons
    assert above.sum() >= 3
    assert all("winograd" in reason for reason, is_above in zip(reasons, above, strict=True) if is_above)


def test_resnet50_by_batch() -> None:
    tallies = [r for r in networks_gpu.load(TRUTH) if isinstance(r, Tally)]
    assert [t.share for t in tallies] == [1.0, 1.0]
    assert _score("v100", "resnet50 latency").within_25 >= 0.9


def test_fully_connected_training_steps() -> None:
    score = Score.of(_comparisons()["v100", "training step"])
    assert score.rank >= 0.98
    assert score.median_error <= 0.15
