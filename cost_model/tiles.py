"""Exact traffic and footprint of a tiling: loop nests cut into tiles of (output rows, out channels, in channels).

Tiles run over whole rows and whole filter windows. With trip counts a (rows), b (out channels), c (in channels) and an
outer loop order, an operand is fetched again in every iteration of the loops outside of, and including, its innermost
relevant loop; loops of one trip do not count:

    input    relevant rows, in channels    fetched b times if the out-channel loop is outside its innermost loop
    weights  relevant out, in channels     fetched a times if the row loop is outside
    output   relevant rows, out channels   if the in-channel loop is outside: c - 1 partial sums written and read back

Row tiles of a convolution overlap in their halo, which is fetched with each tile, clipped at the borders, unless rows
are the innermost loop: then the input slides through and every row is fetched once. A GEMM is the case of 1 x 1
windows and rows of one pixel. Operands that pass through in more than one tile may have several buffers.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofwright.cost_model.bounds import touched
from roofwright.cost_model.rates import ceil_div
from roofwright.cost_model.schedule import Loop
from roofwright.cost_model.units import Bools, Floats, Ints, Nests

# Loop orders, outermost first, by the loop that is innermost: rows, out channels, in channels.
ORDERS: tuple[tuple[Loop, Loop, Loop], ...] = (
    ("out_channels", "in_channels", "rows"),
    ("rows", "in_channels", "out_channels"),
    ("rows", "out_channels", "in_channels"),
)


@dataclass(frozen=True)
class Problem:
    """Loop nests with the sizes of their elements; arrays of shape (n,), one entry per nest (or per candidate)."""

    nests: Nests
    in_bytes: Floats
    weight_bytes: Floats
    out_bytes: Floats
    acc_bytes: Floats  # one partial sum, on chip and when spilled
    row_pixels: Ints  # input pixels touched in one row
    pad: Ints  # padded rows above the input

    @classmethod
    def of(cls, nests: Nests, element_bytes: tuple[Any, Any, Any], acc_bytes: Any) -> "Problem":
        """Broadcast the element sizes (input, weight, output) and the size of a partial sum over the nests."""
        n = len(nests)
        p_in, p_w, p_out, acc = (np.broadcast_to(np.asarray(s, np.float64), (n,)) for s in (*element_bytes, acc_bytes))
        span = (nests.out_h - 1) * nests.stride_h + (nests.kernel_h - 1) * nests.dilation_h + 1
        cols = touched(nests.out_w, nests.kernel_w, nests.stride_w, nests.dilation_w, nests.in_w)
        return cls(nests, p_in, p_w, p_out, acc, cols, ceil_div(np.maximum(span - nests.in_h, 0), 2))

    def take(self, index: Any) -> "Problem":
        """The entries at `index`."""
        rest = (getattr(self, f.name)[index] for f in fields(self)[1:])
        return Problem(self.nests.take(index), *rest)

    @property
    def rows(self) -> Ints:
        """Output rows of all images of the batch."""
        return self.nests.batch * self.nests.out_h

    @property
    def window(self) -> Ints:
        """Filter taps."""
        return self.nests.kernel_h * self.nests.kernel_w

    def input_rows(self, tile: Ints) -> Ints:
        """Input rows on chip for a tile of `tile` output rows (whole images from one image up).

        Those between the taps of a dilated window stay too: the next tile needs them.
        """
        n = self.nests
        height = np.minimum(tile, n.out_h)
        rows = touched(height, n.kernel_h, n.stride_h, n.dilation_h, n.in_h)
        if (n.dilation_h > 1).any():
            reach, step = (n.kernel_h - 1) * n.dilation_h, np.gcd(n.stride_h, n.dilation_h)
            held = np.minimum(((height - 1) * n.stride_h + reach) // step + 1, ceil_div(n.in_h, step))
            rows = np.where((n.dilation_h > 1) & (reach >= n.stride_h), np.maximum(rows, held), rows)
        return np.asarray(np.maximum(tile // n.out_h, 1) * rows, np.int64)

    def row_trips(self, tile: Ints) -> Ints:
        """Row tiles: within images, or of several whole ones."""
        n = self.nests
        inside = n.batch * ceil_div(n.out_h, tile)
        return np.where(tile >= n.out_h, ceil_div(n.batch, np.maximum(tile // n.out_h, 1)), inside)

    def fetched_rows(self, tile: Ints) -> Ints:
        """Input rows fetched in one pass over all row tiles, halos included, clipped at the borders."""
        n = self.nests
        whole = touched(n.out_h, n.kernel_h, n.stride_h, n.dilation_h, n.in_h)
        extent = (n.kernel_h - 1) * n.dilation_h + 1
        pitch = tile * n.stride_h
        full = ceil_div(n.out_h, tile) - 1  # tiles before the last
        # Row tile i covers input rows [max(0, i * pitch - pad), min(in_h, i * pitch - pad + size)).
        first = np.minimum(ceil_div(self.pad, pitch), full + 1)
        starts = _ramp(pitch, -self.pad, first, full + 1)
        size = (tile - 1) * n.stride_h + extent
        inside = np.clip((n.in_h + self.pad - size) // pitch + 1, 0, full)
        ends = _ramp(pitch, size - self.pad, 0, inside) + (full - inside) * n.in_h
        last = (n.out_h - 1) * n.stride_h + extent - self.pad
        halo = ends + np.minimum(last, n.in_h) - starts
        overlapping = (tile < n.out_h) & (extent > n.stride_h)
        return np.asarray(n.batch * np.where(overlapping, np.maximum(halo, whole), whole), np.int64)


def _ramp(slope: Ints, offset: Ints, first: Any, stop: Any) -> Ints:
    """Sum of i * slope + offset over first <= i < stop."""
    count = stop - first
    return np.asarray(slope * (count * (first + stop - 1) // 2) + offset * count, np.int64)


@dataclass(frozen=True)
class Tiles:
    """Tile sizes and the innermost loop (position in `ORDERS`); shape (n,) each."""

    rows: Ints
    out_channels: Ints
    in_channels: Ints
    inner: Ints

    def take(self, index: Any) -> "Tiles":
        """The entries at `index`."""
        return Tiles(self.rows[index], self.out_channels[index], self.in_channels[index], self.inner[index])

    def put(self, index: Ints, other: "Tiles") -> "Tiles":
        """These tiles with the sizes of `other` at `index`."""
        rows, out, into = self.rows.copy(), self.out_channels.copy(), self.in_channels.copy()
        rows[index], out[index], into[index] = other.rows[index], other.out_channels[index], other.in_channels[index]
        return Tiles(rows, out, into, self.inner)

    def trips(self, problem: Problem) -> tuple[Ints, Ints, Ints]:
        """Tiles along rows, out channels, in channels."""
        b = ceil_div(problem.nests.out_channels, self.out_channels)
        return problem.row_trips(self.rows), b, ceil_div(problem.nests.in_channels, self.in_channels)


@dataclass(frozen=True)
class Moved:
    """Bytes between off-chip memory and chip, all repeats and steps; float64, shape (n,)."""

    inputs: Floats
    weights: Floats
    outputs: Floats  # stored, partial sums included
    reloaded: Floats  # partial sums read back

    @property
    def total(self) -> Floats:
        """Loads and stores."""
        return self.inputs + self.weights + self.outputs + self.reloaded


def moved(problem: Problem, tiles: Tiles) -> Moved:
    """Exact bytes of a tiling (module docstring), with weights kept over steps only where one tile holds them all."""
    nests, (a, b, c) = problem.nests, tiles.trips(problem)
    place = np.array([[order.index(d) for order in ORDERS] for d in ("rows", "out_channels", "in_channels")])
    at_rows, at_out, at_in = (np.where(t > 1, p[tiles.inner], -1) for t, p in zip((a, b, c), place, strict=True))
    innermost = np.maximum(np.maximum(at_rows, at_out), at_in)
    whole = touched(nests.out_h, nests.kernel_h, nests.stride_h, nests.dilation_h, nests.in_h) * nests.batch
    slides = (a > 1) & (at_rows == innermost)
    rows = np.where(slides, whole, problem.fetched_rows(tiles.rows))
    copies = nests.repeat.astype(np.float64)
    passes = np.where(at_out < np.maximum(at_rows, at_in), b, 1)
    again = np.where(at_rows < np.maximum(at_out, at_in), a, 1) * np.where((b > 1) | (c > 1), nests.steps, 1)
    spills = np.where(at_in < np.maximum(at_rows, at_out), c, 1) - 1
    results = copies * nests.steps * nests.rows * nests.out_channels
    partial = results * spills * problem.acc_bytes
    return Moved(
        inputs=copies * nests.steps * nests.in_channels * rows * problem.row_pixels * passes * problem.in_bytes,
        weights=copies * nests.depth * nests.out_channels * again * problem.weight_bytes,
        outputs=results * problem.out_bytes + partial,
        reloaded=partial,
    )


@dataclass(frozen=True)
class Footprint:
    """Bytes of one tile of each operand, and how many copies of it are on chip; shape (n,) each."""

    inputs: Floats
    weights: Floats
    partials: Floats
    in_copies: Ints
    weight_copies: Ints
    out_copies: Ints


def footprint(problem: Problem, tiles: Tiles, buffers: int) -> Footprint:
    """What one copy of each tile takes; operands that pass through in several tiles have `buffers` copies."""
    nests, (a, b, c) = problem.nests, tiles.trips(problem)
    streams: Bools = nests.repeat > 1
    pixels = problem.input_rows(tiles.rows) * problem.row_pixels

    def copies(*trips: NDArray[np.int64]) -> Ints:
        return np.where(streams | np.any([t > 1 for t in trips], axis=0), buffers, 1).astype(np.int64)

    return Footprint(
        inputs=tiles.in_channels * pixels * problem.in_bytes,
        weights=tiles.in_channels * tiles.out_channels * problem.window * problem.weight_bytes,
        partials=tiles.rows * nests.out_w * tiles.out_channels * problem.acc_bytes,
        in_copies=copies(a, c),
        weight_copies=copies(b, c),
        out_copies=copies(a, b),
    )
