from pathlib import Path

import onnx
import pytest

from tests.tools.command import Invoke, block, invoker


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Invoke:
    return invoker(capsys)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that holds m.onnx."""
    onnx.save(block(), tmp_path / "m.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path
