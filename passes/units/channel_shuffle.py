"""Channel shuffles as an order of the weights around them."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from roofwright.graph import Edit, View
from roofwright.passes.base import Context, Decline, LocalPass, Numerics, Rewrite
from roofwright.passes.units.plan import Order, Piece, Plan, Sink, plan
from roofwright.passes.units.region import Region
from roofwright.passes.units.routes import CHANNEL_AXIS, Route, shuffle
from roofwright.passes.units.ties import Follower

_FIRST_SPLIT_INPUT = 13
_MOST_PIECES = 32  # inputs of one Concat


@dataclass(frozen=True)
class AbsorbShuffles(Rewrite):
    """conv(shuffle(conv(x, V)), W) --> conv(conv(x, V), permuted W), with all that lies between: cases 1 to 6."""

    name: ClassVar[str] = "absorb-shuffles"
    anchors: ClassVar[tuple[str, ...]] = ("Transpose",)
    numerics: ClassVar[Numerics] = "rounding"
    routes: tuple[Route, ...]
    plan: Plan

    @property
    def followers(self) -> tuple[Follower, ...]:
        """The parameters that are permuted."""
        return tuple(f for group, order in self.plan.orders if np.any(np.diff(order) != 1) for f in group.followers)

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """The shuffle at `node`, the region it is linked with, and an order for every tensor of it that moves less."""
        start = shuffle(node, view)
        if start is None:
            return None
        region = Region(start, view)
        found = plan(region)
        before = sum(route.moved_channels for route in region.routes)
        nodes = sum(len(route.nodes) for route in region.routes)
        if found.moved_channels < before and found.node_count <= nodes and found.most_pieces <= _MOST_PIECES:
            return cls(region.routes, found)
        reasons = [group.reason for group in region.classes if group.reason]
        why = f" ({reasons[0]})" if reasons else ""
        raise Decline(f"no order of channels spares the shuffle{why}: {found.moved_channels} would move, not {before}")

    def apply(self, edit: Edit) -> None:
        """Parameters are permuted, routes go, and each tensor that others read is made of its pieces."""
        for group, order in self.plan.orders:
            for follower in group.followers if np.any(np.diff(order) != 1) else ():
                _permute(follower, order, edit)
        write = _Writer(self.plan, self.routes, edit)
        for route in self.routes:
            for node in route.nodes:
                edit.remove(node)
        for sink in self.plan.sinks:
            write.sink(sink)


def _permute(follower: Follower, order: Order, edit: Edit) -> None:
    node, position = follower.node, follower.position
    values = edit.view.constant_value(node.inputs[position])
    if values is not None:
        edit.set_constant(node, position, follower.permuted(values, order), f"{node.outputs[0].name}_{position}")


class _Writer:
    """Writes the nodes of a plan; each source is cut at most once."""

    def __init__(self, plan: Plan, routes: tuple[Route, ...], edit: Edit) -> None:
        """Remember which nodes are replaced, before they go."""
        self.plan, self.edit = plan, edit
        self.first = routes[0].nodes[0]
        self.makers = {id(tensor): route.nodes for route in routes for tensor, _ in route.picks}
        self.readers = {id(tensor): route.nodes for route in reversed(routes) for tensor in route.inputs}
        self.cut: dict[int, list[gs.Tensor]] = {}

    def sink(self, sink: Sink) -> None:
        """Make the tensor: the whole of another one, a Concat of pieces, or channels gathered from either."""
        tensor = sink.tensor
        parts = [part for piece in sink.pieces for part in self._parts(piece)]
        if sink.gather is not None:
            indices = self.edit.constant(f"{tensor.name}_channels", sink.gather)
            joined = parts[0] if len(parts) == 1 else self._like(tensor, sink.gather.size, f"{tensor.name}_joined")
            self._node("Gather", [joined, indices], tensor, axis=CHANNEL_AXIS)
            if len(parts) > 1:
                self._node("Concat", parts, joined, tensor, axis=CHANNEL_AXIS)
        elif len(parts) > 1:
            self._node("Concat", parts, tensor, axis=CHANNEL_AXIS)
        elif self.edit.view.is_output(tensor):
            self._node("Identity", parts, tensor)
        else:
            self.edit.replace_uses(tensor, parts[0])

    def _parts(self, piece: Piece) -> list[gs.Tensor]:
        source, cuts = piece.tensor, self.plan.cuts[id(piece.tensor)]
        if len(cuts) == 2:
            return [source]
        if id(source) not in self.cut:
            self.cut[id(source)] = self._split(source, np.diff(cuts))
        return self.cut[id(source)][cuts.index(piece.start) : cuts.index(piece.stop)]

    def _split(self, source: gs.Tensor, sizes: Order) -> list[gs.Tensor]:
        outputs = [self._like(source, int(size), f"{source.name}_part") for size in sizes]
        has_input = self.edit.view.opset >= _FIRST_SPLIT_INPUT
        inputs = [source, self.edit.constant(f"{source.name}_sizes", sizes.astype(np.int64))] if has_input else [source]
        attrs = {"axis": CHANNEL_AXIS} | ({} if has_input else {"split": sizes.tolist()})
        replaced, name = self.readers[id(source)], f"{source.name}_split"
        self.edit.node("Split", inputs, outputs, name=name, sources=replaced, attrs=attrs, before=self.first)
        return outputs

    def _like(self, tensor: gs.Tensor, count: int, name: str) -> gs.Tensor:
        shape = list(tensor.shape or [])
        shape[CHANNEL_AXIS] = count
        return self.edit.variable(name, tensor.dtype, shape)

    def _node(
        self, op: str, inputs: list[gs.Tensor], out: gs.Tensor, named: gs.Tensor | None = None, **attrs: int
    ) -> None:
        replaced = self.makers[id(named or out)]
        name = replaced[-1].name or out.name
        self.edit.node(op, inputs, [out], name=name, sources=replaced, attrs=attrs, before=self.first)


@dataclass(frozen=True)
class ChannelShuffles(LocalPass):
    """`y = conv(shuffle(conv(x, V)), W)` --> `y = conv(conv(x, V), permuted W)`.

    A shuffle is Reshape, Transpose, Reshape around axis 1 only. From it a region is explored: *routes* (shuffles,
    Concat, Split, Slice and Gather along axis 1) and *classes* of tensors whose channels must lie in one order. Every
    class gets an order in which channels that are read together lie together, so that what routes made becomes
    the whole of a tensor, or a Concat of parts of a Split.

    1. The producers' output channels are permuted: dense Conv, ConvTranspose, Gemm, MatMul; weight and bias.
    2. The consumers' input channels are permuted: the same operators.
    3. Between, an order passes through elementwise operators (per-channel constants follow it), BatchNormalization,
       depthwise convolutions, pooling, reductions of pixels and views that keep the channel axis; so it does along
       both operands of a residual Add and of a squeeze-and-excitation Mul.
    4. Grouped convolutions: channels are permuted inside the groups.
    5. Half of the channels pass and half are worked on (ShuffleNet V2): what passes is cut once where it is made and is
       not copied again until it is read.
    6. A tensor that must stay as it is (an output, or read by anything else): its channels are picked by one Gather at
       the border, where that is cheaper than the shuffles.

    Declines when no order moves fewer channels than the graph does: where grouped convolutions stand on both sides
    (ShuffleNet V1), where a Gather would cost as much; where weights are not constants; where a number of channels is
    not known; where it would need a Concat of more than 32 parts, or a copy of a large shared weight.

    Numerics: rounding (a convolution adds its channels up in another order). References: ShuffleNet, Zhang et al.,
    arXiv:1707.01083; ShuffleNet V2, Ma et al., arXiv:1807.11164; weight permutation for layout, Ji et al., "Tetris",
    NeurIPS 2018.
    """

    name: ClassVar[str] = "channel-shuffles"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "absorb channel shuffles into the weights around them"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (AbsorbShuffles,)

    def limits(self, rewrite: Rewrite, view: View, ctx: Context) -> None:
        """Decline where a shared weight is too large to copy."""
        for follower in rewrite.followers if isinstance(rewrite, AbsorbShuffles) else ():
            old = follower.node.inputs[follower.position]
            size = int(np.prod(view.static_shape(old) or (0,))) * 8
            if len(old.outputs) > 1 and size > ctx.fold_limit_bytes:
                raise Decline(f"weight {old.name!r} is shared, and a copy is above the limit of {ctx.fold_limit_bytes}")
