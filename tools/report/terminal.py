"""The report on a terminal: before, after, the six causes, what every pass gained, what was left alone."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from roofwright import __version__
from roofwright.cost_model import CAUSES
from roofwright.graph import printable
from roofwright.passes import Report
from roofwright.targets import Engine, Simd, Simt, Systolic, Target
from roofwright.tools.report.units import change, count, percent, seconds, size

_WIDTH = 110  # of a report that goes to a file
_OPS_SHOWN = 4
_MISSES_SHOWN = 3
_LAYERS_SHOWN = 3


def print_report(
    report: Report, target: Target, model: str, place: Path | None, own_s: Mapping[str, float], *, verbose: bool
) -> None:
    """Print the report to stdout."""
    console = Console(highlight=False, soft_wrap=True)
    console.width = console.width if console.is_terminal else _WIDTH
    out = printable(place) if place else "(dry run)"
    console.print(f"optimize {__version__}  {escape(printable(model))} -> {escape(out)}   target {describe(target)}")
    console.print("[dim]times, bytes and utilisation are modelled, not measured; bound = proven lower bound[/dim]\n")
    console.print(_summary(report))
    console.print(_causes(report))
    console.print(_passes(report))
    _worst(console, report)
    _misses(console, report, verbose)
    if verbose:
        console.print(_layers(report))
    for line in report.assumptions:
        console.print(f"assumed  {escape(line)}")
    for name, op, reason in report.after.not_modelled:
        console.print(f"[yellow]not modelled[/yellow]  {escape(op)} {escape(printable(name))}: {escape(reason)}")
    console.print(_check(report))
    stages = ", ".join(
        f"{name} {own_s.get(name, report.seconds.get(name, 0.0)):.2f}" for name in ("load", "passes", "check")
    )
    console.print(f"time     {own_s['all']:.2f} s ({stages})")


def describe(target: Target) -> str:
    """`tpuv2 (128 x 128 @ 700 MHz, 16.0 MiB on chip, 350 GB/s)`."""
    parts = [_engine(next((e for e in target.engines if e.macs_per_clock), target.engines[0]))]
    if target.on_chip:
        parts.append(f"{size(target.on_chip.capacity_bytes)} {target.on_chip.name}")
    parts.append(f"{target.device_memory.bytes_per_s / 1e9:.3g} GB/s")
    return f"{target.name} ({', '.join(parts)}; stack {target.stack.name})"


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


def _summary(report: Report) -> Table:
    before, after = report.before, report.after
    table = Table("", "before", "after", "change", box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"

    def row(name: str, old: float, new: float, show: object = count) -> None:
        assert callable(show)
        table.add_row(name, show(old), show(new), change(old, new))

    row("nodes", before.nodes, after.nodes)
    for op in list(dict.fromkeys([*before.ops, *after.ops]))[:_OPS_SHOWN]:
        row(f"  {escape(op)}", before.ops.get(op, 0), after.ops.get(op, 0))
    row("kernels", before.kernels, after.kernels)
    row("parameters", before.parameter_bytes, after.parameter_bytes, size)
    row("MACs", before.macs, after.macs)
    row("off-chip traffic", before.off_chip_bytes, after.off_chip_bytes, size)
    row("  bound", before.bound_bytes, after.bound_bytes, size)
    if after.on_chip_bytes:
        row("peak on-chip", before.on_chip_bytes, after.on_chip_bytes, size)
    table.add_row("matrix-unit utilisation", percent(before.utilisation), percent(after.utilisation), "")
    old, new = report.batch
    row(
        f"latency (batch {old})" if old == new else f"latency (batch {old} -> {new})",
        before.latency_s,
        after.latency_s,
        seconds,
    )
    row("  device time", before.device_s, after.device_s, seconds)
    row("  bound on device time", before.bound_s, after.bound_s, seconds)
    if old != new:
        row("  device time per sample", before.device_s / old, after.device_s / new, seconds)
    row(
        "throughput per s",
        old / before.period_s if before.period_s else 0,
        new / after.period_s if after.period_s else 0,
    )
    return table


def _causes(report: Report) -> Table:
    table = Table(
        "\nwhere the time goes", "\nbefore", "\nafter", "\nwhat it is", box=None, pad_edge=False, header_style="bold"
    )
    table.columns[1].justify = table.columns[2].justify = "right"
    before, after = report.before, report.after
    table.add_row("ideal", seconds(before.ideal_s), seconds(after.ideal_s), "useful MACs at the special unit's peak")
    for name, meaning in CAUSES:
        table.add_row(f"+ {name}", seconds(before.causes_s[name]), seconds(after.causes_s[name]), meaning)
    table.add_row("= latency", seconds(before.latency_s), seconds(after.latency_s), "the sum, exactly")
    return table


def _passes(report: Report) -> Table:
    table = Table("\npass", "\napplied", "\nlatency", "", box=None, pad_edge=False, header_style="bold")
    table.columns[1].justify = table.columns[2].justify = "right"
    for item in report.passes:
        if item.rolled_back:
            table.add_row(item.name, "", "", f"[red]rolled back: {escape(item.rolled_back)}[/red]")
        elif item.applied:
            gain = seconds(-item.gain_s) if item.gain_s else "no change"
            table.add_row(item.name, str(item.applied), gain, "" if item.numerics == "exact" else item.numerics)
    idle = [item.name for item in report.passes if not item.applied and not item.rolled_back]
    table.caption = f"nothing to do for: {', '.join(idle)}" if idle else None
    table.caption_justify = "left"
    return table


def _worst(console: Console, report: Report) -> None:
    losers = sorted(report.after.layers, key=lambda layer: layer.ideal_s - layer.seconds)[:_LAYERS_SHOWN]
    console.print("\n[bold]layers that lose most[/bold]")
    for layer in losers:
        lost = layer.causes_s[layer.worst_cause]
        text = f"{layer.ops[0]} {printable(layer.name)}: {seconds(layer.seconds)}, {seconds(lost)} of it {layer.worst_cause}"
        console.print(f"  {escape(text)}; lever: {layer.lever}")


def _misses(console: Console, report: Report, verbose: bool) -> None:
    misses = report.near_misses
    if not misses:
        return
    reasons = Counter((name, record.reason) for name, record in misses)
    console.print(f"\n[bold]near misses[/bold] {len(misses)}" + ("" if verbose else " (-v and --report list all)"))
    for (name, reason), times in reasons.most_common(None if verbose else _MISSES_SHOWN):
        console.print(f"  {times} x {name}: {escape(reason)}")
    console.print()


def _layers(report: Report) -> Table:
    table = Table(
        "layer", "ops", "engine", "MACs", "off-chip", "time", "bound", "worst cause", box=None, pad_edge=False
    )
    for layer in report.after.layers:
        where = f"{layer.engine} {layer.algorithm}".strip()
        figures = (count(layer.macs), size(layer.off_chip_bytes), seconds(layer.seconds), seconds(layer.bound_s))
        table.add_row(escape(printable(layer.name)), escape(" ".join(layer.ops)), where, *figures, layer.worst_cause)
    return table


def _check(report: Report) -> str:
    check = report.check
    if check.status == "passed":
        return (
            f"check    {check.runs} runs, max abs {check.max_abs:.2g}, max rel {check.max_rel:.2g} (measured): PASSED"
        )
    return f"check    {check.status}: {escape(check.reason)}"
