"""`optimize MODEL -o OUT --target T`: the main job."""

from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from roofwright.graph import UsageError
from roofwright.tools.outputs import Outputs


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
    batch: int | str | None,
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
    outputs = Outputs(_place(out, output, dry_run), report, schedule)
    outputs.check(model, force=force)
    if batch != "auto" and (max_latency is not None or max_memory is not None):
        raise UsageError(f"--max-{'latency' if max_latency is not None else 'memory'} is a limit of --batch auto")
    start = perf_counter()
    from roofwright.targets import load_target

    machine = load_target(target, stack=stack)
    machine = replace(machine, assume={}) if assume == "none" else machine
    from roofwright.graph import read
    from roofwright.passes import Options, build, optimize_graph

    settings = Options(
        skip=skip_passes or (),
        batch=batch,
        fold_limit_bytes=fold_size_threshold,
        max_latency_s=max_latency,
        max_memory_bytes=max_memory,
        **options,
    )
    build(settings.passes, settings.skip)  # a misspelt pass is told before a large model is read
    graph = read(model)
    loaded = perf_counter() - start
    made, found = optimize_graph(graph, machine, settings)
    saving = perf_counter()
    outputs.write(made, _texts(outputs, found), force=force)
    if not quiet and not outputs.on_stdout:
        from roofwright.tools.report.terminal import print_report

        own_s = {**found.seconds, "load": loaded, "save": perf_counter() - saving, "all": perf_counter() - start}
        print_report(found, machine, model, outputs.model, own_s, verbose=verbose)


def _place(out: str | None, output: str | None, dry_run: bool) -> Path | None:
    if out is not None and output is not None:
        raise UsageError("two outputs given; use either OUT or -o OUT")
    place = output if output is not None else out
    if place is None and not dry_run:
        raise UsageError("no output given; use -o FILE or --dry-run")
    return Path(place) if place is not None and not dry_run else None


def _texts(outputs: Outputs, found: Any) -> dict[str, str]:
    """The side files that were asked for; there is no schedule where the scheduling passes were left out."""
    from roofwright.cost_model import to_json

    texts = {} if outputs.report is None else {"report": found.to_json()}
    if outputs.schedule is not None:
        if found.schedule is None:
            raise UsageError("there is no schedule to write; the scheduling passes were left out")
        texts["schedule"] = to_json(found.schedule, indent=1) + "\n"
    return texts
