"""The report on a terminal: before, after, the six causes, what every pass gained, what was left alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_graphsurgeon as gs

from roofwright import __version__
from roofwright.cost_model import CAUSES
from roofwright.graph import printable
from roofwright.passes import Report
from roofwright.targets import Engine, Simd, Simt, Systolic, Target
from roofwright.tools.report.checked import add_check
from roofwright.tools.report.explain import add_misses, add_rewrites
from roofwright.tools.report.graph_diff import add_graph_diff
from roofwright.tools.report.losses import add_losses
from roofwright.tools.report.page import Page, shortened
from roofwright.tools.report.summary import add_summary
from roofwright.tools.report.units import count, ratio, seconds, size

_NAME_WIDTH = 48


@dataclass(frozen=True)
class Shown:
    """How much of the report is shown.

    Attributes:
        verbose: every layer and near miss, and our own time per pass.
        explain: every rewrite and near miss.
        graphs: the original and the result, whose operators are compared; None: not.
    """

    verbose: bool = False
    explain: bool = False
    graphs: tuple[gs.Graph, gs.Graph] | None = None


def print_report(
    report: Report, target: Target, model: str, place: Path | None, own_s: Mapping[str, float], shown: Shown
) -> None:
    """Print the report to stdout."""
    page = Page()
    out = printable(place) if place else "(dry run)"
    page.paragraph(f"optimize {__version__}: {printable(model)} -> {out}")
    for line in _gap(report):
        page.paragraph(line, " " * 5)
    page.paragraph(f"target {describe(target)}")
    page.paragraph("times, bytes and utilisation are modelled, not measured; a bound is a proven lower bound")
    page.lines.append("")
    add_summary(page, report)
    _add_causes(page, report)
    add_losses(page, report)
    _add_passes(page, report, own_s if shown.verbose else {})
    if shown.explain:
        add_rewrites(page, report, every=shown.verbose)
    add_misses(page, report, every=shown.verbose or shown.explain)
    if shown.graphs:
        add_graph_diff(page, *shown.graphs, lines=shown.verbose)
    if shown.verbose:
        _add_layers(page, report)
    page.lines.append("")
    _add_remarks(page, report)
    add_check(page, report, every=shown.verbose or shown.explain)
    stages = ", ".join(f"{name} {own_s[name]:.2f}" for name in ("load", "passes", "check", "save") if name in own_s)
    page.paragraph(f"time     {own_s['all']:.2f} s of this computer ({stages})", " " * 9)
    page.print()


def _gap(report: Report) -> Iterator[str]:
    """What was reached against what no schedule can beat."""
    gap = report.gap
    yield (f"gap: device time {seconds(gap.device_s)} modelled, {seconds(gap.bound_s)} bound: {ratio(gap.time_ratio)}")
    moved = f"{size(gap.off_chip_bytes)} modelled, {size(gap.bound_bytes)} bound"
    yield f"     off-chip traffic {moved}: {ratio(gap.bytes_ratio)}"


def describe(target: Target) -> str:
    """`tpuv2: 128 x 128 @ 700 MHz, 16.0 MiB vmem, 350 GB/s, stack compiled`."""
    parts = [_engine(next((e for e in target.engines if e.macs_per_clock), target.engines[0]))]
    if target.on_chip:
        parts.append(f"{size(target.on_chip.capacity_bytes)} {target.on_chip.name}")
    parts.append(f"{target.device_memory.bytes_per_s / 1e9:.3g} GB/s")
    return f"{target.name}: {', '.join(parts)}, stack {target.stack.name}"


def _engine(engine: Engine) -> str:
    unit = engine.geometry
    clock = f"@ {engine.clock_hz / 1e6:.0f} MHz"
    times = f"{engine.count} x " if engine.count > 1 else ""
    if isinstance(unit, Systolic):
        return f"{times}{unit.rows} x {unit.cols} {clock}"
    if isinstance(unit, Simt) and unit.unit:
        return f"{times}{engine.name} of {' x '.join(map(str, unit.unit))} {clock}"
    if isinstance(unit, Simd):
        return f"{times}{unit.vector_bits}-bit {engine.name} {clock}"
    return f"{times}{engine.name} {clock}"


def _add_causes(page: Page, report: Report) -> None:
    before, after = report.before, report.after
    rows = [("where the time goes", "before", "after", "what it is")]
    ideal = (seconds(before.ideal_s), seconds(after.ideal_s))
    rows.append(("ideal", *ideal, "useful MACs at the special unit's peak"))
    for name, meaning in CAUSES:
        old = seconds(before.causes_s[name], before.latency_s)
        rows.append((f"+ {name}", old, seconds(after.causes_s[name], after.latency_s), meaning))
    rows.append(("= latency", seconds(before.latency_s), seconds(after.latency_s), "the sum, exactly"))
    page.lines.append("")
    page.table(rows, "lrrl", header=True)


def _add_passes(page: Page, report: Report, own_s: Mapping[str, float]) -> None:
    """What each pass did; with `own_s` also how long it took, those that did nothing included."""
    ran = report.passes
    rows = [("pass", "applied", "latency", *(("own time",) if own_s else ()), "")]
    for item in (item for item in ran if item.applied or item.rolled_back or own_s):
        label = "" if item.numerics == "exact" else item.numerics
        note = f"rolled back: {item.rolled_back}" if item.rolled_back else label
        gain = seconds(-item.gain_s, report.before.latency_s)
        own = (seconds(own_s.get(item.name, 0.0)),) if own_s else ()
        rows.append((item.name, str(item.applied or ""), "" if gain == "0 s" else gain, *own, note))
    if len(rows) > 1:
        page.lines.append("")
        page.table(rows, "lrrrl" if own_s else "lrrl", header=True)
    if own_s:
        return
    idle = [item.name for item in ran if not item.applied and not item.rolled_back]
    if idle:
        page.paragraph(f"nothing to do for {', '.join(idle)}", "  ")


def _add_layers(page: Page, report: Report) -> None:
    rows = [("layer", "engine", "MACs", "off-chip", "bound", "time", "bound", "gap", "worst cause", "ops")]
    for layer in report.after.layers:
        where = f"{layer.engine} {layer.algorithm}".strip()
        moved = (size(layer.off_chip_bytes), size(layer.bound_bytes))
        took = (seconds(layer.seconds), seconds(layer.bound_s), ratio(layer.time_ratio))
        name = shortened(printable(layer.name), _NAME_WIDTH)
        rows.append((name, where, count(layer.macs), *moved, *took, layer.worst_cause, " ".join(layer.ops)))
    page.lines.append("")
    page.table(rows, "llrrrrrrll", header=True)


def _add_remarks(page: Page, report: Report) -> None:
    for line in report.notes:
        page.paragraph(f"note     {line}", " " * 9)
    for line in report.assumptions:
        page.paragraph(f"assumed  {line}", " " * 9)
    for name, op, reason in report.after.not_modelled:
        page.paragraph(f"not modelled: {op} {printable(name)}: {reason}", " " * 9)
