"""Operators whose axes can be named: elementwise broadcasting, matrix products, Einsum.

The axis that holds the batch must have one name in all operands that hold it, and be an axis of the result: a name that
is summed away would add samples, two names would pair every sample with every other.
"""

from collections.abc import Mapping, Sequence
from string import ascii_letters

from roofwright.passes.batching.layout import Batched, State
from roofwright.passes.batching.sight import Sight

Labels = tuple[str, ...]
_EINSUM_OUT = "->"


def named(sight: Sight, operands: Mapping[int, Labels], out: Labels, *, broadcasts: bool = True) -> Batched:
    """The layout of the result of operands (position -> a name for each axis) with the axes `out`."""
    places: dict[int, int] = {}
    label = None
    for position, labels in operands.items():
        state = sight.state(position)
        if not isinstance(state, Batched):
            continue
        mine = labels[state.axis]
        if labels.count(mine) > 1:
            sight.refuse("it takes the diagonal of the batch")
        if label not in (None, mine):
            sight.refuse("it pairs samples with each other")
        label = mine
    if label is None:
        sight.refuse("it mixes inputs that hold the batch in other ways")
    if out.count(label) != 1:
        sight.refuse("it sums over the samples")
    for position, labels in operands.items():
        if label in labels and sight.is_given(position):
            places[position] = labels.index(label)
    at = sight.shared(places, broadcasts=broadcasts)
    return sight.moved(at, out.index(label))


def aligned(rank: int, first: int = 0) -> Labels:
    """Names of the axes of an operand that is aligned at the right: the last one is always called "~0"."""
    return tuple(f"~{rank + first - 1 - axis}" for axis in range(rank))


def elementwise(sight: Sight) -> list[State]:
    """Every input broadcasts to the result; all of them are data."""
    if "broadcast" in sight.node.attrs:
        sight.refuse("its broadcasting follows the rules before opset 7")
    given = [position for position in range(len(sight.node.inputs)) if sight.is_given(position)]
    sight.only(given)
    ranks = {position: sight.rank(position) for position in given}
    operands = {position: aligned(rank) for position, rank in ranks.items()}
    at = named(sight, operands, aligned(max(ranks.values())))
    return sight.everywhere(at)


def _product(left: int, right: int) -> tuple[Labels, Labels, Labels]:
    """Names of the axes of MatMul's operands of those ranks, and of its result."""
    a = (*aligned(max(0, left - 2), 2), *(("m", "k") if left > 1 else ("k",)))
    b = (*aligned(max(0, right - 2), 2), *(("k", "n") if right > 1 else ("k",)))
    outer = aligned(max(0, left - 2, right - 2), 2)
    return a, b, (*outer, *(("m",) if left > 1 else ()), *(("n",) if right > 1 else ()))


def _scalars(sight: Sight, positions: Sequence[int]) -> None:
    """Scales and zero points must be one number: a longer one could run along the batch."""
    for position in positions:
        if sight.is_given(position) and any(size != 1 for size in sight.shape(position)):
            sight.refuse(f"input {position} has a value for each row")


def _matmul(sight: Sight, left: int, right: int) -> list[State]:
    sight.only((left, right))
    a, b, out = _product(sight.rank(left), sight.rank(right))
    return [named(sight, {left: a, right: b}, out)]


def matmul(sight: Sight) -> list[State]:
    """MatMul: the batch may be any axis but the summed one."""
    return _matmul(sight, 0, 1)


def matmul_integer(sight: Sight) -> list[State]:
    """MatMulInteger."""
    _scalars(sight, (2,) if isinstance(sight.state(0), Batched) else (2, 3))
    return _matmul(sight, 0, 1)


def qlinear_matmul(sight: Sight) -> list[State]:
    """QLinearMatMul."""
    _scalars(sight, (1, 2, 6, 7) if isinstance(sight.state(0), Batched) else (1, 2, 4, 5, 6, 7))
    return _matmul(sight, 0, 3)


def gemm(sight: Sight) -> list[State]:
    """Gemm: rows or columns may be samples; C broadcasts to the result."""
    sight.only((0, 1, 2))
    a = ("k", "m") if sight.attr("transA", 0) else ("m", "k")
    b = ("n", "k") if sight.attr("transB", 0) else ("k", "n")
    operands: dict[int, Labels] = {0: a, 1: b}
    if sight.is_given(2):
        operands[2] = ("m", "n")[2 - sight.rank(2) :]
    return [named(sight, operands, ("m", "n"))]


def einsum(sight: Sight) -> list[State]:
    """Einsum: the equation names the axes."""
    sight.only(range(len(sight.node.inputs)))
    equation = sight.attr("equation", "")
    text = (equation.decode() if isinstance(equation, bytes) else str(equation)).replace(" ", "")
    sides, arrow, result = text.partition(_EINSUM_OUT)
    terms = sides.split(",")
    if len(terms) != len(sight.node.inputs):
        sight.refuse("its equation does not fit its inputs")
    operands = {position: _term(term, sight.rank(position)) for position, term in enumerate(terms)}
    widest = max((sum(name.startswith("~") for name in names) for names in operands.values()), default=0)
    if arrow:
        out = _term(result, len(result.replace("...", "")) + ("..." in result) * widest)
    else:
        once = [letter for letter in sorted(set(sides) & set(ascii_letters)) if sides.count(letter) == 1]
        out = (*aligned(widest), *once)
    return [named(sight, operands, out, broadcasts=False)]


def _term(term: str, rank: int) -> Labels:
    """The names of one operand's axes; an ellipsis stands for as many as the rank leaves."""
    head, dots, tail = term.partition("...")
    hidden = aligned(rank - len(head) - len(tail)) if dots else ()
    return (*head, *hidden, *tail)
