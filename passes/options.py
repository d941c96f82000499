"""How a pipeline is run, and what `optimize` gives back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import onnx_graphsurgeon as gs

from roofwright.passes.base import Numerics, Pass
from roofwright.passes.report import Report


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
        enable: names of passes on request that run in their place.
        numerics: the most that a rewrite may change results.
        dims: symbolic dimension -> size for pricing and checking.
        input_shapes: input name -> sizes that its symbolic dimensions become, everywhere in the model.
        batch: samples per request; None leaves it alone, "auto" chooses.
        check: compare with the original on onnxruntime, with so many input sets of each kind; False or 0: do not.
        check_inputs: input name -> array that the comparison uses instead of one that it makes up.
        seed: of the inputs that it makes up.
        strict: an unplaced op, a rolled-back pass or an unverified result is an error.
        fold_limit_bytes: no folded constant is larger, unless what it replaces is.
        resident_weights: weights stay on chip between requests where they fit.
        max_latency_s: limit of `batch="auto"`.
        max_memory_bytes: limit of `batch="auto"`; without that, as many strips are written as it takes.
        optimize_for: "memory" writes spatial strips as nodes where they lower the peak memory of a run (see
            `Materialize`).
        emit: "functions" writes each kernel of the schedule as a model-local function, "metadata" as notes on nodes.
        pass_limit: apply only so many rewrites of the graph, the first ones; a pass that looks at the whole graph at
            once runs where its first one is allowed.
        watch: called with (name, graph) of a copy after reading ("load") and after every pass that changed something.
    """

    passes: Sequence[str | Pass] | None = None
    skip: Sequence[str] = ()
    enable: Sequence[str] = ()
    numerics: Numerics = "rounding"
    dims: Mapping[str, int] | None = None
    input_shapes: Mapping[str, Sequence[int]] | None = None
    batch: int | str | None = None
    check: bool | int = True
    check_inputs: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    strict: bool = False
    fold_limit_bytes: int = 1 << 20
    resident_weights: bool = False
    max_latency_s: float | None = None
    max_memory_bytes: float | None = None
    optimize_for: Literal["latency", "memory"] = "latency"
    emit: Literal["metadata", "functions"] = "metadata"
    pass_limit: int | None = None
    watch: Callable[[str, gs.Graph], None] | None = None

    @property
    def strip_limit_bytes(self) -> float | None:
        """The memory that strips must reach; a chosen batch has kept to the limit already."""
        return None if self.batch == "auto" else self.max_memory_bytes

    @property
    def wants_strips(self) -> bool:
        """Whether spatial strips are asked for."""
        return self.optimize_for == "memory" or self.strip_limit_bytes is not None
