"""What a wrong command line says: exit 2, one line that names the thing and what was expected, nothing written."""

from pathlib import Path

import onnx
import pytest

from tests.builders import model
from tests.tools.command import SYMBOLIC, Invoke, contents

WRONG = [
    ((), "Missing argument 'MODEL'"),
    (("m.onnx",), "no output given; use -o FILE or --dry-run"),
    (("m.onnx", "a.onnx", "-o", "b.onnx"), "two outputs given; use either OUT or -o OUT"),
    (("m.onnx", "a.onnx", "b.onnx"), "unexpected extra argument"),
    (("m.onnx", "a.onnx", "--tarqet", "v100"), "--target"),
    (("m.onnx", "a.onnx", "--target"), "'--target' requires an argument"),
    (("m.onnx", "a.onnx", "--target", "tpv2"), "unknown target 'tpv2'; did you mean 'tpuv2'?"),
    (("m.onnx", "a.onnx", "--target", "no.toml"), "no.toml"),
    (("m.onnx", "a.onnx", "--stack", "cudn7"), "did you mean 'cudnn7'?"),
    (("m.onnx", "a.onnx", "--passes", ","), "no pass is named"),
    (("m.onnx", "a.onnx", "--passes", "fuse-batchnorm"), "did you mean fuse-batch-norm?"),
    (("m.onnx", "a.onnx", "--skip-passes", "fold"), "unknown pass 'fold'"),
    (("m.onnx", "a.onnx", "--numerics", "any"), "'any' is not one of"),
    (("m.onnx", "a.onnx", "--dim", "N"), "'N' is no dimension; expected NAME=SIZE"),
    (("m.onnx", "a.onnx", "--dim", "N=0"), "'N=0' is no dimension"),
    (("m.onnx", "a.onnx", "--dim", "N=\u00b2"), "is no dimension"),
    (("m.onnx", "a.onnx", "--dim", "N=4", "--dim", "N=5"), "'N' is given twice, as 4 and as 5"),
    (("m.onnx", "a.onnx", "--dim", "N=4"), "dimension 'N' is not in the model's inputs"),
    (("m.onnx", "a.onnx", "--batch", "0"), "'0' is no batch; expected a number of at least 1, or auto"),
    (("m.onnx", "a.onnx", "--batch", "many"), "'many' is no batch"),
    (("m.onnx", "a.onnx", "--max-latency", "7ms"), "--max-latency is a limit of --batch auto"),
    (("m.onnx", "a.onnx", "--batch", "auto", "--max-latency", "-1"), "'-1' is no time"),
    (("m.onnx", "a.onnx", "--batch", "auto", "--max-latency", "nan"), "'nan' is no time"),
    (
        ("m.onnx", "a.onnx", "--fold-size-threshold", "1X"),
        "'1X' is no size; expected a number with an optional K",
    ),
    (("m.onnx", "a.onnx", "--fold-size-threshold", "-1"), "'-1' is no size"),
    (("m.onnx", "a.onnx", "--fold-size-threshold", ""), "'' is no size"),
    (("m.onnx", "a.onnx", "--overwrite-input-shape", "x:1,3,8"), "input 'x' has 4 dimensions, 3 were given"),
    (("m.onnx", "a.onnx", "--overwrite-input-shape", "x:2,3,8,8"), "dimension 0 is 1, it cannot be 2"),
    (
        ("m.onnx", "a.onnx", "--overwrite-input-shape", "X1:1,3,8,8"),
        "no input is called 'X1'; the model's inputs are",
    ),
    (("m.onnx", "a.onnx", "--overwrite-input-shape", "x:1,3,8,-1"), "'x:1,3,8,-1' is no shape"),
    (("m.onnx", "a.onnx", "--overwrite-input-shape", "x:1,3,8,1e9"), "'x:1,3,8,1e9' is no shape"),
    (("m.onnx", "a.onnx", "--input-shape", "1,3,8,8", "--input-shape", "1,3,8,9"), "the input is given twice"),
    (("m.onnx", "a.onnx", "--report", "r.txt"), "report r.txt: expected a name that ends in .json"),
    (("m.onnx", "a.json", "--report", "a.json"), "a.json: cannot be both the report and the model"),
    (
        ("m.onnx", "a.onnx", "--report", "r.json", "--schedule", "./r.json"),
        "both the report and the schedule",
    ),
    (("m.onnx", "a.onnx", "--report", "-", "--schedule", "-"), "report and schedule cannot both go to stdout"),
    (("m.onnx", "a.onnx", "--schedule", "s.json", "--passes", "dead-code"), "there is no schedule to write"),
    (("zoo:mobilenetv2", "a.onnx"), "did you mean 'mobilenet_v2'?"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=lambda value: " ".join(value)[:60] or "nothing")
def test_a_wrong_command_line_is_one_line_and_exit_2(
    arguments: tuple[str, ...], said: str, folder: Path, invoke: Invoke
) -> None:
    before = contents(folder)
    done = invoke(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("optimize: error: ")
    assert done.err.count("\n") == 1
    assert said in done.err
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no command given; expected one of optimize, targets, passes, show, validate"),
        (("taget",), "no command is called 'taget'; did you mean targets?"),
        (("frobnicate",), "no command is called 'frobnicate'; expected one of optimize"),
        (("passes", "fusepad"), "did you mean fuse-pad?"),
        (("targets", "kirin97"), "did you mean 'kirin970'?"),
        (("show",), "Missing argument 'MODEL'"),
        (("validate", "nowhere"), "'nowhere' does not exist"),
    ],
    ids=lambda value: " ".join(value)[:40] or "nothing",
)
def test_a_wrong_subcommand_is_one_line_and_exit_2(
    arguments: tuple[str, ...], said: str, folder: Path, invoke: Invoke
) -> None:
    done = invoke(*arguments, entry="main")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert said in done.err


@pytest.mark.parametrize("wrong", ["2,3,8,8", "q:2,3,8,8", "x:2,3,8,9"])
def test_a_shape_must_fit_the_inputs(wrong: str, folder: Path, invoke: Invoke) -> None:
    onnx.save(model(SYMBOLIC), folder / "s.onnx")
    done = invoke("s.onnx", "a.onnx", "--input-shape", wrong)
    said = {"2": "a shape without an input's name", "q": "no input is called 'q'", "x": "cannot be both 8 and 9"}
    assert done.code == 2
    assert said[wrong[0]] in done.err
    assert not (folder / "a.onnx").exists()


def test_two_inputs_cannot_bind_one_dimension_differently(folder: Path, invoke: Invoke) -> None:
    onnx.save(model(SYMBOLIC), folder / "s.onnx")
    done = invoke("s.onnx", "a.onnx", "--input-shape", "x:2,3,8,8", "--input-shape", "z:3,1,1,1")
    assert (done.code, "dimension 'N' cannot be both 2 and 3" in done.err) == (2, True)
