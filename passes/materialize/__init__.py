"""Spatial strips as standard nodes: less memory in any runtime."""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.passes.materialize.materialize import Materialize

_HOMES = {"Materialize": "materialize"}
__all__ = ["Materialize"]
__getattr__ = attach(__name__, _HOMES)
