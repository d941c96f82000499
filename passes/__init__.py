"""Rewrites of the graph and of the schedule, and the pipeline that runs them."""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.passes.base import Budget, Context, Decline, LocalPass, Numerics, Pass, PassResult, Record, Rewrite
    from roofwright.passes.bisecting import Culprit, bisect
    from roofwright.passes.check import Check
    from roofwright.passes.difference import Difference
    from roofwright.passes.emit import read_schedule, strip_schedule, write_schedule
    from roofwright.passes.layers import LEVERS, Layer
    from roofwright.passes.options import Options, Result
    from roofwright.passes.pipeline import PASSES, build, optimize, optimize_graph
    from roofwright.passes.report import PassReport, Report, Side

_HOMES = {
    "Budget": "base",
    "Context": "base",
    "Decline": "base",
    "LocalPass": "base",
    "Numerics": "base",
    "Pass": "base",
    "PassResult": "base",
    "Record": "base",
    "Rewrite": "base",
    "Culprit": "bisecting",
    "bisect": "bisecting",
    "Check": "check",
    "Difference": "difference",
    "PASSES": "pipeline",
    "Options": "options",
    "Result": "options",
    "build": "pipeline",
    "optimize": "pipeline",
    "optimize_graph": "pipeline",
    "LEVERS": "layers",
    "Layer": "layers",
    "Report": "report",
    "Side": "report",
    "PassReport": "report",
    "read_schedule": "emit",
    "strip_schedule": "emit",
    "write_schedule": "emit",
}
__all__ = [  # noqa: RUF022 (in the order of _HOMES; the public-API test compares the two)
    "Budget",
    "Context",
    "Decline",
    "LocalPass",
    "Numerics",
    "Pass",
    "PassResult",
    "Record",
    "Rewrite",
    "Culprit",
    "bisect",
    "Check",
    "Difference",
    "PASSES",
    "Options",
    "Result",
    "build",
    "optimize",
    "optimize_graph",
    "LEVERS",
    "Layer",
    "Report",
    "Side",
    "PassReport",
    "read_schedule",
    "strip_schedule",
    "write_schedule",
]
__getattr__ = attach(__name__, _HOMES)
