"""What every rewrite did and gained, and which patterns were there and were left alone."""

import re
from collections.abc import Sequence

from roofwright.graph import printable
from roofwright.passes import Record, Report
from roofwright.tools.report.page import Page, shortened
from roofwright.tools.report.units import seconds, size

_MISSES_SHOWN = 3
_NAMES_SHOWN = 3
_NAME_WIDTH = 120  # whole, for all but absurd names: names of one model differ in their middles
_NAMED = re.compile(r"'[^']*'|\d+")  # the part of a reason that differs from node to node


def add_rewrites(page: Page, report: Report, *, every: bool) -> None:
    """One line for every rewrite of the graph, pass by pass.

    Those of a kind without a modelled gain share one; `every` names all of their nodes.
    """
    page.heading(f"rewrites: {len(report.rewrites)} (modelled change of time and off-chip bytes, op by op)")
    for item in report.passes:
        mine = [record for record in item.records if record.applied and record.number]
        priced = [record for record in mine if record.gain_s or record.gain_bytes]
        page.lines += [f"  {item.name}"] if mine else []
        if priced:
            page.table([_row(record) for record in priced], "rlrrl")
        _add_free(page, [record for record in mine if not (record.gain_s or record.gain_bytes)], every)


def _row(record: Record) -> tuple[str, ...]:
    time, moved = _signed(seconds(0.0 - (record.gain_s or 0.0))), _signed(size(0.0 - (record.gain_bytes or 0.0)))
    names = [[f"{op} {_short(name)}" for op, name in nodes] for nodes in (record.taken, record.produced)]
    return (f"    #{record.number}", record.rewrite, time, moved, _change(record, *names))


def _change(record: Record, old: Sequence[str], new: Sequence[str]) -> str:
    """`Conv a + Mul b --> Conv b`; `at Reshape a` for what changes no node."""
    if not old and not new:
        return f"at {record.op} {_short(record.anchor)}"
    return f"{' + '.join(old) or record.op} --> {' + '.join(new) or 'nothing'}"


def _add_free(page: Page, records: Sequence[Record], every: bool) -> None:
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        ops = [[op for op, _ in nodes] for nodes in (record.taken, record.produced)]
        change = _change(record, *ops) if any(ops) else f"at {record.op}"
        groups.setdefault((record.rewrite, change), []).append(record)
    for (rewrite, change), found in groups.items():
        names = [_short(record.anchor) for record in found]
        shown = names if every else names[:_NAMES_SHOWN]
        more = ", ..." if len(shown) < len(names) else ""
        page.paragraph(f"    {len(found)} x {rewrite}, {change}, no gain: {', '.join(shown)}{more}", " " * 6)


def _short(name: str) -> str:
    return shortened(printable(name), _NAME_WIDTH)


def _signed(text: str) -> str:
    return text if text[0] in "-0" else f"+{text}"


def add_misses(page: Page, report: Report, *, every: bool) -> None:
    """Patterns that are there and were left alone, the most frequent reasons first; `every` lists each node."""
    misses = report.near_misses
    if not misses:
        return
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for name, record in misses:
        groups.setdefault((name, record.rewrite, _NAMED.sub("", record.reason)), []).append(record)
    shown = sorted(groups.items(), key=lambda group: -len(group[1]))[: None if every else _MISSES_SHOWN]
    hidden = len(groups) - len(shown)
    page.heading(f"near misses: {len(misses)}" + (f" ({hidden} more reasons with -v)" if hidden else ""))
    for (name, rewrite, _), records in shown:
        if every:
            _add_every(page, f"{name}, {rewrite}", records)
            continue
        more = ", ..." if len(records) > 1 else ""
        reason = f"{printable_reason(records[0])} ({_named(records[0])}{more})"
        page.paragraph(f"  {len(records)} x {name}, {rewrite}: {reason}", "    ")


def _add_every(page: Page, rule: str, records: Sequence[Record]) -> None:
    """One reason for all of them, or each with its own."""
    if len({record.reason for record in records}) == 1:
        nodes = ", ".join(_named(record) for record in records)
        page.paragraph(f"  {len(records)} x {rule}: {printable_reason(records[0])} ({nodes})", "    ")
        return
    page.lines.append(f"  {len(records)} x {rule}")
    for record in records:
        page.paragraph(f"    {_named(record)}: {printable_reason(record)}", "      ")


def _named(record: Record) -> str:
    return f"{record.op} {shortened(printable(record.anchor), _NAME_WIDTH)}"


def printable_reason(record: Record) -> str:
    """The reason on one line, whatever names the model has put into it."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in record.reason
    )
