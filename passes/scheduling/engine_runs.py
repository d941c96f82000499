"""Runs and engines chosen together, where a hand-over costs time: which kernels run as one, and who runs them.

A mode says who computes: one engine, or two with so many samples each. The shortest path goes through cuts between
kernels x modes x (what is alive stays on chip or not); a run takes its slowest engine's computation or its transfers,
and another mode costs a hand-over. Engines that share the samples of a run hold its activations each, and its constants
together. What the path takes is priced exactly then, and chosen again where that was taken for shorter than it is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from roofwright.cost_model import (
    Candidates,
    Costing,
    Run,
    Runs,
    Schedule,
    Share,
    Splits,
    by_sample,
    effective_bytes_per_s,
)
from roofwright.targets import Target

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Parts = tuple[tuple[int, Fraction], ...]

CLEARANCE = 2048  # bytes on chip that alignment may leave unused
PREFER = 0.02  # of a transfer's time counts even where computation hides it
_SPLITS = 7  # ways to deal out samples
_ROUNDS = 3  # choices, each after the one before was priced
_WRONG = 0.02  # of a run's time that a guess may lack


@dataclass(frozen=True)
class Taken:
    """One run of the path: candidate, mode, and whether what is alive after it stays on chip."""

    run: int
    mode: int
    stays: bool


def roams(target: Target) -> bool:
    """Whether kernels may move between engines, for the time of a hand-over."""
    return target.stack.handover_s > 0 and len(able(target)) > 1


def able(target: Target) -> list[int]:
    """Engines that multiply."""
    return [e for e, engine in enumerate(target.engines) if engine.macs_per_clock]


class EngineRuns:
    """Candidates for runs in all modes."""

    def __init__(self, costing: Costing) -> None:
        """Price the kernels of `costing`, none of which runs in strips."""
        self.costing, self.target = costing, costing.target
        self.runs = Runs(costing)
        self.found: Candidates = self.runs.candidates
        self.single: Bools = self.found.first == self.found.last
        self.deepest = max(max(len(link.busy_s) for link in self.runs.chain.links), 1)
        self.whole_s = self._whole()
        self.modes = list(_modes(self.whole_s, costing))
        self.busy_s = self._busy()
        self.rest_s, self.fits = self._rest()

    def _whole(self) -> Floats:
        """Every kernel as it is on every engine; inf: it cannot; shape (engines, kernels)."""
        prices, count = self.costing.prices, len(self.costing.kernels)
        whole_s = Splits.of(self.costing.kernels, prices, self.target).seconds(np.ones(count))
        placed = np.flatnonzero(prices.engine >= 0)
        whole_s[prices.engine[placed], placed] = np.maximum(prices.busy_s, prices.inner_s)[placed]
        return whole_s

    def _busy(self) -> Floats:
        """Computation of every candidate in every mode; inf: it cannot; shape (modes, runs)."""
        found, batch = self.found, self.costing.model.batch
        alike = [by_sample(kernel, self.costing.model.maps, batch) for kernel in self.costing.kernels]
        dealt = _none(~np.array(alike, bool), found) & (self.single | (found.images % batch == 0))
        parts = found.part + np.log2(found.across).astype(np.int64)  # narrower strips: as short ones of their size
        deepest = np.array([max(len(link.busy_s), 1) for link in self.runs.chain.links], np.int64)[found.last] - 1
        again = 2.0 ** np.maximum(parts - deepest, 0) * self._wider()
        alone = [_sums(table, np.minimum(parts, deepest), found) * again for table in self._tables()]
        busy = [np.max([float(part) * alone[e] for e, part in mode], axis=0) for mode in self.modes]
        pairs = zip(busy, self.modes, strict=True)
        return np.array([each if len(mode) == 1 else np.where(dealt, each, np.inf) for each, mode in pairs])

    def _wider(self) -> Floats:
        """Columns made over columns there are."""
        found, links = self.found, self.runs.chain.links
        own_s = _sums(_padded([link.busy_s or [0.0] for link in links], self.deepest), found.part, found)
        wider = np.divide(found.busy_s, own_s, out=np.ones(len(own_s)), where=(own_s > 0) & (found.across > 1))
        return np.maximum(wider, 1.0)

    def _tables(self) -> Iterator[Floats]:
        """Engine by engine, seconds of every kernel in 1, 2, 4 ... strips per image; shape (parts, kernels)."""
        for engine, whole_s in enumerate(self.whole_s):
            longer = []
            for at, link in enumerate(self.runs.chain.links):
                if engine == link.engine and len(link.busy_s):
                    longer.append([seconds - whole_s[at] for seconds in link.busy_s])
                else:
                    whole, *parts = link.others.get(engine, (0.0, 0.0))
                    longer.append([seconds - whole for seconds in parts] or [0.0])
            yield whole_s + _padded(longer, self.deepest)

    def _rest(self) -> tuple[Floats, Bools]:
        """(transfers, what they cost beside computation) and whether it fits.

        Shapes (2, runs, 2, 2) and (modes, runs, 2, 2): what is alive before and after on chip or not.
        """
        run, memory, live = self.found, self.target.device_memory, alive(self.runs)
        assert self.target.on_chip is not None
        before, after = live[run.first], live[run.last + 1]
        passing, constants = np.maximum(after - run.stored_bytes, 0.0), self._constants()
        times = np.array([[1] if len(mode) == 1 else [len(mode)] for mode in self.modes])
        times = np.where(self.single, 1, times)
        rest, fits = np.zeros((2, len(before), 2, 2)), np.zeros((len(self.modes), len(before), 2, 2), bool)
        for came, goes in product((0, 1), (0, 1)):
            own = run.held_bytes - constants + run.fixed_buffers
            own = own + (0.0 if came else run.input_bytes) + (0.0 if goes else run.output_bytes)
            held = constants + times * own + (before if came else 0.0)
            held = held + (run.stored_bytes + (0.0 if came else passing) if goes else 0.0)
            streams = self.single & (not came and not goes)  # whatever its size, some tiling of it fits
            fits[:, :, came, goes] = (held <= self.target.on_chip.capacity_bytes - CLEARANCE) | streams
            moved = run.fixed_bytes + run.final_bytes + (passing if came != goes else 0.0)
            moved = moved + (0.0 if came else run.loaded_bytes) + (0.0 if goes else run.stored_bytes)
            transfer_s = moved / effective_bytes_per_s(memory)
            setups_s = run.tiles * (2 - came - goes) * memory.setup_s
            rest[0, :, came, goes] = np.maximum(transfer_s, (transfer_s + setups_s) / memory.engines)
            rest[1, :, came, goes] = PREFER * transfer_s + self.target.stack.launch_s
        return rest, fits

    def _constants(self) -> Floats:
        """Bytes of every candidate that are held once, whoever computes."""
        each = np.cumsum([0.0, *(link.constants for link in self.runs.chain.links)])
        held = each[self.found.last + 1] - each[self.found.first]
        return np.where(self.single | (not self.runs.chain.holds), 0.0, held)

    def path(self) -> list[Taken]:
        """The shortest one, its last run first."""
        longest_s = np.maximum(self.busy_s[:, :, None, None], self.rest_s[0]) + self.rest_s[1]
        seconds = np.where(self.fits, longest_s, np.inf)
        count, modes, found = len(self.costing.kernels), len(self.modes), self.found
        begins = np.searchsorted(found.last, np.arange(count + 1)).tolist()
        enter = np.full((count + 1, modes, 2), np.inf)  # per cut: the mode that goes on, off chip and on chip
        enter[0, :, 0] = 0.0
        came = np.zeros((count + 1, modes, 2), np.int64)
        left = np.zeros((count + 1, modes, 2), np.int64)
        total = enter[0]
        for last in range(count):
            mine = slice(begins[last], begins[last + 1])
            ways = enter[found.first[mine]].transpose(1, 0, 2)[..., None] + seconds[:, mine]
            ways = ways.reshape(modes, -1, 2)
            came[last + 1] = np.argmin(ways, axis=1)
            total = np.min(ways, axis=1)
            best = np.argmin(total, axis=0)
            changed_s = total[best, (0, 1)] + self.target.stack.handover_s
            left[last + 1] = np.where(total <= changed_s, np.arange(modes)[:, None], best)
            enter[last + 1] = np.minimum(total, changed_s)
        path, cut, mode, stays = list[Taken](), count, int(np.argmin(total[:, 0])), 0
        while cut:
            run, before = divmod(int(came[cut, mode, stays]), 2)
            path.append(Taken(begins[cut - 1] + run, mode, bool(stays)))
            cut, stays = int(found.first[begins[cut - 1] + run]), before
            mode = int(left[cut, mode, stays])
        return path

    def length_s(self, path: Sequence[Taken]) -> float:
        """What a path takes."""
        total, came, mode = 0.0, False, path[-1].mode
        for taken in path[::-1]:
            rest, extra = self.rest_s[:, taken.run, int(came), int(taken.stays)].tolist()
            total += max(float(self.busy_s[taken.mode, taken.run]), rest) + extra
            total += self.target.stack.handover_s * (taken.mode != mode)
            came, mode = taken.stays, taken.mode
        return total

    def choice(self, path: Sequence[Taken]) -> "Assigned":
        """A path as runs, tensors that stay, and engines."""
        found, chain, count = self.found, self.runs.chain, len(self.costing.kernels)
        off_chip = np.zeros(count + 1, np.int64)  # cuts at which nothing stays
        parts: list[Parts] = []
        for taken in path:
            first, last = int(found.first[taken.run]), int(found.last[taken.run])
            off_chip[last + 1] = not taken.stays
            parts += [self.modes[taken.mode]] * (last + 1 - first)
        before = np.cumsum(off_chip)
        spans = {name: (at, chain.last_read[name]) for name, at in chain.made.items() if name in chain.last_read}
        stay = {n for n, (at, end) in spans.items() if n not in self.costing.outputs and before[end] == before[at]}
        runs = [self.runs.run(taken.run) for taken in path[::-1] if not self.single[taken.run]]
        return Assigned(runs, frozenset(stay), parts[::-1])

    def correct(self, path: Sequence[Taken], priced: Costing) -> bool:
        """Note what a path's runs really take; whether some take notably more than was thought."""
        prices = priced.prices
        exact_s = np.maximum(prices.busy_s, prices.inner_s).tolist()
        wrong = False
        for taken, seconds in zip(path[::-1], exact_s, strict=True):
            at = (taken.mode, taken.run)
            bound_s = max(self.busy_s[at], float(self.rest_s[0][taken.run].min()))
            wrong |= seconds > bound_s * (1 + _WRONG)
            self.busy_s[at] = seconds
        return wrong


@dataclass(frozen=True)
class Assigned:
    """Runs of two kernels or more, the tensors that stay on chip between kernels, and who computes each kernel."""

    runs: list[Run]
    stay: frozenset[str]
    parts: list[Parts]


def assigned(costing: Costing, price: Callable[[Assigned], Costing]) -> Assigned:
    """The best runs and engines for the kernels of `costing`; `price`: what they really take."""
    every = EngineRuns(costing)
    best, least_s = None, float("inf")
    for _ in range(_ROUNDS):
        path = every.path()
        choice = every.choice(path)
        wrong = every.correct(path, price(choice))
        length_s = every.length_s(path)
        if best is None or length_s < least_s:
            best, least_s = choice, length_s
        if not wrong:
            break
    assert best is not None
    return best


def dealt(schedule: Schedule, parts: Sequence[Parts], target: Target) -> Schedule:
    """The schedule with every kernel on its engine, or its samples dealt out."""
    kernels = []
    for kernel, mine in zip(schedule.kernels, parts, strict=True):
        names = [target.engines[engine].name for engine, _ in mine]
        shares = tuple(Share(engine=n, rows=int(f * schedule.batch)) for n, (_, f) in zip(names, mine, strict=True))
        kernels.append(replace(kernel, engine=names[0], shares=shares if len(shares) > 1 else ()))
    return replace(schedule, kernels=tuple(kernels))


def alive(runs: Runs) -> Floats:
    """Bytes of tensors made before and read after each cut."""
    count, chain = len(runs.chain.links), runs.chain
    change = np.zeros(count + 2)
    for name, at in chain.made.items():
        last = min(chain.last_read.get(name, at), count - 1)
        if last > at:
            change[at + 1] += chain.sizes[name]
            change[last + 1] -= chain.sizes[name]
    return np.cumsum(change)


def lowered(schedule: Schedule, costing: Costing) -> Schedule:
    """The schedule with the lowerings that `costing` priced it with."""
    pairs = zip(schedule.kernels, costing.prices.algorithm, strict=True)
    return replace(schedule, kernels=tuple(replace(kernel, algorithm=name) for kernel, name in pairs))


def _modes(whole_s: Floats, costing: Costing) -> Iterator[Parts]:
    """Engines that are the fastest for some kernel, each alone, and two with so many samples each, where that helps.

    Of the ways to deal out samples those come first that promise the shortest sum over kernels.
    """
    target, batch = costing.target, costing.model.batch
    yield from (((engine, Fraction(1)),) for engine in np.unique(np.argmin(whole_s, axis=0)).tolist())
    share = np.arange(1, batch)[:, None] / batch
    for a, b in combinations(able(target), 2):
        both = np.isfinite(whole_s[[a, b]]).all(axis=0)
        shared_s = np.maximum(share * whole_s[a, both], (1 - share) * whole_s[b, both]).sum(axis=1)
        alone_s = whole_s[:, both].min(axis=0).sum()
        for at in np.argsort(shared_s, kind="stable")[:_SPLITS].tolist():
            if shared_s[at] < alone_s:
                yield (a, Fraction(at + 1, batch)), (b, Fraction(batch - at - 1, batch))


def _sums(table: Floats, part: Ints, found: Candidates) -> Floats:
    """Sums over the kernels of each candidate, of row `part` of a table (parts, kernels); inf where one is."""
    never = ~np.isfinite(table)
    upto = np.pad(np.cumsum(np.where(never, 0.0, table), axis=1), ((0, 0), (1, 0)))
    bad = np.pad(np.cumsum(never, axis=1), ((0, 0), (1, 0)))
    clean = bad[part, found.last + 1] == bad[part, found.first]
    return np.where(clean, upto[part, found.last + 1] - upto[part, found.first], np.inf)


def _none(of: Bools, found: Candidates) -> Bools:
    """Whether no kernel of a candidate is one of these."""
    upto = np.concatenate([[0], np.cumsum(of)])
    return np.asarray(upto[found.last + 1] == upto[found.first])


def _padded(rows: Sequence[Sequence[float]], longest: int) -> Floats:
    """Rows as columns of a table with so many entries each: the last one of a row to the end."""
    return np.array([[*row, *[row[-1]] * (longest - len(row))] for row in rows]).T
