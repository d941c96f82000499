"""The graph between passes: as numbered files (`--dump-ir`), and as text on stdout (`--print-after`)."""

import os
import re
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import onnx_graphsurgeon as gs

from roofwright.graph import UsageError, WriteError, canonical_text, printable, save
from roofwright.passes import build

Watch = Callable[[str, gs.Graph], None]
_UNSAFE = re.compile(r"[^a-zA-Z0-9_-]+")


class Watching:
    """What a run is asked to show of its passes.

    Attributes:
        folder: where the numbered files go; None: nowhere.
        names: the passes after which the text is printed.
        every: the text is printed after every pass.
    """

    def __init__(self, folder: str | None, names: Collection[str], every: bool, *, stdout_taken: bool = False) -> None:
        """See the attributes; `stdout_taken`: something else is to be alone on stdout.

        Raises:
            UsageError: an unknown pass, or two things for stdout.
        """
        build(list(names))
        if stdout_taken and (names or every):
            raise UsageError("the text of graphs and a report or schedule cannot both go to stdout")
        self.folder = None if folder is None else Path(folder)
        self.names, self.every = set(names), every
        self.count = 0
        self.seen: set[str] = set()

    @property
    def call(self) -> Watch | None:
        """What the pipeline calls; None where nothing was asked for."""
        return self._watch if self.names or self.every or self.folder else None

    def prepare(self, *, force: bool) -> None:
        """Make the folder.

        Raises:
            WriteError: it cannot be made, or holds something and `force` is not given.
        """
        if self.folder is None:
            return
        try:
            self.folder.mkdir(exist_ok=True)
            full = any(self.folder.iterdir())
        except OSError as error:
            raise WriteError(f"{printable(self.folder)}: cannot be made: {error.strerror or error}") from None
        if full and not force:
            raise WriteError(f"{printable(self.folder)}: is not empty; say so (--force) to write into it")
        if not os.access(self.folder, os.W_OK):
            raise WriteError(f"{printable(self.folder)}: cannot be written")

    def finish(self) -> None:
        """Tell of the passes that were asked for and changed nothing."""
        for name in sorted(self.names - self.seen):
            sys.stdout.write(f"; {name} changed nothing\n\n")

    def _watch(self, name: str, graph: gs.Graph) -> None:
        self.seen.add(name)
        shown = name in self.names or self.every
        text = canonical_text(graph) if shown or self.folder else ""
        if shown:
            sys.stdout.write(f"; after {printable(name)}\n{text}\n")
        if self.folder is not None:
            place = self.folder / f"{self.count:03d}-{_UNSAFE.sub('_', name)[:60]}"
            save(graph, place.with_suffix(".onnx"), force=True)
            _write(place.with_suffix(".txt"), text)
            self.count += 1


def _write(place: Path, text: str) -> None:
    try:
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WriteError(f"{printable(place)}: cannot be written: {error.strerror or error}") from None
