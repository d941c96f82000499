"""How a node that works on any layout does so on permuted operands: which edges follow, which axes are renamed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx_graphsurgeon as gs

from roofwright.graph import View
from roofwright.passes.cleanup.constant_inputs import integers, normalised, slice_bounds
from roofwright.passes.cleanup.permutations import moves_only_ones

Perm = tuple[int, ...]
_UNARY = (
    *("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish"),
    *(
        "Tanh",
        "Softplus",
        "Softsign",
        "Mish",
        "Gelu",
        "Swish",
        "Erf",
        "Exp",
        "Log",
        "Sqrt",
        "Abs",
        "Neg",
        "Sign",
        "Sin",
    ),
    *("Cos", "Floor", "Ceil", "Round", "Reciprocal", "Cast", "Identity", "Not", "IsNaN", "IsInf"),
)
_BROADCAST = (
    *("Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean", "Pow", "Mod", "PRelu", "Where", "Equal", "Greater"),
    *("GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor"),
)
_REDUCE = (
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"),
    *("ReduceLogSum", "ReduceLogSumExp"),
)
_PICKS = ("ReduceMax", "ReduceMin")  # in any order
_FIRST_BROADCASTING = 7
_FIRST_SLICE_INPUTS = 10
_FIRST_ONE_AXIS_SOFTMAX = 13
_FIRST_LAYER_NORMALIZATION = 17


MOVES, SUMS, PRODUCTS = range(3)


@dataclass(frozen=True)
class Change:
    """What changes at a node whose operands come permuted.

    Attributes:
        inputs: positions that are read in the other layout.
        outputs: positions that are written in it; none where the result is the same either way.
        attrs: new attributes.
        constants: positions of constants that are transposed, as broadcasting aligns them.
        values: position -> new integers.
        level: what changes beside the layout: nothing (`MOVES`), the order in which floating-point numbers are added or
            multiplied (`SUMS`), the sides of a MatMul, as (a b)^T = b^T a^T (`PRODUCTS`).
        leaves: a reduction of the last axis that becomes one of another axis.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...] = (0,)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    constants: tuple[int, ...] = ()
    values: Mapping[int, list[int]] = field(default_factory=dict)
    level: int = MOVES
    leaves: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether it is a MatMul whose operands change places."""
        return self.level == PRODUCTS


def change(node: gs.Node, perm: Perm, view: View, through: int) -> Change | None:
    """The change at `node` where each operand `v` is given as `w` with `v = Transpose(w, perm)`; None: it cannot.

    Axis `a` of an operand is axis `perm[a]` of the one given. `through`: the highest level of the change.
    """
    rule = _RULES.get(node.op) if view.is_op(node, node.op) else None
    found = None if rule is None else rule(node, perm, view)
    return None if found is None or found.level > through else found


def inverse(perm: Perm) -> Perm:
    """The permutation that takes `perm` back."""
    return tuple(sorted(range(len(perm)), key=lambda axis: perm[axis]))


def composed(inner: Perm, outer: Perm) -> Perm:
    """Transpose(Transpose(x, inner), outer) as one permutation."""
    return tuple(inner[axis] for axis in outer)


def _full_rank(node: gs.Node, perm: Perm, view: View) -> bool:
    return view.rank(node.inputs[0]) == len(perm)


def _unary(node: gs.Node, perm: Perm, view: View) -> Change | None:
    return Change((0,)) if _full_rank(node, perm, view) else None


def _broadcast(node: gs.Node, perm: Perm, view: View) -> Change | None:
    """Every operand of full rank follows; a constant of lower rank gets the axes that broadcasting gives it."""
    if view.opset < _FIRST_BROADCASTING or view.rank(node.outputs[0]) != len(perm):
        return None
    tied, constants = [], []
    for position, tensor in enumerate(node.inputs):
        if view.static_shape(tensor) in ((), (1,)):
            continue
        if view.is_constant(tensor):
            constants.append(position)
        elif view.rank(tensor) == len(perm):
            tied.append(position)
        else:
            return None
    return Change(tuple(tied), constants=tuple(constants)) if tied else None


def _concat(node: gs.Node, perm: Perm, view: View) -> Change | None:
    axis = _axis(node, perm, view, 1)
    constants = tuple(at for at, tensor in enumerate(node.inputs) if view.is_constant(tensor))
    tied = tuple(at for at in range(len(node.inputs)) if at not in constants)
    return Change(tied, (0,), {"axis": axis}, constants) if axis is not None and tied else None


def _split(node: gs.Node, perm: Perm, view: View) -> Change | None:
    axis = _axis(node, perm, view, 0)
    return Change((0,), tuple(range(len(node.outputs))), {"axis": axis}) if axis is not None else None


def _softmax(node: gs.Node, perm: Perm, view: View) -> Change | None:
    """Before opset 13 it flattens all axes behind its own; runtimes work along the last axis, which it should keep."""
    axis = _axis(node, perm, view, -1) if view.opset >= _FIRST_ONE_AXIS_SOFTMAX else None
    last = len(perm) - 1
    if axis is None or (axis != last and perm.index(axis) == last):
        return None
    level = MOVES if axis == last or node.op == "Hardmax" else SUMS  # in front, the last axis stays where it was
    return Change((0,), (0,), {"axis": axis}, level=level)


def _axis(node: gs.Node, perm: Perm, view: View, default: int) -> int | None:
    axis = view.attr(node, "axis", default)
    return perm[axis] if _full_rank(node, perm, view) and -len(perm) <= axis < len(perm) else None


def _slice(node: gs.Node, perm: Perm, view: View) -> Change | None:
    bounds = slice_bounds(node, view) if _full_rank(node, perm, view) else None
    if bounds is None:
        return None
    axes = [perm[axis] for axis in bounds[2]]
    if view.opset < _FIRST_SLICE_INPUTS:
        return Change((0,), attrs={"axes": axes})
    return Change((0,), values={3: axes})


def _pad(node: gs.Node, perm: Perm, view: View) -> Change | None:
    pads = integers(node, view, "pads", 1) if view.input(node, 3) is None else None
    rank = len(perm)
    if pads is None:
        return None
    back = inverse(perm)
    moved = [pads[axis] for axis in back] + [pads[rank + axis] for axis in back]
    return Change((0,), attrs={"pads": moved}) if "pads" in node.attrs else Change((0,), values={1: moved})


def _reduce(node: gs.Node, perm: Perm, view: View) -> Change | None:
    """With `keepdims` the result follows; without it, it must come out as before.

    Along the last axis alone it stays there where the opset has LayerNormalization, which works along the last axes.
    """
    rank = len(perm)
    axes = integers(node, view, "axes", 1)
    found = None if axes is None or not _full_rank(node, perm, view) else normalised(axes, rank)
    if not found:
        return None
    moved = [perm[axis] for axis in found]
    kept = view.attr(node, "keepdims", 1)
    leaves = found == [rank - 1] and moved != found
    if leaves and view.opset >= _FIRST_LAYER_NORMALIZATION:
        return None
    if not kept and not _in_order([perm[axis] for axis in range(rank) if axis not in found]):
        return None
    level = SUMS if node.op not in _PICKS and _is_inexact(node, view) and not _in_place(found, moved, rank) else MOVES
    outputs = (0,) if kept else ()
    if "axes" in node.attrs:
        return Change((0,), outputs, {"axes": moved}, level=level, leaves=leaves)
    return Change((0,), outputs, values={1: moved}, level=level, leaves=leaves)


def _is_inexact(node: gs.Node, view: View) -> bool:
    return not (view.dtype(node.inputs[0]) or "float").startswith(("int", "uint"))


def _in_place(axes: list[int], moved: list[int], rank: int) -> bool:
    """Whether these are the last axes, and stay where they are."""
    return axes == moved == list(range(rank - len(axes), rank))


def _arg(node: gs.Node, perm: Perm, view: View) -> Change | None:
    axis, kept = _axis(node, perm, view, 0), view.attr(node, "keepdims", 1)
    if axis is None or not (kept or _in_order([a for a in perm if a != axis])):
        return None
    return Change((0,), (0,) if kept else (), {"axis": axis})


def _squeeze(node: gs.Node, perm: Perm, view: View) -> Change | None:
    """Axes of size 1 go wherever they are; what stays must be in order."""
    axes = integers(node, view, "axes", 1)
    found = None if axes is None or not _full_rank(node, perm, view) else normalised(axes, len(perm))
    if not found or not _in_order([perm[axis] for axis in range(len(perm)) if axis not in found]):
        return None
    moved = [perm[axis] for axis in found]
    return Change((0,), (), {"axes": moved}) if "axes" in node.attrs else Change((0,), (), values={1: moved})


def _reshape(node: gs.Node, perm: Perm, view: View) -> Change | None:
    """Reads the same data where only axes of size 1 move."""
    target = integers(node, view, "shape", 1) if node.op == "Reshape" else []
    shape = _moved(node.inputs[0].shape, perm)
    if target is None or shape is None or not moves_only_ones(shape, perm):
        return None
    if node.op == "Flatten":
        axis, rank = view.attr(node, "axis", 1), len(perm)
        before = sorted(perm[: axis + rank if axis < 0 else axis])
        return Change((0,), ()) if before == list(range(len(before))) else None
    return Change((0,), ()) if 0 not in target else None


def _moved(shape: list[Any] | None, perm: Perm) -> list[Any] | None:
    """The shape of `w` where `v = Transpose(w, perm)` has this one."""
    return None if shape is None or len(shape) != len(perm) else [shape[axis] for axis in inverse(perm)]


def _quantise(node: gs.Node, perm: Perm, view: View) -> Change | None:
    """Scale and zero point of rank 0, or of rank 1 along `axis`."""
    scale = view.static_shape(view.input(node, 1))
    if scale is None or len(scale) > 1:
        return None
    if all(size == 1 for size in scale):
        return Change((0,))
    axis = _axis(node, perm, view, 1)
    return Change((0,), (0,), {"axis": axis}) if axis is not None else None


def _product(node: gs.Node, perm: Perm, view: View) -> Change | None:
    """Operands of full rank, or constant matrices, where the last two axes change places."""
    rank = len(perm)
    if perm != (*range(rank - 2), rank - 1, rank - 2):
        return None
    constants = tuple(at for at, held in enumerate(node.inputs) if view.is_constant(held) and view.rank(held) == 2)
    tied = tuple(at for at in range(len(node.inputs)) if at not in constants)
    if any(view.rank(node.inputs[at]) != rank or view.is_constant(node.inputs[at]) for at in tied):
        return None
    return Change(tied, constants=constants, level=PRODUCTS)


def _in_order(axes: list[int]) -> bool:
    return axes == sorted(axes)


_RULES: Mapping[str, Callable[[gs.Node, Perm, View], Change | None]] = {
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_BROADCAST, _broadcast),
    **dict.fromkeys(_REDUCE, _reduce),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _softmax),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _quantise),
    **dict.fromkeys(("Reshape", "Flatten"), _reshape),
    "Concat": _concat,
    "MatMul": _product,
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Squeeze": _squeeze,
}
