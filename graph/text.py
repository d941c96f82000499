"""The canonical text of a graph: readable, deterministic, the same for every order of nodes and every internal name."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from roofwright.graph.digest import constant_type, describe, plain
from roofwright.graph.dtypes import dtype_name, short_name
from roofwright.graph.errors import printable
from roofwright.graph.onnx_io import read
from roofwright.graph.ports import shape_of
from roofwright.graph.sidecar import model_sidecar, sidecar
from roofwright.graph.traversal import canonical_order

OURS = "roofwright."
_LONGEST_METADATA = 60


def canonical_text(graph: gs.Graph | onnx.ModelProto, weights: bool = True) -> str:
    """The text of a whole model.

    Nodes come in the order in which a depth-first walk from the outputs completes them, so neither their order in the
    file nor internal names matter; values are numbered in that order, inputs and outputs keep their names.

    Args:
        graph: a main graph, or a model to read.
        weights: show a digest and two statistics of each weight; off, types only (weights stay unread).
    """
    root = read(graph) if isinstance(graph, onnx.ModelProto) else graph
    return "\n".join(_Printer(root, weights, names=True).lines()) + "\n"


class _Printer:
    """Prints graph after graph; a body is printed, indented, under the node that holds it."""

    def __init__(self, root: gs.Graph, weights: bool, names: bool) -> None:
        self.root, self.weights, self.names = root, weights, names
        self.labels: dict[int, str] = {}
        self.count = 0

    def lines(self) -> Iterator[str]:
        """The whole text, line by line."""
        opsets = ", ".join(f"{printable(domain) or 'ai.onnx'} {version}" for domain, version in self._opsets())
        yield f"model opset {opsets} ir {self.root.ir_version}"
        pending: list[Iterator[str | Iterator[str]]] = [self._graph(self.root, "")]
        while pending:  # a stack of generators instead of recursion
            item = next(pending[-1], None)
            if item is None:
                pending.pop()
            elif isinstance(item, str):
                yield item
            else:
                pending.append(item)
        yield from self._model_metadata()

    def _opsets(self) -> list[tuple[str, int]]:
        imports = self.root.import_domains or []
        others = {entry.domain: entry.version for entry in imports if entry.domain not in ("", "ai.onnx")}
        return [("", self.root.opset), *sorted(others.items())]

    def _model_metadata(self) -> Iterator[str]:
        if not self.names:
            return
        held = model_sidecar(self.root)
        metadata = held.metadata or {entry.key: entry.value for entry in held.proto.metadata_props}
        for key in sorted(key for key in metadata if key.startswith(OURS)):
            yield f"{key.removeprefix(OURS)} = {_short(metadata[key])}"
        for function in sorted(held.functions, key=lambda f: (f.domain, f.name, f.overload)):
            yield f"function {printable(function.domain)}.{printable(function.name)}: {len(function.node)} nodes"

    def _graph(self, graph: gs.Graph, indent: str) -> "Iterator[str | Iterator[Any]]":
        for position, tensor in enumerate(graph.inputs):
            self.labels[id(tensor)] = self._port(graph, tensor, f"in{position}")
            yield f"{indent}input {self.labels[id(tensor)]}: {_type(tensor)}"
        for name in sorted(sidecar(graph).overridable):
            yield f"{indent}default {printable(name) if self.names else '-'}"
        outputs = {id(tensor): position for position, tensor in reversed(list(enumerate(graph.outputs)))}
        for node in canonical_order(graph):
            for tensor in node.outputs:
                if tensor.name:
                    own = self._port(graph, tensor, f"out{outputs.get(id(tensor))}") if id(tensor) in outputs else None
                    self.labels[id(tensor)] = own or self._number()
            yield from self._node(node, indent)
        for tensor in graph.outputs:
            yield f"{indent}output {self._operand(tensor)}: {_type(tensor)}"

    def _port(self, graph: gs.Graph, tensor: gs.Tensor, position: str) -> str:
        if graph is self.root:
            return printable(tensor.name) if self.names else position
        return self._number()

    def _number(self) -> str:
        self.count += 1
        return f"%{self.count - 1}"

    def _node(self, node: gs.Node, indent: str) -> "Iterator[str | Iterator[Any]]":
        made = ", ".join(f"{self.labels[id(t)]}: {self._shown(t)}" if t.name else "-" for t in node.outputs)
        domain = f"{printable(node.domain)}." if node.domain not in (None, "", "ai.onnx") else ""
        operands = [self._operand(tensor, position) for position, tensor in enumerate(node.inputs)]
        attrs = "".join(f" {printable(name)}={self._attr(value)}" for name, value in sorted(node.attrs.items()))
        marks = self._marks(node) if self.names else ""
        yield f"{indent}{made} = {domain}{printable(node.op)}({', '.join(operands)}){attrs}{marks}"
        for position, tensor in enumerate(node.inputs):
            if operands[position] == f"[{position}]" and isinstance(tensor, gs.Constant):
                yield f"{indent}    [{position}] {describe(tensor, self.weights)}"
        for name, value in sorted(node.attrs.items()):
            for body in value if isinstance(value, list) else [value]:
                if isinstance(body, gs.Graph):
                    yield f"{indent}  {printable(name)}:"
                    yield self._graph(body, indent + "    ")

    def _shown(self, tensor: gs.Tensor) -> str:
        return _type(tensor) if self.names else "?"

    def _operand(self, tensor: gs.Tensor, position: int | None = None) -> str:
        if not tensor.name:
            return "-"
        if id(tensor) in self.labels:
            return self.labels[id(tensor)]
        if not isinstance(tensor, gs.Constant):
            return f"?{printable(tensor.name)}"
        if self.names and tensor.name in sidecar(self.root).overridable:
            return printable(tensor.name)
        return plain(tensor) or (f"[{position}]" if position is not None else describe(tensor, self.weights))

    def _attr(self, value: Any) -> str:
        if isinstance(value, gs.Graph):
            return "{...}"
        if isinstance(value, gs.Constant):
            return plain(value) or describe(value, self.weights)
        if isinstance(value, (list, tuple)):
            return f"[{','.join(self._attr(item) for item in value)}]"
        if isinstance(value, (str, bytes)):
            return f'"{printable(value)}"'
        if isinstance(value, (float, np.floating)):
            return str(np.float32(value))  # attributes are stored as 32-bit: 1e-05, not 9.9999997e-06
        if isinstance(value, (int, np.integer)):
            return str(int(value))
        if isinstance(value, np.ndarray):
            return describe(gs.Constant("", value), self.weights)
        return printable(" ".join(str(value).split()))

    def _marks(self, node: gs.Node) -> str:
        metadata = node.__dict__.get("metadata")
        if metadata is None:
            proto = node.__dict__.get("proto")
            metadata = {e.key: e.value for e in proto.metadata_props} if proto is not None else {}
        ours = sorted(key for key in metadata if key.startswith(OURS))
        return "".join(f" ; {key.removeprefix(OURS)}={_short(metadata[key])}" for key in ours)


def _type(tensor: gs.Tensor) -> str:
    if isinstance(tensor, gs.Constant):
        return constant_type(tensor)
    if isinstance(tensor, gs.Variable) and tensor.type != "tensor_type":
        return tensor.type.removesuffix("_type")
    shape = shape_of(tensor)
    dims = "..." if shape is None else ",".join("?" if dim is None else printable(dim) for dim in shape)
    return f"{short_name(dtype_name(tensor))}[{dims}]"


def _short(value: str) -> str:
    from hashlib import sha256

    if len(value) <= _LONGEST_METADATA and "\n" not in value:
        return printable(value)
    return f"<{len(value)} characters sha={sha256(value.encode()).hexdigest()[:8]}>"


def structural_hash(graph: gs.Graph | onnx.ModelProto, ignore_names: bool = True) -> str:
    """A digest that two models share where they compute the same thing the same way.

    Args:
        graph: a main graph, or a model to read.
        ignore_names: leave names of inputs and outputs, shapes of intermediate values and our metadata out.

    Returns:
        64 hexadecimal digits.
    """
    from hashlib import sha256

    root = read(graph) if isinstance(graph, onnx.ModelProto) else graph
    digest = sha256()
    for line in _Printer(root, weights=True, names=not ignore_names).lines():
        digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
