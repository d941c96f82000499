"""`optimize MODEL -o OUT --target T`: the main job."""

import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from roofwright.graph import UsageError, WriteError, printable


def run(
    *,
    model: str,
    out: str | None,
    output: str | None,
    target: str,
    stack: str | None,
    dry_run: bool,
    force: bool,
    skip_passes: tuple[str, ...] | None,
    fold_size_threshold: int,
    max_latency: float | None,
    max_memory: int | None,
    assume: str,
    report: str | None,
    schedule: str | None,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Read, optimize, save, report; see `optimize --help` for the arguments.

    Raises:
        RoofwrightError: one line; nothing was written and an existing output is untouched.
    """
    place = _place(out, output, dry_run)
    if report is not None and report != "-" and not report.endswith(".json"):
        raise UsageError(f"report {printable(report)}: expected a name that ends in .json")
    start = perf_counter()
    from roofwright.graph import read, save
    from roofwright.passes import Options, optimize_graph
    from roofwright.targets import load_target

    machine = load_target(target, stack=stack)
    machine = replace(machine, assume={}) if assume == "none" else machine
    settings = Options(
        skip=skip_passes or (),
        fold_limit_bytes=fold_size_threshold,
        max_latency_s=max_latency,
        max_memory_bytes=max_memory,
        **options,
    )
    graph = read(model)
    loaded = perf_counter() - start
    made, found = optimize_graph(graph, machine, settings)
    if place is not None:
        save(made, place, force=force)
    _write_files(found, report, schedule)
    if not quiet:
        from roofwright.tools.report.terminal import print_report

        print_report(found, machine, model, place, {"load": loaded, "all": perf_counter() - start}, verbose=verbose)


def _place(out: str | None, output: str | None, dry_run: bool) -> Path | None:
    if out is not None and output is not None:
        raise UsageError("two outputs given; use either OUT or -o OUT")
    place = output if output is not None else out
    if place is None and not dry_run:
        raise UsageError("no output given; use -o FILE or --dry-run")
    return Path(place) if place is not None and not dry_run else None


def _write_files(found: Any, report: str | None, schedule: str | None) -> None:
    from roofwright.cost_model import to_json

    if report is not None:
        _write(report, found.to_json())
    if schedule is not None and found.schedule is not None:
        _write(schedule, to_json(found.schedule, indent=1) + "\n")


def _write(name: str, text: str) -> None:
    if name == "-":
        sys.stdout.write(text)
        return
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise WriteError(f"{printable(name)}: cannot be written: {error.strerror or error}") from None
