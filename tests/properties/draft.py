"""A small model under construction: nodes are tried one by one, so that whatever is drawn comes out valid."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]
Attrs = dict[str, Any]
_AXES_INPUT = {"Squeeze": 13, "Unsqueeze": 13, "ReduceSum": 13, "ReduceMean": 18, "ReduceMax": 18, "ReduceL2": 18}
_SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e4, 3e38)
_MOST_ELEMENTS = 20_000


class Invalid(Exception):
    """What was drawn is no valid node here; the block that drew it is left out."""


class Draft:
    """Nodes, constants and one input; values are drawn by hypothesis, the plainest ones first.

    Attributes:
        opset: of the default domain; methods write each operator in its form there.
        dtype: of the data.
        values: tensors that blocks made, the input first; later ones may be read again.
    """

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any], opset: int, dtype: Any, size: Sequence[int]):
        """A model with the input `x` of that size and no node."""
        self.draw, self.opset, self.dtype = draw, opset, np.dtype(dtype)
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, Array] = {}
        self.input = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(self.dtype), list(size))
        self.values = ["x"]
        self._count = 0
        self._known: dict[str, onnx.ValueInfoProto] = {"x": self.input}

    # ---- drawing
    def pick(self, *options: Any) -> Any:
        """One of the options; simpler ones stand first."""
        return options[self.draw(st.integers(0, len(options) - 1))]

    def rarely(self) -> bool:
        """True once in a while."""
        return bool(self.pick(False, False, False, True))

    # ---- asking
    def shape(self, name: str) -> tuple[int, ...]:
        """The size of a tensor; Invalid where it is not known."""
        if name in self.arrays:
            return self.arrays[name].shape
        kind = self._known[name].type.tensor_type
        dims = kind.shape.dim
        if not kind.HasField("shape") or any(not dim.HasField("dim_value") for dim in dims):
            raise Invalid(f"{name} has no known shape")
        return tuple(dim.dim_value for dim in dims)

    def rank(self, name: str) -> int:
        """Its number of axes."""
        return len(self.shape(name))

    # ---- writing
    def const(self, values: Any, dtype: Any = None) -> str:
        """A new constant, in the data's type where no other is given."""
        name = self._name("c")
        with np.errstate(all="ignore"):
            self.arrays[name] = np.asarray(values).astype(self.dtype if dtype is None else dtype)
        return name

    def ints(self, *values: int) -> str:
        """A vector of int64."""
        return self.const(values, np.int64)

    def weight(self, *shape: int) -> str:
        """Numbers of that shape: normal ones; sometimes with zeros, ones, or very small and large ones among them."""
        rng = np.random.default_rng(self._count)
        values = rng.standard_normal(shape) * (1 if self.dtype.kind == "f" else 3)
        kind = self.pick("normal", "normal", "normal", "rows of zeros", "zeros", "ones", "special")
        if kind == "rows of zeros" and values.ndim:
            values[:: self.pick(2, 1, 3)] = 0
        elif kind in ("zeros", "ones"):
            values = np.full(shape, float(kind == "ones"))
        elif kind == "special":
            values = np.where(rng.random(shape) < 0.3, self.pick(*_SPECIAL), values)
        return self.const(values)

    def number(self, value: float) -> str:
        """One number, as a scalar or a vector of one; sometimes not quite the one that was asked for."""
        value = self.pick(value, value, value, value, value * (1 + 2**-20), value + 0.01, 0.0)
        return self.const(np.full(self.pick((), (), (1,), (1, 1)), value))

    def add(self, op: str, *inputs: str, **attrs: Any) -> str:
        """A node with one output; its name. Invalid where the operators' definitions do not allow it."""
        return self.many(op, 1, *inputs, **attrs)[0]

    def many(self, op: str, outputs: int, *inputs: str, **attrs: Any) -> list[str]:
        """A node with several outputs; their names."""
        if "axes" in attrs and self.opset >= _AXES_INPUT.get(op, 99):
            inputs = (*inputs, self.ints(*attrs.pop("axes")))
        names = [self._name("t") for _ in range(outputs)]
        node = helper.make_node(op, inputs, names, **attrs)
        self.nodes.append(node)
        try:
            self._infer(node)
        except Exception as error:  # of several classes; the node is taken back
            self.nodes.pop()
            raise Invalid(str(error)) from None
        self.values += names
        return names

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def _infer(self, node: onnx.NodeProto) -> None:
        proto = self.proto(list(node.output))
        found = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
        for info in found.graph.output:
            dims = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
            if np.prod([float(dim) for dim in dims]) > _MOST_ELEMENTS or not all(0 <= dim <= 512 for dim in dims):
                raise Invalid("too large, or windows that do not fit")
            self._known[info.name] = info
        onnx.checker.check_model(self.proto(list(node.output)))

    def proto(self, outputs: Sequence[str], ir: int = 8) -> onnx.ModelProto:
        """The model so far, with these outputs."""
        read = {name for node in self.nodes for name in node.input}
        constants = [numpy_helper.from_array(values, name) for name, values in self.arrays.items() if name in read]
        ports = [self._known.get(name) or onnx.ValueInfoProto(name=name) for name in outputs]
        graph = helper.make_graph(self.nodes, "g", [self.input], ports, constants)
        return helper.make_model(graph, ir_version=ir, opset_imports=[helper.make_opsetid("", self.opset)])

    def saved(self) -> tuple[int, int]:
        """A point to return to."""
        return len(self.nodes), len(self.values)

    def restore(self, point: tuple[int, int]) -> None:
        """Take back all nodes since."""
        del self.nodes[point[0] :], self.values[point[1] :]

    # ---- operators that opsets write in several ways
    def pad(self, x: str, pads: Sequence[int], value: float = 0.0, mode: str = "constant") -> str:
        """Pad."""
        if self.opset < 11:
            return self.add("Pad", x, pads=list(pads), value=value, mode=mode)
        return self.add("Pad", x, self.ints(*pads), self.const(value), mode=mode)

    def clip(self, x: str, low: float | None, high: float | None) -> str:
        """Clip; None leaves a bound out."""
        if self.opset >= 11:
            return self.add("Clip", x, *("" if bound is None else self.const(bound) for bound in (low, high)))
        return self.add("Clip", x, **{n: v for n, v in (("min", low), ("max", high)) if v is not None})

    def slice(self, x: str, start: int, end: int, axis: int, step: int = 1) -> str:
        """Slice of one axis."""
        if self.opset < 10:
            return self.add("Slice", x, starts=[start], ends=[end], axes=[axis])
        return self.add("Slice", x, *(self.ints(value) for value in (start, end, axis, step)))

    def split(self, x: str, parts: Sequence[int], axis: int) -> list[str]:
        """Split into parts of these sizes."""
        if self.opset < 13:
            return self.many("Split", len(parts), x, axis=axis, split=list(parts))
        return self.many("Split", len(parts), x, self.ints(*parts), axis=axis)

    def reshape(self, x: str, *shape: int) -> str:
        """Reshape."""
        return self.add("Reshape", x, self.ints(*shape))

    def product(self, a: str, b: str) -> str:
        """Mul with the operands in either order."""
        return self.add("Mul", *self.pick((a, b), (b, a)))

    def sum(self, a: str, b: str) -> str:
        """Add, with the operands in either order."""
        return self.add("Add", *self.pick((a, b), (b, a)))

    def broadcast(self, x: str) -> str:
        """A constant that an elementwise operator takes beside `x`, of every class of shapes."""
        size = self.shape(x)
        channels = size[1] if len(size) > 1 else 1
        ones = (1,) * max(0, len(size) - 2)
        shape = self.pick(
            (), (1,), (channels, *ones), (1, channels, *ones), size[-1:], (1,) * len(size), size[1:], size,
            size[-2:], (*size[:1], *(1,) * (len(size) - 1)), (1, *size), (2, *(1,) * len(size)), (*ones, channels),
        )  # fmt: skip
        return self.weight(*shape)
