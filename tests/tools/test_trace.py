"""The trace: its form, what its events add up to, and how it is asked for."""

import json
from pathlib import Path
from typing import Any

import pytest

from roofwright.cost_model import Estimate, GraphModel, estimate
from roofwright.graph import read
from roofwright.passes import Options, Report, optimize_graph
from roofwright.targets import load_target
from roofwright.tools.trace import MOST_TILES, trace
from tests.tools.command import Invoke, block
from tests.tools.schema import errors

NUMBER = {"type": "number"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "displayTimeUnit": {"enum": ["ns", "ms"]},
        "otherData": {"type": "object", "additionalProperties": {}},
        "traceEvents": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "ph": {"enum": ["X", "C", "M"]},
                    "name": {"type": "string"},
                    "pid": {"type": "integer"},
                    "tid": {"type": "integer"},
                    "ts": NUMBER,
                    "dur": NUMBER,
                    "args": {"type": "object", "additionalProperties": {}},
                },
                "required": ["args", "name", "ph", "pid", "tid"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["displayTimeUnit", "otherData", "traceEvents"],
    "additionalProperties": False,
}


def traced(target: str) -> tuple[Report, dict[str, Any]]:
    _, report = optimize_graph(read("zoo:squeezenet"), load_target(target), Options(check=False))
    assert report.estimate is not None
    return report, json.loads(trace(report.estimate, report.schedule))


@pytest.fixture(scope="module")
def tpu() -> tuple[Report, dict[str, Any]]:
    return traced("tpuv2")


def events(content: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [event for event in content["traceEvents"] if event["ph"] == kind]


def names(content: dict[str, Any]) -> dict[tuple[int, int, str], str]:
    return {(e["pid"], e["tid"], e["name"]): e["args"]["name"] for e in events(content, "M")}


@pytest.mark.parametrize("target", ["tpuv1", "tpuv2", "kirin970", "v100", "host"])
def test_it_has_the_form_of_a_trace(target: str) -> None:
    _, content = traced(target)
    assert list(errors(content, SCHEMA, SCHEMA)) == []
    for event in events(content, "X"):
        assert event["ts"] >= 0
        assert event["dur"] >= 0


def test_every_kernel_is_on_the_track_of_its_engine_for_as_long_as_it_takes(tpu: tuple[Report, dict[str, Any]]) -> None:
    report, content = tpu
    line = tpu[0].estimate.timeline if tpu[0].estimate else None
    assert line is not None
    kernels = [event for event in events(content, "X") if "ops" in event["args"]]
    assert len(kernels) == report.after.kernels
    tracks = names(content)
    for event, engine, start, end in zip(kernels, line.engines, line.start_s, line.end_s, strict=True):
        assert tracks[event["pid"], event["tid"], "thread_name"] == engine
        assert event["ts"] == pytest.approx(start * 1e6)
        assert event["ts"] + event["dur"] == pytest.approx(end * 1e6)


def test_tiles_lie_inside_their_kernel_and_none_overlap_on_a_track(tpu: tuple[Report, dict[str, Any]]) -> None:
    report, content = tpu
    assert report.estimate is not None
    spans = {e["args"]["kernel"]: (e["ts"], e["ts"] + e["dur"]) for e in events(content, "X") if "ops" in e["args"]}
    last: dict[tuple[int, int], float] = {}
    tiles = [event for event in events(content, "X") if "tiles" in event["args"]]
    assert len(tiles) > len(spans)
    for event in sorted(tiles, key=lambda e: e["ts"]):
        assert spans[event["args"]["kernel"]][0] - 1e-6 <= event["ts"]
        late = event["args"]["kernel"] in report.estimate.costing.held.late and event["pid"] == 2
        assert event["ts"] + event["dur"] <= spans[event["args"]["kernel"] + late][1] + 1e-6
        track = (event["pid"], event["tid"])
        assert event["ts"] >= last.get(track, 0.0) - 1e-6
        last[track] = event["ts"] + event["dur"]


def test_many_tiles_share_events_and_the_file_says_so(tpu: tuple[Report, dict[str, Any]]) -> None:
    _, content = tpu
    stages: dict[tuple[int, int, int], int] = {}
    for event in events(content, "X"):
        if "tiles" in event["args"]:
            place = (event["args"]["kernel"], event["pid"], event["tid"])
            stages[place] = stages.get(place, 0) + 1
    assert max(stages.values()) <= MOST_TILES
    assert f"at most {MOST_TILES} events" in content["otherData"]["note"]


def test_counters_add_up_the_buffers_and_never_exceed_the_memory(tpu: tuple[Report, dict[str, Any]]) -> None:
    report, content = tpu
    assert report.schedule is not None
    on_chip = load_target("tpuv2").memories[0]
    counts = [event for event in events(content, "C") if event["name"] == on_chip.name]
    expected = [sum(p.total_bytes for _, p in live) for live in report.schedule.live_by_kernel(on_chip.name)]
    assert [event["args"]["bytes"] for event in counts[:-1]] == expected
    assert max(expected) <= on_chip.capacity_bytes
    assert counts[-1]["args"]["bytes"] == 0
    assert counts[-1]["ts"] == pytest.approx(content["otherData"]["modelled_s"] * 1e6)


def test_what_travels_ahead_is_on_a_track_of_its_own(tpu: tuple[Report, dict[str, Any]]) -> None:
    report, content = tpu
    line = report.estimate.timeline if report.estimate else None
    assert line is not None
    ahead = [event for event in events(content, "X") if "bytes" in event["args"]]
    assert len(ahead) == len(line.prefetched)
    assert sum(event["args"]["bytes"] for event in ahead) == pytest.approx(sum(p.bytes for p in line.prefetched))


def test_busy_time_of_an_engine_and_the_port_is_that_of_the_timeline(tpu: tuple[Report, dict[str, Any]]) -> None:
    report, content = tpu
    assert report.estimate is not None
    line, port = report.estimate.timeline, report.estimate.costing.tiles
    for at in range(len(port)):
        tiles = [e for e in events(content, "X") if e["args"].get("kernel") == at and "tiles" in e["args"]]
        if len(tiles) > 3 * MOST_TILES or any(e["name"].find("tiles") >= 0 for e in tiles):
            continue
        computed = sum(e["dur"] for e in tiles if e["pid"] == 1)
        if len({e["tid"] for e in tiles if e["pid"] == 1}) > 1:  # engines that overlap
            assert computed >= float(line.compute_s[at]) * 1e6 * (1 - 1e-9)
            continue
        assert computed == pytest.approx(float(line.compute_s[at]) * 1e6)


def test_the_link_carries_the_next_request_under_this_one(tpu: tuple[Report, dict[str, Any]]) -> None:
    report, content = tpu
    assert report.estimate is not None
    steady = report.estimate.steady
    link = [event for event in events(content, "X") if "buffers" in event["args"]]
    assert [event["name"] for event in link] == ["input of the next request", "output of the one before"]
    assert [event["dur"] for event in link] == pytest.approx([steady.input_s * 1e6, steady.output_s * 1e6])
    assert content["otherData"]["period_s"] == max(steady.input_s, steady.device_s, steady.output_s)
    _, shared = traced("kirin970")
    assert not [event for event in events(shared, "X") if "buffers" in event["args"]]


def test_engines_that_work_at_the_same_time_have_their_own_parts() -> None:
    _, report = optimize_graph(read("zoo:mobilenet_v2"), load_target("tpuv2"), Options(check=False))
    assert report.estimate is not None
    assert report.schedule is not None
    piped = [at for at, cost in report.estimate.costing.strips.items() if cost.overlaps]
    assert piped
    content = json.loads(trace(report.estimate, report.schedule))
    tracks = names(content)
    for at in piped:
        mine = [e for e in events(content, "X") if e["args"].get("kernel") == at and "tiles" in e["args"]]
        on = {tracks[e["pid"], e["tid"], "thread_name"] for e in mine if e["pid"] == 1}
        wanted = {node.engine or report.schedule.kernels[at].engine for node in report.schedule.kernels[at].nodes}
        assert wanted <= on
        ends = [e["ts"] + e["dur"] for e in mine if e["pid"] == 1]
        assert max(ends) <= float(report.estimate.timeline.end_s[at]) * 1e6 * (1 + 1e-9)


def test_without_a_schedule_there_are_no_counters() -> None:
    model = GraphModel.of(read(block()))
    priced: Estimate = estimate(model, load_target("tpuv2"))
    assert events(json.loads(trace(priced, None)), "C") == []


def test_the_command_writes_it(folder: Path, invoke: Invoke) -> None:
    done = invoke("m.onnx", "--dry-run", "--target", "tpuv2", "--trace", "t.json")
    assert (done.code, done.err) == (0, "")
    assert list(errors(json.loads((folder / "t.json").read_text()), SCHEMA, SCHEMA)) == []
    shown = invoke("m.onnx", "--dry-run", "--target", "tpuv2", "--trace", "-")
    assert json.loads(shown.out)["traceEvents"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trace", "t.txt"), "trace t.txt: expected a name that ends in .json"),
        (("--trace", "-", "--report", "-"), "report and trace cannot both go to stdout"),
        (("--trace", "r.json", "--report", "r.json"), "r.json: cannot be both"),
    ],
)
def test_a_wrong_place_is_told_in_one_line(
    arguments: tuple[str, ...], message: str, folder: Path, invoke: Invoke
) -> None:
    done = invoke("m.onnx", "--dry-run", "--target", "tpuv2", *arguments)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


def test_functions_and_limits_of_memory_on_the_command_line(folder: Path, invoke: Invoke) -> None:
    assert invoke("m.onnx", "o.onnx", "--target", "tpuv2", "--emit", "functions").code == 0
    assert invoke("o.onnx", "--dry-run", "--target", "tpuv2").code == 0
    done = invoke("m.onnx", "--dry-run", "--target", "tpuv2", "--max-memory", "1K")
    assert done.code == 4
    assert "--max-memory 0.0M cannot be met: the smallest peak memory reached is" in done.err
    told = invoke("m.onnx", "--dry-run", "--target", "tpuv2", "--max-memory", "1G")
    assert "peak memory of a run" in told.out
