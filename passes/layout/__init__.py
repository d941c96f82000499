"""Layout: Transposes moved to where they cancel, cost less, or can be absorbed."""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.passes.layout.absorb import AbsorbTransposes
    from roofwright.passes.layout.transposes import MoveTransposes

_HOMES = {
    "AbsorbTransposes": "absorb",
    "MoveTransposes": "transposes",
}
__all__ = ["AbsorbTransposes", "MoveTransposes"]
__getattr__ = attach(__name__, _HOMES)
