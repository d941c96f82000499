"""What the comparison of original and result measured."""

from roofwright.graph import printable
from roofwright.passes import Check, Difference, Report
from roofwright.tools.report.page import Page, shortened
from roofwright.tools.report.units import count

_INDENT = " " * 9
_NAME_WIDTH = 48
_OUTPUTS_SHOWN = 3


def add_check(page: Page, report: Report, *, every: bool) -> None:
    """One line for the whole, and one for each of several outputs that differ (`every`: for all of them)."""
    check = report.check
    page.paragraph(f"check    {_words(check)}", _INDENT)
    if len(check.outputs) < 2:
        return
    off = sorted((d for d in check.outputs if d.max_abs), key=lambda d: -d.max_rel)
    shown = off if every else off[:_OUTPUTS_SHOWN]
    for difference in shown:
        page.paragraph(f"{_INDENT}output {_named(difference.name)}: {_figures(difference)}", _INDENT)
    if len(off) > len(shown):
        page.paragraph(f"{_INDENT}and {len(off) - len(shown)} more outputs (-v)")
    same = len(check.outputs) - len(off)
    if off and same:
        page.paragraph(f"{_INDENT}no difference at {same} output{'s' if same > 1 else ''}")


def _words(check: Check) -> str:
    if check.status != "passed":
        return f"{check.status}: {check.reason}"
    runs = f"{check.runs} input set{'s' if check.runs > 1 else ''}"
    runs += f" of {check.sizes} sizes" if check.sizes > 1 else ""
    if not check.max_abs:
        return f"passed: original and result on {runs}, no difference (measured)"
    worst = f" at output {_named(check.worst)}" if check.worst else ""
    figures = _figures(Difference("", check.max_abs, check.max_rel, check.max_ulp))
    return f"passed: original and result on {runs}, {figures}{worst} (measured)"


def _figures(found: Difference) -> str:
    """Absolute, relative, units in the last place (of each value, so that there are many of them beside zero)."""
    return f"largest difference {found.max_abs:.2g}, relative {found.max_rel:.2g}, {count(found.max_ulp)} ulp"


def _named(name: str) -> str:
    return shortened(printable(name), _NAME_WIDTH)
