"""Passes that write the schedule: kernels, tiles, placement, prefetch, blocks, channels, engines."""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.passes.scheduling.blocks import FuseBlocks
    from roofwright.passes.scheduling.channels import FuseChannels
    from roofwright.passes.scheduling.engines import Engines
    from roofwright.passes.scheduling.kernels import Kernels
    from roofwright.passes.scheduling.placement import PlaceTensors
    from roofwright.passes.scheduling.prefetch import PrefetchWeights
    from roofwright.passes.scheduling.tiles import Tiles

_HOMES = {
    "Kernels": "kernels",
    "Tiles": "tiles",
    "PlaceTensors": "placement",
    "PrefetchWeights": "prefetch",
    "FuseBlocks": "blocks",
    "FuseChannels": "channels",
    "Engines": "engines",
}
__all__ = [  # noqa: RUF022 (in the order of _HOMES; the public-API test compares the two)
    "Kernels",
    "Tiles",
    "PlaceTensors",
    "PrefetchWeights",
    "FuseBlocks",
    "FuseChannels",
    "Engines",
]
__getattr__ = attach(__name__, _HOMES)
