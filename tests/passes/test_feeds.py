"""Inputs that tell models apart, and stay within what the model can take."""

from typing import Any

import numpy as np
import pytest

from roofwright.graph import read
from roofwright.passes.feeds import KINDS, Unfeedable, feeds, index_bounds, is_dynamic, random_nodes
from tests.builders import Array, model


def made(text: str, sizes: tuple[int, int] = (1, 8), dims: dict[str, int] | None = None) -> dict[str, dict[str, Array]]:
    """Kind -> input -> array."""
    return {feed.kind: dict(feed.arrays) for feed in feeds(read(model(text)), dims or {}, sizes)}


def test_one_feed_per_kind() -> None:
    found = made("g (float[4,5] x) => (float[4,5] y) { y = Exp(x) }")
    assert tuple(found) == KINDS
    assert all(arrays["x"].shape == (4, 5) and arrays["x"].dtype == np.float32 for arrays in found.values())
    assert (found["negative"]["x"] < 0).all()
    assert not found["zero"]["x"].any()
    assert np.abs(found["large"]["x"]).max() > 50 > np.abs(found["random"]["x"]).max()
    assert np.abs(found["bounds"]["x"]).max() <= 1


def test_feeds_are_the_same_every_time_and_differ_between_kinds() -> None:
    text = "g (float[4,5] x) => (float[4,5] y) { y = Exp(x) }"
    first, again = made(text), made(text)
    assert all(np.array_equal(first[kind]["x"], again[kind]["x"]) for kind in KINDS)
    assert not np.array_equal(first["random"]["x"], first["negative"]["x"])


@pytest.mark.parametrize(("onnx_type", "dtype"), [("float16", np.float16), ("double", np.float64), ("bool", np.bool_)])
def test_dtypes(onnx_type: str, dtype: type) -> None:
    found = made(f"g ({onnx_type}[3] x) => ({onnx_type}[3] y) {{ y = Identity(x) }}")
    assert {arrays["x"].dtype for arrays in found.values()} == {np.dtype(dtype)}


def test_bytes_use_their_whole_range() -> None:
    found = made("g (uint8[64] x) => (uint8[64] y) { y = Identity(x) }")
    assert set(found["bounds"]["x"].tolist()) == {0, 255}
    assert set(found["large"]["x"].tolist()) == {255}
    assert not found["zero"]["x"].any()


def test_integers_without_a_bound_stay_small() -> None:
    found = made("g (int64[64] x) => (int64[64] y) { y = Identity(x) }")
    assert {int(v) for arrays in found.values() for v in arrays["x"]} <= {0, 1}


@pytest.mark.parametrize(
    ("body", "shape", "weights", "bound"),
    [
        ("y = Gather(t, i)", "4,3", {"t": (7, 3)}, 7),
        ("y = Gather<axis=1>(t, i)", "7,4", {"t": (7, 3)}, 3),
        ("y = Gather<axis=-1>(t, i)", "7,4", {"t": (7, 5)}, 5),
        ("k = Cast<to=6>(i)  y = Gather(t, k)", "4,3", {"t": (7, 3)}, 7),
        ("k = Unsqueeze(i, axes)  y = Gather(t, k)", "1,4,3", {"t": (7, 3), "axes": np.array([0])}, 7),
        ("a = Gather(t, i)  b = Gather(u, i)  y = Add(a, b)", "4,3", {"t": (7, 3), "u": (4, 3)}, 4),
        ("y = OneHot(i, depth, v)", "4,6", {"depth": np.array(6), "v": np.array([0, 1], np.float32)}, 6),
        ("y = Cast<to=1>(i)", "4", {}, None),
    ],
)
def test_indices_stay_below_what_they_index(body: str, shape: str, weights: dict[str, Any], bound: int | None) -> None:
    graph = read(model(f"g (int64[4] i) => (float[{shape}] y) {{ {body} }}", **weights))
    assert index_bounds(graph) == ({} if bound is None else {"i": bound})
    values = {int(v) for feed in feeds(graph, {}, (1, 8)) for v in feed.arrays["i"]}
    assert values <= set(range(bound or 2))
    if bound is not None:
        assert {0, bound - 1} <= values


def test_data_of_a_gather_is_no_index() -> None:
    graph = read(model("g (int64[9] d) => (int64[2] y) { y = Gather(d, i) }", i=np.array([0, 1])))
    assert index_bounds(graph) == {}


def test_free_dimensions_take_the_sizes_asked_for() -> None:
    text = "g (float[N,3,H] x) => (float[N,3,H] y) { y = Exp(x) }"
    assert made(text, (2, 12))["random"]["x"].shape == (2, 3, 12)
    assert made(text, (2, 12), {"H": 5})["random"]["x"].shape == (2, 3, 5)
    graph = read(model(text))
    assert is_dynamic(graph, {})
    assert is_dynamic(graph, {"N": 1})
    assert not is_dynamic(graph, {"N": 1, "H": 2})


@pytest.mark.parametrize("kind", ["string", "complex64", "bfloat16"])
def test_what_cannot_be_made_up_is_named(kind: str) -> None:
    graph = read(model(f"g ({kind}[2] words) => ({kind}[2] y) {{ y = Identity(words) }}"))
    with pytest.raises(Unfeedable, match="words"):
        list(feeds(graph, {}, (1, 8)))


def test_random_operators_are_found_in_bodies_too() -> None:
    plain = "g (float[2] x) => (float[2] y) { y = Exp(x) }"
    drawn = """g (bool c, float[2] x) => (float[2] y) {
        y = If (c) <then_branch = t () => (float[2] p) { p = RandomNormal<shape=[2]>() },
                    else_branch = e () => (float[2] q) { q = Exp(x) }> }"""
    assert random_nodes(read(model(plain))) == []
    assert random_nodes(read(model(drawn))) == ["RandomNormal"]
