"""optimize(): what goes in comes out in kind and unharmed; passes that fail are left out; pipelines are values."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

import roofwright
from roofwright.graph import UnsupportedError, UsageError, VerificationError, canonical_text, read, to_proto
from roofwright.passes import PASSES, Context, Pass, PassResult, Record, build
from roofwright.passes.base import Numerics
from roofwright.passes.emit import SCHEDULE_KEY, read_schedule
from roofwright.passes.fusion import FuseBatchNorm
from roofwright.targets import load_target
from tests.builders import assert_same, feeds, model, run

BLOCK = """g (float[1,4,8,8] x) => (float[1,8,6,6] y) {
    a = Conv(x, w)
    b = BatchNormalization(a, gamma, beta, mean, var)
    c = Identity(b)
    y = Relu(c) }"""
POSITIVE = np.linspace(0.5, 1.5, 8, dtype=np.float32)


def block() -> onnx.ModelProto:
    return model(BLOCK, w=(8, 4, 3, 3), gamma=(8,), beta=(8,), mean=(8,), var=POSITIVE)


@dataclass(frozen=True)
class Meddler(Pass):
    """Fails, breaks the graph, or changes what it computes."""

    how: str = "raise"

    name: ClassVar[str] = "meddler"
    numerics: ClassVar[Numerics] = "rounding"
    summary: ClassVar[str] = "does harm"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Do harm, once."""
        node = next((n for n in graph.nodes if n.op == "Relu"), None)
        if self.how == "raise":
            raise RuntimeError("boom")
        if node is None:
            return PassResult()
        if self.how == "break":
            node.inputs = [gs.Variable("nobody", np.dtype(np.float32), [1, 8, 6, 6])]
        if self.how == "lie":
            node.op = "Abs"
        return PassResult((Record("meddle", node.outputs[0].name, "Relu", True),))


# ---- what comes out
def test_a_proto_gives_a_proto() -> None:
    proto = block()
    before = proto.SerializeToString()
    made, report = roofwright.optimize(proto, "tpuv2")
    assert isinstance(made, onnx.ModelProto)
    assert proto.SerializeToString() == before
    assert [node.op_type for node in made.graph.node] == ["Conv", "Relu"]
    assert (report.check.status, report.check.runs) == ("passed", 5)
    assert_same(proto, made, feeds(proto), rtol=1e-3)


def test_bytes_give_bytes() -> None:
    data = block().SerializeToString()
    made, _ = roofwright.optimize(data, "tpuv2")
    assert isinstance(made, bytes)
    assert made == roofwright.optimize(block(), "tpuv2").model.SerializeToString()


def test_a_graph_gives_a_graph_and_is_not_touched() -> None:
    graph = gs.import_onnx(block())
    before = to_proto(read(gs.export_onnx(graph))).SerializeToString()
    made, _ = roofwright.optimize(graph, "tpuv2")
    assert isinstance(made, gs.Graph)
    assert made is not graph
    assert to_proto(read(gs.export_onnx(graph))).SerializeToString() == before
    assert [node.op for node in made.nodes] == ["Conv", "Relu"]


def test_a_path_gives_a_path(tmp_path: Path) -> None:
    source, wanted = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(block(), source)
    before = source.read_bytes()
    assert roofwright.optimize(source, "tpuv2", output=wanted).model == wanted
    beside = roofwright.optimize(str(source), "tpuv2").model
    assert beside == tmp_path / "in.optimized.onnx"
    assert beside.read_bytes() == wanted.read_bytes()
    assert source.read_bytes() == before
    onnx.checker.check_model(str(wanted), full_check=True)


def test_a_zoo_name_gives_a_proto() -> None:
    made, report = roofwright.optimize("zoo:squeezenet1_1", "tpuv1", check=False)
    assert isinstance(made, onnx.ModelProto)
    assert report.check.status == "not verified"


def test_a_target_may_be_a_value() -> None:
    by_name, by_value = (roofwright.optimize(block(), t).model for t in ("v100", load_target("v100")))
    assert by_name.SerializeToString() == by_value.SerializeToString()


def test_the_interface_stays() -> None:
    made = roofwright.optimize(block(), "kirin970").model
    assert (made.graph.input, made.graph.output) == (block().graph.input, block().graph.output)


def test_the_schedule_is_in_the_model() -> None:
    made, report = roofwright.optimize(block(), "tpuv1")
    assert report.schedule is not None
    assert read_schedule(read(made)) == report.schedule
    assert SCHEDULE_KEY in {entry.key for entry in made.metadata_props}


def test_a_schedule_that_came_with_the_model_is_not_believed() -> None:
    once = roofwright.optimize(block(), "tpuv1").model
    onnx.helper.set_model_props(once, {SCHEDULE_KEY: "nonsense"})
    again = roofwright.optimize(once, "tpuv1").model
    assert read_schedule(read(again)) == read_schedule(read(roofwright.optimize(block(), "tpuv1").model))


# ---- passes by name and by value
def test_unknown_names_have_a_closest_match() -> None:
    with pytest.raises(UsageError, match="unknown pass 'fuse-batchnorm'; did you mean fuse-batch-norm"):
        roofwright.optimize(block(), "tpuv2", passes=["fuse-batchnorm"])
    with pytest.raises(UsageError, match="unknown pass 'zzz', expected one of inline-functions, "):
        roofwright.optimize(block(), "tpuv2", skip=["zzz"])


def test_skipping_a_pass() -> None:
    made = roofwright.optimize(block(), "tpuv2", skip=["fuse-batch-norm"]).model
    assert [node.op_type for node in made.graph.node] == ["Conv", "BatchNormalization", "Relu"]


def test_a_pipeline_is_a_value() -> None:
    made, report = roofwright.optimize(block(), "tpuv2", passes=[FuseBatchNorm(), "kernels"])
    assert [node.op_type for node in made.graph.node] == ["Conv", "Identity", "Relu"]
    assert [p.name for p in report.passes] == ["fuse-batch-norm", "kernels"]
    assert report.schedule is not None
    assert not any(kernel.tilings for kernel in report.schedule.kernels)


def test_no_pass_at_all_changes_nothing() -> None:
    made, report = roofwright.optimize(block(), "tpuv2", passes=[])
    assert canonical_text(made) == canonical_text(block())
    assert report.schedule is None
    assert not report.changed


def test_scheduling_passes_run_last_whatever_their_place() -> None:
    names = ["kernels", "fuse-batch-norm", "identities"]
    made, report = roofwright.optimize(block(), "tpuv2", passes=names)
    assert [node.op_type for node in made.graph.node] == ["Conv", "Relu"]
    assert report.schedule is not None
    assert len(report.schedule.kernels) == 1


@pytest.mark.parametrize("name", [name for name in PASSES if not PASSES[name].schedules])
def test_every_rewriting_pass_is_usable_alone_on_a_graph(name: str) -> None:
    graph = read(block())
    (pass_,) = build([name])
    assert isinstance(pass_.run(graph, Context()), PassResult)
    assert_same(block(), to_proto(graph), feeds(block()), rtol=1e-3)


# ---- passes that fail
@pytest.mark.parametrize(("how", "words"), [("raise", "RuntimeError: boom"), ("break", "nobody")])
def test_a_pass_that_fails_is_rolled_back_and_the_run_goes_on(how: str, words: str) -> None:
    pipeline = ["fuse-batch-norm", Meddler(how=how), "identities", "kernels"]
    made, report = roofwright.optimize(block(), "tpuv2", passes=pipeline)
    alone = roofwright.optimize(block(), "tpuv2", passes=["fuse-batch-norm", "identities", "kernels"]).model
    assert made.SerializeToString() == alone.SerializeToString()
    (failed,) = [p for p in report.passes if p.rolled_back]
    assert failed.name == "meddler"
    assert words in failed.rolled_back
    assert failed.applied == 0


def test_a_rolled_back_pass_is_an_error_under_strict() -> None:
    with pytest.raises(UnsupportedError, match="pass meddler was rolled back: RuntimeError: boom"):
        roofwright.optimize(block(), "tpuv2", passes=[Meddler()], strict=True)


def test_a_model_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    source, wanted = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(block(), source)
    with pytest.raises(VerificationError, match="output y differs"):
        roofwright.optimize(source, "tpuv2", output=wanted, passes=[Meddler(how="lie")])
    assert not wanted.exists()
    _, report = roofwright.optimize(source, "tpuv2", output=wanted, passes=[Meddler(how="lie")], check=False)
    assert report.check.ok


def test_what_cannot_be_verified_is_an_error_under_strict() -> None:
    proto = model("g (string[2] x) => (string[2] y) { y = Identity(x) }")
    assert roofwright.optimize(proto, "tpuv2").report.check.status == "not verified"
    with pytest.raises(VerificationError, match="could not be verified: input x of type string"):
        roofwright.optimize(proto, "tpuv2", strict=True)


# ---- numerics
EXACT = """g (float[1,4,8,8] x) => (float[1,8,6,6] y) {
    i = Identity(x)  z = Constant<value_floats=[0.0]>()  a = Conv(i, w)
    s = Sqrt(gamma)  b = BatchNormalization(a, s, beta, mean, var)  c = Relu(b)  y = Relu(c) }"""


def test_exact_keeps_every_bit() -> None:
    proto = model(EXACT, w=(8, 4, 3, 3), gamma=POSITIVE, beta=(8,), mean=(8,), var=POSITIVE)
    made, report = roofwright.optimize(proto, "tpuv2", numerics="exact")
    assert [node.op_type for node in made.graph.node] == ["Conv", "Sqrt", "BatchNormalization", "Relu"] or [
        node.op_type for node in made.graph.node
    ] == ["Sqrt", "Conv", "BatchNormalization", "Relu"]
    assert report.check.max_abs == 0.0
    for seed in range(5):
        inputs = feeds(proto, seed)
        np.testing.assert_array_equal(run(made, inputs)["y"], run(proto, inputs)["y"])
    reasons = {record.rewrite: record.reason for _, record in report.near_misses}
    assert "only 'exact' is allowed" in reasons["fold"]


def test_rounding_is_the_default() -> None:
    proto = model(EXACT, w=(8, 4, 3, 3), gamma=POSITIVE, beta=(8,), mean=(8,), var=POSITIVE)
    made = roofwright.optimize(proto, "tpuv2").model
    assert [node.op_type for node in made.graph.node] == ["Conv", "Relu"]


@dataclass(frozen=True)
class Spy(Pass):
    """Notes what it is told."""

    seen: list[Any] = field(default_factory=list)

    name: ClassVar[str] = "spy"
    summary: ClassVar[str] = "looks on"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Look."""
        self.seen.append(ctx)
        return PassResult()


def test_options_reach_the_passes() -> None:
    spy = Spy()
    proto = model("g (float[N,4] x) => (float[N,4] y) { y = Exp(x) }")
    options: dict[str, Any] = {"numerics": "exact", "fold_limit_bytes": 99, "dims": {"N": 3}}
    _, report = roofwright.optimize(proto, "tpuv2", passes=[spy], resident_weights=True, **options)
    (ctx,) = spy.seen
    assert (ctx.numerics, ctx.fold_limit_bytes, dict(ctx.dims), ctx.resident_weights) == ("exact", 99, {"N": 3}, True)
    assert ctx.target is not None
    assert ctx.target.name == "tpuv2"
    assert report.batch == (3, 3)


QUANTIZED = """g (float[1,4] x) => (float[1,4] y) {
    a = QuantizeLinear(x, s, z)  b = DequantizeLinear(a, s, z)
    c = QuantizeLinear(b, s, z)  y = DequantizeLinear(c, s, z) }"""


ASKED = [({}, 4), ({"enable": ("qdq",)}, 2), ({"passes": ("qdq", "dead-code")}, 2)]


@pytest.mark.parametrize(("options", "left"), ASKED)
def test_a_pass_on_request_runs_only_where_it_is_named(options: Any, left: int) -> None:
    found = model(QUANTIZED, s=np.array(0.5, np.float32), z=np.array(128, np.uint8))
    made = roofwright.optimize(found, "tpuv2", **options).model
    assert len([node for node in made.graph.node if node.op_type.lower().endswith("quantizelinear")]) == left


def test_passes_on_request_keep_their_place() -> None:
    names = [pass_.name for pass_ in build(None, enable=("qdq",))]
    assert names == [name for name in PASSES if name in names]
    assert "qdq" in names
    assert "qdq" not in [pass_.name for pass_ in build(None)]
