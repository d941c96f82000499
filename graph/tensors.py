"""Every tensor of a model proto, wherever it hides, and whether its data fits what it says of itself."""

from collections.abc import Iterator
from math import prod

import onnx

from roofwright.graph.dtypes import NAMES, stored_bytes, typed_field
from roofwright.graph.errors import InvalidModelError, printable
from roofwright.graph.external import Span, is_external, span_of

_TYPED = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
_MOST_DIMS = 64  # numpy's limit
_MOST_ELEMENTS = 2**63 - 1
_Attribute = onnx.AttributeProto


def model_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All tensors: initializers, sparse ones, attributes, bodies, functions and training graphs."""
    yield from _tensors([model.graph], [])
    yield from detached_tensors(model)


def detached_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The tensors of functions and training graphs, which never become graphsurgeon objects."""
    graphs = [graph for training in model.training_info for graph in (training.initialization, training.algorithm)]
    attributes: list[onnx.AttributeProto] = []
    for function in model.functions:
        attributes += [a for node in function.node for a in node.attribute]
        attributes += function.attribute_proto
    yield from _tensors(graphs, attributes)


def _tensors(graphs: list[onnx.GraphProto], attributes: list[onnx.AttributeProto]) -> Iterator[onnx.TensorProto]:
    while graphs or attributes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            attributes += [a for node in graph.node for a in node.attribute if a.type not in _PLAIN]
            continue
        attribute = attributes.pop()
        yield from attribute_tensors(attribute)
        graphs += attribute_graphs(attribute)


_PLAIN = {_Attribute.INT, _Attribute.INTS, _Attribute.FLOAT, _Attribute.FLOATS, _Attribute.STRING, _Attribute.STRINGS}


def attribute_tensors(attribute: onnx.AttributeProto) -> Iterator[onnx.TensorProto]:
    """The tensors held directly by one attribute."""
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
    for tensor in (*sparse, *attribute.sparse_tensors):
        yield from (tensor.values, tensor.indices)


def attribute_graphs(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    """The graphs held directly by one attribute."""
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def check_tensor(tensor: onnx.TensorProto) -> Span | None:
    """Raise where dims, type and data contradict each other; the span of an external tensor."""
    name = f"tensor {printable(tensor.name)}"
    if tensor.data_type not in NAMES:
        raise InvalidModelError(f"{name}: element type {tensor.data_type} is not one of ONNX's")
    dims = tuple(tensor.dims)
    if len(dims) > _MOST_DIMS or any(dim < 0 for dim in dims) or prod(dims) > _MOST_ELEMENTS:
        shown = printable(list(dims[:8]))
        raise InvalidModelError(f"{name}: dims {shown} are not sizes (at most {_MOST_DIMS}, none negative)")
    if tensor.HasField("segment"):
        raise InvalidModelError(f"{name}: is stored in segments, expected one piece")
    elements = prod(dims)
    typed = [f for f in _TYPED if len(getattr(tensor, f))]
    if is_external(tensor):
        if typed or tensor.HasField("raw_data") or tensor.data_type == onnx.TensorProto.STRING:
            raise InvalidModelError(f"{name}: is external, but holds data or strings too")
        return span_of(tensor, stored_bytes(tensor.data_type, elements))
    _check_inline(tensor, name, elements, typed)
    return None


def _check_inline(tensor: onnx.TensorProto, name: str, elements: int, typed: list[str]) -> None:
    raw_bytes = len(tensor.raw_data) if tensor.HasField("raw_data") else None
    if len(typed) + bool(raw_bytes) > 1:
        raise InvalidModelError(f"{name}: has more than one kind of data")
    if raw_bytes is not None and not typed:
        expected = stored_bytes(tensor.data_type, elements)
        if tensor.data_type == onnx.TensorProto.STRING or raw_bytes != expected:
            raise InvalidModelError(f"{name}: raw data has {raw_bytes} bytes, its dims and type need {expected}")
        return
    wanted, entries, per_entry = typed_field(tensor.data_type)
    count = len(getattr(tensor, wanted))
    expected = -(-elements * entries // per_entry)
    if count != expected or (typed and typed != [wanted]):
        held = typed[0] if typed else wanted
        found = len(getattr(tensor, held))
        raise InvalidModelError(f"{name}: {held} has {found} entries, expected {expected} in {wanted}")
