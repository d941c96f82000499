"""ValueInfoProto of inputs, outputs and intermediate tensors: the file's own where no pass changed dtype or shape."""

import onnx
import onnx_graphsurgeon as gs

from roofwright.graph.dtypes import onnx_dtype
from roofwright.graph.sidecar import Shape, Sidecar


def shape_of(tensor: gs.Tensor) -> Shape:
    """A tensor's shape as a tuple; None where not even the rank is known."""
    shape = tensor.shape
    return None if shape is None else tuple(int(d) if isinstance(d, int) else (d or None) for d in shape)


def is_unchanged(tensor: gs.Tensor, held: Sidecar) -> bool:
    """Whether dtype and shape are what they were when the model had been read."""
    if tensor.name not in held.recorded:
        return isinstance(tensor, gs.Constant)
    dtype, shape = held.recorded[tensor.name]
    return bool(tensor.dtype == dtype) and shape_of(tensor) == shape


def fill_port(tensor: gs.Tensor, original: onnx.ValueInfoProto | None, held: Sidecar, out: onnx.ValueInfoProto) -> None:
    """The declaration of one tensor; denotations and doc strings of the original stay."""
    if original is not None:
        out.CopyFrom(original)
        if is_unchanged(tensor, held):
            return
    if out.name != tensor.name:
        out.name = tensor.name
    kind = out.type.WhichOneof("value") if out.HasField("type") else None
    if kind not in (None, "tensor_type") or tensor.dtype is None:
        return
    declared = out.type.sequence_type.elem_type.tensor_type if _is_sequence(tensor) else out.type.tensor_type
    declared.elem_type = onnx_dtype(tensor.dtype)
    _fill_shape(declared, shape_of(tensor))


def _is_sequence(tensor: gs.Tensor) -> bool:
    return isinstance(tensor, gs.Variable) and tensor.type == "sequence_type"


def _fill_shape(declared: onnx.TypeProto.Tensor, shape: Shape) -> None:
    if shape is None:
        declared.ClearField("shape")
        return
    declared.shape.SetInParent()  # a scalar has a shape, too: an empty one
    if len(declared.shape.dim) != len(shape):
        del declared.shape.dim[:]
        for _ in shape:
            declared.shape.dim.add()
    for dim, value in zip(declared.shape.dim, shape, strict=True):
        if isinstance(value, int):
            dim.dim_value = value
        elif value:
            dim.dim_param = value
        else:
            dim.ClearField("value")


def fill_value_info(graph: gs.Graph, held: Sidecar, names: set[str], out: onnx.GraphProto) -> None:
    """The entries that the file had, for tensors that are still there; none is invented."""
    produced = {tensor.name: tensor for node in graph.nodes for tensor in node.outputs}
    for original in held.proto.value_info:
        name = original.name
        if name in held.names and name not in names:
            continue
        tensor = produced.get(name)
        if tensor is None or is_unchanged(tensor, held):
            out.value_info.add().CopyFrom(original)
        elif tensor.dtype is not None:
            fill_port(tensor, original, held, out.value_info.add())
