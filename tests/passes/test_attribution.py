"""What each rewrite consumed, produced and gained; what is counted and what is a near miss in the end."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import roofwright
from roofwright.graph import Edit, View, key, read
from roofwright.passes import Context, Decline, LocalPass, Numerics, Options, Pass, PassResult, Record, Report, Rewrite
from roofwright.passes.pipeline import optimize_graph
from roofwright.passes.touched import bound_nodes
from roofwright.targets import load_target
from tests.builders import model

CHAIN = """g (float[1,4,9,9] x) => (float[1,4,9,9] y) {
    a = Conv(x, w)  b = Mul(a, s)  c = Add(b, t)  y = Relu(c) }"""


def report(text: str, passes: list[Any] | None = None, **options: Any) -> Report:
    weights: dict[str, Any] = {"w": (4, 4, 1, 1), "s": (4, 1, 1), "t": (4, 1, 1)}
    used = {name: shape for name, shape in weights.items() if f" {name})" in text}
    proto = model(text, **used)
    return roofwright.optimize(proto, "tpuv2", check=False, passes=passes, **options).report


def told(found: Report) -> list[tuple[Any, ...]]:
    return [(record.number, name, record.taken, record.produced) for name, record in found.rewrites]


def test_a_rewrite_names_the_nodes_that_went_changed_and_came() -> None:
    assert told(report(CHAIN)) == [
        (1, "fuse-affine", (("Conv", "a"), ("Mul", "b")), (("Conv", "b"),)),
        (2, "fuse-affine", (("Conv", "b"), ("Add", "c")), (("Conv", "c"),)),
    ]


def test_gains_along_a_chain_add_up_to_its_ends() -> None:
    found = report(CHAIN)
    first, second = (record for _, record in found.rewrites)
    (fused,) = (item for item in found.passes if item.name == "fuse-affine")
    old = {layer.name: layer for layer in found.before.layers}
    assert first.gain_s is not None
    assert second.gain_s is not None
    assert second.gain_s == pytest.approx(old["c"].seconds, rel=1e-12)
    assert second.gain_bytes == old["c"].off_chip_bytes
    assert first.gain_s + second.gain_s == pytest.approx(fused.gain_s, rel=1e-9)


@pytest.mark.parametrize("target", ["tpuv2", "v100", "host", "kirin970"])
def test_gains_of_rewrites_add_up_to_the_pass_on_every_kind_of_machine(target: str) -> None:
    text = "  ".join(f"a{at} = Conv(r{at}, w)  b{at} = Mul(a{at}, s)  r{at + 1} = Relu(b{at})" for at in range(6))
    proto = model(
        f"g (float[1,4,33,33] r0) => (float[1,4,33,33] y) {{ {text} y = Neg(r6) }}", w=(4, 4, 1, 1), s=(4, 1, 1)
    )
    found = roofwright.optimize(proto, target, check=False, passes=["fuse-affine"]).report
    (fused,) = found.passes
    assert fused.applied == 6
    assert sum(record.gain_s or 0.0 for record in fused.records) == pytest.approx(fused.gain_s, rel=0.02)


def test_a_node_that_went_is_what_its_record_consumed() -> None:
    found = report("g (float[4] x) => (float[4] y) { a = Exp(x)  b = Exp(x)  y = Add(a, b) }")
    ((name, record),) = found.rewrites
    assert (name, record.taken) == ("common-subexpressions", (("Exp", "b"),))
    assert found.to_dict()["rewrites"][0]["numerics"] == "exact"
    assert record.gain_s
    assert record.gain_s > 0


def test_constants_have_no_price_and_bodies_have_one_where_they_are_modelled() -> None:
    found = report("g (float[4] x) => (float[4] y) { c = Constant<value_floats=[1.0,2.0,3.0,4.0]>()  y = Add(x, c) }")
    ((_, record),) = found.rewrites
    assert (record.consumed, record.gain_s, record.gain_bytes) == ((("Constant", "c"),), None, None)


def test_json_lists_rewrites_and_near_misses_with_their_nodes() -> None:
    data = report(CHAIN).to_dict()
    assert data["rewrites"][0]["consumed"] == [{"op": "Conv", "name": "a"}, {"op": "Mul", "name": "b"}]
    assert [item["number"] for item in data["rewrites"]] == [1, 2]
    assert all(item["gain_s"] > 0 and item["numerics"] == "rounding" for item in data["rewrites"])
    shared = "g (float[1,4,9,9] x) => (float[1,4,9,9] a, float[1,4,9,9] y) { a = Conv(x, w)  y = Mul(a, s) }"
    (missed,) = (miss for miss in report(shared).to_dict()["near_misses"] if miss["pass"] == "fuse-affine")
    assert (missed["anchor"], missed["op"]) == ("y", "Mul")
    assert missed["reason"] == "'a' is an output of a graph"


# ---- the budget
@pytest.mark.parametrize("limit", [0, 1, 2, 9])
def test_a_limit_stops_after_so_many_rewrites(limit: int) -> None:
    found = report(CHAIN, pass_limit=limit)
    assert told(found) == told(report(CHAIN))[:limit]
    assert found.after.nodes == 4 - min(limit, 2)


def test_rewrites_are_numbered_through_all_passes_and_rounds() -> None:
    text = """g (float[1,4,9,9] x) => (float[1,4,9,9] y) {
        i = Identity(x)  a = Conv(i, w)  b = Mul(a, s)  j = Identity(b)  c = Add(j, t)  y = Relu(c) }"""
    found = report(text, ["fuse-affine", "identities"])
    assert [record.number for _, record in found.rewrites] == [1, 2, 3, 4]
    assert [name for name, _ in found.rewrites] == ["fuse-affine", "identities", "identities", "fuse-affine"]


# ---- near misses of the final state
@dataclass(frozen=True)
class DropLast(Rewrite):
    """A Neg goes once nobody but the output reads it; before that it is a near miss."""

    name: ClassVar[str] = "drop-last"
    anchors: ClassVar[tuple[str, ...]] = ("Neg",)
    numerics: ClassVar[Numerics] = "exact"
    node: gs.Node

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """A Neg that no Neg reads."""
        if any(reader.op == "Neg" for reader in view.consumers(node.outputs[0])):
            raise Decline(f"{key(node)!r} is read by another Neg")
        return cls(node)

    def apply(self, edit: Edit) -> None:
        """An Abs in its place."""
        out, source = self.node.outputs[0], self.node.inputs[0]
        edit.remove(self.node)
        edit.node("Abs", [source], [out], name="abs", sources=[self.node])


@dataclass(frozen=True)
class DropLasts(LocalPass):
    """From the last to the first."""

    name: ClassVar[str] = "drop-lasts"
    summary: ClassVar[str] = "one after another"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (DropLast,)


def test_what_fires_in_the_end_was_no_near_miss() -> None:
    text = "g (float[4] x) => (float[4] y) { a = Neg(x)  b = Neg(a)  c = Neg(b)  y = Exp(c) }"
    graph = read(model(text))
    alone = DropLasts().run(graph, Context())
    assert [record.anchor for record in alone.records if record.applied] == ["c", "b", "a"]
    assert [record.anchor for record in alone.records if not record.applied] == []
    stopped = report(text, [DropLasts()], pass_limit=1)
    assert [record.anchor for _, record in stopped.rewrites] == ["c"]


@dataclass(frozen=True)
class Complains(Pass):
    """Declines at every Neg, with a reason that counts its runs."""

    name: ClassVar[str] = "complains"
    summary: ClassVar[str] = "does nothing"
    ran: ClassVar[list[int]] = []

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Decline."""
        self.ran.append(1)
        found = [node for node in graph.nodes if node.op == "Neg"]
        return PassResult(tuple(Record("look", key(n), "Neg", False, f"run {len(self.ran)}") for n in found))


def test_near_misses_are_those_of_the_last_run() -> None:
    Complains.ran.clear()
    text = "g (float[4] x) => (float[4] y) { i = Identity(x)  a = Neg(i)  y = Neg(a) }"
    found = report(text, [Complains(), "identities"])
    assert len(Complains.ran) == 2
    assert [(record.anchor, record.reason) for _, record in found.near_misses] == [("a", "run 2"), ("y", "run 2")]


def test_gains_and_counts_of_a_pass_sum_over_its_runs() -> None:
    text = """g (float[1,4,9,9] x) => (float[1,4,9,9] y) {
        a = Conv(x, w)  b = Mul(a, s)  j = Identity(b)  c = Add(j, t)  y = Relu(c) }"""
    found = report(text, ["fuse-affine", "identities"])
    passes = {item.name: item for item in found.passes}
    assert (passes["fuse-affine"].applied, passes["identities"].applied) == (2, 1)
    whole = sum(item.gain_s for item in passes.values())
    assert whole == pytest.approx(found.before.latency_s - found.after.latency_s, rel=1e-9)
    gains = [record.gain_s for _, record in found.rewrites]
    assert sum(gain or 0.0 for gain in gains) == pytest.approx(whole, rel=1e-9)


# ---- what a rewrite holds
@dataclass(frozen=True)
class Part:
    node: gs.Node
    values: Any


@dataclass(frozen=True)
class Holder:
    first: gs.Node
    parts: tuple[Part, ...]
    twice: gs.Node
    other: int = 3


def test_nodes_are_found_in_fields_of_fields() -> None:
    one, two, three = (gs.Node("Neg", name) for name in "abc")
    holder = Holder(one, (Part(two, np.ones(2)), Part(three, np.ones(2))), one)
    assert [node.name for node in bound_nodes(holder)] == ["a", "b", "c"]


def test_states_are_told_on_copies() -> None:
    seen: list[tuple[str, int]] = []

    def watch(name: str, graph: gs.Graph) -> None:
        seen.append((name, len(graph.nodes)))
        graph.nodes.clear()

    graph = read(model(CHAIN, w=(4, 4, 1, 1), s=(4, 1, 1), t=(4, 1, 1)))
    options = Options(passes=["identities", "fuse-affine", "kernels"], watch=watch)
    made, _ = optimize_graph(graph, load_target("tpuv2"), options)
    assert seen == [("load", 4), ("fuse-affine", 2), ("kernels", 2)]
    assert [node.op for node in made.nodes] == ["Conv", "Relu"]


@dataclass(frozen=True)
class Raises(Pass):
    """Fails."""

    name: ClassVar[str] = "raises"
    summary: ClassVar[str] = "fails"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Fail."""
        raise ZeroDivisionError("one by zero")


def test_a_run_that_starts_again_numbers_and_tells_from_the_start() -> None:
    seen: list[str] = []
    found = report(CHAIN, ["fuse-affine", Raises()], watch=lambda name, _: seen.append(name))
    assert seen == ["load", "fuse-affine", "load", "fuse-affine"]
    assert told(found) == told(report(CHAIN))
    assert [(item.name, item.rolled_back) for item in found.passes if item.rolled_back] == [
        ("raises", "ZeroDivisionError: one by zero")
    ]
