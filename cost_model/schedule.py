"""The schedule: which kernels run, in which order, on which engine, in which tiles and at which addresses.

Plain data, valid from the moment it exists: every class checks itself when it is built, so a schedule that was loaded
from a file is as sound as one that a pass made. What needs the machine (does it fit?) is `schedule_check`; the JSON
form is `schedule_json`.

Loop names in a `Tiling` are those of `LoopNest`: "repeat" (independent copies), "rows" (output rows of full width, all
images of the batch one after the other; M of a GEMM), "out_channels", "in_channels" (the reduction; the window stays
whole). Kernels without a nest have the loop "rows" alone: independent
pieces of their results, one behind the other in memory (elements, planes of a pool, rows of a softmax).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

Loop = Literal["repeat", "rows", "out_channels", "in_channels"]
Halo = Literal["recompute", "rows", "both"]
SCHEMA = "roofwright.schedule/1"


class ScheduleError(ValueError):
    """A schedule that breaks a rule; the message is one line and names the kernel."""


def _require(holds: bool, message: str, of: object = None) -> None:
    if not holds:
        raise ScheduleError(message if of is None else f"{of}: {message}")


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How the kernel's loops are cut at one memory level.

    Attributes:
        level: the memory whose tiles these are, or the engine's name for the tiles of its unit.
        order: the loops over tiles, outermost first; loops that are not named are not cut.
        tile: loop -> size of a full tile (the last one may be smaller).
    """

    level: str
    order: tuple[Loop, ...]
    tile: Mapping[Loop, int]

    def __post_init__(self) -> None:
        """Reject loops without a size, sizes without a loop, and empty tiles."""
        _require(len(set(self.order)) == len(self.order), f"tiling at {self.level}: a loop is named twice")
        _require(set(self.order) == set(self.tile), f"tiling at {self.level}: order and tile name different loops")
        for loop, size in self.tile.items():
            _require(size >= 1, f"tiling at {self.level}: tile of {loop} is {size}, expected at least 1")


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A buffer at one memory level: tiles of a tensor, or the tensor whole when it stays on chip.

    Attributes:
        tensor: the tensor whose elements it holds.
        level: the memory it lives in.
        offset_bytes: address of the first copy; None in a memory that is managed as a cache.
        bytes: size of one copy.
        copies: 2 when loads or stores of one tile overlap the computation of another.
        until: the last kernel that finds the tensor here; None: this kernel only.
        first_node, last_node: in a kernel that runs in strips, positions of the nodes from and up to which every strip
            holds the buffer; outside of them its bytes may hold something else. None: the kernel holds it throughout.
        stored: the next kernel, where the results that are still here when this one has computed them are stored while
            that one runs, before it loads anything; None: all are stored before it starts.
        engine: the engine whose strips it is for, where several share a kernel's; "": whoever runs the kernel.
    """

    tensor: str
    level: str
    offset_bytes: int | None
    bytes: int
    copies: int = 1
    until: int | None = None
    first_node: int | None = None
    last_node: int | None = None
    engine: str = ""
    stored: int | None = None

    def __post_init__(self) -> None:
        """Reject empty buffers, negative addresses and nodes out of order."""
        throughout = self.first_node is None and self.last_node is None
        if throughout and self.bytes >= 1 and self.copies >= 1 and (self.offset_bytes or 0) >= 0:
            return
        together = (self.first_node is None) == (self.last_node is None)
        _require(together, f"buffer of {self.tensor}: first_node and last_node go together")
        ordered = 0 <= (self.first_node or 0) <= (self.last_node or 0)
        _require(ordered, f"buffer of {self.tensor}: nodes {self.first_node} to {self.last_node}")
        brief = self.first_node is not None and self.until is not None
        _require(not brief, f"buffer of {self.tensor}: it stays beyond the kernel, not for some of its nodes")
        _require(self.bytes >= 1, f"buffer of {self.tensor}: {self.bytes} bytes, expected at least 1")
        _require(self.copies >= 1, f"buffer of {self.tensor}: {self.copies} copies, expected at least 1")
        _require((self.offset_bytes or 0) >= 0, f"buffer of {self.tensor}: offset {self.offset_bytes} is negative")

    @property
    def total_bytes(self) -> int:
        """All copies."""
        return self.bytes * self.copies

    @property
    def end_bytes(self) -> int:
        """First address after the last copy."""
        return (self.offset_bytes or 0) + self.total_bytes


@dataclass(frozen=True, kw_only=True)
class Prefetch:
    """The first `bytes` of a tensor are loaded into this kernel's buffer while the earlier kernel `during` computes."""

    tensor: str
    bytes: int
    during: int


@dataclass(frozen=True, kw_only=True)
class NodeRef:
    """A node of the graph, by the name of its first output.

    Attributes:
        output, op: which one.
        engine: where it runs, if not on its kernel's engine.
        lag: in a kernel that runs in strips (of rows or of channels), how many strips it is behind the nodes of lag 0:
            in step t it computes strip t - lag. Nodes of one step work at the same time, each on its engine.
    """

    output: str
    op: str
    engine: str = ""
    lag: int = 0

    def __post_init__(self) -> None:
        """Reject a node that runs before its strip."""
        _require(self.lag >= 0, f"node {self.output}: lag {self.lag} is negative")


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one of several engines does of a kernel: so many rows of its result, after those of the shares before."""

    engine: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Nodes that run as one: intermediate tensors between them never leave the chip.

    Attributes:
        index: position in the schedule.
        nodes: in execution order.
        engine: name of the target's engine that runs it.
        algorithm: lowering of the matrix part ("im2col", "winograd_2x2", "pack_depthwise", ...); "" if it has none.
        tilings: one per memory level, outermost level first, and last that of the engine's own unit.
        buffers: what it holds where; a tensor found where an earlier kernel left it is not listed again.
        prefetch: what of its operands is loaded during earlier kernels.
        strip_rows: output rows of the last node per strip, when the nodes run depth-first strip by strip.
        strip_columns: output columns of the last node per strip; None: strips are as wide as the tensors.
        halo: what happens to elements that two strips need; None without strips. "recompute": each strip computes and
            loads its own; "rows": what strips one below the other share stays in line buffers, what strips side by
            side share is computed again (column by column of strips); "both": nothing is computed or loaded twice
            (row by row of strips).
        streamed: constants that do not stay between strips but are loaded again for each, slice by slice.
        shares: where several engines run it together, what each does; rows are samples, or lines (or products) of the
            first node's result, whichever number they add up to. `engine` is the first. (): `engine` does it all. Of a
            kernel in strips, rows are samples: every engine runs the strips of its own, through buffers of its own.
        strip_channels: channels (heads of attention) per strip of the tensors between its nodes, where the nodes run
            group of channels by group of channels: products that open it hold their input whole, products that close
            it add up their whole result, and what follows those runs after the last strip.
    """

    index: int
    nodes: tuple[NodeRef, ...]
    engine: str
    algorithm: str = ""
    tilings: tuple[Tiling, ...] = ()
    buffers: tuple[Placement, ...] = ()
    prefetch: tuple[Prefetch, ...] = ()
    strip_rows: int | None = None
    halo: Halo | None = None
    strip_columns: int | None = None
    streamed: tuple[str, ...] = ()
    shares: tuple[Share, ...] = ()
    strip_channels: int | None = None

    def __post_init__(self) -> None:
        """Reject what cannot be run, naming this kernel."""
        _require(self.index >= 0, f"kernel index {self.index} is negative")
        _require(bool(self.nodes), f"kernel {self.index}: it has no nodes")
        cut = (self.strip_rows, self.halo, self.strip_columns, self.strip_channels, self.streamed, self.shares)
        if cut != (None, None, None, None, (), ()) or any(node.lag for node in self.nodes):
            self._check_strips()
        if self.buffers:
            self._check_buffers()
        if self.prefetch:
            _require_unique([(p.tensor, p.during) for p in self.prefetch], "two prefetches of tensor, kernel", self)
            for tensor in sorted({p.tensor for p in self.prefetch}):
                self._check_prefetch(tensor)

    def _check_strips(self) -> None:
        _require((self.strip_rows is None) == (self.halo is None), "strip_rows and halo go together", self)
        _require(self.strip_rows is None or self.strip_rows >= 1, f"strips of {self.strip_rows} rows", self)
        _require((self.strip_columns or 1) >= 1, f"strips of {self.strip_columns} columns", self)
        whole = self.strip_columns is None and not self.streamed
        _require(self.strip_rows is not None or whole, "strip_columns and streamed need strip_rows", self)
        lags = any(node.lag for node in self.nodes)
        stays = self.strip_channels is not None or (self.strip_rows is not None and not self.streamed)
        _require(not lags or stays, "lags need strips that stay", self)
        many = self.strip_channels
        _require(many is None or many >= 1, f"strips of {many} channels", self)
        alone = self.strip_channels is None or (self.strip_rows is None and not self.shares)
        _require(alone, "strips of channels exclude strips of rows and shares", self)
        _require(len(self.shares) != 1, "a share of one engine alone", self)
        alike = not lags and not self.streamed and all(b.first_node is None for b in self.buffers)
        _require(not self.shares or alike, "shares need nodes in turns, and buffers that stay", self)
        _require(all(share.rows >= 1 for share in self.shares), "a share without rows", self)
        first = self.shares[0].engine if self.shares else self.engine
        _require(first == self.engine, f"runs on {self.engine}, its first share on {first}", self)
        engines = {share.engine for share in self.shares}
        _require(len(engines) == len(self.shares), "two shares for one engine", self)

    def _check_buffers(self) -> None:
        for placement in self.buffers:
            if (placement.last_node, placement.until, placement.stored, placement.engine) == (None, None, None, ""):
                continue
            brief = placement.last_node is None or (
                self.strip_rows is not None and placement.last_node < len(self.nodes)
            )
            _require(brief, f"{placement.tensor} lasts until node {placement.last_node} of a strip", self)
            until = self.index if placement.until is None else placement.until
            _require(until >= self.index, f"{placement.tensor} is kept until kernel {until}, before it starts", self)
            late = placement.stored in (None, self.index + 1) and (placement.stored is None or placement.until is None)
            _require(late, f"{placement.tensor} is stored in kernel {placement.stored}", self)
            _require(self._owned(placement), f"{placement.tensor} has a buffer for {placement.engine} alone", self)
        _require_unique([(b.tensor, b.level + b.engine) for b in self.buffers], "two buffers for tensor, level", self)

    def _owned(self, placement: Placement) -> bool:
        """Whether a buffer is for all engines, or for one that shares strips and nothing that stays."""
        mine = any(share.engine == placement.engine for share in self.shares)
        return not placement.engine or (mine and self.strip_rows is not None and placement.until is None)

    def _check_prefetch(self, tensor: str) -> None:
        parts = [p for p in self.prefetch if p.tensor == tensor]
        room = sum(b.total_bytes for b in self.buffers if b.tensor == tensor)
        loaded = sum(p.bytes for p in parts)
        _require(room > 0, f"{tensor} is prefetched but has no buffer", self)
        _require(loaded <= room, f"{loaded} bytes of {tensor} are prefetched into a buffer of {room}", self)
        for part in parts:
            _require(part.bytes >= 1, f"prefetch of {part.bytes} bytes of {tensor}", self)
            window = f"{tensor} is prefetched during kernel {part.during}, expected 0..{self.index - 1}"
            _require(0 <= part.during < self.index, window, self)

    def __str__(self) -> str:
        """How messages call it: `kernel 3 (conv1_out)`."""
        return f"kernel {self.index} ({self.nodes[0].output})"

    @property
    def resident(self) -> tuple[Placement, ...]:
        """The tensors that stay where they are after this kernel."""
        return tuple(b for b in self.buffers if b.until is not None and b.until > self.index)

    def live(self, placement: Placement) -> tuple[int, int]:
        """First and last kernel during which one of this kernel's buffers is occupied."""
        last = max(self.index, placement.until or 0, placement.stored or 0)
        if not self.prefetch:
            return self.index, last
        return min((p.during for p in self.prefetch if p.tensor == placement.tensor), default=self.index), last


def _require_unique(items: Collection[tuple[str, object]], message: str, of: object) -> None:
    if len(items) == len(set(items)):
        return
    seen: set[tuple[str, object]] = set()
    for item in items:
        _require(item not in seen, f"{message} {item[0]}, {item[1]}", of)
        seen.add(item)


@dataclass(frozen=True, kw_only=True)
class StorageAssumption:
    """How a dtype of the graph was taken to be stored and multiplied when the schedule was priced."""

    storage: str
    multiply: str


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """An ordered list of kernels for one graph on one target.

    Attributes:
        target: name of the target.
        batch: samples per run that the tiles were chosen for.
        kernels: in order of execution.
        dims: symbolic dimension -> value it was priced at.
        assume: graph dtype -> how it is stored and multiplied; dtypes that are not named run as they are.
        schema: version of this form.
    """

    target: str
    batch: int
    kernels: tuple[Kernel, ...]
    dims: Mapping[str, int] = field(default_factory=dict)
    assume: Mapping[str, StorageAssumption] = field(default_factory=dict)
    schema: str = SCHEMA

    def __post_init__(self) -> None:
        """Reject gaps in the order, doubled nodes, buffers that share bytes, and tensors kept past the end."""
        _require(self.schema == SCHEMA, f"schema is {self.schema!r}, expected {SCHEMA!r}")
        _require(self.batch >= 1, f"batch is {self.batch}, expected at least 1")
        for name, value in self.dims.items():
            _require(value >= 0, f"dimension {name} is {value}, expected at least 0")
        owner: dict[str, Kernel] = {}
        for position, kernel in enumerate(self.kernels):
            _require(kernel.index == position, f"{kernel}: it stands at position {position}")
            self._check_kernel(kernel, owner)
        for level in sorted({b.level for k in self.kernels for b in k.buffers}):
            _check_overlap(self, level)

    def _check_kernel(self, kernel: Kernel, owner: dict[str, Kernel]) -> None:
        for node in kernel.nodes:
            if node.output in owner:
                raise ScheduleError(f"{kernel}: node {node.output} already runs in {owner[node.output]}")
            owner[node.output] = kernel
        dealt = sum(share.rows for share in kernel.shares) if kernel.strip_rows is not None else 0
        _require(dealt in (0, self.batch), f"shares of {dealt} of {self.batch} samples", kernel)
        last = len(self.kernels) - 1
        for placement in kernel.resident:
            if (placement.until or 0) > last:
                raise ScheduleError(f"{kernel}: {placement.tensor} is kept until kernel {placement.until} of {last}")
        for placement in kernel.buffers:
            _require((placement.stored or 0) <= last, f"{placement.tensor} is stored after the last kernel", kernel)

    def live_by_kernel(self, level: str) -> list[list[tuple[Kernel, Placement]]]:
        """For every kernel, the buffers occupied at `level` while it runs, with the kernels that own them."""
        live: list[list[tuple[Kernel, Placement]]] = [[] for _ in self.kernels]
        for kernel in self.kernels:
            for placement in kernel.buffers:
                if placement.level != level:
                    continue
                first, last = kernel.live(placement)
                for index in range(first, last + 1):
                    live[index].append((kernel, placement))
        return live


def moments(kernel: Kernel, live: Sequence[tuple[Kernel, Placement]]) -> list[list[Placement]]:
    """Buffers that are on chip together: one list, or one per node where some last for a part of a strip only."""
    brief = [p for owner, p in live if owner is kernel and p.first_node is not None]
    if not brief:
        return [[p for _, p in live]]
    steady = [p for owner, p in live if owner is not kernel or p.first_node is None]
    nodes = range(len(kernel.nodes))
    return [[*steady, *(p for p in brief if (p.first_node or 0) <= at <= (p.last_node or 0))] for at in nodes]


def _check_overlap(schedule: Schedule, level: str) -> None:
    """No two buffers that are live at the same time share a byte."""
    for kernel, live in zip(schedule.kernels, schedule.live_by_kernel(level), strict=True):
        for together in moments(kernel, live):
            placed = sorted((p.offset_bytes, p.end_bytes, p.tensor) for p in together if p.offset_bytes is not None)
            for (_, end, tensor), (start, _, other) in pairwise(placed):
                if end > start:
                    message = f"{other} at {start} overlaps {tensor}, which ends at {end}, in {level}"
                    raise ScheduleError(f"{kernel}: {message}")
