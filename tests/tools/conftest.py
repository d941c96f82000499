from pathlib import Path

import onnx
import pytest

from tests.tools.command import Invoke, block, invoker


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setenv("COLUMNS", "110")  # pytest may run in a terminal of any width
    return invoker(capsys)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that holds m.onnx."""
    onnx.save(block(), tmp_path / "m.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path
