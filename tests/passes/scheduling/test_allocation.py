"""Addresses: whoever lives together shares no byte, nothing ends above the capacity, and little is wasted."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

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
