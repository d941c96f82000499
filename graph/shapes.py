"""Element types and shapes of every tensor: onnx's inference plus our own evaluation of shape arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from roofwright.graph.dtypes import NAMES, dtype_name, dtype_number, numpy_dtype
from roofwright.graph.errors import UsageError, printable
from roofwright.graph.partial import Known, known_values
from roofwright.graph.ports import shape_of
from roofwright.graph.sidecar import Shape, sidecar
from roofwright.graph.skeleton import Skeleton, proto_graphs
from roofwright.graph.stepwise import stepwise
from roofwright.graph.values import values_of
from roofwright.graph.walk import graphs_of

DEFAULT_BATCH = 1
DEFAULT_DIM = 128
_MOST_ROUNDS = 5
_LENT = 64  # elements of an outer constant that a body's inference may want the value of
_MISREAD_SLICE = 10  # opset (seen in onnx 1.23)
_OPEN = " open"  # an input of unknown values, in the model that inference sees
_LARGEST_VECTOR = 100_000  # elements of integers that carry shapes; real ones have a handful


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What is known of a tensor; `shape` is None where not even the rank is, a dim is None where it is not known."""

    dtype: str | None
    shape: Shape

    @property
    def is_static(self) -> bool:
        """Whether every dimension is a number."""
        return self.shape is not None and all(isinstance(dim, int) for dim in self.shape)


Infos = dict[str, TensorInfo]


def infer(graph: gs.Graph, dims: Mapping[str, int] | None = None) -> Infos:
    """Element type and shape of every tensor, bodies included, by name.

    Args:
        graph: the main graph.
        dims: None leaves symbolic dimensions as they are. A mapping binds them (name -> size); those that it does not
            name, and unnamed ones, become 1 where they are the first axis of an input (the batch) and 128 elsewhere.

    Returns:
        One entry per tensor. Where two bodies use one name for different things, only what they agree on is stated.

    Raises:
        UsageError: `dims` names a dimension that the model does not have.
    """
    merged: Infos = {}
    for infos in infer_scopes(graph, dims):
        for name, info in infos.items():
            merged[name] = _agreed(merged[name], info) if name in merged else info
    return merged


def _agreed(one: TensorInfo, other: TensorInfo) -> TensorInfo:
    if one == other:
        return one
    dtype = one.dtype if one.dtype == other.dtype else None
    if one.shape is None or other.shape is None or len(one.shape) != len(other.shape):
        return TensorInfo(dtype, None)
    return TensorInfo(dtype, tuple(a if a == b else None for a, b in zip(one.shape, other.shape, strict=True)))


def infer_scopes(
    graph: gs.Graph, dims: Mapping[str, int] | None = None, skeleton: Skeleton | None = None
) -> list[Infos]:
    """As `infer`, one dictionary per graph in the order of `walk.graphs_of`; `skeleton` is used up where given."""
    bound = None if dims is None else assumed_dims(graph, dims)
    return _Inference(graph, bound, skeleton or Skeleton(graph)).run()


def assumed_dims(graph: gs.Graph, dims: Mapping[str, int]) -> dict[str, int]:
    """The size of every symbolic dimension of the inputs; an unnamed one is called `input[axis]`."""
    bound: dict[str, int] = {}
    for tensor in graph.inputs:
        for axis, dim in enumerate(shape_of(tensor) or ()):
            if not isinstance(dim, int):
                name = dim or f"{tensor.name}[{axis}]"
                default = DEFAULT_DIM if axis else DEFAULT_BATCH
                bound[name] = dims.get(name, min(default, bound.get(name, default)))
    declared = {dim for tensor in (*graph.inputs, *graph.outputs) for dim in shape_of(tensor) or ()}
    unknown = [name for name in dims if name not in bound and name not in declared]
    if unknown:
        there = ", ".join(printable(name) for name in bound) or "no symbolic dimension"
        raise UsageError(f"dimension {printable(unknown[0])!r} is not in the model's inputs, which have: {there}")
    return bound | {name: size for name, size in dims.items() if name not in bound}


class _Inference:
    """Rounds of native inference; between them, values and old annotations that it could not find are fed in."""

    def __init__(self, graph: gs.Graph, bound: dict[str, int] | None, skeleton: Skeleton) -> None:
        self.root, self.bound, self.skeleton = graph, bound, skeleton
        self.graphs = graphs_of(graph)
        self.skeleton.forget_declarations()
        self.skeleton.model.ir_version = max(self.skeleton.model.ir_version, 8)  # IR 3 wants weights listed as inputs
        self.symbols = {dim for g in self.graphs for t in (*g.inputs, *g.outputs) for dim in shape_of(t) or ()}
        self.symbols |= {dim for g in self.graphs for _, shape in sidecar(g).recorded.values() for dim in shape or ()}
        self.symbols |= {d.dim_param for g in self.graphs for i in sidecar(g).proto.value_info for d in _dims(i)}
        self.hinted: set[int] = set()
        self.output_ids = {id(tensor) for g in self.graphs for tensor in g.outputs}
        self.stored = [_stored(g) for g in self.graphs]
        self._lend()
        if bound is not None:
            self._bind(bound)

    def _lend(self) -> None:
        """Inference looks for the values of shapes and axes in their reader's own graph: bodies get copies of those."""
        if len(self.graphs) == 1:
            return
        lent = {tensor.name: tensor for tensor in self.skeleton.model.graph.initializer if prod(tensor.dims) <= _LENT}
        for graph, proto in zip(self.graphs[1:], self.skeleton.graphs[1:], strict=True):
            own = {tensor.name for tensor in proto.initializer}
            read = {t.name: t for node in graph.nodes for t in node.inputs if isinstance(t, gs.Constant)}
            proto.initializer.extend(lent[name] for name in read if name in lent and name not in own)

    def _bind(self, bound: dict[str, int]) -> None:
        for info in self.skeleton.model.graph.input:
            for axis, dim in enumerate(_dims(info)):
                name = dim.dim_param or f"{info.name}[{axis}]"
                if not dim.HasField("dim_value") and name in bound:
                    dim.dim_value = bound[name]
        for graph in self.skeleton.graphs:
            for info in graph.output:
                if info.type.HasField("tensor_type") and any(not d.HasField("dim_value") for d in _dims(info)):
                    info.type.tensor_type.ClearField("shape")

    def run(self) -> list[Infos]:
        """The scopes' infos, filled up from annotations."""
        scopes = self._stepwise() or self._rounds()
        for graph, infos in zip(self.graphs, scopes, strict=True):
            self._fill_from_annotations(graph, infos)
        return scopes

    def _stepwise(self) -> list[Infos] | None:
        """One walk, where sizes are numbers and it finds all of them."""
        if self.bound is None or len(self.graphs) > 1:
            return None
        types = stepwise(self.root, self.skeleton)
        if types is None:
            return None
        infos = dict(self.stored[0])
        for name, found in types.items():
            if found.HasField("tensor_type"):
                infos[name] = self._info(found.tensor_type)
        return [infos] if self._is_complete([infos]) else None

    def _rounds(self) -> list[Infos]:
        """Infer until everything is known, nothing new comes, or the rounds are used up."""
        fed: Known = {}
        scopes = self._infer(data_prop=False)
        data_prop = not self._is_complete(scopes) and self._is_tame(scopes)
        for left in reversed(range(_MOST_ROUNDS)):
            scopes = self._infer(data_prop=True) if data_prop else scopes
            if self._is_complete(scopes) or (data_prop and not left):
                break  # what is fed now would not be inferred from any more
            known = known_values(self.graphs, scopes, sidecar(self.root).overridable, fed)
            fresh = {key: value for key, value in known.items() if key not in fed}
            if not (self._feed(fresh) | self._hint(scopes)):
                break
            fed |= fresh
            scopes = scopes if data_prop else self._infer(data_prop=False)
        return scopes

    def _is_tame(self, scopes: list[Infos]) -> bool:
        """Whether onnx may compute with integer vectors: it does, whatever their size, and a chain can double them."""
        found = (info for infos in scopes for info in infos.values() if info.dtype in ("int32", "int64"))
        vectors = (info.shape[0] for info in found if info.shape is not None and len(info.shape) == 1)
        return not any(isinstance(size, int) and size > _LARGEST_VECTOR for size in vectors)

    def _infer(self, *, data_prop: bool) -> list[Infos]:
        while True:
            try:
                model = onnx.shape_inference.infer_shapes(self.skeleton.model, data_prop=data_prop)
            except (onnx.shape_inference.InferenceError, RuntimeError, ValueError, TypeError):
                model = self.skeleton.model  # what is declared is all that is known
            protos = proto_graphs(model.graph)
            scopes = [self._read(stored, proto) for stored, proto in zip(self.stored, protos, strict=True)]
            if self.root.opset != _MISREAD_SLICE or not self._mend_slices(scopes):
                return scopes

    def _mend_slices(self, scopes: list[Infos]) -> bool:
        """Inference of opset 10 hands the name of a dimension through a Slice that cuts it: leave that one open.

        The Slice is given bounds that inference does not know, and a declaration of what else it found.
        """
        found = False
        for graph, proto, infos in zip(self.graphs, self.skeleton.graphs, scopes, strict=True):
            for node, copy in zip(graph.nodes, proto.node, strict=True):
                made = infos.get(node.outputs[0].name) if node.op == "Slice" and node.outputs else None
                if made is None or made.shape is None or made.dtype is None or copy.input[1] == _OPEN:
                    continue
                cut = _cut_axes(node, len(made.shape))
                shape = tuple(None if axis in cut and isinstance(d, str) else d for axis, d in enumerate(made.shape))
                if shape == made.shape:
                    continue
                found = True
                copy.input[1] = _OPEN
                noted = onnx.helper.make_tensor_value_info(node.outputs[0].name, dtype_number(made.dtype), shape)
                proto.value_info.append(noted)
        inputs = self.skeleton.model.graph.input
        if found and not any(port.name == _OPEN for port in inputs):
            inputs.append(onnx.helper.make_tensor_value_info(_OPEN, onnx.TensorProto.INT64, [None]))
        return found

    def _read(self, stored: Infos, proto: onnx.GraphProto) -> Infos:
        infos = dict(stored)
        for info in (*proto.input, *proto.output, *proto.value_info):
            if info.type.HasField("tensor_type"):
                infos[info.name] = self._info(info.type.tensor_type)
        return infos

    def _info(self, declared: onnx.TypeProto.Tensor) -> TensorInfo:
        dtype = NAMES.get(declared.elem_type)
        if not declared.HasField("shape"):
            return TensorInfo(dtype, None)
        return TensorInfo(dtype, tuple(self._dim(dim) for dim in declared.shape.dim))

    def _dim(self, dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
        if dim.HasField("dim_value"):
            return dim.dim_value if dim.dim_value >= 0 else None
        name = dim.dim_param
        if self.bound is not None:
            return self.bound.get(name)
        return name if name in self.symbols and name else None  # inference invents names for what it does not know

    def _is_complete(self, scopes: list[Infos]) -> bool:
        return not any(True for _ in self._unknown(scopes))

    def _unknown(self, scopes: list[Infos]) -> Any:
        for index, (graph, infos) in enumerate(zip(self.graphs, scopes, strict=True)):
            for position, node in enumerate(graph.nodes):
                for tensor in node.outputs:
                    if not tensor.outputs and id(tensor) not in self.output_ids:
                        continue  # e.g. the mask of a Dropout: nobody asks
                    if tensor.name and (tensor.name not in infos or not infos[tensor.name].is_static):
                        yield index, position, tensor

    def _feed(self, fresh: Known) -> bool:
        """Replace nodes whose only output is known by that constant."""
        for (index, position), value in fresh.items():
            proto = self.skeleton.graphs[index].node[position]
            tensor = onnx.numpy_helper.from_array(value)
            proto.CopyFrom(onnx.helper.make_node("Constant", [], list(proto.output), value=tensor))
        return bool(fresh)

    def _hint(self, scopes: list[Infos]) -> bool:
        """Declare what the variable itself says, for tensors that inference knows less of."""
        found = False
        for index, _, tensor in self._unknown(scopes):
            info, noted = scopes[index].get(tensor.name), self._substituted(shape_of(tensor))
            known = None if info is None else info.shape
            news = noted is not None and (known is None or _refined(known, noted) != known)
            name = dtype_name(tensor)
            if not news or name is None or id(tensor) in self.hinted or id(tensor) in self.output_ids:
                continue
            self.hinted.add(id(tensor))
            made = onnx.helper.make_tensor_value_info(tensor.name, dtype_number(name), noted)
            self.skeleton.graphs[index].value_info.append(made)
            found = True
        return found

    def _substituted(self, shape: Shape) -> Shape:
        if shape is None or self.bound is None:
            return shape
        return tuple(dim if isinstance(dim, int) else self.bound.get(dim or "") for dim in shape)

    def _fill_from_annotations(self, graph: gs.Graph, infos: Infos) -> None:
        for node in graph.nodes:
            for tensor in node.outputs:
                if not tensor.name:
                    continue
                found = infos.get(tensor.name, TensorInfo(None, None))
                noted = self._substituted(shape_of(tensor))
                shape = noted if found.shape is None else _refined(found.shape, noted)
                infos[tensor.name] = TensorInfo(found.dtype or dtype_name(tensor), shape)


def _stored(graph: gs.Graph) -> Infos:
    """Of the constants that a graph reads or holds."""
    read = {t.name: t for node in graph.nodes for t in node.inputs if isinstance(t, gs.Constant)}
    return {name: TensorInfo(dtype_name(t), shape_of(t)) for name, t in (read | sidecar(graph).constants).items()}


def _cut_axes(node: gs.Node, rank: int) -> set[int]:
    """The axes that a Slice lists; all where they are not known."""
    axes = node.inputs[3] if len(node.inputs) > 3 else None
    if not isinstance(axes, gs.Constant) or not rank:
        return set(range(rank))
    return {int(axis) % rank for axis in values_of(axes)}


def _refined(shape: tuple[int | str | None, ...], noted: Shape) -> tuple[int | str | None, ...]:
    if noted is None or len(noted) != len(shape):
        return shape
    return tuple(other if dim is None else dim for dim, other in zip(shape, noted, strict=True))


def _dims(info: onnx.ValueInfoProto) -> Any:
    return info.type.tensor_type.shape.dim if info.type.HasField("tensor_type") else ()


def annotate(graph: gs.Graph, infos: list[Infos] | None = None) -> None:
    """Store inferred element types and shapes on the variables that nodes produce, so that rewrites can rely on them.

    Declared outputs of the main graph keep what they declare; only what they leave open is filled in.
    """
    declared = {id(tensor) for tensor in graph.outputs}
    for body, known in zip(graphs_of(graph), infos or infer_scopes(graph), strict=True):
        for node in body.nodes:
            for tensor in node.outputs:
                info = known.get(tensor.name) if tensor.name else None
                if info is None or not isinstance(tensor, gs.Variable) or tensor.type != "tensor_type":
                    continue
                _store(tensor, info, id(tensor) in declared)


def _store(tensor: gs.Variable, info: TensorInfo, keep: bool) -> None:
    if info.dtype is not None and tensor.dtype is None:
        tensor.dtype = numpy_dtype(dtype_number(info.dtype))
    if info.shape is None:
        return
    shape = info.shape if not keep or tensor.shape is None else _refined(shape_of(tensor) or (), info.shape)
    tensor.shape = list(shape)
