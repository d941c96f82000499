"""Inputs that try to tell two models apart: negative, zero, large, integer bounds, random.

Models with free dimensions are tried at two sizes.

Integer inputs stay within what they index (Gather, OneHot): their bound is found by following them to such a node.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from roofwright.graph import UsageError, View, dtype_name, graphs_of, printable

KINDS = ("random", "negative", "zero", "large", "bounds")
SIZES = ((1, 8), (3, 12), (1, 64), (2, 224))  # (first axis, other axes) tried for free dimensions
_INDEXED = {"Gather": (0, 1), "GatherElements": (0, 1), "ScatterElements": (0, 1), "OneHot": (1, 0)}
_THROUGH = {
    "Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose", "Slice", "Concat", "Expand", "Where",
    "Split", "Pad", "Tile",
}  # fmt: skip
_FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True)
class Feed:
    """One set of inputs and what kind it is."""

    kind: str
    arrays: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Samples:
    """What inputs are made of.

    Attributes:
        sets: input sets of each kind.
        seed: of the random numbers; each further set has the next one.
        given: input name -> array that takes the place of made-up ones.
    """

    sets: int = 1
    seed: int = 0
    given: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class Unfeedable(Exception):
    """An input that no array can be made for; the message names it."""


def feeds(
    graph: gs.Graph, dims: Mapping[str, int], sizes: tuple[int, int], samples: Samples | None = None
) -> Iterator[Feed]:
    """The feeds of every kind, set by set; a single one where every input is given.

    Args:
        graph: the model; inputs with a default value keep it.
        dims: sizes of symbolic dimensions that are given.
        sizes: what other free dimensions become: (first axis, other axes); a name has one size everywhere.
        samples: how many, their seed, and arrays that are given.
    """
    samples = samples or Samples()
    free = [tensor for tensor in graph.inputs if tensor.name not in samples.given]
    if not free and graph.inputs:
        yield Feed("given", samples.given)
        return
    bounds, shapes = index_bounds(graph), _shapes(free, dims, sizes)
    for number in range(samples.sets):
        for kind in KINDS:
            if number and kind == "zero":
                continue  # as the first
            rng = np.random.default_rng([samples.seed + number, KINDS.index(kind)])
            arrays = dict(samples.given)
            for tensor, shape in zip(free, shapes, strict=True):
                arrays[tensor.name] = _array(kind, dtype_name(tensor), shape, bounds.get(tensor.name), rng, tensor.name)
            yield Feed(kind, arrays)


def bound_dims(
    graph: gs.Graph, given: Mapping[str, NDArray[Any]], dims: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The symbolic dimensions that given arrays settle.

    Args:
        graph: the model.
        given: input name -> array.
        dims: sizes that are settled already.

    Raises:
        UsageError: an array that does not fit its input, with what was expected.
    """
    inputs = {tensor.name: tensor for tensor in graph.inputs}
    found: dict[str, int] = {}
    for name, array in given.items():
        if name not in inputs:
            known = ", ".join(printable(other) for other in inputs)
            raise UsageError(f"no input is called {printable(name)!r}; the model's inputs are {known}")
        wanted, dtype = inputs[name].shape, dtype_name(inputs[name])
        shape = array.shape if wanted is None else wanted
        if array.dtype.name != dtype or len(shape) != array.ndim:
            raise UsageError(f"input {printable(name)!r} is {dtype}{_spelt(wanted)}, not {_described(array)}")
        for dim, size in zip(shape, array.shape, strict=True):
            settled = dim if isinstance(dim, int) else found.get(dim, (dims or {}).get(dim, size))
            if settled != size:
                raise UsageError(f"input {printable(name)!r} is {dtype}{_spelt(wanted)}, not {_described(array)}")
            if isinstance(dim, str):
                found[dim] = size
    return found


def _described(array: NDArray[Any]) -> str:
    return f"{array.dtype.name}{_spelt(array.shape)}"


def _spelt(shape: Any) -> str:
    return "[...]" if shape is None else f"[{','.join('?' if d is None else printable(d) for d in shape)}]"


def is_dynamic(graph: gs.Graph, dims: Mapping[str, int]) -> bool:
    """Whether some input has a dimension that `dims` leaves free."""
    return any(not isinstance(d, int) and d not in dims for t in graph.inputs for d in t.shape or ())


def _shapes(tensors: Sequence[gs.Tensor], dims: Mapping[str, int], sizes: tuple[int, int]) -> list[tuple[int, ...]]:
    named, found = dict(dims), []
    for tensor in tensors:
        if tensor.shape is None:
            raise Unfeedable(f"input {tensor.name} has no shape")
        shape = []
        for axis, dim in enumerate(tensor.shape):
            size = sizes[0] if axis == 0 else sizes[1]
            shape.append(dim if isinstance(dim, int) else named.setdefault(dim, size) if isinstance(dim, str) else size)
        found.append(tuple(shape))
    return found


def _array(
    kind: str, dtype: str | None, shape: tuple[int, ...], bound: int | None, rng: "np.random.Generator", name: str
) -> NDArray[Any]:
    if dtype == "bool":
        return np.asarray(rng.integers(0, 2, shape) if kind != "zero" else np.zeros(shape), bool)
    if dtype in _FLOATS:
        return _floats(kind, shape, rng).astype(dtype)
    if dtype and np.dtype(dtype if "int" in dtype else "V").kind in "iu":
        return _integers(kind, np.dtype(dtype), shape, bound, rng)
    raise Unfeedable(f"input {name} of type {dtype} cannot be made up")


def _floats(kind: str, shape: tuple[int, ...], rng: "np.random.Generator") -> NDArray[np.float64]:
    normal = rng.standard_normal(shape)
    if kind == "negative":
        return -np.abs(normal)
    if kind == "zero":
        return np.zeros(shape)
    return normal * 100.0 if kind == "large" else np.clip(normal, -1, 1) if kind == "bounds" else normal


def _integers(
    kind: str, dtype: np.dtype[Any], shape: tuple[int, ...], bound: int | None, rng: "np.random.Generator"
) -> NDArray[Any]:
    """Indices up to their bound; 8-bit data over its whole range; other integers small (masks, lengths, counts)."""
    info = np.iinfo(dtype)
    if bound is None and info.bits == 8:
        low, high = info.min, info.max
    else:
        low, high = 0, max(0, (2 if bound is None else bound) - 1)
    if kind == "zero":
        return np.zeros(shape, dtype)
    if kind == "bounds":
        return np.where(rng.integers(0, 2, shape) == 1, high, low).astype(dtype)
    if kind == "large":
        return np.full(shape, high, dtype)
    return rng.integers(low, high, shape, endpoint=True).astype(dtype)


def index_bounds(graph: gs.Graph) -> dict[str, int]:
    """Integer input -> exclusive upper bound of what it may hold, for inputs that index something of known size."""
    view, found = View(graph), {}
    for tensor in graph.inputs:
        limits = list(_limits(tensor, view))
        if limits:
            found[tensor.name] = max(1, min(limits))
    return found


def _limits(start: gs.Tensor, view: View) -> Iterator[int]:
    seen, waiting = {id(start)}, [start]
    while waiting:
        tensor = waiting.pop()
        for node in view.consumers(tensor):
            yield from _limit(node, tensor, view)
            if node.op in _THROUGH:
                fresh = [out for out in node.outputs if id(out) not in seen]
                seen.update(id(out) for out in fresh)
                waiting.extend(fresh)


def _limit(node: gs.Node, tensor: gs.Tensor, view: View) -> Iterator[int]:
    data, index = _INDEXED.get(node.op, (0, 0))
    if data == index or len(node.inputs) <= index or node.inputs[index] is not tensor:
        return
    if node.op == "OneHot":
        depth = view.scalar(node.inputs[1])
        yield from () if depth is None else (int(depth),)
        return
    shape, axis = node.inputs[data].shape, view.attr(node, "axis", 0)
    if shape is not None and -len(shape) <= axis < len(shape) and isinstance(shape[axis], int):
        yield shape[axis]


def random_nodes(graph: gs.Graph) -> list[str]:
    """Operators whose outputs differ from run to run."""
    random = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")
    return [node.op for inner in graphs_of(graph) for node in inner.nodes if node.op in random]
