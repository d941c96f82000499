"""Models that cannot be read, or must not be: exit 3, one line, nothing written, an existing output untouched."""

import os
from pathlib import Path

import onnx
import pytest

from tests.tools.command import Invoke, block, contents


def refused(invoke: Invoke, name: str, said: str, *flags: str) -> None:
    """The model is refused and everything on disk stays what it was."""
    Path("out.onnx").write_bytes(b"precious")
    before = contents(Path())
    done = invoke(name, "-o", "out.onnx", *flags)
    assert (done.code, done.out) == (3, "")
    assert done.err.count("\n") == 1
    assert said in done.err
    assert contents(Path()) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "bad.onnx: is empty"),
        (b"just some text\n" * 10, "bad.onnx"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "bad.onnx"),
        (bytes(range(255, 0, -1)) * 20, "bad.onnx"),
        (b"\x1f\x8b\x08\x00" + bytes(range(200)), "bad.onnx"),
    ],
    ids=["empty", "text", "png", "garbage", "gzip"],
)
def test_what_is_no_model_is_refused(content: bytes, said: str, folder: Path, invoke: Invoke) -> None:
    (folder / "bad.onnx").write_bytes(content)
    refused(invoke, "bad.onnx", said)


@pytest.mark.parametrize("sixteenth", range(1, 16, 2))
def test_a_truncated_model_is_refused(sixteenth: int, folder: Path, invoke: Invoke) -> None:
    whole = (folder / "m.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) * sixteenth // 16])
    refused(invoke, "cut.onnx", "error: ")


def test_what_is_no_file_is_refused(folder: Path, invoke: Invoke) -> None:
    (folder / "dir.onnx").mkdir()
    os.mkfifo(folder / "fifo.onnx")
    refused(invoke, "dir.onnx", "dir.onnx: Is a directory")
    refused(invoke, "fifo.onnx", "fifo.onnx: is not a regular file")
    refused(invoke, "missing.onnx", "missing.onnx: no such file")
    refused(invoke, "/dev/zero", "/dev/zero: is not a regular file")


def test_control_characters_of_a_name_do_not_reach_the_terminal(folder: Path, invoke: Invoke) -> None:
    refused(invoke, "a\x1b[31m\nb.onnx", r"a\x1b[31m\nb.onnx: no such file")


def test_a_model_that_breaks_the_rules_is_refused(folder: Path, invoke: Invoke) -> None:
    proto = block()
    proto.graph.node[0].input[0] = "nowhere"
    (folder / "bad.onnx").write_bytes(proto.SerializeToString())
    refused(invoke, "bad.onnx", "nowhere")


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "a/../../secret.bin"])
def test_external_data_outside_the_folder_is_refused(location: str, folder: Path, invoke: Invoke) -> None:
    proto = block()
    weight = proto.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    (folder / "bad.onnx").write_bytes(proto.SerializeToString())
    refused(invoke, "bad.onnx", "error: ")


def test_a_model_without_a_schedule_has_nothing_to_show(folder: Path, invoke: Invoke) -> None:
    done = invoke("show", "m.onnx", entry="main")
    assert (done.code, done.out) == (3, "")
    assert "m.onnx: carries no schedule; expected an output of optimize" in done.err


def test_a_folder_without_tables_cannot_be_validated(folder: Path, invoke: Invoke) -> None:
    done = invoke("validate", ".", entry="main")
    assert (done.code, done.out) == (3, "")
    assert "holds none of the known tables" in done.err
    (folder / "deepbench_gemm.json").write_text("{")
    assert "deepbench_gemm.json" in invoke("validate", ".", entry="main").err
