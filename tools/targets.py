"""`roofwright targets [NAME]`: which machines there are, and everything that is known of one, with its source."""

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from roofwright.targets import Provenance, Target, load_target, target_names
from roofwright.tools.fields import spoken

if TYPE_CHECKING:
    from roofwright.tools.report.console import Console

_PIPE_WIDTH = 160  # columns where the output is not a terminal


@dataclass(frozen=True)
class Row:
    """One line of the list of targets; `same_as` names the target it is another name of, or is empty."""

    name: str
    title: str
    peak: str
    on_chip: str
    memory: str
    price: str
    same_as: str


@dataclass(frozen=True)
class Fact:
    """One value of a target, as text, and where it comes from (both empty for what is no number)."""

    key: str
    value: str
    source: str
    confidence: str


@dataclass(frozen=True)
class Section:
    """A titled group of facts."""

    title: str
    facts: tuple[Fact, ...]


def listing() -> tuple[Row, ...]:
    """Every shipped target in one line, by name; a further name of a machine follows its first."""
    targets = [load_target(name) for name in target_names()]
    first: list[Target] = []
    rows = []
    for target in sorted(targets, key=lambda t: (len(t.name), t.name)):
        same = next((t.name for t in first if dataclasses.replace(target, name=t.name) == t), "")
        first.append(target)
        rows.append(_row(target, same))
    return tuple(sorted(rows, key=lambda row: row.name))


def description(target: Target) -> tuple[Section, ...]:
    """Everything a target states, grouped by engine and memory level, each number with its source."""
    sections = [_section(target, f"engine {e.name} ({e.kind})", e, f"engines.{e.name}") for e in target.engines]
    sections += [_section(target, f"memory {m.name}", m, f"memories.{m.name}") for m in target.memories]
    sections.append(_section(target, "link to the host", target.link, "link"))
    if target.power is not None:
        sections.append(_section(target, "power", target.power, "power"))
    if target.assume:
        sections.append(Section("assumed for dtypes that it lacks", tuple(_assumed(target))))
    if target.price_usd_per_hour is not None:
        price = _fact("price_usd_per_hour", target.price_usd_per_hour, target.provenance, "price_usd_per_hour")
        sections.append(Section("rental", (price,)))
    stack = _facts(target.stack, "", target.stack.provenance)
    return (*sections, Section(f"software stack {target.stack.name}", tuple(stack)))


def run(name: str | None, stdout: TextIO | None = None) -> None:
    """Print the list of targets, or one target given by name or path, on `stdout` (None: the process's own).

    Raises:
        TargetError: the target is unknown or its file is invalid; nothing has been printed.
    """
    target = None if name is None else load_target(name)
    rows = listing() if target is None else ()
    from roofwright.tools.report.console import Console

    out = sys.stdout if stdout is None else stdout
    width = None if out.isatty() else _PIPE_WIDTH
    console = Console(file=out, width=width, markup=False, emoji=False, soft_wrap=False)
    if target is None:
        _print_listing(console, rows)
    else:
        _print_target(console, target)


def _row(target: Target, same_as: str) -> Row:
    peaks = {d: 2 * e.peak_macs_per_s(d) for e in reversed(target.engines) for d in e.macs_per_clock}
    main = target.engines[0].macs_per_clock
    dtype = max(main, key=lambda d: (d in ("float16", "bfloat16"), d == "float32", peaks[d]))
    on_chip = target.on_chip
    return Row(
        name=target.name,
        title=target.title,
        peak=f"{spoken('flops', peaks[dtype])} {dtype}",
        on_chip=spoken("bytes", on_chip.capacity_bytes) if on_chip else "-",
        memory=spoken("bytes_per_s", target.device_memory.bytes_per_s),
        price="-" if target.price_usd_per_hour is None else spoken("usd_per_hour", target.price_usd_per_hour),
        same_as=same_as,
    )


def _assumed(target: Target) -> Iterator[Fact]:
    for dtype, how in target.assume.items():
        yield Fact(dtype, f"stored as {how.storage}, multiplied as {how.multiply}", "", "")


def _section(target: Target, title: str, part: object, prefix: str) -> Section:
    return Section(title, tuple(_facts(part, prefix, target.provenance)))


def _facts(part: Any, prefix: str, provenance: Mapping[str, Provenance]) -> Iterator[Fact]:
    """The fields of a dataclass, a nested one flattened; names and provenance are left to the headings."""
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        key = f"{prefix}.{field.name}" if prefix else field.name
        if field.name in ("name", "kind", "provenance"):
            continue
        if dataclasses.is_dataclass(value):
            yield from _facts(value, key, provenance)
        elif isinstance(value, Mapping) and len(set(_below(key, provenance))) > 1:
            for name, item in value.items():
                yield _fact(f"{key}.{name}", item, provenance, field.name)
        else:
            yield _fact(key, value, provenance, field.name)


def _fact(key: str, value: object, provenance: Mapping[str, Provenance], field: str) -> Fact:
    """One value with the source that all its numbers share, if it has numbers."""
    shown = key.split(".", 2)[2] if key.startswith(("engines.", "memories.")) else key
    shown = shown.removeprefix("link.").removeprefix("power.")
    found = next(_below(key, provenance), None)
    return Fact(shown, spoken(field, value), found.source if found else "", found.confidence if found else "")


def _below(key: str, provenance: Mapping[str, Provenance]) -> Iterator[Provenance]:
    return (found for name, found in provenance.items() if name == key or name.startswith(f"{key}."))


def _print_listing(console: "Console", rows: tuple[Row, ...]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("target", "machine", "peak", "on chip", "memory", "per hour"):
        table.add_column(heading, no_wrap=heading != "machine")
    for row in rows:
        title = f"the same as {row.same_as}" if row.same_as else row.title
        table.add_row(row.name, title, row.peak, row.on_chip, row.memory, row.price)
    console.print(table)


def _print_target(console: "Console", target: Target) -> None:
    from rich.table import Table

    console.print(f"{target.name}: {target.title}\n{target.summary}")
    for section in description(target):
        console.print(f"\n{section.title}", style="bold")
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 2))
        for ratio in (3, 4, 1, 6):
            table.add_column(ratio=ratio, overflow="fold")
        for fact in section.facts:
            table.add_row(fact.key, fact.value, fact.confidence, fact.source)
        console.print(table)
