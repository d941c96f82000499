"""Results that wait when their kernel is done are stored while the next one computes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from roofwright.cost_model import Costing, Kernel, Placement
from roofwright.passes.scheduling.early_rooms import Shelf


def with_late_stores(found: Sequence[Kernel], costing: Costing) -> Sequence[Kernel]:
    """The kernels with buffers of results that live on into the next one, where there is room for both.

    The port stores these results before it loads anything for the next kernel, so that one may read what the other
    made. Where loads have a way of their own they wait for nothing: the next kernel must then not read these results.
    """
    level, shelf = costing.target.on_chip, None
    kernels = list(found)
    for at in np.flatnonzero(costing.timeline().exposed_store_s[:-1] > 0).tolist():
        own = _results(kernels[at], costing) if level is not None else []
        if level is None or not own:
            continue
        shelf = shelf or Shelf(kernels, level.name, level.capacity_bytes, {})
        placed = shelf.stays(at, own)
        if placed is not None:
            homes = {buffer.tensor: replace(buffer, stored=at + 1) for buffer in placed}
            buffers = tuple(homes.get(buffer.tensor, buffer) for buffer in kernels[at].buffers)
            kernels[at] = replace(kernels[at], buffers=buffers)
    return kernels


def _results(kernel: Kernel, costing: Costing) -> list[Placement]:
    """Buffers of all results that a kernel stores; none where it runs in strips, or one must not be stored late."""
    at = kernel.index
    made = {operand.name for operand in costing.kernels[at].writes if operand.name not in costing.held.kept[at]}
    own = [b for b in kernel.buffers if b.tensor in made and b.until is None]
    if kernel.strip_rows is not None or kernel.strip_channels is not None or {b.tensor for b in own} != made:
        return []
    read = {operand.name for operand in costing.kernels[at + 1].reads}
    return [] if costing.target.device_memory.ports > 1 and read & made else own
