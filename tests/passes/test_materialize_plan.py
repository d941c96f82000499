"""When strips are written, how many, and what is said about it."""

from typing import Any

import numpy as np
import onnx
import pytest

from roofwright.graph import UnsupportedError, canonical_text, read, to_proto
from roofwright.passes import Options, optimize_graph
from roofwright.passes.base import Context
from roofwright.passes.materialize import Materialize
from roofwright.passes.materialize.arena import Arena
from roofwright.passes.memory import MemoryChange, MemoryResult
from roofwright.targets import load_target
from tests.builders import feeds, run
from tests.passes.harness import build, random

CHAIN = """(float[N,3,256,512] x) => (float[N,8] y) {
    a = Conv<pads=[1,1,1,1]>(x, w0) b = Relu(a) c = Conv<pads=[1,1,1,1]>(b, w1) d = Relu(c)
    p = MaxPool<kernel_shape=[4,4], strides=[4,4]>(d) e = Conv<pads=[1,1,1,1], strides=[2,2]>(p, w2)
    g = GlobalAveragePool(e) y = Flatten(g) }"""
WEIGHTS = {"w0": random(32, 3, 3, 3), "w1": random(32, 32, 3, 3), "w2": random(8, 32, 3, 3)}
TARGET = load_target("tpuv2")


def chain(batch: str = "1", height: str = "256") -> onnx.ModelProto:
    return build(CHAIN.replace("N,", f"{batch},").replace("256,512", f"{height},512"), WEIGHTS)


def outcome(proto: onnx.ModelProto, limit: float | None = None, **context: Any) -> tuple[onnx.ModelProto, MemoryChange]:
    graph = read(proto)
    result = Materialize(limit_bytes=limit).run(graph, Context(target=TARGET, **context))
    assert isinstance(result, MemoryResult)
    assert result.memory is not None
    assert result.changed is (result.memory.strips > 0)
    return to_proto(graph, embed=True), result.memory


def test_large_activations_become_strips() -> None:
    made, memory = outcome(chain())
    assert memory.after_bytes <= 0.8 * memory.before_bytes
    assert memory.strips >= 2
    assert sum(node.op_type == "Conv" for node in made.graph.node) > 3
    inputs = feeds(chain())
    np.testing.assert_allclose(run(made, inputs)["y"], run(chain(), inputs)["y"], rtol=1e-5)


def test_small_activations_stay_whole_and_the_reason_is_told() -> None:
    graph = read(chain(height="32"))
    before = canonical_text(graph)
    result = Materialize().run(graph, Context(target=TARGET))
    assert canonical_text(graph) == before
    (record,) = result.records
    assert not record.applied
    assert "less than 20%" in record.reason


def test_a_limit_is_met_by_the_cheapest_plan() -> None:
    _, free = outcome(chain())
    _, loose = outcome(chain(), limit=0.9 * free.before_bytes)
    _, tight = outcome(chain(), limit=0.4 * free.before_bytes)
    assert loose.after_bytes <= 0.9 * free.before_bytes
    assert tight.after_bytes <= 0.4 * free.before_bytes
    assert loose.strips <= tight.strips


def test_a_limit_that_is_met_already_changes_nothing() -> None:
    made, memory = outcome(chain(), limit=1e12)
    assert memory.after_bytes == memory.before_bytes
    assert len(made.graph.node) == len(chain().graph.node)


def test_a_limit_out_of_reach_names_the_smallest_one() -> None:
    with pytest.raises(
        UnsupportedError, match=r"^--max-memory 1\.0M cannot be met: the smallest peak memory reached is"
    ):
        outcome(chain(), limit=2**20)


def test_the_batch_may_be_symbolic_the_height_may_not() -> None:
    made, memory = outcome(chain(batch="N"), dims={"N": 2})
    assert memory.strips >= 2
    assert made.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    _, memory = outcome(chain(height="H"), dims={"H": 256})
    assert memory.strips == 0


def test_without_a_target_nothing_is_priced_and_nothing_done() -> None:
    assert not Materialize().run(read(chain()), Context()).changed


def test_it_is_the_same_every_time_and_once_is_enough() -> None:
    first, memory = outcome(chain())
    assert outcome(chain())[0].SerializeToString() == first.SerializeToString()
    again, _ = outcome(first, limit=1.05 * memory.after_bytes)
    assert len(again.graph.node) == len(first.graph.node)


def test_the_pipeline_checks_strips_and_reports_them() -> None:
    graph, report = optimize_graph(read(chain()), TARGET, Options(optimize_for="memory"))
    assert report.check.status == "passed"
    assert report.memory is not None
    assert report.memory.strips >= 2
    assert report.memory.macs > 0
    assert report.to_dict()["memory"]["after_bytes"] == report.memory.after_bytes
    assert any(name == "materialize" for name, _ in report.rewrites)
    assert optimize_graph(read(chain()), TARGET, Options(check=False))[1].memory is None
    assert len(graph.nodes) > len(chain().graph.node)


def test_strips_go_with_a_batch() -> None:
    options = Options(optimize_for="memory", batch=2)
    graph, report = optimize_graph(read(chain()), TARGET, options)
    assert report.check.status == "passed"
    assert graph.inputs[0].shape[0] == 2
    assert report.memory is not None
    assert report.memory.strips >= 2


MIB = 2**20


def test_the_arena_reuses_splits_and_grows_by_powers_of_two() -> None:
    arena = Arena()
    arena.take(0, 2.5 * MIB)  # a region of 4, not split: 4 is less than twice as much
    arena.give(0)
    arena.take(1, 2 * MIB)  # half of it
    arena.take(2, MIB)  # half of the rest
    assert arena.bytes == 3 * MIB
    arena.take(3, 5 * MIB)  # a region of 8
    assert arena.bytes == 8 * MIB
    for number in (2, 1):
        arena.give(number)
    arena.take(4, 4 * MIB)  # the first region, whole again
    assert arena.bytes == 9 * MIB


def test_a_chunk_less_than_twice_as_large_is_not_split() -> None:
    arena = Arena()
    arena.take(0, 4 * MIB)
    arena.give(0)
    arena.take(1, 3 * MIB)
    arena.take(2, MIB)
    assert arena.bytes == 5 * MIB


def test_a_planned_block_leaves_no_gap_unused() -> None:
    block = Arena.planned()
    for number, size in enumerate((4, 3, 2)):
        block.take(number, size * MIB)
    block.give(0)
    block.take(3, 3 * MIB)
    block.take(4, MIB)
    assert block.bytes == 9 * MIB
