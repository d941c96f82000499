"""Pad folded into the padding of the convolution or pooling after it."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Decline, LocalPass, Numerics, Rewrite
from roofwright.passes.cleanup.constant_inputs import integers, normalised
from roofwright.passes.fusion.weights import only_reader

_QUANTIZED_ZERO_POINT = {"ConvInteger": 2, "QLinearConv": 2}  # the input that says which number stands for 0
_FIRST_COUNT_INCLUDE_PAD = 7
_NOT_NEGATIVE = ("Relu", "Sigmoid", "Abs", "HardSigmoid", "Softmax", "Softplus", "Sqrt", "Exp")


def spatial_pads(node: gs.Node, view: View) -> list[int] | None:
    """Begins, then ends of the spatial axes; None where the pads are not known; Decline where they touch others."""
    pads = integers(node, view, "pads", 1)
    rank = view.rank(node.inputs[0])
    if pads is None or rank is None:
        return None
    axes: list[int] | None = list(range(rank))
    if view.input(node, 3) is not None:
        given = integers(node, view, "axes", 3)
        axes = None if given is None else normalised(given, rank)
    if axes is None:
        return None
    full = [0] * (2 * rank)
    for position, axis in enumerate(axes):
        full[axis], full[rank + axis] = pads[position], pads[len(axes) + position]
    if any(full[:2]) or any(full[rank : rank + 2]):
        raise Decline("it pads the batch or the channels")
    if any(size < 0 for size in full):
        raise Decline("it crops (a pad is negative)")
    return full[2:rank] + full[rank + 2 :]


def pad_value(node: gs.Node, view: View) -> float:
    """The constant that the node fills in; Decline where it is something else."""
    mode = view.attr(node, "mode", "constant")
    if mode != "constant":
        raise Decline(f"its mode is {mode!r}")
    if view.input(node, 2) is None:
        return float(view.attr(node, "value", 0.0))
    value = view.scalar(view.input(node, 2))
    if value is None:
        raise Decline("its value is not a constant")
    return value


def own_pads(node: gs.Node, view: View, count: int) -> list[int]:
    """The explicit pads of a convolution or pooling; Decline where it lets the runtime choose."""
    if view.attr(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise Decline(f"auto_pad of the {node.op} is {node.attrs['auto_pad']!r}")
    if view.attr(node, "auto_pad") == "VALID":
        return [0] * count
    return list(view.attr(node, "pads", [0] * count))


def _check_zero_point(node: gs.Node, value: float, view: View) -> None:
    """Case 2."""
    position = _QUANTIZED_ZERO_POINT[node.op]
    given = view.input(node, position)
    zero_point = 0.0 if given is None else view.scalar(given)
    if zero_point != value:
        raise Decline(f"it fills in {value:g}, the {node.op} pads with its zero point")


def _check_average(node: gs.Node, value: float, view: View, own: list[int], total: list[int]) -> None:
    """Case 3."""
    if value != 0:
        raise Decline(f"it fills in {value:g}, an AveragePool pads with 0")
    if view.opset < _FIRST_COUNT_INCLUDE_PAD:
        raise Decline("before opset 7 an AveragePool cannot count its padding")
    if any(own) and not view.attr(node, "count_include_pad", 0):
        raise Decline("the AveragePool has pads of its own that it does not count")
    _check_window(node, view, total)


def _check_maximum(pad: gs.Node, node: gs.Node, value: float, view: View, total: list[int]) -> None:
    """Case 4."""
    if len(node.outputs) > 1 and (node.outputs[1].outputs or view.is_output(node.outputs[1])):
        raise Decline("the indices of the MaxPool are used")
    if any(step != 1 for step in view.attr(node, "dilations", ())):
        raise Decline("the MaxPool is dilated")
    if not _is_lowest(pad, value, view):
        raise Decline(f"it fills in {value:g}, which may exceed a value; a MaxPool pads with -infinity")
    _check_window(node, view, total)


def _is_lowest(pad: gs.Node, value: float, view: View) -> bool:
    """Whether no element of the pad's input can be below `value`."""
    if value == -np.inf:
        return True
    name = view.dtype(pad.inputs[0])
    if name in ("int8", "uint8"):
        return value == np.iinfo(name).min
    maker = view.producer(pad.inputs[0])
    return value <= 0 and view.is_op(maker, *_NOT_NEGATIVE)


def _check_window(node: gs.Node, view: View, total: list[int]) -> None:
    """Pooling wants a whole number of windows and at least one real element in each."""
    if view.attr(node, "ceil_mode", 0):
        raise Decline(f"the {node.op} rounds its output size up (ceil_mode)")
    kernel = list(view.attr(node, "kernel_shape", ()))
    if any(size >= kernel[axis % len(kernel)] for axis, size in enumerate(total)):
        raise Decline(f"the pads would not be smaller than the window of the {node.op}")


@dataclass(frozen=True)
class FoldPad(Rewrite):
    """Conv(Pad(x), pads = p) --> Conv(x, pads = p + q): cases 1, 2 and 4."""

    name: ClassVar[str] = "fold-pad"
    anchors: ClassVar[tuple[str, ...]] = ("Pad",)
    numerics: ClassVar[Numerics] = "exact"
    into: ClassVar[tuple[str, ...]] = ("Conv", "MaxPool", *_QUANTIZED_ZERO_POINT)
    node: gs.Node
    consumer: gs.Node
    pads: tuple[int, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The Pad, the node that alone reads it, and that one's new pads."""
        out = node.outputs[0]
        consumer = next((c for c in view.consumers(out) if view.is_op(c, *cls.into) and c.inputs[0] is out), None)
        if consumer is None:
            return None
        only_reader(out, consumer, view)
        added = spatial_pads(node, view)
        if added is None:
            raise Decline("its pads are not constant, or the rank of what it pads is not known")
        value = pad_value(node, view)
        own = own_pads(consumer, view, len(added))
        total = [a + b for a, b in zip(own, added, strict=True)]
        _check(node, consumer, value, view, own, total)
        return cls(node, consumer, tuple(total))

    def apply(self, edit: Edit) -> None:
        """The consumer reads what the Pad read, with larger pads."""
        counted = {"count_include_pad": 1} if self.consumer.op == "AveragePool" else {}
        edit.set_attrs(self.consumer, pads=list(self.pads), auto_pad=None, **counted)
        source = self.node.inputs[0]
        edit.inherit(self.consumer, (self.node, self.consumer))
        edit.remove(self.node)
        edit.set_input(self.consumer, 0, source)


@dataclass(frozen=True)
class FoldPadIntoAverage(FoldPad):
    """AveragePool(Pad(x)) --> AveragePool(x, pads = q, count_include_pad = 1): case 3."""

    name: ClassVar[str] = "fold-pad-into-average"
    numerics: ClassVar[Numerics] = "rounding"
    into: ClassVar[tuple[str, ...]] = ("AveragePool",)


def _check(pad: gs.Node, node: gs.Node, value: float, view: View, own: list[int], total: list[int]) -> None:
    if node.op in _QUANTIZED_ZERO_POINT:
        _check_zero_point(node, value, view)
    elif node.op == "AveragePool":
        _check_average(node, value, view, own, total)
    elif node.op == "MaxPool":
        _check_maximum(pad, node, value, view, total)
    elif value != 0:
        raise Decline(f"it fills in {value:g}, a Conv pads with 0")


@dataclass(frozen=True)
class FusePad(LocalPass):
    """`y = Conv(Pad(x, q), pads = p)` --> `y = Conv(x, pads = p + q)`.

    1. Conv: the Pad fills in 0, on spatial axes only; `auto_pad` is NOTSET or VALID.
    2. ConvInteger, QLinearConv: the Pad fills in the zero point of the input.
    3. AveragePool: its own pads are 0 or counted; the result counts all of them (`count_include_pad`). A window that
       reaches over the border is then summed by another loop, in another order.
    4. MaxPool: its padding never wins, so what the Pad fills in must not either: -infinity, the lowest 8-bit integer,
       or at most 0 where the input is the result of a Relu, Sigmoid or the like.

    Declines when the Pad's result has another reader; its mode is not "constant"; its pads or value are not constants;
    the rank is not known; a pad is negative or on the batch or channel axis; a pooling rounds up, or a pad would reach
    its window; the indices of a MaxPool are used, or it is dilated.

    Numerics: exact; case 3 is rounding.
    """

    name: ClassVar[str] = "fuse-pad"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "fold Pad into the padding of Conv, AveragePool and MaxPool"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (FoldPad, FoldPadIntoAverage)
