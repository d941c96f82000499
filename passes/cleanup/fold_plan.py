"""Which nodes of a graph fold: decided from shapes and small values, before anything large is evaluated."""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import View, dtype_number, key, numpy_dtype
from roofwright.passes.base import Record
from roofwright.passes.cleanup.dim_rules import tell
from roofwright.passes.cleanup.dims import SymbolicShapes
from roofwright.passes.cleanup.fold_budget import Budget, too_large
from roofwright.passes.cleanup.fold_numpy import MOVES, by_numpy, has_bad_divisor
from roofwright.passes.cleanup.fold_sizes import FOLDABLE, Operand, predicted_elements
from roofwright.passes.cleanup.symbols import Symbol, Symbols, computed

Array = NDArray[Any]
Call = tuple[str, list[gs.Tensor], dict[str, Any]]
_READ_ELEMENTS = 1 << 14  # constants up to this size may be read to predict a size or to evaluate with numpy
_LAST_ATTRIBUTE_RESHAPE = 4
_FIRST_CONSTANT_OF_ALL, _FIRST_TYPES = 9, ("float16", "float32", "float64")  # types of Constant before
_MOST_PICKS = 64
_UNKNOWN_ITEMSIZE_BYTES = 8


class FoldPlan:
    """One walk over one graph in topological order.

    Attributes:
        values: what is known, by tensor id; of dtype object: integers of which some are symbols.
        shapes: the dimensions of every tensor, with a symbol for each that is not known.
        folded: the nodes that go, by id, in order.
        deferred: those of them that numpy does not evaluate.
        refusals: near misses.
    """

    def __init__(
        self, view: View, limit_bytes: int, *, floats: bool = True, denied: Mapping[int, str] | None = None
    ) -> None:
        """Nothing is decided yet; call `visit` with every node.

        Args:
            view: the graph.
            limit_bytes: of one result, or the bytes of the constants that go with it.
            floats: floating-point results may fold.
            denied: nodes, by id, that must stay, with the reason.
        """
        self.view, self.floats, self.denied = view, floats, denied or {}
        self.budget = Budget(view, limit_bytes)
        self.values: dict[int, Array] = {}
        self.shapes = SymbolicShapes(view, Symbols(), self.values)
        self._unranked: dict[int, gs.Tensor] = {}  # what Shape makes -> what it reads, where not even the rank is known
        self.folded: dict[int, gs.Node] = {}
        self.deferred: list[gs.Node] = []
        self.refusals: list[Record] = []
        self._sizes: dict[int, Operand] = {}  # of deferred tensors
        self._alive: list[gs.Tensor] = []  # what has an entry, so that no new tensor gets the id of one that went

    def visit(self, node: gs.Node) -> None:
        """Decide about one node; its producers were visited before."""
        tell(self.shapes, node)
        if not self._is_candidate(node):
            return
        if node.op in ("Shape", "Size"):
            self._keep(node, self._of_shape(node))
            return
        op, inputs, attrs = self.call(node)
        if op == "Gather" and id(inputs[0]) in self._unranked:
            self._keep(node, self._of_unranked(self._unranked[id(inputs[0])], self._small(inputs[1])))
            return
        if not op or any(tensor.name and not self._is_known(tensor) for tensor in inputs):
            return
        arguments = [self._small(tensor) if tensor.name else None for tensor in inputs]
        if any(argument is not None and argument.dtype == object for argument in arguments):
            self._keep(node, self._with_symbols(node, op, arguments, attrs))
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
        return stays or self.view.is_output(tensor)

    # ---- what is known
    def _is_candidate(self, node: gs.Node) -> bool:
        if node.op not in FOLDABLE or not self.view.is_op(node, node.op):
            return False
        outputs = [tensor for tensor in node.outputs if self.view.is_output(tensor)]
        if not outputs and not any(tensor.outputs for tensor in node.outputs):
            return False
        if self.view.opset < _FIRST_CONSTANT_OF_ALL and any(self.view.dtype(t) not in _FIRST_TYPES for t in outputs):
            return False  # no Constant could make the output
        old_reshape = node.op == "Reshape" and self.view.opset <= _LAST_ATTRIBUTE_RESHAPE
        return not old_reshape and all(self.view.dtype(tensor) != "string" for tensor in (*node.inputs, *node.outputs))

    def _is_known(self, tensor: gs.Tensor) -> bool:
        return id(tensor) in self.values or id(tensor) in self._sizes or self.view.is_constant(tensor)

    def _small(self, tensor: gs.Tensor) -> Array | None:
        if id(tensor) in self.values:
            return self.values[id(tensor)]
        return self.view.small_constant(tensor, _READ_ELEMENTS)

    def _whole(self, tensor: gs.Tensor) -> Array | None:
        known = self.values.get(id(tensor))
        return self.view.constant_value(tensor) if known is None else known

    def _of_shape(self, node: gs.Node) -> Array | None:
        """Case 2."""
        dims = self.shapes.of(node.inputs[0])
        if dims is None:
            if node.op == "Shape" and not node.attrs:
                self._unranked[id(node.outputs[0])] = node.inputs[0]
            return None
        if node.op == "Size":
            return _array(np.asarray(self.shapes.symbols.product(dims), object), "int64")
        part = dims[slice(self.view.attr(node, "start", 0), self.view.attr(node, "end"))]
        partial = np.empty(len(part), object)
        partial[:] = part
        return _array(partial, "int64")

    def _of_unranked(self, tensor: gs.Tensor, picks: Array | None) -> Array | None:
        """What is gathered from the shape of a tensor whose rank is not known."""
        if picks is None or picks.dtype.kind not in "iu" or picks.size > _MOST_PICKS or bool(np.any(picks < 0)):
            return None
        value = np.empty(picks.shape, object)
        for place in np.ndindex(*picks.shape):
            value[place] = self.shapes.symbols.axis(tensor, int(picks[place]))
        return value

    def _with_symbols(self, node: gs.Node, op: str, arguments: list[Any], attrs: dict[str, Any]) -> Array | None:
        """Case 7."""
        if op == "Cast":
            return arguments[0] if attrs["to"] == dtype_number("int64") else None
        if any(argument is None for argument in arguments):
            return None
        value = computed(op, arguments, attrs, self.shapes.symbols)
        return None if value is None else _array(value, "int64")

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
        return elements, self._charged(node, inputs, elements)

    def _charged(self, node: gs.Node, inputs: list[gs.Tensor], elements: int) -> str:
        """Why a result of that size must not be made; empty where it may, if need be on credit."""
        predicted = sum(elements * self._itemsize_bytes(tensor) for tensor in node.outputs)
        if id(node) in self.denied:
            return self.denied[id(node)]
        read = self.budget.joined(inputs, node.outputs)
        if predicted <= self.budget.limit_bytes:
            return ""
        if predicted > read:
            return too_large(predicted, max(self.budget.limit_bytes, read))
        self.budget.lend(node, predicted)
        return ""

    def _operand(self, tensor: gs.Tensor, value: Array | None) -> Operand | None:
        if value is not None:
            return Operand(value.shape, value.size, value)
        if id(tensor) in self._sizes:
            return self._sizes[id(tensor)]
        shape = self.view.static_shape(tensor)
        return None if shape is None else Operand(shape, prod(shape))

    def _itemsize_bytes(self, tensor: gs.Tensor) -> int:
        name = self.view.dtype(tensor)
        return _UNKNOWN_ITEMSIZE_BYTES if name is None else numpy_dtype(dtype_number(name)).itemsize

    # ---- outcomes
    def _keep(self, node: gs.Node, value: Array | None) -> None:
        if value is None:
            return
        self.values[id(node.outputs[0])] = value
        self._alive.append(node.outputs[0])
        if value.dtype != object:
            self.folded[id(node)] = node

    def _defer(self, node: gs.Node, elements: int) -> None:
        self.deferred.append(node)
        self.folded[id(node)] = node
        self._alive += node.outputs
        for tensor in node.outputs:
            shape = self.view.static_shape(tensor)
            fits = shape is not None and prod(shape) <= elements
            self._sizes[id(tensor)] = Operand(shape if fits else None, elements)


def _array(value: Array, dtype: str) -> Array:
    """A value as an ordinary array, where every element is known."""
    if value.dtype != object:
        return value
    is_complete = not any(isinstance(item, Symbol) for item in value.reshape(-1))
    return value.astype(dtype) if is_complete else value
