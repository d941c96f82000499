"""Where walks back from a kernel begin: every kernel that another can join, in every size of strip."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from roofwright.cost_model.rates import ceil_div
from roofwright.cost_model.run_links import Chain
from roofwright.cost_model.strip_maps import Space
from roofwright.cost_model.units import Bools, Floats, Ints

ACROSS = (1, 2, 4, 8)  # strips side by side
SMALL = 8  # a run that holds less than this share of the memory leaves room enough for what stays beside it
PIPED = 4  # 2**4 strips of an image are enough for engines to overlap


@dataclass(frozen=True)
class Starts:
    """Where walks begin, by kernel, then strips side by side, then height; arrays of shape (walks,).

    Attributes:
        last: the kernel.
        across, part: strips side by side, and 2**part of them one below the other.
        images, end_rows, end_columns: of the last node's result.
        rows, columns: of a strip of it.
        tiles: strips of all images.
    """

    last: Ints
    across: Ints
    part: Ints
    images: Ints
    end_rows: Ints
    end_columns: Ints
    rows: Ints
    columns: Ints
    tiles: Ints

    @classmethod
    def of(cls, chain: Chain, space: Space) -> "Starts":
        """All of use; where only runs are whose engines overlap, strips of one image are two at least."""
        wanted = [(at, link) for at, link in enumerate(chain.links) if chain.grows(at, space)]
        ends = [(at, link.steps[space][-1].grid, len(link.busy_s)) for at, link in wanted]
        sizes = [(at, g.images, g.rows, g.columns, many) for at, g, many in ends if not g.is_empty]
        last, images, end_rows, end_columns, many = np.array(sizes, np.int64).reshape(-1, 5).T
        least = np.where((images == 1) & (not chain.turns), 1, 0)
        counts = (many - least) * np.searchsorted(ACROSS, end_columns, "right")
        each = np.repeat(np.arange(len(last)), counts)
        within = np.arange(len(each)) - np.repeat(np.cumsum(counts) - counts, counts)
        which, part = np.divmod(within, (many - least)[each])
        across, part = np.array(ACROSS)[which], part + least[each]
        last, images, end_rows, end_columns = last[each], images[each], end_rows[each], end_columns[each]
        rows, columns = -((-end_rows) >> part), ceil_div(end_columns, across)
        tiles = images * ceil_div(end_rows, rows) * ceil_div(end_columns, columns)
        return cls(last, across, part, images, end_rows, end_columns, rows, columns, np.asarray(tiles))

    def take(self, index: Any) -> "Starts":
        """Those at `index`."""
        return Starts(*(getattr(self, name)[index] for name in Starts.__dataclass_fields__))

    def wanted(self, ended: Bools, held_bytes: Floats, chain: Chain) -> Bools:
        """Walks of use: narrower strips are for what does not fit in full width, shorter ones where they are needed.

        Where strips of one height fit, still shorter ones only cost; but for engines to overlap some more are of use,
        and for what stays beside a run that fills the memory.

        Args:
            ended: whether a walk ended for other reasons than lack of room.
            held_bytes: by its run then.
            chain: the kernels.
        """
        enough = (self.part >= PIPED) | (not chain.pipes) | (self.across > 1)
        small = (held_bytes <= chain.capacity_bytes / SMALL) | (not chain.turns)
        stop = ended & enough & small
        group = np.flatnonzero(np.diff(self.last * 2 * ACROSS[-1] + self.across, prepend=-1))
        inside = np.repeat(np.arange(len(group)), np.diff(group, append=len(stop)))
        first = _none_before(stop, group, inside)
        ends = np.append(group[1:], len(stop)) - 1
        fitted = np.logical_or.reduceat(stop, group) | ended[ends] | (not chain.turns)
        kernel = np.flatnonzero(np.diff(self.last[group], prepend=-1))
        of_kernel = np.repeat(np.arange(len(kernel)), np.diff(kernel, append=len(group)))
        return first & _none_before(fitted, kernel, of_kernel)[inside]


def _none_before(stop: Bools, begins: Ints, group: Ints) -> Bools:
    """Whether nothing before an entry stops its group; `begins`: where groups begin, `group`: that of every entry."""
    before: Ints = np.cumsum(stop) - stop
    return np.asarray(before == before[begins][group])
