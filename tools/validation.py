"""`roofwright validate DIR [--plots DIR]`: the cost model held against measurements on real hardware."""

import os
from pathlib import Path

from roofwright.graph import InvalidModelError, UsageError, WriteError, printable
from roofwright.tools.report.console import Console
from roofwright.tools.validate import TableError, collect, print_validation, save_plots

_PIPE_WIDTH = 120  # columns where no terminal says how many there are


def run(*, folder: str, plots: str | None) -> None:
    """Print how well the model predicts every table of the folder, and draw it where asked.

    Raises:
        InvalidModelError: a table that cannot be read; exit code 3, as for any unreadable input.
        UsageError: plots without matplotlib.
        WriteError: plots that cannot be written.
    """
    if plots is not None and not os.path.isdir(os.path.dirname(os.path.abspath(plots))):
        raise WriteError(f"{printable(plots)}: its folder does not exist")
    try:
        found = collect(Path(folder))
    except TableError as error:
        raise InvalidModelError(str(error)) from None
    if not found.scores and not found.tallies:
        raise InvalidModelError(f"{printable(folder)}: holds none of the known tables of measurements")
    console = Console()
    print_validation(found, console if console.is_terminal else Console(width=_PIPE_WIDTH))
    if plots is None:
        return
    try:
        save_plots(found, Path(plots))
    except ImportError:
        raise UsageError("--plots needs matplotlib; pip install 'roofwright[validate]'") from None
    except OSError as error:
        raise WriteError(f"{printable(plots)}: cannot be written: {error.strerror or error}") from None
