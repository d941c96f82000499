"""The pipeline: every pass by name, the default order with a reason per line, and optimize()."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import onnx_graphsurgeon as gs

from roofwright.cost_model import Estimate, GraphModel, estimate, parameter_bytes
from roofwright.graph import (
    UnsupportedError,
    UsageError,
    VerificationError,
    clone,
    interface,
    model_sidecar,
    notes,
    pin_shapes,
    read,
)
from roofwright.passes.base import Context, Numerics, Pass
from roofwright.passes.check import Check, check
from roofwright.passes.cleanup import (
    CommonSubexpressions,
    ConstantIf,
    Constants,
    DeadCode,
    FoldConstants,
    Identities,
    Shapes,
)
from roofwright.passes.emit import strip_schedule, write_schedule
from roofwright.passes.fusion import FuseActivations, FuseAffine, FuseBatchNorm, FuseGemm, FusePad
from roofwright.passes.report import PassReport, Report, Side
from roofwright.passes.runner import PassFailed, Runner
from roofwright.passes.scheduling import Kernels, PlaceTensors, PrefetchWeights, Tiles
from roofwright.targets import Target, load_target

PASSES: Mapping[str, type[Pass]] = {
    "constants": Constants,  # one form of constants, so that every later pattern sees initializers
    "fold-constants": FoldConstants,  # exporters hide BatchNorm statistics behind casts and expands
    "constant-if": ConstantIf,  # a branch that is never taken must not block anything
    "identities": Identities,  # what does nothing stands between a pattern's nodes
    "shapes": Shapes,  # one Reshape or Transpose where exporters write chains
    "common-subexpressions": CommonSubexpressions,  # after shapes, so that equal chains look equal
    "fuse-pad": FusePad,  # before BatchNorm, whose pre-Conv form needs to know the real padding
    "fuse-batch-norm": FuseBatchNorm,  # the largest gain: a whole pass over the activations
    "fuse-gemm": FuseGemm,  # gives a bias a place to be folded into
    "fuse-affine": FuseAffine,  # after BatchNorm: scale and shift that are left
    "fuse-activations": FuseActivations,  # last of the fusions: it needs the others' neighbours
    "dead-code": DeadCode,  # what the passes before it orphaned
    "kernels": Kernels,  # which nodes run together
    "tiles": Tiles,  # how each kernel is cut
    "placement": PlaceTensors,  # what stays on chip: needs the tiles' footprints
    "prefetch": PrefetchWeights,  # what is loaded early: needs what is free beside them
}


@dataclass(frozen=True)
class Result:
    """An optimized model and the report about it; unpacks in two."""

    model: Any
    report: Report

    def __iter__(self) -> Iterator[Any]:
        """`model, report = optimize(...)`."""
        return iter((self.model, self.report))


@dataclass(frozen=True)
class Options:
    """How a pipeline is run; every field has the command line's default.

    Attributes:
        passes: pass names or passes, in order; None: all of `PASSES`.
        skip: names left out.
        numerics: the most that a rewrite may change results.
        dims: symbolic dimension -> size for pricing and checking.
        input_shapes: input name -> sizes that its symbolic dimensions become, everywhere in the model.
        batch: samples per request; None leaves it alone, "auto" chooses.
        check: compare with the original on onnxruntime.
        strict: an unplaced op, a rolled-back pass or an unverified result is an error.
        fold_limit_bytes: no folded constant is larger, unless what it replaces is.
        resident_weights: weights stay on chip between requests where they fit.
        max_latency_s, max_memory_bytes: limits of `batch="auto"`.
    """

    passes: Sequence[str | Pass] | None = None
    skip: Sequence[str] = ()
    numerics: Numerics = "rounding"
    dims: Mapping[str, int] | None = None
    input_shapes: Mapping[str, Sequence[int]] | None = None
    batch: int | str | None = None
    check: bool = True
    strict: bool = False
    fold_limit_bytes: int = 1 << 20
    resident_weights: bool = False
    max_latency_s: float | None = None
    max_memory_bytes: float | None = None


def build(names: Sequence[str | Pass] | None, skip: Sequence[str] = ()) -> list[Pass]:
    """Passes by name or value, in order, without those skipped.

    Raises:
        UsageError: an unknown name; the message has the closest match.
    """
    from difflib import get_close_matches

    for name in [*(names or ()), *skip]:
        if isinstance(name, str) and name not in PASSES:
            close = get_close_matches(name, PASSES, 1)
            hint = f"; did you mean {close[0]}?" if close else f", expected one of {', '.join(PASSES)}"
            raise UsageError(f"unknown pass {name!r}{hint}")
    wanted = [PASSES[item]() if isinstance(item, str) else item for item in (PASSES if names is None else names)]
    return [pass_ for pass_ in wanted if pass_.name not in skip]


def optimize_graph(original: gs.Graph, target: Target, options: Options) -> tuple[gs.Graph, Report]:
    """Run the pipeline on a copy of `original`; the copy and the report come back, `original` is not changed.

    Raises:
        VerificationError: the optimized model does not compute what the original does.
        UnsupportedError: a request that this model or target cannot meet.
    """
    clock = _Clock()
    source = clone(original)
    strip_schedule(source)
    if options.input_shapes:
        pin_shapes(source, options.input_shapes)
    model = GraphModel.of(source, options.dims)
    before = estimate(model, target, resident_weights=options.resident_weights)
    clock.lap("estimate")
    runner, blamed = _run(source, target, options, before)
    clock.lap("passes")
    if runner.ctx.schedule is not None:
        write_schedule(runner.graph, runner.ctx.schedule)
    outcome = _check(source, runner, options) if options.check else Check("not verified", "switched off")
    clock.lap("check")
    report = _report(source, model, before, runner, blamed, outcome, clock.laps | runner.seconds)
    _judge(report, options)
    return runner.graph, report


class _Clock:
    """Our own run time, stage by stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.laps[name], self._last = now - self._last, now


def _run(source: gs.Graph, target: Target, options: Options, before: Estimate) -> tuple[Runner, dict[str, PassReport]]:
    """Run the pipeline; a pass that fails is left out and everything starts again from the source."""
    blamed: dict[str, PassReport] = {}
    chosen = build(options.passes, options.skip)
    while True:
        passes = [pass_ for pass_ in chosen if pass_.name not in blamed]
        ctx = Context(
            target=target,
            numerics=options.numerics,
            fold_limit_bytes=options.fold_limit_bytes,
            dims=options.dims or {},
            resident_weights=options.resident_weights,
        )
        graph = clone(source)
        runner = Runner(graph, ctx, target, before, interface(graph))
        try:
            rewriting = [p for p in passes if not p.schedules]
            scheduling = [p for p in passes if p.schedules]
            runner.rewrite(rewriting)
            if options.batch is not None:
                _widen(runner, options, scheduling)
                runner.rewrite(rewriting)  # the old batch's shape arithmetic is left over
            runner.schedule(scheduling)
            return runner, blamed
        except PassFailed as failure:
            if failure.name in blamed:
                raise
            numerics = next((p.numerics for p in chosen if p.name == failure.name), "exact")
            blamed[failure.name] = PassReport(failure.name, numerics, 0, 0.0, failure.reason)


def _widen(runner: Runner, options: Options, scheduling: Sequence[Pass]) -> None:
    """Give the runner's graph the batch that was asked for."""
    from roofwright.passes.batching import WidenBatch, choose_batch

    batch = options.batch
    if batch == "auto":
        batch = choose_batch(
            lambda size: runner.priced_at(size, scheduling),
            max_latency_s=options.max_latency_s,
            max_memory_bytes=options.max_memory_bytes,
        )
    runner.widen(WidenBatch(batch=int(batch or 1)))


def _check(source: gs.Graph, runner: Runner, options: Options) -> Check:
    from roofwright.graph import run, session

    applied = [p for p in runner.reports.values() if p.applied]
    numerics: Numerics = "exact" if all(p.numerics == "exact" for p in applied) else "rounding"
    try:
        original = session(source)
    except UnsupportedError as reason:
        return Check("not verified", str(reason))
    optimized = session(runner.graph)
    if options.batch is not None:
        from roofwright.passes.check_batch import check_batched

        return check_batched(
            source, runner.graph, lambda f: run(original, f), lambda f: run(optimized, f), options.dims
        )
    return check(source, lambda f: run(original, f), lambda f: run(optimized, f), options.dims or {}, numerics)


def _report(
    source: gs.Graph,
    model: GraphModel,
    before: Estimate,
    runner: Runner,
    blamed: Mapping[str, PassReport],
    outcome: Check,
    seconds: Mapping[str, float],
) -> Report:
    after_model = runner.ctx.model or GraphModel.of(runner.graph, runner.ctx.dims)
    return Report(
        target=runner.target.name,
        target_title=runner.target.title,
        batch=(before.batch, runner.latest.batch),
        before=Side.of(before, model.works, parameter_bytes(source)),
        after=Side.of(runner.latest, after_model.works, parameter_bytes(runner.graph)),
        passes=(*runner.reports.values(), *blamed.values()),
        assumptions=runner.latest.assumptions,
        check=outcome,
        schedule=runner.ctx.schedule,
        notes=tuple(notes(source)),
        seconds=seconds,
    )


def _judge(report: Report, options: Options) -> None:
    """Refuse a result that must not be written."""
    if not report.check.ok:
        raise VerificationError(f"the optimized model is wrong: {report.check.reason}", report)
    if not options.strict:
        return
    if options.check and report.check.status != "passed":
        raise VerificationError(f"the result could not be verified: {report.check.reason}", report)
    if report.after.not_modelled:
        name, op, reason = report.after.not_modelled[0]
        raise UnsupportedError(f"{op} {name}: {reason} (--strict)")
    failed = next((p for p in report.passes if p.rolled_back), None)
    if failed:
        raise UnsupportedError(f"pass {failed.name} was rolled back: {failed.rolled_back} (--strict)")


def optimize(
    model: Any, target: str | Path | Target = "host", *, output: str | Path | None = None, **options: Any
) -> Result:
    """Optimize an ONNX model for one machine.

    Args:
        model: a path, `zoo:NAME`, bytes, ModelProto or gs.Graph; never changed.
        target: name of a machine, path of a target file, or a Target.
        output: where to save; a path in gives a path out, beside the input as NAME.optimized.onnx where None.
        options: the fields of `Options`.

    Returns:
        The optimized model in the form that came in (`zoo:NAME` gives a ModelProto), and the report.

    Raises:
        RoofwrightError: one line that names the thing and what was expected; `exit_code` is the command line's.
    """
    from roofwright.graph import save, to_proto

    machine = target if isinstance(target, Target) else load_target(target)
    graph, report = optimize_graph(read(model), machine, Options(**options))
    if isinstance(model, gs.Graph) and output is None:
        return Result(graph, report)
    source = model_sidecar(graph).path
    beside = None if source is None else source.with_suffix(".optimized.onnx")
    place = beside if output is None else Path(output)
    if place is not None:
        save(graph, place)
        return Result(place, report)
    proto = to_proto(graph, embed=True)
    return Result(proto.SerializeToString() if isinstance(model, bytes) else proto, report)
