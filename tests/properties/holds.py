"""What every optimized model must hold, whatever it was made from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from hypothesis import reject
from numpy.typing import NDArray
from onnx import numpy_helper

from roofwright.graph import UnsupportedError, interface, read, run, session, to_proto
from roofwright.passes import PASSES, Options, Record, Report, optimize_graph
from roofwright.targets import load_target
from tests.passes.harness import adversarial

Array = NDArray[Any]
GRAPH_PASSES = tuple(name for name, made in PASSES.items() if not made.schedules)
_TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 1e-5, "float64": 1e-12}
_STEPS = {"float16": 2.0**-9, "float32": 2.0**-21, "float64": 2.0**-49}
_SLACK = 1e-9  # of two prices that are the same
_SIZES = (2, 3)  # of symbolic dimensions
_NUDGES, _FORGIVEN = 3, 8.0
_MOST_AXES = 8


def holds(model: onnx.ModelProto, target: str = "host", **options: Any) -> Report:
    """Optimize a model and hold the result against everything that is promised; returns the report."""
    reference, source, machine = Reference.of(model), read(model), load_target(target)
    chosen = Options(check=False, **({"passes": GRAPH_PASSES} | options))
    made, report = optimize_graph(source, machine, chosen)
    proto = to_proto(made)
    blamed = [(p.name, p.rolled_back) for p in report.passes if p.rolled_back]
    assert blamed == [], blamed
    onnx.checker.check_model(proto, full_check=True)
    assert interface(made) == interface(source)
    within_budget(model, proto, chosen.fold_limit_bytes)
    priced = reference.complete and _has_price(model, report)
    settled(made, machine, chosen, report, priced)
    exact = all(record.numerics == "exact" for record in _applied(report))
    same(model, reference, proto, exact)
    if priced:
        costs = f"{report.before.latency_s:g} s became {report.after.latency_s:g}: {_fired(report)}"
        assert report.after.latency_s <= report.before.latency_s * (1 + _SLACK), costs
    return report


def _has_price(model: onnx.ModelProto, report: Report) -> bool:
    """Whether the price of the original is that of a model: all its nodes have one, and all its sizes a source."""
    ports = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    dims = [dim for port in (*ports.value_info, *ports.output) for dim in port.type.tensor_type.shape.dim]
    return not report.before.not_modelled and not any(dim.dim_param.startswith("unk__") for dim in dims)


def _fired(report: Report) -> list[tuple[str, str]]:
    return [(r.rewrite, r.anchor) for p in report.passes for r in p.records if r.applied and not p.schedules]


def _applied(report: Report) -> Iterator[Record]:
    for pass_ in report.passes:
        for record in pass_.records:
            if record.applied and not pass_.schedules:
                yield replace(record, numerics=record.numerics or pass_.numerics)


def within_budget(before: onnx.ModelProto, after: onnx.ModelProto, limit_bytes: int) -> None:
    """No more constants than there were, but for one of at most the limit per node that was folded."""
    had, has = (sum(_constant_bytes(model.graph)) for model in (before, after))
    assert has <= had + limit_bytes * len(list(_nodes(before.graph))), f"{had} bytes of constants became {has}"


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from _nodes(attribute.g)


def _constant_bytes(graph: onnx.GraphProto) -> Iterator[int]:
    yield from (numpy_helper.to_array(tensor).nbytes for tensor in graph.initializer if not _is_size(tensor))
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and not _is_size(attribute.t):
                yield attribute.ByteSize()
            yield from _constant_bytes(attribute.g)


def _is_size(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor may be the sizes or the axes that an operator takes: rewrites write some."""
    return tensor.data_type == onnx.TensorProto.INT64 and bool(np.prod(tensor.dims) <= _MOST_AXES)


def settled(made: gs.Graph, machine: Any, options: Options, first: Report, priced: bool) -> None:
    """A second run changes nothing; a price that assumes sizes which the model does not take is none."""
    again, second = optimize_graph(made, machine, options)
    assert _fired(second) == [], _fired(second)
    assert to_proto(again).SerializeToString() == to_proto(made).SerializeToString()
    assert not priced or second.after.latency_s == first.after.latency_s


# ---- numbers
@dataclass(frozen=True)
class Reference:
    """What a model computes.

    Attributes:
        runs: inputs and what came out.
        complete: it ran on all of them, symbolic dimensions at two sizes.
    """

    runs: list[tuple[dict[str, Array], dict[str, Array]]]
    complete: bool

    @classmethod
    def of(cls, model: onnx.ModelProto) -> "Reference":
        """Run a model; one that onnxruntime loads but never runs contradicts itself, and is no example."""
        try:
            original = session(model)
        except UnsupportedError:
            return cls([], complete=False)  # onnxruntime has no kernel for an operator, its type or its version
        runs, complete = [], True
        for size in _SIZES if _is_symbolic(model) else _SIZES[:1]:
            try:
                runs += [(feed, run(original, feed)) for feed in adversarial(model, size)]
            except Exception:  # a size that the model does not take
                complete = False
        if not runs:
            reject()
        return cls(runs, complete)


def same(model: onnx.ModelProto, reference: Reference, after: onnx.ModelProto, exact: bool) -> None:
    """The result computes the same on adversarial inputs."""
    optimized = session(after) if reference.runs else None
    for feed, expected in reference.runs:
        found = run(optimized, feed)
        assert list(expected) == list(found)
        for name in expected:
            _agree(name, expected[name], found[name], exact, model, feed)


def _is_symbolic(model: onnx.ModelProto) -> bool:
    return any(dim.dim_param for port in model.graph.input for dim in port.type.tensor_type.shape.dim)


def _agree(name: str, a: Array, b: Array, exact: bool, model: onnx.ModelProto, feed: Mapping[str, Array]) -> None:
    assert (a.dtype, a.shape) == (b.dtype, b.shape), f"{name}: {a.dtype}{a.shape} became {b.dtype}{b.shape}"
    if (exact and a.dtype != np.float16) or a.dtype.kind != "f":  # onnxruntime keeps float16 wide between some kernels
        if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            said = f"{name}: {int(np.sum(a != b))} of {a.size} differ: {a} {b}"
            assert not exact, said
            assert _is_sensitive(name, a, model, feed), said
        return
    error, scale = _error(a, b)
    if error > _TOLERANCE[a.dtype.name] * scale:
        own = max(_error(a, moved)[0] for moved in _nudged(name, model, feed))
        assert error <= _FORGIVEN * own, (
            f"{name} differs by {error:g} at a scale of {scale:g}, nudged by {own:g}: {a} {b}"
        )


def _error(a: Array, b: Array) -> tuple[float, float]:
    """The largest difference where the first is finite, and its largest magnitude."""
    finite = np.isfinite(a)
    wide, near = a[finite].astype(np.float64), b[finite].astype(np.float64)
    with np.errstate(all="ignore"):
        error = np.abs(near - wide)
    return float(np.where(np.isfinite(error), error, np.inf).max(initial=0.0)), float(np.abs(wide).max(initial=1e-2))


def _is_sensitive(name: str, a: Array, model: onnx.ModelProto, feed: Mapping[str, Array]) -> bool:
    """Whether a rounding decides an integer or a truth value."""
    return any(not np.array_equal(a, moved) for moved in _nudged(name, model, feed))


def _nudged(name: str, model: onnx.ModelProto, feed: Mapping[str, Array]) -> Iterator[Array]:
    """An output of the model when its inputs and constants move by a few units in the last place."""
    for seed in range(_NUDGES):
        rng = np.random.default_rng(seed)
        moved = onnx.ModelProto()
        moved.CopyFrom(model)
        for node_graph in (moved.graph, *_bodies(moved.graph)):
            for tensor in node_graph.initializer:
                tensor.CopyFrom(numpy_helper.from_array(_moved(numpy_helper.to_array(tensor), rng), tensor.name))
            for node in node_graph.node:
                for attribute in node.attribute:
                    if node.op_type == "Constant" and attribute.HasField("t"):
                        attribute.t.CopyFrom(numpy_helper.from_array(_moved(numpy_helper.to_array(attribute.t), rng)))
        yield run(session(moved), {port: _moved(array, rng) for port, array in feed.items()})[name]


def _bodies(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    for node in _nodes(graph):
        yield from (attribute.g for attribute in node.attribute if attribute.HasField("g"))


def _moved(array: Array, rng: np.random.Generator) -> Array:
    if array.dtype.kind != "f":
        return array
    with np.errstate(all="ignore"):
        step = 1 + _STEPS[array.dtype.name] * rng.choice([-1.0, 1.0], array.shape)
        return np.asarray((array.astype(np.float64) * step).astype(array.dtype))
