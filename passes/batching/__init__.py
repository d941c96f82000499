"""Batch widening: where the samples are, what holds the batch, and which batch is just large enough."""

from typing import TYPE_CHECKING

from roofwright._lazy import attach

if TYPE_CHECKING:
    from roofwright.passes.batching.choose import Price, choose_batch
    from roofwright.passes.batching.widen import BatchAxes, WidenBatch, batch_axes

_HOMES = {
    "WidenBatch": "widen",
    "BatchAxes": "widen",
    "batch_axes": "widen",
    "Price": "choose",
    "choose_batch": "choose",
}
__all__ = [  # noqa: RUF022 (in the order of _HOMES; the public-API test compares the two)
    "WidenBatch",
    "BatchAxes",
    "batch_axes",
    "Price",
    "choose_batch",
]
__getattr__ = attach(__name__, _HOMES)
