"""What must be computed before what: work that a node needs whole, and work that cannot begin before its first result.

Both are answered for many nodes at once, in one walk each, with one bit per question.

A *gate* is a node with one position of results, each of which needs every element of its operand: a dense layer on a
vector, a 1 x 1 convolution of a map that was pooled to one position. At one image, whatever its operand needs whole is
done before any of its results, and whatever needs one of its results begins after that.

Every element of an operand is taken to be needed only where it is read by some result; every product and every
elementwise operation is taken to follow a gate only where one of the operands that it cannot do without does. A padded
value is part of the operand. What is not known counts as neither before nor after.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from roofwright.cost_model.graph_work import NodeWork
from roofwright.cost_model.ops.elementwise import WEIGHTS
from roofwright.cost_model.reach import Span, gapless, kernel_of, mixes_all
from roofwright.cost_model.strip_maps import Maps, Reach
from roofwright.cost_model.units import Bools
from roofwright.cost_model.work import Operand

_BOTH = ("Add", "Sub", "Mul", "Div")  # every operation needs both operands
_PRODUCTS = ("MatMul", "Gemm")
_WINDOWS = ("Conv", "MaxPool", "AveragePool")
_ONE_OPERAND = {
    *("GlobalAveragePool", "GlobalMaxPool", "Transpose", "Split", "Softmax", "LogSoftmax", "LayerNormalization", "LRN"),
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceProd", "ReduceSumSquare"),
    *("BatchNormalization", "Clip", "Cast", "Gelu"),
}
_READ_WHOLE = {*WEIGHTS, *_ONE_OPERAND, *_PRODUCTS, "Concat", "Where", "Sum", "Max", "Min", "Mean"}


def gates(works: Sequence[NodeWork], maps: Maps) -> list[int]:
    """Positions of the gates; see the module's text."""
    return [at for at, work in enumerate(works) if _is_gate(work, maps)]


def _is_gate(work: NodeWork, maps: Maps) -> bool:
    nest, reads = work.work.nest, work.work.reads
    if work.op not in ("Conv", *_PRODUCTS) or len(work.work.nests) != 1 or not _plain(work) or len(reads) < 2:
        return False
    dense = nest is not None and nest.rows == nest.repeat == nest.steps == 1
    return dense and reads[1].constant and not reads[0].constant and _names(reads[:1], maps)[0] in _used_up(work, maps)


def needed(works: Sequence[NodeWork], maps: Maps, before: Sequence[int], last: Sequence[int] = ()) -> Bools:
    """Which work is needed whole: a row for every gate of `before`, then one for every node of `last`.

    Args:
        works: in execution order.
        maps: their geometry.
        before: gates; a row has the nodes all of whose results the gate's operand needs, the gate left out.
        last: any nodes; a row has the node, and those none of whose elements fails to reach some element of it.

    Returns:
        An array of shape (rows, nodes).
    """
    gate = {at: 1 << bit for bit, at in enumerate(before)}
    whole = {at: 1 << bit for bit, at in enumerate(last, len(before))}
    wanted: dict[str, int] = {}
    found = [0] * len(works)
    for at in range(len(works) - 1, -1, -1):
        work = works[at]
        mask = -1 if work.work.writes else 0
        for name in _names(work.work.writes, maps):
            mask &= wanted.get(name, 0)
        found[at] = mask = mask | whole.get(at, 0)
        for name in _used_up(work, maps) if mask else ():
            wanted[name] = wanted.get(name, 0) | mask
        if at in gate:
            data = _names(work.work.reads[:1], maps)[0]
            wanted[data] = wanted.get(data, 0) | gate[at]
    return _rows(found, len(before) + len(last))


def following(works: Sequence[NodeWork], maps: Maps, after: Sequence[int]) -> Bools:
    """Which work cannot begin before a gate has a result, a row for every gate; shape (gates, nodes)."""
    gate = {at: 1 << bit for bit, at in enumerate(after)}
    made: dict[str, int] = {}
    found = [0] * len(works)
    for at, work in enumerate(works):
        found[at] = mask = _joint(work, maps, made) if _plain(work) else 0
        for name in _names(work.work.writes, maps):
            made[name] = mask | gate.get(at, 0)
    return _rows(found, len(after))


def _rows(masks: Sequence[int], count: int) -> Bools:
    """The bits of every node's mask, one row per bit."""
    size = count // 8 + 1
    packed = np.frombuffer(b"".join(mask.to_bytes(size, "little") for mask in masks), np.uint8)
    return np.unpackbits(packed.reshape(len(masks), size), axis=1, bitorder="little")[:, :count].T.astype(bool)


def _used_up(work: NodeWork, maps: Maps) -> list[str]:
    """Operands every element of which some element of the node's result depends on."""
    if not _plain(work) or not all(operand.elements for operand in work.work.writes):
        return []
    if mixes_all(work) or work.op in _READ_WHOLE:
        return _names(work.work.reads, maps)
    step = maps.step(work, "planes")
    if step is None or not gapless(work):
        return []
    found = list(step.whole)
    for read in step.reads:
        axes = zip(read.grid.extent, (read.rows, read.columns), kernel_of(work), step.grid.extent, strict=True)
        if all(_all_read(size, reach, kernel or reach.window, out) for size, reach, kernel, out in axes):
            found.append(read.name)
    return found


def _joint(work: NodeWork, maps: Maps, made: Mapping[str, int]) -> int:
    """The gates that every operation of a node waits for."""
    masks = [0 if read.constant else made.get(_names([read], maps)[0], 0) for read in work.work.reads]
    if not any(masks):
        return 0
    if work.op in _BOTH or (work.op in _PRODUCTS and len(work.work.nests) == 1):
        return masks[0] | (masks[1] if len(masks) > 1 else 0)
    if work.op in _WINDOWS:
        return masks[0] if _all_real(work, maps) else 0
    if work.op in _ONE_OPERAND:
        return masks[0]
    if work.op not in _READ_WHOLE:
        return 0
    joint = -1
    for mask in (mask for read, mask in zip(work.work.reads, masks, strict=True) if not read.constant):
        joint &= mask
    return joint


def _all_real(work: NodeWork, maps: Maps) -> bool:
    """Whether every window meets some position of the input beside padding."""
    step = maps.step(work, "planes")
    if step is None or not gapless(work) or len(step.reads) != 1:
        return False
    read = step.reads[0]
    axes = zip(read.grid.extent, (read.rows, read.columns), step.grid.extent, strict=True)
    return all(
        reach.pad < reach.window and (out - 1) * reach.stride - reach.pad < size for size, reach, out in axes if out
    )


@lru_cache(maxsize=4096)
def _all_read(size: int, reach: Reach, kernel: int, out: int) -> bool:
    """Whether every position meets some window."""
    return bool(Span.each(size).taps(reach, kernel, out))


def _plain(work: NodeWork) -> bool:
    """Whether a node runs once, in the main graph."""
    return not work.scope and work.work.repeat == 1


def _names(operands: Sequence[Operand], maps: Maps) -> list[str]:
    """The tensors whose bytes operands are."""
    return [maps.alias.get(operand.name, operand.name) for operand in operands]
