"""`optimize MODEL --bisect`: names the rewrite that first breaks the model, and writes a small model that shows it."""

import json
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from roofwright.graph import UsageError, VerificationError, printable
from roofwright.tools.outputs import Outputs

MODEL, STORY = "repro.onnx", "repro.json"
SCHEMA = "roofwright.repro/1"


def bisect_model(
    model: str,
    place: Path | None,
    target: str,
    machine: Callable[[], Any],
    settings: dict[str, Any],
) -> None:
    """Search, print what was found, and write repro.onnx and repro.json beside OUT (or into the current folder).

    Args:
        model: what to read.
        place: OUT.
        target: the machine's name, for the command that shows the failure.
        machine: loads it.
        settings: `force`, `quiet`, and the options of the pipeline.

    Raises:
        VerificationError: the model breaks; the line names the pass, the match and the node.
        RoofwrightError: the search cannot be made.
    """
    if settings["no_check"] or settings["check"] == 0:
        raise UsageError("--bisect needs the check; leave --no-check out")
    force, quiet = settings.pop("force"), settings.pop("quiet")
    folder = Path() if place is None else place.parent
    outputs = Outputs(folder / MODEL, str(folder / STORY))
    outputs.check(model, force=force)
    from roofwright.graph import read
    from roofwright.passes import bisect
    from roofwright.tools.optimize import read_options

    graph = read(model)
    culprit = bisect(graph, machine(), read_options(settings, graph))
    if culprit is None:
        if not quiet:
            print(f"nothing breaks {printable(model)}: the check passes with every rewrite")
        return
    story = _story(culprit, target, settings)
    outputs.write(culprit.reproducer, {"report": json.dumps(story, indent=1) + "\n"}, force=force)
    if not quiet:
        print(_words(culprit, story, folder))
    raise VerificationError(
        f"{culprit.name} ({culprit.record.rewrite}) at {printable(culprit.record.anchor)}, rewrite "
        f"{culprit.record.number} of {culprit.rewrites}, first breaks the model: {culprit.reason}"
    )


def _story(culprit: Any, target: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What repro.json says."""
    record = culprit.record
    return {
        "schema": SCHEMA,
        "pass": culprit.name,
        "rewrite": record.rewrite,
        "number": record.number,
        "rewrites": culprit.rewrites,
        "anchor": record.anchor,
        "op": record.op,
        "consumed": _nodes(record.taken),
        "produced": _nodes(record.produced),
        "reason": culprit.reason,
        "runs": culprit.runs,
        "alone": culprit.alone,
        "nodes": len(culprit.reproducer.nodes),
        "inputs": [_port(tensor) for tensor in culprit.reproducer.inputs],
        "rerun": shlex.join(_rerun(culprit, target, settings)),
        "expected_exit_code": VerificationError.exit_code,
    }


def _nodes(named: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"op": op, "name": name} for op, name in named]


def _port(tensor: Any) -> dict[str, Any]:
    shape = None if tensor.shape is None else [dim if isinstance(dim, int) else str(dim) for dim in tensor.shape]
    return {"name": tensor.name, "shape": shape}


def _rerun(culprit: Any, target: str, settings: Mapping[str, Any]) -> list[str]:
    """The command that shows the failure on the reproducer: the pass alone, or the passes of the search."""
    from roofwright.passes import PASSES

    words = ["optimize", MODEL, "--dry-run", "--target", target]
    named = culprit.alone and culprit.name in PASSES
    passes = (culprit.name,) if named else settings["passes"]
    words += ["--passes", ",".join(passes)] if passes else []
    skipped = () if named else settings["skip_passes"]
    words += ["--skip-passes", ",".join(skipped)] if skipped else []
    words += ["--enable-pass", ",".join(settings["enable"])] if settings["enable"] and not named else []
    words += [] if named else _strips(settings)
    words += ["--numerics", settings["numerics"]] if settings["numerics"] != "rounding" else []
    words += ["--check", str(settings["check"])] if settings["check"] != 1 else []
    return words + (["--seed", str(settings["seed"])] if settings["seed"] else [])


def _strips(settings: Mapping[str, Any]) -> list[str]:
    """The options that write strips."""
    words = ["--optimize-for", "memory"] if settings.get("optimize_for") == "memory" else []
    limit = None if settings["batch"] == "auto" else settings["max_memory"]
    return words + ([] if limit is None else ["--max-memory", str(limit)])


def _words(culprit: Any, story: Mapping[str, Any], folder: Path) -> str:
    """What the terminal shows."""
    record, number = culprit.record, culprit.record.number
    old = " + ".join(f"{op} {printable(name)}" for op, name in record.taken) or printable(record.anchor)
    new = " + ".join(f"{op} {printable(name)}" for op, name in record.produced) or "nothing"
    return (
        f"{culprit.name}, {record.rewrite}: {old} --> {new}\n"
        f"  right after {number - 1} of {culprit.rewrites} rewrites, wrong after {number} ({culprit.runs} runs)\n"
        f"  {printable(folder / MODEL)} has {story['nodes']} nodes; to see it fail: {story['rerun']}"
    )
