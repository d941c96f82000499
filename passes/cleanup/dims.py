"""Dimensions of tensors with a symbol for every one that is not known, handed on from node to node."""

from math import prod
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import View
from roofwright.passes.cleanup.constant_inputs import integers
from roofwright.passes.cleanup.symbols import Symbol, Symbols, factors

Dims = list[Any]  # an int, a Symbol, or None inside a rule: nothing better than what is there is known
_MOST_DIMS = 64


class SymbolicShapes:
    """What is known of the dimensions of every tensor of one graph; filled in topological order.

    Attributes:
        symbols: all symbols in use.
        values: what is known of the small tensors that shapes are made of, by tensor id.
    """

    def __init__(self, view: View, symbols: Symbols, values: dict[int, NDArray[Any]]) -> None:
        """Nothing but what the graph says."""
        self.view, self.symbols, self.values = view, symbols, values
        self._dims: dict[int, tuple[gs.Tensor, Dims]] = {}  # with the tensor, so that no other one gets its id

    def of(self, tensor: gs.Tensor | None) -> Dims | None:
        """The dimensions of a tensor, None where not even their number is known."""
        if tensor is None:
            return None
        held = self._dims.get(id(tensor))
        if held is not None:
            return held[1]
        shape = tensor.shape
        if shape is None or len(shape) > _MOST_DIMS:
            return None
        return self.keep(tensor, [None] * len(shape))

    def value(self, tensor: gs.Tensor | None) -> list[Any] | None:
        """The integers and symbols in a one-dimensional tensor."""
        held = self.values.get(id(tensor))
        if held is None:
            held = self.view.small_constant(tensor, _MOST_DIMS)
        if held is None or held.ndim != 1 or held.dtype.kind not in "iuO":
            return None
        return [item if isinstance(item, Symbol) else int(item) for item in held]

    def integers(self, node: gs.Node, name: str, position: int) -> list[int] | None:
        """A list of integers given as an attribute or as an input that is known."""
        if name in node.attrs:
            return integers(node, self.view, name, position)
        known = self.value(self.view.input(node, position))
        found = [item for item in known or () if isinstance(item, int)]
        return found if known is not None and len(found) == len(known) else None

    def keep(self, tensor: gs.Tensor, dims: Dims) -> Dims:
        """Settle a tensor: per dimension a number, else what a rule found, else a name, else a symbol of its own."""
        noted = tensor.shape if tensor.shape is not None else [None] * len(dims)
        kept: Dims = []
        for axis, (dim, name) in enumerate(zip(dims, noted, strict=True)):
            if isinstance(name, (int, np.integer)):
                kept.append(int(name) if name >= 0 else self.symbols.axis(tensor, axis))
            elif dim is not None:
                kept.append(dim)
            else:
                kept.append(self.symbols.named(name) if name else self.symbols.axis(tensor, axis))
        self._dims[id(tensor)] = tensor, kept
        return kept

    def note(self, tensor: gs.Tensor, dims: Dims) -> None:
        """Write down what has a name or a number, for the passes after this one; outputs keep what they declare."""
        if self.view.is_output(tensor):
            return
        noted = tensor.shape if tensor.shape is not None else [None] * len(dims)
        pairs = zip(dims, noted, strict=True)
        tensor.shape = [dim if isinstance(dim, int) else dim.name or name or None for dim, name in pairs]

    # ---- combining
    def joined(self, left: Dims, right: Dims) -> Dims:
        """Two shapes broadcast; where that is valid at all, a 1 gives way to the other."""
        rank = max(len(left), len(right))
        pairs = zip([1] * (rank - len(left)) + left, [1] * (rank - len(right)) + right, strict=True)
        return [self._one_of(a, b) for a, b in pairs]

    def _one_of(self, a: Any, b: Any) -> Any:
        if a is b or b == 1:
            return a
        if a == 1 or isinstance(b, int):
            return b
        if isinstance(a, int):
            return a
        if a.parts[:2] == ("least", b):
            return b
        return a if b.parts[:2] == ("least", a) else self.symbols.of("broadcast", a, b)

    def scalar(self, tensor: gs.Tensor) -> Any:
        """The integer or symbol in a tensor of one element, None where it is not known."""
        held = self.values.get(id(tensor))
        held = self.view.constant_value(tensor) if held is None and not tensor.shape else held
        if held is None or held.size != 1 or held.dtype.kind not in "iuO":
            return None
        item = held.reshape(-1)[0]
        return item if isinstance(item, Symbol) else int(item)

    def quotient(self, dims: Dims, others: Dims) -> Any:
        """The product of `dims` over that of `others`; None where it does not cancel."""
        above = [part for dim in dims for part in factors(dim)]
        below = [part for dim in others for part in factors(dim)]
        for part in [part for part in below if isinstance(part, Symbol)]:
            position = next((i for i, other in enumerate(above) if other is part), None)
            if position is None:
                return None
            above.pop(position)
        size = prod(part for part in below if isinstance(part, int))
        whole = prod(part for part in above if isinstance(part, int))
        if size <= 0 or whole % size:
            return None
        return self.symbols.product([whole // size, *(part for part in above if isinstance(part, Symbol))])
