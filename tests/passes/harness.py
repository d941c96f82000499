"""Runs one pass over a small model, alone and inside an If body, and compares what both models compute."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import numpy_helper

from roofwright.graph import graphs_of, interface, read, run_model, sort_nodes, to_proto, verify
from roofwright.passes.base import Context, Pass, PassResult
from roofwright.passes.cleanup import DeadCode

Array = NDArray[Any]
PLACES = ("alone", "body, weights outside", "body, weights inside")
_TOLERANCE = {"float16": 4e-3, "float32": 2e-5, "float64": 1e-12}
_DEFAULT_DIM = 2


@dataclass(frozen=True)
class Case:
    """A model, and what a pass must make of it.

    Attributes:
        name: shows as the test's id.
        text: in onnx.parser's syntax, without header: `(float[1,3] x) => (float[1,3] y) { y = Neg(x) }`.
        after: operators left, sorted; None: nothing may change.
        declines: part of the reason of a near miss; None: there must be none.
        arrays: initializers.
        opset, ir: versions.
        exact: both models must agree in every bit.
        signs: of zeros too; off for maxima of +0 and -0, of which runtimes return either.
        context: options of the Context.
        forget: tensors of which not even the rank is to be known.
    """

    name: str
    text: str
    after: str | None = None
    declines: str | None = None
    arrays: Mapping[str, Array] = field(default_factory=dict)
    opset: int = 17
    ir: int = 8
    exact: bool = True
    signs: bool = True
    context: Mapping[str, Any] = field(default_factory=dict)
    forget: tuple[str, ...] = ()

    def model(self) -> onnx.ModelProto:
        """The model, alone."""
        return build(self.text, self.arrays, opset=self.opset, ir=self.ir)

    def __str__(self) -> str:
        return self.name


def build(text: str, arrays: Mapping[str, Array] | None = None, *, opset: int = 17, ir: int = 8) -> onnx.ModelProto:
    """A model from text, with `arrays` as initializers."""
    header = f'<ir_version: {ir}, opset_import: ["": {opset}, "custom": 1]>'
    model = onnx.parser.parse_model(f"{header}\ng {text}")
    for name, values in (arrays or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    if not any(node.domain == "custom" for node in model.graph.node):
        del model.opset_import[1]
    return model


def random(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Array:
    """Seeded normal values."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def positive(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Array:
    """Seeded values between 0.5 and 1.5."""
    return (np.random.default_rng(seed).random(shape) + 0.5).astype(dtype)


def float16(values: Any) -> Array:
    return np.asarray(values, np.float16)


def float32(values: Any) -> Array:
    return np.asarray(values, np.float32)


def float64(values: Any) -> Array:
    return np.asarray(values, np.float64)


def int8(values: Any) -> Array:
    return np.asarray(values, np.int8)


def uint8(values: Any) -> Array:
    return np.asarray(values, np.uint8)


def int32(values: Any) -> Array:
    return np.asarray(values, np.int32)


def int64(values: Any) -> Array:
    return np.asarray(values, np.int64)


def boolean(values: Any) -> Array:
    return np.asarray(values, np.bool_)


# ---- bodies
def in_body(model: onnx.ModelProto, *, weights_inside: bool) -> onnx.ModelProto:
    """The same nodes as the taken branch of an If whose condition is an input; graph inputs are captured.

    The other branch returns zeros.
    """
    inner, outer = model.graph, onnx.ModelProto()
    outer.CopyFrom(model)
    graph = outer.graph
    for what in ("node", "output", "value_info"):
        graph.ClearField(what)
    then = onnx.helper.make_graph([], "then", [], [])
    renamed = {output.name: f"{output.name}_inner" for output in inner.output}
    then.node.extend(_renamed(node, renamed) for node in inner.node)
    then.output.extend(onnx.helper.make_value_info(renamed[o.name], o.type) for o in inner.output)
    if weights_inside:
        listed = {info.name for info in inner.input}
        then.initializer.extend(t for t in inner.initializer if t.name not in listed)
        kept = [t for t in inner.initializer if t.name in listed]
        del graph.initializer[:]
        graph.initializer.extend(kept)
    graph.input.append(onnx.helper.make_tensor_value_info("condition", onnx.TensorProto.BOOL, []))
    outputs = [output.name for output in inner.output]
    graph.node.append(
        onnx.helper.make_node("If", ["condition"], outputs, "if", then_branch=then, else_branch=_zeros(inner))
    )
    graph.output.extend(inner.output)
    return outer


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    return copy


def _zeros(inner: onnx.GraphProto) -> onnx.GraphProto:
    nodes, outputs = [], []
    for output in inner.output:
        kind = output.type.tensor_type
        shape = [dim.dim_value if dim.HasField("dim_value") else _DEFAULT_DIM for dim in kind.shape.dim]
        zeros = np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
        name = f"{output.name}_zeros"
        nodes.append(onnx.helper.make_node("Constant", [], [name], value=numpy_helper.from_array(zeros)))
        outputs.append(onnx.helper.make_value_info(name, output.type))
    return onnx.helper.make_graph(nodes, "else", [], outputs)


def placed(model: onnx.ModelProto, place: str) -> onnx.ModelProto:
    """The model as it is, or inside a body (see PLACES)."""
    return model if place == "alone" else in_body(model, weights_inside=place.endswith("inside"))


def nodes_of(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes under test: those of the taken branch where there is one."""
    for node in model.graph.node:
        if node.op_type == "If":
            return list(next(a.g for a in node.attribute if a.name == "then_branch").node)
    return list(model.graph.node)


def ops(model: onnx.ModelProto) -> str:
    """The operators under test, sorted, in one line."""
    return " ".join(sorted(node.op_type for node in nodes_of(model)))


# ---- running
def run_pass(
    pass_: Pass,
    model: onnx.ModelProto | str,
    *,
    tidy: bool = True,
    forget: Collection[str] = (),
    **context: Any,
) -> tuple[onnx.ModelProto, onnx.ModelProto, PassResult]:
    """Run a pass; the graph must stay true to the invariant, valid, and be left alone by a second run.

    Args:
        pass_: the pass.
        model: a model, or text for `build`.
        tidy: remove dead nodes afterwards, as the pipeline does.
        forget: tensors whose shape is taken away first.
        **context: fields of the Context.
    """
    before = build(model) if isinstance(model, str) else model
    bytes_before = before.SerializeToString()
    graph = read(before)
    promised = interface(graph)
    _forget(graph, forget)
    result = pass_.run(graph, Context(**context))
    _settle(graph, tidy)
    verify(graph, promised)
    after = to_proto(graph)
    onnx.checker.check_model(after, full_check=True)
    assert before.SerializeToString() == bytes_before, "the pass changed the caller's model"
    again = pass_.run(graph, Context(**context))
    assert not again.changed, f"a second run changed {[r for r in again.records if r.applied]}"
    return before, after, result


def _forget(graph: gs.Graph, names: Collection[str]) -> None:
    for node in (node for held in graphs_of(graph) for node in held.nodes if names):
        for tensor in node.outputs:
            tensor.shape = None if tensor.name in names else tensor.shape


def _settle(graph: gs.Graph, tidy: bool) -> None:
    if tidy:
        DeadCode().run(graph, Context())
    sort_nodes(graph)


def check(pass_: Pass, case: Case, place: str) -> onnx.ModelProto:
    """What every case must hold; returns the model after the pass."""
    before, after = check_unrun(pass_, case, place)
    same(before, after, exact=case.exact, signs=case.signs)
    return after


def check_unrun(pass_: Pass, case: Case, place: str) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """What every case must hold, but for its results: for what no runtime takes. The model before and after."""
    before, after, result = run_pass(pass_, placed(case.model(), place), forget=case.forget, **case.context)
    reasons = [record.reason for record in result.records if not record.applied]
    assert result.changed is (case.after is not None), (ops(after), reasons)
    assert ops(after) == (case.after if case.after is not None else ops(before)), reasons
    if case.declines is None:
        assert not reasons
    else:
        assert any(case.declines in reason for reason in reasons), reasons
    return before, after


# ---- comparing
def adversarial(model: onnx.ModelProto, dim: int = _DEFAULT_DIM) -> Iterator[dict[str, Array]]:
    """Seeded inputs: normal, negative, zeros of both signs, large, small."""
    given = {tensor.name for tensor in model.graph.initializer}
    ports = [info for info in model.graph.input if info.name not in given]
    rng = np.random.default_rng(7)
    for kind in range(5):
        feeds = {}
        for port in ports:
            tensor = port.type.tensor_type
            shape = [d.dim_value if d.HasField("dim_value") else dim for d in tensor.shape.dim]
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            feeds[port.name] = _values(rng, kind, tuple(shape), dtype)
        yield feeds


def _values(rng: np.random.Generator, kind: int, shape: tuple[int, ...], dtype: Any) -> Array:
    if dtype == np.bool_:
        return np.ones(shape, bool)
    if np.dtype(dtype).kind in "iu":
        bounds = np.iinfo(dtype)
        return np.asarray(rng.integers(max(bounds.min, -9) if kind else 0, 9, shape)).astype(dtype)
    normal = rng.standard_normal(shape)
    signs = np.where(rng.random(shape) < 0.5, -0.0, 0.0)
    return np.asarray([normal, -np.abs(normal), signs, normal * 1e2, normal * 1e-3][kind]).astype(dtype)


def same(
    before: onnx.ModelProto,
    after: onnx.ModelProto,
    *,
    exact: bool = True,
    signs: bool = True,
    dim: int = _DEFAULT_DIM,
) -> None:
    """Both models compute the same on onnxruntime without its own optimizations."""
    for feeds in adversarial(before, dim):
        expected, found = run_model(before, feeds), run_model(after, feeds)
        assert list(expected) == list(found)
        for name, value in expected.items():
            _compare(name, np.asarray(value), np.asarray(found[name]), exact, signs)


def _compare(name: str, expected: Array, found: Array, exact: bool, signs: bool) -> None:
    assert (expected.shape, expected.dtype) == (found.shape, found.dtype), name
    if exact or expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected, err_msg=name)
        if signs and expected.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(found), np.signbit(expected), err_msg=f"signs of {name}")
        return
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(found[~finite], expected[~finite], err_msg=name)
    wide, near = expected[finite].astype(np.float64), found[finite].astype(np.float64)
    scale = float(np.abs(wide).max(initial=0.0)) + 1e-2  # values inside are about 1
    error = float(np.abs(near - wide).max(initial=0.0))
    assert error <= _TOLERANCE[expected.dtype.name] * scale, (name, error, scale)


def counts(model: onnx.ModelProto) -> Counter[str]:
    """How often each operator is under test."""
    return Counter(node.op_type for node in nodes_of(model))


def attributes(model: onnx.ModelProto, op: str) -> dict[str, Any]:
    """The attributes of the first node with this operator."""
    node = next(node for node in nodes_of(model) if node.op_type == op)
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
