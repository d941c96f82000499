"""Operands of all kernels side by side, and what is worked out once for schedules that share it."""

import numpy as np

from roofwright.cost_model import Costing
from roofwright.cost_model.kernels import gather, op_by_op
from roofwright.cost_model.memo import Memo
from roofwright.cost_model.operands import Operands
from tests.scheduling import modelled, scratchpad

GRAPH = modelled("g (float[1,4,6,6] x) => (float[1,8,6,6] y) { a = Conv(x, w)  y = Relu(a) }", w=(8, 4, 1, 1))
KERNELS = gather(op_by_op(GRAPH.works), GRAPH.works, GRAPH.outputs)


def test_operands_follow_their_kernels() -> None:
    found = Operands.of(KERNELS, scratchpad(1))
    assert list(found.names) == ["x", "w", "a", "a", "y"]
    assert found.kernel.tolist() == [0, 0, 0, 1, 1]
    assert found.bytes.tolist() == [576, 128, 1152, 1152, 1152]
    assert found.constant.tolist() == [False, True, False, False, False]
    assert found.read.tolist() == [True, True, False, True, False]
    assert found.nested.tolist() == [True, True, True, False, False]


def test_what_a_kernel_keeps_is_its_own() -> None:
    found = Operands.of(KERNELS, scratchpad(1))
    kept = found.among((frozenset(), frozenset({"a"})))
    assert kept.tolist() == [False, False, False, True, False]
    assert found.sums(found.bytes, ~kept).tolist() == [1856, 1152]


def test_no_kernels_have_no_operands() -> None:
    found = Operands.of([], scratchpad(1))
    assert found.sums(found.bytes, np.zeros(0, bool)).tolist() == []


def test_equal_things_become_one() -> None:
    memo, first, second = Memo(), (frozenset({"a"}),), (frozenset({"a"}),)
    assert first is not second
    assert memo.same(first) is first
    assert memo.same(second) is first


def test_a_schedule_is_priced_once() -> None:
    target = scratchpad(1 << 20)
    assert Costing.of(GRAPH, target) is Costing.of(GRAPH, target)
    assert Costing.of(GRAPH, target) is not Costing.of(GRAPH, scratchpad(1 << 20))
