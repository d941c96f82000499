"""One run from a graph to an optimized graph and its report: price, rewrite, schedule, check, judge."""

from collections.abc import Mapping, Sequence
from time import perf_counter

import onnx_graphsurgeon as gs

from roofwright.cost_model import Estimate, GraphModel, Schedule, estimate, parameter_bytes
from roofwright.graph import (
    UnsupportedError,
    UsageError,
    VerificationError,
    clone,
    functions,
    interface,
    notes,
    pin_shapes,
)
from roofwright.passes.base import Budget, Context, Numerics, Pass
from roofwright.passes.check import Check, check
from roofwright.passes.emit import FUNCTION_DOMAIN, strip_schedule, write_schedule
from roofwright.passes.feeds import Samples, bound_dims
from roofwright.passes.memory import materialize
from roofwright.passes.options import Options
from roofwright.passes.report import PassReport, Report, Side
from roofwright.passes.runner import PassFailed, Runner, Watch
from roofwright.targets import Target


def run_passes(original: gs.Graph, target: Target, chosen: Sequence[Pass], options: Options) -> tuple[gs.Graph, Report]:
    """Run passes on a copy of `original`; the copy and the report come back, `original` is not changed.

    Args:
        original: the model.
        target: the machine that everything is priced on.
        chosen: the passes in order; those that schedule run last.
        options: all the rest (its `passes` and `skip` have been read).

    Raises:
        VerificationError: the optimized model does not compute what the original does.
        UnsupportedError: a request that this model or target cannot meet.
        UsageError: an option that does not fit the model.
    """
    clock = _Clock()
    source = _without_functions(clone(original))
    strip_schedule(source)
    if options.input_shapes:
        pin_shapes(source, options.input_shapes)
    _refuse(source, options)
    model = GraphModel.of(source, options.dims)
    before = estimate(model, target, resident_weights=options.resident_weights)
    clock.lap("estimate")
    runner, blamed = _run(source, target, chosen, options, before)
    clock.lap("passes")
    if runner.ctx.schedule is not None:
        write_schedule(runner.graph, runner.ctx.schedule)
        if options.emit == "functions":
            from roofwright.passes.functions import outline

            outline(runner.graph, runner.ctx.schedule)
    outcome = _check(source, runner, options) if options.check else Check("not verified", "switched off")
    clock.lap("check")
    report = _report(source, model, before, runner, blamed, outcome, clock.laps | runner.seconds)
    _judge(report, options)
    return runner.graph, report


def _without_functions(source: gs.Graph) -> gs.Graph:
    """What an earlier run outlined is seen as the nodes that it was."""
    if not any(made.domain == FUNCTION_DOMAIN for made in functions(source)):
        return source
    from roofwright.passes.functions import inlined

    return inlined(source)


def _refuse(source: gs.Graph, options: Options) -> None:
    """What does not fit the model is told before the work."""
    if options.check_inputs and options.batch is not None:
        raise UsageError("arrays for the check do not go with a batch: it compares requests of two sizes")
    bound_dims(source, options.check_inputs, options.dims)


class _Clock:
    """Our own run time, stage by stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.laps[name], self._last = now - self._last, now


def _run(
    source: gs.Graph, target: Target, chosen: Sequence[Pass], options: Options, before: Estimate
) -> tuple[Runner, dict[str, PassReport]]:
    """Run the pipeline; a pass that fails is left out and everything starts again from the source."""
    blamed: dict[str, PassReport] = {}
    while True:
        passes = [pass_ for pass_ in chosen if pass_.name not in blamed]
        ctx = Context(
            target=target,
            numerics=options.numerics,
            fold_limit_bytes=options.fold_limit_bytes,
            dims=options.dims or {},
            resident_weights=options.resident_weights,
            budget=Budget(options.pass_limit),
        )
        graph = clone(source)
        runner = Runner(graph, ctx, target, before, interface(graph), watch=_watch(options))
        if runner.watch:
            runner.watch("load", graph, None)
        try:
            rewriting = [p for p in passes if not p.schedules]
            scheduling = [p for p in passes if p.schedules]
            runner.rewrite(rewriting)
            if options.batch is not None:
                _widen(runner, options, scheduling)
                runner.rewrite(rewriting)  # the old batch's shape arithmetic is left over
            if options.wants_strips and "materialize" not in blamed:
                runner.memory = materialize(runner, options.strip_limit_bytes)
            runner.schedule(scheduling)
            return runner, blamed
        except PassFailed as failure:
            if failure.name in blamed:
                raise
            numerics = next((p.numerics for p in chosen if p.name == failure.name), "exact")
            blamed[failure.name] = PassReport(failure.name, numerics, 0, 0.0, failure.reason)


def _watch(options: Options) -> Watch | None:
    """Tell the caller of every state on a copy that is its own, with the schedule written in."""
    tell = options.watch
    if tell is None:
        return None

    def watch(name: str, graph: gs.Graph, schedule: Schedule | None) -> None:
        copy = clone(graph)
        if schedule is not None:
            write_schedule(copy, schedule)
        tell(name, copy)

    return watch


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
    samples = Samples(int(options.check), options.seed, options.check_inputs)
    if options.batch is not None:
        from roofwright.passes.check_batch import check_batched

        return check_batched(
            source,
            runner.graph,
            lambda f: run(original, f),
            lambda f: run(optimized, f),
            options.dims,
            samples=samples,
        )
    return check(source, lambda f: run(original, f), lambda f: run(optimized, f), options.dims or {}, numerics, samples)


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
        memory=runner.memory,
        estimate=runner.latest,
        notes=tuple(notes(runner.graph)),
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
