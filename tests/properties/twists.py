"""Changes that make a near miss of a pattern: other readers, outputs, defaults, names, sizes, places."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.passes.harness import in_body
from tests.properties.draft import Draft

Model = onnx.ModelProto
Pick = Callable[..., Any]
_MOST_OUTPUTS = 3
_SIZES = (onnx.TensorProto.INT64, onnx.TensorProto.BOOL)


def twisted(draft: Draft, last: str) -> Model:
    """The model of a draft, changed once or twice."""
    known = [name for name in draft.values if name != "x" and name in draft._known]
    known = known or [draft.add("Neg", "x")]
    outputs = [last if last != "x" else known[-1]]
    for _ in range(_MOST_OUTPUTS):
        if draft.rarely():
            outputs.append(draft.pick(*known))  # a value in the middle of a pattern, asked for
    model = draft.proto(list(dict.fromkeys(outputs)), draft.pick(8, 8, 10, 7))
    _connect(model)
    for _ in range(draft.pick(0, 1, 1, 2)):
        changed = draft.pick(*TWISTS)(model, draft.pick)
        if changed is not None and _is_valid(changed):
            model = changed
    return model


def _connect(model: Model) -> None:
    """The input stays an input, read or not; nodes without a reader stay, as dead code."""
    for node in model.graph.node:
        node.name = f"{node.op_type}_{node.output[0]}"


def _is_valid(model: Model) -> bool:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


def _copy(model: Model) -> Model:
    copy = Model()
    copy.CopyFrom(model)
    return copy


def second_reader(model: Model, pick: Pick) -> Model | None:
    """A value has another reader, whose result is an output."""
    copy = _copy(model)
    read = pick(*copy.graph.node).output[0]
    known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    info = next((v for v in (*known.value_info, *known.output) if v.name == read), None)
    if info is None:
        return None
    copy.graph.node.append(helper.make_node("Identity", [read], ["seen"]))
    copy.graph.output.append(info)
    copy.graph.output[-1].name = "seen"
    return copy


def overridable(model: Model, pick: Pick, *, data_only: bool = False) -> Model | None:
    """A constant is the default of an input."""
    copy = _copy(model)
    for tensor in _some((t for t in copy.graph.initializer if not data_only or t.data_type not in _SIZES), pick):
        copy.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return copy


def required(model: Model, pick: Pick) -> Model | None:
    """A constant is an input without a default; never a size, which results have been declared with."""
    copy = overridable(model, pick, data_only=True)
    if copy is None or not copy.graph.initializer:
        return None
    listed = {info.name for info in copy.graph.input}
    kept = [tensor for tensor in copy.graph.initializer if tensor.name not in listed]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(kept)
    return copy


def old_format(model: Model, pick: Pick) -> Model | None:
    """IR 3, in which every initializer is listed as an input."""
    if model.opset_import[0].version > 8:  # later versions of the operators need later formats
        return None
    copy = _copy(model)
    copy.ir_version = 3
    listed = {info.name for info in copy.graph.input}
    for tensor in copy.graph.initializer:
        if tensor.name not in listed:
            copy.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return copy


def as_nodes(model: Model, pick: Pick) -> Model | None:
    """Constants are made by Constant nodes."""
    copy = _copy(model)
    listed = {info.name for info in copy.graph.input}
    moved = [t for t in _some(copy.graph.initializer, pick, everything=True) if t.name not in listed]
    names = {tensor.name for tensor in moved}
    kept = [tensor for tensor in copy.graph.initializer if tensor.name not in names]
    nodes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in moved]
    nodes += list(copy.graph.node)
    del copy.graph.initializer[:], copy.graph.node[:]
    copy.graph.initializer.extend(kept)
    copy.graph.node.extend(nodes)
    return copy


def shared(model: Model, pick: Pick) -> Model | None:
    """Constants of one shape and type are one constant."""
    copy = _copy(model)
    seen: dict[tuple[int, tuple[int, ...]], str] = {}
    names: dict[str, str] = {}
    for tensor in copy.graph.initializer:
        key = (tensor.data_type, tuple(tensor.dims))
        names[tensor.name] = seen.setdefault(key, tensor.name)
    for node in copy.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    return copy


def symbolic(model: Model, pick: Pick) -> Model | None:
    """Some sizes of the input are names; results get what follows."""
    copy = _copy(model)
    dims = copy.graph.input[0].type.tensor_type.shape.dim
    for axis in pick([0], [0], [-1], [0, -1], [*range(len(dims))]):
        if dims:
            dims[axis].dim_param = pick("N", "M") if axis else "N"
    for output in copy.graph.output:
        if not output.type.tensor_type.HasField("shape"):
            continue
        rank = len(output.type.tensor_type.shape.dim)
        del output.type.tensor_type.shape.dim[:]
        for axis in range(rank):
            output.type.tensor_type.shape.dim.add().dim_param = f"{output.name}_{axis}"
    for node in copy.graph.node:  # bodies promise sizes that are names now
        for attribute in node.attribute:
            for info in attribute.g.output:
                info.type.tensor_type.ClearField("shape")
    return copy


def renamed(model: Model, pick: Pick) -> Model | None:
    """Values are called after operators, as rewrites call what they make."""
    copy = _copy(model)
    names: dict[str, str] = {}
    for at, node in enumerate(copy.graph.node):
        names |= {name: f"{node.op_type}_{at}_{i}" for i, name in enumerate(node.output)}
    if any(attribute.HasField("g") for node in copy.graph.node for attribute in node.attribute):
        return None
    for node in copy.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in copy.graph.output:
        output.name = names.get(output.name, output.name)
    return copy


def identity_between(model: Model, pick: Pick) -> Model | None:
    """An Identity between a node and its readers."""
    copy = _copy(model)
    at = pick(*range(len(copy.graph.node)))
    node = copy.graph.node[at]
    old, middle = node.output[0], f"{node.output[0]}_raw"
    node.output[0] = middle
    nodes = list(copy.graph.node)
    nodes.insert(at + 1, helper.make_node("Identity", [middle], [old]))
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def captured(model: Model, pick: Pick) -> Model | None:
    """A body reads a value from outside, beside the pattern."""
    if model.ir_version < 4:
        return None
    copy = _copy(model)
    read = pick(*copy.graph.node).output[0]
    known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    info = next((v for v in (*known.value_info, *known.output) if v.name == read), None)
    if info is None:
        return None
    bodies = {}
    for branch in ("then_branch", "else_branch"):
        port = onnx.ValueInfoProto()
        port.CopyFrom(info)
        port.name = branch
        bodies[branch] = helper.make_graph([helper.make_node("Identity", [read], [branch])], branch, [], [port])
    copy.graph.input.append(helper.make_tensor_value_info("condition", onnx.TensorProto.BOOL, []))
    copy.graph.node.append(helper.make_node("If", ["condition"], ["captured"], **bodies))
    copy.graph.output.append(info)
    copy.graph.output[-1].name = "captured"
    return copy


def inside_if(model: Model, pick: Pick) -> Model | None:
    """Everything is in a body, its constants there or outside."""
    dims = [dim for output in model.graph.output for dim in output.type.tensor_type.shape.dim]
    if model.opset_import[0].version < 11 and not all(dim.HasField("dim_value") for dim in dims):
        return None  # If-1 has branches of one shape, and that of the zeros in the other one would be a guess
    return in_body(model, weights_inside=pick(True, False)) if model.ir_version >= 4 else None


def inside_loop(model: Model, pick: Pick) -> Model | None:
    """Everything is in the body of a Loop of two rounds."""
    if model.ir_version < 4 or model.opset_import[0].version < 11:
        return None
    inner, outer = model.graph, _copy(model)
    for what in ("node", "output"):
        outer.graph.ClearField(what)
    body = onnx.GraphProto(name="body")
    body.node.extend(inner.node)
    body.node.append(helper.make_node("Identity", ["go_in"], ["go_out"]))
    body.input.append(helper.make_tensor_value_info("round", onnx.TensorProto.INT64, []))
    body.input.append(helper.make_tensor_value_info("go_in", onnx.TensorProto.BOOL, []))
    body.output.append(helper.make_tensor_value_info("go_out", onnx.TensorProto.BOOL, []))
    body.output.extend(inner.output)
    outer.graph.initializer.append(numpy_helper.from_array(np.asarray(2, np.int64), "rounds"))
    outer.graph.initializer.append(numpy_helper.from_array(np.asarray(True), "go"))
    names = [f"{output.name}_all" for output in inner.output]
    outer.graph.node.append(helper.make_node("Loop", ["rounds", "go"], names, body=body))
    for output, name in zip(inner.output, names, strict=True):
        outer.graph.output.append(output)
        port = outer.graph.output[-1]
        port.name = name
        if not port.type.tensor_type.HasField("shape"):
            continue
        sizes = list(port.type.tensor_type.shape.dim)
        del port.type.tensor_type.shape.dim[:]
        port.type.tensor_type.shape.dim.add().dim_param = "rounds_made"
        port.type.tensor_type.shape.dim.extend(sizes)
    return outer


def _some(tensors: Any, pick: Pick, everything: bool = False) -> Iterator[onnx.TensorProto]:
    """One of them, or all."""
    found = list(tensors)
    if not found:
        return iter(())
    return iter(found if everything and pick(True, False) else [pick(*found)])


TWISTS = (
    symbolic, second_reader, overridable, old_format, as_nodes, shared, renamed, identity_between, captured, inside_if,
    inside_loop, required,
)  # fmt: skip
