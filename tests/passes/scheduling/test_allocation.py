"""Addresses: whoever lives together shares no byte, nothing ends above the capacity, and little is wasted."""

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp  # type: ignore[import-untyped]  # it ships no types

from roofwright.cost_model import ALIGNMENT_BYTES
from roofwright.passes.scheduling.allocation import Request, offsets

REQUESTS = st.lists(
    st.builds(
        lambda size, first, length: Request(size, first, first + length),
        st.integers(1, 1000),
        st.integers(0, 8),
        st.integers(0, 5),
    ),
    max_size=24,
)


@given(REQUESTS, st.integers(0, 6000))
def test_nothing_overlaps_and_everything_ends_below_the_capacity(requests: list[Request], capacity: int) -> None:
    found = offsets(requests, capacity).tolist()
    placed = [(r, at) for r, at in zip(requests, found, strict=True) if at >= 0]
    assert all(at % ALIGNMENT_BYTES == 0 and at + r.bytes <= capacity for r, at in placed)
    for (a, at_a), (b, at_b) in combinations(placed, 2):
        together = a.first <= b.last and b.first <= a.last
        assert not together or at_a + a.bytes <= at_b or at_b + b.bytes <= at_a


@given(REQUESTS)
def test_a_roomy_memory_places_everything(requests: list[Request]) -> None:
    enough = sum(r.bytes + ALIGNMENT_BYTES for r in requests)
    assert all(at >= 0 for at in offsets(requests, enough).tolist())


@given(REQUESTS)
def test_an_address_is_left_out_only_where_no_gap_is_wide_enough(requests: list[Request]) -> None:
    capacity = 2048
    found = offsets(requests, capacity).tolist()
    for request, at in zip(requests, found, strict=True):
        if at >= 0:
            continue
        taken = set()
        for other, start in zip(requests, found, strict=True):
            if start >= 0 and other.first <= request.last and request.first <= other.last:
                taken |= set(range(start, start + -(-other.bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES))
        starts = range(0, capacity - request.bytes + 1, ALIGNMENT_BYTES)
        assert all(taken & set(range(s, s + request.bytes)) for s in starts)


def test_the_largest_goes_to_the_bottom() -> None:
    small, large, later = Request(100, 0, 1), Request(1000, 1, 2), Request(500, 3, 3)
    assert offsets([small, large, later], 4096).tolist() == [1024, 0, 0]


def test_what_does_not_fit_gets_no_address() -> None:
    assert offsets([Request(100, 0, 0), Request(101, 0, 0)], 100).tolist() == [0, -1]
    assert offsets([], 100).tolist() == []


def _least_capacity(requests: list[Request]) -> int:
    """The smallest memory that holds all, in units of the alignment: a mixed-integer programme (scipy's HiGHS).

    Offsets x_i >= 0 and the height h are minimised; of two requests that live together one lies below the other,
    x_i + s_i <= x_j + M b_ij and x_j + s_j <= x_i + M (1 - b_ij).
    """
    sizes = [-(-r.bytes // ALIGNMENT_BYTES) for r in requests]
    pairs = [
        (i, j)
        for i, j in combinations(range(len(requests)), 2)
        if requests[i].first <= requests[j].last and requests[j].first <= requests[i].last
    ]
    n, big = len(requests), sum(sizes)
    rows, limits = [], []
    for i, size in enumerate(sizes):
        row = np.zeros(n + 1 + len(pairs))
        row[i], row[n] = 1, -1
        rows.append(row)
        limits.append(-size)
    for at, (i, j) in enumerate(pairs):
        for below, above, sign, room in ((i, j, -1, 0), (j, i, 1, big)):
            row = np.zeros(n + 1 + len(pairs))
            row[below], row[above], row[n + 1 + at] = 1, -1, sign * big
            rows.append(row)
            limits.append(room - sizes[below])
    found = milp(
        np.eye(n + 1 + len(pairs))[n],
        constraints=LinearConstraint(np.array(rows), ub=np.array(limits)),
        integrality=np.ones(n + 1 + len(pairs)),
        bounds=Bounds(0, np.array([big] * (n + 1) + [1] * len(pairs))),
    )
    assert found.success
    height: float = found.fun
    return round(height) * ALIGNMENT_BYTES


def test_addresses_are_near_the_best_there_are() -> None:
    """Against an exact solver: the least memory in which everything finds a place, on 16 random instances of eight."""
    rng = np.random.default_rng(11)
    excess = []
    for _ in range(16):
        lives = zip(rng.integers(64, 1024, 8), rng.integers(0, 6, 8), rng.integers(0, 4, 8), strict=True)
        requests = [Request(int(size), int(first), int(first + length)) for size, first, length in lives]
        best = _least_capacity(requests)
        capacity = best
        while (offsets(requests, capacity) < 0).any():
            capacity += ALIGNMENT_BYTES
        excess.append(capacity / best - 1)
        assert (offsets(requests, best - ALIGNMENT_BYTES) < 0).any()  # nothing is better than the best
    assert max(excess) <= 0.2
    assert np.mean(excess) <= 0.02
    assert sum(share == 0 for share in excess) >= 14
