"""One node as the rules see it: where its inputs' samples lie, shapes and values at both batches, and what to plan."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import View
from roofwright.passes.batching.layout import Batched, Dims, Plain, State, from_front, scaled

Array = NDArray[Any]
Values = tuple[Array, Array]  # at the old batch, at the new one


class Refused(Exception):
    """A node that the batch cannot be widened through; the message says what stands in the way."""

    def __init__(self, node: gs.Node | None, reason: str, via: Sequence[gs.Node]) -> None:
        """`via` are the Reshapes whose other readings may avoid the refusal, the nearest first."""
        super().__init__(reason)
        self.node, self.reason, self.via = node, reason, via


@dataclass(frozen=True)
class Integers:
    """Plan: an operand that names sizes gets new values (an attribute where `position` is None)."""

    view: View
    node: gs.Node
    position: int | None
    name: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Repeat:
    """Plan: an operand that is the same for every sample is repeated along an axis, once per sample."""

    view: View
    node: gs.Node
    position: int
    axis: int
    value: Array | None  # the repeated constant; None: a Tile makes it, `times` copies
    times: int


Plan = Integers | Repeat


class Knowledge(Protocol):
    """What the analysis knows when it comes to a node."""

    old: int
    new: int
    free_dims: bool
    limit_bytes: int

    def state(self, tensor: gs.Tensor) -> State: ...  # noqa: D102 (the attributes' class says it)
    def shape(self, tensor: gs.Tensor) -> Dims | None: ...  # noqa: D102
    def values(self, tensor: gs.Tensor, view: View) -> Values | None: ...  # noqa: D102
    def choose(self, node: gs.Node, readings: list[Batched]) -> Batched: ...  # noqa: D102
    def plan(self, step: Plan) -> None: ...  # noqa: D102


class Sight:
    """Questions about one node, and the plans it makes."""

    def __init__(self, node: gs.Node, view: View, known: Knowledge) -> None:
        """Look at `node` of the graph that `view` sees."""
        self.node, self.view, self.known = node, view, known
        self.old, self.new = known.old, known.new
        self.used: list[Batched] = [s for s in map(known.state, node.inputs) if isinstance(s, Batched)]

    # ---- refusing
    def refuse(self, reason: str) -> NoReturn:
        """Give up at this node."""
        raise Refused(self.node, reason, [state.via for state in self.used if state.via is not None])

    def is_given(self, position: int) -> bool:
        """Whether the input is there."""
        return self.view.input(self.node, position) is not None

    # ---- states
    def state(self, position: int) -> State:
        """Where the samples of an input are; FREE where it is left out."""
        tensor = self.view.input(self.node, position)
        return Plain.FREE if tensor is None else self.known.state(tensor)

    def only(self, positions: Iterable[int], sizes: Iterable[int] = ()) -> None:
        """Refuse where any other input holds samples, or depends on the size of the batch and is not in `sizes`."""
        allowed, counted = set(positions), set(sizes)
        for position in range(len(self.node.inputs)):
            state = self.state(position)
            if state is Plain.SIZED and position not in counted:
                self.refuse(f"input {position} depends on the size of the batch")
            if isinstance(state, Batched) and position not in allowed:
                self.refuse(f"input {position} differs from sample to sample")

    def data(self) -> Batched:
        """The layout of input 0."""
        state = self.state(0)
        return (
            state if isinstance(state, Batched) else self.refuse("its data does not hold the batch, another input does")
        )

    # ---- shapes
    def shape(self, position: int = 0) -> Dims:
        """Shape of an input at the old batch."""
        tensor = self.view.input(self.node, position)
        shape = None if tensor is None else self.known.shape(tensor)
        return self.refuse(f"the shape of input {position} is not known") if shape is None else shape

    def new_shape(self, position: int = 0) -> Dims:
        """Shape of an input at the new batch."""
        state, shape = self.state(position), self.shape(position)
        return scaled(shape, state, self.new) if isinstance(state, Batched) else shape

    def out_shape(self, position: int = 0) -> Dims:
        """Shape of an output at the old batch."""
        shape = self.known.shape(self.node.outputs[position])
        return self.refuse("the shape of its output is not known") if shape is None else shape

    def rank(self, position: int = 0) -> int:
        """Number of dimensions of an input."""
        return len(self.shape(position))

    # ---- attributes and values
    def attr(self, name: str, default: Any = None) -> Any:
        """The attribute, or `default`."""
        return self.view.attr(self.node, name, default)

    def axis(self, default: int, position: int = 0) -> int:
        """The attribute `axis`, counted from the front of an input."""
        return from_front(int(self.attr("axis", default)), self.rank(position))

    def values(self, position: int) -> Values | None:
        """The value of a small input at the old and the new batch."""
        tensor = self.view.input(self.node, position)
        return None if tensor is None else self.known.values(tensor, self.view)

    def operand(self, name: str, position: int) -> Values | None:
        """An operand given as attribute `name` or as an input; None where it is left out.

        One that is there but has no known value refuses.
        """
        if name in self.node.attrs:
            held = np.asarray(self.node.attrs[name]).reshape(-1)
            return held, held
        if not self.is_given(position):
            return None
        if isinstance(self.state(position), Batched):
            self.refuse(f"its {name} depend on the samples")
        found = self.values(position)
        return self.refuse(f"the value of its {name} is not known") if found is None else found

    def axes(self, name: str = "axes", position: int = 1, rank: int | None = None) -> list[int] | None:
        """Axes counted from the front; None where they are left out."""
        found = self.operand(name, position)
        if found is None:
            return None
        full = self.rank() if rank is None else rank
        return [from_front(int(axis), full) for axis in found[0].reshape(-1)]

    # ---- plans
    def set_integers(self, name: str, position: int, values: Iterable[int]) -> None:
        """Plan new values of a size operand, given as an attribute or as an input."""
        place = None if name in self.node.attrs else position
        self.known.plan(Integers(self.view, self.node, place, name, tuple(int(value) for value in values)))

    def set_entry(self, name: str, position: int, new: Array, place: int, size: int) -> None:
        """Plan one other entry in a list of sizes (`new`: its value at the new batch)."""
        if (
            self.known.free_dims
            and name not in self.node.attrs
            and not self.view.is_constant(self.node.inputs[position])
        ):
            self.refuse(f"its {name} hold the batch, and other dimensions that are not known")
        entries = [int(entry) for entry in new.reshape(-1)]
        entries[place] = size
        self.set_integers(name, position, entries)

    def choose(self, readings: list[Batched]) -> Batched:
        """One of several possible layouts: the first, unless that one failed before."""
        return self.known.choose(self.node, readings)

    def fit(self, position: int, axis: int, at: Batched, *, broadcasts: bool) -> None:
        """An operand that is the same for every sample meets the batch at `axis`: it broadcasts, or is repeated."""
        size = self.shape(position)[axis]
        full = at.size(self.old)
        if broadcasts and size == 1:
            return
        if size != full:
            self.refuse(f"input {position} has {size} entries along the axis of the batch, expected 1 or {full}")
        tensor = self.node.inputs[position]
        array = self.view.constant_value(tensor)
        if array is None and (self.old > 1 or at.outer > 1):
            self.refuse(f"input {position} is made for a batch of {self.old}")
        needs_tile = array is None or (self.old == at.outer == 1 and array.nbytes * self.new > self.known.limit_bytes)
        value = None if array is None or needs_tile else self._repeated(array, position, axis, at)
        self.known.plan(Repeat(self.view, self.node, position, axis, value, self.new))

    def repeat(self, position: int, axis: int, value: Array) -> None:
        """Plan a constant that has one slice per sample of the new batch along `axis`."""
        self.known.plan(Repeat(self.view, self.node, position, axis, value, self.new))

    def _repeated(self, array: Array, position: int, axis: int, at: Batched) -> Array:
        """A constant with one slice per sample of the new batch, where all of its slices are the same."""
        parted = array.reshape(*array.shape[:axis], at.outer, self.old, at.inner, *array.shape[axis + 1 :])
        first = np.take(parted, [0], axis + 1)
        if self.old > 1 and not np.array_equal(parted, np.broadcast_to(first, parted.shape)):
            self.refuse(f"input {position} is a constant with another value for each of {self.old} samples")
        wider = np.repeat(first, self.new, axis + 1)
        return wider.reshape(*array.shape[:axis], at.size(self.new), *array.shape[axis + 1 :])

    def shared(self, places: dict[int, int], *, broadcasts: bool = False) -> Batched:
        """The layout of operands that hold the batch at given axes (position -> axis); the others are fitted."""
        found: Batched | None = None
        for position, axis in places.items():
            state = self.state(position)
            if not isinstance(state, Batched):
                continue
            if state.axis != axis:
                self.refuse(f"input {position} holds the batch in axis {state.axis}, which it does not keep apart")
            if found is not None and (state.outer, state.inner) != (found.outer, found.inner):
                self.refuse("its inputs fold the batch in different ways")
            found = found or state
        if found is None:
            self.refuse("it mixes inputs that hold the batch in other ways")
        for position, axis in places.items():
            if self.is_given(position) and not isinstance(self.state(position), Batched):
                self.fit(position, axis, found, broadcasts=broadcasts)
        return found

    def everywhere(self, at: Batched) -> list[State]:
        """The same layout for every output."""
        return [at for _ in self.node.outputs]

    @staticmethod
    def moved(at: Batched, axis: int) -> Batched:
        """The layout at another axis."""
        return replace(at, axis=axis)
