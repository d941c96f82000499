"""Fusion: nodes folded into the weights and attributes of their neighbours."""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.passes.fusion.activations import FuseActivations
    from roofwright.passes.fusion.affine import FuseAffine
    from roofwright.passes.fusion.arithmetic import SimplifyArithmetic
    from roofwright.passes.fusion.batch_norm import FuseBatchNorm
    from roofwright.passes.fusion.composites import FuseComposites
    from roofwright.passes.fusion.concats import FuseConcat
    from roofwright.passes.fusion.dead_channels import FuseDeadChannels
    from roofwright.passes.fusion.einsum import SplitEinsum
    from roofwright.passes.fusion.gemm import FuseGemm
    from roofwright.passes.fusion.joined import FuseJoined
    from roofwright.passes.fusion.linear_chain import FuseLinearChain
    from roofwright.passes.fusion.pad import FusePad
    from roofwright.passes.fusion.scales import FuseScales
    from roofwright.passes.fusion.siblings import FuseSiblings

_HOMES = {
    "FuseActivations": "activations",
    "FuseAffine": "affine",
    "FuseBatchNorm": "batch_norm",
    "FuseComposites": "composites",
    "FuseConcat": "concats",
    "FuseDeadChannels": "dead_channels",
    "FuseGemm": "gemm",
    "FuseJoined": "joined",
    "FuseLinearChain": "linear_chain",
    "FusePad": "pad",
    "FuseScales": "scales",
    "FuseSiblings": "siblings",
    "SimplifyArithmetic": "arithmetic",
    "SplitEinsum": "einsum",
}
__all__ = [
    "FuseActivations",
    "FuseAffine",
    "FuseBatchNorm",
    "FuseComposites",
    "FuseConcat",
    "FuseDeadChannels",
    "FuseGemm",
    "FuseJoined",
    "FuseLinearChain",
    "FusePad",
    "FuseScales",
    "FuseSiblings",
    "SimplifyArithmetic",
    "SplitEinsum",
]
__getattr__ = attach(__name__, _HOMES)
