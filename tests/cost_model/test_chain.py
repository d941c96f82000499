from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from roofwright.cost_model import GraphModel, estimate
from roofwright.cost_model.chain import arrivals_s
from roofwright.cost_model.pieces import Pieces
from roofwright.graph import read
from roofwright.targets import Engine, Target
from tests.builders import model
from tests.cost_model.machines import array, cores, machine, memory, stack

GATED = """g (float[1,8] x) => (float[1,8] y) {
    a = MatMul(x, w)  b = Sigmoid(a)  c = MatMul(b, w)  d = Tanh(c)  e = Mul(d, b)  y = MatMul(e, w) }"""
SQUEEZED = """g (float[1,4,6,6] x) => (float[1,3] y) {
    a = Conv<pads=[1,1,1,1]>(x, u)  p = GlobalAveragePool(a)  b = Conv(p, v)  c = Conv(b, v)  d = Mul(a, c)
    q = GlobalAveragePool(d)  f = Flatten(q)  y = MatMul(f, z) }"""
BESIDE = """g (float[1,8] x) => (float[1,8] y) {
    a = MatMul(x, w)  s = Tanh(x)  t = Tanh(s)  b = MatMul(a, w)  c = Add(b, t)  y = MatMul(c, w) }"""
WEIGHTS: dict[str, Any] = {"w": (8, 8), "u": (4, 4, 3, 3), "v": (4, 4, 1, 1), "z": (4, 3)}


def graph_of(text: str) -> GraphModel:
    return GraphModel.of(read(model(text, **{name: of for name, of in WEIGHTS.items() if f"{name})" in text})))


def target_of(*engines: Engine, handover_s: float = 0.0) -> Target:
    """Memory costs nothing, the stack only hand-overs."""
    named = tuple(replace(engine, name=f"e{at}") for at, engine in enumerate(engines))
    levels = (memory("chip", 2**30, 1e15), memory("dram", 2**33, 1e15))
    return replace(machine(named[0], levels), engines=named, stack=replace(stack(), handover_s=handover_s))


def pieces_of(graph: GraphModel, target: Target) -> Pieces:
    costing = estimate(graph, target).costing
    return Pieces.of(costing.kernels, costing.prices, target, graph.maps)


def least(text: str, target: Target) -> float:
    pieces = pieces_of(graph_of(text), target)
    return arrivals_s(pieces, target, np.zeros(len(pieces.works)), 0.0, [])[-1]


def seconds(pieces: Pieces, engines: int) -> np.ndarray:
    """Of every node on every engine; shape (nodes, engines)."""
    each = np.full((len(pieces.node), engines), np.inf)
    np.minimum.at(each, (pieces.options.piece, pieces.options.engine), pieces.options.engine_s)
    found = np.zeros((len(pieces.works), engines))
    np.add.at(found, pieces.node, each)
    return found


def best_schedule(pieces: Pieces, engines: int, handover_s: float) -> float:
    """The shortest of all schedules in this order with every node on one engine, or half on either of two."""
    took = seconds(pieces, engines)
    made: dict[str, int] = {}
    for at, work in enumerate(pieces.works):
        made |= {operand.name: at for operand in work.work.writes}
    alias = pieces.maps.alias
    before = [[made[n] for o in w.work.reads if (n := alias.get(o.name, o.name)) in made] for w in pieces.works]
    ways = [*np.eye(engines), *([np.full(2, 0.5)] if engines == 2 else [])]
    apart = handover_s * (1 - np.eye(engines))
    best = np.inf
    for shares in product(ways, repeat=len(took)):
        free, known = np.zeros(engines), np.zeros((len(took), engines))
        for at, share in enumerate(shares):
            used = share > 0
            ready = np.max([known[b] for b in before[at]], axis=0, initial=0.0)
            free[used] = np.maximum(free, ready)[used] + (share[used] * took[at][used])
            known[at] = np.max((free + apart)[:, used], axis=1)
        best = min(best, float(free.max()))
    return best


@pytest.mark.parametrize("handover_s", [0.0, 3.0, 40.0, 1000.0])
@pytest.mark.parametrize("text", [GATED, SQUEEZED, BESIDE], ids=["gated", "squeezed", "beside"])
def test_no_schedule_is_shorter(text: str, handover_s: float) -> None:
    """Of two engines: one multiplies faster, the other does the rest faster."""
    first = replace(cores(), macs_per_clock={"float32": 6.0}, lanes_per_clock={"float32": 2.0})
    other = replace(cores(), macs_per_clock={"float32": 2.0}, lanes_per_clock={"float32": 4.0})
    target = target_of(first, other, handover_s=handover_s)
    pieces = pieces_of(graph_of(text), target)
    assert len(pieces.works) <= 8
    bound = arrivals_s(pieces, target, np.zeros(len(pieces.works)), 0.0, [])[-1]
    assert 0 < bound <= best_schedule(pieces, 2, handover_s) * (1 + 1e-12)


def alone(engine: Engine, **runs: bool) -> Engine:
    """An engine for products only, or for the rest only."""
    return replace(
        engine, runs=("matmul", "conv") if runs.get("products") else ("elementwise", "special", "pool", "move")
    )


def test_segments_add_up() -> None:
    """Products on one engine, functions on the other, each waiting for the one before: no two at once."""
    target = target_of(alone(cores(), products=True), alone(cores()))
    pieces = pieces_of(graph_of(GATED), target)
    took = seconds(pieces, 2).min(axis=1)
    assert [work.key for work in pieces.works] == ["a", "b", "c", "d", "e", "y"]
    # Gates a, c, y: b lies between the first two, d and e between the others. Their own products may begin before, by
    # parts of their operands, but a is done before what b makes is, and so on: the most that a path of gates proves.
    functions, products = took[[1, 3, 4]].sum(), took[[0, 2, 5]].sum()
    assert functions <= least(GATED, target) <= functions + products
    assert estimate(graph_of(GATED), target).bound.graph.total_s >= max(functions, products)
    # From the start to c's operand: a and b, shared; from a's to y's: b, c, d and e.
    assert least(GATED, target) >= took[1] + took[3] + took[4] - 1e-9
    assert least(GATED, target) >= max(took[1], took[0]) + took[3] + took[4] - 1e-9


def test_a_hand_over_is_paid_where_another_engine_must_take_over() -> None:
    """Products on one engine, functions on the other: to c's operand and from c's result, to y's operand."""
    without = target_of(alone(cores(), products=True), alone(cores()))
    for handover_s in (1.0, 100.0, 1e4):
        paid = least(GATED, replace(without, stack=replace(without.stack, handover_s=handover_s)))
        assert paid >= least(GATED, without) + 2 * handover_s


def test_one_engine_alone_pays_nothing() -> None:
    twins = (replace(cores(), name="a"), replace(cores(), name="b"))
    total = float(seconds(pieces_of(graph_of(SQUEEZED), target_of(*twins)), 2)[:, 0].sum())
    for handover_s, share in ((0.0, 0.5), (1e6, 1.0)):
        found = least(SQUEEZED, target_of(*twins, handover_s=handover_s))
        gate = seconds(pieces_of(graph_of(SQUEEZED), target_of(*twins)), 2)[:, 0].max()
        assert share * (total - 3 * gate) <= found <= share * total * (1 + 1e-9)
    # Samples are dealt out: two images have no gates, and no hand-over to wait for.
    two = SQUEEZED.replace("1,4,6,6", "2,4,6,6").replace("1,3]", "2,3]")
    assert least(two, target_of(*twins, handover_s=1e6)) == pytest.approx(total)


def test_results_leave_an_array_as_many_cycles_later_as_it_has_rows() -> None:
    text = "g (float[ROWS,8] x) => (float[ROWS,8] y) { a = MatMul(x, w)  b = MatMul(a, w)  y = MatMul(b, w) }"
    unit = replace(array(8, 8), macs_per_clock={"float32": 64.0}, lanes_per_clock={})
    # The first weights are shifted in; then a, b and y have one fold of 8 cycles each, and so long is the way of what
    # a gate waits for through the array.
    assert least(text.replace("ROWS", "1"), target_of(unit)) == pytest.approx(8 + 3 * 8)
    assert least(text.replace("ROWS", "2"), target_of(unit)) == pytest.approx(8 + 3 * 8)
    # An engine that does other work too may begin with that.
    assert least(text.replace("ROWS", "1"), target_of(replace(unit, lanes_per_clock={"float32": 1.0}))) == 3 * 8
    # Where another engine works between two gates, the array waits for it.
    target = target_of(unit, alone(cores()))
    relu = "g (float[1,8] x) => (float[1,8] y) { a = MatMul(x, w)  b = Relu(a)  y = MatMul(b, w) }"
    took = seconds(pieces_of(graph_of(relu), target), 2)[1, 1]
    assert took > 0
    assert least(relu, target) == pytest.approx(8 + 2 * 8 + took)


def test_many_gates_are_thinned_out() -> None:
    many = "  ".join(f"a{at + 1} = MatMul(a{at}, w)" for at in range(200))
    text = f"g (float[1,8] a0) => (float[1,8] y) {{ {many} y = Relu(a200) }}"
    target = target_of(cores())
    total = float(seconds(pieces_of(graph_of(text), target), 1).sum())
    assert 0.6 * total <= least(text, target) <= total * (1 + 1e-9)


def test_weights_of_a_segment_are_loaded_within_it() -> None:
    target = target_of(cores())
    pieces = pieces_of(graph_of(GATED), target)
    weights_s = np.where(np.arange(6) == 2, 100.0, 0.0)  # of c, after a and before y
    got = arrivals_s(pieces, target, weights_s, 30.0, [])[-1]
    took = seconds(pieces, 1)[:, 0]
    assert got == pytest.approx(70.0 + took[5], abs=took.sum())
    assert got >= 70.0


def test_what_some_nodes_need_is_done_before_them() -> None:
    target = target_of(cores())
    pieces = pieces_of(graph_of(GATED), target)
    took = seconds(pieces, 1)[:, 0]
    places = arrivals_s(pieces, target, np.zeros(6), 0.0, [1, 4])
    assert places[0] == pytest.approx(took[:2].sum())
    assert places[1] == pytest.approx(took[:5].sum())


def test_a_part_that_another_engine_does_pays_the_way_there_and_back() -> None:
    """An array that only multiplies, beside a slow engine that adds the bias."""
    graph = GraphModel.of(read(model("g (float[1,8] x) => (float[1,8] y) { y = Gemm(x, w, c) }", w=(8, 8), c=(8,))))
    unit = replace(array(8, 8), macs_per_clock={"float32": 64.0}, lanes_per_clock={})
    slow = replace(cores(), macs_per_clock={"float32": 1e-3})
    lanes_s = 8 / 32  # of the bias
    for handover_s, busy_s in ((0.0, 8 + 1 + 8 + 8 - 2), (40.0, 2 * 40 + lanes_s)):
        found = estimate(graph, target_of(unit, slow, handover_s=handover_s))
        assert found.prices.engine.tolist() == [0]
        assert found.prices.busy_s[0] == pytest.approx(busy_s)
