"""Data movement: bytes read and written. Only what is really touched is read; no copy is assumed to be avoided."""

from collections.abc import Iterable
from dataclasses import replace
from math import prod

from roofwright.cost_model.ops.facts import Facts
from roofwright.cost_model.work import Work


def copy(ask: Facts) -> Work:
    """SpaceToDepth, DepthToSpace, ReverseSequence: every element once."""
    return ask.work("move")


def transpose(ask: Facts) -> Work:
    """Transpose; a view where only axes of one element change places."""
    shape = ask.shape()
    order = ask.attr("perm") or range(len(shape))[::-1]
    long_axes = [axis for axis in order if shape[axis] > 1]
    return ask.alias() if long_axes == sorted(long_axes) else ask.work("move")


def concat(ask: Facts) -> Work:
    """Concat: every input is copied; a single one passes through."""
    return ask.work("move", pieces=_before(ask, [ask.attr("axis", 0)])) if len(ask.node.inputs) > 1 else ask.alias()


def repeat(ask: Facts) -> Work:
    """Tile, Expand: the source is read once; a view where nothing grows."""
    return ask.alias() if ask.size() == ask.out_size() else ask.work("move", skip=(1,))


def part(ask: Facts) -> Work:
    """Slice, Pad, CenterCropPad: only what reaches the output is read; the position arguments are not counted."""
    axes = (ask.attr("axes") if ask.input(3) is None else ask.value(3)) if ask.node.op == "Slice" else None
    touched = {0: min(ask.size(), ask.out_size())}
    return ask.work("move", touched=touched, skip=(1, 2, 3, 4), pieces=1 if axes is None else _before(ask, axes))


def _before(ask: Facts, axes: Iterable[int]) -> int:
    """What lies before the first axis along which elements change their place."""
    shape = ask.shape()
    return prod(shape[: min((int(axis) % max(1, len(shape)) for axis in axes), default=0)])


def split(ask: Facts) -> Work:
    """Split: the parts that are asked for; a view where there is one."""
    parts = [tensor for tensor in ask.node.outputs if tensor.name]
    if len(ask.node.outputs) == 1:
        return ask.alias()
    touched = {0: sum(prod(ask.shape_of(tensor)) for tensor in parts)}
    return ask.work("move", touched=touched, skip=(1,), pieces=_before(ask, [ask.attr("axis", 0)]))


def gather(ask: Facts) -> Work:
    """Gather, GatherElements, GatherND: the rows gathered (the whole source at most) and the indices."""
    return ask.work("move", touched={0: min(ask.size(), ask.out_size())})


def compress(ask: Facts) -> Work:
    """Compress: the rows kept and the condition."""
    return ask.work("move", ask.size(1), touched={0: min(ask.size(), ask.out_size())})


def scatter(ask: Facts) -> Work:
    """Scatter, ScatterElements, ScatterND: the source is copied, then updated; a reduction is one step per update."""
    reduces = ask.attr("reduction", "none") != "none"
    return ask.work("move", ask.size(2) if reduces else 0)


def tensor_scatter(ask: Facts) -> Work:
    """TensorScatter: the cache is updated in place, as the operator is defined to allow: only the update moves."""
    update = ask.size(1)
    cache, result = ask.node.inputs[0], ask.node.outputs[0]
    work = ask.work("move", touched={0: 0})
    reads = tuple(operand for operand in work.reads if operand.name != cache.name)
    return Work("move", reads=reads, writes=(ask.operand(result, update),))


def fill(ask: Facts) -> Work:
    """ConstantOfShape, EyeLike: the output is written."""
    return ask.work("move", skip=(0,))


def arange(ask: Facts) -> Work:
    """Range: one multiply-add per element."""
    return ask.work("elementwise", ask.out_size())


def one_hot(ask: Facts) -> Work:
    """OneHot: a compare and select per output."""
    return ask.work("move", ask.out_size(), skip=(1,))


def trilu(ask: Facts) -> Work:
    """Trilu: the kept triangle is read, the whole output written."""
    rows, columns = ask.shape()[-2:]
    k = ask.scalar(1) if ask.input(1) else 0
    touched = ask.size()
    if k is not None and rows * columns:
        offset = int(k)
        below = sum(min(columns, max(0, row + offset)) for row in range(rows))  # elements left of the diagonal
        diagonal = sum(0 <= row + offset < columns for row in range(rows))
        kept = rows * columns - below if ask.attr("upper", 1) else below + diagonal
        touched = touched // (rows * columns) * kept
    return ask.work("move", touched={0: touched}, skip=(1,))


def non_zero(ask: Facts) -> Work:
    """NonZero: one compare per element; the number of coordinates must be known."""
    return ask.work("move", ask.size())


def col2im(ask: Facts) -> Work:
    """Col2Im: one addition per input element."""
    return ask.work("move", ask.size(), skip=(1, 2))


def concat_from_sequence(ask: Facts) -> Work:
    """ConcatFromSequence: everything in the sequence is read and written once."""
    result = ask.operand(ask.node.outputs[0])
    return Work("move", reads=(replace(result, name=ask.node.inputs[0].name),), writes=(result,))


def split_to_sequence(ask: Facts) -> Work:
    """SplitToSequence: everything is read and written once, into a sequence."""
    source = ask.operand(ask.node.inputs[0])
    return Work("move", reads=(source,), writes=(replace(source, name=ask.node.outputs[0].name, constant=False),))
