"""The report as data: figures that add up, names that are stable, no clocks or paths in its JSON form."""

import json
from functools import cache

import onnx
import pytest

import roofwright
from roofwright.cost_model import CAUSES
from roofwright.passes import PassReport, Record, Report
from roofwright.passes.report import SCHEMA
from tests.builders import model

BLOCK = """g (float[1,4,8,8] x) => (float[1,8,6,6] y) {
    a = Conv(x, w)  b = Mul(a, s)  r = Relu(b)  i = Identity(r)  y = Softmax<axis=1>(i) }"""


def block() -> onnx.ModelProto:
    return model(BLOCK, w=(8, 4, 3, 3), s=(8, 1, 1))


@cache
def report(target: str = "tpuv2") -> Report:
    return roofwright.optimize(block(), target, check=False).report


@pytest.mark.parametrize("target", ["tpuv2", "v100", "kirin970"])
def test_causes_and_layers_sum_to_the_latency(target: str) -> None:
    for side in (report(target).before, report(target).after):
        assert side.ideal_s + sum(side.causes_s.values()) == pytest.approx(side.latency_s, rel=1e-12)
        assert list(side.causes_s) == [name for name, _ in CAUSES]
        kernels = sum(layer.seconds for layer in side.layers)
        assert kernels <= side.device_s * (1 + 1e-12)
        assert len(side.layers) == side.kernels
        for layer in side.layers:
            assert layer.ideal_s + sum(layer.causes_s.values()) == pytest.approx(layer.seconds, rel=1e-9)
            assert layer.worst_cause == max(layer.causes_s, key=lambda name: layer.causes_s[name])
            assert layer.lever
            assert layer.bound_s <= layer.seconds * (1 + 1e-9)


def test_gains_of_the_passes_are_the_whole_gain() -> None:
    found = report()
    assert sum(p.gain_s for p in found.passes) == pytest.approx(
        found.before.latency_s - found.after.latency_s, rel=1e-9
    )


def test_nodes_are_counted_by_operator() -> None:
    found = report()
    assert found.before.ops == {"Conv": 1, "Identity": 1, "Mul": 1, "Relu": 1, "Softmax": 1}
    assert found.after.ops == {"Conv": 1, "Relu": 1, "Softmax": 1}
    assert (found.before.nodes, found.after.nodes) == (5, 3)
    assert found.before.parameter_bytes == 4 * (8 * 4 * 9 + 8)


def test_json_is_versioned_sorted_and_the_same_every_time() -> None:
    text = report().to_json()
    data = json.loads(text)
    assert data["schema"] == SCHEMA
    assert list(data) == sorted(data)
    assert data["target"] == {"name": "tpuv2", "title": report().target_title}
    assert roofwright.optimize(block(), "tpuv2", check=False).report.to_json() == text
    assert "seconds" not in data


def test_near_misses_are_told_once() -> None:
    same = Record("fold", "n1", "Conv", applied=False, reason="shared")
    passes = (PassReport("a", "exact", 0, 0.0, records=(same, same)), PassReport("b", "exact", 0, 0.0, records=(same,)))
    found = Report(**{**vars(report()), "passes": passes})
    assert [(name, record.anchor) for name, record in found.near_misses] == [("a", "n1"), ("b", "n1")]
    assert not found.changed


def test_a_schedule_alone_changes_no_graph() -> None:
    once = roofwright.optimize(block(), "tpuv2", check=False).model
    again = roofwright.optimize(once, "tpuv2", check=False).report
    assert report().changed
    assert not again.changed
    assert again.schedule is not None


def test_peak_on_chip_is_that_of_scratchpads_only() -> None:
    assert report("v100").after.on_chip_bytes == 0
    assert 0 < report("tpuv2").after.on_chip_bytes <= 16 << 20


def test_assumptions_are_printed() -> None:
    found = report("tpuv1")
    assert any("float32 is stored as int8" in line for line in found.assumptions)


def test_what_is_not_modelled_shows() -> None:
    header = '<ir_version: 8, opset_import: ["": 17, "acme": 1]>'
    proto = model(f"{header} g (float[4] x) => (float[4] y) <float[4] a> {{ a = acme.Foo(x)  y = Neg(a) }}")
    found = roofwright.optimize(proto, "tpuv2", check=False).report
    for side in (found.before, found.after):
        assert [(name, op) for name, op, _ in side.not_modelled] == [("a", "acme.Foo")]
    assert found.to_dict()["after"]["not_modelled"]
