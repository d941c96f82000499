"""The runner: verifies after every change, keeps the best schedule, blames by name."""

import gc
from dataclasses import dataclass, field, replace
from typing import ClassVar

import onnx_graphsurgeon as gs
import pytest

from roofwright.cost_model import GraphModel, Tiling, estimate
from roofwright.graph import InvariantError, UnsupportedError, interface, read
from roofwright.passes.base import Context, Numerics, Pass, PassResult, Record
from roofwright.passes.runner import PassFailed, Runner
from roofwright.passes.scheduling import Kernels, Tiles
from roofwright.targets import Target
from tests.builders import model
from tests.scheduling import scratchpad

TEXT = "g (float[64,64] x) => (float[64,64] y) { a = Exp(x)  b = Neg(a)  y = Abs(b) }"


def runner(text: str = TEXT, target: Target = scratchpad(1 << 20)) -> Runner:  # noqa: B008  # frozen
    graph = read(model(text))
    before = estimate(GraphModel.of(graph), target)
    return Runner(graph, Context(target=target), target, before, interface(graph))


@dataclass(frozen=True)
class Broken(Pass):
    """Damages the graph in one way or another."""

    how: str = "raise"

    name: ClassVar[str] = "broken"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "fails"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Fail."""
        if self.how == "raise":
            raise ZeroDivisionError("one by zero")
        if self.how == "refuse":
            raise UnsupportedError("this model cannot be helped")
        if self.how == "rename":
            graph.outputs[0].name = "z"
        if self.how == "orphan":
            graph.nodes[1].inputs = [gs.Variable("nobody", graph.inputs[0].dtype, [64, 64])]
        return PassResult((Record("break", "y", "Abs", True),))


@dataclass(frozen=True)
class Counted(Pass):
    """Changes something in its first runs, and counts them."""

    changes: int
    runs: list[int] = field(default_factory=list)

    name: ClassVar[str] = "counted"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "counts"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Say that something changed."""
        self.runs.append(len(self.runs))
        return PassResult((Record("count", "y", "Abs", True),) if len(self.runs) <= self.changes else ())


def test_a_pass_that_found_nothing_waits_for_a_change() -> None:
    first, second, third = Counted(0), Counted(1), Counted(0)
    runner().rewrite([first, second, third])
    assert [len(each.runs) for each in (first, second, third)] == [2, 2, 1]


@dataclass(frozen=True)
class Slower(Pass):
    """Returns a schedule that the model prices worse: every node alone and cut into slivers."""

    name: ClassVar[str] = "slower"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "spoils the schedule"
    schedules: ClassVar[bool] = True

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Split the kernels."""
        assert ctx.target is not None
        alone = replace(ctx.target, stack=replace(ctx.target.stack, fuses=()))
        schedule = Kernels().run(graph, replace(ctx, target=alone)).schedule
        assert schedule is not None
        return PassResult((Record("split", "y", "Abs", True),), schedule)


def test_a_pass_that_raises_is_blamed() -> None:
    with pytest.raises(PassFailed, match="pass broken: ZeroDivisionError: one by zero"):
        runner().rewrite([Broken()])


@pytest.mark.parametrize(("how", "words"), [("rename", "y"), ("orphan", "nobody")])
def test_a_pass_that_breaks_the_invariant_is_blamed(how: str, words: str) -> None:
    with pytest.raises(PassFailed, match=f"pass broken: .*{words}") as caught:
        runner().rewrite([Broken(how=how)])
    assert isinstance(caught.value.__cause__, InvariantError)
    assert caught.value.name == "broken"


def test_a_refusal_is_no_failure_of_the_pass() -> None:
    with pytest.raises(UnsupportedError, match="cannot be helped"):
        runner().rewrite([Broken(how="refuse")])


@pytest.mark.parametrize("wanted", [True, False])
def test_cycles_are_collected_after_scheduling_as_before(wanted: bool) -> None:
    seen: list[bool] = []
    made = runner()
    made.watch = lambda *_: seen.append(gc.isenabled())
    (gc.enable if wanted else gc.disable)()
    try:
        made.schedule([Kernels()])
        assert gc.isenabled() == wanted
    finally:
        gc.enable()
    assert seen == [False]


def test_a_worse_schedule_is_not_taken() -> None:
    made = runner()
    made.schedule([Kernels(), Slower(), Tiles()])
    assert made.ctx.schedule is not None
    assert len(made.ctx.schedule.kernels) == 1
    assert made.reports["slower"].applied == 0
    assert made.reports["slower"].gain_s == 0.0
    assert made.reports["kernels"].gain_s > 0


@dataclass(frozen=True)
class Slivers(Pass):
    """A first schedule whose tiles take longer to set up than to compute."""

    name: ClassVar[str] = "slivers"
    numerics: ClassVar[Numerics] = "exact"
    summary: ClassVar[str] = "spoils the first schedule"
    schedules: ClassVar[bool] = True

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Cut the kernel into slivers."""
        schedule = Kernels().run(graph, ctx).schedule
        assert schedule is not None
        slivers = Tiling(level="sram", order=("rows",), tile={"rows": 1})
        return PassResult((), replace(schedule, kernels=(replace(schedule.kernels[0], tilings=(slivers,)),)))


def test_no_schedule_is_better_than_one_that_loses() -> None:
    target = scratchpad(1 << 20)
    target = replace(target, memories=(target.memories[0], replace(target.memories[1], setup_s=1e-6)))
    made = runner("g (float[64,64] x) => (float[64,64] y) { y = Exp(x) }", target)
    start = made.latest
    made.schedule([Slivers()])
    assert made.ctx.schedule is None
    assert made.latest is start


def test_gains_of_the_passes_sum_to_the_whole_gain() -> None:
    made = runner()
    start = made.latest.latency_s
    made.schedule([Kernels(), Tiles()])
    gained = sum(report.gain_s for report in made.reports.values())
    assert gained == pytest.approx(start - made.latest.latency_s, rel=1e-12)
