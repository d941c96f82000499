"""Read every known table of a folder and score the model on it."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from roofwright.tools.validate.base import Comparison, Reader, Score, TableError, Tally, read_one

# Modules of this package that define READERS: file name -> Reader.
MODULES = ("deepbench", "networks_gpu", "tpu", "shufflenet_v2", "mobile", "transformers")


@dataclass(frozen=True)
class Validation:
    """Everything that a folder had to say; `skipped` names the known tables that it does not hold."""

    comparisons: tuple[Comparison, ...]
    tallies: tuple[Tally, ...]
    skipped: tuple[str, ...]

    @property
    def scores(self) -> list[Score]:
        """One score per comparison, in the order of the tables."""
        return [Score.of(c) for c in self.comparisons]


def readers() -> dict[str, Reader]:
    """Every known table's file name and its reader, in the order they are reported."""
    found: dict[str, Reader] = {}
    for name in MODULES:
        found.update(import_module(f"roofwright.tools.validate.{name}").READERS)
    return found


def collect(folder: Path) -> Validation:
    """Read the tables of a folder that are known; unknown files are ignored, a malformed table is a TableError."""
    if not folder.is_dir():
        raise TableError(f"{folder}: expected a folder of measurement tables")
    comparisons: list[Comparison] = []
    tallies: list[Tally] = []
    skipped: list[str] = []
    for file, reader in readers().items():
        if not (folder / file).is_file():
            skipped.append(file)
            continue
        for result in read_one(folder / file, reader):
            if isinstance(result, Tally):
                tallies.append(result)
            else:
                comparisons.append(result)
    return Validation(tuple(comparisons), tuple(tallies), tuple(skipped))


def validate(folder: Path) -> list[Score]:
    """Score the model against every known table of a folder."""
    return collect(folder).scores
