"""The check's options, and what the report says was measured."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.builders import model
from tests.tools.command import SYMBOLIC, Invoke, contents


def said(text: str) -> str:
    """The lines about the check, as one."""
    return " ".join(text[text.index("\ncheck ") : text.index("\ntime ")].split())


@pytest.mark.parametrize(("sets", "runs"), [("1", 5), ("3", 5 + 2 * 4)])
def test_so_many_sets_of_each_kind_are_compared(sets: str, runs: int, folder: Path, invoke: Invoke) -> None:
    done = invoke("m.onnx", "o.onnx", "--check", sets, "--report", "r.json")
    assert json.loads((folder / "r.json").read_text())["check"]["runs"] == runs
    assert f"original and result on {runs} input sets" in said(done.out)


@pytest.mark.parametrize("flags", [("--check", "0"), ("--no-check",), ("--check", "3", "--no-check")])
def test_the_check_can_be_left_out(flags: tuple[str, ...], folder: Path, invoke: Invoke) -> None:
    assert "check not verified: switched off" in said(invoke("m.onnx", "o.onnx", *flags).out)


def test_the_seed_changes_what_is_measured(folder: Path, invoke: Invoke) -> None:
    found: dict[str, Any] = {}
    for seed in ("0", "0", "7"):
        invoke("m.onnx", "o.onnx", "--seed", seed, "--report", f"r{len(found)}.json")
        found[f"{seed} {len(found)}"] = json.loads((folder / f"r{len(found)}.json").read_text())["check"]
    first, again, other = found.values()
    assert first == again
    assert first["max_abs"] != other["max_abs"]


@pytest.mark.parametrize("flag", ["--check-input", "--input-data-path"])
@pytest.mark.parametrize("name", ["x:", ""])
def test_arrays_of_ones_own_are_compared_on(flag: str, name: str, folder: Path, invoke: Invoke) -> None:
    np.save(folder / "in.npy", np.ones((1, 3, 8, 8), np.float32))
    done = invoke("m.onnx", "o.onnx", flag, f"{name}in.npy")
    assert (done.code, "original and result on 1 input set," in said(done.out)) == (0, True)


def test_an_array_settles_the_sizes_of_the_other_inputs(folder: Path, invoke: Invoke) -> None:
    onnx.save(model(SYMBOLIC), folder / "s.onnx")
    np.save(folder / "x.npy", np.ones((2, 3, 6, 6), np.float32))
    done = invoke("s.onnx", "o.onnx", "--check-input", "x:x.npy", "--report", "r.json")
    check = json.loads((folder / "r.json").read_text())["check"]
    assert (done.code, check["status"], check["runs"], check["sizes"]) == (0, "passed", 5, 1)


def test_free_dimensions_are_checked_at_two_sizes_and_that_is_told(folder: Path, invoke: Invoke) -> None:
    onnx.save(model(SYMBOLIC), folder / "s.onnx")
    for flags in ((), ("--dim", "N=4", "--dim", "H=5")):
        assert "on 10 input sets of 2 sizes" in said(invoke("s.onnx", "o.onnx", *flags).out)


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (("--check", "-1"), 2, "'-1' is no number of at least 0"),
        (("--check", "two"), 2, "'two' is no number of at least 0"),
        (("--seed", "1.5"), 2, "'1.5' is no number of at least 0"),
        (("--check-input", "x:in.txt"), 2, "'x:in.txt' is no array; expected NAME:FILE.npy"),
        (("--check-input", "in.npy", "--check-input", "in.npy"), 2, "the array of the input is given twice"),
        (("--check-input", "q:in.npy"), 2, "no input is called 'q'; the model's inputs are x"),
        (("--check-input", "x:in.npy"), 2, "input 'x' is float32[1,3,8,8], not float32[2,2]"),
        (("--check-input", "x:in.npy", "--batch", "2"), 2, "arrays for the check do not go with a batch"),
        (("--check-input", "x:none.npy"), 3, "none.npy: no such file"),
        (("--check-input", "x:folder.npy"), 3, "folder.npy: is not a regular file"),
        (("--check-input", "x:bad.npy"), 3, "bad.npy: cannot be read as an array"),
        (("--check-input", "x:pickled.npy"), 3, "pickled.npy: cannot be read as an array"),
        (("--check-input", "x:zip.npy"), 3, "zip.npy: is an archive of arrays"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_wrong_is_one_line(flags: tuple[str, ...], code: int, words: str, folder: Path, invoke: Invoke) -> None:
    np.save(folder / "in.npy", np.ones((2, 2), np.float32))
    np.save(folder / "pickled.npy", np.array([{}], object))
    with (folder / "zip.npy").open("wb") as file:
        np.savez(file, a=np.ones(2))
    (folder / "bad.npy").write_bytes(b"\x93NUMPY no")
    (folder / "folder.npy").mkdir()
    before = contents(folder)
    done = invoke("m.onnx", "o.onnx", *flags)
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert done.err.count("\n") == 1
    assert contents(folder) == before


def test_an_unnamed_array_needs_a_single_input(folder: Path, invoke: Invoke) -> None:
    onnx.save(model(SYMBOLIC), folder / "s.onnx")
    np.save(folder / "in.npy", np.ones((2, 3, 6, 6), np.float32))
    done = invoke("s.onnx", "o.onnx", "--check-input", "in.npy")
    assert (done.code, "an array without an input's name: the model has 2 inputs (x, z)" in done.err) == (2, True)
