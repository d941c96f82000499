"""Recurrent layers: MACs = steps x directions x batch x gates x hidden x (input + hidden)."""

import pytest

from tests.cost_model.asks import weight, work


@pytest.mark.parametrize(
    ("op", "gates", "lanes", "specials"), [("LSTM", 4, 17, 8), ("GRU", 3, 13, 5), ("RNN", 1, 2, 1)]
)
@pytest.mark.parametrize("directions", [1, 2])
def test_macs(op: str, gates: int, lanes: int, specials: int, directions: int) -> None:
    steps, batch, features, hidden = 25, 3, 40, 64
    layer = work(
        op,
        [
            (steps, batch, features),
            weight(directions, gates * hidden, features),
            weight(directions, gates * hidden, hidden),
        ],
        [(steps, directions, batch, hidden)],
        hidden_size=hidden,
    )
    units = steps * directions * batch * hidden
    assert layer.kind == "recurrent"
    assert layer.macs == units * gates * (features + hidden)
    assert (layer.lane_ops, layer.special_ops) == (lanes * units, specials * units)
    assert layer.nest is not None
    assert (layer.nest.steps, layer.nest.rows, layer.nest.repeat) == (steps, batch, directions)
    (projection,) = layer.more_nests
    assert (projection.steps, projection.rows, projection.depth) == (1, steps * batch, features)


def test_batch_first_and_peepholes() -> None:
    shapes = [(3, 25, 8), weight(1, 16, 8), weight(1, 16, 4), None, None, None, None, weight(1, 12)]
    layer = work("LSTM", shapes, [(3, 25, 1, 4)], layout=1)
    assert layer.nest is not None
    assert (layer.nest.steps, layer.nest.rows) == (25, 3)
    assert layer.lane_ops == (17 + 3) * 25 * 3 * 4


def test_weights_are_read_once() -> None:
    layer = work("GRU", [(9, 1, 8), weight(1, 12, 8), weight(1, 12, 4)], [None, (1, 1, 4)])
    assert sum(o.elements for o in layer.reads if o.constant) == 12 * 8 + 12 * 4
    assert [o.name for o in layer.writes] == ["o1"]
