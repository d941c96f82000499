"""What a machine is: plain, validated data, one `Target` per machine.

A target holds facts about silicon only. What a software stack adds (launch cost, library tile sizes, dispatch) is a
`Stack`, kept apart in `stacks/*.toml`. Numbers are per *one copy* of an engine unless a name says otherwise; units are
in the names (`_bytes`, `_s`, `_hz`, `_w`, `_j`). One multiply-accumulate (MAC) is two FLOPs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Dataflow = Literal["weight_stationary", "input_stationary", "output_stationary"]
OpClass = Literal["matmul", "conv", "depthwise", "recurrent", "elementwise", "special", "reduce", "pool", "move"]


@dataclass(frozen=True, kw_only=True)
class Systolic:
    """An array of `rows` (reduction) by `cols` (output channels) multipliers, e.g. a TPU's matrix unit."""

    rows: int
    cols: int
    dataflow: Dataflow
    weight_double_buffer: bool
    row_granule: int  # streamed rows are padded to a multiple of this (sublanes)
    conv_rows: Literal["window", "channels"]  # im2col packs the whole window into the rows, or channels only
    depthwise_packing: bool  # channels may be packed block-diagonally into one tile
    accumulator_bytes: int | None  # storage for partial sums; None: not a separate memory
    weight_fifo_bytes: int | None  # weights wait here for the array, fetched ahead of their turn; None: no such queue


@dataclass(frozen=True, kw_only=True)
class Simt:
    """A GPU's streaming multiprocessor: thread blocks, shared memory, optionally tensor cores of `unit` m x n x k."""

    unit: tuple[int, int, int] | None  # shape of one tensor-core step; None: scalar FMA lanes
    channel_granule: Mapping[str, int]  # dtype -> multiple that M, N, K (channels) must have, or are padded to
    shared_bytes: int
    register_bytes: int
    l2_bytes_per_clock: float  # per multiprocessor


@dataclass(frozen=True, kw_only=True)
class Window:
    """A convolution unit wired for one filter window (the Kirin 970's 3 x 3)."""

    kernel_h: int
    kernel_w: int
    lanes: int  # windows worked on in one clock


@dataclass(frozen=True, kw_only=True)
class Simd:
    """A vector unit: a CPU core's FMA ports, a TPU's vector processor, an activation unit."""

    vector_bits: int
    channel_granule: int  # channels are padded to a multiple of this
    tile_unit: tuple[int, int, int] | None  # AMX-like tile m x n x k in elements of the narrowest type; None: no tiles
    overlaps_memory: bool  # loads run under arithmetic (deep out-of-order core, prefetch); false: their times add up


Geometry = Systolic | Simt | Window | Simd


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Something that computes. `count` identical copies share one kernel (multiprocessors, cores, arrays).

    Attributes:
        macs_per_clock: dtype -> MACs per clock of one copy; a dtype that is absent cannot be multiplied here.
        lanes_per_clock: dtype -> elementwise operations per clock of one copy; empty: cannot do elementwise work.
        special_per_clock: transcendental operations per clock of one copy (exp, tanh, division); None: as lanes / 8
            is never assumed, the engine then cannot do them.
        runs: the classes of work this engine can execute.
        algorithms: convolution algorithms, e.g. ("direct", "winograd_2x2", "winograd_4x4").
    """

    name: str
    kind: Literal["systolic", "simt", "window", "simd"]
    count: int
    clock_hz: float
    macs_per_clock: Mapping[str, float]
    lanes_per_clock: Mapping[str, float]
    special_per_clock: float | None
    runs: tuple[OpClass, ...]
    algorithms: tuple[str, ...]
    geometry: Geometry

    def peak_macs_per_s(self, dtype: str) -> float:
        """MACs per second of all copies at the burst clock; 0.0 where the dtype cannot be multiplied."""
        return self.count * self.clock_hz * self.macs_per_clock.get(dtype, 0.0)


@dataclass(frozen=True, kw_only=True)
class Dma:
    """Transfers between the device memory and the chip."""

    engines: int  # transfers in flight at once: their set-ups overlap, their bytes share the bandwidth
    ports: int  # 1: loads and stores take turns on one way; 2: each has one of the memory's `bytes_per_s`


@dataclass(frozen=True, kw_only=True)
class Memory:
    """One level of storage shared by all engines; the last level of a target is the off-chip device memory.

    Attributes:
        bytes_per_s: peak bandwidth of the whole level.
        efficiency: the share of the peak that a long stream reaches (a property of the memory, not of a library).
        managed: "explicit" (a scratchpad: offsets, overflow and overlap are enforced) or "cache".
        holds: what may live there ("activations", "weights"); some machines keep weights apart.
        latency_s: time from request to first byte.
        setup_s: cost of programming one DMA transfer.
        dma: what moves data between this level and the chip, of the device memory; where a file leaves it out, one
            transfer after the other on one way.
    """

    name: str
    capacity_bytes: int
    bytes_per_s: float
    efficiency: float
    managed: Literal["explicit", "cache"]
    holds: tuple[Literal["activations", "weights"], ...]
    latency_s: float
    setup_s: float
    dma: Dma | None = None

    @property
    def engines(self) -> int:
        """Transfers in flight at once."""
        return self.dma.engines if self.dma else 1

    @property
    def ports(self) -> int:
        """Ways that loads and stores have."""
        return self.dma.ports if self.dma else 1


@dataclass(frozen=True, kw_only=True)
class Link:
    """The way from the host's memory to the device's. `shared_memory` machines have none: bytes_per_s is inf."""

    name: str
    bytes_per_s: float
    latency_s: float


@dataclass(frozen=True, kw_only=True)
class Power:
    """Energy per event against the sustained limit gives the throttled clock; None: the machine never throttles."""

    limit_w: float
    idle_w: float
    joule_per_mac: Mapping[str, float]
    joule_per_byte: Mapping[str, float]  # memory level -> J/B
    min_clock_hz: float


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """How a dtype that the machine lacks is run: stored as `storage`, multiplied as `multiply`."""

    storage: str
    multiply: str


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where one number comes from."""

    source: str
    confidence: Literal["high", "medium", "low", "derived", "measured"]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What software adds to a machine.

    Attributes:
        launch_s: time between kernels of one stream that nothing hides.
        dispatch_s: host time per kernel that a runtime or framework starts; 0.0 for a compiled graph.
        handover_s: cost of moving from one engine to another.
        call_s: time of one request beside its kernels: the call into the runtime and back.
        issue_efficiency: engine kind (or "kind.dtype") -> share of the peak issue rate of good kernels; "tensor"
            is a "simt" engine with tensor cores, ".conv" and ".gradient" behind either stand for convolution kernels.
        gemm_tiles: kind, as above -> thread-block tiles (tile_m, tile_n, slab_k) that the library has.
        fuses: epilogues this stack's kernels take ("bias", "activation", "residual", "elementwise").
        composites: young standard operators ("Gelu", "LayerNormalization" ...) that this stack runs as one kernel, no
            slower than the nodes they stand for; others are better left written out.
        constants: named facts that only some workloads need (a training loop's input pipeline), units in the names.
    """

    name: str
    title: str
    launch_s: float
    dispatch_s: float
    handover_s: float
    call_s: float
    issue_efficiency: Mapping[str, float]
    gemm_tiles: Mapping[str, tuple[tuple[int, int, int], ...]]
    fuses: tuple[str, ...]
    composites: tuple[str, ...]
    constants: Mapping[str, float]
    provenance: Mapping[str, Provenance]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One machine and the stack it is run with.

    Attributes:
        engines: in order of preference for equal cost.
        memories: on-chip levels from the innermost outwards, then the device memory.
        assume: dtype -> how it is run where no engine has it.
        price_usd_per_hour: on-demand rental price; None: not rented.
        provenance: dotted key of every number -> where it comes from.
    """

    name: str
    title: str
    summary: str
    engines: tuple[Engine, ...]
    memories: tuple[Memory, ...]
    link: Link
    power: Power | None
    assume: Mapping[str, Assumption]
    stack: Stack
    price_usd_per_hour: float | None
    provenance: Mapping[str, Provenance]

    @property
    def device_memory(self) -> Memory:
        """The off-chip memory: the outermost level."""
        return self.memories[-1]

    @property
    def on_chip(self) -> Memory | None:
        """The largest on-chip level, where tensors can stay between kernels; None where there is none."""
        return self.memories[-2] if len(self.memories) > 1 else None

    def engine(self, name: str) -> Engine:
        """The engine of that name; KeyError where the target has none."""
        for engine in self.engines:
            if engine.name == name:
                return engine
        raise KeyError(f"target {self.name} has no engine {name!r}")
