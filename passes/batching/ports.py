"""Which inputs hold the batch, and in which axis."""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from roofwright.graph import UnsupportedError, assumed_dims, overridable

_PROBES = (5, 7)  # stand-ins for a symbolic batch: sizes that nothing in a model equals by accident
_NAMES = ("n", "b", "bs")


@dataclass(frozen=True)
class Ports:
    """The batch at the interface of a model.

    Attributes:
        symbol: its name; "" where it is a number or has no name.
        size: its size; None where it is symbolic.
        axes: input -> axis.
    """

    symbol: str
    size: int | None
    axes: Mapping[str, int]

    def readings(self, batch: int) -> list[tuple[Mapping[str, int], int]]:
        """What to try, best first: the inputs that hold the batch, and the size it has now.

        A symbolic batch is tried at a stand-in, then at 1, for models that say "any batch" and have 1 baked in. Inputs
        of one dimension may be a value for each sample, or one for all.
        """
        if self.size is not None:
            return [(self.axes, self.size)]
        return [(self.axes, next(probe for probe in _PROBES if probe != batch)), (self.axes, 1)]

    def bound(self, size: int) -> dict[str, int]:
        """What to bind for shape inference."""
        if self.size is not None:
            return {}
        return {self.symbol: size} if self.symbol else {f"{name}[{axis}]": size for name, axis in self.axes.items()}


def ports_of(graph: gs.Graph) -> Ports:
    """The batch: a symbolic dimension that is called so, else axis 0 of the first input and of all that share its size.

    Raises:
        UnsupportedError: there is no input with a first axis.
    """
    defaults = overridable(graph)
    inputs = [t for t in graph.inputs if t.name not in defaults and t.shape]
    if not inputs:
        raise UnsupportedError("cannot set the batch: no input has a first axis")
    names = [dim for t in inputs for dim in t.shape if isinstance(dim, str) and _is_batch(dim)]
    first = names[0] if names else inputs[0].shape[0]
    if isinstance(first, str) and first:
        return Ports(first, None, _named(inputs, first))
    size = first if isinstance(first, int) else None
    same = {t.name: 0 for t in inputs if t.shape[0] == first or (size is None and not t.shape[0])}
    return Ports("", size, same)


def _is_batch(name: str) -> bool:
    return "batch" in name.lower() or name.lower() in _NAMES


def _named(inputs: list[gs.Tensor], symbol: str) -> dict[str, int]:
    for tensor in inputs:
        if list(tensor.shape).count(symbol) > 1:
            raise UnsupportedError(f"cannot set the batch: input {tensor.name} has the dimension {symbol} twice")
    return {tensor.name: list(tensor.shape).index(symbol) for tensor in inputs if symbol in tensor.shape}


def stand_ins(graph: gs.Graph, ports: Ports, dims: Mapping[str, int]) -> dict[str, int]:
    """The size of every symbolic dimension but the batch: what `dims` says, or the documented default."""
    batch = ports.bound(1)
    others = {name: size for name, size in dims.items() if name not in batch}
    return {name: size for name, size in assumed_dims(graph, others).items() if name not in batch}
