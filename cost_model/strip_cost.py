"""What a kernel that runs in strips costs: buffers, bytes, and the pieces of work that its strips are.

Constants are loaded once and stay, or, where they are `streamed` or the scratchpad may not hold them, with every strip.
Tensors between the nodes have line buffers and never leave; of what comes in, the next strip's part is loaded while one
is computed, and of what goes out, the last strip's part is stored meanwhile. Engines that share the samples run their
strips at the same time: each has these buffers to itself, constants excepted.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.model import GraphModel
from roofwright.cost_model.passing import Slice
from roofwright.cost_model.schedule import Kernel, Schedule, ScheduleError
from roofwright.cost_model.strip_maps import Step
from roofwright.cost_model.strips import Cut, Stack, Strips, by_sample, space_stack
from roofwright.cost_model.traffic import holds_weights
from roofwright.cost_model.units import Ints
from roofwright.cost_model.work import LoopNest, Operand
from roofwright.targets import Target

STREAM_SLICES = 16  # parts, along the output channels, in which a streamed constant passes through


@dataclass(frozen=True)
class StripCost:
    """A kernel in strips.

    Attributes:
        strips: its geometry.
        buffers: what it holds on chip, without tensors that stay beyond it.
        footprint_bytes: the most of the buffers that is live at a time.
        weight_bytes, input_bytes: loaded by all strips.
        spread: whether constants are loaded with every strip.
        pieces: per loop nest of the kernel, in order: nests of one strip each, and how many are alike.
        lane_factors: per node, elementwise work over that of the whole tensor.
        lags: per node, strips that it is behind; all 0 where nodes take turns.
        shares: engines that run strips at the same time, and how many images each; (): one runs all.
    """

    strips: Strips
    buffers: tuple[Slice, ...]
    footprint_bytes: float
    weight_bytes: float
    input_bytes: float
    spread: bool
    pieces: tuple[tuple[tuple[LoopNest, int], ...], ...]
    lane_factors: tuple[float, ...]
    lags: tuple[int, ...]
    shares: tuple[tuple[str, int], ...] = ()

    @property
    def rounds(self) -> int:
        """Times that every engine loads a strip, computes one and stores one; those with fewer samples take longer."""
        return max(self.strips.count // max(len(self.shares), 1), 1)

    @property
    def overlaps(self) -> bool:
        """Whether nodes work on different strips at the same time."""
        return any(self.lags)


def strip_costs(
    kernels: Sequence[KernelWork],
    kept: Sequence[Collection[str]],
    schedule: Schedule | None,
    model: GraphModel,
    target: Target,
) -> dict[int, StripCost]:
    """Position of a kernel -> its strips, for kernels whose schedule cuts them so.

    Raises:
        ScheduleError: a kernel's nodes cannot run in strips.
    """
    if schedule is None or len(schedule.kernels) != len(kernels):
        return {}
    found = {}
    for kernel in schedule.kernels:
        if kernel.strip_rows is not None:
            found[kernel.index] = _known(kernel, kernels[kernel.index], kept[kernel.index], model, target)
    return found


def _known(kernel: Kernel, work: KernelWork, kept: Collection[str], model: GraphModel, target: Target) -> StripCost:
    """The cost of a scheduled kernel, worked out once for each set of operands that lie on chip."""
    here = tuple(operand.name for operand in (*work.reads, *work.writes) if operand.name in kept)
    lags = tuple(node.lag for node in kernel.nodes)
    cut = (kernel.strip_rows, kernel.strip_columns, kernel.halo, kernel.streamed, kernel.shares, lags, here)
    nothing: tuple[dict[object, StripCost], dict[Cut, Strips]] = ({}, {})
    known, shapes = model.memo.once("strips", (work, target), lambda: nothing)  # shapes: whatever lies on chip
    if cut not in known:
        stack = model.memo.once("stack", (work,), lambda: stack_for(kernel, work, model))
        _check_lags(kernel, stack)
        shares, size = shares_of(kernel, work, stack, model), cut_of(kernel)
        strips = shapes[size] = shapes.get(size) or Strips.of(stack, size)
        known[cut] = strip_cost(strips, work, here, target, kernel.streamed, lags, shares)
    return known[cut]


def shares_of(kernel: Kernel, work: KernelWork, stack: Stack, model: GraphModel) -> tuple[tuple[str, int], ...]:
    """Engines of a scheduled kernel with the images of each, in order.

    Raises:
        ScheduleError: its samples need each other, or are not what its strips run over.
    """
    if not kernel.shares:
        return ()
    batch, dealt = model.batch, sum(share.rows for share in kernel.shares)
    each, over = divmod(stack.last.images, batch)
    if over or dealt != batch or not by_sample(work, model.maps, batch):
        raise ScheduleError(f"{kernel}: engines cannot share its strips sample by sample")
    return tuple((share.engine, share.rows * each) for share in kernel.shares)


def stack_for(kernel: Kernel, work: KernelWork, model: GraphModel) -> Stack:
    """The stack of a scheduled kernel.

    Raises:
        ScheduleError: its nodes cannot run in strips.
    """
    stack = space_stack(model.maps, work.nodes, frozenset(operand.name for operand in work.writes))
    if stack is None:
        raise ScheduleError(f"{kernel}: its nodes cannot run in strips")
    return stack


def _check_lags(kernel: Kernel, stack: Stack) -> None:
    lags = [node.lag for node in kernel.nodes]
    edges = [(stack.made[name], at) for name, reads in stack.readers.items() if name in stack.made for at, *_ in reads]
    if any(lags[after] < lags[before] for before, after in edges):
        raise ScheduleError(f"{kernel}: a node runs ahead of what it reads")
    if any(lags) and any(step.whole for step in stack.steps):
        raise ScheduleError(f"{kernel}: nodes that hold an operand whole cannot lag")


def cut_of(kernel: Kernel) -> Cut:
    """How a scheduled kernel is cut."""
    return Cut(kernel.strip_rows or 1, kernel.strip_columns, kernel.halo or "both")


def strip_cost(
    strips: Strips,
    work: KernelWork,
    kept: Collection[str],
    target: Target,
    streamed: Collection[str] = (),
    lags: Sequence[int] = (),
    shares: Sequence[tuple[str, int]] = (),
) -> StripCost:
    """The cost of a kernel that is cut.

    Args:
        strips: its nodes and how they are cut.
        work: the kernel, for its operands.
        kept: operands that lie on chip anyway.
        target: the machine.
        streamed: constants that are loaded with every strip.
        lags: per node, strips that it is behind; (): none is.
        shares: engines that run strips at the same time, and how many images each; (): one runs all.
    """
    stack = strips.stack
    behind = tuple(lags) or (0,) * len(stack.steps)
    asked = _Asked(strips, work, frozenset(kept), target, frozenset(streamed), behind, tuple(shares))
    buffers = tuple(asked.buffers())
    return StripCost(
        strips=strips,
        buffers=buffers,
        footprint_bytes=float(peak_of(buffers, len(stack.steps))),
        weight_bytes=sum(asked.size(o) * asked.loads(o) for o in work.reads if o.constant and o.name not in kept),
        input_bytes=sum(asked.loaded(o) for o in work.reads if not o.constant and o.name not in kept),
        spread=any(o.constant and asked.loads(o) > 1 for o in work.reads),
        pieces=tuple(_pieces(strips, step) for step in stack.steps for _ in step.work.work.nests),
        lane_factors=tuple(_share(strips, step) for step in stack.steps),
        lags=behind,
        shares=tuple(shares),
    )


def peak_of(buffers: Sequence[Slice], nodes: int) -> int:
    """The most bytes of buffers that are live at a time."""
    steady = sum(b.bytes * b.copies for b in buffers if b.first_node is None)
    brief = [(b.first_node, b.last_node or 0, b.bytes * b.copies) for b in buffers if b.first_node is not None]
    return steady + max((sum(s for first, last, s in brief if first <= at <= last) for at in range(nodes)), default=0)


def filters_of(stack: Stack, name: str) -> int:
    """Output channels along which a constant can pass through in slices; 1 where it cannot."""
    weighs = [step for step in stack.steps if step.work.work.nest is not None]
    return next((s.grid.depth for s in weighs if s.work.node.inputs[1].name == name), 1)


@dataclass(frozen=True)
class _Asked:
    """One kernel in strips, for its buffers and loads."""

    strips: Strips
    work: KernelWork
    kept: frozenset[str]
    target: Target
    streamed: frozenset[str]
    lags: tuple[int, ...]
    shares: tuple[tuple[str, int], ...]

    def size(self, operand: Operand) -> float:
        """Bytes of all of an operand."""
        return storage_of(operand.dtype, self.target).bytes(operand.elements)

    def loads(self, operand: Operand) -> int:
        """How often a constant is loaded."""
        again = operand.name in self.streamed or not holds_weights(self.target)
        return self.strips.count if again else 1

    def loaded(self, operand: Operand) -> float:
        """Bytes of an operand that all strips load."""
        grid = self.strips.stack.grids.get(operand.name)
        if grid is None:
            return self.size(operand)
        return storage_of(operand.dtype, self.target).bytes(
            self.strips.positions(operand.name) * grid.images * grid.depth
        )

    def buffers(self) -> list[Slice]:
        """All of them."""
        stack = self.strips.stack
        dtypes = {o.name: o.dtype for step in stack.steps for o in (*step.work.work.writes, *step.work.work.reads)}
        dtypes |= {o.name: o.dtype for o in (*self.work.reads, *self.work.writes)}
        found = [self._constant(o) for o in self.work.reads if o.constant and holds_weights(self.target)]
        outside = [o for o in self.work.reads if not o.constant and o.name not in stack.grids]
        for engine, images in self.shares or (("", stack.last.images),):
            found += [self._whole(o, engine, images) for o in outside]
            for name, grid in stack.grids.items():
                one = storage_of(dtypes[name], self.target).bytes(grid.depth)
                size = max(1, ceil(self._positions(name, images) * one))
                found.append(Slice(name, size, 1, *self._span(name), engine))
        return [buffer for buffer in found if buffer.tensor not in self.kept]

    def _constant(self, operand: Operand) -> Slice:
        """Whole, or two slices of filters where it is streamed."""
        whole = self.size(operand)
        if operand.name not in self.streamed:
            return Slice(operand.name, max(1, ceil(whole)), 1)
        channels = filters_of(self.strips.stack, operand.name)
        part = ceil(channels / STREAM_SLICES) / channels
        return Slice(operand.name, max(1, ceil(whole * part)), 2 if part < 1 else 1)

    def _whole(self, operand: Operand, engine: str, images: int) -> Slice:
        """All that these images read; of what is read image by image, the one that is computed and the next one."""
        stack, size, name = self.strips.stack, self.size(operand), operand.name
        by_image = stack.last.images > 1 and all(name in step.by_image for step in stack.steps if name in step.whole)
        held = 1 if by_image else images
        copies = min(2, images) if by_image else 1
        return Slice(name, max(1, ceil(size * held / stack.last.images)), copies, engine=engine)

    def _positions(self, name: str, images: int) -> int:
        """Positions for which a tensor's buffer has room, where its strips are of so many images.

        While the reader that is furthest behind works on a strip, there is what that one holds and what was made (or
        loaded: one step ahead of the first reader) since. What leaves is stored in the step after.
        """
        strips, stack = self.strips, self.strips.stack
        held, made = strips.held_by_strip(name), strips.made_by_strip(name)
        behind = [self.lags[at] for at, *_ in stack.readers.get(name, ())]
        own = self.lags[stack.made[name]] if name in stack.made else min(behind) - 1
        since = max(behind, default=own) - own
        for later in range(1, since + 1):
            held = held + self._moved(made, -later, images)
        if name in stack.leaving and not since:
            held = held + self._moved(made, 1, images)
        return int(held.max())

    @staticmethod
    def _moved(made: Ints, by: int, images: int) -> Ints:
        """What the strip `by` before makes (after, if negative); an image's first comes after the last of another."""
        count = len(made)
        if images > 1:
            return np.roll(made, by)
        there = np.zeros_like(made)
        if abs(by) < count:
            there[max(by, 0) : count + min(by, 0)] = made[max(-by, 0) : count - max(by, 0)]
        return there

    def _span(self, name: str) -> tuple[int | None, int | None]:
        """The nodes for which a strip holds a tensor that passes nothing on to the next one."""
        stack = self.strips.stack
        apart = any(self.lags) or self.shares  # nodes at work at the same time
        if name not in stack.made or name in stack.leaving or apart or not self.strips.passes(name):
            return None, None
        return stack.made[name], max(at for at, *_ in stack.readers[name])


def _share(strips: Strips, step: Step) -> float:
    grid = step.grid
    return strips.positions(step.makes[0][0]) / (grid.rows * grid.columns)


def _pieces(strips: Strips, step: Step) -> tuple[tuple[LoopNest, int], ...]:
    """Nests of one strip each, with how many strips of all images are alike."""
    nest, images = step.work.work.nests[0], step.grid.images
    sizes = [_alike(values) for values in strips.new(step.makes[0][0])]
    found = []
    for rows, many in sizes[0].items():
        for columns, more in sizes[1].items():
            found.append((one_strip(nest, step, rows, columns), many * more * images))
    return tuple(found)


def _alike(values: Ints) -> Mapping[int, int]:
    sizes, counts = np.unique(values[values > 0], return_counts=True)
    return dict(zip(sizes.tolist(), counts.tolist(), strict=True))


def one_strip(nest: LoopNest, step: Step, rows: int, columns: int) -> LoopNest:
    """The nest of a strip of so many rows and columns of one image."""
    read = step.reads[0]
    if step.work.op != "Conv":
        return replace(nest, repeat=1, batch=1, out_h=rows, out_w=1, in_h=rows, in_w=1)
    high = min((rows - 1) * read.rows.stride + read.rows.window, nest.in_h)
    wide = min((columns - 1) * read.columns.stride + read.columns.window, nest.in_w)
    return replace(nest, batch=1, out_h=rows, out_w=columns, in_h=high, in_w=wide)
