"""The report: the JSON form holds to its schema and is the same in every run; the terminal form says what is needed."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roofwright.cost_model import Fallback
from roofwright.graph import read
from roofwright.passes import Options, Report, optimize_graph
from roofwright.targets import load_target
from roofwright.tools.report.losses import add_losses
from roofwright.tools.report.page import Page, shortened, wrapped
from roofwright.tools.report.summary import add_summary, fused, shown_ops
from roofwright.tools.report.terminal import Shown, print_report
from roofwright.tools.report.units import change, count, factor, percent, rate, seconds, size
from tests.builders import model
from tests.tools.command import Invoke, block
from tests.tools.schema import errors

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "report.schema.json").read_text())


@pytest.fixture(scope="module")
def report() -> Report:
    return optimize_graph(read(block()), load_target("tpuv2"), Options())[1]


def test_the_json_form_holds_to_its_schema(report: Report) -> None:
    assert list(errors(json.loads(report.to_json()), SCHEMA, SCHEMA)) == []


def test_a_report_with_near_misses_and_failures_holds_to_it_too() -> None:
    shared = "agraph (float[1,3,8,8] x) => (float[1,3,8,8] y, float[1,3,8,8] c) { c = Conv(x, w) y = Mul(c, s) }"
    proto = model(shared, w=(3, 3, 1, 1), s=(3, 1, 1))
    graph, target = read(proto), load_target("host")
    found = optimize_graph(graph, target, Options(check=False))[1]
    data = json.loads(found.to_json())
    assert data["near_misses"]
    assert list(errors(data, SCHEMA, SCHEMA)) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ((), {"extra": 1}, "$: extra is unknown"),
        (("before",), {"macs": "many"}, "$.before.macs: expected number"),
        (("after", "causes_s"), {"luck": 0.0}, "$.after.causes_s: luck is unknown"),
        (("check",), {"status": "fine"}, "$.check.status: 'fine' is none of"),
        ((), {"schema": "roofwright.report/0"}, "$.schema: expected 'roofwright.report/1'"),
    ],
)
def test_the_schema_refuses_what_is_not_in_it(
    path: tuple[str, ...], value: dict[str, Any], said: str, report: Report
) -> None:
    data = copy.deepcopy(json.loads(report.to_json()))
    place = data
    for key in path:
        place = place[key]
    place.update(value)
    assert any(error.startswith(said) for error in errors(data, SCHEMA, SCHEMA))


def test_two_runs_give_the_same_bytes_without_paths_and_clocks(folder: Path, invoke: Invoke) -> None:
    for name in ("one", "two"):
        invoke("m.onnx", f"{name}.onnx", "--target", "v100", "--report", f"{name}.json", "--schedule", f"{name}s.json")
    first, second = (folder / "one.json").read_text(), (folder / "two.json").read_text()
    assert first == second
    assert (folder / "ones.json").read_bytes() == (folder / "twos.json").read_bytes()
    assert str(folder) not in first
    assert "m.onnx" not in first


def test_the_causes_sum_to_the_latency(report: Report) -> None:
    for side in (report.before, report.after):
        assert side.ideal_s + sum(side.causes_s.values()) == pytest.approx(side.latency_s, rel=1e-12)


def test_it_leads_with_the_gap_to_the_bound(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    gap, after = report.gap, report.after
    assert (gap.device_s, gap.bound_s) == (after.device_s, after.bound_s)
    assert (gap.off_chip_bytes, gap.bound_bytes) == (after.off_chip_bytes, after.bound_bytes)
    assert gap.time_ratio == after.device_s / after.bound_s >= 1
    assert gap.bytes_ratio == after.off_chip_bytes / after.bound_bytes >= 1
    assert json.loads(report.to_json())["gap"]["time_ratio"] == gap.time_ratio
    shown = " ".join(printed(report, capsys).split())
    said = f"o.onnx gap: device time {seconds(gap.device_s)} modelled, {seconds(gap.bound_s)} bound"
    assert f"{said}: {gap.time_ratio:.2f} x off-chip traffic" in shown
    for layer in after.layers:
        assert layer.off_chip_bytes >= layer.bound_bytes > 0
        assert layer.time_ratio == layer.seconds / layer.bound_s


def test_rows_are_of_operators_that_changed_or_were_fused(report: Report) -> None:
    assert shown_ops(report.before, report.after) == ["BatchNormalization", "Conv", "Relu"]
    assert fused("Conv", report.after) == "1 in 1 fused kernel"
    assert fused("BatchNormalization", report.after) == ""
    many = {f"Op{number}": number for number in range(9)}
    shown = shown_ops(replace(report.before, ops=many), replace(report.after, ops={"Conv": 0}))
    assert shown[:2] == ["Op8", "Op7"]
    assert len(shown) <= 5


def printed(report: Report, capsys: pytest.CaptureFixture[str], **settings: Any) -> str:
    own_s = {"load": 0.1, "passes": 0.2, "check": 0.3, "save": 0.01, "all": 0.7}
    print_report(report, load_target("tpuv2"), "m.onnx", Path("o.onnx"), own_s, Shown(**settings))
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 200])
def test_it_fits_the_terminal(
    width: int, report: Report, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = printed(report, capsys)
    assert max(map(len, text.splitlines())) <= width
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    assert "\x1b" not in text
    assert text.isascii()
    told = " ".join(text.split())
    for part in ("modelled, not measured", "proven lower bound", "= latency", "original and result on 5 input sets"):
        assert part in told


def test_verbose_lists_every_layer_and_near_miss(folder: Path, invoke: Invoke) -> None:
    brief, full = (invoke("m.onnx", "--dry-run", "--target", "tpuv2", *flags).out for flags in ((), ("-v",)))
    assert "worst cause" not in brief
    rows = full.split("worst cause")[1].splitlines()
    assert [row.split()[-2:] for row in rows if row.startswith("n ")] == [["Conv", "Relu"]]


def test_what_rounding_leaves_is_shown_as_nothing(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    noisy = {**report.after.causes_s, "overlap": -4.3e-19, "overhead": 2e-20}
    text = printed(replace(report, after=replace(report.after, causes_s=noisy)), capsys)
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert "e-" not in lines["+ overlap"] + lines["+ overhead"]
    assert " 0 s " in lines["+ overhead"]


def test_losses_name_cause_layers_and_lever(report: Report) -> None:
    page = Page(200)
    layers = tuple(replace(report.after.layers[0], name=f"l{n}") for n in range(3))
    causes = dict.fromkeys(report.after.causes_s, 0.0) | {"memory": 0.5}
    lost = tuple(replace(layer, causes_s=causes) for layer in layers)
    after = replace(report.after, latency_s=1.0, causes_s=causes, layers=lost, fallbacks=())
    add_losses(page, replace(report, after=after))
    assert page.lines[2] == "  memory 500 ms (50.0 %): fusion with its neighbours, or keeping its tensors on chip"
    assert page.lines[3] == "    most in Conv l0 500 ms (and 2 like it)"
    assert len(page.lines) == 4


def test_what_runs_beside_the_unit_is_told_where_it_matters(report: Report) -> None:
    page = Page(200)
    slow = Fallback("Softmax", "vpu", "no matrix product", 12, 0.5 * report.after.latency_s)
    fast = replace(slow, op="Relu", seconds=0.001 * report.after.latency_s)
    add_losses(page, replace(report, after=replace(report.after, fallbacks=(slow, fast))))
    assert page.lines[1] == "what runs beside the special unit"
    assert page.lines[2].startswith("  12 x Softmax on vpu, ")
    assert page.lines[2].endswith("(50.0 %): no matrix product")
    assert page.lines[3] == ""


def test_batches_are_told(report: Report) -> None:
    page = Page(200)
    add_summary(page, replace(report, batch=(1, 8)))
    text = "\n".join(page.lines)
    assert "latency (batch 1 -> 8)" in text
    assert "device time per sample" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (seconds(0.0009996), "1.00 ms"),
        (seconds(2.4e-3), "2.40 ms"),
        (seconds(885e-6), "885 us"),
        (seconds(1.5e-12), "0.00150 ns"),
        (seconds(-4e-19, 1e-3), "0 s"),
        (seconds(0), "0 s"),
        (seconds(-17.6e-9), "-17.6 ns"),
        (count(300.774e6), "300.8 M"),
        (count(999_950), "1.0 M"),
        (count(152), "152"),
        (count(0.5), "0.5"),
        (size(13.4 * 2**20), "13.4 MiB"),
        (size(12), "12 B"),
        (percent(0.061), "6.1 %"),
        (percent(0.00006), "0.006 %"),
        (change(100, 37.2), "-62.8 %"),
        (change(100, 99.999), "0.0 %"),
        (change(1, 389), "x 389"),
        (change(0, 5), ""),
        (factor(1, 3.2), "x 3.2"),
        (factor(1, 1.001), ""),
        (rate(1176.4), "1,176"),
        (rate(38.24), "38.2"),
        (shortened("abcdefghij" * 3, 12), "abc...efghij"),
        (shortened("short", 12), "short"),
    ],
)
def test_figures(text: str, expected: str) -> None:
    assert text == expected


def test_words_are_wrapped_and_long_ones_left_whole() -> None:
    assert wrapped("  one two three", 9, "    ") == ["  one two", "    three"]
    assert wrapped("a " + "x" * 20, 10) == ["a", "x" * 20]


def test_columns_are_aligned_and_the_last_one_wraps() -> None:
    page = Page(60, styled=True)
    page.table([("name", "n", "text"), ("a", "10", "word " * 20)], "lrl", header=True)
    assert page.lines[0] == "\x1b[1mname   n  text\x1b[0m"
    assert page.lines[1].startswith("a     10  word")
    assert page.lines[2].startswith(" " * 10 + "word")
    assert max(map(len, page.lines[1:])) <= 60
