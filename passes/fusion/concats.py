"""Concat of channels taken out from between convolutions."""

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from roofwright.graph import View
from roofwright.passes.base import Context, Decline, LocalPass, Numerics, Pass, PassResult, Rewrite
from roofwright.passes.fusion.concat_sum import SplitConsumer
from roofwright.passes.fusion.concat_widen import WidenProducer
from roofwright.passes.fusion.weights import WeightPass


@dataclass(frozen=True)
class _Widen(WeightPass):
    name: ClassVar[str] = "fuse-concat"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "case 1"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (WidenProducer,)


@dataclass
class _Purse:
    """Nodes that may still be added."""

    nodes: int


@dataclass(frozen=True)
class _Split(LocalPass):
    name: ClassVar[str] = "fuse-concat"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "case 2"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (SplitConsumer,)
    purse: _Purse

    def limits(self, rewrite: Rewrite, view: View, ctx: Context) -> None:
        """Decline where the graph would grow beyond what it was; what pays is paid for."""
        assert isinstance(rewrite, SplitConsumer)
        if rewrite.growth > self.purse.nodes:
            raise Decline("it adds nodes, and nothing else took so many out")
        if (rewrite.saving(ctx) or 0.0) > 0:
            self.purse.nodes -= rewrite.growth


@dataclass(frozen=True)
class FuseConcat(Pass):
    """`y = Concat(a, dw(a))`, `a = Conv(x, W)` --> `y = dw'(Conv(x, [W, W]))`; `Conv(Concat(a, b), W)` --> a sum.

    1. A Concat of the channels of a convolution and of a depthwise one of its result (GhostNet's module): the first
       makes every channel twice, the second has a 1 in the middle of the filters of one half. An activation behind the
       depthwise convolution must be one that the other half has gone through already, and that does nothing twice
       (Relu, Clip). Only where a vector unit has idle lanes for the further channels, and where the price says so.
    2. A Concat of channels that one convolution reads, directly or through depthwise convolutions, pooling and
       pointwise activations: every operand has its own convolution, with its slice of the weights, and the results are
       added, which a runtime does on the way. Only where the price says so, and as long as the graph has no more nodes
       than before case 1.

    Where a value between them has another reader, case 2 does nothing.

    Declines when a value of case 1 has another reader; a weight is not a constant; the filters cannot keep a pixel
    in its place (even kernel, stride, other padding); a shape or a price is not known.

    Numerics: rounding (case 2 adds in another order). Case 1 multiplies neighbours by 0, which is exact for finite
    values.
    References: Han et al., GhostNet, CVPR 2020, arXiv:1911.11907, section 3.1.
    """

    name: ClassVar[str] = "fuse-concat"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "take the Concat of channels out from between convolutions"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Case 1 everywhere, then case 2 with the nodes that case 1 took out."""
        widened = _Widen().run(graph, ctx).records
        won = sum(len(record.removed) - len(record.added) for record in widened)
        return PassResult((*widened, *_Split(_Purse(won)).run(graph, ctx).records))
