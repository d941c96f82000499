import numpy as np
import onnx
import pytest

from roofwright.graph import UnsupportedError, read
from roofwright.passes.base import Context
from roofwright.passes.batching import WidenBatch
from tests.builders import model
from tests.passes.batches import assert_widens

IF = """
agraph (float[1,4,6] x, bool flag) => (float[1,24] y) {
  a = Relu(x)
  y = If (flag) <
    then_branch = yes () => (float[1,24] p) { p = Reshape(a, s) },
    else_branch = no () => (float[1,24] q) { n = Neg(a) q = Reshape(n, s) }
  >
}
"""
LOOP = """
agraph (float[1,6] x) => (float[1,6] y, float[3,1,6] z) {
  y, z = Loop (trips, yes, start) <
    body = step (int64 i, bool go, float[1,6] h) => (bool again, float[1,6] next, float[1,6] out)
    { again = Identity(go) t = Add(h, x) next = Tanh(t) out = MatMul(next, w) }
  >
}
"""


def test_both_branches_of_an_if_are_rewritten() -> None:
    assert_widens(model(IF, s=np.array([1, 24], np.int64)), 3)


def test_a_condition_made_from_a_sample_is_refused() -> None:
    text = IF.replace(", bool flag", "").replace("a = Relu(x)", "a = Relu(x) m = Greater(x, z) flag = Squeeze(m)")
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]>' + text.replace("[1,4,6] x", "[1,1,24] x")
    )
    for name, array in (("s", np.array([1, 24], np.int64)), ("z", np.zeros(1, np.float32))):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    with pytest.raises(UnsupportedError, match=r"Squeeze.*drops the axis"):
        WidenBatch(batch=2).run(read(proto), Context())


def test_a_condition_on_the_batch_size_is_refused() -> None:
    text = IF.replace(", bool flag", "").replace(
        "a = Relu(x)", "a = Relu(x) d = Shape(x) b = Gather(d, zero) flag = Equal(b, one)"
    )
    proto = model(text, s=np.array([1, 24], np.int64), zero=np.array(0, np.int64), one=np.array(1, np.int64))
    with pytest.raises(UnsupportedError, match="condition depends"):
        WidenBatch(batch=2).run(read(proto), Context())


def test_branches_that_differ_are_refused() -> None:
    text = IF.replace("n = Neg(a) q = Reshape(n, s)", "q = Identity(c)")
    proto = model(text, s=np.array([1, 24], np.int64), c=(1, 24))
    with pytest.raises(UnsupportedError, match="branches"):
        WidenBatch(batch=2).run(read(proto), Context())


def test_the_start_of_a_loop_is_repeated_for_every_sample() -> None:
    proto = model(LOOP, trips=np.array(3, np.int64), yes=np.array(True), start=(1, 6), w=(6, 6))
    assert_widens(proto, 3)


def test_a_loop_that_mixes_samples_is_refused_by_the_node_inside() -> None:
    text = LOOP.replace("next = Tanh(t)", "next = Softmax<axis=0>(t)")
    proto = model(text, trips=np.array(3, np.int64), yes=np.array(True), start=(1, 6), w=(6, 6))
    with pytest.raises(UnsupportedError, match="Softmax"):
        WidenBatch(batch=2).run(read(proto), Context())


def test_a_loop_as_long_as_the_batch_is_refused() -> None:
    text = LOOP.replace("y, z = Loop (trips", "d = Shape(x) n = Gather(d, zero) y, z = Loop (n")
    proto = model(text, zero=np.array(0, np.int64), yes=np.array(True), start=(1, 6), w=(6, 6))
    with pytest.raises(UnsupportedError, match="trip count"):
        WidenBatch(batch=2).run(read(proto), Context())


def test_a_scan_over_samples_is_refused() -> None:
    proto = model(
        "agraph (float[1,4,6] x) => (float[1,6] h, float[4,1,6] y) { t = Transpose<perm=[1,0,2]>(x)"
        " h, y = Scan<num_scan_inputs=1, body = step (float[1,6] s, float[1,6] e) => (float[1,6] n, float[1,6] o)"
        " { n = Add(s, e) o = Identity(n) }>(start, t) }",
        start=(1, 6),
    )
    with pytest.raises(UnsupportedError, match=r"Scan.*not followed"):
        WidenBatch(batch=2).run(read(proto), Context())
