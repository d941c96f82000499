"""Runs of kernels that could be one kernel in strips, and what each would cost: candidates for depth-first execution.

Kernels in a row, in the order of a schedule, are convex whatever their edges. What a run holds and loads is found by
walking back from its last kernel (`run_walks`). These figures choose; `strip_cost` has the exact ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from roofwright.cost_model.costing import Costing
from roofwright.cost_model.run_links import SPACES, Chain
from roofwright.cost_model.run_walks import Walks
from roofwright.cost_model.units import Bools, Floats, Ints


@dataclass(frozen=True)
class Run:
    """Kernels `first` to `last` as one, in strips of `rows` x `columns` at the last node (None: full width).

    `where`: kernel -> engine and lag, in a run that was chosen because its engines overlap.
    """

    first: int
    last: int
    rows: int
    columns: int | None
    where: Mapping[int, tuple[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidates:
    """Runs, by last kernel, and of the same one in the order in which they are preferred; arrays of shape (runs,).

    Attributes:
        first, last, rows, columns: as in `Run`.
        part, across, images: 2**part strips one below the other and `across` side by side, of every image.
        tiles: strips of all images.
        busy_s: computation, where engines take turns; `piped_s`: where they overlap (inf: they cannot): the busiest
            one's, and the others' for the strips at either end.
        held_bytes: buffers of constants and of tensors between the nodes.
        input_bytes: buffers of what earlier kernels made; `loaded_bytes`: all of it.
        fixed_bytes: constants and what the caller gives, loaded in any case; `fixed_buffers`: buffers of the latter.
        output_bytes: buffers of results that later kernels read; `stored_bytes`: all of them.
        final_bytes: results for the caller, stored in any case.
        walk, space: where each was found.
    """

    first: Ints
    last: Ints
    rows: Ints
    columns: Ints
    part: Ints
    across: Ints
    images: Ints
    tiles: Ints
    busy_s: Floats
    piped_s: Floats
    held_bytes: Floats
    input_bytes: Floats
    loaded_bytes: Floats
    fixed_bytes: Floats
    fixed_buffers: Floats
    output_bytes: Floats
    stored_bytes: Floats
    final_bytes: Floats
    walk: Ints
    space: Ints

    @classmethod
    def joined(cls, parts: "list[Candidates]") -> "Candidates":
        """All parts, the earlier ones first among runs of the same last kernel."""
        every = cls(*(np.concatenate([getattr(part, spec.name) for part in parts]) for spec in fields(cls)))
        return every.take(np.argsort(every.last, kind="stable"))

    def take(self, index: Any) -> "Candidates":
        """Those at `index`."""
        return Candidates(*(getattr(self, spec.name)[index] for spec in fields(self)))

    @property
    def overlaps(self) -> Bools:
        """Whether engines that work at the same time are shorter than engines that take turns."""
        return self.piped_s < self.busy_s

    @property
    def length_s(self) -> Floats:
        """Computation, in turns or not."""
        return np.minimum(self.busy_s, self.piped_s)


class Runs:
    """All runs of a costing's kernels: of one kernel as it is, and of more in every length and size of strip that fits.

    Attributes:
        chain: the kernels.
        candidates: the runs.
    """

    def __init__(self, costing: Costing, turns: bool = True) -> None:
        """Look at the kernels of `costing`, none of which runs in strips.

        Args:
            costing: of the kernels.
            turns: False: only runs whose engines overlap are of use.
        """
        self.chain = chain = Chain(costing, turns)
        self._walks = [Walks(chain, space) for space in SPACES]
        found = [_found(walks, number) for number, walks in enumerate(self._walks)]
        self.candidates = Candidates.joined([_singles(chain), *found])

    def run(self, at: int) -> Run:
        """Candidate `at`."""
        one = self.candidates.take(at)
        columns = int(one.columns) or None
        run = Run(int(one.first), int(one.last), int(one.rows), columns)
        return replace(run, where=self._where(run, int(one.space), int(one.walk))) if one.overlaps else run

    def _where(self, run: Run, space: int, walk: int) -> dict[int, tuple[str, int]]:
        """Engine and lag of every kernel of a run: one more wherever what it reads comes from another engine."""
        kernels, target, found = self.chain.costing.kernels, self.chain.costing.target, list[int]()
        engines = [self._walks[space].engine_at(walk, at) for at in range(run.first, run.last + 1)]
        for at in range(run.first, run.last + 1):
            before = {self.chain.made.get(o.name, -1) - run.first for o in kernels[at].reads}
            own = engines[at - run.first]
            found.append(max((found[b] + (engines[b] != own) for b in before if b >= 0), default=0))
        names = [target.engines[engine].name for engine in engines]
        return {run.first + at: pair for at, pair in enumerate(zip(names, found, strict=True))}


def _singles(chain: Chain) -> Candidates:
    """Every kernel as it is."""
    costing, count = chain.costing, len(chain.links)
    at, none, zero = np.arange(count), np.zeros(count, np.int64), np.zeros(count)
    read = [[o.name for o in kernel.reads if o.name in chain.made] for kernel in costing.kernels]
    left = [[o.name for o in kernel.writes if o.name not in costing.outputs] for kernel in costing.kernels]
    loaded, stored = (np.array([sum(chain.sizes[n] for n in names) for names in side], float) for side in (read, left))
    return Candidates(
        first=at,
        last=at,
        rows=none,
        columns=none,
        part=none,
        across=none + 1,
        images=none + 1,
        tiles=none + 1,
        busy_s=np.array(_shared(chain), np.float64),
        piped_s=zero + np.inf,
        held_bytes=costing.cut.least_bytes,
        input_bytes=zero,
        loaded_bytes=loaded,
        fixed_bytes=np.maximum(costing.moved.total_bytes - loaded - stored, 0.0),
        fixed_buffers=zero,
        output_bytes=zero,
        stored_bytes=stored,
        final_bytes=zero,
        walk=none,
        space=none,
    )


def _shared(chain: Chain) -> list[float]:
    """Computation of every kernel, by all engines that can share it where they could overlap instead."""
    prices = chain.costing.prices
    busy = np.maximum(prices.busy_s, prices.inner_s).tolist()
    others = [[each[0] for each in link.others.values() if each[0]] for link in chain.links]
    pairs = zip(busy, others, strict=True)
    return [1 / (1 / own + sum(1 / other for other in more)) if own else 0.0 for own, more in pairs]


def _found(walks: Walks, space: int) -> Candidates:
    """What the walks of one space found, walk by walk, shorter runs first."""
    walk, first, columns = walks.runs()
    starts, order = walks.starts, np.lexsort((-first, walk))
    walk, first, columns = walk[order], first[order], columns[:, order]
    held, busy, output, stored, final, piped, loaded, into, fixed, buffers = columns
    return Candidates(
        first=first,
        last=starts.last[walk],
        rows=starts.rows[walk],
        columns=np.where(starts.across[walk] == 1, 0, starts.columns[walk]),
        part=starts.part[walk],
        across=starts.across[walk],
        images=starts.images[walk],
        tiles=starts.tiles[walk],
        busy_s=busy,
        piped_s=piped,
        held_bytes=held,
        input_bytes=into,
        loaded_bytes=loaded,
        fixed_bytes=fixed,
        fixed_buffers=buffers,
        output_bytes=output,
        stored_bytes=stored,
        final_bytes=final,
        walk=walk,
        space=np.full(len(walk), space),
    )
