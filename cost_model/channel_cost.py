"""What a kernel that runs group of channels by group of channels costs: buffers, bytes, and what its steps are.

In step t a node of lag l works on group t - l. A product that opens has all of its input in a buffer, one that closes
adds to partial sums of all of its result, and what follows it works in the step of its last group. Every operand is
loaded once and every result stored once: what is held whole before the first step, what comes by groups one step before
its first reader; groups of results in the step after their own, a result that adds up after the last step.

Partial sums take 4 bytes. They lie in the accumulators of the unit, beside those of the groups that other nodes make,
where it has such and nowhere else to add; otherwise in a buffer of their own, `NAME:sums`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.channel_maps import ChannelStack, NotByChannels, Part
from roofwright.cost_model.channel_walk import channel_stack
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.model import GraphModel
from roofwright.cost_model.passing import Slice
from roofwright.cost_model.schedule import Kernel, Schedule, ScheduleError
from roofwright.cost_model.slices import ACCUMULATOR_BYTES
from roofwright.cost_model.strip_cost import peak_of
from roofwright.cost_model.traffic import holds_weights
from roofwright.cost_model.work import Operand
from roofwright.targets import Systolic, Target

SUMS = ":sums"  # behind the name of a result: the buffer of its partial sums


@dataclass(frozen=True)
class Groups:
    """A stack that is cut into groups of `size` channels; the last one may be smaller."""

    stack: ChannelStack
    size: int

    @property
    def count(self) -> int:
        """How many groups there are."""
        return -(-self.stack.extent // self.size)

    @property
    def last_size(self) -> int:
        """Channels of the last group."""
        return self.stack.extent - (self.count - 1) * self.size

    def span(self, group: int) -> tuple[int, int]:
        """Channels of one group, as a half-open range."""
        return group * self.size, min((group + 1) * self.size, self.stack.extent)


@dataclass(frozen=True)
class ChannelCost:
    """A kernel in groups of channels.

    Attributes:
        groups: its geometry.
        lags: per node, groups that it is behind.
        buffers: what it holds on chip, without tensors that stay beyond it.
        footprint_bytes: all of them together.
        weight_bytes, input_bytes: loaded by all steps.
        first_bytes: what of both is loaded before the first step: operands that are held whole; (constants, others).
        last_bytes: results that are stored after the last step, out of `stored_bytes`.
        sums_bytes: partial sums in the unit's accumulators.
    """

    groups: Groups
    lags: tuple[int, ...]
    buffers: tuple[Slice, ...]
    footprint_bytes: float
    weight_bytes: float
    input_bytes: float
    first_bytes: tuple[float, float]
    last_bytes: float
    stored_bytes: float
    sums_bytes: float

    @property
    def overlaps(self) -> bool:
        """Whether nodes work on different groups at the same time."""
        return any(self.lags)


def channel_costs(
    kernels: Sequence[KernelWork],
    kept: Sequence[Collection[str]],
    schedule: Schedule | None,
    model: GraphModel,
    target: Target,
) -> dict[int, ChannelCost]:
    """Position of a kernel -> its groups, for kernels whose schedule cuts them so.

    Raises:
        ScheduleError: a kernel's nodes cannot run in groups of channels.
    """
    if schedule is None or len(schedule.kernels) != len(kernels):
        return {}
    return {
        kernel.index: _known(kernel, kernels[kernel.index], kept[kernel.index], model, target)
        for kernel in schedule.kernels
        if kernel.strip_channels is not None
    }


def _known(kernel: Kernel, work: KernelWork, kept: Collection[str], model: GraphModel, target: Target) -> ChannelCost:
    """The cost of a scheduled kernel, worked out once for each set of operands that lie on chip."""
    here = tuple(operand.name for operand in (*work.reads, *work.writes) if operand.name in kept)
    known: dict[object, ChannelCost] = model.memo.once("groups", (kernel.nodes, work, target), dict)
    cut = (kernel.strip_channels, kernel.engine, here)
    if cut not in known:
        try:
            leaving = frozenset(operand.name for operand in work.writes)
            stack = model.memo.once("by channels", (work,), lambda: channel_stack(model.maps, work.nodes, leaving))
            lags = tuple(node.lag for node in kernel.nodes)
            engines = tuple(node.engine or kernel.engine for node in kernel.nodes)
            groups = Groups(stack, kernel.strip_channels or 1)
            known[cut] = channel_cost(groups, lags, work, here, units_of(stack, engines, target), target)
        except NotByChannels as reason:
            raise ScheduleError(f"{kernel}: its nodes cannot run by channels: {reason}") from None
    return known[cut]


def units_of(stack: ChannelStack, engines: Sequence[str], target: Target) -> Systolic | None:
    """The array whose accumulators hold partial sums and nothing else can; None: a buffer does."""
    names = {engines[at] for at in stack.closing}
    arrays = [e.geometry for e in target.engines if e.name in names and isinstance(e.geometry, Systolic)]
    return next((array for array in arrays if array.accumulator_bytes is not None), None)


def channel_cost(
    groups: Groups,
    lags: Sequence[int],
    work: KernelWork,
    kept: Collection[str],
    unit: Systolic | None,
    target: Target,
) -> ChannelCost:
    """The cost of a stack that is cut.

    Args:
        groups: the kernel's nodes, and how they are cut.
        lags: per node, groups that it is behind.
        work: the kernel, for its operands.
        kept: operands that lie on chip anyway.
        unit: the array that adds partial sums in its accumulators; None: they lie in buffers.
        target: the machine.

    Raises:
        NotByChannels: a node runs ahead of what it reads, or the accumulators are too small.
    """
    stack = groups.stack
    for name, at in stack.made.items():
        if any(lags[after] < lags[at] for after in stack.readers.get(name, ())):
            raise NotByChannels(f"a node runs ahead of {name}, which it reads")
    asked = _Asked(groups, tuple(lags), work, frozenset(kept), target)
    sums = asked.sums()
    inside = sum(sums.values()) + asked.made_beside() if unit is not None and sums else 0
    if unit is not None and inside > (unit.accumulator_bytes or 0):
        raise NotByChannels(f"{inside} bytes of partial sums do not fit the accumulators")
    buffers = tuple(asked.buffers({} if unit is not None else sums))
    loads = [o for o in work.reads if o.name not in asked.kept]
    first = [o for o in loads if o.name not in stack.along]
    stores = [o for o in work.writes if o.name not in asked.kept]
    return ChannelCost(
        groups=groups,
        lags=tuple(lags),
        buffers=buffers,
        footprint_bytes=float(peak_of(buffers, len(stack.parts))),
        weight_bytes=sum(asked.size(o) for o in loads if o.constant),
        input_bytes=sum(asked.size(o) for o in loads if not o.constant),
        first_bytes=(
            sum(asked.size(o) for o in first if o.constant),
            sum(asked.size(o) for o in first if not o.constant),
        ),
        last_bytes=sum(asked.size(o) for o in stores if o.name not in stack.along),
        stored_bytes=sum(asked.size(o) for o in stores),
        sums_bytes=float(inside),
    )


@dataclass(frozen=True)
class _Asked:
    """One kernel in groups of channels, for its buffers."""

    groups: Groups
    lags: tuple[int, ...]
    work: KernelWork
    kept: frozenset[str]
    target: Target

    def size(self, operand: Operand) -> float:
        """Bytes of all of an operand."""
        return storage_of(operand.dtype, self.target).bytes(operand.elements)

    def sums(self) -> dict[str, int]:
        """Partial sums of every result that adds up, in bytes."""
        parts = [self.groups.stack.parts[at] for at in self.groups.stack.closing]
        return {part.makes: part.work.work.writes[0].elements * ACCUMULATOR_BYTES for part in parts}

    def made_beside(self) -> int:
        """Bytes of accumulators for groups of other products while sums stay: one is made, one before it taken out."""
        stack, size = self.groups.stack, min(self.groups.size, self.groups.stack.extent)
        made = [p for p in stack.parts if p.role in ("opens", "each") and p.work.work.nest is not None]
        sizes = sorted(stack.along[part.makes].each * size * ACCUMULATOR_BYTES for part in made)
        return sum(sizes[-2:])

    def buffers(self, sums: Mapping[str, int]) -> list[Slice]:
        """All of them; `sums`: those of partial sums."""
        stack, held = self.groups.stack, holds_weights(self.target)
        found = [
            self._cut(o.name, o.dtype, self._copies(o.name)) if o.name in stack.along else self._all(o)
            for o in self.work.reads
            if held or not o.constant
        ]
        inner = passing_by(stack, self.lags)
        for part in stack.parts:
            result = part.work.work.writes[0]
            if part.makes in inner or (part.role == "closes" and part.makes not in stack.leaving):
                continue
            cut = part.makes in stack.along
            found.append(self._cut(part.makes, result.dtype, self._copies(part.makes)) if cut else self._all(result))
        own = [buffer for buffer in found if buffer.tensor not in self.kept]
        return own + [Slice(f"{name}{SUMS}", size, 1) for name, size in sums.items()]

    def _all(self, operand: Operand) -> Slice:
        return Slice(operand.name, max(1, ceil(self.size(operand))), 1)

    def _cut(self, name: str, dtype: str, copies: int) -> Slice:
        size = min(self.groups.size, self.groups.stack.extent)
        elements = self.groups.stack.along[name].each * size
        return Slice(name, max(1, ceil(storage_of(dtype, self.target).bytes(elements))), copies)

    def _copies(self, name: str) -> int:
        """Groups that are there together: from the one that is made (or loaded, a step ahead) to the last one read.

        What leaves stays one step longer than its own, to be stored.
        """
        stack = self.groups.stack
        readers = [self.lags[at] for at in stack.readers.get(name, ())]
        own = self.lags[stack.made[name]] if name in stack.made else min(readers) - 1
        until = max([*readers, own + 1] if name in stack.leaving else readers)
        return min(until - own + 1, self.groups.count)


def passing_by(stack: ChannelStack, lags: Sequence[int]) -> frozenset[str]:
    """Results that only elementwise nodes of the same step read, as they come: they need no buffer.

    A chain of such nodes runs element by element behind one node that is not elementwise, whatever else its nodes read
    being there before: from an earlier step, or from outside.
    """
    root: list[int] = []
    for at, part in enumerate(stack.parts):
        before = [stack.made[n] for n in (*part.reads, *part.whole) if n in stack.made]
        now = {root[b] for b in before if lags[b] == lags[at]}
        root.append(now.pop() if part.streams and not part.moves and len(now) == 1 else at)
    inner = set()
    for name, at in stack.made.items():
        readers = stack.readers.get(name, ())
        alike = all(
            (root[r] == root[at] or stack.parts[r].moves) and lags[r] == lags[at] and _alike(stack, at, r)
            for r in readers
        )
        if readers and alike and name not in stack.leaving:
            inner.add(name)
    return frozenset(inner)


def _alike(stack: ChannelStack, made: int, reader: int) -> bool:
    """Whether a reader's result has the shape of what it reads."""
    parts: tuple[Part, Part] = (stack.parts[made], stack.parts[reader])
    one, other = (part.work.work.writes[0].elements for part in parts)
    return one == other and parts[1].streams
