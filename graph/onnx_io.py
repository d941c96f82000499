"""Models in and out: path, bytes, ModelProto or gs.Graph <-> gs.Graph, without losing anything on the way."""

import os
import stat
from pathlib import Path

import onnx
import onnx_graphsurgeon as gs
from google.protobuf.message import DecodeError

from roofwright.graph.cloning import clone, own_copy
from roofwright.graph.dtypes import dtype_name
from roofwright.graph.errors import InvalidModelError, InvariantError, UsageError, printable
from roofwright.graph.exporter import export_model
from roofwright.graph.external import Store
from roofwright.graph.importer import import_model
from roofwright.graph.order import sort_nodes
from roofwright.graph.ports import fill_port, shape_of
from roofwright.graph.saving import embedded, save
from roofwright.graph.shapes import annotate, infer_scopes
from roofwright.graph.sidecar import (
    Sidecar,
    drop_unused_initializers,
    functions,
    graph_metadata,
    model_metadata,
    model_sidecar,
    node_metadata,
    notes,
    sidecar,
)
from roofwright.graph.skeleton import Skeleton, one_line
from roofwright.graph.validate import check_proto
from roofwright.graph.values import adopt
from roofwright.graph.walk import graphs_of, tensors_of

__all__ = [
    "drop_unused_initializers",
    "dtype_name",
    "functions",
    "graph_metadata",
    "model_metadata",
    "node_metadata",
    "notes",
    "overridable",
    "read",
    "save",
    "to_proto",
    "write",
]
Model = str | os.PathLike[str] | bytes | onnx.ModelProto | gs.Graph
ZOO = "zoo:"
_LARGEST_FILE_BYTES = 2**31 - 1  # protobuf's limit


def read(model: Model, *, folder: str | os.PathLike[str] | None = None) -> gs.Graph:
    """Read and check a model. Weights stay where they are until somebody asks for their values.

    Args:
        model: a path, `zoo:NAME`, the bytes of a file, a ModelProto (not copied: leave it alone while the graph
            lives), or a graph, which is copied.
        folder: where external data lies for bytes and ModelProto; a path knows its own.

    Returns:
        A graph in topological order whose variables carry inferred element types and shapes.

    Raises:
        InvalidModelError: not a model, or one that breaks the ONNX rules.
        UnsafeModelError: external data that is not inside the model's folder.
    """
    store = None if folder is None else Store(Path(folder))
    if isinstance(model, gs.Graph):
        return _from_graph(model, store)
    if isinstance(model, onnx.ModelProto):
        proto = model
    elif isinstance(model, (bytes, bytearray, memoryview)):
        proto = _parse(bytes(model), "the model's bytes")
    elif isinstance(model, str) and model.startswith(ZOO):
        proto = _from_zoo(model.removeprefix(ZOO))
    elif isinstance(model, (str, os.PathLike)):
        path = Path(os.fspath(model))
        return _from_path(path)
    else:
        raise UsageError(f"a model is a path, bytes, ModelProto or gs.Graph, not {type(model).__name__}")
    return _from_proto(proto, store)


def _from_zoo(name: str) -> onnx.ModelProto:
    from roofwright.graph.zoo import build

    built: onnx.ModelProto = build(name)
    return built


def _from_path(path: Path) -> gs.Graph:
    graph = _from_proto(_parse(_file_bytes(path), printable(path.name)), Store(path.parent))
    model_sidecar(graph).path = path
    return graph


def _file_bytes(path: Path) -> bytes:
    """The content of a regular file; pipes and devices are refused before anything is read from them."""
    name = printable(path)
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InvalidModelError(f"{name}: is not a regular file")
            if found.st_size > _LARGEST_FILE_BYTES:
                raise InvalidModelError(f"{name}: is larger than 2 GiB; ONNX keeps such weights in external data")
            return file.read()
    except FileNotFoundError:
        raise InvalidModelError(f"{name}: no such file") from None
    except (OSError, ValueError) as error:
        raise InvalidModelError(f"{name}: {getattr(error, 'strerror', None) or 'cannot be opened'}") from None


def _parse(data: bytes, name: str) -> onnx.ModelProto:
    if not data:
        raise InvalidModelError(f"{name}: is empty, expected an ONNX model")
    try:
        proto: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError, RuntimeError):
        raise InvalidModelError(f"{name}: is not an ONNX model, or is cut off") from None
    return proto


def _from_proto(proto: onnx.ModelProto, store: Store | None) -> gs.Graph:
    check_proto(proto, store)
    graph = import_model(proto, store)
    _mark_unused(graph)
    return _finish(graph)


def _finish(graph: gs.Graph) -> gs.Graph:
    if sort_nodes(graph):
        notes(graph).append("the nodes were not in topological order; they were sorted")
    skeleton = Skeleton(graph)
    skeleton.check()
    annotate(graph, infer_scopes(graph, None, skeleton))
    for body in graphs_of(graph):
        held = sidecar(body)
        held.recorded = {tensor.name: (tensor.dtype, shape_of(tensor)) for tensor in tensors_of(body)}
    own_copy(graph)
    return graph


def _mark_unused(graph: gs.Graph) -> None:
    bodies = graphs_of(graph)
    used = {id(tensor) for body in bodies for tensor in tensors_of(body)}
    for body in bodies:
        held = sidecar(body)
        held.unused = {name for name, tensor in held.constants.items() if id(tensor) not in used}


def _from_graph(graph: gs.Graph, store: Store | None) -> gs.Graph:
    """A copy of somebody's graph; one that we did not read is written as a proto first, and then read."""
    copy = clone(graph)
    if "sidecar" in copy.__dict__:
        return copy
    try:
        for body in graphs_of(copy):
            body.__dict__["sidecar"] = _implied(body)
            adopt(body, store)
        proto = export_model(copy)
    except (InvariantError, TypeError, ValueError) as error:
        raise InvalidModelError(f"the graph cannot be written as ONNX: {one_line(str(error))}") from None
    return _from_proto(proto, store)


def _implied(graph: gs.Graph) -> Sidecar:
    """The declarations that graphsurgeon would export: every variable whose type is known."""
    proto = onnx.GraphProto(name=graph.name)
    held = Sidecar(proto)
    ports = {id(tensor) for tensor in (*graph.inputs, *graph.outputs)}
    for node in graph.nodes:
        for tensor in node.outputs:
            if tensor.name and tensor.dtype is not None and id(tensor) not in ports:
                fill_port(tensor, None, held, proto.value_info.add())
    return held


def overridable(graph: gs.Graph) -> frozenset[str]:
    """Initializers of the model, bodies included, that a caller may override (inputs with a default): no constants."""
    return frozenset().union(*(sidecar(body).overridable for body in graphs_of(graph)))


def to_proto(graph: gs.Graph, *, embed: bool = False) -> onnx.ModelProto:
    """The model as a proto.

    Args:
        graph: the main graph.
        embed: load external tensors into the proto; else those that no pass replaced stay references into the
            folder of the original.
    """
    return embedded(graph) if embed else export_model(graph)


write = to_proto
