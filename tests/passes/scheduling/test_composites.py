from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest

from roofwright.cost_model import GraphModel, estimate
from roofwright.graph import read, run_model
from roofwright.passes import Options, optimize_graph
from roofwright.passes.base import Context
from roofwright.passes.scheduling import Kernels
from roofwright.passes.scheduling.composites import composites
from roofwright.targets import load_target
from tests.builders import feeds
from tests.machine.machine import Machine
from tests.machine.targets import TARGETS
from tests.passes.harness import build, in_body
from tests.scheduling import ALL_EPILOGUES, scratchpad

NORM = (
    "m = ReduceMean<axes = [-1]>(h) d = Sub(h, m) p = Pow(d, c2) v = ReduceMean<axes = [-1]>(p) z = Add(v, e)"
    " r = Sqrt(z) n = Div(d, r) k = Mul(n, g) {} = Add(k, b)"
)
GELU = "u = Div(o, root) f = Erf(u) s = Add(f, c1) t = Mul(o, s) y = Mul(t, half)"
WEIGHTS: dict[str, Any] = {
    **{"c1": np.float32(1), "c2": np.float32(2), "e": np.float32(1e-5), "half": np.float32(0.5)},
    **{"root": np.float32(2**0.5), "g": np.ones(8, np.float32), "b": np.zeros(8, np.float32)},
    "w": np.ones((8, 8), np.float32),
}
BLOCK = f"(float[4,8] x) => (float[4,8] y) {{ h = Exp(x) {NORM.format('j')} o = MatMul(j, w) {GELU} }}"


def named(text: str, weights: Mapping[str, Any], *, opset: int = 17) -> onnx.ModelProto:
    """A model with those of the weights that its text names."""
    words = set(text.replace(",", " ").replace("(", " ").replace(")", " ").split())
    return build(text, {name: value for name, value in weights.items() if name in words}, opset=opset)


def kernels(text: str, *, fuses: tuple[str, ...]) -> list[str]:
    graph = read(named(text, WEIGHTS))
    schedule = Kernels().run(graph, Context(target=scratchpad(1 << 20, fuses=fuses))).schedule
    assert schedule is not None
    return [" ".join(node.op for node in kernel.nodes) for kernel in schedule.kernels]


NINE = "ReduceMean Sub Pow ReduceMean Add Sqrt Div Mul Add"
FIVE = "Div Erf Add Mul Mul"


@pytest.mark.parametrize(
    ("fuses", "expected"),
    [
        ((), ["Exp", NINE, "MatMul", FIVE]),
        (("activation",), ["Exp", NINE, "MatMul", FIVE]),
        (("bias", "activation"), ["Exp", NINE, f"MatMul {FIVE}"]),
        (ALL_EPILOGUES, ["Exp", NINE, f"MatMul {FIVE}"]),
    ],
)
def test_a_composite_is_one_kernel(fuses: tuple[str, ...], expected: list[str]) -> None:
    assert kernels(BLOCK, fuses=fuses) == expected


def test_what_is_read_from_outside_keeps_its_kernel() -> None:
    text = f"(float[4,8] x) => (float[4,8] y, float[4,1] r) {{ h = Exp(x) {NORM.format('y')} }}"
    assert NINE not in kernels(text, fuses=())


def test_no_node_is_in_two_groups() -> None:
    text = "(float[4,8] x) => (float[4,8] y) { i = Sigmoid(x) h = Mul(x, i) j = Sigmoid(h) y = Mul(h, j) }"
    assert sorted(keys for _, keys in composites(read(build(text)))) == [("i", "h"), ("j", "y")]


def test_bodies_have_composites_of_their_own() -> None:
    text = f"(float[4,8] h) => (float[4,8] y) {{ {NORM.format('y')} }}"
    arrays = {name: WEIGHTS[name] for name in ("c2", "e", "g", "b")}
    graph = read(in_body(build(text, arrays), weights_inside=True))
    assert [len(keys) for _, keys in composites(graph)] == [9]


@pytest.mark.parametrize("target", ["host", "tpuv2", "v100", "kirin970"])
def test_a_composite_costs_no_more_than_its_nodes(target: str) -> None:
    text = f"(float[64,256] x) => (float[64,256] y) {{ h = Exp(x) {NORM.format('y')} }}"
    arrays = {
        **{name: WEIGHTS[name] for name in ("c2", "e")},
        "g": np.ones(256, np.float32),
        "b": np.zeros(256, np.float32),
    }
    graph, machine = read(build(text, arrays)), load_target(target)
    schedule = Kernels().run(graph, Context(target=machine)).schedule
    graph_model = GraphModel.of(graph)
    assert estimate(graph_model, machine, schedule).latency_s < estimate(graph_model, machine).latency_s


SOFTMAX = "h = ReduceMax<axes = [-1]>(x) d = Sub(x, h) k = Exp(d) t = ReduceSum(k, last) y = Div(k, t)"
LOG_SOFTMAX = SOFTMAX.replace("y = Div(k, t)", "i = Log(t) y = Sub(d, i)")
ROTARY = (
    "l = Slice(x, i0, i8, i3) h = Slice(x, i8, i16, i3) n = Neg(h) c = Concat<axis = -1>(n, l) t = Mul(x, table)"
    " u = Mul(c, table) y = Add(t, u)"
)
TABLES = {
    **{f"i{value}": np.asarray([value]) for value in (0, 3, 8, 16)},
    **{"last": np.asarray([-1]), "table": np.linspace(-1, 1, 768, dtype=np.float32).reshape(1, 1, 48, 16)},
    **{"g": np.linspace(1, 2, 64, dtype=np.float32), "b": np.linspace(0, 1, 64, dtype=np.float32)},
}
WRITTEN_OUT = {
    "norm": f"(float[48,64] x) => (float[48,64] y) {{ h = Exp(x) {NORM.format('j')} y = Neg(j) }}",
    "gelu": f"(float[48,64] o) => (float[48,64] y) {{ {GELU} }}",
    "softmax": f"(float[48,64] x) => (float[48,64] y) {{ {SOFTMAX} }}",
    "log softmax": f"(float[48,64] x) => (float[48,64] y) {{ {LOG_SOFTMAX} }}",
    "rotary": f"(float[2,4,48,16] x) => (float[2,4,48,16] y) {{ {ROTARY} }}",
}


@pytest.mark.parametrize("machine", TARGETS)
@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_the_tiles_of_a_composite_give_its_result(name: str, machine: str) -> None:
    proto = named(WRITTEN_OUT[name], {**WEIGHTS, **TABLES}, opset=13)
    graph, report = optimize_graph(read(proto), TARGETS[machine], Options(check=False, skip=("fuse-composites",)))
    assert report.schedule is not None
    assert max(len(kernel.nodes) for kernel in report.schedule.kernels) >= 5
    found = Machine(graph, TARGETS[machine], report.schedule).run(feeds(proto))
    assert not any(kernel.streamed for kernel in found.kernels)
    for output, value in run_model(proto, feeds(proto)).items():
        np.testing.assert_allclose(found.outputs[output], value, atol=1e-4, rtol=1e-4)
