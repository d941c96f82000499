"""Fusion: nodes folded into the weights and attributes of their neighbours."""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.passes.fusion.activations import FuseActivations
    from roofwright.passes.fusion.affine import FuseAffine
    from roofwright.passes.fusion.batch_norm import FuseBatchNorm
    from roofwright.passes.fusion.gemm import FuseGemm
    from roofwright.passes.fusion.pad import FusePad

_HOMES = {
    "FuseActivations": "activations",
    "FuseAffine": "affine",
    "FuseBatchNorm": "batch_norm",
    "FuseGemm": "gemm",
    "FusePad": "pad",
}
__all__ = ["FuseActivations", "FuseAffine", "FuseBatchNorm", "FuseGemm", "FusePad"]
__getattr__ = attach(__name__, _HOMES)
