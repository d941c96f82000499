"""Bisection finds the match that breaks a model, in few runs, and a small model that shows it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log2
from typing import Any, ClassVar, Self

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from roofwright.graph import Edit, UnsupportedError, VerificationError, View, key, read, to_proto
from roofwright.passes import Context, LocalPass, Numerics, Options, Pass, PassResult, Record, Rewrite, bisect
from roofwright.passes.fusion.affine import FoldAffine
from roofwright.passes.pipeline import optimize_graph
from roofwright.targets import load_target
from tests.builders import model

LENGTH = 24


def chain(length: int = LENGTH) -> onnx.ModelProto:
    """Neg, Neg, Neg ... each followed by a Mul that keeps the values apart."""
    body = "  ".join(f"n{at} = Neg(m{at})  m{at + 1} = Mul(n{at}, c{at})" for at in range(length))
    weights: dict[str, Any] = {f"c{at}": np.array(1 + (at + 1) / 64, np.float32) for at in range(length)}
    text = f"g (float[4] m0) => (float[4] y) {{ {body}  y = Identity(m{length}) }}"
    return model(text, **weights)


@dataclass(frozen=True)
class ToMul(Rewrite):
    """`Neg(x)` --> `Mul(x, -1)`, except at one node, where it becomes wrong."""

    name: ClassVar[str] = "to-mul"
    anchors: ClassVar[tuple[str, ...]] = ("Neg",)
    numerics: ClassVar[Numerics] = "exact"
    wrong: ClassVar[str] = "n17"
    node: gs.Node

    @classmethod
    def match(cls, node: gs.Node, view: View) -> Self | None:
        """Every Neg."""
        return cls(node)

    def apply(self, edit: Edit) -> None:
        """A Mul in its place."""
        factor = edit.constant("minus_one", np.array(-2.0 if key(self.node) == self.wrong else -1.0, np.float32))
        source, out = self.node.inputs[0], self.node.outputs[0]
        edit.remove(self.node)
        edit.node("Mul", [source, factor], [out], name=f"{out.name}_mul", sources=[self.node])


@dataclass(frozen=True)
class ToMuls(LocalPass):
    """Every Neg becomes a Mul."""

    name: ClassVar[str] = "to-muls"
    summary: ClassVar[str] = "wrong once"
    rewrites: ClassVar[tuple[type[Rewrite], ...]] = (ToMul,)


@dataclass(frozen=True)
class Whole(Pass):
    """Looks at the whole graph at once: drops every Neg, and spoils the last Mul."""

    name: ClassVar[str] = "whole"
    summary: ClassVar[str] = "wrong"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Two records of one run."""
        found = [node for node in graph.nodes if node.op == "Mul" and node.name != "spoilt"]
        if not found or graph.name == "done":
            return PassResult()
        graph.name = "done"
        last = found[-1]
        last.inputs[1] = gs.Constant("spoiling", np.array(9, np.float32))
        records = [Record("look", key(node), "Mul", True, consumed=(("Mul", key(node)),)) for node in found[-3:]]
        return PassResult(tuple(records))


def found(proto: onnx.ModelProto, passes: list[Any] | None, **options: Any) -> Any:
    broken: Callable[[gs.Graph, gs.Graph], bool] | None = options.pop("broken", None)
    return bisect(read(proto), load_target("tpuv2"), Options(passes=passes, **options), broken)


def test_a_wrong_match_of_a_pass_by_value_is_found_in_few_runs() -> None:
    culprit = found(chain(), ["identities", ToMuls(), "dead-code"])
    assert (culprit.name, culprit.record.rewrite, culprit.record.anchor) == ("to-muls", "to-mul", "n17")
    assert culprit.record.consumed == (("Neg", "n17"),)
    assert culprit.record.produced == (("Mul", "n17"),)
    assert culprit.rewrites == LENGTH + 1
    assert culprit.record.number == 1 + 18  # the Identity, then Neg 0 to 17
    assert culprit.runs <= ceil(log2(culprit.rewrites)) + 2
    assert culprit.reason.startswith("output y differs by ")


def test_the_reproducer_is_small_and_breaks_with_the_pass_alone() -> None:
    culprit = found(chain(), ["identities", ToMuls(), "dead-code"])
    assert culprit.alone
    small = to_proto(culprit.reproducer)
    onnx.checker.check_model(small, full_check=True)
    assert [node.op_type for node in small.graph.node] == ["Neg"]
    with pytest.raises(VerificationError):
        optimize_graph(read(small), load_target("tpuv2"), Options(passes=[ToMuls()]))
    optimize_graph(read(small), load_target("tpuv2"), Options(passes=[]))


@pytest.mark.parametrize("number", range(1, LENGTH + 1, 5))
def test_a_limit_is_the_start_of_a_longer_run(number: int) -> None:
    whole = optimize_graph(read(chain()), load_target("tpuv2"), Options(passes=[ToMuls()], check=False))[1]
    part, report = optimize_graph(
        read(chain()), load_target("tpuv2"), Options(passes=[ToMuls()], check=False, pass_limit=number)
    )
    anchors = [record.anchor for _, record in whole.rewrites]
    assert [record.anchor for _, record in report.rewrites] == anchors[:number]
    assert [record.number for _, record in report.rewrites] == list(range(1, number + 1))
    assert sum(node.op == "Neg" for node in part.nodes) == LENGTH - number


def test_a_predicate_of_ones_own_judges() -> None:
    def no_mul_of_n9(original: gs.Graph, optimized: gs.Graph) -> bool:
        assert sum(node.op == "Neg" for node in original.nodes) > 0
        return any(node.op == "Mul" and key(node) == "n9" for node in optimized.nodes)

    culprit = found(chain(), [ToMuls()], broken=no_mul_of_n9)
    assert (culprit.record.anchor, culprit.record.number, culprit.reason) == ("n9", 10, "")
    assert [key(node) for node in culprit.reproducer.nodes] == ["n9"]


def test_a_pass_that_looks_at_the_whole_graph_is_found_as_one() -> None:
    culprit = found(chain(6), ["identities", Whole(), "dead-code"])
    assert (culprit.name, culprit.record.number, culprit.rewrites) == ("whole", 2, 4)
    assert culprit.alone
    assert [node.op for node in culprit.reproducer.nodes] == ["Mul"]


def test_a_sound_run_has_no_culprit() -> None:
    assert found(chain(4), None) is None


def test_a_seeded_fault_in_a_pass_of_ours_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    applied = FoldAffine.apply

    def faulty(self: FoldAffine, edit: Edit) -> None:
        wrong = key(self.node) == "b4"
        applied(self, edit)
        if wrong:
            edit.set_constant(self.found.node, 1, self.weights[0].values * np.float32(2), "spoilt")

    monkeypatch.setattr(FoldAffine, "apply", faulty)
    body = "  ".join(f"a{at} = Conv(r{at}, w)  b{at} = Mul(a{at}, s)  r{at + 1} = Relu(b{at})" for at in range(8))
    text = f"g (float[1,4,5,5] r0) => (float[1,4,5,5] y) {{ {body}  y = Neg(r8) }}"
    culprit = found(model(text, w=(4, 4, 1, 1), s=(4, 1, 1)), None)
    assert (culprit.name, culprit.record.anchor) == ("fuse-affine", "b4")
    assert culprit.record.consumed == (("Conv", "a4"), ("Mul", "b4"))
    assert [node.op for node in culprit.reproducer.nodes] == ["Conv", "Mul"]
    assert culprit.runs <= ceil(log2(culprit.rewrites)) + 2


def test_a_fault_inside_a_body_is_shown_with_the_node_that_holds_it() -> None:
    text = """g (bool k, float[4] x) => (float[4] y) {
        a = Abs(x)
        n = If (k) <then_branch = t () => (float[4] p) { n17 = Neg(a) p = Exp(n17) },
                    else_branch = e () => (float[4] q) { q = Neg(a) }>
        y = Sqrt(n) }"""
    culprit = found(model(text), [ToMuls()])
    assert culprit.record.anchor == "n17"
    assert [node.op for node in culprit.reproducer.nodes] == ["If"]
    assert culprit.alone


def test_what_cannot_be_checked_cannot_be_bisected() -> None:
    proto = model("g (string[2] x) => (string[2] y) { a = Identity(x)  y = Identity(a) }")
    with pytest.raises(UnsupportedError, match=r"nothing to search with.*input x of type string"):
        found(proto, None)
    with pytest.raises(UnsupportedError, match="broken before any rewrite"):
        found(chain(2), [ToMuls()], broken=lambda original, optimized: True)


def test_a_fault_after_a_change_of_the_batch_is_found() -> None:
    text = "g (float[1,4] x) => (float[1,4] y) { a = Abs(x)  n17 = Neg(a)  b = Exp(n17)  n2 = Neg(b)  y = Sqrt(n2) }"
    culprit = found(model(text.replace("y = Sqrt", "y = Exp")), [ToMuls()], batch=3)
    assert (culprit.record.anchor, culprit.alone) == ("n17", True)
    assert [tensor.shape for tensor in culprit.reproducer.inputs] == [[3, 4]]


def test_symbolic_sizes_and_options_of_the_whole_do_not_bother_the_part() -> None:
    text = """g (float[N,4] x, float[K,4] u) => (float[N,4] y, float[K,4] v) {
        a = Abs(x)  n17 = Neg(a)  y = Exp(n17)  v = Sqrt(u) }"""
    given = np.ones((5, 4), np.float32)
    culprit = found(
        model(text), [ToMuls()], dims={"N": 5, "K": 2}, check_inputs={"x": given}, input_shapes={"u": (2, 4)}
    )
    assert (culprit.record.anchor, culprit.alone) == ("n17", True)
    assert [tensor.shape for tensor in culprit.reproducer.inputs] == [["N", 4]]
