"""Units: work shaped for the special unit, and movement that it does not need."""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.passes.units.channel_shuffle import ChannelShuffles

_HOMES = {
    "ChannelShuffles": "channel_shuffle",
}
__all__ = ["ChannelShuffles"]
__getattr__ = attach(__name__, _HOMES)
