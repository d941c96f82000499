import numpy as np
import pytest

from tests.builders import assert_same, feeds, model, run

CONV = "agraph (float[N,3,8,8] x) => (float[N,4,6,6] y) { y = Conv(x, w) }"


def test_weights_are_random_but_reproducible() -> None:
    one, same, other = (model(CONV, seed=seed, w=(4, 3, 3, 3)) for seed in (0, 0, 1))
    assert one.SerializeToString() == same.SerializeToString() != other.SerializeToString()


def test_feeds_fill_symbolic_dimensions_and_skip_initializers() -> None:
    inputs = feeds(model(CONV, w=(4, 3, 3, 3)), dims={"N": 5})
    assert {name: array.shape for name, array in inputs.items()} == {"x": (5, 3, 8, 8)}
    assert feeds(model(CONV, w=(4, 3, 3, 3)))["x"].shape[0] == 2


def test_integer_feeds_stay_below_the_bound() -> None:
    gather = model("agraph (float[3,2] x, int64[50] i) => (float[50,2] y) { y = Gather(x, i) }")
    assert set(feeds(gather, top=3)["i"].tolist()) == {0, 1, 2}


def test_run_computes() -> None:
    double = model("agraph (float[2] x) => (float[2] y) { y = Add(x, x) }")
    np.testing.assert_array_equal(run(double, {"x": np.array([1, -2], np.float32)})["y"], [2, -4])


def test_assert_same_sees_a_small_difference_and_a_nan() -> None:
    plain = model("agraph (float[3] x) => (float[3] y) { y = Mul(x, k) }", k=np.array(1, np.float32))
    off = model("agraph (float[3] x) => (float[3] y) { y = Mul(x, k) }", k=np.array(1.001, np.float32))
    broken = model("agraph (float[3] x) => (float[3] y) { y = Mul(x, k) }", k=np.array(np.nan, np.float32))
    inputs = feeds(plain)
    assert_same(plain, off, inputs, rtol=1e-2)
    with pytest.raises(AssertionError, match="y: differs by"):
        assert_same(plain, off, inputs, rtol=1e-4)
    with pytest.raises(AssertionError):
        assert_same(plain, broken, inputs)


def test_assert_same_compares_the_interface() -> None:
    one = model("agraph (float[3] x) => (float[3] y) { y = Abs(x) }")
    renamed = model("agraph (float[3] x) => (float[3] z) { z = Abs(x) }")
    with pytest.raises(AssertionError):
        assert_same(one, renamed, feeds(one))
