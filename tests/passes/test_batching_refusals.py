"""What would mix samples is refused, with the name of the node, and nothing is changed."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from roofwright.graph import UnsupportedError, read, to_proto
from roofwright.passes.base import Context
from roofwright.passes.batching import WidenBatch
from tests.builders import Array, model

X = "float[1,4,6] x"


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


REFUSED: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "softmax_over_samples": ("float[1,4,6] y", "y = Softmax<axis=0>(x)", "mixes the entries of axis 0", {}),
    "reduce_all": ("float[1,1,1] y", "y = ReduceSum<keepdims=1>(x)", "reduces over all axes", {}),
    "reduce_samples": ("float[1,4,6] y", "y = ReduceMax<axes=[0]>(x)", "mixes the entries of axis 0", {}),
    "first_sample": ("float[4,6] y", "y = Gather(x, i)", "picks samples", {"i": np.array(0, np.int64)}),
    "sums_over_samples": ("float[4,6,6] y",
          "t = Transpose<perm=[1,0,2]>(x) u = Transpose<perm=[0,2,1]>(t) y = MatMul(u, t)",
          "sums over the samples", {}),
    "pairs_samples": ("float[1,1,4,6] y", "t = Unsqueeze(x, k) y = Add(t, x)", "pairs samples", {"k": ints(1)}),
    "broadcasts_samples": ("float[3,4,6] y", "y = Add(x, c)", "expected 1 or 1", {"c": (3, 4, 6)}),
    "squeezes_the_batch": ("float[4,6] y", "y = Squeeze(x, k)", "drops the axis of the batch", {"k": ints(0)}),
    "squeezes_all": ("float[4,6] y", "y = Squeeze(x)", "drops", {}),
    "splits_samples": ("float[1,4,6] y", "y = Split<axis=0>(x)", "splits the samples", {}),
    "joins_different_samples": ("float[3,4,6] y", "a = Tile(x, r) y = Concat<axis=0>(a, x)", "different samples",
          {"r": ints(2, 1, 1)}),
    "pads_samples": ("float[2,4,6] y", "y = Pad(x, p)", "pads the axis", {"p": ints(0, 0, 0, 1, 0, 0)}),
    "resamples": ("float[2,4,6] y", "y = Resize(x, , s)", "resamples", {"s": np.array([2, 1, 1], np.float32)}),
    "grows_samples": ("float[3,4,6] y", "y = Expand(x, s)", "broadcasts the axis", {"s": ints(3, 4, 6)}),
    "interleaves_output": ("float[2,4,6] y", "y = Tile(x, r)", "interleaves", {"r": ints(2, 1, 1)}),
    "mean_by_batch_size": ("float[1,4,6] y", "s = Shape(x) i = Gather(s, o) f = Cast<to=1>(i) y = Div(x, f)",
          "size of the batch", {"o": np.array(0, np.int64)}),
    "outputs_the_size": ("int64[3] y", "a = Relu(x) y = Shape(a)", "depends on the size", {}),
    "default_mean_variance": ("float[1,4,6,1] y", "k = Unsqueeze(x, a) y = MeanVarianceNormalization<axes=[0,2]>(k)",
          "mixes", {"a": ints(3)}),
    "non_zero": ("int64[3,k] y", "y = NonZero(x)", "all samples together", {}),
    "unique": ("float[k] y", "y = Unique(x)", "all samples together", {}),
    "dynamic_scale": ("uint8[1,4,6] y", "y, s, z = DynamicQuantizeLinear(x)", "all samples together", {}),
    "random": ("float[1,4,6] y", "r = RandomNormalLike(x) y = Add(x, r)", "random", {}),
    "random_without_samples": ("float[1,4,6] y", "r = RandomNormal<shape=[6]>() y = Add(x, r)", "random", {}),
    "pool_indices": ("float[1,4,5] y, int64[1,4,5] i", "y, i = MaxPool<kernel_shape=[2]>(x)", "counts? through", {}),
    "einsum_pairs_samples": ("float[1,1,4] y", 'y = Einsum<equation="abj,cbj->acb">(x, x)', "pairs samples", {}),
    "scatter": ("float[1,4,6] y", "y = ScatterND(x, i, u)", "place in the batch",
          {"i": ints(0, 0).reshape(1, 2), "u": (1, 6)}),
    "recurrence_over_samples": ("float[1,1,4,5] y", "y, h = RNN<hidden_size=5>(x, w, r)", "axis 0",
          {"w": (1, 5, 6), "r": (1, 5, 5)}),
}  # fmt: skip
LAST = {"pairs_samples": "Add", "interleaves_output": "Tile", "mean_by_batch_size": "Div", "outputs_the_size": "Shape"}


def named(outs: str, body: str, weights: dict[str, Any]) -> onnx.ModelProto:
    proto = model(f"agraph ({X}) => ({outs}) {{ {body} }}", **weights)
    for place, node in enumerate(proto.graph.node):
        node.name = f"node{place}_{node.op_type}"
    return proto


@pytest.mark.parametrize("name", REFUSED)
def test_mixing_is_refused_by_the_name_of_the_node(name: str) -> None:
    outs, body, reason, weights = REFUSED[name]
    proto = named(outs, body, weights)
    graph = read(proto)
    before = to_proto(graph).SerializeToString()
    with pytest.raises(UnsupportedError, match=reason) as caught:
        WidenBatch(batch=3).run(graph, Context())
    assert "from 1 to 3: node 'node" in str(caught.value)
    assert LAST.get(name, "") in str(caught.value)
    assert caught.value.exit_code == 4
    assert to_proto(graph).SerializeToString() == before


def test_training_batch_norm_is_refused() -> None:
    proto = model(
        "agraph (float[1,4,6] x) => (float[1,4,6] y){ y, rm, rv = BatchNormalization<training_mode=1>(x, s, s, s, s) }",
        s=np.ones(4, np.float32),
    )
    with pytest.raises(UnsupportedError, match="training mode"):
        WidenBatch(batch=2).run(read(proto), Context())


def test_a_constant_that_tells_samples_apart_is_refused() -> None:
    proto = model("agraph (float[2,4] x) => (float[2,4] y) { y = Add(x, c) }", c=(2, 4))
    with pytest.raises(UnsupportedError, match="another value for each of 2 samples"):
        WidenBatch(batch=4).run(read(proto), Context())


def test_an_unknown_domain_is_refused() -> None:
    proto = model("agraph (float[1,4] x) => (float[1,4] y) { y = Relu(x) }")
    proto.opset_import.append(helper.make_opsetid("my.domain", 1))
    proto.graph.node[0].domain, proto.graph.node[0].op_type = "my.domain", "Mystery"
    with pytest.raises(UnsupportedError, match=r"Mystery.*domain my\.domain"):
        WidenBatch(batch=2).run(read(proto), Context())


def test_a_symbol_on_two_axes_of_an_input_is_refused() -> None:
    proto = model("agraph (float[batch,batch] x) => (float[batch,batch] y) { y = Relu(x) }")
    with pytest.raises(UnsupportedError, match="dimension batch twice"):
        WidenBatch(batch=2).run(read(proto), Context())
