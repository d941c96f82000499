"""Runs of kernels: walks side by side are those that each would be alone; prices known before are those of today."""

import numpy as np
import pytest

from roofwright.cost_model import Costing, GraphModel, LoopNest
from roofwright.cost_model.assume import storage_of
from roofwright.cost_model.engines import matrix_table
from roofwright.cost_model.run_links import SPACES, Chain
from roofwright.cost_model.run_starts import Starts
from roofwright.cost_model.run_walks import Walks
from roofwright.cost_model.runs import Runs
from roofwright.cost_model.units import Floats, Nests
from roofwright.targets import load_target
from tests.scheduling import modelled, scheduled, scratchpad

SKIP = modelled(
    "g (float[2,16,32,24] x) => (float[2,16,16,12] y, float[2,64,32,24] b) {"
    " a = Conv <kernel_shape = [1,1]> (x, u)  b = Relu (a)"
    " c = Conv <kernel_shape = [3,3], pads = [1,1,1,1], group = 64> (b, v)  d = Relu (c)"
    " e = Conv <kernel_shape = [1,1]> (d, w)  f = Add (e, x)"
    " y = MaxPool <kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]> (f) }",
    u=(64, 16, 1, 1),
    v=(64, 1, 3, 3),
    w=(16, 64, 1, 1),
)
ATTENTION = modelled(
    "g (float[4,256,32] q, float[4,32,256] k, float[4,256,32] v) => (float[4,256,32] y) {"
    " s = MatMul (q, k)  p = Softmax (s)  y = MatMul (p, v) }"
)


def rows(walks: Walks) -> dict[tuple[int, int, int, int], Floats]:
    """(kernel, strips across, part, first kernel) -> figures of every run that was found."""
    starts, found = walks.starts, {}
    for (walk, first), figures in walks.found:
        for at, begin, column in zip(walk.tolist(), first.tolist(), figures.T, strict=True):
            found[int(starts.last[at]), int(starts.across[at]), int(starts.part[at]), begin] = column
    return found


@pytest.mark.parametrize("graph", [SKIP, ATTENTION])
@pytest.mark.parametrize("capacity_bytes", [16 << 10, 64 << 10, 1 << 20])
def test_a_walk_does_not_depend_on_those_beside_it(
    graph: GraphModel, capacity_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = scratchpad(capacity_bytes, 2e8)
    chain = Chain(Costing.of(graph, target, scheduled(graph, target)), True)
    together: dict[tuple[object, ...], Floats] = {}
    alone: dict[tuple[object, ...], Floats] = {}
    for space in SPACES:
        walks = Walks(chain, space)
        together.update({(space, *key): figures for key, figures in rows(walks).items()})
        for at in range(len(walks.starts.last)):
            one = walks.starts.take(np.array([at]))
            with monkeypatch.context() as patch:
                patch.setattr(Starts, "of", lambda *_, one=one: one)
                alone.update({(space, *key): figures for key, figures in rows(Walks(chain, space)).items()})
    assert together.keys() == alone.keys() != set()
    for key, figures in together.items():
        assert figures.tolist() == alone[key].tolist(), key


def test_shorter_strips_are_looked_at_only_while_longer_ones_do_not_fit() -> None:
    target = scratchpad(1 << 24, 2e8)
    found = Runs(Costing.of(SKIP, target, scheduled(SKIP, target))).candidates
    assert set(found.part[found.first < found.last].tolist()) == {0}
    assert set(found.across.tolist()) == {1}


def test_what_was_priced_before_costs_the_same() -> None:
    target = load_target("kirin970")
    nests = [LoopNest(out_h=28 + i % 3, out_w=28, out_channels=64, in_channels=32, in_h=30, in_w=30) for i in range(6)]
    storage, classes = [storage_of("float16", target)] * 6, ["conv"] * 6
    for at in range(6):
        matrix_table(Nests.of(nests[at : at + 1]), storage[:1], classes[:1], target)
    known = matrix_table(Nests.of(nests), storage, classes, target)
    fresh = matrix_table(Nests.of(nests), storage, classes, load_target("kirin970"))
    assert all(np.array_equal(getattr(known, name), getattr(fresh, name)) for name in vars(fresh))
    assert np.isfinite(known.busy_s).any()
