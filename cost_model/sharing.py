"""Perfect sharing of work between engines: the least time of the busiest resource, as a linear program.

    minimise T   subject to   sum_w x_iw = 1,   base_r + sum_iw x_iw t_iwr <= T,   x >= 0

for ways w of piece i (an engine, a lowering) that take t_iwr seconds of resource r (an engine, the memory port). Its
dual puts a price on each resource's time, prices sum to 1, and every piece of work goes the way that is cheapest:

    maximise f(price) = price . base + sum_i min_w price . t_iw

Any prices give a valid lower bound (weak duality), which is what the result rests on. The best prices are found by
cutting planes: f is the minimum over assignments of the priced engine loads, so each assignment met adds one row to a
small matrix game, and the game's solution is the next set of prices (Kelley, "The Cutting-Plane Method for Solving
Convex Programs", J. SIAM 8(4), 1960, doi:10.1137/0108053). There are finitely many assignments, so it ends.
"""

import numpy as np
from numpy.typing import NDArray

from roofwright.cost_model.units import Floats, Ints

_MAX_CUTS = 200
_GAP = 1e-12


def share(engine_s: Floats) -> tuple[float, Floats]:
    """The busiest engine's least time and the prices that prove it.

    Args:
        engine_s: seconds of piece i on engine j alone, shape (n, engines); inf where it cannot run; rows that are inf
            everywhere count nothing.
    """
    piece, engine = np.nonzero(np.isfinite(engine_s))
    loads = np.zeros((len(piece), engine_s.shape[1]))
    loads[np.arange(len(piece)), engine] = engine_s[piece, engine]
    return busiest(loads, piece, np.zeros(engine_s.shape[1]))


def busiest(loads: Floats, piece: Ints, base: Floats) -> tuple[float, Floats]:
    """The busiest resource's least time when every piece of work goes one of its ways, or several in shares.

    Args:
        loads: seconds of every resource that way w takes, shape (ways, resources).
        piece: which piece way w is of, rising, shape (ways,).
        base: seconds of every resource that are taken whatever the ways.

    Returns:
        The least time, and the price of each resource in its proof; prices sum to 1.
    """
    count = len(base)
    even = np.full(count, 1 / count)
    if not len(loads) or count == 1:
        total = base + (np.minimum.reduceat(loads[:, 0], _first(piece)).sum() if len(loads) else 0.0)
        return float(total.max()), np.where(np.arange(count) == total.argmax(), 1.0, 0.0)
    best, best_price, price = 0.0, even, even
    cuts: list[Floats] = []
    while len(cuts) < _MAX_CUTS:
        load = base + _cheapest(loads, piece, price)
        value = float(price @ load)
        if value > best:
            best, best_price = value, price
        cuts.append(load)
        price, ceiling = _solve_game(np.array(cuts))
        if ceiling - best <= _GAP * ceiling:
            break
    return best, best_price


def _first(piece: Ints) -> Ints:
    """Where the ways of each piece begin."""
    return np.flatnonzero(np.diff(piece, prepend=-1))


def _cheapest(loads: Floats, piece: Ints, price: Floats) -> Floats:
    """Seconds of each resource when every piece goes the way whose priced time is least."""
    order = np.lexsort((loads @ price, piece))
    return np.asarray(loads[order[_first(piece[order])]].sum(axis=0), np.float64)


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
