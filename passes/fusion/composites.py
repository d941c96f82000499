"""The pass that writes recognised patterns as standard operators."""

from dataclasses import dataclass
from typing import ClassVar

from roofwright.graph import View
from roofwright.passes.base import Context, LocalPass, Numerics, Rewrite
from roofwright.passes.fusion.attention import WriteAttention
from roofwright.passes.fusion.composite import Composite, accept
from roofwright.passes.fusion.gates import WriteGate
from roofwright.passes.fusion.group_norm import WriteGroupNorm
from roofwright.passes.fusion.norm_rows import NormOfRows, accept_rows
from roofwright.passes.fusion.norms import WriteNorm
from roofwright.passes.fusion.rotary import WriteRotary
from roofwright.passes.fusion.shared_heads import SharedHeads
from roofwright.passes.fusion.softmax import WriteLogSoftmax, WriteSoftmax

COMPOSITES: tuple[type[Composite], ...] = (
    WriteGate,
    WriteNorm,
    WriteGroupNorm,
    WriteSoftmax,
    WriteLogSoftmax,
    WriteRotary,
    WriteAttention,
)


@dataclass(frozen=True)
class FuseComposites(LocalPass):
    """`y = x * (1 + Erf(x / sqrt(2))) * 0.5` --> `y = Gelu(x)`, and the like.

    A pattern becomes the standard operator where the model's opset has it and the target's stack lists it among its
    `composites`, which are measured or known to be no slower; the opset is never raised. Where it does not, the nodes
    stay and the schedule runs them as one kernel (pass kernels).

    1. `0.5 * x * (1 + Erf(x / sqrt(2)))` in any order and association is Gelu (20); with Tanh of
       `sqrt(2 / pi) * (x + 0.044715 * x^3)`, or Sigmoid of twice that, Gelu with `approximate = "tanh"`. The nodes
       between `x` and the product are evaluated at probes and compared: constants may be off by their rounding.
    2. `x * Tanh(Softplus(x))` is Mish (18).
    3. `x * Sigmoid(x)` and `x * Sigmoid(1.702 * x)` are Swish (24).
    4. `d / Sqrt(Mean(d^2) + e)` with `d = x - Mean(x)` over the last axes is LayerNormalization (17), with the Mul and
       Add of its own dimensions that follow as scale and bias; `d * d` for `d^2`, `Reciprocal` or `^-1/2` for the root.
    5. The same with `d = x` is RMSNormalization (23). In 4 and 5 a Cast from float16 or bfloat16 to float32 in front
       and the one back before the scale go too: the operator keeps its means in float32 by definition.
    6. Means over all axes behind the channels, one scale and bias per channel: InstanceNormalization.
    7. An InstanceNormalization with scale 1 and bias 0 of a tensor reshaped to groups, reshaped back, with one scale
       and bias per channel behind: GroupNormalization (21; before, scale and bias were per group).
    8. `e / ReduceSum(e)` with `e = Exp(x - ReduceMax(x))` is Softmax along that axis (13; before, it joined axes), and
       `d - Log(ReduceSum(Exp(d)))` with `d = x - ReduceMax(x)` is LogSoftmax.
    9. `x * c + Concat(-x[half:], x[:half]) * s` on four axes is RotaryEmbedding (23), where `c` and `s` are constants
       with two equal halves, one row for each place of the sequence.
    10. `Softmax(s * q @ k^T + m) @ v` on four axes is Attention (23), the scale anywhere before the mask; batch, heads
       and lengths of q, k and v are equal, and the mask has its last two dimensions in full (a short last one would be
       filled up with minus infinity). Where k's Transpose moved other axes too, another one does just that.
    11. An Attention (23) whose keys and values are repeated head by head (Unsqueeze, Expand, Reshape) reads them as
       they were: the operator shares a head among a group of queries itself. Not with a cache.
    12. Case 4 before opset 17 with scale 1 and bias 0, or none: InstanceNormalization, every row a channel of its own,
       between two Reshapes where the tensor is not (batch, rows, width); if the target's stack says that it gains by
       it (`layer_by_instance`).

    Declines when an inner value has another reader; the opset or the target's stack does not have the operator, or
    onnxruntime, on which results are checked, does not run it at that opset in that type; means are computed in another
    type than float32; tables, masks or shapes are not as said.

    Numerics: rounding; case 11 exact.
    References: Hendrycks and Gimpel, arXiv:1606.08415 (GELU); Ba et al., arXiv:1607.06450 (layer normalization); Zhang
    and Sennrich, arXiv:1910.07467 (RMS); Su et al., arXiv:2104.09864 (rotary); Vaswani et al., arXiv:1706.03762.
    """

    name: ClassVar[str] = "fuse-composites"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "recognise Gelu, normalizations, Softmax, rotary embeddings and attention written out"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (NormOfRows, *COMPOSITES, SharedHeads)

    def limits(self, rewrite: Rewrite, view: View, ctx: Context) -> None:
        """Decline what the target's stack does not run as one kernel."""
        if isinstance(rewrite, NormOfRows):
            accept_rows(rewrite, ctx)
        if isinstance(rewrite, Composite):
            accept(rewrite.pattern.op, ctx)
