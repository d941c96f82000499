"""`optimize MODEL -o OUT --target T`: the main job."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from roofwright.graph import UsageError
from roofwright.tools.outputs import Outputs

_NOT_WITH_BISECT = (
    "report", "schedule", "trace", "dump_ir", "print_after", "print_after_all", "explain", "graph_diff", "pass_limit"
)  # fmt: skip


def run(*, bisect: bool, **arguments: Any) -> None:
    """Read, optimize, save, report; or search for what breaks the model. See `optimize --help` for the arguments.

    Raises:
        RoofwrightError: one line; nothing was written and an existing output is untouched.
    """
    _refuse_limits(arguments)
    if not bisect:
        _optimize(**arguments)
        return
    taken = next((name for name in _NOT_WITH_BISECT if arguments[name]), None)
    taken = "pass_limit" if arguments["pass_limit"] is not None else taken
    if taken:
        raise UsageError(f"--{taken.replace('_', '-')} does not go with --bisect, which writes and prints its own")
    from roofwright.tools.bisecting import bisect_model

    place = _place(arguments.pop("out"), arguments.pop("output"), needed=False)
    machine = [arguments.pop(name) for name in ("target", "stack", "assume")]
    others = {*_NOT_WITH_BISECT, "dry_run", "verbose"}
    settings = {name: value for name, value in arguments.items() if name not in others}
    bisect_model(settings.pop("model"), place, machine[0], lambda: _machine(*machine), settings)


def _optimize(
    *,
    model: str,
    out: str | None,
    output: str | None,
    target: str,
    stack: str | None,
    assume: str,
    dry_run: bool,
    force: bool,
    report: str | None,
    schedule: str | None,
    trace: str | None,
    dump_ir: str | None,
    print_after: tuple[str, ...],
    print_after_all: bool,
    verbose: bool,
    quiet: bool,
    explain: bool,
    graph_diff: bool,
    **settings: Any,
) -> None:
    place = _place(out, output, needed=not dry_run)
    start = perf_counter()
    outputs = Outputs(None if dry_run else place, report, schedule, trace)
    outputs.check(model, force=force)
    machine = _machine(target, stack, assume)
    from roofwright.graph import read
    from roofwright.passes import build, optimize_graph
    from roofwright.tools.watching import Watching

    watching = Watching(dump_ir, print_after, print_after_all, stdout_taken=outputs.on_stdout)
    named = (settings[key] or () for key in ("skip_passes", "enable"))
    build(settings["passes"], *named)  # a misspelt pass is told before a large model is read
    watching.prepare(force=force)
    graph = read(model)
    options = replace(read_options(settings, graph), watch=watching.call)
    loaded = perf_counter() - start
    made, found = optimize_graph(graph, machine, options)
    saving = perf_counter()
    outputs.write(made, _texts(outputs, found), force=force)
    watching.finish()
    if not quiet and not outputs.on_stdout:
        from roofwright.tools.report.terminal import Shown, print_report

        own_s = {**found.seconds, "load": loaded, "save": perf_counter() - saving, "all": perf_counter() - start}
        graphs = (graph, made) if graph_diff else None
        shown = Shown(verbose=verbose, explain=explain, graphs=graphs)
        print_report(found, machine, model, outputs.model, own_s, shown)


def _place(out: str | None, output: str | None, *, needed: bool) -> Path | None:
    if out is not None and output is not None:
        raise UsageError("two outputs given; use either OUT or -o OUT")
    place = output if output is not None else out
    if place is None and needed:
        raise UsageError("no output given; use -o FILE or --dry-run")
    return None if place is None else Path(place)


def _refuse_limits(settings: Mapping[str, Any]) -> None:
    """Limits without what they limit."""
    if settings["batch"] != "auto" and settings["max_latency"] is not None:
        raise UsageError("--max-latency is a limit of --batch auto")


def _machine(target: str, stack: str | None, assume: str) -> Any:
    from roofwright.targets import load_target

    machine = load_target(target, stack=stack)
    return replace(machine, assume={}) if assume == "none" else machine


def read_options(settings: Mapping[str, Any], graph: Any) -> Any:
    """The pipeline's `Options` from the command line's, for a model that was read."""
    from roofwright.passes import Options
    from roofwright.tools.arrays import load_arrays

    own = dict(settings)
    check, given = own.pop("check"), own.pop("check_inputs")
    return Options(
        skip=own.pop("skip_passes") or (),
        enable=own.pop("enable") or (),
        fold_limit_bytes=own.pop("fold_size_threshold"),
        max_latency_s=own.pop("max_latency"),
        max_memory_bytes=own.pop("max_memory"),
        check=0 if own.pop("no_check") else check,
        check_inputs=load_arrays(given, [tensor.name for tensor in graph.inputs]),
        **own,
    )


def _texts(outputs: Outputs, found: Any) -> dict[str, str]:
    """The side files that were asked for; there is no schedule where the scheduling passes were left out."""
    from roofwright.cost_model import to_json

    texts = {} if outputs.report is None else {"report": found.to_json()}
    if outputs.schedule is not None:
        if found.schedule is None:
            raise UsageError("there is no schedule to write; the scheduling passes were left out")
        texts["schedule"] = to_json(found.schedule, indent=1) + "\n"
    if outputs.trace is not None:
        from roofwright.tools.trace import trace

        texts["trace"] = trace(found.estimate, found.schedule)
    return texts
