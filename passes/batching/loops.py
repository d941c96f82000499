"""Loop: the batch must come out of the body as it went in."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import onnx_graphsurgeon as gs

from roofwright.graph import bodies
from roofwright.passes.batching.layout import Batched, Plain, State
from roofwright.passes.batching.sight import Plan, Sight


class Walk(Protocol):
    """The part of an analysis that a Loop needs."""

    states: dict[int, State]
    plans: list[Plan]

    def state(self, tensor: gs.Tensor) -> State: ...  # noqa: D102 (the analysis says it)
    def push(self, graph: gs.Graph, end: Callable[[], None]) -> None: ...  # noqa: D102
    def record(self, sight: Sight, states: list[State]) -> None: ...  # noqa: D102


class LoopWalk:
    """A Loop: states of what it carries are assumed, the body is walked, and the assumption is raised or confirmed."""

    def __init__(self, analysis: Walk, sight: Sight) -> None:
        """Start from the states of what goes into the Loop."""
        self.analysis, self.sight = analysis, sight
        self.body = bodies(sight.node)[0]
        self.carried = [sight.state(position) for position in range(2, len(sight.node.inputs))]
        self.planned = len(analysis.plans)
        self.fits: list[tuple[int, Batched]] = []

    def start(self) -> None:
        """Walk the body with what is assumed now."""
        if any(self.sight.state(position) is not Plain.FREE for position in (0, 1)):
            self.sight.refuse("its trip count depends on the samples or on their number")
        if Plain.SIZED in self.carried:
            self.sight.refuse("it carries a value that depends on the size of the batch")
        for tensor, state in zip(self.body.inputs[2:], self.carried, strict=True):
            self.analysis.states[id(tensor)] = state
        self.analysis.push(self.body, self.end)

    def end(self) -> None:
        """Compare what came out with what was assumed."""
        made = [self.analysis.state(tensor) for tensor in self.body.outputs]
        if made[0] is not Plain.FREE:
            self.sight.refuse("its condition depends on the samples or on their number")
        count = len(self.carried)
        again = False
        for place, (was, now) in enumerate(zip(self.carried, made[1 : 1 + count], strict=True)):
            if was == now:
                continue
            if was is not Plain.FREE or not isinstance(now, Batched):
                self.sight.refuse(f"what it carries in place {place} does not keep its batch")
            self.carried[place], again = now, True
            self.fits.append((place + 2, now))
        del self.analysis.plans[self.planned :]
        if again:
            self.start()
            return
        self._finish(made[1 + count :])

    def _finish(self, scanned: list[State]) -> None:
        for position, at in self.fits:
            self.sight.fit(position, at.axis, at, broadcasts=False)
        raise_ = self.sight.refuse
        outputs: list[State] = list(self.carried)
        for state in scanned:
            if state is Plain.SIZED:
                raise_("it collects a value that depends on the size of the batch")
            outputs.append(replace(state, axis=state.axis + 1) if isinstance(state, Batched) else state)
        self.analysis.record(self.sight, outputs)
