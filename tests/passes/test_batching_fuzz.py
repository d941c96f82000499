"""Random chains of operators: whatever is not refused gives every sample what it gives it alone."""

from itertools import permutations
from math import prod
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from roofwright.graph import UnsupportedError
from tests.passes.batches import assert_widens

Shape = tuple[int, ...]
SHAPES = ((1, 4, 6), (1, 2, 2, 3), (2, 1, 4), (3, 2, 2), (1, 1, 6))


class Chain:
    """A model under construction: one tensor is current, each step makes the next."""

    def __init__(self, shape: Shape) -> None:
        self.first = self.shape = shape
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, op: str, shape: Shape, *arrays: Any, **attrs: Any) -> None:
        place = len(self.nodes)
        names = [f"t{place}"] + [f"c{place}_{at}" for at in range(len(arrays))]
        self.weights += [numpy_helper.from_array(np.asarray(a), n) for a, n in zip(arrays, names[1:], strict=True)]
        self.nodes.append(helper.make_node(op, names, [f"t{place + 1}"], name=f"n{place}", **attrs))
        self.shape = shape

    def model(self) -> onnx.ModelProto:
        ends = (("t0", self.first), (f"t{len(self.nodes)}", self.shape))
        ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in ends]
        graph = helper.make_graph(self.nodes, "chain", ports[:1], ports[1:], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def factorings(count: int, rank: int) -> list[Shape]:
    if rank == 1:
        return [(count,)]
    return [
        (size, *rest)
        for size in range(1, count + 1)
        if count % size == 0
        for rest in factorings(count // size, rank - 1)
    ]


@st.composite
def chains(draw: st.DrawFn) -> onnx.ModelProto:
    chain = Chain(draw(st.sampled_from(SHAPES)))
    for step in range(draw(st.integers(1, 6))):
        _grow(chain, draw(st.sampled_from(STEPS)), draw, step)
    return chain.model()


def _grow(chain: Chain, kind: str, draw: st.DrawFn, seed: int) -> None:
    shape, rank = chain.shape, len(chain.shape)
    rng = np.random.default_rng(seed)
    axis = draw(st.integers(0, rank - 1))
    if kind == "Reshape":
        target = draw(st.sampled_from([f for r in range(1, 5) for f in factorings(prod(shape), r)]))
        shown = [-1 if at == draw(st.integers(-1, 3)) else size for at, size in enumerate(target)]
        chain.add("Reshape", target, np.array(target if shown.count(-1) > 1 else shown, np.int64))
    elif kind == "Transpose":
        perm = draw(st.sampled_from(list(permutations(range(rank)))))
        chain.add("Transpose", tuple(shape[at] for at in perm), perm=list(perm))
    elif kind == "Softmax":
        chain.add("Softmax", shape, axis=axis)
    elif kind == "ReduceMean":
        chain.add("ReduceMean", (*shape[:axis], 1, *shape[axis + 1 :]), axes=[axis])
    elif kind == "MatMul" and rank > 1:
        chain.add("MatMul", (*shape[:-1], 2), rng.standard_normal((shape[-1], 2), np.float32))
    elif kind == "Add":
        other = tuple(draw(st.sampled_from((1, size))) for size in shape[axis:])
        chain.add("Add", shape, rng.standard_normal(other, np.float32))
    elif kind == "Concat":
        chain.add("Concat", (*shape[:axis], shape[axis] + 1, *shape[axis + 1 :]),
                  rng.standard_normal((*shape[:axis], 1, *shape[axis + 1 :]), np.float32), axis=axis)  # fmt: skip
    elif kind == "Slice":
        chain.add("Slice", (*shape[:axis], 1, *shape[axis + 1 :]), *(np.array([n], np.int64) for n in (0, 1, axis)))
    elif kind == "Expand":
        chain.add("Expand", shape, np.array(shape, np.int64))
    elif kind == "Tile":
        counts = [2 if at == axis else 1 for at in range(rank)]
        chain.add("Tile", tuple(np.multiply(shape, counts).tolist()), np.array(counts, np.int64))
    else:
        chain.add("Flatten", (prod(shape[:axis]), prod(shape[axis:])), axis=axis)


STEPS = (
    "Reshape", "Reshape", "Transpose", "Softmax", "ReduceMean", "MatMul", "Add", "Concat", "Slice", "Expand", "Tile",
    "Flatten",
)  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(chains(), st.sampled_from((2, 3, 7)))
def test_a_chain_is_right_or_refused(proto: onnx.ModelProto, batch: int) -> None:
    _right_or_refused(proto, batch)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
@given(chains(), st.sampled_from((1, 2, 3, 7)))
def test_many_chains_are_right_or_refused(proto: onnx.ModelProto, batch: int) -> None:
    _right_or_refused(proto, batch)


def _right_or_refused(proto: onnx.ModelProto, batch: int) -> None:
    onnx.checker.check_model(proto, full_check=True)
    size = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    if batch == size:
        return
    refusal = ""
    try:
        assert_widens(proto, batch)
    except UnsupportedError as error:
        refusal = str(error)
    assert not refusal or "node 'n" in refusal
