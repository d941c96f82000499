"""What strips did to the memory of a run, as the report tells it."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from roofwright.passes.base import PassResult

if TYPE_CHECKING:
    from roofwright.passes.runner import Runner


@dataclass(frozen=True)
class MemoryChange:
    """Modelled peak memory of repeated runs under onnxruntime, weights included, and what its change costs.

    Attributes:
        before_bytes, after_bytes: the peak without and with strips; what the process takes without a model is in none.
        segments: runs of nodes that became strips.
        strips: of all of them together.
        macs: multiply-accumulates that strips compute again.
        seconds: modelled latency that they add.
    """

    before_bytes: float
    after_bytes: float
    segments: int = 0
    strips: int = 0
    macs: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class MemoryResult(PassResult):
    """The result of a pass that changes the memory of a run; None: it did not look."""

    memory: MemoryChange | None = None


def materialize(runner: "Runner", limit_bytes: float | None) -> MemoryChange | None:
    """Run the pass that writes strips, with its price.

    Raises:
        UnsupportedError: the limit cannot be met.
    """
    from roofwright.passes.materialize import Materialize

    before = runner.latest
    result = runner.once(Materialize(limit_bytes=limit_bytes))
    if not isinstance(result, MemoryResult) or result.memory is None:
        return None
    after = runner.latest
    return replace(result.memory, macs=after.macs - before.macs, seconds=after.latency_s - before.latency_s)
