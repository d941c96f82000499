"""Types node by node, for a model whose sizes are all numbers: one walk instead of rounds over the whole model.

Every node is given to onnx with the types of its inputs and the values of small ones, which are evaluated on the way:
so a Reshape knows its target when the walk comes to it, however that was computed.
"""

from functools import lru_cache

import onnx
import onnx_graphsurgeon as gs

from roofwright.graph.partial import Array, value_of
from roofwright.graph.sidecar import sidecar
from roofwright.graph.skeleton import Skeleton

Types = dict[str, onnx.TypeProto]  # by tensor


def stepwise(graph: gs.Graph, skeleton: Skeleton) -> Types | None:
    """The type of every tensor that a node of `graph` makes; `skeleton` is the same model, without declarations.

    Returns:
        None where a node holds a body, is not one of onnx's own operators, or has no inference.
    """
    walk = _Walk(graph, skeleton)
    for node, proto in zip(graph.nodes, skeleton.model.graph.node, strict=True):
        if not walk.step(node, proto):
            return None
    return walk.types


class _Walk:
    """What is known of the tensors so far: types and data by name, values and shapes by id."""

    def __init__(self, graph: gs.Graph, skeleton: Skeleton) -> None:
        model, self.overridable = skeleton.model, sidecar(graph).overridable
        self.versions = {entry.domain: entry.version for entry in model.opset_import}
        self.opsets, self.ir_version = list(model.opset_import), model.ir_version
        self.types: Types = {port.name: port.type for port in model.graph.input}
        for tensor in model.graph.initializer:
            self.types[tensor.name] = _type(tensor.data_type, tuple(tensor.dims))
        known = skeleton.with_data - self.overridable
        self.data = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name in known}
        self.values: dict[int, Array] = {}
        self.shapes = {id(tensor): _sizes(self.types.get(tensor.name)) for tensor in graph.inputs}

    def step(self, node: gs.Node, proto: onnx.NodeProto) -> bool:
        """Take in what one node makes; whether that is known."""
        found = self._infer(proto)
        if found is None:
            return False
        self.types |= found
        for tensor in node.outputs:
            self.shapes[id(tensor)] = _sizes(found.get(tensor.name))
        value = value_of(node, self.values, self.shapes, self.overridable)
        if value is not None:
            self.values[id(node.outputs[0])] = value
            self.data[proto.output[0]] = onnx.numpy_helper.from_array(value)
        return True

    def _infer(self, proto: onnx.NodeProto) -> Types | None:
        try:
            schema = _schema(proto.op_type, self.versions[proto.domain], proto.domain)
            types = {name: self.types[name] for name in proto.input if name}
            if not schema.has_type_and_shape_inference_function:
                return self._alone(proto, types)
            data = {name: self.data[name] for name in types if name in self.data}
            found: Types = onnx.shape_inference.infer_node_outputs(
                schema, proto, types, data, opset_imports=self.opsets, ir_version=self.ir_version
            )
        except (KeyError, onnx.defs.SchemaError, onnx.shape_inference.InferenceError, RuntimeError, ValueError):
            return None
        return found

    def _alone(self, proto: onnx.NodeProto, types: Types) -> Types:
        """Of an operator that is defined by others (GreaterOrEqual): as a model of this one node."""
        model = onnx.ModelProto(ir_version=self.ir_version, opset_import=self.opsets)
        model.graph.node.add().CopyFrom(proto)
        for name, known in types.items():
            model.graph.input.add(name=name).type.CopyFrom(known)
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in proto.output if name)
        return {port.name: port.type for port in onnx.shape_inference.infer_shapes(model).graph.output}


@lru_cache
def _schema(op: str, version: int, domain: str) -> onnx.defs.OpSchema:
    return onnx.defs.get_schema(op, version, domain)


@lru_cache
def _type(number: int, dims: tuple[int, ...]) -> onnx.TypeProto:
    return onnx.helper.make_tensor_type_proto(number, dims)


def _sizes(found: onnx.TypeProto | None) -> tuple[int, ...] | None:
    """The shape where all of it is known."""
    if found is None or not found.tensor_type.HasField("shape"):
        return None
    dims = found.tensor_type.shape.dim
    return tuple(dim.dim_value for dim in dims) if all(dim.HasField("dim_value") for dim in dims) else None
