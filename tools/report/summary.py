"""The table of figures before and after."""

from collections.abc import Callable

from roofwright.graph import printable
from roofwright.passes import Report, Side
from roofwright.tools.report.page import Page
from roofwright.tools.report.units import change, count, factor, percent, rate, seconds, size

_OPS_SHOWN = 5


def add_summary(page: Page, report: Report) -> None:
    """Add the table to the page; rows that say nothing are left out."""
    before, after = report.before, report.after
    rows = [("", "before", "after", "change", "")]

    def row(name: str, old: float, new: float, show: Callable[[float], str] = count, note: str = "") -> None:
        rows.append((name, show(old), show(new), change(old, new), note))

    row("nodes", before.nodes, after.nodes)
    for op in shown_ops(before, after):
        row(f"  {printable(op)}", before.ops.get(op, 0), after.ops.get(op, 0), note=fused(op, after))
    row("kernels", before.kernels, after.kernels)
    row("parameters", before.parameter_bytes, after.parameter_bytes, size)
    row("MACs", before.macs, after.macs)
    row("off-chip traffic", before.off_chip_bytes, after.off_chip_bytes, size)
    row("  bound", before.bound_bytes, after.bound_bytes, size)
    if after.on_chip_bytes:
        row("peak on-chip", before.on_chip_bytes, after.on_chip_bytes, size)
    if report.memory is not None:
        change_of = report.memory
        note = f"{change_of.strips} strips in {change_of.segments} runs of nodes" if change_of.strips else ""
        row("peak memory of a run", change_of.before_bytes, change_of.after_bytes, size, note)
        if change_of.strips:
            again = f"{percent(change_of.macs / before.macs) if before.macs else '0 %'} of the MACs again"
            rows.append(("  latency added by strips", "", seconds(change_of.seconds), "", again))
    share = (percent(before.utilisation), percent(after.utilisation))
    rows.append(("share of the unit's peak", *share, factor(before.utilisation, after.utilisation), ""))
    _add_times(row, report)
    page.table(rows, "lrrrl", header=True)


def _add_times(row: Callable[..., None], report: Report) -> None:
    before, after = report.before, report.after
    old, new = report.batch
    batch = f"batch {old}" if old == new else f"batch {old} -> {new}"
    worst = [max(side.causes_s, key=lambda name: side.causes_s[name]) for side in (before, after)]
    note = f"mostly {worst[0]}" if worst[0] == worst[1] else f"mostly {worst[0]} -> {worst[1]}"
    row(f"latency ({batch})", before.latency_s, after.latency_s, seconds, note)
    if (before.device_s, after.device_s) != (before.latency_s, after.latency_s):
        row("  without the host link", before.device_s, after.device_s, seconds)
    row("  bound on device time", before.bound_s, after.bound_s, seconds)
    if old != new:
        row("  device time per sample", before.device_s / old, after.device_s / new, seconds)
    if before.period_s and after.period_s:
        row("samples per second", old / before.period_s, new / after.period_s, rate)


def shown_ops(before: Side, after: Side) -> list[str]:
    """The operators worth a row: those whose number changed most, then the most frequent in fused kernels."""
    change_of = {op: abs(before.ops.get(op, 0) - after.ops.get(op, 0)) for op in (*before.ops, *after.ops)}
    anchors = {op: sum(layer.ops.count(op) for layer in after.layers if len(layer.ops) > 1) for op in after.ops}
    told = [op for op in change_of if change_of[op] or anchors.get(op)]
    changed = sorted((op for op in told if change_of[op]), key=lambda op: -change_of[op])
    kept = sorted((op for op in told if not change_of[op]), key=lambda op: -anchors[op])
    room = max(_OPS_SHOWN - len(changed), 1)
    return [*changed[: _OPS_SHOWN - min(room, len(kept))], *kept[:room]]


def fused(op: str, side: Side) -> str:
    """`52 in 18 fused kernels`; empty where no kernel has the operator and others."""
    held = [layer.ops.count(op) for layer in side.layers if len(layer.ops) > 1 and op in layer.ops]
    return f"{sum(held)} in {len(held)} fused kernel{'s' if len(held) > 1 else ''}" if held else ""
