"""Pinning of the interface: symbolic dimensions of inputs become numbers, everywhere in the model."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import onnx_graphsurgeon as gs

from roofwright.graph.errors import UsageError, printable
from roofwright.graph.ports import shape_of
from roofwright.graph.shapes import annotate, infer_scopes
from roofwright.graph.sidecar import sidecar
from roofwright.graph.walk import graphs_of, tensors_of


def pin_shapes(graph: gs.Graph, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give inputs the shapes asked for, in place; dimensions that are numbers already stay what they are.

    A symbolic dimension is bound wherever its name occurs: other inputs, outputs, bodies. What follows from it is
    inferred again. Sizes that the model holds as values (a Reshape's, say) are not touched.

    Args:
        graph: the main graph.
        shapes: input name -> sizes; the name "" stands for the only input.

    Raises:
        UsageError: no such input, another rank, or a size that contradicts the model or another shape; nothing changed.
    """
    inputs = {tensor.name: tensor for tensor in graph.inputs if tensor.name not in sidecar(graph).overridable}
    wanted = {_name_of(name, inputs): tuple(shape) for name, shape in shapes.items()}
    bound: dict[str, int] = {}
    for name, shape in wanted.items():
        for symbol, size in _bindings(inputs[name], shape).items():
            if bound.setdefault(symbol, size) != size:
                raise UsageError(f"dimension {printable(symbol)!r} cannot be both {bound[symbol]} and {size}")
    for body in graphs_of(graph):
        for tensor in (*tensors_of(body), *body.inputs, *body.outputs):
            _bind(tensor, bound)
    for name, shape in wanted.items():
        inputs[name].shape = list(shape)
    infos = infer_scopes(graph)
    for tensor in graph.outputs:
        found, declared = infos[0].get(tensor.name), shape_of(tensor)
        if found is not None and found.shape and declared is not None and len(declared) == len(found.shape):
            tensor.shape = [f if isinstance(f, int) else d for d, f in zip(declared, found.shape, strict=True)]
    annotate(graph, infos)


def _name_of(name: str, inputs: Mapping[str, gs.Tensor]) -> str:
    there = ", ".join(printable(other) for other in inputs) or "none"
    if not name:
        if len(inputs) != 1:
            raise UsageError(f"a shape without an input's name needs a model with one input, this one has: {there}")
        return next(iter(inputs))
    if name not in inputs:
        close = get_close_matches(name, inputs, 1)
        hint = f"did you mean {printable(close[0])!r}?" if close else f"the model's inputs are: {there}"
        raise UsageError(f"no input is called {printable(name)!r}; {hint}")
    return name


def _bindings(tensor: gs.Tensor, shape: tuple[int, ...]) -> dict[str, int]:
    """Symbol -> size, where `shape` is a possible shape of the input."""
    name, declared = printable(tensor.name), shape_of(tensor)
    if any(not isinstance(size, int) or size < 1 for size in shape):
        raise UsageError(f"input {name!r}: {list(shape)} is no shape; expected sizes of at least 1")
    if declared is None:
        return {}
    if len(declared) != len(shape):
        raise UsageError(f"input {name!r} has {len(declared)} dimensions, {len(shape)} were given")
    bound: dict[str, int] = {}
    for axis, (dim, size) in enumerate(zip(declared, shape, strict=True)):
        if isinstance(dim, int) and dim != size:
            raise UsageError(f"input {name!r}: dimension {axis} is {dim}, it cannot be {size}")
        if isinstance(dim, str) and bound.setdefault(dim, size) != size:
            raise UsageError(f"input {name!r}: dimension {printable(dim)!r} cannot be both {bound[dim]} and {size}")
    return bound


def _bind(tensor: gs.Tensor, bound: Mapping[str, int]) -> None:
    shape = shape_of(tensor)
    if shape is not None and any(isinstance(dim, str) and dim in bound for dim in shape):
        tensor.shape = [bound.get(dim, dim) if isinstance(dim, str) else dim for dim in shape]
