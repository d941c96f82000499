"""Einsum equations: which axes of two operands are kept, matched and summed."""

from collections.abc import Sequence
from dataclasses import dataclass

from roofwright.passes.base import Decline

Labels = tuple[str, ...]
_ELLIPSIS = "..."


@dataclass(frozen=True)
class Equation:
    """Labels of every operand and of the result, ellipses spelled out (".0", ".1" ... counted from the right)."""

    operands: tuple[Labels, ...]
    result: Labels


def parse(text: str, ranks: Sequence[int]) -> Equation:
    """The equation for operands of these ranks.

    Raises:
        Decline: a label that stands twice in one term (a diagonal), or terms that do not fit the ranks.
    """
    left, arrow, right = text.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise Decline(f"its equation {text!r} has {len(terms)} terms for {len(ranks)} operands")
    operands = tuple(_labels(term, rank, text) for term, rank in zip(terms, ranks, strict=True))
    if arrow:
        dots = max((sum(label[0] == "." for label in labels) for labels in operands), default=0)
        result = _labels(right, len(right.replace(_ELLIPSIS, "")) + (dots if _ELLIPSIS in right else 0), text)
    else:
        result = _implied(operands)
    if set(result) - {label for labels in operands for label in labels}:
        raise Decline(f"its equation {text!r} has a label in the result only")
    return Equation(operands, result)


def _labels(term: str, rank: int, text: str) -> Labels:
    before, dots, after = term.partition(_ELLIPSIS)
    hidden = rank - len(before) - len(after)
    if hidden < 0 or (hidden and not dots):
        raise Decline(f"the term {term!r} of its equation does not fit rank {rank}")
    labels = (*before, *(f".{at}" for at in reversed(range(hidden))), *after)
    if len(set(labels)) != len(labels):
        raise Decline(f"its equation {text!r} takes a diagonal")
    return labels


def _implied(operands: tuple[Labels, ...]) -> Labels:
    """Without an arrow: the ellipsis, then in alphabetic order the labels that stand once."""
    every = [label for labels in operands for label in labels]
    dots = sorted({label for label in every if label[0] == "."}, key=lambda label: -int(label[1:]))
    return (*dots, *sorted(label for label in every if label[0] != "." and every.count(label) == 1))
