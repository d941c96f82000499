"""What a reader of one table of measurements hands over, and how a prediction is scored against it.

A reader is a function `Table -> list[Comparison | Tally]`; a module of readers names them in `READERS`, file name ->
reader, and is listed in `run.MODULES`. A `Comparison` holds times, a `Tally` counts right answers (orders of pairs,
causes named, knees found).
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_WORST = 5


class TableError(Exception):
    """A table that cannot be read: names the file and what was expected."""


@dataclass(frozen=True)
class Table:
    """One JSON table: its name without suffix, the column names, the rows, and the whole document."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    document: Mapping[str, Any]

    def records(self, **equal: object) -> Iterator[dict[str, Any]]:
        """The rows as dicts whose columns equal the given values."""
        for row in self.rows:
            record = dict(zip(self.columns, row, strict=True))
            if all(record[column] == value for column, value in equal.items()):
                yield record

    def require(self, *columns: str) -> None:
        """TableError unless every one of these columns is there."""
        missing = [c for c in columns if c not in self.columns]
        if missing:
            raise TableError(f"{self.name}.json: expected a column {missing[0]!r}, found {', '.join(self.columns)}")


@dataclass(frozen=True)
class Comparison:
    """Predicted against measured times of one kind of work on one machine.

    Attributes:
        table: name of the table, without suffix.
        machine: name of the target.
        kind: kind of work, e.g. "gemm fp16".
        predicted_s, measured_s: shape (n,).
        labels: what each point is, e.g. "5124x700x2048 NN".
        reasons: what the model says binds each point, e.g. "compute, 128x64 tile, 3.4 waves".
    """

    table: str
    machine: str
    kind: str
    predicted_s: Floats
    measured_s: Floats
    labels: tuple[str, ...]
    reasons: tuple[str, ...]

    def __post_init__(self) -> None:
        """All five sequences are equally long, and measured times are positive."""
        sizes = {len(x) for x in (self.predicted_s, self.measured_s, self.labels, self.reasons)}
        if len(sizes) != 1:
            raise ValueError(f"{self.table} {self.machine} {self.kind}: fields of different lengths {sorted(sizes)}")
        if not np.all(self.measured_s > 0):
            raise TableError(f"{self.table}.json: {self.machine} {self.kind}: expected positive times")


@dataclass(frozen=True)
class Tally:
    """Right answers out of all: `what` says what counts as right, `misses` describes some wrong ones."""

    table: str
    machine: str
    kind: str
    what: str
    right: int
    total: int
    misses: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Share of right answers; 1.0 of none."""
        return self.right / self.total if self.total else 1.0


@dataclass(frozen=True)
class Miss:
    """One point far off: its label, the ratio predicted / measured, and the model's reason."""

    label: str
    ratio: float
    measured_s: float
    reason: str


@dataclass(frozen=True)
class Score:
    """How well a comparison went. Errors are |predicted / measured - 1|; `rank` is Spearman's correlation."""

    table: str
    machine: str
    kind: str
    points: int
    within_10: float
    within_25: float
    median_error: float
    rank: float
    worst: tuple[Miss, ...]

    @classmethod
    def of(cls, comparison: Comparison) -> "Score":
        """Score one comparison; the worst points are those with the largest |log ratio|."""
        c = comparison
        ratio = c.predicted_s / c.measured_s
        error = np.abs(ratio - 1)
        order = np.argsort(-np.abs(np.log(ratio)), kind="stable")[:_WORST]
        worst = tuple(Miss(c.labels[i], float(ratio[i]), float(c.measured_s[i]), c.reasons[i]) for i in order)
        count = len(ratio)
        return cls(
            c.table,
            c.machine,
            c.kind,
            count,
            float(np.mean(error <= 0.10)) if count else 0.0,
            float(np.mean(error <= 0.25)) if count else 0.0,
            float(np.median(error)) if count else float("nan"),
            rank_correlation(c.predicted_s, c.measured_s),
            worst,
        )


Result = Comparison | Tally
Reader = Callable[[Table], list[Result]]


def rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's rho, ties at their mean rank; nan where a side has fewer than two different values."""
    a, b = _ranks(first), _ranks(second)
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: Floats) -> Floats:
    """Mean ranks from 0."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: Floats = (last - counts + last - 1) / 2
    return mean[inverse]


def read_table(path: Path) -> Table:
    """Read one table; TableError says what is wrong with it."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TableError(f"{path.name}: expected a JSON table, but {error}") from error
    if not isinstance(document, dict):
        raise TableError(f"{path.name}: expected a JSON object, found {type(document).__name__}")
    columns, rows = document.get("columns", []), document.get("rows", [])
    if not isinstance(columns, list) or not isinstance(rows, list):
        raise TableError(f"{path.name}: expected lists under 'columns' and 'rows'")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            raise TableError(f"{path.name}: row {number}: expected {len(columns)} values")
    return Table(path.stem, tuple(map(str, columns)), tuple(map(tuple, rows)), document)


def load_all(folder: Path, readers: Mapping[str, Reader]) -> list[Result]:
    """The results of those readers whose table is in the folder."""
    results: list[Result] = []
    for file, reader in readers.items():
        if (folder / file).is_file():
            results += read_one(folder / file, reader)
    return results


def read_one(path: Path, reader: Reader) -> list[Result]:
    """Apply a reader to a table; values of a wrong type become a TableError that names the file."""
    table = read_table(path)
    try:
        return reader(table)
    except (KeyError, TypeError, ValueError) as error:
        raise TableError(f"{path.name}: a value is not as expected: {type(error).__name__}: {error}") from error
