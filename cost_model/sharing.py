"""Perfect sharing of work between engines: the least time of the busiest engine, as a linear program.

    minimise T   subject to   sum_j x_ij = 1,   sum_i x_ij t_ij <= T,   x >= 0

Its dual puts a price on each engine's time, prices sum to 1, and every piece of work goes where it is cheapest:

    maximise f(price) = sum_i min_j price_j t_ij

Any prices give a valid lower bound (weak duality), which is what the result rests on. The best prices are found by
cutting planes: f is the minimum over assignments of the priced engine loads, so each assignment met adds one row to a
small matrix game, and the game's solution is the next set of prices (Kelley, "The Cutting-Plane Method for Solving
Convex Programs", J. SIAM 8(4), 1960, doi:10.1137/0108053). There are finitely many assignments, so it ends.
"""

import numpy as np
from numpy.typing import NDArray

from roofwright.cost_model.units import Floats

_MAX_CUTS = 200
_GAP = 1e-12


def share(engine_s: Floats) -> tuple[float, Floats]:
    """The busiest engine's least time and the prices that prove it.

    Args:
        engine_s: seconds of piece i on engine j alone, shape (n, engines); inf where it cannot run; rows that are inf
            everywhere count nothing.
    """
    engines = engine_s.shape[1]
    runnable = engine_s[np.isfinite(engine_s).any(axis=1)]
    if not len(runnable) or engines == 1:
        return float(runnable.sum()), np.full(engines, 1 / engines)
    best, best_price = 0.0, np.full(engines, 1 / engines)
    loads: list[Floats] = []
    price = best_price
    while len(loads) < _MAX_CUTS:
        load = _loads(runnable, price)
        value = float(price @ load)
        if value > best:
            best, best_price = value, price
        loads.append(load)
        price, ceiling = _solve_game(np.array(loads))
        if ceiling - best <= _GAP * ceiling:
            break
    return best, best_price


def _loads(engine_s: Floats, price: Floats) -> Floats:
    """Seconds on each engine when every piece goes where its priced time is least."""
    finite = np.isfinite(engine_s)
    priced = np.where(finite, np.where(finite, engine_s, 0.0) * price, np.inf)
    chosen = priced.argmin(axis=1)
    seconds = engine_s[np.arange(len(engine_s)), chosen]
    return np.asarray(np.bincount(chosen, seconds, minlength=engine_s.shape[1]), np.float64)


def _solve_game(loads: NDArray[np.float64]) -> tuple[Floats, float]:
    """Prices that maximise the least priced load over the rows of `loads` (cuts, engines), and that value.

    The matrix game in standard form (payoffs shifted to be positive): maximise sum q subject to loads.T q <= 1, q >= 0,
    by the simplex method with Bland's rule; the prices are its dual values.
    """
    scale = float(loads.max())
    if scale <= 0:
        return np.full(loads.shape[1], 1 / loads.shape[1]), 0.0
    payoff = loads / scale + 1.0
    cuts, engines = payoff.shape
    table = np.zeros((engines + 1, cuts + engines + 1))
    table[:engines, :cuts] = payoff.T
    table[:engines, cuts:-1] = np.eye(engines)
    table[:engines, -1] = 1.0
    table[engines, :cuts] = -1.0
    while (entering := np.flatnonzero(table[engines, :-1] < -1e-13)).size:
        column = table[:engines, entering[0]]
        ratio = np.full(engines, np.inf)
        np.divide(table[:engines, -1], column, out=ratio, where=column > 1e-13)
        row = int(ratio.argmin())
        table[row] /= table[row, entering[0]]
        others = np.arange(engines + 1) != row
        table[others] -= np.outer(table[others, entering[0]], table[row])
    value = 1 / table[engines, -1]
    price = np.maximum(table[engines, cuts:-1], 0.0)
    return price / price.sum(), (value - 1.0) * scale
