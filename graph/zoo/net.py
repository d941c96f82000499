"""The ModelProto under construction: values with shapes, weights, constants and nodes, written once and in place."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from roofwright.graph.zoo.seeded import uniform_bytes

_OPSET = 17
_IR_VERSION = 8  # the one that came with opset 17


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the graph: its name, static shape and element type."""

    name: str
    shape: tuple[int, ...]
    dtype: int = TensorProto.FLOAT

    @property
    def channels(self) -> int:
        """Size of the channel dimension of an NCHW tensor."""
        return self.shape[1]


Attribute = int | float | str | Sequence[int]


class Net:
    """A graph being built. Every node is named after its first output, every weight after the node that reads it.

    The protos are filled in place: a weight is written once, never copied from one message into another.
    """

    def __init__(self, name: str, *, weights: bool) -> None:
        """Start an empty graph.

        Args:
            name: of the graph; with the name of a tensor it seeds that tensor's weights.
            weights: False leaves float weights without data.
        """
        self._seed = name
        self._weights = weights
        self.model = onnx.ModelProto(ir_version=_IR_VERSION, producer_name="roofwright.zoo")
        self.model.opset_import.add(domain="", version=_OPSET)
        self._graph = self.model.graph
        self._graph.name = name
        self._constants: set[str] = set()

    def input(self, name: str, shape: tuple[int, ...], dtype: int = TensorProto.FLOAT) -> Value:
        """Declare a graph input."""
        self._declare(self._graph.input.add(), value := Value(name, shape, dtype))
        return value

    def output(self, *values: Value) -> onnx.ModelProto:
        """Declare the graph's outputs and hand the finished model over."""
        names = {value.name for value in values}
        inner = [info for info in self._graph.value_info if info.name not in names]
        del self._graph.value_info[:]
        self._graph.value_info.extend(inner)
        for value in values:
            self._declare(self._graph.output.add(), value)
        return self.model

    def weight(self, name: str, shape: tuple[int, ...], *, center: float = 0.0, spread: float) -> str:
        """Add a float32 weight, uniform in [center - spread, center + spread), seeded by graph name and weight name."""
        tensor = self._graph.initializer.add(name=name, data_type=TensorProto.FLOAT, dims=shape)
        if self._weights:
            tensor.raw_data = uniform_bytes(f"{self._seed}/{name}", prod(shape), center, spread)
        return name

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        """Add a constant with given content, once per name."""
        if name not in self._constants:
            self._graph.initializer.append(numpy_helper.from_array(array, name))
            self._constants.add(name)
        return name

    def ints(self, name: str, values: Sequence[int]) -> str:
        """Add a one-dimensional int64 constant."""
        return self.constant(name, np.array(values, np.int64))

    def scalar(self, name: str, value: float) -> str:
        """Add a float32 constant of rank 0; several nodes may share it."""
        return self.constant(name, np.array(value, np.float32))

    def op(
        self,
        op_type: str,
        name: str,
        inputs: Sequence[Value | str],
        shape: tuple[int, ...],
        *,
        dtype: int = TensorProto.FLOAT,
        **attributes: Attribute,
    ) -> Value:
        """Add a node with one output, both called `name`."""
        return self.split_op(op_type, name, inputs, (Value(name, shape, dtype),), **attributes)[0]

    def split_op(
        self, op_type: str, name: str, inputs: Sequence[Value | str], outputs: Sequence[Value], **attributes: Attribute
    ) -> Sequence[Value]:
        """Add a node with the given outputs."""
        node = self._graph.node.add(op_type=op_type, name=name)
        node.input.extend(x.name if isinstance(x, Value) else x for x in inputs)
        node.output.extend(value.name for value in outputs)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        for value in outputs:
            self._declare(self._graph.value_info.add(), value)
        return outputs

    @staticmethod
    def _declare(info: onnx.ValueInfoProto, value: Value) -> None:
        info.name = value.name
        tensor = info.type.tensor_type
        tensor.elem_type = value.dtype
        tensor.shape.dim.extend(onnx.TensorShapeProto.Dimension(dim_value=size) for size in value.shape)
