"""Concat of a convolution and a depthwise one of its result, written by one wider convolution."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Context, Decline, Numerics, Rewrite
from roofwright.passes.fusion.images import is_depthwise, joins_channels, with_channels
from roofwright.passes.fusion.weights import NewWeight, constant_weight, given_weight, only_reader
from roofwright.passes.gains import Step, fuses_activations, gain
from roofwright.targets import Engine, Simd, Systolic, Target

_IDEMPOTENT = ("Relu", "Clip")


def _behind(tensor: gs.Tensor, view: View) -> tuple[gs.Node | None, gs.Node | None]:
    """The node that makes `tensor`, and the activation behind it where there is one."""
    maker = view.producer(tensor)
    if not view.is_op(maker, *_IDEMPOTENT):
        return maker, None
    return view.producer(view.input(maker, 0)), maker


@dataclass(frozen=True)
class WidenProducer(Rewrite):
    """Concat(a, dw(a)) with a = Conv(x, W) --> dw'(Conv(x, [W, W])): case 1."""

    name: ClassVar[str] = "widen-producer"
    anchors: ClassVar[tuple[str, ...]] = ("Concat",)
    numerics: ClassVar[Numerics] = "rounding"
    node: gs.Node
    dense: gs.Node
    filters: gs.Node
    kept: gs.Tensor
    made: gs.Tensor
    weights: tuple[NewWeight, ...]

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The Concat, the convolution behind both operands and the depthwise one behind one of them."""
        if not joins_channels(node, view) or len(node.inputs) != 2:
            return None
        for plain in (0, 1):
            kept, made = node.inputs[plain], node.inputs[1 - plain]
            (dense, before), (filters, after) = _behind(kept, view), _behind(made, view)
            if not is_depthwise(filters, view) or filters.inputs[0] is not kept:
                continue
            if not view.is_op(dense, "Conv") or view.attr(dense, "group", 1) != 1:
                return None
            _check_readers(node, dense, filters, view)
            _check_values(filters, before, after, view)
            return cls(node, dense, filters, kept, made, tuple(_doubled(dense, filters, plain == 0, view)))
        return None

    def saving(self, ctx: Context) -> float | None:
        """Two convolutions of twice the channels for two narrow ones and a Concat."""
        dense, filters, concat = (Step.of(n, ctx) for n in (self.dense, self.filters, self.node))
        if not _has_idle_lanes(filters.inputs[0][1], ctx.target):
            raise Decline("twice the channels do not fit into lanes that are idle")
        size = concat.inputs[0]
        joined = ((size[0], 2 * size[1], *size[2:]),)
        around = [Step.of(n, ctx) for n in self._activations() if not fuses_activations(ctx)]
        wide = replace(dense, outputs=joined, weights=self._sizes(self.dense))
        deep = replace(filters, inputs=joined, outputs=joined, weights=self._sizes(self.filters))
        after = [wide, deep.having(group=joined[0][1]), *(replace(s, inputs=joined, outputs=joined) for s in around)]
        return gain([dense, filters, replace(concat, outputs=joined), *around], after, ctx)

    def _activations(self) -> list[gs.Node]:
        ends = [tensor.inputs[0] for tensor in (self.kept, self.made)]
        return [node for node in ends if node is not self.dense and node is not self.filters]

    def _sizes(self, node: gs.Node) -> tuple[tuple[int, ...], ...]:
        return tuple(new.values.shape for new in self.weights if new.node is node)

    def apply(self, edit: Edit) -> None:
        """The depthwise convolution makes both halves: one with its filters, one with a 1 in their middle."""
        for new in self.weights:
            new.write(edit)
        count = 2 * edit.view.attr(self.filters, "group", 1)
        edit.set_attrs(self.filters, group=count)
        inner = [self.dense.outputs[0], self.kept, self.filters.outputs[0]]
        for tensor in {id(t): t for t in inner if t is not self.made}.values():
            edit.hand_over(
                tensor, edit.variable(f"{tensor.name}_wide", tensor.dtype, with_channels(tensor.shape, count))
            )
        edit.absorb(self.made.inputs[0], self.node)


def _check_readers(concat: gs.Node, dense: gs.Node, filters: gs.Node, view: View) -> None:
    """Decline where a value that changes its width has a reader outside the pattern."""
    kept, made = filters.inputs[0], next(t for t in concat.inputs if t is not filters.inputs[0])
    if len(kept.outputs) != 2 or view.is_output(kept):
        raise Decline(f"{kept.name!r} is read by others too")
    only_reader(made, concat, view)
    for tensor, end in ((dense.outputs[0], kept), (filters.outputs[0], made)):
        if tensor is not end:
            only_reader(tensor, end.inputs[0], view)


def _check_values(filters: gs.Node, before: gs.Node | None, after: gs.Node | None, view: View) -> None:
    """Decline where an identity filter and the activation behind it would not give the operand back."""
    if not _has_identity(filters, view):
        raise Decline("the depthwise convolution has no filter that keeps a pixel where it is")
    if after is None:
        return
    same = before is not None and before.op == after.op and _settings(before, view) == _settings(after, view)
    if not same:
        raise Decline(f"its operand has not gone through the same {after.op}")


def _settings(node: gs.Node, view: View) -> list[Any]:
    constants = [view.scalar(tensor) for tensor in node.inputs[1:] if tensor.name]
    if None in constants:
        raise Decline("a bound of the Clip is not a constant")
    return [*constants, *sorted(node.attrs.items())]


def _has_identity(node: gs.Node, view: View) -> bool:
    """Whether output and input pixel have the same place, where both images are as large: half a kernel of padding."""
    kernel = node.inputs[1].shape[2:]
    half = [size // 2 * step for size, step in zip(kernel, view.attr(node, "dilations", [1, 1]), strict=True)]
    return list(view.attr(node, "pads", [0] * 4)) == half + half


def _doubled(dense: gs.Node, filters: gs.Node, kept_first: bool, view: View) -> Iterator[NewWeight]:
    for position in (1, 2):
        value = constant_weight(dense, position, view)
        if value is not None:
            yield NewWeight(dense, position, np.concatenate([value, value]))
    own = given_weight(filters, 1, view)
    identity = np.zeros_like(own)
    identity[:, 0, own.shape[2] // 2, own.shape[3] // 2] = 1
    yield NewWeight(filters, 1, np.concatenate([identity, own] if kept_first else [own, identity]))
    bias = constant_weight(filters, 2, view)
    if bias is not None:
        none = np.zeros_like(bias)
        yield NewWeight(filters, 2, np.concatenate([none, bias] if kept_first else [bias, none]))


def _has_idle_lanes(count: int, target: Target | None) -> bool:
    """Whether twice as many channels take no further block of lanes, or of columns, on any unit of the target."""
    blocks = [_block(engine) for engine in target.engines] if target else []
    return all(-(-2 * count // block) == -(-count // block) for block in blocks if block)


def _block(engine: Engine) -> int | None:
    """Output channels that a unit works on at a time, where a remainder leaves some of it idle."""
    geometry = engine.geometry
    if isinstance(geometry, Simd):
        return geometry.channel_granule
    return geometry.cols if isinstance(geometry, Systolic) else None
