"""A model without its weights: all that the checker and shape inference need, in kilobytes."""

from math import prod

import onnx
import onnx_graphsurgeon as gs

from roofwright.graph.dtypes import onnx_dtype
from roofwright.graph.errors import InvalidModelError, printable
from roofwright.graph.exporter import copy_inline, export_model, fill_header, fill_values
from roofwright.graph.external import is_external
from roofwright.graph.sidecar import sidecar
from roofwright.graph.tensors import attribute_graphs
from roofwright.graph.values import untouched

_LARGEST_KEPT_BYTES = 1024  # shapes, axes, scales: what inference may need to see the values of


class Skeleton:
    """The model as a proto whose larger weights have dims and type, but no data.

    Attributes:
        model: the proto.
        graphs: its graphs, in the order of `walk.graphs_of`.
    """

    def __init__(self, graph: gs.Graph) -> None:
        """Export `graph` without its weights."""
        self._bare: list[tuple[onnx.TensorProto, tuple[int, ...]]] = []
        self.model = export_model(graph, self._emit)
        self.model.ClearField("training_info")
        self.graphs = proto_graphs(self.model.graph)
        self._overridable = sidecar(graph).overridable

    @property
    def with_data(self) -> set[str]:
        """Initializers of the main graph whose values are there."""
        bare = {tensor.name for tensor, _ in self._bare}
        return {tensor.name for tensor in self.model.graph.initializer if tensor.name not in bare}

    def _emit(self, constant: gs.Constant, out: onnx.TensorProto) -> None:
        shape = tuple(int(dim) for dim in constant.shape)
        if prod(shape) * 16 <= _LARGEST_KEPT_BYTES or constant._values.nbytes <= _LARGEST_KEPT_BYTES:
            held = untouched(constant)
            if held is None or not is_external(held.tensor):
                copy_inline(constant, out)
                return
            fill_header(constant, out)
            fill_values(constant, out)
            return
        out.name = constant.name
        out.data_type = onnx_dtype(constant.dtype)
        out.dims.extend(shape)
        self._bare.append((out, shape))

    def check(self) -> None:
        """onnx.checker's verdict, as one line."""
        for tensor, _ in self._bare:  # a tensor without data is valid where it is empty
            tensor.dims[:] = [0]
        try:
            onnx.checker.check_model(self.model)
        except (onnx.checker.ValidationError, ValueError, RuntimeError, TypeError, UnicodeDecodeError) as error:
            raise InvalidModelError(one_line(str(error))) from None
        finally:
            for tensor, shape in self._bare:
                tensor.dims[:] = shape

    def forget_declarations(self) -> None:
        """Drop what the file says of intermediate tensors and of defaults that a caller may override."""
        for graph in self.graphs:
            del graph.value_info[:]
        kept = [tensor for tensor in self.model.graph.initializer if tensor.name not in self._overridable]
        if len(kept) != len(self.model.graph.initializer):
            copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
            del self.model.graph.initializer[:]
            self.model.graph.initializer.extend(copies)


def proto_graphs(root: onnx.GraphProto) -> list[onnx.GraphProto]:
    """A graph proto and every body below it, in the order of `walk.graphs_of`."""
    found, position = [root], 0
    while position < len(found):
        for node in found[position].node:
            for attribute in node.attribute:
                if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
                    found += attribute_graphs(attribute)
        position += 1
    return found


def one_line(message: str) -> str:
    """A native library's message as one line that names the node."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if not lines:
        return "the model breaks the ONNX rules"
    context = next((line.removeprefix("==> Context:").strip() for line in lines[1:] if "==> Context" in line), "")
    text = f"{lines[0]} [{context}]" if context else lines[0]
    return "".join(c if c.isprintable() else printable(c) for c in text)[:400]
