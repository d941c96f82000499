"""Original against optimized, on adversarial inputs, in onnxruntime without its own optimizations.

Per output the largest difference may be at most tau times the largest reference magnitude (fp32 1e-3, fp16 and bf16
2e-2, integers and purely exact rewrites 0), or at most 8 times what the original itself changes when its inputs move by
one unit in the last place. Positions where the original is not finite, and inputs that it rejects, do not count.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.passes.base import Numerics
from roofwright.passes.difference import Difference, measured, summed_up
from roofwright.passes.feeds import SIZES, Feed, Samples, Unfeedable, bound_dims, feeds, is_dynamic, random_nodes

Outputs = Mapping[str, Any]
Run = Callable[[Mapping[str, NDArray[Any]]], Outputs]
TOLERANCE = {"float16": 2e-2, "bfloat16": 2e-2, "float32": 1e-3, "float64": 1e-3}
ULP_FACTOR = 8.0
_ENOUGH_SIZES = 2


@dataclass(frozen=True)
class Check:
    """What the comparison found.

    Attributes:
        status: "passed", "failed" or "not verified".
        reason: why it failed or could not be made.
        runs: input sets that both models ran.
        sizes: different sizes of free dimensions among them; 1 for a model that has none.
        max_abs, max_rel, max_ulp: largest of all outputs' differences (`Difference` says what they are).
        worst: output with the largest `max_rel`.
        outputs: the differences of every output.
    """

    status: str
    reason: str = ""
    runs: int = 0
    sizes: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    max_ulp: float = 0.0
    worst: str = ""
    outputs: tuple[Difference, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the result."""
        return self.status != "failed"


@dataclass(frozen=True)
class _Verdict:
    """One output of one run: how far it is off, and whether that is within tolerance."""

    difference: Difference
    kind: str
    within: bool
    reason: str = ""

    @property
    def words(self) -> str:
        """Why it is wrong."""
        d = self.difference
        said = f"output {d.name} differs by {d.max_abs:.3g} ({d.max_rel:.3g} relative) on {self.kind} inputs"
        return self.reason or said


@dataclass
class _Outcome:
    """What the runs gave, while they go on; `why` says why an input set did not count."""

    verdicts: list[_Verdict] = field(default_factory=list)
    runs: int = 0
    sizes: int = 0
    why: str = "the original model rejects every input that was tried"


def check(
    graph: gs.Graph,
    original: Run,
    optimized: Run,
    dims: Mapping[str, int],
    numerics: Numerics = "rounding",
    samples: Samples | None = None,
) -> Check:
    """Run both models on the same inputs and compare.

    Args:
        graph: the original, for its interface.
        original: runs a feed through the model as it was, returns the outputs by name.
        optimized: the same with what came out.
        dims: sizes of symbolic dimensions that are tried first; another size is tried where the original takes it.
        numerics: the most that the applied rewrites change results; "exact" demands equality.
        samples: how many input sets of each kind, their seed, and arrays that are given.

    Raises:
        UsageError: a given array does not fit the model.
    """
    if random_nodes(graph):
        return Check("not verified", f"the model draws random numbers ({random_nodes(graph)[0]})")
    samples = samples or Samples()
    dims = {**dims, **bound_dims(graph, samples.given, dims)}
    try:
        outcome = _outcome(graph, original, optimized, dims, numerics, samples)
    except Unfeedable as reason:
        return Check("not verified", str(reason))
    return _judged(outcome) if outcome.runs else Check("not verified", outcome.why)


def _judged(outcome: _Outcome) -> Check:
    outputs = summed_up(v.difference for v in outcome.verdicts if v.difference.name)
    worst = max(outcome.verdicts, key=lambda v: (not v.within, v.difference.max_rel), default=None)
    found = Check("passed", runs=outcome.runs, sizes=outcome.sizes, outputs=outputs)
    if worst is None:
        return found
    found = replace(
        found,
        max_abs=max(v.difference.max_abs for v in outcome.verdicts),
        max_rel=worst.difference.max_rel,
        max_ulp=max(v.difference.max_ulp for v in outcome.verdicts),
        worst=worst.difference.name,
    )
    return found if worst.within else replace(found, status="failed", reason=worst.words)


def _trials(graph: gs.Graph, dims: Mapping[str, int], samples: Samples) -> Iterator[tuple[Mapping[str, int], Any]]:
    """(sizes of symbolic dimensions, sizes of the other free ones), those that were asked for first."""
    yield dims, SIZES[0]
    if samples.given:
        return  # arrays have one size
    if is_dynamic(graph, dims):
        yield from ((dims, sizes) for sizes in SIZES[1:])
    elif is_dynamic(graph, {}):
        yield from (({}, sizes) for sizes in (*SIZES[1:], SIZES[0]))


def _outcome(
    graph: gs.Graph, original: Run, optimized: Run, dims: Mapping[str, int], numerics: Numerics, samples: Samples
) -> _Outcome:
    outcome = _Outcome()
    for sized, sizes in _trials(graph, dims, samples):
        before = outcome.runs
        for feed in feeds(graph, sized, sizes, samples):
            try:
                reference = original(feed.arrays)
            except Exception as error:  # onnxruntime raises many classes; the reason is kept for the report
                text = str(error).splitlines()[0][:160] if str(error) else repr(error)
                outcome.why = f"the original model does not run: {text}"
                continue
            outcome.runs += 1
            outcome.verdicts += _compare(graph, feed, reference, original, optimized, numerics)
        outcome.sizes += outcome.runs > before
        if outcome.sizes == _ENOUGH_SIZES:
            break
    return outcome


def _compare(
    graph: gs.Graph, feed: Feed, reference: Outputs, original: Run, optimized: Run, numerics: Numerics
) -> list[_Verdict]:
    try:
        got = optimized(feed.arrays)
    except Exception as error:  # see above: anything that the runtime raises is a failed check
        text = str(error).splitlines()[0][:160] if str(error) else repr(error)
        return [_wrong("", feed.kind, f"the optimized model does not run on {feed.kind} inputs: {text}")]
    found = []
    nudged: Outputs | None = None
    for name in [tensor.name for tensor in graph.outputs]:
        verdict = _verdict(name, feed.kind, reference[name], got[name], numerics)
        if not verdict.within and not verdict.reason:
            nudged = _nudged(feed, original) if nudged is None else nudged
            verdict = _forgiven(verdict, reference[name], nudged[name] if nudged else None)
        found.append(verdict)
    return found


def _wrong(name: str, kind: str, reason: str) -> _Verdict:
    return _Verdict(Difference(name, np.inf, np.inf, np.inf), kind, within=False, reason=reason)


def _verdict(name: str, kind: str, a: Any, b: Any, numerics: Numerics) -> _Verdict:
    flat_a, flat_b = _flat(a), _flat(b)
    if len(flat_a) != len(flat_b):
        return _wrong(name, kind, f"output {name} has {len(flat_b)} parts, not {len(flat_a)}")
    whole = Difference(name)
    within = True
    for x, y in zip(flat_a, flat_b, strict=True):
        if x.shape != y.shape or x.dtype != y.dtype:
            text = f"output {name} is {y.dtype}{list(y.shape)}, expected {x.dtype}{list(x.shape)}"
            return _wrong(name, kind, text)
        part, scale = measured(name, x, y)
        tau = 0.0 if numerics == "exact" else TOLERANCE.get(x.dtype.name, 0.0)
        within &= part.max_abs <= tau * scale
        whole = whole.joined(part)
    return _Verdict(whole, kind, within)


def _flat(value: Any) -> list[NDArray[Any]]:
    if isinstance(value, list | tuple):
        return [array for item in value for array in _flat(item)]
    if isinstance(value, dict):
        return _flat(list(value.values()))
    return [np.asarray(value)]


def _nudged(feed: Feed, original: Run) -> Outputs | None:
    """The original's outputs when every float input moves by one unit in the last place."""
    moved = {n: np.nextafter(a, np.inf, dtype=a.dtype) if a.dtype.kind == "f" else a for n, a in feed.arrays.items()}
    try:
        return original(moved)
    except Exception:  # an input that the original rejects does not count
        return None


def _forgiven(verdict: _Verdict, reference: Any, nudged: Any) -> _Verdict:
    """Within tolerance after all where the original itself is that sensitive."""
    if nudged is None:
        return verdict
    own = _verdict(verdict.difference.name, verdict.kind, reference, nudged, "rounding").difference.max_abs
    off = verdict.difference.max_abs
    return replace(verdict, within=bool(np.isfinite(off) and off <= ULP_FACTOR * own))
