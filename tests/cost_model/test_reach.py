import re
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofwright.cost_model import GraphModel, estimate
from roofwright.cost_model.reach import Span, met_after
from roofwright.cost_model.strip_maps import Reach
from roofwright.graph import read
from roofwright.targets import load_target
from tests.builders import model
from tests.cost_model.depends import Changes

small = st.integers(1, 4)


def meets(size: int, kernel: int, stride: int, pad: int) -> tuple[int, list[list[int]]]:
    """Positions of the result, and for each of them the input position of every tap."""
    out = (size + 2 * pad - kernel) // stride + 1
    return out, [[o * stride - pad + tap for tap in range(kernel)] for o in range(out)]


@given(st.integers(3, 12), small, st.integers(1, 3), st.integers(0, 1))
def test_spans_are_what_a_walk_over_positions_finds(size: int, kernel: int, stride: int, pad: int) -> None:
    out, read_by = meets(size, kernel, stride, min(pad, kernel // 2))
    reach = Reach(kernel, stride, min(pad, kernel // 2))
    reached = [[o for o, taps in enumerate(read_by) if y in taps] for y in range(size)]
    found = Span.each(size).through(reach, out)
    if found is None:
        assert not all(reached)
    else:
        assert [list(range(a, b + 1)) for a, b in zip(found.low, found.high, strict=True)] == reached
        assert found.within(Span.all(out))
        assert Span.all(out).within(found) == all(places == list(range(out)) for places in reached)
    met = [len({tap for taps in read_by for tap, y in enumerate(taps) if y == place}) for place in range(size)]
    assert Span.each(size).taps(reach, kernel, out) == min(met)


def test_a_span_grows_layer_by_layer() -> None:
    reach = Reach(3, 1, 1)
    once = Span.each(8).through(reach, 8)
    assert once is not None
    assert (once.least, once.taps(reach, 3, 8)) == (2, 3)  # a corner reaches two, and two positions meet all taps
    assert Span.each(8).taps(reach, 3, 8) == 2
    common = once.common(Span.all(8))
    assert (common.low, common.high) == (once.low, once.high)


def test_an_empty_tensor_reaches_nothing() -> None:
    nothing = Span.each(0)
    assert (nothing.least, nothing.taps(Reach(1, 1, 0), 1, 0)) == (0, 0)
    graph = GraphModel.of(
        read(
            model(
                """g (float[1,2,2,2] x) => (float[1,2,0,0] y, float[1,2,0,0] z) {
                a = Conv(x, w)  y = Conv(a, v)  z = Sigmoid(a) }""",
                w=(2, 2, 3, 3),
                v=(2, 2, 1, 1),
            )
        )
    )
    assert estimate(graph, load_target("kirin970")).bound.total_s >= 0


def network(text: str, **weights: Any) -> GraphModel:
    return GraphModel.of(read(model(f"g {text}", **weights)))


def met(graph: GraphModel, name: str) -> dict[str, list[tuple[int, int]]]:
    """Node -> (taps, channels) that any element of node `name` meets of it, in every way that is known."""
    works = [work for work in graph.works if work.work.kind != "view"]
    first = next(at for at, work in enumerate(works) if work.key == name)
    found: dict[str, list[tuple[int, int]]] = {}
    for meeting in met_after(works, graph.maps, first):
        found.setdefault(works[meeting.node].key, []).append((meeting.taps, meeting.channels))
    return found


def test_weights_downstream_of_any_one_element() -> None:
    graph = network(
        """(float[1,4,8,8] x) => (float[1,6] y) {
        a = Conv<pads=[1,1,1,1]>(x, u)  b = Conv(a, v)  c = Conv<pads=[1,1,1,1], group=8>(b, d)
        p = GlobalAveragePool(c)  f = Flatten(p)  y = MatMul(f, w) }""",
        u=(8, 4, 3, 3),
        v=(8, 8, 1, 1),
        d=(8, 1, 3, 3),
        w=(8, 6),
    )
    # One of 8 channels of a meets one of b; then all channels do: a corner meets 4 of 9 taps of c, then all of y.
    assert met(graph, "a") == {"b": [(1, 1)], "c": [(4, 8)], "y": [(1, 8)]}
    # One of 8 channels of b stays one through c and the pooling.
    assert met(graph, "b") == {"c": [(4, 1)], "y": [(1, 1)]}
    assert met(graph, "c") == {"y": [(1, 1)]}


def test_a_stride_that_skips_positions_meets_nothing() -> None:
    text = "(float[1,4,8,8] x) => (float[1,4,4,4] y) { a = Conv(x, u)  y = Conv<strides=[2,2]>(a, v) }"
    assert met(network(text, u=(4, 4, 1, 1), v=(4, 4, 1, 1)), "a") == {}


def test_of_a_split_what_must_be_met_is() -> None:
    text = """(float[1,4,3,3] x) => (float[1,5,3,3] y, float[1,5,3,3] z) {
    a = Conv(x, u)  b = Conv(a, v)  s, t = Split<axis=1>(b, k)  y = Conv(s, w)  z = Conv(t, o) }"""
    graph = network(text, u=(4, 4, 1, 1), v=(8, 4, 1, 1), k=np.array([3, 5]), w=(5, 3, 1, 1), o=(5, 5, 1, 1))
    assert met(graph, "a") == {"b": [(1, 1)], "y": [(1, 3)], "z": [(1, 5)]}
    assert met(graph, "b") == {}  # one of 8 channels: in either part


def test_of_groups_those_that_the_channels_fill_are_met() -> None:
    """Four of eight channels may all be in one of two groups of four, which makes one of two results."""
    text = """(float[1,2,3,3] x, float[1,4,3,3] z) => (float[1,3,3,3] y) {
    a = Sigmoid(x)  b = Conv(a, u)  c = Concat<axis=1>(b, z)  d = Conv<group=2>(c, g)  y = Conv(d, w) }"""
    graph = network(text, u=(4, 2, 1, 1), g=(2, 4, 1, 1), w=(3, 2, 1, 1))
    assert met(graph, "a") == {"b": [(1, 1)], "d": [(1, 4)], "y": [(1, 1)]}


def test_few_channels_may_be_met_in_many_places_and_many_in_few() -> None:
    text = """(float[1,4,5,5] x) => (float[1,2,5,5] y) {
    a = Conv(x, u)  b = Conv(a, v)  c = Conv<pads=[1,1,1,1]>(a, w)  d = Concat<axis=1>(b, c)
    y = Conv<pads=[1,1,1,1]>(d, o) }"""
    graph = network(text, u=(4, 4, 1, 1), v=(6, 4, 1, 1), w=(2, 4, 3, 3), o=(2, 8, 3, 3))
    assert met(graph, "a") == {"b": [(1, 1)], "c": [(4, 1)], "y": [(4, 8), (9, 2)]}


def test_a_transpose_of_positions_is_not_followed() -> None:
    text = """(float[1,4,3,3] x) => (float[1,2,3,3] y) {
    a = Conv(x, u)  t = Transpose<perm=[0,1,3,2]>(a)  y = Conv(t, w) }"""
    assert met(network(text, u=(4, 4, 1, 1), w=(2, 4, 1, 1)), "a") == {}


def test_a_shuffle_keeps_positions_only_where_it_keeps_rows_and_columns() -> None:
    text = """(float[1,4,2,3] x) => (float[1,2,2,3] y) {
    a = Conv(x, u)  r = Reshape(a, k)  t = Transpose<perm=[0,2,1,3,4]>(r)  s = Reshape(t, l)  y = Conv(s, w) }"""
    shapes = {"u": (4, 4, 1, 1), "w": (2, 4, 1, 1), "l": np.array([1, 4, 2, 3])}
    assert met(network(text, **shapes, k=np.array([1, 2, 2, 2, 3])), "a") == {"y": [(1, 1)]}
    assert met(network(text, **shapes, k=np.array([1, 3, 2, 2, 2])), "a") == {}


def test_what_broadcasts_reaches_all_positions_only_if_it_has_none() -> None:
    text = """(float[1,4,3,3] x) => (float[1,2,3,3] y) {
    p = AveragePool<kernel_shape=[POOL]>(x)  q = Sigmoid(p)  m = Mul(x, q)  y = Conv<pads=[1,1,1,1]>(m, w) }"""
    assert met(network(text.replace("POOL", "3,3"), w=(2, 4, 3, 3)), "q") == {"y": [(9, 1)]}
    assert met(network(text.replace("POOL", "3,1"), w=(2, 4, 3, 3)), "q") == {}


# Each begins with `a`, element by element, and has no maximum: whatever depends on an element changes with it.
NETWORKS = {
    "strided": """(float[1,2,7,6] x) => (float[1,5,4,3] y) { a = Sigmoid(x)
    b = Conv<pads=[1,1,1,1], strides=[2,2]>(a, c2_4_3)  y = Conv<pads=[1,1,1,1]>(b, c4_5_3) }""",
    "inception": """(float[1,3,5,5] x) => (float[1,4,5,5] y) { a = Sigmoid(x)
    p = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(a)  b = Conv(a, c3_4_1)  c = Conv<pads=[1,1,1,1]>(a, c3_2_3)
    d = Conv(p, c3_3_1)  e = Concat<axis=1>(b, c, d)  f = Conv(e, c9_4_1)  y = Conv<pads=[1,1,1,1]>(f, c4_4_3) }""",
    "residual": """(float[1,4,5,5] x) => (float[1,4,5,5] y) { a = Sigmoid(x)
    b = Conv<pads=[1,1,1,1]>(a, c4_4_3)  c = Add(a, b)  d = Conv<pads=[1,1,1,1], group=4>(c, c1_4_3)
    y = Add(c, d) }""",
    "shuffled": """(float[1,6,4,4] x) => (float[1,3,4,4] y) { a = Sigmoid(x)
    b = Conv<group=2>(a, c3_4_1)  r = Reshape(b, k)  t = Transpose<perm=[0,2,1,3,4]>(r)  s = Reshape(t, l)
    c = Conv<group=2, pads=[1,1,1,1]>(s, c2_4_3)  f, g = Split<axis=1>(c, m)  y = Conv(g, c3_3_1) }""",
    "squeezed": """(float[1,4,4,4] x) => (float[1,3] y) { a = Sigmoid(x)
    p = GlobalAveragePool(a)  b = Conv(p, c4_2_1)  c = Conv(b, c2_4_1)  d = Mul(a, c)  q = GlobalAveragePool(d)
    f = Flatten(q)  y = Gemm<transB=1>(f, w) }""",
}
CONSTANTS: dict[str, Any] = {
    "k": np.array([1, 2, 2, 4, 4]),
    "l": np.array([1, 4, 4, 4]),
    "m": np.array([1, 3]),
    "w": (3, 4),
}


def drawn(text: str) -> onnx.ModelProto:
    """A network with its weights: c2_4_3 has 2 channels, 4 filters and a 3 x 3 window."""
    sizes = {name: [int(part) for part in name[1:].split("_")] for name in re.findall(r"c\d_\d_\d", text)}
    weights: dict[str, Any] = {name: (many, deep, k, k) for name, (deep, many, k) in sizes.items()}
    return model(f"g {text}", **weights, **{name: of for name, of in CONSTANTS.items() if f"{name})" in text})


@pytest.mark.parametrize("text", NETWORKS.values(), ids=NETWORKS)
def test_no_element_meets_less(text: str) -> None:
    """Against changes of one element at a time: so many taps meet so many channels each."""
    proto = drawn(text)
    graph, changed = GraphModel.of(read(proto)), Changes(proto).changed
    nodes = {node.output[0]: node for node in proto.graph.node}
    shapes = {name: [d.dim_value for d in value.type.tensor_type.shape.dim] for name, value in values(proto).items()}
    found = met(graph, "a")
    assert found
    for name, meetings in found.items():
        data = nodes[name].input[0]
        depth, high, wide = ([*shapes[data], 1, 1])[1:4]
        attrs = {a.name: onnx.helper.get_attribute_value(a) for a in nodes[name].attribute}
        kernel, pads = attrs.get("kernel_shape") or shapes_of(proto, nodes[name]), attrs.get("pads", [0] * 4)
        read_at = [
            taps(size, k, stride, pad)
            for size, k, stride, pad in zip((high, wide), kernel, attrs.get("strides", (1, 1)), pads[:2], strict=True)
        ]
        for row in changed[data].reshape(-1, depth, high, wide):
            each = [row[:, down][:, :, across].any(axis=(1, 2)).sum() for down in read_at[0] for across in read_at[1]]
            for count, channels in meetings:
                assert sum(met_there >= channels for met_there in each) >= count


def taps(size: int, kernel: int, stride: int, pad: int) -> list[list[int]]:
    """For every tap of a filter, the positions that it reads."""
    out, read_by = meets(size, kernel, stride, pad)
    return [[read_by[o][tap] for o in range(out) if 0 <= read_by[o][tap] < size] for tap in range(kernel)]


def shapes_of(proto: onnx.ModelProto, node: onnx.NodeProto) -> list[int]:
    """The window of a node: of its filter, or 1 x 1."""
    weights = {tensor.name: list(tensor.dims) for tensor in proto.graph.initializer}
    return [*weights[node.input[1]][2:], 1, 1][:2]


def values(proto: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """Every tensor with its inferred shape."""
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    return {value.name: value for value in (*inferred.input, *inferred.value_info, *inferred.output)}
