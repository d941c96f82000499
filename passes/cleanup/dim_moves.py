"""How operators that only move elements hand dimensions on: (shapes, node) -> the dimensions of each output."""

from typing import Any

import onnx_graphsurgeon as gs

from roofwright.passes.cleanup.constant_inputs import normalised, permutation
from roofwright.passes.cleanup.dims import Dims, SymbolicShapes
from roofwright.passes.cleanup.symbols import Symbol

_TO_THE_END = 2**31 - 1


def reshape(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """The target; a 0 copies, one -1 is what is left."""
    dims, target = shapes.of(shapes.view.input(node, 0)), shapes.value(shapes.view.input(node, 1))
    if target is None:
        return []
    if not shapes.view.attr(node, "allowzero", 0):
        if 0 in target and (dims is None or len(dims) < max(i + 1 for i, d in enumerate(target) if d == 0)):
            return []
        target = [dims[axis] if dim == 0 and dims is not None else dim for axis, dim in enumerate(target)]
    if -1 not in target:
        return [target]
    rest = None if dims is None else shapes.quotient(dims, [dim for dim in target if dim != -1])
    return [[rest if dim == -1 else dim for dim in target]]


def flatten(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Two products."""
    dims, axis = shapes.of(shapes.view.input(node, 0)), shapes.view.attr(node, "axis", 1)
    if dims is None:
        return []
    axis += len(dims) * (axis < 0)
    return [[shapes.symbols.product(dims[:axis]), shapes.symbols.product(dims[axis:])]]


def transpose(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Permuted."""
    dims, perm = shapes.of(shapes.view.input(node, 0)), permutation(node, shapes.view)
    return [] if dims is None or perm is None or len(perm) != len(dims) else [[dims[axis] for axis in perm]]


def squeeze(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Without the listed axes."""
    dims, axes = shapes.of(shapes.view.input(node, 0)), shapes.integers(node, "axes", 1)
    gone = None if dims is None or axes is None else normalised(axes, len(dims))
    return [] if gone is None or dims is None else [[dim for axis, dim in enumerate(dims) if axis not in gone]]


def unsqueeze(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """With ones at the listed axes."""
    dims, axes = shapes.of(shapes.view.input(node, 0)), shapes.integers(node, "axes", 1)
    new = None if dims is None or axes is None else normalised(axes, len(dims) + len(axes))
    if new is None or dims is None:
        return []
    rest = iter(dims)
    return [[1 if axis in new else next(rest) for axis in range(len(dims) + len(new))]]


def concat(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """A sum along the axis; elsewhere all agree, so that the best known one counts."""
    known = [shapes.of(tensor) for tensor in node.inputs]
    ranks = {None if dims is None else len(dims) for dims in known}
    axis = shapes.view.attr(node, "axis", 1)
    if None in ranks or len(ranks) != 1 or not -len(known[0] or ()) <= axis < len(known[0] or ()):
        return []
    given = [dims for dims in known if dims is not None]
    result = [next((dim for dim in column if isinstance(dim, int)), column[0]) for column in zip(*given, strict=True)]
    total: Any = 0
    for dims in given:
        total = shapes.symbols.of("Add", total, dims[axis])
    result[axis] = total
    return [result]


def slice_(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Whole axes stay; 0 to a size is the smaller of the two."""
    dims = shapes.of(shapes.view.input(node, 0))
    if dims is None or "starts" in node.attrs:
        return []
    starts, ends, axes, steps = (shapes.value(shapes.view.input(node, position)) for position in (1, 2, 3, 4))
    axes = list(range(len(starts or ()))) if shapes.view.input(node, 3) is None else axes
    steps = [1] * len(starts or ()) if shapes.view.input(node, 4) is None else steps
    if starts is None or axes is None or steps is None or any(isinstance(axis, Symbol) for axis in axes):
        return []
    places = normalised(axes, len(dims))
    if places is None:
        return []
    result = list(dims)
    for axis, start, end, step in zip(places, starts, ends or [None] * len(starts), steps, strict=True):
        result[axis] = cut(shapes, dims[axis], start, end, step)
    return [result]


def cut(shapes: SymbolicShapes, dim: Any, start: Any, end: Any, step: Any) -> Any:
    """What a slice leaves of a dimension; None where that is not known."""
    if start != 0 or step != 1 or end is None:
        return None
    if end is dim or (isinstance(end, int) and end >= (dim if isinstance(dim, int) else _TO_THE_END)):
        return dim
    if isinstance(end, Symbol):
        return shapes.symbols.of("least", end, dim) if end.is_size and isinstance(dim, int) and dim > 0 else None
    return min(end, dim) if isinstance(dim, int) and end >= 0 else None


def gather(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """The axis gives way to the shape of the indices."""
    dims, picks = shapes.of(shapes.view.input(node, 0)), shapes.of(shapes.view.input(node, 1))
    axis = shapes.view.attr(node, "axis", 0)
    if dims is None or picks is None or not -len(dims) <= axis < len(dims):
        return []
    axis %= len(dims)
    return [[*dims[:axis], *picks, *dims[axis + 1 :]]]


def indices(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """GatherElements: those of the indices."""
    return [shapes.of(shapes.view.input(node, 1))]


def split(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """All but the axis stay."""
    dims, axis = shapes.of(shapes.view.input(node, 0)), shapes.view.attr(node, "axis", 0)
    if dims is None or not -len(dims) <= axis < len(dims):
        return []
    axis %= len(dims)
    return [[*dims[:axis], None, *dims[axis + 1 :]]] * len(node.outputs)


def tile(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Sizes times repeats."""
    dims, repeats = shapes.of(shapes.view.input(node, 0)), shapes.value(shapes.view.input(node, 1))
    if dims is None or repeats is None or len(dims) != len(repeats):
        return []
    return [[shapes.symbols.of("Mul", dim, count) for dim, count in zip(dims, repeats, strict=True)]]


def pad(shapes: SymbolicShapes, node: gs.Node) -> list[Dims | None]:
    """Sizes and what is added before and behind."""
    dims, pads = shapes.of(shapes.view.input(node, 0)), shapes.integers(node, "pads", 1)
    if dims is None or pads is None or len(pads) != 2 * len(dims) or shapes.view.input(node, 3) is not None:
        return []
    added = [low + high for low, high in zip(pads[: len(dims)], pads[len(dims) :], strict=True)]
    return [[shapes.symbols.of("Add", dim, size) if size >= 0 else None for dim, size in zip(dims, added, strict=True)]]
