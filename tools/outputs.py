"""The files that `optimize` writes: all of them checked before the work, and none written unless all can be."""

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from roofwright.graph import UsageError, WriteError, check_place, printable, save

STDOUT = "-"


@dataclass(frozen=True)
class Outputs:
    """Where the results go; None: nowhere, "-" (all but the model): stdout."""

    model: Path | None
    report: str | None = None
    schedule: str | None = None
    trace: str | None = None

    @property
    def on_stdout(self) -> bool:
        """Whether a file's content takes the place of the report on stdout."""
        return STDOUT in self._files().values()

    def check(self, source: str, *, force: bool) -> None:
        """Refuse before the work what cannot be written after it.

        Raises:
            UsageError: a wrong name, or one file asked for twice.
            WriteError: a place that cannot be written.
        """
        shown = [kind for kind, name in self._files().items() if name == STDOUT]
        if len(shown) > 1:
            raise UsageError(f"{shown[0]} and {shown[1]} cannot both go to stdout")
        files = {kind: name for kind, name in self._files().items() if name != STDOUT}
        for kind, name in files.items():
            if not name.endswith(".json"):
                raise UsageError(f"{kind} {printable(name)}: expected a name that ends in .json")
        places = {f"the {kind}": Path(name) for kind, name in files.items()} | {"the input": Path(source)}
        places |= {} if self.model is None else {"the model": self.model}
        for one, other in combinations(places, 2):
            if {one, other} != {"the input", "the model"} and _same(places[one], places[other]):
                raise UsageError(f"{printable(places[one])}: cannot be both {one} and {other}")
        if self.model is not None:
            check_place(self.model, Path(source), force=force)
        for place in [*map(Path, files.values()), *([] if self.model is None else [self.model])]:
            _check_place(place)

    def write(self, graph: Any, texts: Mapping[str, str], *, force: bool) -> None:
        """Write the model and the texts ("report", "schedule", "trace"); where one cannot be written, none is.

        Raises:
            WriteError: nothing was changed.
        """
        with ExitStack() as stack:
            moves = [
                stack.enter_context(_staged(Path(name), texts[kind]))
                for kind, name in self._files().items()
                if name != STDOUT and kind in texts
            ]
            if self.model is not None:
                save(graph, self.model, force=force)
            for staged, place in moves:
                os.replace(staged, place)
        for kind, name in self._files().items():
            if name == STDOUT and kind in texts:
                sys.stdout.write(texts[kind])

    def _files(self) -> dict[str, str]:
        named = {"report": self.report, "schedule": self.schedule, "trace": self.trace}
        return {kind: name for kind, name in named.items() if name is not None}


def _same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)


def _check_place(place: Path) -> None:
    name = printable(place)
    if not place.parent.is_dir():
        raise WriteError(f"{name}: its folder does not exist")
    if not os.access(place.parent, os.W_OK):
        raise WriteError(f"{name}: its folder cannot be written")
    if os.path.lexists(place) and not (place.is_symlink() or stat.S_ISREG(place.lstat().st_mode)):
        raise WriteError(f"{name}: exists and is not a file")


@contextmanager
def _staged(place: Path, text: str) -> Iterator[tuple[Path, Path]]:
    """The text in a new file beside its place, gone at the end unless it was moved there."""
    staged = place.parent / f".{place.name}.{os.getpid()}.tmp"
    try:
        with staged.open("x", encoding="utf-8") as file:
            file.write(text)
        yield staged, place
    except OSError as error:
        raise WriteError(f"{printable(place)}: cannot be written: {error.strerror or error}") from None
    finally:
        staged.unlink(missing_ok=True)
