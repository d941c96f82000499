"""How a report is shown."""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.tools.report.terminal import print_report

_HOMES = {
    "print_report": "terminal",
}
__all__ = [
    "print_report",
]
__getattr__ = attach(__name__, _HOMES)
