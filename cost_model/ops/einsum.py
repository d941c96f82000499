"""Einsum: contracted pair by pair, from left to right, each pair a batched matrix product."""

from collections.abc import Mapping
from math import prod

from roofwright.cost_model.ops.facts import Facts, Shape, Unmodelled
from roofwright.cost_model.ops.matmul import gemm_nest
from roofwright.cost_model.work import LoopNest, Work

Term = tuple[str, ...]


def _term(text: str, dots: int) -> Term:
    """The labels of one operand; "..." becomes `dots` numbered labels, counted from the right."""
    head, ellipsis, tail = text.partition("...")
    middle = tuple(f".{place}" for place in range(dots, 0, -1)) if ellipsis else ()
    return (*head, *middle, *tail)


def _terms(equation: str, shapes: list[Shape]) -> tuple[list[Term], Term]:
    """Labels of every input and of the output; an implicit output has the labels that occur once, sorted."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    inputs: list[Term] = []
    for text, shape in zip(left.split(","), shapes, strict=True):
        inputs.append(_term(text, len(shape) - len(text.replace("...", ""))))
    dots = max((sum(label[0] == "." for label in term) for term in inputs), default=0)
    if arrow:
        return inputs, _term(right, dots)
    labels = [label for term in inputs for label in term]
    once = sorted(label for label in set(labels) if label[0] != "." and labels.count(label) == 1)
    return inputs, (*_term("...", dots), *once)


def _sizes(terms: list[Term], shapes: list[Shape]) -> dict[str, int]:
    """Extent of every label; an axis of one broadcasts."""
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if len(term) != len(shape):
            raise Unmodelled("the equation does not fit the operands")
        for label, extent in zip(term, shape, strict=True):
            sizes[label] = max(extent, sizes.get(label, 1)) if extent else 0
    return sizes


def _pair(left: set[str], right: set[str], kept: set[str], sizes: Mapping[str, int]) -> tuple[LoopNest | None, int]:
    """(nest, lane operations) of contracting two operands to the labels in `kept`."""

    def extent(labels: set[str]) -> int:
        return prod(sizes[label] for label in labels)

    summed = (left & right) - kept
    lonely = sum(extent(side) for side, other in ((left, right), (right, left)) if side - other - kept)
    left, right = left & (kept | right), right & (kept | left)
    if not summed:
        return None, lonely + extent(left | right)
    rows, columns = extent((left - right) & kept), extent((right - left) & kept)
    return gemm_nest(rows, columns, extent(summed), extent(left & right & kept)), lonely


def einsum(ask: Facts) -> Work:
    """Einsum. One operand: a reduction or a transposition. Products without a summed label are lane operations."""
    shapes = [ask.shape(position) for position in range(len(ask.node.inputs))]
    inputs, output = _terms(str(ask.attr("equation")), shapes)
    sizes = _sizes(inputs, shapes)
    if len(inputs) == 1:
        reduces = set(inputs[0]) != set(output)
        return ask.work("reduce" if reduces else "move", prod(shapes[0]) if reduces else 0)
    nests: list[LoopNest] = []
    lanes, held = 0, set(inputs[0])
    for place, term in enumerate(inputs[1:], start=2):
        kept = set(output).union(*inputs[place:]) & (held | set(term))
        nest, extra = _pair(held, set(term), kept, sizes)
        nests, lanes, held = nests + ([nest] if nest else []), lanes + extra, kept
    return ask.work("matmul" if nests else "elementwise", lanes, nests=tuple(nests))
