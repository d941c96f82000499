"""The same model with one thing less known, or used by one more: what a rewrite must survive wherever it fires.

A case that fires says what a pattern is; a perturbed one is that pattern short of a universal precondition. A pass may
decline it, or rewrite it still: it must not fail, and both models must compute the same.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from roofwright.graph import clone, read, run_model, sort_nodes, to_proto
from roofwright.passes.base import Context, Pass
from roofwright.passes.cleanup import DeadCode
from tests.passes.harness import Array, Case, adversarial

Perturbed = Iterator[tuple[str, gs.Graph]]
Perturbation = Callable[[Case], Perturbed]


def _variables(graph: gs.Graph) -> list[gs.Variable]:
    found = {id(t): t for node in graph.nodes for t in (*node.inputs, *node.outputs) if isinstance(t, gs.Variable)}
    return [tensor for tensor in found.values() if tensor.name]


def _each(case: Case, change: Callable[[gs.Graph, gs.Variable], None]) -> Perturbed:
    original = read(case.model())
    for position in range(len(_variables(original))):
        graph = clone(original)
        tensor = _variables(graph)[position]
        change(graph, tensor)
        yield tensor.name, graph


def unknown_ranks(case: Case) -> Perturbed:
    """One tensor after the other without a shape."""

    def forget(_: gs.Graph, tensor: gs.Variable) -> None:
        tensor.shape = None

    return _each(case, forget)


def unknown_sizes(case: Case) -> Perturbed:
    """One tensor after the other with nothing but a rank."""

    def forget(_: gs.Graph, tensor: gs.Variable) -> None:
        tensor.shape = None if tensor.shape is None else [None] * len(tensor.shape)

    return _each(case, forget)


def more_outputs(case: Case) -> Perturbed:
    """One value after the other is an output of the graph as well (U1)."""

    def keep(graph: gs.Graph, tensor: gs.Variable) -> None:
        if tensor.inputs and all(tensor is not output for output in graph.outputs):
            graph.outputs = [*graph.outputs, tensor]

    return _each(case, keep)


def more_readers(case: Case) -> Perturbed:
    """One value after the other has another reader, whose result is an output (U1)."""

    def copy(graph: gs.Graph, tensor: gs.Variable) -> None:
        seen = gs.Variable(f"{tensor.name}_seen", tensor.dtype, tensor.shape)
        graph.nodes.append(gs.Node("Identity", f"{tensor.name}_reader", {}, [tensor], [seen]))
        graph.outputs = [*graph.outputs, seen]

    return _each(case, copy)


def overridable(case: Case) -> Perturbed:
    """One constant after the other may be given by the caller, who does (U2)."""
    for position, tensor in enumerate(case.model().graph.initializer):
        model = case.model()
        given = model.graph.initializer[position]
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, given.data_type, given.dims))
        yield tensor.name, read(model)


def other_domains(case: Case) -> Perturbed:
    """One node after the other is an operator of somebody else's that has the name of a known one (U9)."""
    original = read(case.model())
    for position in range(len(original.nodes)):
        graph = clone(original)
        graph.nodes[position].domain = "custom"
        yield graph.nodes[position].outputs[0].name, graph


def sparse_constants(case: Case) -> Perturbed:
    """One constant of floats after the other is written as a sparse one, whose values nobody reads."""
    for position, tensor in enumerate(case.model().graph.initializer):
        model = case.model()
        values = onnx.numpy_helper.to_array(model.graph.initializer[position])
        if values.dtype != np.float32 or not values.ndim or case.opset < 11:
            continue
        del model.graph.initializer[position]
        places = onnx.numpy_helper.from_array(np.arange(values.size, dtype=np.int64), "places")
        flat = onnx.numpy_helper.from_array(values.reshape(-1), "values")
        sparse = onnx.helper.make_sparse_tensor(flat, places, values.shape)
        node = onnx.helper.make_node("Constant", [], [tensor.name], f"{tensor.name}_sparse", sparse_value=sparse)
        model.graph.node.insert(0, node)
        yield tensor.name, read(model)


UNTOLD = (unknown_ranks, unknown_sizes)  # all of these compute the same
PERTURBATIONS = (*UNTOLD, more_outputs, more_readers, overridable, sparse_constants, other_domains)


def perturbed(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """Parameters `case` and `how`: every perturbation of every case that fires."""
    pairs = [(case, how) for case in cases if case.after is not None for how in PERTURBATIONS]
    names = [f"{case}-{how.__name__}" for case, how in pairs]
    return pytest.mark.parametrize(("case", "how"), pairs, ids=names)


def check_perturbed(pass_: Pass, case: Case, how: Perturbation) -> None:
    """Run the pass on every perturbation of a model; where it changes one, that must compute what it did."""
    ctx, told = Context(**case.context), None  # one context, so that every price is worked out once
    for name, graph in how(case):
        if how is other_domains:
            _check_foreign(pass_, graph, ctx)
            continue
        before = to_proto(graph)
        if not pass_.run(graph, ctx).changed:
            continue
        DeadCode().run(graph, Context())
        sort_nodes(graph)
        feeds = _feeds(case, before)
        if told is None or how not in UNTOLD:
            told = run_model(before, feeds)
        _same(name, told, run_model(to_proto(graph), feeds))


def _check_foreign(pass_: Pass, graph: gs.Graph, ctx: Context) -> None:
    """Nobody knows what it computes, so it stays, with the constants and attributes that it has."""
    (node,) = (node for node in graph.nodes if node.domain == "custom")
    held, attrs = [tensor for tensor in node.inputs if isinstance(tensor, gs.Constant)], dict(node.attrs)
    values = [tensor.values for tensor in held]
    pass_.run(graph, ctx)
    assert any(node is kept for kept in graph.nodes)
    assert node.attrs == attrs
    found = [tensor for tensor in node.inputs if isinstance(tensor, gs.Constant)]
    assert [tensor.name for tensor in found] == [tensor.name for tensor in held]
    assert all(np.array_equal(a, tensor.values) for a, tensor in zip(values, found, strict=True))


def _feeds(case: Case, model: onnx.ModelProto) -> dict[str, Array]:
    given = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    feeds: dict[str, Array] = next(adversarial(case.model()))
    return feeds | {port.name: _other(given[port.name]) for port in model.graph.input if port.name in given}


def _same(name: str, expected: Mapping[str, Array], found: Mapping[str, Array]) -> None:
    assert list(expected) == list(found), name
    for output, value in expected.items():
        near = np.abs(np.asarray(value, np.float64)).max(initial=0.0) + 1e-2
        tolerance = (1e-2 if np.asarray(value).dtype == np.float16 else 1e-4) * near
        np.testing.assert_allclose(found[output], value, rtol=0, atol=tolerance, err_msg=f"{name}: {output}")


def _other(values: Array) -> Array:
    """What a caller may give instead; sizes and the like must fit, and stay."""
    return np.ascontiguousarray(np.flip(values) * values.dtype.type(2)) if values.dtype.kind == "f" else values
