"""Original against optimized, on adversarial inputs, in onnxruntime without its own optimizations.

Per output the largest difference may be at most tau times the largest reference magnitude (fp32 1e-3, fp16 and bf16
2e-2, integers and purely exact rewrites 0), or at most 8 times what the original itself changes when its inputs move by
one unit in the last place. Positions where the original is not finite, and inputs that it rejects, do not count.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.passes.base import Numerics
from roofwright.passes.feeds import SIZES, Feed, Unfeedable, feeds, is_dynamic, random_nodes

Outputs = Mapping[str, Any]
Run = Callable[[Mapping[str, NDArray[Any]]], Outputs]
TOLERANCE = {"float16": 2e-2, "bfloat16": 2e-2, "float32": 1e-3, "float64": 1e-3}
ULP_FACTOR = 8.0


@dataclass(frozen=True)
class Check:
    """What the comparison found.

    Attributes:
        status: "passed", "failed" or "not verified".
        reason: why it failed or could not be made.
        runs: input sets that both models ran.
        max_abs, max_rel: largest difference, and largest difference over the largest reference magnitude.
        worst: output with the largest `max_rel`.
    """

    status: str
    reason: str = ""
    runs: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    worst: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the result."""
        return self.status != "failed"


@dataclass(frozen=True)
class _Difference:
    """One output of one run: its largest differences, and whether they are within tolerance before the ulp rule."""

    output: str
    kind: str
    max_abs: float
    max_rel: float
    within: bool
    reason: str = ""


def check(
    graph: gs.Graph, original: Run, optimized: Run, dims: Mapping[str, int], numerics: Numerics = "rounding"
) -> Check:
    """Run both models on the same inputs and compare.

    Args:
        graph: the original, for its interface.
        original: runs a feed through the model as it was, returns the outputs by name.
        optimized: the same with what came out.
        dims: sizes of symbolic dimensions that are given.
        numerics: the most that the applied rewrites change results; "exact" demands equality.
    """
    if random_nodes(graph):
        return Check("not verified", f"the model draws random numbers ({random_nodes(graph)[0]})")
    try:
        results = _results(graph, original, optimized, dims, numerics)
    except Unfeedable as reason:
        return Check("not verified", str(reason))
    if isinstance(results, str):
        return Check("not verified", results)
    differences, runs = results
    worst = max(differences, key=lambda d: (not d.within, d.max_rel), default=None)
    if worst is None:
        return Check("passed", runs=runs)
    largest = max(d.max_abs for d in differences)
    if not worst.within:
        return Check("failed", worst.reason or _words(worst), runs, largest, worst.max_rel, worst.output)
    return Check("passed", "", runs, largest, worst.max_rel, worst.output)


def _words(worst: _Difference) -> str:
    return f"output {worst.output} differs by {worst.max_abs:.3g} ({worst.max_rel:.3g} relative) on {worst.kind} inputs"


def _results(
    graph: gs.Graph, original: Run, optimized: Run, dims: Mapping[str, int], numerics: Numerics
) -> tuple[list[_Difference], int] | str:
    differences: list[_Difference] = []
    runs, accepted, why = 0, 0, "the original model rejects every input that was tried"
    dynamic = is_dynamic(graph, dims)
    for sizes in SIZES if dynamic else SIZES[:1]:
        ran = False
        for feed in feeds(graph, dims, sizes):
            try:
                reference = original(feed.arrays)
            except Exception as error:  # onnxruntime raises many classes; the reason is kept for the report
                why = f"the original model does not run: {str(error).splitlines()[0][:160] if str(error) else error!r}"
                continue
            ran, runs = True, runs + 1
            differences += _compare(graph, feed, reference, original, optimized, numerics)
        accepted += ran
        if accepted == 2:
            break
    return (differences, runs) if runs else why


def _compare(
    graph: gs.Graph, feed: Feed, reference: Outputs, original: Run, optimized: Run, numerics: Numerics
) -> list[_Difference]:
    try:
        got = optimized(feed.arrays)
    except Exception as error:  # see above: anything that the runtime raises is a failed check
        reason = f"the optimized model does not run on {feed.kind} inputs: {str(error).splitlines()[0][:160]}"
        return [_Difference("", feed.kind, np.inf, np.inf, within=False, reason=reason)]
    found = []
    nudged: Outputs | None = None
    for name in [tensor.name for tensor in graph.outputs]:
        difference = _difference(name, feed.kind, reference[name], got[name], numerics)
        if not difference.within and not difference.reason:
            nudged = _nudged(feed, original) if nudged is None else nudged
            difference = _forgiven(difference, reference[name], nudged[name] if nudged else None)
        found.append(difference)
    return found


def _difference(name: str, kind: str, a: Any, b: Any, numerics: Numerics) -> _Difference:
    flat_a, flat_b = _flat(a), _flat(b)
    if len(flat_a) != len(flat_b):
        return _Difference(
            name, kind, np.inf, np.inf, False, f"output {name} has {len(flat_b)} parts, not {len(flat_a)}"
        )
    most_abs = most_rel = 0.0
    within = True
    for x, y in zip(flat_a, flat_b, strict=True):
        if x.shape != y.shape or x.dtype != y.dtype:
            text = f"output {name} is {y.dtype}{list(y.shape)}, expected {x.dtype}{list(x.shape)}"
            return _Difference(name, kind, np.inf, np.inf, False, text)
        delta, scale = _delta(x, y)
        tau = 0.0 if numerics == "exact" else TOLERANCE.get(x.dtype.name, 0.0)
        within &= delta <= tau * scale
        most_abs = max(most_abs, delta)
        most_rel = max(most_rel, delta / scale if scale else np.inf if delta else 0.0)
    return _Difference(name, kind, most_abs, most_rel, within)


def _flat(value: Any) -> list[NDArray[Any]]:
    if isinstance(value, list | tuple):
        return [array for item in value for array in _flat(item)]
    if isinstance(value, dict):
        return _flat(list(value.values()))
    return [np.asarray(value)]


def _delta(x: NDArray[Any], y: NDArray[Any]) -> tuple[float, float]:
    """(largest difference where the reference is finite, largest finite reference magnitude)."""
    if x.dtype.kind not in "fiub" and x.dtype.name != "bfloat16":
        return (0.0 if np.array_equal(x, y) else np.inf), 1.0
    a, b = x.astype(np.float64), y.astype(np.float64)
    finite = np.isfinite(a)
    if not finite.any():
        return 0.0, 0.0
    with np.errstate(invalid="ignore"):
        gaps = np.abs(a[finite] - b[finite])
    return float(np.max(np.where(np.isnan(gaps), np.inf, gaps))), float(np.max(np.abs(a[finite])))


def _nudged(feed: Feed, original: Run) -> Outputs | None:
    """The original's outputs when every float input moves by one unit in the last place."""
    moved = {n: np.nextafter(a, np.inf, dtype=a.dtype) if a.dtype.kind == "f" else a for n, a in feed.arrays.items()}
    try:
        return original(moved)
    except Exception:  # an input that the original rejects does not count
        return None


def _forgiven(difference: _Difference, reference: Any, nudged: Any) -> _Difference:
    """Within tolerance after all where the original itself is that sensitive."""
    if nudged is None:
        return difference
    own = _difference(difference.output, difference.kind, reference, nudged, "rounding").max_abs
    within = bool(np.isfinite(difference.max_abs) and difference.max_abs <= ULP_FACTOR * own)
    return _Difference(difference.output, difference.kind, difference.max_abs, difference.max_rel, within)
