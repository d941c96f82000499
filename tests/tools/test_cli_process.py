"""What only a process can show: pipes, signals and the module as a program. Few, because each one costs a second."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.tools.command import contents

PROGRAM = (sys.executable, "-m", "roofwright")


def test_the_module_is_a_program(folder: Path) -> None:
    done = subprocess.run([*PROGRAM, "optimize", "none.onnx", "o.onnx"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "roofwright: error: none.onnx: no such file\n"


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*PROGRAM, "optimize", "m.onnx", "o.onnx"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "o.onnx").exists()


def test_a_full_stdout_and_a_plain_locale(folder: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    (folder / "m\u00fc.onnx").write_bytes((folder / "m.onnx").read_bytes())
    command = [*PROGRAM, "optimize", "m\u00fc.onnx", "--dry-run"]
    plain = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (plain.returncode, plain.stderr) == (0, "")
    assert r"m\xfc.onnx" in plain.stdout
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 7
    assert done.stderr == "roofwright: error: stdout: cannot be written: No space left on device\n"


def test_an_interrupt_leaves_nothing_behind(folder: Path) -> None:
    code = (
        "import os, signal, roofwright.passes.check as check\n"
        "from roofwright.tools.cli import optimize\n"
        "check.feeds = lambda *a, **k: os.kill(os.getpid(), signal.SIG{})\n"
        "optimize(['m.onnx', 'o.onnx'])\n"
    )
    before = contents(folder)
    for name, expected in (("INT", 130), ("TERM", 128 + signal.SIGTERM)):
        command = [sys.executable, "-c", code.format(name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == expected
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert contents(folder) == before
