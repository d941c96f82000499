"""Recurrent layers: the recurrent products wait for each other, the input projection of all steps is one product.

MACs = steps x directions x batch x gates x hidden x (input + hidden). `nest` is the recurrent part (`steps` dependent
products of `batch` rows), `more_nests` the input projection. The three directions cost the default activations.
"""

from roofwright.cost_model.ops.facts import Facts
from roofwright.cost_model.ops.matmul import gemm_nest
from roofwright.cost_model.work import Work

# op -> gates, lane operations and special operations per hidden unit, step and sample.
# Lanes: adding the two products and the bias (2 per gate), 2 per sigmoid, then the state update.
CELLS = {
    "LSTM": (4, 2 * 4 + 2 * 3 + 3, 2 * 3 + 2),  # i, o, f: sigmoid; c = f c + i g: 2; h = o tanh(c): 1; two tanh
    "GRU": (3, 2 * 3 + 2 * 2 + 3, 2 * 2 + 1),  # z, r: sigmoid; r h: 1; h = (1 - z) n + z h: 2; one tanh
    "RNN": (1, 2, 1),  # one tanh
}


def recurrent(ask: Facts) -> Work:
    """LSTM, GRU, RNN. `sequence_lens` shortens nothing: every step is counted."""
    gates, lanes, specials = CELLS[ask.node.op]
    data, weights, hidden = ask.shape(0), ask.shape(1), ask.shape(2)[2]
    batch, steps = (data[0], data[1]) if ask.attr("layout", 0) else (data[1], data[0])
    directions = weights[0]
    units = steps * directions * batch * hidden
    peepholes = 3 * units if ask.node.op == "LSTM" and ask.input(7) else 0
    return ask.work(
        "recurrent",
        lanes * units + peepholes,
        specials * units,
        nests=(
            gemm_nest(batch, gates * hidden, hidden, directions, steps),
            gemm_nest(steps * batch, gates * hidden, weights[2], directions),
        ),
    )
