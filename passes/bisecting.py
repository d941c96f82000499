"""Which rewrite first breaks a model: a binary search over the number of rewrites, and a small model that shows it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast

import onnx_graphsurgeon as gs

from roofwright.graph import UnsupportedError, VerificationError, clone, pin_shapes
from roofwright.passes.base import Pass, Record
from roofwright.passes.options import Options
from roofwright.passes.pipeline import build, optimize_graph
from roofwright.passes.reducing import reduced
from roofwright.passes.report import Report
from roofwright.targets import Target

Broken = Callable[[gs.Graph, gs.Graph], bool]


@dataclass(frozen=True)
class Culprit:
    """The first rewrite with which a model is broken.

    Attributes:
        name: its pass.
        record: what it consumed and produced; `record.number` is the limit with which the model is broken, and one less
            is fine.
        rewrites: how many a whole run applies.
        runs: how many runs found it; at most 2 more than the logarithm of `rewrites` to the base 2.
        reason: what the check said; "" where a predicate judged.
        reproducer: a model that the pass alone breaks; the graph as the rewrite found it where there is no smaller one.
        alone: whether the pass alone breaks the reproducer.
    """

    name: str
    record: Record
    rewrites: int
    runs: int
    reason: str
    reproducer: gs.Graph = field(repr=False)
    alone: bool


def bisect(graph: gs.Graph, target: Target, options: Options, broken: Broken | None = None) -> Culprit | None:
    """Find the rewrite that first breaks a model.

    Passes that look at the whole graph at once apply all of their rewrites together; `record` is then the first one.

    Args:
        graph: the model; it is not changed.
        target: the machine that prices the rewrites.
        options: how the pipeline is run; scheduling passes, which change no graph, are left out.
        broken: judges (original, optimized) and changes neither; None: broken is what the check refuses.

    Returns:
        The culprit; None where the whole run breaks nothing.

    Raises:
        UnsupportedError: the check cannot be made on this model, or it is broken without any rewrite.
    """
    source = clone(graph)
    if options.input_shapes:
        pin_shapes(source, options.input_shapes)
    trial = _Trial(target, replace(options, input_shapes=None, strict=False), broken)
    passes = [pass_ for pass_ in build(options.passes, options.skip, options.enable) if not pass_.schedules]
    whole = trial.run(source, passes, None)
    if not whole.verified:
        raise UnsupportedError(f"there is nothing to search with, as the check is not made: {whole.reason}")
    if not whole.broken:
        return None
    failed = {report.name for report in whole.report.passes if report.rolled_back}
    passes = [pass_ for pass_ in passes if pass_.name not in failed]
    rewrites = len(whole.report.rewrites)
    good, bad = trial.run(source, passes, 0), whole
    if good.broken or good.graph is None:
        raise UnsupportedError(f"the model is broken before any rewrite: {good.reason}")
    low, high = 0, rewrites
    while high - low > 1:
        middle = (low + high) // 2
        found = trial.run(source, passes, middle)
        low, high, good, bad = (low, middle, good, found) if found.broken else (middle, high, found, bad)
    return _culprit(trial, passes, good, bad, high, rewrites)


@dataclass(frozen=True)
class _Found:
    """One run: the optimized graph (None where the check refused it) and what is known of it."""

    broken: bool
    verified: bool
    reason: str
    report: Report
    graph: gs.Graph | None


@dataclass
class _Trial:
    """Runs a pipeline and judges what comes out; `runs` counts."""

    target: Target
    options: Options
    broken: Broken | None
    runs: int = 0

    def run(self, source: gs.Graph, passes: list[Pass], limit: int | None) -> _Found:
        """The first `limit` rewrites of a pipeline on a model."""
        self.runs += 1
        names = {tensor.name for tensor in source.inputs}
        dims = {dim for tensor in source.inputs for dim in tensor.shape or ()}
        options = replace(
            self.options,
            passes=passes,
            skip=(),
            pass_limit=limit,
            check=(self.options.check or True) if self.broken is None else False,
            check_inputs={name: array for name, array in self.options.check_inputs.items() if name in names},
            dims={dim: size for dim, size in (self.options.dims or {}).items() if dim in dims},
            watch=None,
        )
        try:
            made, report = optimize_graph(source, self.target, options)
        except VerificationError as error:
            report = cast(Report, error.report)
            return _Found(True, True, report.check.reason, report, None)
        if self.broken is not None:
            return _Found(self.broken(source, made), True, "", report, made)
        return _Found(False, report.check.status == "passed", report.check.reason, report, made)


def _culprit(trial: _Trial, passes: list[Pass], good: _Found, bad: _Found, number: int, rewrites: int) -> Culprit:
    runs = trial.runs
    together = [(name, record) for name, record in bad.report.rewrites if record.number >= number]
    name, record = together[0]
    wanted = [pass_ for pass_ in passes if pass_.name == name]
    assert good.graph is not None
    region = {node for _, one in together for _, node in one.taken} or {record.anchor}
    alone = replace(trial, options=_for_a_part(trial.options, strips=not wanted))
    small = reduced(good.graph, region, lambda part: alone.run(part, wanted, None).broken)
    reproducer = good.graph if small is None else small
    return Culprit(name, record, rewrites, runs, bad.reason, reproducer, small is not None)


def _for_a_part(options: Options, *, strips: bool) -> Options:
    """The graph has its batch by now; strips are written only where they are to blame."""
    made = replace(options, batch=None)
    return made if strips else replace(made, optimize_for="latency", max_memory_bytes=None)
