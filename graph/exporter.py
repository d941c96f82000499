"""graphsurgeon objects -> ModelProto: what they hold from them, all the rest from the protos they came from."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

from roofwright.graph import attributes
from roofwright.graph.dtypes import is_packed, onnx_dtype
from roofwright.graph.ports import fill_port, fill_value_info
from roofwright.graph.sidecar import Sidecar, model_sidecar, node_proto, sidecar
from roofwright.graph.validate import STANDARD
from roofwright.graph.values import SparseTensorValues, source, untouched, values_of
from roofwright.graph.walk import graphs_of, tensors_of

Emit = Callable[[gs.Constant, onnx.TensorProto], None]
_A = onnx.AttributeProto
_OLD_IR = 3  # up to here every initializer must be listed as an input


def copy_inline(constant: gs.Constant, out: onnx.TensorProto) -> None:
    """Fill `out` with a constant's values in memory; an external tensor that no pass replaced stays a reference."""
    held = untouched(constant)
    if held is not None and not isinstance(held, SparseTensorValues):
        out.CopyFrom(held.tensor)
        if out.name != constant.name:
            out.name = constant.name
        return
    fill_header(constant, out)
    fill_values(constant, out)


def fill_header(constant: gs.Constant, out: onnx.TensorProto) -> None:
    """Name, doc string and metadata of a tensor whose values are written anew."""
    out.name = constant.name
    held = source(constant)
    if held is None or isinstance(held, SparseTensorValues):
        return
    if held.tensor.HasField("doc_string"):
        out.doc_string = held.tensor.doc_string
    out.metadata_props.extend(held.tensor.metadata_props)


def array_of(constant: gs.Constant) -> np.ndarray[Any, Any]:
    """A constant's values in the dtype that it is exported with."""
    array = values_of(constant)
    wanted = constant.__dict__.get("_export_dtype")
    if wanted is None:
        return array
    return array.astype(onnx.helper.tensor_dtype_to_np_dtype(onnx_dtype(wanted)))


def fill_values(constant: gs.Constant, out: onnx.TensorProto) -> None:
    """Dims, type and raw data from an array."""
    array = array_of(constant)
    number = onnx_dtype(array.dtype)
    if array.dtype.kind in "OUS" or is_packed(number):
        made = onnx.numpy_helper.from_array(array.astype(object) if array.dtype.kind in "US" else array)
        out.MergeFrom(made)
        return
    out.data_type = number
    out.dims.extend(array.shape)
    out.raw_data = array.tobytes()


def copy_fields(proto: Any, out: Any, rebuilt: Iterable[str]) -> None:
    """Copy every field that is set, except those that are built from the graph."""
    skipped = set(rebuilt)
    for descriptor, value in proto.ListFields():
        if descriptor.name in skipped:
            continue
        if hasattr(value, "extend"):
            getattr(out, descriptor.name).extend(value)
        elif hasattr(value, "CopyFrom"):
            getattr(out, descriptor.name).CopyFrom(value)
        else:
            setattr(out, descriptor.name, value)


def set_text(out: Any, field: str, value: str | None) -> None:
    """Set a string field only where it differs, so that "absent" and "empty" stay what they were."""
    if getattr(out, field) != (value or ""):
        setattr(out, field, value or "")


def set_metadata(out: Any, original: Any, metadata: dict[str, str] | None) -> None:
    """metadata_props: the original's, verbatim, unless the dictionary says otherwise."""
    entries = original.metadata_props if original is not None else ()
    if metadata is None or (len(metadata) == len(entries) and metadata == {e.key: e.value for e in entries}):
        out.metadata_props.extend(entries)
        return
    out.metadata_props.extend(onnx.StringStringEntryProto(key=key, value=value) for key, value in metadata.items())


def export_model(graph: gs.Graph, emit: Emit = copy_inline, emit_attribute: Emit | None = None) -> onnx.ModelProto:
    """The whole model.

    Args:
        graph: the main graph.
        emit: how the values of an initializer are written.
        emit_attribute: how those of a tensor attribute are; as `emit` where not given.
    """
    held = model_sidecar(graph)
    out = onnx.ModelProto()
    copy_fields(held.proto, out, ("graph", "opset_import", "functions", "metadata_props", "ir_version"))
    set_text(out, "producer_name", graph.producer_name)
    set_text(out, "producer_version", graph.producer_version)
    out.opset_import.extend(_opsets(graph))
    out.functions.extend(held.functions)
    out.functions.extend(OnnxExporter.export_function(function) for function in graph.functions)
    set_metadata(out, held.proto, held.metadata)
    out.ir_version = graph.ir_version or onnx.helper.find_min_ir_version_for(list(out.opset_import), True)
    _Exporter(graph, out.ir_version, emit, emit_attribute or emit).run(out.graph)
    return out


def _opsets(graph: gs.Graph) -> list[onnx.OperatorSetIdProto]:
    imports = graph.import_domains
    if imports is None:
        imports = [onnx.OperatorSetIdProto(domain="", version=graph.opset)]
    result = [onnx.OperatorSetIdProto() for _ in imports]
    for entry, made in zip(imports, result, strict=True):
        made.CopyFrom(entry)
        if entry.domain in STANDARD:
            made.version = graph.opset
    known = {entry.domain for entry in result} | set(STANDARD)
    used = {node.domain: None for body in graphs_of(graph) for node in body.nodes if node.domain}
    result += [onnx.OperatorSetIdProto(domain=domain, version=1) for domain in used if domain not in known]
    return result


class _Exporter:
    """Writes one model's graphs; bodies wait in a list, so that nesting costs no stack."""

    def __init__(self, root: gs.Graph, ir_version: int, emit: Emit, emit_attribute: Emit) -> None:
        self.root, self.ir_version, self.opset = root, ir_version, root.opset
        self.emit, self.emit_attribute = emit, emit_attribute
        self.used = {id(t): t for g in graphs_of(root) for t in tensors_of(g) if isinstance(t, gs.Constant)}
        self.shared = self._shared()
        self.jobs: list[tuple[gs.Graph, onnx.GraphProto, frozenset[str]]] = []

    def _shared(self) -> dict[str, gs.Constant]:
        """New constants that several graphs use: the main graph declares them."""
        graphs = graphs_of(self.root)
        owned = {id(tensor) for graph in graphs for tensor in sidecar(graph).constants.values()}
        users = Counter(number for graph in graphs for number in {id(tensor) for tensor in tensors_of(graph)})
        return {t.name: t for t in self.used.values() if id(t) not in owned and users[id(t)] > 1}

    def run(self, out: onnx.GraphProto) -> None:
        self.jobs.append((self.root, out, frozenset()))
        while self.jobs:
            self._graph(*self.jobs.pop())

    def _graph(self, graph: gs.Graph, out: onnx.GraphProto, outer: frozenset[str]) -> None:
        held = sidecar(graph)
        rebuilt = ("name", "node", "initializer", "sparse_initializer", "input", "output", "value_info")
        copy_fields(held.proto, out, (*rebuilt, "metadata_props", "quantization_annotation"))
        if held.proto.HasField("name") or graph.name:
            out.name = graph.name
        set_text(out, "doc_string", graph.doc_string)
        set_metadata(out, held.proto, held.metadata)
        constants = self._constants(graph, held, outer)
        for constant in constants.values():
            self._initializer(constant, out)
        self._inputs(graph, held, out, constants)
        originals = {info.name: info for info in held.proto.output}
        for tensor in graph.outputs:
            fill_port(tensor, originals.get(tensor.name), held, out.output.add())
        scope = outer | constants.keys()
        for node in graph.nodes:
            self._node(node, out.node.add(), scope)
        names = {tensor.name for tensor in tensors_of(graph)} | constants.keys()
        fill_value_info(graph, held, names, out)
        for note in held.proto.quantization_annotation:
            if note.tensor_name in names or note.tensor_name not in held.names:
                out.quantization_annotation.add().CopyFrom(note)

    def _constants(self, graph: gs.Graph, held: Sidecar, outer: frozenset[str]) -> dict[str, gs.Constant]:
        """The initializers of one graph: the original ones that are left, in their order, then new ones."""
        local = {t.name: t for t in tensors_of(graph) if isinstance(t, gs.Constant) and t.name not in outer}
        kept = {}
        for name, original in held.constants.items():
            if name in local:
                kept[name] = local.pop(name)
            elif original.name == name and (
                id(original) in self.used or name in held.unused or name in held.overridable
            ):
                kept[name] = original
        return kept | local | (self.shared if graph is self.root else {})

    def _initializer(self, constant: gs.Constant, out: onnx.GraphProto) -> None:
        held = untouched(constant)
        if not isinstance(held, SparseTensorValues):
            self.emit(constant, out.initializer.add())
            return
        sparse = out.sparse_initializer.add()
        sparse.CopyFrom(held.tensor)
        set_text(sparse.values, "name", constant.name)

    def _inputs(self, graph: gs.Graph, held: Sidecar, out: onnx.GraphProto, constants: dict[str, gs.Constant]) -> None:
        originals = {info.name: info for info in held.proto.input}
        current: dict[str, gs.Tensor] = {tensor.name: tensor for tensor in graph.inputs}
        listed: dict[str, gs.Tensor] = {name: constants[name] for name in originals if name in constants}
        everything = current | {name: tensor for name, tensor in listed.items() if name not in current}
        if [name for name in originals if name in current] == list(current):
            everything = {name: everything[name] for name in originals if name in everything}
        if self.ir_version <= _OLD_IR:
            everything |= {name: tensor for name, tensor in constants.items() if name not in everything}
        for name, tensor in everything.items():
            fill_port(tensor, originals.get(name), held, out.input.add())

    def _node(self, node: gs.Node, out: onnx.NodeProto, scope: frozenset[str]) -> None:
        proto = node_proto(node)
        originals = {attribute.name: attribute for attribute in proto.attribute} if proto is not None else {}
        same = list(originals) == list(node.attrs) and all(
            attributes.holds(originals[name], value) for name, value in node.attrs.items()
        )
        if proto is not None:
            copy_fields(proto, out, ("input", "output", "metadata_props", *(() if same else ("attribute",))))
        set_text(out, "op_type", node.op)
        set_text(out, "name", node.name)
        set_text(out, "domain", node.domain)
        out.input.extend(tensor.name for tensor in node.inputs)
        out.output.extend(tensor.name for tensor in node.outputs)
        set_metadata(out, proto, node.__dict__.get("metadata"))
        if not same:
            for name, value in node.attrs.items():
                self._attribute(node, name, value, originals.get(name), out.attribute.add(), scope)

    def _attribute(
        self,
        node: gs.Node,
        name: str,
        value: Any,
        original: onnx.AttributeProto | None,
        out: onnx.AttributeProto,
        scope: frozenset[str],
    ) -> None:
        if original is not None and attributes.holds(original, value):
            out.CopyFrom(original)
            return
        kind = attributes.start(out, node, name, value, original, self.opset)
        if kind == _A.TENSOR:
            self._tensor(value, out.t)
        elif kind == _A.TENSORS:
            for item in value:
                self._tensor(item, out.tensors.add())
        elif kind == _A.GRAPH:
            self.jobs.append((value, out.g, scope))
        elif kind == _A.GRAPHS:
            self.jobs += [(body, out.graphs.add(), scope) for body in value]
        else:
            attributes.fill_plain(out, kind, value)

    def _tensor(self, value: Any, out: onnx.TensorProto) -> None:
        if isinstance(value, onnx.TensorProto):
            out.CopyFrom(value)
            return
        self.emit_attribute(value if isinstance(value, gs.Constant) else gs.Constant("", np.asarray(value)), out)
