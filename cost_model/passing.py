"""How the operands of a kernel pass through the scratchpad when one of its loops is cut into tiles.

With rows cut, a tile needs the input rows under its windows (a halo included), a slice of the result and of operands as
large as the result (a residual), and all the weights. With output channels cut it needs all of the input and slices of
the weights and the result. Smaller operands (a bias, a scale that broadcasts) stay whole.

A kernel without a nest makes its results in independent pieces: an element of an elementwise kernel, a plane of a
pool, a row of a softmax. A tile is so many pieces, and needs the same share of its operands. What is only moved (a
Concat) may come from any operand: each has room for a whole tile.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from roofwright.cost_model.bounds import touched
from roofwright.cost_model.kernels import KernelWork
from roofwright.cost_model.operands import Operands
from roofwright.cost_model.rates import ceil_div
from roofwright.cost_model.tiles import Problem
from roofwright.cost_model.traffic import holds_weights
from roofwright.cost_model.units import Bools, Floats, Ints, Nests
from roofwright.cost_model.work import Operand
from roofwright.targets import Target

Role = Literal["input", "weights", "result", "moved", "whole"]
ROLES: tuple[Role, ...] = ("input", "weights", "result", "moved", "whole")
ALIGNMENT_BYTES = 64  # of every address


@dataclass(frozen=True)
class Slice:
    """A buffer of a tensor's tiles: bytes of one copy, and 2 copies where the next tile loads meanwhile.

    A buffer in one copy holds the tensor whole, every tile with its own place there, or the part of it that strips
    need now. `first_node` and `last_node`: the nodes of a strip that need it; None: all. `engine`: whose strips it is
    for, where several share them.
    """

    tensor: str
    bytes: int
    copies: int
    first_node: int | None = None
    last_node: int | None = None
    engine: str = ""


def role(kernel: KernelWork, operand: Operand, is_read: bool) -> Role:
    """How an operand passes through."""
    if kernel.nest_operands:
        first, second, result = kernel.nest_operands
        if is_read and operand.name in (first.name, second.name):
            return "input" if operand.name == first.name else "weights"
        return "result" if not is_read or operand.elements == result.elements else "whole"
    lead = kernel.nodes[0].work
    if _composite_pieces(kernel) is not None:
        return "result" if not is_read or operand.elements == kernel.writes[0].elements else "whole"
    if lead.kind == "move":
        return "moved" if _streams(kernel) else "whole"
    if lead.kind == "elementwise":
        return "result" if not is_read or operand.elements == pieces(kernel) else "whole"
    return "result" if not is_read or operand is kernel.reads[0] else "whole"


def pieces(kernel: KernelWork) -> int:
    """Independent pieces of the results of a kernel without a nest."""
    composite = _composite_pieces(kernel)
    if composite is not None:
        return composite
    lead, elements = kernel.nodes[0].work, [operand.elements for operand in kernel.writes]
    if lead.kind == "elementwise":
        return max(elements, default=1)
    if lead.kind == "move":
        return max(sum(elements), 1) if _streams(kernel) else 1
    return lead.pieces


def _composite_pieces(kernel: KernelWork) -> int | None:
    """Independent pieces of several nodes that are not all elementwise; None for every other kernel.

    Those of its reductions and of what only moves: all of them along the same axes.
    """
    works = [node.work for node in kernel.nodes]
    others = [work for work in works if work.kind != "elementwise"]
    if len(works) == 1 or not others or kernel.nest_operands:
        return None
    return min(work.pieces if work.kind in ("reduce", "move") else 1 for work in others)


def _streams(kernel: KernelWork) -> bool:
    """Whether every element that is moved is read once: nothing is repeated, as in an Expand."""
    read = sum(operand.elements for operand in kernel.reads if not operand.constant)
    return len(kernel.nodes) == 1 and read == sum(operand.elements for operand in kernel.writes)


@dataclass(frozen=True)
class Passing:
    """Bytes of the operands that take room of their own, by how they pass through; arrays of shape (n,).

    Attributes:
        input, weights, result, moved, whole: by role; weights whose address is not on chip are left out.
        unit: bytes of one piece of all moved operands.
        constant: whether the weights are constants: they then stay when rows are cut.
        buffers: how many buffers these are.
        halo: the nests, for the input rows of a tile; None where no kernel has one.
        nested: kernels with a nest.
    """

    input: Floats
    weights: Floats
    result: Floats
    moved: Floats
    whole: Floats
    unit: Floats
    constant: Bools
    buffers: Ints
    halo: Problem | None
    nested: Bools

    @classmethod
    def of(
        cls, operands: Operands, roles: Ints, kept: Sequence[Collection[str]], nests: Nests, anchor: Ints
    ) -> "Passing":
        """Of kernels with the tensors `kept` on chip.

        Args:
            operands: of the kernels.
            roles: how each operand passes through (`roles_of`).
            kept: for every kernel, the tensors that it finds or leaves on chip.
            nests: of all kernels.
            anchor: positions of the kernels' own nests; -1: none.
        """
        own = (roles >= 0) & ~operands.among(kept)
        parts = [own & (roles == at) for at in range(len(ROLES))]
        into, weights, result, moved, whole = (operands.sums(operands.bytes, part) for part in parts)
        halo = Problem.of(nests.take(np.maximum(anchor, 0)), (1, 1, 1), 1) if len(nests) else None
        count = np.ones_like(operands.bytes)
        return cls(
            input=into,
            weights=weights,
            result=result,
            moved=moved,
            whole=whole,
            unit=operands.sums(operands.one, parts[3]),
            constant=operands.sums(count, parts[1] & operands.constant) > 0,
            buffers=operands.sums(count, own).astype(np.int64),
            halo=halo,
            nested=anchor >= 0,
        )

    @property
    def slack_bytes(self) -> Floats:
        """What aligned addresses may leave unused between the buffers."""
        return np.asarray(self.buffers * (ALIGNMENT_BYTES - 1.0))

    def on_chip(self, stay: Bools, share: Floats, slice_: Ints, extent: Ints, tiles: Ints, groups: Ints) -> Floats:
        """Bytes of all buffers.

        Args:
            stay: whether rows are cut (and constants stay), not output channels.
            share: of the copies of a nest in one tile.
            slice_: rows, output channels or pieces in one tile.
            extent: and in all.
            tiles: how many tiles there are.
            groups: how many times the copies of the nest change.
        """
        two, part = np.minimum(2, tiles), share * slice_ / extent
        rows = np.minimum(two * share * self.input_share(slice_), 1.0) if self.halo is not None else part
        rows = np.where(tiles > 1, np.maximum(rows, 0.0), 1.0)
        right = np.where(self.constant, 1.0, np.minimum(2, groups) * share)
        input_ = self.input * np.where(stay, rows, 1.0)
        weights = self.weights * np.where(stay, right, two * part)
        moved = two * np.minimum(self.moved, self.unit * slice_)
        return np.asarray(input_ + weights + two * part * self.result + moved + self.whole)

    def input_share(self, rows: Ints) -> Floats:
        """Share of the input under `rows` output rows; 1.0 without a nest."""
        if self.halo is None:
            return np.ones(len(rows))
        return np.where(self.nested, np.minimum(self.halo.input_rows(rows) / self._touched_rows, 1.0), 1.0)

    @cached_property
    def _touched_rows(self) -> Ints:
        """Input rows of all images that some window touches, shape (n,)."""
        assert self.halo is not None
        nests = self.halo.nests
        rows_of_image = touched(nests.out_h, nests.kernel_h, nests.stride_h, nests.dilation_h, nests.in_h)
        return np.asarray(np.maximum(nests.batch * rows_of_image, 1))


def own_operands(kernel: KernelWork, kept: Collection[str], target: Target) -> list[tuple[Operand, Role]]:
    """Operands that take room of their own: neither `kept` on chip beyond the kernel nor streamed past the chip."""
    found: dict[str, tuple[Operand, Role]] = {}
    for operand, is_read in [*((o, True) for o in kernel.reads), *((o, False) for o in kernel.writes)]:
        if operand.name in kept or operand.name in found or (operand.constant and not holds_weights(target)):
            continue
        found[operand.name] = (operand, role(kernel, operand, is_read))
    return list(found.values())


def roles_of(kernels: Sequence[KernelWork], operands: Operands, target: Target) -> Ints:
    """Position in `ROLES` of every operand; -1 where it takes no room, whatever is kept, or was named before."""
    found = np.full(len(operands.names), -1, np.int64)
    for at, kernel in enumerate(kernels):
        parts = {operand.name: part for operand, part in own_operands(kernel, (), target)}
        for row in range(operands.first[at], operands.first[at + 1]):
            part = parts.get(operands.names[row])
            if part is not None and (not operands.constant[row] or holds_weights(target)):
                found[row] = ROLES.index(part)
                del parts[operands.names[row]]
    return found


def row_trips(slice_: Ints, extent: Ints, image: Ints) -> Ints:
    """Tiles of `slice_` rows: within images of `image` rows, or of several whole ones."""
    several = ceil_div(ceil_div(extent, image), np.maximum(slice_ // image, 1))
    return np.where(slice_ >= image, several, ceil_div(extent, image) * ceil_div(image, slice_))
