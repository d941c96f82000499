"""Clean-up: rewrites that make the graph smaller and bring it into one normal form, whatever the target."""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.passes.cleanup.common_subexpressions import CommonSubexpressions
    from roofwright.passes.cleanup.constant_if import ConstantIf
    from roofwright.passes.cleanup.constants import Constants
    from roofwright.passes.cleanup.dead_code import DeadCode
    from roofwright.passes.cleanup.fold_constants import FoldConstants
    from roofwright.passes.cleanup.identities import Identities
    from roofwright.passes.cleanup.inline_functions import InlineFunctions
    from roofwright.passes.cleanup.qdq import Qdq
    from roofwright.passes.cleanup.shapes import Shapes

_HOMES = {
    "CommonSubexpressions": "common_subexpressions",
    "ConstantIf": "constant_if",
    "Constants": "constants",
    "DeadCode": "dead_code",
    "FoldConstants": "fold_constants",
    "Identities": "identities",
    "InlineFunctions": "inline_functions",
    "Qdq": "qdq",
    "Shapes": "shapes",
}
__all__ = [
    "CommonSubexpressions",
    "ConstantIf",
    "Constants",
    "DeadCode",
    "FoldConstants",
    "Identities",
    "InlineFunctions",
    "Qdq",
    "Shapes",
]
__getattr__ = attach(__name__, _HOMES)
