import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model import GraphModel, estimate
from roofwright.cost_model.reach import Span, Weights, covering, weights_after
from roofwright.cost_model.strip_maps import Reach
from roofwright.graph import read
from roofwright.targets import load_target
from tests.builders import model

small = st.integers(1, 4)


def meets(size: int, kernel: int, stride: int, pad: int) -> tuple[int, list[list[int]]]:
    """Positions of the result, and for each of them the input position of every tap."""
    out = (size + 2 * pad - kernel) // stride + 1
    return out, [[o * stride - pad + tap for tap in range(kernel)] for o in range(out)]


@given(st.integers(3, 12), small, st.integers(1, 3), st.integers(0, 1))
def test_spans_are_what_a_walk_over_positions_finds(size: int, kernel: int, stride: int, pad: int) -> None:
    out, read_by = meets(size, kernel, stride, min(pad, kernel // 2))
    reach = Reach(kernel, stride, min(pad, kernel // 2))
    reached = [[o for o, taps in enumerate(read_by) if y in taps] for y in range(size)]
    found = Span.each(size).through(reach, out)
    if found is None:
        assert not all(reached)
    else:
        assert [list(range(a, b + 1)) for a, b in zip(found.low, found.high, strict=True)] == reached
    met = [len({tap for taps in read_by for tap, y in enumerate(taps) if y == place}) for place in range(size)]
    assert Span.each(size).taps(reach, kernel, out) == min(met)


def test_a_span_grows_layer_by_layer() -> None:
    reach = Reach(3, 1, 1)
    once = Span.each(8).through(reach, 8)
    assert once is not None
    assert (once.least, once.taps(reach, 3, 8)) == (2, 3)  # a corner reaches two, and two positions meet all taps
    assert Span.each(8).taps(reach, 3, 8) == 2
    common = once.common(Span.all(8))
    assert (common.low.tolist(), common.high.tolist()) == (once.low.tolist(), once.high.tolist())


def test_an_empty_tensor_reaches_nothing() -> None:
    nothing = Span.each(0)
    assert (nothing.least, nothing.taps(Reach(1, 1, 0), 1, 0)) == (0, 0)
    graph = GraphModel.of(
        read(
            model(
                """g (float[1,2,2,2] x) => (float[1,2,0,0] y, float[1,2,0,0] z) {
                a = Conv(x, w)  y = Conv(a, v)  z = Sigmoid(a) }""",
                w=(2, 2, 3, 3),
                v=(2, 2, 1, 1),
            )
        )
    )
    assert estimate(graph, load_target("kirin970")).bound.total_s >= 0


NETWORK = GraphModel.of(
    read(
        model(
            """g (float[1,4,8,8] x) => (float[1,6] y) {
            a = Conv<pads=[1,1,1,1]>(x, u)  b = Conv(a, v)  c = Conv<pads=[1,1,1,1], group=8>(b, d)
            p = GlobalAveragePool(c)  f = Flatten(p)  y = MatMul(f, w) }""",
            u=(8, 4, 3, 3),
            v=(8, 8, 1, 1),
            d=(8, 1, 3, 3),
            w=(8, 6),
        )
    )
)
WORKS = [work for work in NETWORK.works if work.work.kind != "view"]


def after(name: str, by_tap: bool = False, tile: float = 1.0) -> float:
    """Bytes met after a node, with a byte per weight and `tile` bytes fetched for each."""
    sizes = {1: 64.0, 2: 72.0, 4: 48.0}
    streamed = {at: Weights(size, size * tile, by_tap) for at, size in sizes.items()}
    first = next(at for at, work in enumerate(WORKS) if work.key == name)
    return weights_after(WORKS, NETWORK.maps, first, streamed)


def test_weights_downstream_of_any_one_element() -> None:
    assert [work.key for work in WORKS] == ["a", "b", "c", "p", "y"]
    # One of 8 channels of a meets an eighth of v; then all channels do: a corner meets 4 of 9 taps of d, then all of w.
    assert after("a") == pytest.approx(64 / 8 + 72 * 4 / 9 + 48)
    # One of 8 channels of b meets an eighth of those taps, and one row of w through the pooling.
    assert after("b") == pytest.approx(72 * 4 / 9 / 8 + 48 / 8)
    assert after("c") == pytest.approx(48 / 8)


def test_whole_tiles_count_where_all_of_their_channels_are_met() -> None:
    # v by one channel: its bytes once; d by all channels: whole tiles of 4 of 9 taps only where tiles hold whole taps.
    assert after("a", by_tap=True, tile=3) == pytest.approx(64 / 8 + 3 * 72 * 4 / 9 + 3 * 48)
    assert after("a", by_tap=False, tile=3) == pytest.approx(64 / 8 + 72 * 4 / 9 + 3 * 48)


def test_covering_is_transitive() -> None:
    assert covering(WORKS, NETWORK.maps, 3).tolist() == [True, True, True, True, False]


def test_a_stride_that_skips_positions_covers_nothing_before_it() -> None:
    skipping = GraphModel.of(
        read(
            model(
                "g (float[1,4,8,8] x) => (float[1,4,4,4] y) { a = Conv(x, u)  y = Conv<strides=[2,2]>(a, v) }",
                u=(4, 4, 1, 1),
                v=(4, 4, 1, 1),
            )
        )
    )
    works = [work for work in skipping.works if work.work.kind != "view"]
    assert covering(works, skipping.maps, 1).tolist() == [False, True]
    assert weights_after(works, skipping.maps, 0, {1: Weights(16.0, 16.0, False)}) == 0.0
    assert np.all(covering(works, skipping.maps, 0) == [True, False])
