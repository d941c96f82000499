"""`roofwright validate`: the cost model held against published measurements that stay outside the project."""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.tools.validate.base import Comparison, Score, TableError, Tally
    from roofwright.tools.validate.plots import save_plots
    from roofwright.tools.validate.render import print_validation
    from roofwright.tools.validate.run import Validation, collect, validate

_HOMES = {
    "Comparison": "base",
    "Score": "base",
    "TableError": "base",
    "Tally": "base",
    "save_plots": "plots",
    "print_validation": "render",
    "Validation": "run",
    "collect": "run",
    "validate": "run",
}
__all__ = [  # noqa: RUF022 (in the order of _HOMES; the public-API test compares the two)
    "Comparison",
    "Score",
    "TableError",
    "Tally",
    "save_plots",
    "print_validation",
    "Validation",
    "collect",
    "validate",
]
__getattr__ = attach(__name__, _HOMES)
