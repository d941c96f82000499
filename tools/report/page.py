"""Text laid out for a terminal: paragraphs and aligned columns, wrapped at its width; bold only where that shows."""

import os
import shutil
import sys
from collections.abc import Sequence
from typing import TextIO

_PIPE_WIDTH = 110  # columns where the output is not a terminal
_NARROWEST = 60
_GAP = "  "


class Page:
    """Lines that are collected first and printed at once.

    Attributes:
        width: columns.
        styled: whether bold and dim are written as escape codes.
    """

    def __init__(self, width: int | None = None, *, styled: bool | None = None) -> None:
        """A page of the terminal's width, plain where stdout is no terminal (or NO_COLOR is set)."""
        terminal = sys.stdout is not None and sys.stdout.isatty()
        self.width = max(_NARROWEST, width or shutil.get_terminal_size((_PIPE_WIDTH, 24)).columns)
        self.styled = (terminal and "NO_COLOR" not in os.environ) if styled is None else styled
        self.lines: list[str] = []

    def bold(self, text: str) -> str:
        """The text in bold."""
        return f"\x1b[1m{text}\x1b[0m" if self.styled and text else text

    def heading(self, text: str) -> None:
        """A line of its own after a blank one."""
        self.lines += ["", self.bold(text)]

    def paragraph(self, text: str, indent: str = "") -> None:
        """Words, wrapped; the second line and those after it start with `indent`."""
        self.lines += wrapped(text, self.width, indent)

    def table(self, rows: Sequence[Sequence[str]], alignment: str, *, header: bool = False) -> None:
        """Aligned columns; a last column that is aligned to the left is wrapped within the page.

        Args:
            rows: as many texts in each as there are letters in `alignment`.
            alignment: "l" or "r" per column.
            header: the first row is one.
        """
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        for number, row in enumerate(rows):
            cells = [c.rjust(w) if a == "r" else c.ljust(w) for c, w, a in zip(row, widths, alignment, strict=True)]
            *lines, line = self._row(cells, alignment)
            for text in (*lines, line):
                self.lines.append(self.bold(text) if header and number == 0 else text)

    def _row(self, cells: Sequence[str], alignment: str) -> list[str]:
        if alignment[-1] != "l":
            return [_GAP.join(cells).rstrip()]
        start = _GAP.join(cells[:-1]) + _GAP
        room = self.width - len(start)
        if len(cells[-1].rstrip()) <= room or room < _NARROWEST // 3:
            return [(start + cells[-1]).rstrip()]
        first, *rest = wrapped(cells[-1].rstrip(), room)
        return [start + first, *(" " * len(start) + line for line in rest)]

    def print(self, stream: TextIO | None = None) -> None:
        """Write the lines to `stream` (None: stdout), if there is one."""
        out = sys.stdout if stream is None else stream
        if out is not None:
            out.write("\n".join(self.lines) + "\n")


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most `width` columns, broken between words; a longer word stays whole, so that it can be copied."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1].strip() and len(lines[-1]) + len(word) > width:
            lines[-1] = lines[-1].rstrip()
            lines.append(indent)
        lines[-1] += word + " "
    return [line.rstrip() for line in lines]


def shortened(name: str, width: int) -> str:
    """A name cut in its middle: what tells long names of one model apart is at their ends."""
    if len(name) <= width:
        return name
    tail = (width - 3) * 2 // 3
    return f"{name[: width - 3 - tail]}...{name[-tail:]}"
