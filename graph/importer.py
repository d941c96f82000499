"""ModelProto -> graphsurgeon objects, each with the proto it came from; every name is resolved or refused."""

from collections import ChainMap
from copy import copy
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from roofwright.graph.dtypes import NAMES, numpy_dtype
from roofwright.graph.errors import InvalidModelError, printable
from roofwright.graph.external import Store
from roofwright.graph.sidecar import ModelSidecar, Sidecar
from roofwright.graph.validate import STANDARD
from roofwright.graph.values import constant, text_of

_A = onnx.AttributeProto
_FIELDS = {
    _A.FLOAT: "f",
    _A.INT: "i",
    _A.STRING: "s",
    _A.TENSOR: "t",
    _A.GRAPH: "g",
    _A.SPARSE_TENSOR: "sparse_tensor",
    _A.TYPE_PROTO: "tp",
    _A.FLOATS: "floats",
    _A.INTS: "ints",
    _A.STRINGS: "strings",
    _A.TENSORS: "tensors",
    _A.GRAPHS: "graphs",
    _A.SPARSE_TENSORS: "sparse_tensors",
    _A.TYPE_PROTOS: "type_protos",
}
_LISTS = {"floats", "ints", "strings", "tensors", "graphs", "sparse_tensors", "type_protos"}
_IR_OF_DEFAULTS = 4  # from here on an initializer that is listed as an input is only a default
Scope = ChainMap[str, gs.Tensor]
Job = tuple[gs.Graph, onnx.GraphProto, Scope]


def import_model(model: onnx.ModelProto, store: Store | None) -> gs.Graph:
    """The main graph with all bodies; local functions stay protos in the sidecar. Nodes keep the order of the file."""
    versions = {entry.domain: entry.version for entry in model.opset_import}
    opset = next((versions[domain] for domain in STANDARD if domain in versions), 1)
    shared: dict[str, Any] = {"opset": opset, "ir_version": model.ir_version}
    root = gs.Graph(
        name=model.graph.name,
        doc_string=model.graph.doc_string,
        import_domains=[copy(entry) for entry in model.opset_import],
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        **shared,
    )
    jobs: list[Job] = [(root, model.graph, ChainMap())]
    while jobs:
        graph, proto, outer = jobs.pop()
        importer = _GraphImporter(graph, proto, outer, store, shared)
        importer.declare()
        importer.connect()
        jobs += importer.bodies
    root.__dict__["sidecar"].model = ModelSidecar(model, store, functions=list(model.functions))
    return root


def attribute_field(attribute: onnx.AttributeProto) -> str | None:
    """The field of AttributeProto that holds the value (IR 1 files do not state its type); None: no value."""
    if attribute.ref_attr_name:
        return None
    if attribute.type:
        return _FIELDS.get(attribute.type)
    return next((d.name for d, _ in attribute.ListFields() if d.name in _FIELDS.values()), None)


def set_type(tensor: gs.Variable, info: onnx.ValueInfoProto) -> None:
    """Give a variable the dtype and shape of its declaration; other kinds of value (sequences ...) get their kind."""
    kind = info.type.WhichOneof("value")
    if kind is None:
        return
    tensor.type = kind
    if kind != "tensor_type":
        return
    declared = info.type.tensor_type
    if declared.elem_type in NAMES:
        tensor.dtype = numpy_dtype(declared.elem_type)
    if declared.HasField("shape"):
        tensor.shape = [_dim(dim) for dim in declared.shape.dim]


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return dim.dim_param or None


def _label(node: onnx.NodeProto) -> str:
    return f"node {printable(node.name or next(iter(node.output), ''))!r} ({printable(node.op_type)})"


class _GraphImporter:
    """Fills one gs.Graph from its proto; the bodies found on the way wait in `bodies`."""

    def __init__(
        self, graph: gs.Graph, proto: onnx.GraphProto, outer: Scope, store: Store | None, shared: dict[str, Any]
    ) -> None:
        self.graph, self.proto, self.store, self.shared = graph, proto, store, shared
        self.scope = outer.new_child()
        self.local = self.scope.maps[0]
        self.bodies: list[Job] = []

    def _add(self, name: str | bytes, tensor: gs.Tensor) -> None:
        if not name or isinstance(name, bytes):
            raise InvalidModelError(f"tensor name {printable(name)!r} is empty or not UTF-8")
        if name in self.scope:
            where = "twice" if name in self.local else "again in a body, where it hides the outer one"
            raise InvalidModelError(f"tensor {printable(name)!r} is defined {where}")
        self.local[name] = tensor

    def declare(self) -> None:
        """Initializers, inputs and node outputs, each name once; then what the file says of their types."""
        proto = self.proto
        for tensor in proto.initializer:
            self._add(tensor.name, constant(tensor.name, tensor, self.store))
        for sparse in proto.sparse_initializer:
            self._add(sparse.values.name, constant(sparse.values.name, sparse, self.store))
        constants = {name: held for name, held in self.local.items() if isinstance(held, gs.Constant)}
        listed = [info.name for info in proto.input]
        if len(set(listed)) != len(listed):
            raise InvalidModelError(f"graph {printable(proto.name)!r} lists an input twice")
        for info in proto.input:
            if info.name not in constants:
                self._add(info.name, gs.Variable(info.name))
        self.graph.inputs = [self.local[name] for name in listed if name not in constants]
        for node in proto.node:
            for name in node.output:
                if name:
                    self._add(name, gs.Variable(name))
        for info in (*proto.value_info, *proto.output, *proto.input):
            typed = self.local.get(info.name)
            if isinstance(typed, gs.Variable):
                set_type(typed, info)
        defaults = self.shared["ir_version"] >= _IR_OF_DEFAULTS
        self.graph.__dict__["sidecar"] = Sidecar(
            proto,
            constants,
            frozenset(name for name in listed if name in constants) if defaults else frozenset(),
            frozenset(self.local),
        )

    def _resolve(self, name: str | bytes, reader: onnx.NodeProto | None) -> gs.Tensor:
        if not name:
            return gs.Variable.empty()
        tensor = self.scope.get(name) if isinstance(name, str) else None
        if tensor is None:
            who = f"graph {printable(self.proto.name)!r}" if reader is None else _label(reader)
            raise InvalidModelError(f"{who} reads {printable(name)!r}, which nothing produces")
        return tensor

    def connect(self) -> None:
        """Nodes with their edges and attributes, and the graph's outputs."""
        self.graph.nodes[:] = [self._node(proto) for proto in self.proto.node]
        if any(not info.name for info in self.proto.output):
            raise InvalidModelError(f"graph {printable(self.proto.name)!r} has an output without a name")
        self.graph.outputs = [self._resolve(info.name, None) for info in self.proto.output]

    def _node(self, proto: onnx.NodeProto) -> gs.Node:
        if any(isinstance(text, bytes) for text in (proto.name, proto.op_type, proto.domain)):
            raise InvalidModelError(f"{_label(proto)}: its name, operator or domain is not UTF-8")
        node = gs.Node(
            proto.op_type,
            proto.name,
            self._attributes(proto),
            [self._resolve(name, proto) for name in proto.input],
            [self.local[name] if name else gs.Variable.empty() for name in proto.output],
            proto.domain if proto.HasField("domain") else None,
        )
        node.__dict__["proto"] = proto
        return node

    def _attributes(self, proto: onnx.NodeProto) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for attribute in proto.attribute:
            field = attribute_field(attribute)
            if field is None or attribute.name in values:
                problem = "has no value of a known type" if field is None else "is given twice"
                name = printable(attribute.name)
                raise InvalidModelError(f"{_label(proto)}: attribute {name!r} {problem}")
            values[attribute.name] = self._value(attribute, field)
        return values

    def _value(self, attribute: onnx.AttributeProto, field: str) -> Any:
        value = getattr(attribute, field)
        if field == "s":
            return text_of(value)
        if field in ("t", "tensors"):
            made = [constant(t.name, t, self.store) for t in ([value] if field == "t" else value)]
            return made[0] if field == "t" else made
        if field in ("g", "graphs"):
            bodies = [self._body(g) for g in ([value] if field == "g" else value)]
            return bodies[0] if field == "g" else bodies
        if field == "strings":
            return [text_of(item) for item in value]
        return list(value) if field in _LISTS else value

    def _body(self, proto: onnx.GraphProto) -> gs.Graph:
        body = gs.Graph(name=proto.name, doc_string=proto.doc_string, **self.shared)
        self.bodies.append((body, proto, self.scope))
        return body
