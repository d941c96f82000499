"""Work: what one node asks of a machine, independent of any machine.

A matrix operation is a `LoopNest` (a convolution or a GEMM in one form), everything else is counted in elementwise
lane operations, transcendental operations and bytes moved. Nothing is free by omission: a node that no rule covers has
`kind == "not_modelled"` and shows in every total.
"""

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "matmul", "conv", "depthwise", "recurrent", "elementwise", "reduce", "pool", "move", "view", "not_modelled"
]


@dataclass(frozen=True, slots=True)
class LoopNest:
    """`repeat` independent copies of out[p, k] += in[p, c*r*s] * w[k, c*r*s].

    A GEMM C[M,N] = A[M,K] B[K,N] is batch=1, out_h=M, out_w=1, in_h=M, in_w=1, out_channels=N, in_channels=K, 1x1
    kernel.
    A convolution with `groups` has repeat=groups and channels per group. A batched MatMul has repeat=batch and
    shared_weights=False (each copy has its own right operand). A recurrent layer runs the nest `steps` times, each step
    waiting for the one before.
    """

    repeat: int = 1
    batch: int = 1
    out_h: int = 1
    out_w: int = 1
    out_channels: int = 1
    in_channels: int = 1
    kernel_h: int = 1
    kernel_w: int = 1
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    in_h: int = 1  # unpadded input size, for the bytes that are really touched
    in_w: int = 1
    steps: int = 1

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates of the direct algorithm, all copies and steps."""
        return self.steps * self.repeat * self.rows * self.out_channels * self.depth

    @property
    def rows(self) -> int:
        """M of the equivalent GEMM of one copy: output pixels."""
        return self.batch * self.out_h * self.out_w

    @property
    def depth(self) -> int:
        """K of the equivalent GEMM of one copy: the reduction length."""
        return self.in_channels * self.kernel_h * self.kernel_w


@dataclass(frozen=True, slots=True)
class Operand:
    """One tensor read or written. `dtype` is the graph's; the target's assumption decides what is stored."""

    name: str
    elements: int  # elements of it that the node touches (stride > kernel skips pixels; Gather reads rows)
    dtype: str  # numpy name, or "bfloat16", "float8e4m3fn", "int4", "string" ...
    constant: bool = False  # a weight: read again in every request unless resident


@dataclass(frozen=True, slots=True)
class Work:
    """What one node does.

    Attributes:
        kind: class of work; "view" moves and computes nothing (Reshape, Identity, Shape, constants).
        nest: the matrix part; None for all others.
        lane_ops: elementwise operations (one per element per simple arithmetic step).
        special_ops: transcendental or division operations.
        reads, writes: operands; a view has none.
        repeat: how often a node in a loop body runs (trip count); 1 outside.
        pieces: of a pool, reduction, normalisation, or a move along some axes: equal parts of the result, one
            behind the other in memory, that each need only their own part of the operands; 1: it cannot be cut.
        more_nests: further matrix parts of the same node (attention: scores, then values; a recurrent layer: steps,
            then the input projection of all steps).
        alias_of: a view of a non-constant: the tensor whose bytes its first output is.
        more_aliases: on a view that stands for control flow: (name, tensor whose bytes it is) of its further outputs
            and of its bodies' inputs.
        reason: why it is not modelled; on a view that stands for control flow, what was assumed.
    """

    kind: Kind
    nest: LoopNest | None = None
    lane_ops: int = 0
    special_ops: int = 0
    reads: tuple[Operand, ...] = field(default=())
    writes: tuple[Operand, ...] = field(default=())
    repeat: int = 1
    pieces: int = 1
    more_nests: tuple[LoopNest, ...] = ()
    alias_of: str = ""
    more_aliases: tuple[tuple[str, str], ...] = ()
    reason: str = ""

    @property
    def nests(self) -> tuple[LoopNest, ...]:
        """All matrix parts."""
        return (self.nest, *self.more_nests) if self.nest else self.more_nests

    @property
    def macs(self) -> int:
        """Useful MACs, all repeats."""
        return self.repeat * sum(nest.macs for nest in self.nests)
