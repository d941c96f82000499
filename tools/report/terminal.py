"""The report on a terminal: before, after, the six causes, what every pass gained, what was left alone."""

import re
from collections.abc import Mapping
from pathlib import Path

from roofwright import __version__
from roofwright.cost_model import CAUSES
from roofwright.graph import printable
from roofwright.passes import Record, Report
from roofwright.targets import Engine, Simd, Simt, Systolic, Target
from roofwright.tools.report.losses import add_losses
from roofwright.tools.report.page import Page, shortened
from roofwright.tools.report.summary import add_summary
from roofwright.tools.report.units import count, seconds, size

_MISSES_SHOWN = 3
_NAME_WIDTH = 48
_NAMED = re.compile(r"'[^']*'|\d+")  # the part of a reason that differs from node to node


def print_report(
    report: Report, target: Target, model: str, place: Path | None, own_s: Mapping[str, float], *, verbose: bool
) -> None:
    """Print the report to stdout."""
    page = Page()
    out = printable(place) if place else "(dry run)"
    page.paragraph(f"optimize {__version__}: {printable(model)} -> {out}")
    page.paragraph(f"target {describe(target)}")
    page.paragraph("times, bytes and utilisation are modelled, not measured; a bound is a proven lower bound")
    page.lines.append("")
    add_summary(page, report)
    _add_causes(page, report)
    add_losses(page, report)
    _add_passes(page, report)
    _add_misses(page, report, verbose)
    if verbose:
        _add_layers(page, report)
    page.lines.append("")
    _add_remarks(page, report)
    page.paragraph(f"check    {_check(report)}", " " * 9)
    stages = ", ".join(f"{name} {own_s[name]:.2f}" for name in ("load", "passes", "check", "save") if name in own_s)
    page.paragraph(f"time     {own_s['all']:.2f} s of this computer ({stages})", " " * 9)
    page.print()


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


def _add_passes(page: Page, report: Report) -> None:
    ran = report.passes
    rows = [("pass", "applied", "latency", "")]
    for item in (item for item in ran if item.applied or item.rolled_back):
        label = "" if item.numerics == "exact" else item.numerics
        note = f"rolled back: {item.rolled_back}" if item.rolled_back else label
        gain = seconds(-item.gain_s, report.before.latency_s)
        rows.append((item.name, str(item.applied or ""), "" if gain == "0 s" else gain, note))
    if len(rows) > 1:
        page.lines.append("")
        page.table(rows, "lrrl", header=True)
    idle = [item.name for item in ran if not item.applied and not item.rolled_back]
    if idle:
        page.paragraph(f"nothing to do for {', '.join(idle)}", "  ")


def _add_misses(page: Page, report: Report, verbose: bool) -> None:
    """Patterns that were there and were left alone, the most frequent reasons first."""
    misses = report.near_misses
    if not misses:
        return
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for name, record in misses:
        groups.setdefault((name, record.rewrite, _NAMED.sub("", record.reason)), []).append(record)
    shown = sorted(groups.items(), key=lambda group: -len(group[1]))[: None if verbose else _MISSES_SHOWN]
    hidden = len(groups) - len(shown)
    page.heading(f"near misses: {len(misses)}" + (f" ({hidden} more reasons with -v)" if hidden else ""))
    for (name, rewrite, _), records in shown:
        listed = records if verbose else records[:1]
        nodes = ", ".join(f"{r.op} {shortened(printable(r.anchor), _NAME_WIDTH)}" for r in listed)
        more = ", ..." if len(records) > len(listed) else ""
        page.paragraph(f"  {len(records)} x {name}, {rewrite}: {records[0].reason} ({nodes}{more})", "    ")


def _add_layers(page: Page, report: Report) -> None:
    rows = [("layer", "engine", "MACs", "off-chip", "time", "bound", "worst cause", "ops")]
    for layer in report.after.layers:
        where = f"{layer.engine} {layer.algorithm}".strip()
        figures = (count(layer.macs), size(layer.off_chip_bytes), seconds(layer.seconds), seconds(layer.bound_s))
        name = shortened(printable(layer.name), _NAME_WIDTH)
        rows.append((name, where, *figures, layer.worst_cause, " ".join(layer.ops)))
    page.lines.append("")
    page.table(rows, "llrrrrll", header=True)


def _add_remarks(page: Page, report: Report) -> None:
    for line in report.notes:
        page.paragraph(f"note     {line}", " " * 9)
    for line in report.assumptions:
        page.paragraph(f"assumed  {line}", " " * 9)
    for name, op, reason in report.after.not_modelled:
        page.paragraph(f"not modelled: {op} {printable(name)}: {reason}", " " * 9)


def _check(report: Report) -> str:
    check = report.check
    if check.status != "passed":
        return f"{check.status}: {check.reason}"
    where = f" at output {shortened(printable(check.worst), _NAME_WIDTH)}" if check.worst and check.max_abs else ""
    differences = f"largest difference {check.max_abs:.2g}, relative {check.max_rel:.2g}{where}"
    runs = f"{check.runs} input set{'s' if check.runs > 1 else ''}"
    return f"passed: original and result on {runs}, {differences if check.max_abs else 'no difference'} (measured)"
