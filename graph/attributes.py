"""An attribute's value -> AttributeProto; unchanged ones come out exactly as they were read."""

from typing import Any, cast

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from roofwright.graph.dtypes import onnx_dtype
from roofwright.graph.errors import InvariantError, printable
from roofwright.graph.importer import attribute_field

_A = onnx.AttributeProto
_SCALARS: list[tuple[Any, int]] = [
    ((bool, np.bool_, int, np.integer), _A.INT),
    ((float, np.floating), _A.FLOAT),
    ((str, bytes), _A.STRING),
    ((gs.Tensor, np.ndarray, onnx.TensorProto), _A.TENSOR),
    (gs.Graph, _A.GRAPH),
    (onnx.SparseTensorProto, _A.SPARSE_TENSOR),
    (onnx.TypeProto, _A.TYPE_PROTO),
]
_LIST_OF: dict[int, int] = {
    _A.INT: _A.INTS,
    _A.FLOAT: _A.FLOATS,
    _A.STRING: _A.STRINGS,
    _A.TENSOR: _A.TENSORS,
    _A.GRAPH: _A.GRAPHS,
    _A.SPARSE_TENSOR: _A.SPARSE_TENSORS,
    _A.TYPE_PROTO: _A.TYPE_PROTOS,
}
COMPOUND = {_A.TENSOR, _A.TENSORS, _A.GRAPH, _A.GRAPHS}


def _scalar_type(value: Any) -> int | None:
    return next((kind for types, kind in _SCALARS if isinstance(value, types)), None)


def value_type(value: Any) -> int | None:
    """The attribute type that a Python value asks for; None where no attribute can hold it; 0 for an empty list."""
    if isinstance(value, (list, tuple)):
        kinds = {_scalar_type(item) for item in value}
        if kinds == {_A.INT, _A.FLOAT}:
            return int(_A.FLOATS)
        kind = kinds.pop() if len(kinds) == 1 else None
        return _LIST_OF.get(kind) if kind is not None else (None if value else 0)
    if isinstance(value, (type, np.dtype)):
        return int(_A.INT)
    return _scalar_type(value)


def _schema_type(node: gs.Node, name: str, opset: int) -> int | None:
    """What the operator's definition says of an attribute's type."""
    try:
        schema = onnx.defs.get_schema(node.op, opset, node.domain or "")
    except onnx.defs.SchemaError:
        return None
    known = schema.attributes.get(name)
    return None if known is None else int(getattr(_A, str(known.type).rpartition(".")[2]))


def _chosen_type(node: gs.Node, name: str, value: Any, original: onnx.AttributeProto | None, opset: int) -> int:
    natural = value_type(value)
    if natural is None:
        raise InvariantError(
            f"node {printable(node.name)!r} ({node.op}): attribute {name!r} holds {type(value).__name__}"
        )
    if natural not in (0, _A.INT, _A.INTS):
        return natural
    wanted = (original.type if original is not None else 0) or _schema_type(node, name, opset) or natural or _A.INTS
    compatible = {0: _LIST_OF.values(), _A.INT: (_A.INT, _A.FLOAT), _A.INTS: (_A.INTS, _A.FLOATS)}[natural]
    return int(wanted if wanted in compatible else natural or _A.INTS)


def holds(original: onnx.AttributeProto, value: Any) -> bool:
    """Whether a plain attribute (no tensor, no graph) still has the value that it was read with."""
    field = attribute_field(original)
    if field is None or field in ("t", "tensors", "g", "graphs"):
        return False
    stored = getattr(original, field)
    if field in ("sparse_tensor", "tp"):
        return value is stored or bool(value == stored)
    if field == "s":
        return isinstance(value, (str, bytes)) and (value.encode() if isinstance(value, str) else value) == stored
    if field in ("f", "i"):
        wanted = float if field == "f" else int
        return type(value) is wanted and (value == stored or (value != value and stored != stored))
    return isinstance(value, list) and _same_items(list(stored), value)


def _same_items(stored: list[Any], value: list[Any]) -> bool:
    encoded = [item.encode() if isinstance(item, str) else item for item in value]
    return stored == encoded or (len(stored) == len(value) and repr(stored) == repr(encoded))


def fill_plain(out: onnx.AttributeProto, kind: int, value: Any) -> None:
    """Write a value that needs neither tensors nor graphs."""
    if kind == _A.INT:
        out.i = onnx_dtype(value) if isinstance(value, (type, np.dtype)) else int(value)
    elif kind == _A.FLOAT:
        out.f = float(value)
    elif kind == _A.STRING:
        out.s = value.encode() if isinstance(value, str) else value
    elif kind == _A.INTS:
        out.ints.extend(int(item) for item in value)
    elif kind == _A.FLOATS:
        out.floats.extend(float(item) for item in value)
    elif kind == _A.STRINGS:
        out.strings.extend(item.encode() if isinstance(item, str) else item for item in value)
    elif kind == _A.SPARSE_TENSOR:
        out.sparse_tensor.CopyFrom(value)
    elif kind == _A.TYPE_PROTO:
        out.tp.CopyFrom(value)
    elif kind == _A.SPARSE_TENSORS:
        out.sparse_tensors.extend(value)
    elif kind == _A.TYPE_PROTOS:
        out.type_protos.extend(value)


def start(
    out: onnx.AttributeProto, node: gs.Node, name: str, value: Any, original: onnx.AttributeProto | None, opset: int
) -> int:
    """Name, type and doc string of an attribute that is written anew.

    Returns:
        Its type; the value is still to be filled in.
    """
    kind = _chosen_type(node, name, value, original, opset)
    out.name = name
    if original is None or original.type:
        out.type = cast(Any, kind)  # an enum to the type checker, a number to protobuf
    if original is not None and original.HasField("doc_string"):
        out.doc_string = original.doc_string
    return kind
