"""Which nodes of a graph fold: decided from shapes and small values, before anything large is evaluated."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import View, bodies, dtype_number, key, numpy_dtype
from roofwright.passes.base import Record
from roofwright.passes.cleanup.fold_numpy import MOVES, by_numpy, has_bad_divisor
from roofwright.passes.cleanup.fold_sizes import FOLDABLE, Operand, predicted_elements

Array = NDArray[Any]
Call = tuple[str, list[gs.Tensor], dict[str, Any]]
_READ_ELEMENTS = 1 << 14  # constants up to this size may be read to predict a size or to evaluate with numpy
_LAST_ATTRIBUTE_RESHAPE = 4
_UNKNOWN_ITEMSIZE_BYTES = 8


@dataclass(frozen=True)
class Symbol:
    """A named dimension inside a partly known shape (None stands for one without a name)."""

    name: str


class FoldPlan:
    """One walk over one graph in topological order.

    Attributes:
        values: what is known, by tensor id; of dtype object: a shape of which some dimensions are not known.
        folded: the nodes that go, by id, in order.
        deferred: those of them that numpy does not evaluate.
        refusals: near misses.
    """

    def __init__(self, view: View, limit_bytes: int, *, floats: bool = True) -> None:
        """Nothing is decided yet; call `visit` with every node. `floats`: floating-point results may fold."""
        self.view, self.limit_bytes, self.floats = view, limit_bytes, floats
        self.values: dict[int, Array] = {}
        self.folded: dict[int, gs.Node] = {}
        self.deferred: list[gs.Node] = []
        self.refusals: list[Record] = []
        self._sizes: dict[int, Operand] = {}  # of deferred tensors
        self._freed_bytes: dict[int, int] = {}  # the constants that go when the tensor goes

    def visit(self, node: gs.Node) -> None:
        """Decide about one node; its producers were visited before."""
        if not self._is_candidate(node):
            return
        if node.op in ("Shape", "Size"):
            self._keep(node, self._of_shape(node))
            return
        op, inputs, attrs = self.call(node)
        if not op or any(tensor.name and not self._is_known(tensor) for tensor in inputs):
            return
        arguments = [self._small(tensor) if tensor.name else None for tensor in inputs]
        if any(argument is not None and argument.dtype == object for argument in arguments):
            self._keep(node, _moved(op, arguments, attrs))
            return
        elements, reason = self._predict(node, op, inputs, arguments, attrs)
        if not self.floats and any("float" in (self.view.dtype(tensor) or "") for tensor in node.outputs):
            reason = "it folds floating-point values ('rounding'), only 'exact' is allowed"
        if reason:
            self.refuse(node, reason)
            return
        if op in MOVES:
            arguments = [self._whole(tensor) for tensor in inputs]
        complete = all(a is not None or not t.name for a, t in zip(arguments, inputs, strict=True))
        value = by_numpy(op, arguments, attrs) if complete and len(node.outputs) == 1 else None
        self._defer(node, elements) if value is None else self._keep(node, value)

    def call(self, node: gs.Node) -> Call:
        """Operator, inputs and attributes, tensors as arrays and a CastLike as the Cast that it is (case 3)."""
        if node.op == "CastLike":
            name = self.view.dtype(node.inputs[1]) or self.view.dtype(node.outputs[0])
            return ("", [], {}) if name is None else ("Cast", [node.inputs[0]], {"to": dtype_number(name)})
        attrs = {k: self.view.index.values(v) if isinstance(v, gs.Constant) else v for k, v in node.attrs.items()}
        return node.op, list(node.inputs), attrs

    def refuse(self, node: gs.Node, reason: str) -> None:
        """Leave a node alone, with a reason."""
        self.folded.pop(id(node), None)
        self.refusals.append(Record("fold", key(node), node.op, applied=False, reason=reason))

    def is_needed(self, tensor: gs.Tensor) -> bool:
        """Whether anything that stays reads the output of a folded node."""
        stays = any(id(reader) not in self.folded for reader in self.view.consumers(tensor))
        return bool(tensor.name) and (stays or self.view.is_output(tensor))

    # ---- what is known
    def _is_candidate(self, node: gs.Node) -> bool:
        if node.op not in FOLDABLE or not self.view.is_op(node, node.op) or bodies(node) or not node.inputs:
            return False
        if not any(tensor.outputs or self.view.is_output(tensor) for tensor in node.outputs):
            return False
        old_reshape = node.op == "Reshape" and self.view.opset <= _LAST_ATTRIBUTE_RESHAPE
        return not old_reshape and all(self.view.dtype(tensor) != "string" for tensor in (*node.inputs, *node.outputs))

    def _is_known(self, tensor: gs.Tensor) -> bool:
        return id(tensor) in self.values or id(tensor) in self._sizes or self.view.is_constant(tensor)

    def _small(self, tensor: gs.Tensor) -> Array | None:
        if id(tensor) in self.values:
            return self.values[id(tensor)]
        if not self.view.is_constant(tensor):
            return None
        shape = tensor.shape
        return self.view.constant_value(tensor) if shape is None or prod(shape) <= _READ_ELEMENTS else None

    def _whole(self, tensor: gs.Tensor) -> Array | None:
        known = self.values.get(id(tensor))
        return self.view.constant_value(tensor) if known is None else known

    def _of_shape(self, node: gs.Node) -> Array | None:
        """Case 2."""
        shape = node.inputs[0].shape
        if shape is None:
            return None
        if node.op == "Size":
            return np.asarray(prod(shape), np.int64) if self.view.static_shape(node.inputs[0]) is not None else None
        dims = list(shape)[slice(self.view.attr(node, "start", 0), self.view.attr(node, "end"))]
        partial = np.empty(len(dims), object)
        partial[:] = [Symbol(dim) if isinstance(dim, str) else dim for dim in dims]
        return _completed(partial)

    # ---- sizes
    def _predict(
        self, node: gs.Node, op: str, inputs: list[gs.Tensor], arguments: list[Array | None], attrs: dict[str, Any]
    ) -> tuple[int, str]:
        """The elements of each output, and why the node must not be evaluated: empty where it may."""
        if has_bad_divisor(op, arguments) and self.view.dtype(node.outputs[0]) not in ("float32", "float16", "float64"):
            return 0, "it divides integers by 0 or -1, or by a value that is not known yet"
        operands = [self._operand(tensor, value) for tensor, value in zip(inputs, arguments, strict=True)]
        elements = predicted_elements(op, operands, attrs)
        if elements is None:
            return 0, "the size of its result cannot be predicted"
        freed = sum({id(tensor): self._freed_by(tensor) for tensor in inputs if tensor.name}.values())
        predicted = sum(elements * self._itemsize_bytes(tensor) for tensor in node.outputs)
        limit = max(self.limit_bytes, freed)
        if predicted > limit:
            return 0, f"its result is predicted to have {predicted} bytes, above the limit of {limit}"
        self._freed_bytes.update({id(tensor): freed // len(node.outputs) for tensor in node.outputs})
        return elements, ""

    def _operand(self, tensor: gs.Tensor, value: Array | None) -> Operand | None:
        if not tensor.name:
            return None
        if value is not None:
            return Operand(value.shape, value.size, value)
        if id(tensor) in self._sizes:
            return self._sizes[id(tensor)]
        shape = self.view.static_shape(tensor)
        return None if shape is None else Operand(shape, prod(shape))

    def _itemsize_bytes(self, tensor: gs.Tensor) -> int:
        name = self.view.dtype(tensor)
        return _UNKNOWN_ITEMSIZE_BYTES if name is None else numpy_dtype(dtype_number(name)).itemsize

    def _freed_by(self, tensor: gs.Tensor) -> int:
        if len(self.view.consumers(tensor)) != 1 or self.view.is_output(tensor):
            return 0
        return int(tensor._values.nbytes) if isinstance(tensor, gs.Constant) else self._freed_bytes.get(id(tensor), 0)

    # ---- outcomes
    def _keep(self, node: gs.Node, value: Array | None) -> None:
        if value is None:
            return
        self.values[id(node.outputs[0])] = value
        if value.dtype != object:
            self.folded[id(node)] = node

    def _defer(self, node: gs.Node, elements: int) -> None:
        self.deferred.append(node)
        self.folded[id(node)] = node
        for tensor in node.outputs:
            shape = self.view.static_shape(tensor)
            fits = shape is not None and prod(shape) <= elements
            self._sizes[id(tensor)] = Operand(shape if fits else None, elements)


def _moved(op: str, arguments: list[Array | None], attrs: dict[str, Any]) -> Array | None:
    """A partly known shape, moved by a node that does no arithmetic."""
    if op == "Cast":
        return arguments[0] if attrs["to"] == dtype_number("int64") else None
    value = by_numpy(op, arguments, attrs)
    return None if value is None else _completed(value)


def _completed(value: Array) -> Array:
    """A shape as an ordinary integer array, where every dimension is known."""
    is_complete = all(isinstance(item, (int, np.integer)) for item in value.reshape(-1))
    return value.astype(np.int64) if is_complete else value
