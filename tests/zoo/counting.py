"""An independent count of a network's MACs and parameters, from shapes that onnx infers."""

from math import prod

import onnx

Shapes = dict[str, tuple[int, ...]]


def _shape(info: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(d.dim_value for d in info.type.tensor_type.shape.dim)


def declared(model: onnx.ModelProto) -> Shapes:
    """The shapes that the model itself states for the results of its nodes."""
    return {info.name: _shape(info) for info in [*model.graph.value_info, *model.graph.output]}


def inferred(model: onnx.ModelProto) -> Shapes:
    """The shapes of all tensors, inferred by onnx from inputs and weights alone."""
    bare = onnx.ModelProto.FromString(model.SerializeToString())
    del bare.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True).graph
    shapes = {info.name: _shape(info) for info in [*graph.input, *graph.value_info, *graph.output]}
    return shapes | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def node_macs(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Multiply-accumulates of a convolution or matrix product; no other operator counts."""
    if node.op_type == "Conv":
        return prod(shapes[node.output[0]]) * prod(shapes[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        return prod(shapes[node.input[0]]) * prod(shapes[node.input[1]][1:])
    if node.op_type in ("Gemm", "MatMul"):
        return prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return 0


def macs(model: onnx.ModelProto, prefix: str = "") -> int:
    """MACs of the nodes whose name starts with `prefix`."""
    shapes = inferred(model)
    return sum(node_macs(node, shapes) for node in model.graph.node if node.name.startswith(prefix))


def parameters(model: onnx.ModelProto, prefix: str = "") -> int:
    """Trainable parameters whose name starts with `prefix`: no running statistics, no scalar constants."""
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    statistics = {name for node in norms for name in node.input[3:5]}
    return sum(
        prod(tensor.dims)
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
        and tensor.dims
        and tensor.name not in statistics
        and tensor.name.startswith(prefix)
    )
