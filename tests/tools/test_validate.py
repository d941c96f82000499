"""The validation framework: reading tables, scoring, reporting."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from roofwright.tools.validate import Comparison, Score, TableError, Tally, collect, print_validation, validate
from roofwright.tools.validate.base import rank_correlation, read_one, read_table
from roofwright.tools.validate.deepbench import READERS
from roofwright.tools.validate.plots import save_plots
from roofwright.tools.validate.run import MODULES, readers

COLUMNS = ["device", "mode", "precision", "m", "n", "k", "trans_a", "trans_b", "ms"]
ROW = ["NV_V100", "train", "fp32", 4096, 4096, 4096, "N", "N", 10.0]


def _comparison(predicted: list[float], measured: list[float]) -> Comparison:
    n = len(predicted)
    labels, reasons = tuple(f"p{i}" for i in range(n)), tuple(f"because {i}" for i in range(n))
    return Comparison("t", "m", "k", np.array(predicted), np.array(measured), labels, reasons)


def _write(folder: Path, document: Any, name: str = "deepbench_gemm.json") -> Path:
    text = document if isinstance(document, str) else json.dumps(document)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_score_counts_shares_and_names_the_worst() -> None:
    score = Score.of(_comparison([1.0, 1.05, 1.2, 2.0, 0.4, 1.0], [1.0] * 6))
    assert score.points == 6
    assert score.within_10 == pytest.approx(3 / 6)
    assert score.within_25 == pytest.approx(4 / 6)
    assert score.median_error == pytest.approx((0.05 + 0.2) / 2)
    assert [(m.label, round(m.ratio, 2), m.reason) for m in score.worst[:2]] == [
        ("p4", 0.4, "because 4"),
        ("p3", 2.0, "because 3"),
    ]
    assert len(score.worst) == 5


def test_rank_correlation_is_spearman_s_with_ties() -> None:
    first, second = np.array([1.0, 2, 2, 5, 9, 0]), np.array([3.0, 1, 4, 4, 8, 2])
    ranks = np.array([1, 2.5, 2.5, 4, 5, 0]), np.array([2, 0, 3.5, 3.5, 5, 1])
    assert rank_correlation(first, second) == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert np.isnan(rank_correlation(np.ones(3), second[:3]))


def test_measured_times_are_positive() -> None:
    with pytest.raises(TableError, match=r"t\.json: m k: expected positive times"):
        _comparison([1.0], [0.0])


def test_fields_are_equally_long() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        Comparison("t", "m", "k", np.ones(2), np.ones(2), ("a",), ("b", "c"))


def test_a_tally_of_nothing_is_right() -> None:
    assert Tally("t", "m", "k", "w", 0, 0).share == 1.0
    assert Tally("t", "m", "k", "w", 3, 4).share == 0.75


def test_missing_tables_are_listed_and_unknown_files_ignored(tmp_path: Path) -> None:
    _write(tmp_path, {"columns": COLUMNS, "rows": [ROW]})
    _write(tmp_path, "no table at all", "something_else.json")
    found = collect(tmp_path)
    assert [(c.table, c.machine, c.kind) for c in found.comparisons] == [("deepbench_gemm", "v100", "gemm fp32")]
    assert "deepbench_conv.json" in found.skipped
    assert "something_else.json" not in found.skipped
    assert [score.points for score in validate(tmp_path)] == [1]


def test_machines_without_a_description_are_left_out(tmp_path: Path) -> None:
    rows = [ROW, ["Abacus", *ROW[1:]], [*ROW[:2], "fp99", *ROW[3:]]]
    found = collect(_write(tmp_path, {"columns": COLUMNS, "rows": rows}))
    assert sum(len(c.labels) for c in found.comparisons) == 1


def test_the_stack_follows_from_the_header(tmp_path: Path) -> None:
    row = ["NV_TitanX_Pascal", *ROW[1:]]
    headers = {"NV_TitanX_Pascal/train": {"Cudnn Version": "5"}}
    slow = collect(_write(tmp_path, {"columns": COLUMNS, "rows": [[*row[:3], 512, 32, 512, "N", "N", 0.05]]}))
    document = {"columns": COLUMNS, "rows": [[*row[:3], 512, 32, 512, "N", "N", 0.05]], "devices": headers}
    old = collect(_write(tmp_path, document))
    assert old.comparisons[0].predicted_s[0] != slow.comparisons[0].predicted_s[0]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "deepbench_gemm.json: expected a JSON table"),
        ([1], "expected a JSON object, found list"),
        ({"columns": 3, "rows": []}, "expected lists under 'columns' and 'rows'"),
        ({"columns": COLUMNS, "rows": [[1]]}, "row 0: expected 9 values"),
        ({"columns": ["device"], "rows": []}, "expected a column 'mode'"),
        ({"columns": COLUMNS, "rows": [[*ROW[:3], "wide", *ROW[4:]]]}, "a value is not as expected: ValueError"),
        ({"columns": COLUMNS, "rows": [[*ROW[:8], None]]}, "deepbench_gemm.json: "),
    ],
)
def test_a_malformed_table_is_one_clear_error(tmp_path: Path, document: Any, message: str) -> None:
    _write(tmp_path, document)
    with pytest.raises(TableError) as caught:
        collect(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="expected a folder"):
        collect(tmp_path / "nowhere")


def test_every_module_adds_readers_of_its_own_files() -> None:
    known = readers()
    assert len(MODULES) == len(set(MODULES))
    assert set(READERS) <= set(known)
    assert all(name.endswith(".json") for name in known)


def test_the_report_holds_figures_reasons_and_gaps(tmp_path: Path) -> None:
    out = io.StringIO()
    found = collect(_write(tmp_path, {"columns": COLUMNS, "rows": [ROW]}))
    print_validation(found, Console(file=out, width=200))
    text = out.getvalue()
    for part in ("deepbench_gemm", "v100", "gemm fp32", "4096x4096x4096 NN: compute", "skipped deepbench_conv.json"):
        assert part in text


def test_plots_are_one_picture_per_table(tmp_path: Path) -> None:
    found = collect(_write(tmp_path, {"columns": COLUMNS, "rows": [ROW, ["NV_T4", *ROW[1:]]]}))
    saved = save_plots(found, tmp_path / "plots")
    assert [path.name for path in saved] == ["deepbench_gemm.png"]
    assert saved[0].read_bytes().startswith(b"\x89PNG")


def test_a_table_s_columns_and_rows(tmp_path: Path) -> None:
    table = read_table(_write(tmp_path, {"columns": COLUMNS, "rows": [ROW]}) / "deepbench_gemm.json")
    assert [r["ms"] for r in table.records(device="NV_V100")] == [10.0]
    assert list(table.records(device="NV_T4")) == []
    assert len(read_one(tmp_path / "deepbench_gemm.json", READERS["deepbench_gemm.json"])) == 1
