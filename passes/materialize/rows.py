"""Which rows of its inputs an operator needs for some rows of its output, and how it is written for those alone.

Rows are axis 2 of a tensor of rank 4 (the last but one of any operand that broadcasts to it). Every rule is exact: the
operator, run on the rows that `reads` names with the attributes of `attrs`, gives the rows of `raw`, each element by
the same terms in the same order as in the whole; of those the strip keeps what it wants.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Span = tuple[int, int]  # first row and the one after the last


class NotByRows(Exception):
    """The operator cannot be run strip by strip; the message says why."""


@dataclass(frozen=True)
class Pointwise:
    """Row i of every output needs row i of the inputs in `rows`; the others are read whole.

    Attributes:
        rows: positions of the inputs that have the output's rows.
    """

    rows: frozenset[int]

    def reads(self, out: Span) -> Mapping[int, Span]:
        """Input position -> rows; inputs that are not named are read whole."""
        return dict.fromkeys(self.rows, out)

    def raw(self, out: Span) -> Span:
        """The rows that the operator gives when it is run on what `reads` names."""
        return out

    def attrs(self, out: Span) -> Mapping[str, Any]:
        """Attributes that differ from the whole operator's; None removes one."""
        return {}

    def constants(self, out: Span) -> Mapping[int, NDArray[Any]]:
        """Constant inputs that differ from the whole operator's."""
        return {}


@dataclass(frozen=True)
class Window(Pointwise):
    """Convolutions and pools: output row o reads rows o s - top + k d.

    Attributes:
        kernel, stride, dilation: along the rows.
        pads: explicit (top, left, bottom, right).
        height, out_height: rows of the whole input and output.
        ceil: the output's size was rounded up.
    """

    kernel: int
    stride: int
    dilation: int
    pads: tuple[int, int, int, int]
    height: int
    out_height: int
    ceil: bool = False

    def _span(self, out: Span) -> Span:
        first = out[0] * self.stride - self.pads[0]
        return first, (out[1] - 1) * self.stride - self.pads[0] + (self.kernel - 1) * self.dilation + 1

    def reads(self, out: Span) -> Mapping[int, Span]:
        """Clipped at the borders, where the strip's own padding stands in."""
        first, last = self._span(out)
        return dict.fromkeys(self.rows, (max(first, 0), min(last, self.height)))

    def attrs(self, out: Span) -> Mapping[str, Any]:
        """Padding only where the strip touches a border; what `auto_pad` meant is written out."""
        first, last = self._span(out)
        below = max(last - self.height, 0)
        if self.ceil and out[1] == self.out_height:
            below = min(below, self.pads[2])  # the rest comes from rounding up, as in the whole
        return {"pads": [max(-first, 0), self.pads[1], below, self.pads[3]], "auto_pad": None}


@dataclass(frozen=True)
class Transposed(Pointwise):
    """ConvTranspose: input row i reaches the output rows i s - top + k d.

    Attributes:
        kernel, stride, dilation, pads: as in `Window`.
        height: rows of the whole input.
        across: output padding along the width.
    """

    kernel: int
    stride: int
    dilation: int
    pads: tuple[int, int, int, int]
    height: int
    across: int

    def reads(self, out: Span) -> Mapping[int, Span]:
        """Every input row that reaches one of the output rows; one at least."""
        reach = (self.kernel - 1) * self.dilation
        first = max(-(-(out[0] + self.pads[0] - reach) // self.stride), 0)
        last = min((out[1] - 1 + self.pads[0]) // self.stride, self.height - 1)
        first = min(first, (out[0] + self.pads[0]) // self.stride, self.height - 1)  # rows that nothing reaches
        return dict.fromkeys(self.rows, (first, max(first, last) + 1))

    def attrs(self, out: Span) -> Mapping[str, Any]:
        """Padding cuts off what belongs to other strips; output padding fills rows that no input row reaches."""
        first, last = next(iter(self.reads(out).values()))
        top = out[0] + self.pads[0] - first * self.stride
        full = (last - first - 1) * self.stride + (self.kernel - 1) * self.dilation + 1
        bottom = full - top - (out[1] - out[0])
        pads = [top, self.pads[1], max(bottom, 0), self.pads[3]]
        return {"pads": pads, "output_padding": [max(-bottom, 0), self.across], "auto_pad": None}


@dataclass(frozen=True)
class Scaled(Pointwise):
    """Row o needs row floor(o / factor), and `halo` more on both sides: Resize, Upsample, DepthToSpace.

    Attributes:
        factor: output rows per input row.
        height: rows of the whole input.
        halo: neighbours that interpolation looks at.
        sizes: where the operator states its output's sizes: (input position, sizes of the whole).
    """

    factor: int
    height: int
    halo: int = 0
    sizes: tuple[int, tuple[int, ...]] | None = None

    def reads(self, out: Span) -> Mapping[int, Span]:
        """Whole input rows."""
        first, last = out[0] // self.factor, -(-out[1] // self.factor)
        return dict.fromkeys(self.rows, (max(first - self.halo, 0), min(last + self.halo, self.height)))

    def raw(self, out: Span) -> Span:
        """All that comes of the input rows; what the halo made wrong is cut off."""
        first, last = next(iter(self.reads(out).values()))
        return first * self.factor, last * self.factor

    def constants(self, out: Span) -> Mapping[int, NDArray[Any]]:
        """The strip's own sizes."""
        if self.sizes is None:
            return {}
        first, last = self.raw(out)
        position, whole = self.sizes
        return {position: np.array([*whole[:2], last - first, *whole[3:]], np.int64)}


@dataclass(frozen=True)
class Blocks(Pointwise):
    """SpaceToDepth: row o reads the rows of one block."""

    factor: int

    def reads(self, out: Span) -> Mapping[int, Span]:
        """Whole blocks."""
        return dict.fromkeys(self.rows, (out[0] * self.factor, out[1] * self.factor))


@dataclass(frozen=True)
class Crop(Pointwise):
    """Slice with step 1 along the rows: row o is row o + start.

    Attributes:
        start: first row taken.
        place: index of the row axis in the operator's lists.
        starts, ends: the lists of the whole operator.
    """

    start: int
    place: int
    starts: tuple[int, ...] = field(default=())
    ends: tuple[int, ...] = field(default=())

    def reads(self, out: Span) -> Mapping[int, Span]:
        """The rows themselves."""
        return dict.fromkeys(self.rows, (out[0] + self.start, out[1] + self.start))

    def constants(self, out: Span) -> Mapping[int, NDArray[Any]]:
        """All rows of what is read; other axes as they were."""
        starts, ends = list(self.starts), list(self.ends)
        starts[self.place], ends[self.place] = 0, out[1] - out[0]
        return {1: np.array(starts, np.int64), 2: np.array(ends, np.int64)}
