from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog  # type: ignore[import-untyped]  # scipy ships no types

from roofwright.cost_model.sharing import share


def by_linprog(times: Any) -> float:
    """The primal program, written out."""
    pieces, engines = times.shape
    cost = np.zeros(pieces * engines + 1)
    cost[-1] = 1
    whole = np.zeros((pieces, pieces * engines + 1))
    load = np.zeros((engines, pieces * engines + 1))
    load[:, -1] = -1
    for i in range(pieces):
        whole[i, i * engines : (i + 1) * engines] = 1
        load[range(engines), range(i * engines, (i + 1) * engines)] = np.where(np.isfinite(times[i]), times[i], 0)
    limits = [(0, 1 if np.isfinite(t) else 0) for t in times.ravel()] + [(0, None)]
    return float(linprog(cost, load, np.zeros(engines), whole, np.ones(pieces), bounds=limits).fun)


entry = st.one_of(st.just(np.inf), st.integers(1, 10**4).map(lambda n: n / 100))
tables = st.integers(1, 4).flatmap(lambda e: st.lists(st.lists(entry, min_size=e, max_size=e), min_size=1, max_size=8))


@given(tables)
def test_equals_the_linear_program(rows: list[list[float]]) -> None:
    times = np.array(rows)
    value, price = share(times)
    assert price.sum() == pytest.approx(1)
    assert (price >= 0).all()
    runnable = times[np.isfinite(times).any(axis=1)]
    if len(runnable):
        assert value == pytest.approx(by_linprog(runnable), rel=1e-6)
    else:
        assert value == 0


def test_two_engines_by_hand() -> None:
    value, price = share(np.array([[1.0, 1.0], [1.0, 1.0], [2.0, np.inf]]))
    assert value == pytest.approx(2.0)
    assert price == pytest.approx([0.5, 0.5])


def test_a_slow_helper_still_takes_its_share() -> None:
    assert share(np.array([[1.0, 9.0]]))[0] == pytest.approx(0.9)


def test_one_engine_does_everything() -> None:
    assert share(np.array([[1.0], [2.5], [np.inf]]))[0] == 3.5


def test_many_pieces_on_three_engines() -> None:
    rng = np.random.default_rng(7)
    times = np.exp(rng.normal(0, 3, (400, 3)))
    value, price = share(times)
    assert value == pytest.approx((times * price).min(axis=1).sum())
    assert value == pytest.approx(by_linprog(times), rel=1e-6)
