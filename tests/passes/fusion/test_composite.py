from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from roofwright.graph import UnsupportedError, View, read, session
from roofwright.passes.base import Context, Decline
from roofwright.passes.fusion import FuseComposites
from roofwright.passes.fusion.composite import STANDARDS, accept, lone, pair, read_by, with_scalar
from roofwright.passes.fusion.weights import closed
from roofwright.targets import load_target
from tests.passes.fusion.written_out import case
from tests.passes.harness import PLACES, Case, build, check, float16, float32, float64, run_pass

IO = "(float[2,9] x, float[2,9] z) => (float[2,9] y)"
CONSTANTS = {"c": float32(0.5), "up": float32([[[0.5]]]), "row": float32([0.5] * 9)}


def _last(text: str) -> tuple[Any, View]:
    graph = read(build(f"{IO} {{ i = Neg(x) {text} }}", CONSTANTS))
    return graph.nodes[-1], View(graph)


@pytest.mark.parametrize(
    ("text", "operand"),
    [
        ("y = Mul(x, c)", "x"),
        ("y = Mul(c, x)", "x"),
        ("y = Max(c, x)", "x"),
        ("y = Sub(x, c)", "x"),
        ("y = Div(x, c)", "x"),
        ("y = Sub(c, x)", None),
        ("y = Mul(x, z)", None),
        ("y = Mul(x, row)", None),
        ("y = Max(x, c, z)", None),
        ("y = Exp(x)", None),
        ("y = Pow(x, c)", None),
    ],
)
def test_a_node_with_one_scalar(text: str, operand: str | None) -> None:
    node, view = _last(text)
    found = with_scalar(node, view, "Mul", "Max", "Sub", "Div")
    assert (None if found is None else (found.operand.name, found.value, found.node is node)) == (
        None if operand is None else (operand, 0.5, True)
    )


def test_a_scalar_with_more_dimensions_is_none() -> None:
    graph = read(build("(float[2,9] x) => (float[1,2,9] y) { y = Mul(x, up) }", CONSTANTS))
    view = View(graph)
    up = graph.nodes[0].inputs[1]
    assert with_scalar(graph.nodes[0], view, "Mul") is None
    assert lone(up, graph.inputs[0], view) is None
    assert lone(up, up, view) == 0.5


@pytest.mark.parametrize(("op", "other"), [("Mul", "z"), ("Add", None)])
def test_the_other_operand(op: str, other: str | None) -> None:
    for text in ("y = Mul(i, z)", "y = Mul(z, i)"):
        node, view = _last(text)
        inner = view.graph.nodes[0].outputs[0]
        for found in (pair(node, view, op, inner), read_by(inner, view, op)):
            assert (found is not None and found[0] is node and found[1].name) == (False if other is None else other)
        assert pair(node, view, "Mul", view.graph.inputs[0]) is None


def test_one_of_two_readers_is_not_the_only_one() -> None:
    _, view = _last("k = Exp(i) y = Mul(i, k)")
    assert read_by(view.graph.nodes[0].outputs[0], view, "Mul") is None


GELU = "d = Div(x, root) f = Erf(d) o = Add(f, c1) t = Mul(x, o) y = Mul(t, half)"
DOUBLES = {
    **{"c1": float64(1), "c3": float64(3), "half": float64(0.5), "a": float64(0.044715)},
    "s": float64(np.sqrt(2 / np.pi)),
}
CASES = [
    case("no pattern", "(float[2,9] x) => (float[2,9] y) { y = Erf(x) }", None),
    case("its opset", f"(float[2,9] x) => (float[2,9] y) {{ {GELU} }}", "Gelu", opset=20),
    case("an older opset", f"(float[2,9] x) => (float[2,9] y) {{ {GELU} }}", None, "came with opset 20", opset=19),
    case(
        "a type that is not run",
        "(double[2,9] x) => (double[2,9] y) { p = Pow(x, c3) q = Mul(p, a) w = Add(x, q) u = Mul(w, s) t = Tanh(u)"
        " o = Add(t, c1) h = Mul(x, half) y = Mul(h, o) }",
        None,
        "onnxruntime does not run Gelu of float64",
        arrays=DOUBLES,
    ),
    case(
        "nodes that mean something else",
        "(float16[2,9] x) => (float16[2,9] y) { p = Mul(x, x) v = ReduceMean(p, ax) z = Add(v, e) r = Sqrt(z)"
        " y = Div(x, r) }",
        None,
        "means are computed in float16",
        arrays={"e": float16(1e-3)},
    ),
    case(
        "an opset that is not run",
        "(float[2,9] x) => (float[2,9] y) { t = Sigmoid(x) y = Mul(x, t) }",
        None,
        "onnxruntime does not run Swish of float32 at opset 25",
        opset=25,
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)


def test_the_opset_stays() -> None:
    before, after, _ = run_pass(FuseComposites(), CASES[1].model())
    assert list(before.opset_import) == list(after.opset_import)


@pytest.mark.parametrize(
    ("op", "target", "accepted"),
    [
        ("Gelu", "host", True),
        ("Gelu", None, True),
        ("Mish", "host", False),
        ("Softmax", "host", True),
        ("InstanceNormalization", "host", True),
    ],
)
def test_what_the_stack_accepts(op: str, target: str | None, accepted: bool) -> None:
    ctx = Context(target=None if target is None else load_target(target))
    if accepted:
        accept(op, ctx)
        return
    with pytest.raises(Decline, match=f"does not list {op}"):
        accept(op, ctx)


_PORTS = {
    "Attention": ("[2,3,5,8]", "[2,3,5,8]", "[2,3,5,8]"),
    "GroupNormalization": ("[2,4,3]", "[4]", "[4]"),
    "InstanceNormalization": ("[2,4,3]", "[4]", "[4]"),
    "LayerNormalization": ("[2,8]", "[8]"),
    "RMSNormalization": ("[2,8]", "[8]"),
    "RotaryEmbedding": ("[2,3,4,8]", "[2,4,4]", "[2,4,4]"),
}


def _loads(op: str, dtype: str, opset: int) -> bool:
    """Whether onnxruntime loads a model of this operator alone."""
    kind = {"float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}[dtype]
    shapes = [[int(size) for size in shape[1:-1].split(",")] for shape in _PORTS.get(op, ("[2,8]",))]
    ports = [helper.make_tensor_value_info(f"i{at}", kind, shape) for at, shape in enumerate(shapes)]
    attrs: dict[str, Any] = {"num_groups": 2} if op == "GroupNormalization" else {}
    node = helper.make_node(op, [port.name for port in ports], ["y"], **attrs)
    graph = helper.make_graph([node], "g", ports, [helper.make_tensor_value_info("y", kind, None)])
    try:
        session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10))
    except UnsupportedError:
        return False
    return True


@pytest.mark.parametrize("op", STANDARDS)
def test_onnxruntime_runs_what_may_be_written(op: str) -> None:
    standard = STANDARDS[op]
    newest = standard.last or onnx.defs.onnx_opset_version()
    failing = [
        (dtype, opset)
        for dtype in standard.dtypes
        for opset in range(standard.first, newest + 1)
        if not _loads(op, dtype, opset)
    ]
    assert failing == []


def test_what_is_left_out_does_not_run() -> None:
    newest = onnx.defs.onnx_opset_version()
    left_out = [(op, "float64") for op, standard in STANDARDS.items() if "float64" not in standard.dtypes]
    ended = [(op, "float32") for op, standard in STANDARDS.items() if standard.last is not None]
    assert [one for one in (*left_out, *ended) if _loads(*one, newest)] == []


def test_a_value_of_a_pattern_that_is_an_output_too() -> None:
    graph = read(build("(float[2] x) => (float[2] a, float[2] y) { a = Neg(x) y = Abs(a) }"))
    with pytest.raises(Decline, match="'a' is an output of a graph"):
        closed(graph.nodes, View(graph))
