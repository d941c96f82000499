"""The rule of every operator that can be run strip by strip; what is not here needs its input whole."""

from collections.abc import Callable, Mapping
from typing import Any

import onnx_graphsurgeon as gs

from roofwright.graph import View
from roofwright.passes.materialize.rows import Blocks, Crop, NotByRows, Pointwise, Scaled, Transposed, Window

RANK, ROWS = 4, 2
Rule = Callable[[gs.Node, View], Pointwise]


def rule_of(node: gs.Node, view: View) -> Pointwise:
    """How `node` runs by rows.

    Raises:
        NotByRows: it needs its input whole; the reason.
    """
    maker = RULES.get(node.op) if view.is_op(node, node.op) else None
    if maker is None:
        raise NotByRows(f"{node.op} needs its input whole")
    for tensor in view.used_outputs(node):
        if view.rank(tensor) != RANK:
            raise NotByRows(f"{node.op} makes a tensor that is no batch of images")
        if not isinstance(_dim(tensor, ROWS), int):
            raise NotByRows("the height is symbolic; pin it with --overwrite-input-shape")
    return maker(node, view)


def _dim(tensor: gs.Tensor | None, axis: int) -> Any:
    return None if tensor is None or tensor.shape is None else tensor.shape[axis]


def _height(node: gs.Node) -> int:
    found = _dim(node.inputs[0], ROWS) if View.rank(node.inputs[0]) == RANK else None
    if not isinstance(found, int):
        raise NotByRows("the height is symbolic; pin it with --overwrite-input-shape")
    return found


def has_rows(tensor: gs.Tensor, height: int) -> bool:
    """Whether an operand that broadcasts to images of so many rows has rows of its own."""
    rank = View.rank(tensor)
    return rank is not None and rank >= ROWS and height > 1 and tensor.shape[rank - 2] == height


def _elementwise(node: gs.Node, view: View) -> Pointwise:
    height = _dim(node.outputs[0], ROWS)
    for tensor in node.inputs:
        rank = view.rank(tensor)
        if tensor.name and (rank is None or (rank >= ROWS and tensor.shape[rank - 2] not in (1, height))):
            raise NotByRows(f"the rows of {node.op}'s operands are not known")
    return Pointwise(frozenset(i for i, t in enumerate(node.inputs) if t.name and has_rows(t, height)))


def _first(node: gs.Node, view: View) -> Pointwise:
    """Only the first input has rows, the others are parameters."""
    if _height(node) != _dim(node.outputs[0], ROWS):
        raise NotByRows(f"{node.op} changes the number of rows")
    if node.attrs.get("block_size"):
        raise NotByRows("its scales come in blocks")
    if any((view.rank(tensor) or 0) > 1 for tensor in node.inputs[1:] if tensor.name):
        raise NotByRows(f"{node.op} has parameters of more than one dimension")
    return Pointwise(frozenset({0}))


def _batch_norm(node: gs.Node, view: View) -> Pointwise:
    if view.attr(node, "training_mode", 0) or len(view.used_outputs(node)) > 1:
        raise NotByRows("BatchNormalization is in training mode")
    return _first(node, view)


def _axis(default: int | None, *, dense: int = 1) -> Rule:
    """Operators along one axis, which must not be that of the rows."""

    def rule(node: gs.Node, view: View) -> Pointwise:
        axis = view.attr(node, "axis", default)
        if axis is None or axis % RANK == ROWS:
            raise NotByRows(f"{node.op} works across rows")
        if node.op in ("Softmax", "LogSoftmax") and view.opset < 13 and axis % RANK != RANK - 1:
            raise NotByRows(f"{node.op} before opset 13 works on everything behind its axis")
        if node.op.startswith("Arg") and not view.attr(node, "keepdims", 1):
            raise NotByRows(f"{node.op} drops a dimension")
        if any(view.rank(t) != RANK or _dim(t, ROWS) != _dim(node.outputs[0], ROWS) for t in node.inputs[:dense]):
            raise NotByRows(f"the rows of {node.op}'s inputs are not known")
        return Pointwise(frozenset(range(dense)))

    return rule


def _concat(node: gs.Node, view: View) -> Pointwise:
    return _axis(None, dense=len(node.inputs))(node, view)


def _ints(node: gs.Node, name: str, default: list[int]) -> list[int]:
    return [int(value) for value in node.attrs.get(name) or default]


def _kernel(node: gs.Node, view: View) -> list[int]:
    if "kernel_shape" in node.attrs:
        return _ints(node, "kernel_shape", [])
    weight = node.inputs[3 if node.op == "QLinearConv" else 1] if len(node.inputs) > 1 else None
    shape = view.static_shape(weight)
    if shape is None or len(shape) != RANK:
        raise NotByRows("the kernel's size is not known")
    return list(shape[2:])


def _window(node: gs.Node, view: View) -> Pointwise:
    if len(view.used_outputs(node)) > 1:
        raise NotByRows(f"the indices of {node.op} count elements of the whole input")
    height, kernel = _height(node), _kernel(node, view)
    strides, dilations = _ints(node, "strides", [1, 1]), _ints(node, "dilations", [1, 1])
    pads = _pads(node, view, kernel, strides, dilations)
    reach = (kernel[0] - 1) * dilations[0] + 1
    if min(pads) < 0 or max(pads[0], pads[2]) >= reach:
        raise NotByRows("a window lies outside the input")
    out, ceil = int(_dim(node.outputs[0], ROWS)), bool(view.attr(node, "ceil_mode", 0))
    return Window(frozenset({0}), kernel[0], strides[0], dilations[0], pads, height, out, ceil)


def _pads(
    node: gs.Node, view: View, kernel: list[int], strides: list[int], dilations: list[int]
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right), with what `auto_pad` asks for worked out."""
    mode = view.attr(node, "auto_pad", "NOTSET")
    if mode in ("NOTSET", "", None):
        top, left, bottom, right = _ints(node, "pads", [0, 0, 0, 0])
        return top, left, bottom, right
    if mode == "VALID":
        return 0, 0, 0, 0
    before, after = [], []
    for axis in (0, 1):
        size = _dim(node.inputs[0], ROWS + axis)
        if not isinstance(size, int):
            raise NotByRows(f"the padding of {mode} depends on a symbolic size")
        stride, reach = strides[axis], (kernel[axis] - 1) * dilations[axis] + 1
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        less, more = total // 2, total - total // 2
        before.append(less if mode == "SAME_UPPER" else more)
        after.append(more if mode == "SAME_UPPER" else less)
    return before[0], before[1], after[0], after[1]


def _transposed(node: gs.Node, view: View) -> Pointwise:
    if node.attrs.get("output_shape") or view.attr(node, "auto_pad", "NOTSET") not in ("NOTSET", ""):
        raise NotByRows("its padding follows from the output's size")
    strides, dilations = _ints(node, "strides", [1, 1]), _ints(node, "dilations", [1, 1])
    top, left, bottom, right = _ints(node, "pads", [0, 0, 0, 0])
    if min(top, left, bottom, right) < 0:
        raise NotByRows("it has negative padding")
    across = _ints(node, "output_padding", [0, 0])[1]
    kernel = _kernel(node, view)[0]
    pads = (top, left, bottom, right)
    return Transposed(frozenset({0}), kernel, strides[0], dilations[0], pads, _height(node), across)


def _factor(node: gs.Node) -> tuple[int, int]:
    """(input rows, output rows per input row)."""
    height, out = _height(node), int(_dim(node.outputs[0], ROWS))
    if not height or out % height:
        raise NotByRows("it does not scale by a whole number")
    return height, out // height


def _resize(node: gs.Node, view: View) -> Pointwise:
    height, factor = _factor(node)
    mode = view.attr(node, "mode", "nearest")
    if node.op == "Upsample" or view.opset < 11:
        place, nearest = "asymmetric", "floor"
    else:
        place = view.attr(node, "coordinate_transformation_mode", "half_pixel")
        nearest = view.attr(node, "nearest_mode", "round_prefer_floor")
    halves = place in ("half_pixel", "pytorch_half_pixel")
    if any(node.attrs.get(name) for name in ("antialias", "exclude_outside", "axes")):
        raise NotByRows("its options mix rows")
    sizes = _sizes(node, view)
    if mode == "nearest" and ((halves and nearest.startswith("round")) or (place, nearest) == ("asymmetric", "floor")):
        return Scaled(frozenset({0}), factor, height, 0, sizes)
    if mode == "linear" and factor & (factor - 1) == 0 and (halves or place == "asymmetric"):
        return Scaled(frozenset({0}), factor, height, 1, sizes)
    raise NotByRows(f"{mode} with {place} coordinates is not the same for a part of the rows")


def _sizes(node: gs.Node, view: View) -> tuple[int, tuple[int, ...]] | None:
    """Where the output's sizes are stated; its scales must be exactly the factor where they are not."""
    stated = view.input(node, 3) if node.op == "Resize" and view.opset >= 11 else None
    if stated is not None:
        values = view.constant_value(stated)
        if values is None or values.size != RANK:
            raise NotByRows("its sizes are not constant")
        return 3, tuple(int(value) for value in values)
    scales = view.constant_value(view.input(node, 2 if node.op == "Resize" and view.opset >= 11 else 1))
    if scales is None and "scales" not in node.attrs:
        raise NotByRows("its scales are not constant")
    found = [float(value) for value in (scales if scales is not None else node.attrs["scales"])]
    if len(found) != RANK or found[ROWS] != _factor(node)[1]:
        raise NotByRows("it does not scale by a whole number")
    return None


def _depth_to_space(node: gs.Node, view: View) -> Pointwise:
    return Scaled(frozenset({0}), int(node.attrs["blocksize"]), _height(node))


def _space_to_depth(node: gs.Node, view: View) -> Pointwise:
    _height(node)
    return Blocks(frozenset({0}), int(node.attrs["blocksize"]))


def _slice(node: gs.Node, view: View) -> Pointwise:
    if view.opset < 10:
        raise NotByRows("Slice before opset 10")
    starts, ends, axes, steps = (_vector(node, view, position) for position in range(1, 5))
    if starts is None or ends is None:
        raise NotByRows("its bounds are not constant")
    axes = axes if len(node.inputs) > 3 and node.inputs[3].name else tuple(range(len(starts)))
    if axes is None or (steps is None and len(node.inputs) > 4 and node.inputs[4].name):
        raise NotByRows("its axes are not constant")
    along = [axis % RANK for axis in axes]
    if ROWS not in along:
        return _first_rows(node)
    place, height = along.index(ROWS), _height(node)
    if steps is not None and steps[place] != 1:
        raise NotByRows("it skips rows")
    start = starts[place] + height if starts[place] < 0 else starts[place]
    return Crop(frozenset({0}), min(max(start, 0), height), place, starts, ends)


def _first_rows(node: gs.Node) -> Pointwise:
    _height(node)
    return Pointwise(frozenset({0}))


def _vector(node: gs.Node, view: View, position: int) -> tuple[int, ...] | None:
    values = view.constant_value(view.input(node, position))
    return None if values is None else tuple(int(value) for value in values.reshape(-1))


_UNARY = (
    "Abs", "Cast", "Ceil", "Celu", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity",
    "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign",
    "Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu", "QuantizeLinear", "DequantizeLinear", "LRN",
)  # fmt: skip
_ELEMENTWISE = (
    "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod",
    "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor",
)  # fmt: skip
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_UNARY, _first),
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv", "MaxPool", "AveragePool", "LpPool"), _window),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _axis(-1)),
    **dict.fromkeys(("ArgMax", "ArgMin", "Split"), _axis(0)),
    "BatchNormalization": _batch_norm,
    "Concat": _concat,
    "ConvTranspose": _transposed,
    "DepthToSpace": _depth_to_space,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Upsample": _resize,
}
