"""A GPU seen by one kernel: rates per clock of one multiprocessor, and the constants of the library that runs on it.

Everything about silicon comes from the target, everything about kernels from the stack's `gemm_tiles`,
`issue_efficiency` and `constants`. A constant that a stack leaves out takes its neutral value: kernels without that
overhead. Keys of tiles and efficiencies are looked up from the most to the least particular, e.g. for convolutions in
float16 on tensor cores "tensor.float16.conv", "tensor.conv", "tensor.float16", "tensor", "simt".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from roofwright.cost_model.rates import dtype_bytes
from roofwright.targets import Engine, Simt, Target

Tile = tuple[int, int, int]
_T = TypeVar("_T")

NEUTRAL: Mapping[str, float] = {
    "gpu_slab_latency_cycles": 0.0,  # from the load of a K slab to its use, where nothing else hides it
    "gpu_slab_miss_cycles": 0.0,  # the same where operands do not stay in the cache
    "gpu_round_cycles": 0.0,  # prologue and epilogue of a round of resident thread blocks
    "gpu_tile_overhead": 0.0,  # issue slots spent per operand element that a tile reads from shared memory
    "gpu_tile_overhead_tensor": 0.0,  # the same beside tensor cores
    "gpu_register_factor": 1.0,  # registers of a thread block over those of its accumulators
    "gpu_split_depth": 1.0,  # least reduction length of one split; 0: no split-K kernels
    "gpu_split_depth_tensor": 1.0,  # the same on tensor cores
    "gpu_split_depth_conv": 0.0,  # the same in convolutions, forward and data gradient
    "gpu_split_depth_conv_tensor": 0.0,  # the same on tensor cores
    "gpu_split_depth_gradient": 1.0,  # the same in weight gradients
    "gpu_split_depth_narrow": 1.0,  # the same of narrow tiles that are kept for results of their width
    "gpu_split_columns": 0.0,  # widest GEMM result that splits serve; 0: any
    "gpu_split_reduction_s": 0.0,  # starting the kernel that adds the partial sums
    "gpu_cache_share": 1.0,  # share of the last cache that a kernel's operands can fill and stay
    "gpu_narrow_tile": 32.0,  # convolution tiles this narrow serve only results as narrow
    "gpu_narrow_columns": 0.0,  # GEMM tiles that narrow need as many columns, and serve only narrow results; 0: all
    "gpu_tensor_channels": 1.0,  # input channels per filter tap are padded to this on tensor cores
    "gpu_winograd_issue": 1.0,  # issue rate of the fused Winograd kernel's products
    "gpu_winograd_extra_channels": 0.0,  # its transforms and prologue, in input channels' worth of products
    "gpu_winograd_min_channels": 8.0,  # least channels in and out
    "gpu_depth_first_factor": 1.0,  # time of narrow products of a depth-contiguous operand over the others'
    "gpu_depth_first_wide_factor": 1.0,  # the same of wide products
    "gpu_scattered_bytes_per_s": 0.0,  # device memory read 32 bytes here and there by wide ones of these; 0: no limit
    "gpu_depthwise_issue": 0.25,  # one load per multiply: the load units pass a quarter of the multiplies' rate
    "gpu_scatter_bytes": 16.0,  # cache traffic of adding one float32 element atomically
}
_DEFAULT_TILES: tuple[Tile, ...] = ((128, 128, 32), (128, 64, 32), (64, 64, 32), (64, 32, 32), (32, 32, 32))
_MOST_RESIDENT = 8  # thread blocks of a GEMM that share a multiprocessor, at most


@dataclass(frozen=True)
class Machine:
    """One engine of a GPU, for one dtype.

    Attributes:
        count: multiprocessors.
        clock_hz: their clock.
        macs: MACs per clock of one multiprocessor.
        l2: bytes per clock that one multiprocessor draws from the last cache.
        l2_bytes: cache bytes that a kernel's operands can count on.
        dram_bytes_per_s: what a long stream reaches.
        registers, shared: bytes of one multiprocessor.
        width: bytes of one operand element.
        out_width: bytes of one result element as it is stored.
        granule: multiple that M, N and K are padded to.
        unit: shape of a tensor-core step; None on scalar lanes.
        issue, conv_issue, gradient_issue: share of the peak issue rate that endless tiles would reach, in GEMMs, in
            convolutions and in weight gradients.
        overhead: issue slots per operand element read from shared memory.
        launch_s: from one kernel to the next.
        lib: the stack's constants over the neutral ones.
        tiles, conv_tiles, gradient_tiles: what the library offers for GEMM, convolution and weight gradient.
    """

    count: int
    clock_hz: float
    macs: float
    l2: float
    l2_bytes: float
    dram_bytes_per_s: float
    registers: float
    shared: float
    width: float
    out_width: float
    granule: int
    unit: Tile | None
    issue: float
    conv_issue: float
    gradient_issue: float
    overhead: float
    launch_s: float
    lib: Mapping[str, float]
    tiles: tuple[Tile, ...]
    conv_tiles: tuple[Tile, ...]
    gradient_tiles: tuple[Tile, ...]

    @property
    def l2_bytes_per_s(self) -> float:
        """Bandwidth of the last cache to all multiprocessors."""
        return self.count * self.l2 * self.clock_hz

    @property
    def peak(self) -> float:
        """MACs per second."""
        return self.count * self.clock_hz * self.macs

    @property
    def split_depth(self) -> float:
        """Least reduction length of one split of a GEMM; 0: the library has no split-K kernels."""
        return self.lib["gpu_split_depth_tensor" if self.unit else "gpu_split_depth"]

    def tile_efficiency(self, tile: Tile, issue: float) -> float:
        """Share of the issue slots left for multiplies: a tile reads (m + n) elements for m n multiplies."""
        return issue / (1 + self.overhead * (1 / tile[0] + 1 / tile[1]) / 2)

    def resident(self, tile: Tile) -> int:
        """Thread blocks that share a multiprocessor: float32 accumulators in registers, two slabs in shared memory."""
        by_registers = self.registers / (4 * tile[0] * tile[1] * self.lib["gpu_register_factor"])
        by_shared = self.shared / (2 * (tile[0] + tile[1]) * tile[2] * self.width)
        return int(min(max(min(by_registers, by_shared), 1), _MOST_RESIDENT))


def machine(engine: Engine, geometry: Simt, target: Target, dtype: str) -> Machine:
    """The machine that a dtype's kernels see; KeyError where the engine does not multiply it."""
    stack, unit = target.stack, geometry.unit
    lib = {**NEUTRAL, **{k: v for k, v in stack.constants.items() if k in NEUTRAL}}
    cache, dram = target.on_chip, target.device_memory
    width = dtype_bytes(dtype)
    prefix = "tensor" if unit else "simt"
    keys = (f"{prefix}.{dtype}", prefix, "simt")
    conv_keys = (f"{prefix}.{dtype}.conv", f"{prefix}.conv", *keys)
    gradient_keys = (f"{prefix}.{dtype}.gradient", f"{prefix}.gradient", *conv_keys)
    issue, tiles = stack.issue_efficiency, stack.gemm_tiles
    return Machine(
        count=engine.count,
        clock_hz=engine.clock_hz,
        macs=engine.macs_per_clock[dtype],
        l2=geometry.l2_bytes_per_clock,
        l2_bytes=cache.capacity_bytes * lib["gpu_cache_share"] if cache else 0.0,
        dram_bytes_per_s=dram.bytes_per_s * dram.efficiency,
        registers=geometry.register_bytes,
        shared=geometry.shared_bytes,
        width=width,
        out_width=max(width, 4.0) if dtype.startswith(("int", "uint")) else width,
        granule=geometry.channel_granule.get(dtype, 1),
        unit=unit,
        issue=_first(issue, keys, 1.0),
        conv_issue=_first(issue, conv_keys, 1.0),
        gradient_issue=_first(issue, gradient_keys, 1.0),
        overhead=lib["gpu_tile_overhead_tensor" if unit else "gpu_tile_overhead"],
        launch_s=stack.launch_s,
        lib=lib,
        tiles=_first(tiles, keys, _DEFAULT_TILES),
        conv_tiles=_first(tiles, conv_keys, _DEFAULT_TILES),
        gradient_tiles=_first(tiles, gradient_keys, _DEFAULT_TILES),
    )


def _first(table: Mapping[str, _T], keys: tuple[str, ...], default: _T) -> _T:
    """The value of the first key that the table has."""
    return next((table[key] for key in keys if key in table), default)
