"""The validation report on a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from roofwright.tools.validate.base import Score, Tally
from roofwright.tools.validate.run import Validation


def print_validation(validation: Validation, console: Console, *, worst: bool = True) -> None:
    """Print scores, tallies, the worst points with the model's reason, and the tables that were not there."""
    scores = validation.scores
    if scores:
        console.print(_score_grid(scores))
    if validation.tallies:
        console.print(_tally_grid(validation.tallies))
    if worst:
        for score in scores:
            _print_worst(score, console)
    for file in validation.skipped:
        console.print(f"skipped {escape(file)}: not in the folder")


def _score_grid(scores: list[Score]) -> Grid:
    grid = Grid(title="modelled against measured times")
    for column in ("table", "machine", "kind"):
        grid.add_column(column)
    for column in ("points", "±10 %", "±25 %", "median error", "rank"):
        grid.add_column(column, justify="right")
    for s in scores:
        shares = (f"{100 * x:.0f} %" for x in (s.within_10, s.within_25, s.median_error))
        grid.add_row(escape(s.table), escape(s.machine), escape(s.kind), str(s.points), *shares, f"{s.rank:.3f}")
    return grid


def _tally_grid(tallies: tuple[Tally, ...]) -> Grid:
    grid = Grid(title="answers")
    for column in ("table", "machine", "kind", "right if"):
        grid.add_column(column)
    grid.add_column("right", justify="right")
    for t in tallies:
        right = f"{t.right} of {t.total}"
        grid.add_row(escape(t.table), escape(t.machine), escape(t.kind), escape(t.what), right)
    return grid


def _print_worst(score: Score, console: Console) -> None:
    console.print(f"\n[bold]{escape(f'{score.table} {score.machine} {score.kind}')}[/bold]: furthest off")
    for miss in score.worst:
        line = f"  {miss.ratio:5.2f}x of {1e3 * miss.measured_s:.4g} ms  {miss.label}: {miss.reason}"
        console.print(escape(line), highlight=False)
