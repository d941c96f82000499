"""The commands, run in this process as a shell would run them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from roofwright.tools import cli
from tests.builders import model

BLOCK = """
agraph (float[1,3,8,8] x) => (float[1,4,8,8] y) {
  c = Conv<pads = [1,1,1,1]>(x, w)
  n = BatchNormalization(c, scale, bias, mean, var)
  y = Relu(n)
}
"""
SYMBOLIC = """
agraph (float[N,3,H,H] x, float[N,1,1,1] z) => (float[N,3,P,H] y) {
  s = Relu(x)
  y = Add(s, z)
}
"""
ONES, ZEROS = np.ones(4, np.float32), np.zeros(4, np.float32)


def block() -> onnx.ModelProto:
    """A convolution block of three nodes that becomes two."""
    return model(BLOCK, w=(4, 3, 3, 3), scale=ONES, bias=ZEROS, mean=ZEROS, var=ONES)


@dataclass(frozen=True)
class Outcome:
    """What a process leaves behind."""

    code: int
    out: str
    err: str


Invoke = Callable[..., Outcome]


def invoker(capsys: pytest.CaptureFixture[str]) -> Invoke:
    """A function that runs `optimize ARGUMENTS`, or another entry point, and captures what it does."""

    def invoke(*arguments: str | Path, entry: str = "optimize") -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            getattr(cli, entry)([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        code = left.value.code
        return Outcome(0 if code is None else int(code), captured.out, captured.err)

    return invoke


def contents(folder: Path) -> dict[str, bytes]:
    """Every regular file of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
