"""Where results go: what is written, what is not when something fails, and that an existing file is never lost."""

import json
import os
from pathlib import Path
from typing import Any

import onnx
import onnx_graphsurgeon as gs
import pytest

from roofwright.graph import WriteError
from roofwright.passes import Context, PassResult, Record
from roofwright.passes.fusion import FuseBatchNorm
from roofwright.tools import cli, outputs
from tests.builders import assert_same, feeds, model
from tests.tools.command import SYMBOLIC, Invoke, block, contents


@pytest.mark.parametrize("place", [("out.onnx",), ("-o", "out.onnx"), ("--output", "out.onnx")])
def test_both_spellings_of_the_output_write_the_same_model(
    place: tuple[str, ...], folder: Path, invoke: Invoke
) -> None:
    done = invoke("m.onnx", *place, "--target", "tpuv2")
    assert (done.code, done.err) == (0, "")
    assert sorted(contents(folder)) == ["m.onnx", "out.onnx"]
    made = onnx.load(folder / "out.onnx")
    onnx.checker.check_model(made, full_check=True)
    assert [node.op_type for node in made.graph.node] == ["Conv", "Relu"]
    assert_same(block(), made, feeds(block()))


def test_a_dry_run_writes_reports_only(folder: Path, invoke: Invoke) -> None:
    done = invoke("m.onnx", "out.onnx", "--dry-run", "--report", "r.json", "--schedule", "s.json", "--target", "tpuv2")
    assert done.code == 0
    assert "m.onnx -> (dry run)" in done.out
    assert sorted(contents(folder)) == ["m.onnx", "r.json", "s.json"]
    assert json.loads((folder / "s.json").read_text())["target"] == "tpuv2"


def test_quiet_prints_nothing(folder: Path, invoke: Invoke) -> None:
    assert invoke("m.onnx", "out.onnx", "-q").out == ""
    assert (folder / "out.onnx").exists()


@pytest.mark.parametrize("kind", ["report", "schedule"])
def test_a_dash_puts_the_file_on_stdout_alone(kind: str, folder: Path, invoke: Invoke) -> None:
    done = invoke("m.onnx", "out.onnx", f"--{kind}", "-")
    assert json.loads(done.out)["schema"] == f"roofwright.{kind}/1"
    assert sorted(contents(folder)) == ["m.onnx", "out.onnx"]


def test_in_place_needs_force(folder: Path, invoke: Invoke) -> None:
    before = contents(folder)
    done = invoke("m.onnx", "m.onnx")
    assert done.code == 7
    assert "m.onnx: is the input itself; say so (--force) to replace it" in done.err
    assert contents(folder) == before
    assert invoke("m.onnx", "m.onnx", "--force").code == 0
    assert_same(block(), onnx.load(folder / "m.onnx"), feeds(block()))


def test_a_report_never_replaces_the_input(folder: Path, invoke: Invoke) -> None:
    (folder / "m.json").write_bytes((folder / "m.onnx").read_bytes())
    done = invoke("m.json", "out.onnx", "--force", "--report", "m.json")
    assert (done.code, "m.json: cannot be both the report and the input" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nodir/out.onnx",), "nodir/out.onnx: its folder does not exist"),
        (("dir.onnx",), "dir.onnx: exists and is not a file"),
        (("fifo.onnx",), "fifo.onnx: exists and is not a file"),
        (("out.onnx", "--report", "nodir/r.json"), "nodir/r.json: its folder does not exist"),
        (("out.onnx", "--schedule", "nodir/s.json"), "nodir/s.json: its folder does not exist"),
        (("out.onnx", "--report", "dir.json"), "dir.json: exists and is not a file"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    arguments: tuple[str, ...], said: str, folder: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "dir.onnx").mkdir()
    (folder / "dir.json").mkdir()
    os.mkfifo(folder / "fifo.onnx")
    (folder / "m.onnx").write_bytes(b"not read")
    done = invoke("m.onnx", *arguments)
    assert (done.code, done.out) == (7, "")
    assert said in done.err
    assert sorted(contents(folder)) == ["m.onnx"]


def test_a_read_only_folder_is_refused(folder: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    done = invoke("m.onnx", "out.onnx")
    assert (done.code, "out.onnx: its folder cannot be written" in done.err) == (7, True)


def test_nothing_is_written_when_the_model_cannot_be(
    folder: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise WriteError("out.onnx: cannot be written: No space left on device")

    (folder / "out.onnx").write_bytes(b"precious")
    (folder / "r.json").write_bytes(b"precious too")
    before = contents(folder)
    monkeypatch.setattr(outputs, "save", full)
    done = invoke("m.onnx", "out.onnx", "--report", "r.json", "--schedule", "s.json")
    assert (done.code, done.out) == (7, "")
    assert contents(folder) == before


def spoil(self: FuseBatchNorm, graph: gs.Graph, ctx: Context) -> PassResult:
    """A pass that doubles the first weight."""
    weight = graph.nodes[0].inputs[1]
    assert isinstance(weight, gs.Constant)
    if weight.name == "spoilt":
        return PassResult()
    graph.nodes[0].inputs[1] = gs.Constant("spoilt", weight.values * 2)
    return PassResult((Record("spoil", "c", "Conv", applied=True),))


def test_a_wrong_result_is_exit_5_and_nothing_is_written(
    folder: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FuseBatchNorm, "run", spoil)
    (folder / "out.onnx").write_bytes(b"precious")
    before = contents(folder)
    done = invoke("m.onnx", "out.onnx", "--report", "r.json")
    assert (done.code, done.out) == (5, "")
    assert done.err.startswith("optimize: error: the optimized model is wrong: output y differs by ")
    assert done.err.count("\n") == 1
    assert contents(folder) == before
    assert invoke("m.onnx", "out.onnx", "--no-check").code == 0


def test_a_pass_that_fails_is_left_out_unless_strict(
    folder: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> PassResult:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(FuseBatchNorm, "run", fail)
    done = invoke("m.onnx", "out.onnx")
    assert done.code == 0
    assert "rolled back: ZeroDivisionError: by zero" in done.out
    strict = invoke("m.onnx", "strict.onnx", "--strict")
    assert (strict.code, strict.out) == (4, "")
    assert "pass fuse-batch-norm was rolled back" in strict.err
    assert not (folder / "strict.onnx").exists()


def raising(error: BaseException) -> Any:
    """Stands in for what reads the model."""

    def read(*_: object, **__: object) -> None:
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "optimize: error: interrupted\n"),
        (MemoryError(), 6, "optimize: error: out of memory\n"),
        (ValueError("two\nlines"), 1, "optimize: error: internal error (ValueError: two lines); -v shows where\n"),
        (OSError(28, "No space left on device"), 7, "optimize: error: stdout: cannot be written: No space left on"),
        (BrokenPipeError(), 0, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_happens_is_one_line(
    error: BaseException, code: int, said: str, folder: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roofwright.graph.onnx_io.read", raising(error))
    monkeypatch.setattr(cli, "_silence", lambda: None)
    done = invoke("m.onnx", "out.onnx")
    assert done.code == code
    assert done.err.startswith(said)
    assert done.err.count("\n") == bool(said)
    assert sorted(contents(folder)) == ["m.onnx"]


def test_verbose_shows_where_an_internal_error_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roofwright.graph.onnx_io.read", raising(ValueError("a bug")))
    with pytest.raises(ValueError, match="a bug"):
        cli.optimize(["m.onnx", "out.onnx", "-v"])


@pytest.mark.parametrize(
    "flags",
    [
        ("--overwrite-input-shape", "x:2,3,8,8"),
        ("--input-shape", "x[2,3,8,8]", "--input-shape", "z:[2,1,1,1]"),
        ("--override-input-shapes", "x:[2, 3, 8, 8]"),
    ],
)
def test_pinned_shapes_reach_every_port(flags: tuple[str, ...], folder: Path, invoke: Invoke) -> None:
    onnx.save(model(SYMBOLIC), folder / "s.onnx")
    assert invoke("s.onnx", "out.onnx", *flags).code == 0
    made = onnx.load(folder / "out.onnx")
    onnx.checker.check_model(made, full_check=True)
    every = (*made.graph.input, *made.graph.output)
    ports = {port.name: [dim.dim_value for dim in port.type.tensor_type.shape.dim] for port in every}
    assert ports == {"x": [2, 3, 8, 8], "z": [2, 1, 1, 1], "y": [2, 3, 8, 8]}


@pytest.mark.parametrize("flag", ["--skip-passes", "--skip-optimization", "--skip-fusion-patterns"])
def test_skipped_passes_do_not_run(flag: str, folder: Path, invoke: Invoke) -> None:
    assert invoke("m.onnx", "out.onnx", flag, "fuse-batch-norm").code == 0
    assert "BatchNormalization" in {node.op_type for node in onnx.load(folder / "out.onnx").graph.node}


def test_aliases_are_not_listed(invoke: Invoke) -> None:
    text = invoke("--help").out
    assert "--overwrite-input-shape" in text
    assert "--skip-passes" in text
    for alias in ("--input-shape", "--override-input-shapes", "--skip-optimization", "--skip-fusion-patterns"):
        assert f"{alias} " not in text
        assert f"{alias}," not in text


def test_the_output_shows_its_schedule(folder: Path, invoke: Invoke) -> None:
    assert invoke("m.onnx", "out.onnx", "--target", "tpuv2", entry="optimize").code == 0
    shown = invoke("show", "out.onnx", entry="main")
    assert shown.code == 0
    assert "1 kernels for tpuv2, batch 1" in shown.out
    assert "Conv Relu" in shown.out
    assert json.loads(invoke("show", "out.onnx", "--json", entry="main").out)["schema"] == "roofwright.schedule/1"


def test_optimizing_an_output_again_changes_nothing(folder: Path, invoke: Invoke) -> None:
    invoke("m.onnx", "once.onnx", "--target", "tpuv2")
    invoke("once.onnx", "twice.onnx", "--target", "tpuv2")
    assert (folder / "once.onnx").read_bytes() == (folder / "twice.onnx").read_bytes()


@pytest.mark.parametrize("entry", ["optimize", "main"])
def test_version_and_help(entry: str, invoke: Invoke) -> None:
    assert invoke("--version", entry=entry).out.split()[1] == "0.1.0"
    assert "Exit codes: 0 success" in invoke("--help", entry=entry).out


def test_the_subcommand_is_the_same_door(folder: Path, invoke: Invoke) -> None:
    invoke("m.onnx", "a.onnx", "-q")
    invoke("optimize", "m.onnx", "b.onnx", "-q", entry="main")
    assert (folder / "a.onnx").read_bytes() == (folder / "b.onnx").read_bytes()
