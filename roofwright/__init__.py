"""Roofwright: compiler passes that move an ONNX graph toward the roof of one named machine.

Example:
    model, report = roofwright.optimize("model.onnx", target="tpuv2")
"""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.cost_model import Schedule
    from roofwright.graph import RoofwrightError, canonical_text, structural_hash
    from roofwright.passes import Report, Result, optimize
    from roofwright.targets import Target, load_target

__version__ = "0.1.0"
_HOMES = {
    "Report": "passes",
    "Result": "passes",
    "RoofwrightError": "graph",
    "Schedule": "cost_model",
    "Target": "targets",
    "canonical_text": "graph",
    "load_target": "targets",
    "optimize": "passes",
    "structural_hash": "graph",
}
__all__ = [
    "Report",
    "Result",
    "RoofwrightError",
    "Schedule",
    "Target",
    "__version__",
    "canonical_text",
    "load_target",
    "optimize",
    "structural_hash",
]
__getattr__ = attach(__name__, _HOMES)
