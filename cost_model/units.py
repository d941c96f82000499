"""The contract between an engine's model and everything above it: what a batch of loop nests costs on one engine."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roofwright.cost_model.work import LoopNest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_FIELDS = tuple(LoopNest.__dataclass_fields__)


@dataclass(frozen=True)
class Nests:
    """A structure of arrays: `n` loop nests side by side, every field of `LoopNest` as an int64 array of shape (n,)."""

    repeat: Ints
    batch: Ints
    out_h: Ints
    out_w: Ints
    out_channels: Ints
    in_channels: Ints
    kernel_h: Ints
    kernel_w: Ints
    stride_h: Ints
    stride_w: Ints
    dilation_h: Ints
    dilation_w: Ints
    in_h: Ints
    in_w: Ints
    steps: Ints

    @classmethod
    def of(cls, nests: list[LoopNest]) -> "Nests":
        """Stack nests into arrays of shape (len(nests),)."""
        table = np.array([[getattr(n, f) for f in _FIELDS] for n in nests], dtype=np.int64).reshape(-1, len(_FIELDS))
        return cls(*table.T)

    @classmethod
    def gemm(cls, m: Any, n: Any, k: Any, repeat: Any = 1) -> "Nests":
        """`repeat` products (m, k) x (k, n), broadcast against each other."""
        m, n, k, repeat = (np.atleast_1d(np.asarray(a, np.int64)) for a in np.broadcast_arrays(m, n, k, repeat))
        one = np.ones_like(m)
        return cls(repeat, one, m, one, n, k, one, one, one, one, one, one, m, one, one)

    def __len__(self) -> int:
        """How many nests."""
        return len(self.repeat)

    def take(self, index: Any) -> "Nests":
        """The nests at `index` (mask or integer array)."""
        return Nests(*(getattr(self, f)[index] for f in _FIELDS))

    @property
    def rows(self) -> Ints:
        """M of each copy's GEMM: output pixels, shape (n,)."""
        return self.batch * self.out_h * self.out_w

    @property
    def depth(self) -> Ints:
        """K of each copy's GEMM: in_channels x kernel, shape (n,)."""
        return self.in_channels * self.kernel_h * self.kernel_w

    @property
    def macs(self) -> Floats:
        """Useful MACs of the direct algorithm with all copies and steps, shape (n,); float64, exact below 2**53."""
        return self.steps.astype(np.float64) * self.repeat * self.rows * self.out_channels * self.depth


@dataclass(frozen=True)
class UnitTime:
    """Seconds of `n` nests on one engine at its burst clock; shape (n,); inf where the engine cannot run a nest.

    Attributes:
        ideal_s: useful direct MACs at the engine's peak for the multiplied dtype.
        padded_s: + what the unit's shape wastes (padding, idle rows, a slower algorithm), per sample at unbounded
            batch: the steady-state share, without fill, drain or partial waves. May be below ideal_s (Winograd).
        busy_s: + fill, drain, weight shifts, partial waves, latency of dependent steps, at the real batch.
        inner_s: least time that on-chip levels (L2, shared memory, caches) need to feed the engine; 0 if none binds.
        off_chip_factor: bytes really moved off chip over the compulsory ones (>= 1), where the engine's own blocking
            decides it (GPU caches, split-K partial sums); 1.0 for explicit memories, whose tiling the search decides.
        algorithm: what runs ("direct", "im2col", "winograd_2x2", "pack_depthwise", ...), object array of str.
        tile: (tile_m, tile_n, tile_k) chosen, shape (n, 3); zeros where the engine has no such choice.
        split_k: reduction splits, shape (n,); 1 where none.
    """

    ideal_s: Floats
    padded_s: Floats
    busy_s: Floats
    inner_s: Floats
    off_chip_factor: Floats
    algorithm: NDArray[np.object_]
    tile: Ints
    split_k: Ints
