"""Reductions, scans along an axis, selections."""

from math import ceil, log2, prod

from roofwright.cost_model.ops.facts import Facts
from roofwright.cost_model.work import Work

# op -> lane operations per input element, special operations per input element, special operations per output.
WEIGHTS = {
    "ReduceSum": (1, 0, 0),
    "ReduceMean": (1, 0, 0),
    "ReduceMax": (1, 0, 0),
    "ReduceMin": (1, 0, 0),
    "ReduceProd": (1, 0, 0),
    "ReduceL1": (2, 0, 0),  # absolute value, sum
    "ReduceL2": (1, 0, 1),  # multiply-add; root
    "ReduceSumSquare": (1, 0, 0),
    "ReduceLogSum": (1, 0, 1),
    "ReduceLogSumExp": (3, 1, 1),  # maximum, difference, exp, sum; log
    "ArgMax": (2, 0, 0),  # compare, keep the index
    "ArgMin": (2, 0, 0),
    "CumSum": (1, 0, 0),
    "CumProd": (1, 0, 0),
}
_TRIVIAL = (
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
)  # identities where an axis has one element


def reduce(ask: Facts) -> Work:
    """Reduce*, ArgMax, ArgMin, CumSum, CumProd; a mean scales every output once more. The axes are not read."""
    op, size, out = ask.node.op, ask.size(), ask.out_size()
    if op in _TRIVIAL and size == out:
        return ask.alias()
    lanes, specials, specials_out = WEIGHTS[op]
    scale = out if op == "ReduceMean" else 0
    return ask.work(
        "reduce", lanes * size + scale, specials * size + specials_out * out, skip=(1,), pieces=_pieces(ask)
    )


def _pieces(ask: Facts) -> int:
    """What lies before the first axis that is summed; 1 for scans and where the axes are not known."""
    shape, op = ask.shape(), ask.node.op
    given = ask.attr("axes") if ask.input(1) is None else ask.value(1)
    axes = [ask.attr("axis", 0)] if op.startswith("Arg") else given
    if axes is None or op.startswith("Cum") or not shape:
        return 1
    return prod(shape[: min((int(axis) % len(shape) for axis in axes), default=0)])


def top_k(ask: Facts) -> Work:
    """TopK: every element meets a heap of k, ceil(log2(k + 1)) compares."""
    axis, out = ask.attr("axis", -1), ask.out_shape()
    k = out[axis] if out else 0
    return ask.work("reduce", ask.size() * ceil(log2(k + 1)), skip=(1,))


def unique(ask: Facts) -> Work:
    """Unique: a sort, n ceil(log2 n) compares."""
    size = ask.size()
    return ask.work("reduce", size * ceil(log2(max(2, size))))


def det(ask: Facts) -> Work:
    """Det: LU factorisation of every matrix, n^3 / 3 multiply-adds and n divisions."""
    shape = ask.shape()
    matrices, n = prod(shape[:-2]), shape[-1]
    return ask.work("reduce", matrices * n**3 // 3, matrices * n)
