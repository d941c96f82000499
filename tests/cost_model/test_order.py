from functools import reduce
from typing import Any

import numpy as np
import pytest

from roofwright.cost_model import GraphModel
from roofwright.cost_model.graph_work import NodeWork
from roofwright.cost_model.order import following, gates, needed
from roofwright.graph import read
from tests.builders import model
from tests.cost_model.depends import Changes

SQUEEZED = """g (float[1,4,6,6] x) => (float[1,3] y) {
    a = Conv<pads=[1,1,1,1]>(x, u)  p = GlobalAveragePool(a)  b = Conv(p, v)  c = Conv(b, w)  d = Mul(a, c)
    e = Add(d, x)  h = Conv<pads=[1,1,1,1]>(e, u)  q = GlobalAveragePool(h)  f = Flatten(q)  y = MatMul(f, z) }"""
WEIGHTS: dict[str, Any] = {"u": (4, 4, 3, 3), "v": (2, 4, 1, 1), "w": (4, 2, 1, 1), "z": (4, 3)}


def works_of(graph: GraphModel) -> list[NodeWork]:
    return [work for work in graph.works if work.work.kind != "view"]


def asked(text: str, *last: str, **weights: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Gate or node -> what it needs whole; gate -> what begins after it. Nodes have names of one letter."""
    graph = GraphModel.of(read(model(text, **weights)))
    works = works_of(graph)
    keys = [work.key for work in works]
    found = gates(works, graph.maps)
    rows = needed(works, graph.maps, found, [keys.index(name) for name in last])
    names = [*(keys[at] for at in found), *last]
    before = {name: "".join(np.array(keys)[row]) for name, row in zip(names, rows, strict=True)}
    after = {
        keys[at]: "".join(np.array(keys)[row])
        for at, row in zip(found, following(works, graph.maps, found), strict=True)
    }
    return before, after


def test_gates_part_what_they_need_from_what_needs_them() -> None:
    before, after = asked(SQUEEZED, **WEIGHTS)
    assert before == {"b": "ap", "c": "apb", "y": "apbcdehq"}
    assert after == {"b": "cdehqy", "c": "dehqy", "y": ""}


def test_with_more_images_there_is_no_gate() -> None:
    batch = SQUEEZED.replace("[1,4,6,6]", "[2,4,6,6]").replace("[1,3]", "[2,3]")
    assert asked(batch, **WEIGHTS) == ({}, {})


def test_a_branch_beside_a_gate_is_neither_before_nor_after() -> None:
    text = """g (float[1,4] x) => (float[1,4] y, float[1,4] z) {
    a = Sigmoid(x)  b = MatMul(a, w)  s = Tanh(x)  t = Add(s, x)  c = Add(b, t)  y = Relu(c)  z = MatMul(t, w) }"""
    before, after = asked(text, w=(4, 4))
    assert before == {"b": "a", "z": "st"}
    assert after == {"b": "cy", "z": ""}


def test_a_concat_follows_what_all_of_its_parts_follow() -> None:
    text = """g (float[1,4] x) => (float[1,2] y) {
    a = MatMul(x, w)  b = MatMul(a, w)  c = Relu(a)  d = Concat<axis=1>(b, JOINED)
    e = Sigmoid(d)  y = MatMul(e, v) }"""
    assert asked(text.replace("JOINED", "c"), w=(4, 4), v=(8, 2))[1] == {"a": "bcdey", "b": "", "y": ""}
    assert asked(text.replace("JOINED", "x"), w=(4, 4), v=(8, 2))[1] == {"a": "bc", "b": "", "y": ""}


def test_a_maximum_of_three_may_begin_with_two() -> None:
    text = """g (float[1,4] x) => (float[1,4] y) {
    a = MatMul(x, w)  b = OP(a, x EXTRA)  y = MatMul(b, w) }"""
    assert asked(text.replace("OP", "Add").replace("EXTRA", ""), w=(4, 4))[1]["a"] == "by"
    assert asked(text.replace("OP", "Max").replace("EXTRA", ", x"), w=(4, 4))[1]["a"] == ""


def test_windows_on_padding_alone_do_not_wait() -> None:
    text = """g (float[1,4,1,1] x) => (float[1,4,SIZE,SIZE] y) {
    a = Conv(x, w)  b = Relu(a)  y = Conv<pads=[PAD,PAD,PAD,PAD]>(b, w) }"""
    for pad, size, after in ((0, 1, "by"), (1, 3, "b")):
        sized = text.replace("PAD", str(pad)).replace("SIZE", str(size))
        assert asked(sized, w=(4, 4, 1, 1))[1]["a"] == after


def test_of_a_split_all_parts_must_be_needed() -> None:
    text = """g (float[1,4,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z) {
    a = Conv(x, u)  s, t = Split<axis=1>(a, k)  y = Conv(s, w)  z = Relu(t)  LAST }"""
    model_: dict[str, Any] = {"u": (4, 4, 1, 1), "w": (2, 2, 1, 1), "k": np.array([2, 2])}
    for part in ("s", "t"):
        assert asked(text.replace("LAST", "").replace("Conv(s", f"Conv({part}"), "y", **model_)[0] == {"y": "y"}
    joined = text.replace("LAST", "e = Concat<axis=1>(y, z)").replace(", float[1,2,4,4] z", ", float[1,4,4,4] e")
    assert asked(joined, "e", **model_)[0] == {"e": "asyze"}


def test_needing_is_transitive() -> None:
    text = """g (float[1,4,8,8] x) => (float[1,6] y) {
    a = Conv<pads=[1,1,1,1]>(x, u)  b = Conv(a, v)  c = Conv<pads=[1,1,1,1], group=8>(b, d)
    p = GlobalAveragePool(c)  f = Flatten(p)  y = MatMul(f, w) }"""
    shapes = {"u": (8, 4, 3, 3), "v": (8, 8, 1, 1), "d": (8, 1, 3, 3), "w": (8, 6)}
    assert asked(text, "c", "p", **shapes)[0] == {"y": "abcp", "c": "abc", "p": "abcp"}


def test_a_stride_that_skips_positions_needs_nothing_before_it_whole() -> None:
    text = "g (float[1,4,8,8] x) => (float[1,4,4,4] y) { a = Conv(x, u)  y = Conv<strides=[2,2]>(a, v) }"
    shapes = {"u": (4, 4, 1, 1), "v": (4, 4, 1, 1)}
    assert asked(text, "y", "a", **shapes)[0] == {"y": "y", "a": "a"}


def test_an_empty_result_needs_nothing() -> None:
    text = """g (float[1,2,2,2] x) => (float[1,2,0,0] y, float[1,2,0,0] z) {
    a = Conv(x, w)  y = Conv(a, v)  z = Sigmoid(a) }"""
    assert asked(text, "z", w=(2, 2, 3, 3), v=(2, 2, 1, 1))[0] == {"z": "z"}


@pytest.mark.parametrize("seed", range(3))
def test_every_result_of_a_gate_changes_with_every_element_before_it(seed: int) -> None:
    """`a` stands for all that is needed whole; results that follow a gate change with some result of it."""
    text = SQUEEZED.replace("a = Conv<pads=[1,1,1,1]>(x, u)", "a = Sigmoid(x)")
    proto = model(text, seed=seed, **WEIGHTS)
    before, after = asked(text, **WEIGHTS)
    changed = Changes(proto).changed
    for gate, names in before.items():
        assert names[0] == "a"
        assert changed[gate].all()
    assert all(changed[name].all() for name in reduce(set.union, map(set, after.values())) - {"y", "q"})
