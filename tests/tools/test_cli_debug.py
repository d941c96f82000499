"""The options for whoever wants to know which pass did what: lists, dumps, texts, limits, and the bisection."""

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from roofwright.graph import Edit, canonical_text, key
from roofwright.passes import PASSES
from roofwright.passes.fusion.batch_norm import FoldBackward
from tests.builders import model
from tests.tools.command import ONES, ZEROS, Invoke, block, contents

DEEP = """
agraph (float[1,4,8,8] x) => (float[1,4,8,8] y) {
  c1 = Conv<pads = [1,1,1,1]>(x, w)  n1 = BatchNormalization(c1, scale, bias, mean, var)  r1 = Relu(n1)
  c2 = Conv<pads = [1,1,1,1]>(r1, w)  n2 = BatchNormalization(c2, scale, bias, mean, var)  r2 = Relu(n2)
  c3 = Conv<pads = [1,1,1,1]>(r2, w)  n3 = BatchNormalization(c3, scale, bias, mean, var)  y = Relu(n3)
}
"""
NO_MERGING = ("--skip-passes", "common-subexpressions")  # of initializers that hold the same
FAULT = """
from roofwright.graph import key
from roofwright.passes.fusion.batch_norm import FoldBackward
from roofwright.tools.cli import optimize
sound = FoldBackward.apply
def faulty(self, edit):
    wrong = key(self.node) == "n2"
    sound(self, edit)
    if wrong:
        weight = self.weights[0]
        edit.set_constant(weight.node, weight.position, weight.values * 2, "spoilt")
FoldBackward.apply = faulty
optimize()
"""


def deep() -> onnx.ModelProto:
    """Three blocks."""
    return model(DEEP, w=(4, 4, 3, 3), scale=ONES * 2, bias=ZEROS, mean=ZEROS, var=ONES)


# ---- lists
def test_the_list_of_passes_needs_no_model(invoke: Invoke) -> None:
    table, listed = invoke("--list-passes"), invoke("--list-passes=json")
    assert (table.code, table.err) == (0, "")
    assert table.out == invoke("passes", entry="main").out
    assert [item["name"] for item in json.loads(listed.out)] == list(PASSES)
    assert listed.out == invoke("passes", "--json", entry="main").out


def test_a_pass_is_explained_without_a_model(invoke: Invoke) -> None:
    told = invoke("--explain-pass", "fuse-pad")
    assert told.out == invoke("passes", "fuse-pad", entry="main").out
    assert "Declines when" in told.out
    wrong = invoke("--explain-pass", "fusepad")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err == "optimize: error: unknown pass 'fusepad'; did you mean fuse-pad?\n"
    facts = json.loads(invoke("passes", "fuse-pad", "--json", entry="main").out)
    assert facts["rewrites"]
    assert {rewrite["numerics"] for rewrite in facts["rewrites"]} == {"exact", "rounding"}


# ---- the graph between passes
def test_dumps_are_numbered_models_and_texts(folder: Path, invoke: Invoke) -> None:
    done = invoke("m.onnx", "o.onnx", "--target", "tpuv2", "--dump-ir", "ir", *NO_MERGING)
    assert done.code == 0
    names = sorted(path.name for path in (folder / "ir").iterdir())
    assert names[:4] == ["000-load.onnx", "000-load.txt", "001-fuse-batch-norm.onnx", "001-fuse-batch-norm.txt"]
    assert names[-1].endswith(".txt")
    for number, ops in ((0, ["Conv", "BatchNormalization", "Relu"]), (1, ["Conv", "Relu"])):
        dumped = onnx.load(folder / "ir" / names[2 * number])
        onnx.checker.check_model(dumped, full_check=True)
        assert [node.op_type for node in dumped.graph.node] == ops
        assert (folder / "ir" / names[2 * number + 1]).read_text() == canonical_text(dumped)
    last = onnx.load(folder / "ir" / names[-2])
    assert canonical_text(last) == canonical_text(onnx.load(folder / "o.onnx"))


def test_dumps_go_to_a_folder_of_their_own(folder: Path, invoke: Invoke) -> None:
    before = contents(folder)
    (folder / "ir").mkdir()
    (folder / "ir" / "mine.txt").write_text("precious")
    done = invoke("m.onnx", "o.onnx", "--dump-ir", "ir")
    assert (done.code, done.out) == (7, "")
    assert done.err == "optimize: error: ir: is not empty; say so (--force) to write into it\n"
    assert (contents(folder), list(contents(folder / "ir"))) == (before, ["mine.txt"])
    assert invoke("m.onnx", "o.onnx", "--dump-ir", "ir", "--force").code == 0
    assert (folder / "ir" / "mine.txt").read_text() == "precious"
    file = invoke("m.onnx", "o.onnx", "--dump-ir", "m.onnx")
    assert (file.code, "m.onnx: cannot be made" in file.err) == (7, True)


def test_the_text_after_a_pass_comes_before_the_report(folder: Path, invoke: Invoke) -> None:
    done = invoke("m.onnx", "o.onnx", "--print-after", "fuse-batch-norm", "--print-after", "shapes", "-q")
    text, _, rest = done.out.partition("\n\n")
    assert text.startswith("; after fuse-batch-norm\nmodel opset ")
    assert "BatchNormalization" not in text
    assert rest == "; shapes changed nothing\n\n"
    every = invoke("m.onnx", "o.onnx", "--print-after-all").out
    assert every.index("; after load") < every.index("; after fuse-batch-norm") < every.index("optimize 0.")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--print-after", "fuse-batchnorm"), "did you mean fuse-batch-norm?"),
        (("--print-after-all", "--report", "-"), "cannot both go to stdout"),
        (("--pass-limit", "-1"), "'-1' is no number of at least 0"),
        (("--bisect", "--no-check"), "--bisect needs the check"),
        (("--bisect", "--report", "r.json"), "--report does not go with --bisect"),
        (("--bisect", "--print-after", "shapes"), "--print-after does not go with --bisect"),
        (("--bisect", "--pass-limit", "0"), "--pass-limit does not go with --bisect"),
        (("--list-passes=xml",), "'xml' is not one of"),
    ],
)
def test_wrong_uses_are_one_line(flags: tuple[str, ...], said: str, folder: Path, invoke: Invoke) -> None:
    before = contents(folder)
    done = invoke("m.onnx", "o.onnx", *flags)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert contents(folder) == before


def test_a_limit_leaves_the_later_rewrites_out(folder: Path, invoke: Invoke) -> None:
    onnx.save(deep(), folder / "deep.onnx")
    for limit, left in ((0, 3), (1, 2), (2, 1), (3, 0)):
        assert invoke("deep.onnx", "o.onnx", "--pass-limit", str(limit), *NO_MERGING).code == 0
        ops = [node.op_type for node in onnx.load(folder / "o.onnx").graph.node]
        assert ops.count("BatchNormalization") == left


def test_operators_are_compared_and_nodes_with_v(folder: Path, invoke: Invoke) -> None:
    brief = invoke("m.onnx", "--dry-run", "--graph-diff").out
    rows = brief.split("operators")[1].splitlines()
    assert rows[1].split() == ["BatchNormalization", "1", "0", "-100.0", "%"]
    assert rows[4].split() == ["all", "3", "2", "-33.3", "%"]
    assert "--- before" not in brief
    full = invoke("m.onnx", "--dry-run", "--graph-diff", "-v").out
    assert "--- before\n+++ after\n" in full
    assert "-n = BatchNormalization(c, scale, bias, mean, var)" in full
    assert "+n = Conv(x, " in full


# ---- the bisection
def spoilt(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = FoldBackward.apply

    def faulty(self: FoldBackward, edit: Edit) -> None:
        wrong = key(self.node) == "n2"
        sound(self, edit)
        if wrong:
            weight = self.weights[0]
            edit.set_constant(weight.node, weight.position, weight.values * 2, "spoilt")

    monkeypatch.setattr(FoldBackward, "apply", faulty)


def test_a_sound_model_has_no_culprit(folder: Path, invoke: Invoke) -> None:
    before = contents(folder)
    done = invoke("m.onnx", "--bisect")
    assert (done.code, done.err) == (0, "")
    assert done.out == "nothing breaks m.onnx: the check passes with every rewrite\n"
    assert contents(folder) == before


def test_the_reproducer_and_its_story_go_beside_the_output(
    folder: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save(deep(), folder / "deep.onnx")
    (folder / "out").mkdir()
    spoilt(monkeypatch)
    done = invoke("deep.onnx", "-o", "out/o.onnx", "--bisect", "--target", "tpuv2", "--seed", "7", *NO_MERGING)
    assert done.code == 5
    assert done.err.startswith("optimize: error: fuse-batch-norm (fold-batch-norm) at n2, rewrite 2 of 6, first breaks")
    assert done.err.count("\n") == 1
    assert "Conv c2 + BatchNormalization n2 --> Conv n2" in done.out
    assert sorted(contents(folder / "out")) == ["repro.json", "repro.onnx"]
    story = json.loads((folder / "out" / "repro.json").read_text())
    assert (story["schema"], story["pass"], story["number"], story["anchor"]) == (
        "roofwright.repro/1",
        "fuse-batch-norm",
        2,
        "n2",
    )
    assert story["inputs"] == [{"name": "r1", "shape": [1, 4, 8, 8]}]
    assert story["rerun"] == "optimize repro.onnx --dry-run --target tpuv2 --passes fuse-batch-norm --seed 7"
    monkeypatch.chdir(folder / "out")
    again = invoke(*story["rerun"].split()[1:])
    assert again.code == story["expected_exit_code"] == 5


def test_the_input_is_not_replaced_by_its_reproducer(
    folder: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save(deep(), folder / "repro.onnx")
    before = contents(folder)
    spoilt(monkeypatch)
    done = invoke("repro.onnx", "--bisect")
    assert (done.code, "repro.onnx: is the input itself" in done.err) == (7, True)
    assert contents(folder) == before


def test_a_fault_is_found_by_the_process(folder: Path) -> None:
    onnx.save(deep(), folder / "deep.onnx")
    command = [sys.executable, "-c", FAULT, "deep.onnx", "--bisect"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr.count("\n") == 1
    assert [node.op_type for node in onnx.load(folder / "repro.onnx").graph.node] == ["Conv", "BatchNormalization"]
    rerun = json.loads((folder / "repro.json").read_text())["rerun"].split()[1:]
    failed = subprocess.run([sys.executable, "-c", FAULT, *rerun], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (5, "")
    sound = subprocess.run([sys.executable, "-m", "roofwright", "optimize", *rerun], capture_output=True, check=False)
    assert sound.returncode == 0


def test_verbose_tells_the_time_of_every_pass(folder: Path, invoke: Invoke) -> None:
    brief, full = invoke("m.onnx", "--dry-run").out, invoke("m.onnx", "--dry-run", "-v").out
    assert "own time" not in brief
    table = full.split("own time")[1].split("\n\n")[0]
    assert all(f"\n{name} " in table for name, each in PASSES.items() if not each.on_request)
    assert block().graph.node
