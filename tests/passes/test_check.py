"""The comparison of original and optimized: every tolerance rule, and a wrong rewrite caught on each kind of input."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from roofwright.graph import UsageError, read, run, session
from roofwright.passes.base import Numerics
from roofwright.passes.check import Check, Run, check
from roofwright.passes.feeds import Samples
from tests.builders import Array, model

Change = Callable[[Array], Array]
PLAIN = {
    kind: f"g ({onnx_type}[4,5] x) => ({onnx_type}[4,5] y) {{ y = Identity(x) }}"
    for kind, onnx_type in {"float16": "float16", "float32": "float", "float64": "double", "int64": "int64"}.items()
}


def returning(change: Change) -> Run:
    """A model that returns its changed input."""
    return lambda feed: {"y": change(feed["x"])}


def compared(dtype: str, change: Change, numerics: Numerics = "rounding", original: Change | None = None) -> Check:
    """The check of a model that is wrong by `change`."""
    graph = read(model(PLAIN[dtype]))
    return check(graph, returning(original or (lambda x: x)), returning(change), {}, numerics)


def scaled(by: float) -> Change:
    """Off by a share of the largest value, everywhere."""
    return lambda x: (x.astype(np.float64) + by * np.abs(x.astype(np.float64)).max()).astype(x.dtype)


@pytest.mark.parametrize(
    ("dtype", "within", "beyond"),
    [("float32", 0.9e-3, 1.1e-3), ("float64", 0.9e-3, 1.1e-3), ("float16", 1.5e-2, 2.5e-2)],
)
def test_floats_may_differ_by_a_share_of_the_largest_value(dtype: str, within: float, beyond: float) -> None:
    good, bad = compared(dtype, scaled(within)), compared(dtype, scaled(beyond))
    assert (good.status, good.worst, good.runs) == ("passed", "y", 5)
    assert good.max_rel == pytest.approx(within, rel=0.2)
    assert bad.status == "failed"
    assert not bad.ok
    assert "output y differs" in bad.reason


def test_integers_must_be_equal() -> None:
    assert compared("int64", lambda x: x).ok
    assert not compared("int64", lambda x: x + (x == x.max())).ok


def test_exact_rewrites_must_be_equal() -> None:

    def nudge(x: Array) -> Array:
        return np.asarray(np.nextafter(x, np.float32(np.inf)))

    assert compared("float32", lambda x: x, "exact").ok
    assert not compared("float32", lambda x: x + 1e-6, "exact", original=np.sign).ok
    assert compared("float32", nudge, "rounding").ok


def test_a_function_that_is_sensitive_itself_is_forgiven() -> None:
    # Below one unit in the last place of x the original jumps by 1 or not at all; so may the optimized model.

    def steep(x: Array) -> Array:
        return np.asarray(np.floor(x.astype(np.float64) * 2**30).astype(np.float32) % 1024)

    def moved(x: Array) -> Array:
        return np.asarray(steep(np.nextafter(x, np.float32(np.inf))))

    assert compared("float32", moved, original=steep).ok
    assert not compared("float32", lambda x: steep(x) + 1e6, original=steep).ok


def test_positions_where_the_original_is_not_finite_do_not_count() -> None:

    def broken(x: Array) -> Array:
        return np.asarray(np.where(x < 0, np.nan, x))

    assert compared("float32", lambda x: np.where(x < 0, 7.0, x).astype(np.float32), original=broken).ok
    assert not compared("float32", lambda x: np.where(x < 0, 7.0, x + 1).astype(np.float32), original=broken).ok


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_become_infinite_are_caught(value: float) -> None:
    assert not compared("float32", lambda x: np.where(x > 0, value, x).astype(np.float32)).ok


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x.astype(np.float64), "is float64[4, 5], expected float32[4, 5]"),
        (lambda x: x[:2], "is float32[2, 5], expected float32[4, 5]"),
        (lambda x: x.reshape(20), "expected float32[4, 5]"),
    ],
)
def test_another_type_or_shape_is_caught(change: Change, words: str) -> None:
    found = compared("float32", change)
    assert found.status == "failed"
    assert words in found.reason


@pytest.mark.parametrize("kind", ["random", "negative", "zero", "large", "bounds"])
def test_a_model_that_is_wrong_on_one_kind_of_input_is_caught(kind: str) -> None:
    wrong: Callable[[Array], bool] = {
        "random": lambda x: (x > 1).any() and (x < -1).any() and np.abs(x).max() < 10,
        "negative": lambda x: (x < 0).all(),
        "zero": lambda x: not x.any(),
        "large": lambda x: np.abs(x).max() > 50,
        "bounds": lambda x: np.abs(x).max() == 1,
    }[kind]
    found = compared("float32", lambda x: x + 1 if wrong(x) else x)
    assert found.status == "failed"
    assert f"on {kind} inputs" in found.reason


def rejecting(condition: Callable[[Array], bool], inner: Change = lambda x: x) -> Run:
    """A model that refuses some inputs."""

    def run(feed: Mapping[str, Array]) -> dict[str, Array]:
        if condition(feed["x"]):
            raise ValueError("not this one")
        return {"y": inner(feed["x"])}

    return run


def test_inputs_that_the_original_rejects_do_not_count() -> None:
    graph = read(model(PLAIN["float32"]))
    picky = rejecting(lambda x: bool((x < 0).all()))
    found = check(graph, picky, returning(lambda x: x + (x < 0).all()), {})
    assert (found.status, found.runs) == ("passed", 4)


def test_inputs_that_only_the_optimized_model_rejects_are_failures() -> None:
    graph = read(model(PLAIN["float32"]))
    found = check(graph, returning(lambda x: x), rejecting(lambda x: bool((x < 0).all())), {})
    assert found.status == "failed"
    assert "does not run on negative inputs: not this one" in found.reason


def test_a_model_that_rejects_everything_is_not_verified() -> None:
    graph = read(model(PLAIN["float32"]))
    found = check(graph, rejecting(lambda x: True), returning(lambda x: x), {})
    assert found.status == "not verified"
    assert found.ok
    assert "not this one" in found.reason


def test_models_that_draw_random_numbers_are_not_verified() -> None:
    text = "g (float[2] x) => (float[2] y) { r = RandomNormal<shape=[2]>()  y = Add(x, r) }"
    found = check(read(model(text)), returning(lambda x: x), returning(lambda x: x), {})
    assert (found.status, found.reason) == ("not verified", "the model draws random numbers (RandomNormal)")


def test_inputs_that_cannot_be_made_are_not_verified() -> None:
    text = "g (string[2] words) => (string[2] y) { y = Identity(words) }"
    found = check(read(model(text)), returning(lambda x: x), returning(lambda x: x), {})
    assert found.status == "not verified"
    assert "words" in found.reason


def test_free_dimensions_are_tried_at_two_sizes() -> None:
    shapes = set()

    def original(feed: Mapping[str, Array]) -> dict[str, Array]:
        shapes.add(feed["x"].shape)
        return {"y": feed["x"]}

    text = "g (float[N,3,H] x) => (float[N,3,H] y) { y = Identity(x) }"
    found = check(read(model(text)), original, returning(lambda x: x), {})
    assert shapes == {(1, 3, 8), (3, 3, 12)}
    assert found.runs == 10


def test_sizes_that_the_model_rejects_are_replaced_by_others() -> None:
    text = "g (float[N,H] x) => (float[N,H] y) { y = Identity(x) }"
    found = check(read(model(text)), rejecting(lambda x: x.shape[1] < 60), returning(lambda x: x), {})
    assert (found.status, found.runs) == ("passed", 10)


@pytest.mark.parametrize(
    ("a", "b", "ok"),
    [
        (["p", "q"], ["p", "q"], True),
        (["p", "q"], ["p", "r"], False),
        ([np.zeros(2), np.ones(3)], [np.zeros(2), np.ones(3)], True),
        ([np.zeros(2), np.ones(3)], [np.zeros(2)], False),
        ([np.zeros(2), np.ones(3)], [np.zeros(2), np.ones(4)], False),
        ([np.zeros(2), np.ones(3)], [np.zeros(2), 2 * np.ones(3)], False),
        ({"k": np.ones(2)}, {"k": np.ones(2)}, True),
        ({"k": np.ones(2)}, {"k": np.zeros(2)}, False),
    ],
)
def test_text_and_sequences_are_compared_part_by_part(a: Any, b: Any, ok: bool) -> None:
    graph = read(model(PLAIN["float32"]))
    made = [np.array(v) if isinstance(v, list) and isinstance(v[0], str) else v for v in (a, b)]
    assert check(graph, lambda feed: {"y": made[0]}, lambda feed: {"y": made[1]}, {}).ok is ok


def test_the_worst_output_is_named() -> None:
    graph = read(model("g (float[4] x) => (float[4] y, float[4] z) { y = Neg(x)  z = Exp(x) }"))
    ran = session(graph)

    def optimized(feed: Mapping[str, Array]) -> dict[str, Any]:
        found = dict(run(ran, feed))
        return found | {"z": np.asarray(found["z"]) * np.float32(1.01)}

    found = check(graph, lambda feed: run(ran, feed), optimized, {})
    assert (found.status, found.worst) == ("failed", "z")


def test_a_model_without_outputs_that_differ_passes_with_zero() -> None:
    found = compared("float32", lambda x: x)
    assert (found.max_abs, found.max_rel, found.runs) == (0.0, 0.0, 5)


def test_every_output_has_its_own_figures() -> None:
    graph = read(model("g (float[4] x) => (float[4] y, float[4] z, float[4] w) { y = Neg(x) z = Exp(x) w = Abs(x) }"))
    ran = session(graph)

    def optimized(feed: Mapping[str, Array]) -> dict[str, Any]:
        found = dict(run(ran, feed))
        return found | {"y": np.nextafter(found["y"], np.float32(np.inf)), "z": found["z"] * np.float32(1 + 2**-20)}

    found = check(graph, lambda feed: run(ran, feed), optimized, {})
    figures = {difference.name: difference for difference in found.outputs}
    assert list(figures) == ["y", "z", "w"]
    assert figures["y"].max_ulp == 1
    assert 8 <= figures["z"].max_ulp <= 16
    assert figures["w"].figures == (0, 0, 0)
    assert found.max_ulp == figures["z"].max_ulp
    assert found.max_abs == figures["z"].max_abs


def shapes_tried(text: str, dims: dict[str, int], samples: Samples | None = None) -> tuple[list[Any], Check]:
    """The shapes of x that the original saw, in order, each once."""
    seen: dict[Any, None] = {}

    def original(feed: Mapping[str, Array]) -> dict[str, Array]:
        seen[feed["x"].shape] = None
        return {"y": feed["x"]}

    found = check(read(model(text)), original, returning(lambda x: x), dims, samples=samples)
    return list(seen), found


FREE = "g (float[N,3,H] x) => (float[N,3,H] y) { y = Identity(x) }"


def test_a_size_that_was_asked_for_is_tried_first_and_another_one_after_it() -> None:
    shapes, found = shapes_tried(FREE, {"N": 5, "H": 7})
    assert shapes == [(5, 3, 7), (3, 3, 12)]
    assert (found.runs, found.sizes) == (10, 2)
    assert shapes_tried(FREE, {"N": 5})[0] == [(5, 3, 8), (5, 3, 12)]


def test_a_result_that_holds_at_one_size_only_is_caught() -> None:
    graph = read(model(FREE))
    found = check(graph, returning(lambda x: x), returning(lambda x: x if len(x) == 5 else x + 1), {"N": 5, "H": 7})
    assert found.status == "failed"


def test_a_name_has_one_size_on_every_axis() -> None:
    text = "g (float[N,H] x, float[H,N] z) => (float[N,N] y) { y = MatMul(x, z) }"
    shapes = set()

    def original(feed: Mapping[str, Array]) -> dict[str, Array]:
        shapes.add((feed["x"].shape, feed["z"].shape))
        return {"y": feed["x"]}

    check(read(model(text)), original, returning(lambda x: x), {})
    assert shapes == {((1, 8), (8, 1)), ((3, 12), (12, 3))}


def test_more_sets_have_other_seeds() -> None:
    seen: list[Array] = []

    def original(feed: Mapping[str, Array]) -> dict[str, Array]:
        seen.append(feed["x"])
        return {"y": feed["x"]}

    graph = read(model(PLAIN["float32"]))
    found = check(graph, original, returning(lambda x: x), {}, samples=Samples(sets=3, seed=4))
    assert found.runs == len(seen) == 5 + 2 * 4  # zeros are the same in every set
    assert len({array.tobytes() for array in seen}) == len(seen)
    other = check(graph, lambda feed: {"y": feed["x"]}, returning(lambda x: x), {}, samples=Samples(seed=5))
    assert other.runs == 5


def test_given_arrays_take_the_place_of_made_up_ones() -> None:
    array = np.ones((2, 3, 4), np.float32)
    shapes, found = shapes_tried(FREE, {}, Samples(given={"x": array}))
    assert (shapes, found.runs, found.sizes) == ([(2, 3, 4)], 1, 1)
    two = "g (float[N,3] x, float[N,3] z) => (float[N,3] y) { y = Add(x, z) }"
    kept = []

    def original(feed: Mapping[str, Array]) -> dict[str, Array]:
        kept.append((feed["x"], feed["z"].shape))
        return {"y": feed["x"]}

    given = np.full((4, 3), 9, np.float32)
    check(read(model(two)), original, returning(lambda x: x), {}, samples=Samples(given={"x": given}))
    assert len(kept) == 5
    assert all((x == given).all() and shape == (4, 3) for x, shape in kept)


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("q", np.ones((1, 3, 2), np.float32), "no input is called 'q'; the model's inputs are x"),
        ("x", np.ones((1, 3, 2), np.float64), r"input 'x' is float32\[N,3,H\], not float64\[1,3,2\]"),
        ("x", np.ones((1, 4, 2), np.float32), r"input 'x' is float32\[N,3,H\], not float32\[1,4,2\]"),
        ("x", np.ones((1, 3), np.float32), r"input 'x' is float32\[N,3,H\], not float32\[1,3\]"),
        ("x", np.ones((2, 3, 2), np.float32), r"input 'x' is float32\[N,3,H\], not float32\[2,3,2\]"),
    ],
)
def test_a_given_array_must_fit(name: str, array: Array, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check(read(model(FREE)), returning(abs), returning(abs), {"N": 1}, samples=Samples(given={name: array}))
