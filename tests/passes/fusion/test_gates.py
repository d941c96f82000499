from typing import Any

import onnx_graphsurgeon as gs
import pytest

from roofwright.graph import View, read
from roofwright.passes.fusion import FuseComposites
from roofwright.passes.fusion.gates import WriteGate
from tests.passes.fusion.written_out import C16, HALF, X, case
from tests.passes.harness import PLACES, Case, attributes, build, check, float32, run_pass

CUBE = "p = Pow(x, c3) q = Mul(p, a) w = Add(x, q)"
ERF = "d = Div(x, root) f = Erf(d) o = Add(f, c1)"
CASES = [
    case("gelu, halved last", f"{X} {{ {ERF} t = Mul(x, o) y = Mul(t, half) }}", "Gelu", opset=20),
    case("gelu, halved first", f"{X} {{ h = Mul(half, x) {ERF} y = Mul(h, o) }}", "Gelu"),
    case("gelu, gate halved", f"{X} {{ {ERF} t = Mul(o, half) y = Mul(t, x) }}", "Gelu"),
    case(
        "gelu by a product",
        f"{X} {{ d = Mul(x, inverse) f = Erf(d) o = Add(c1, f) t = Mul(x, o) y = Div(t, c2) }}",
        "Gelu",
    ),
    case("gelu, a sum", f"{X} {{ d = Div(x, root) f = Erf(d) h = Mul(x, half) t = Mul(h, f) y = Add(h, t) }}", "Gelu"),
    case(
        "gelu in float16",
        f"{HALF} {{ {ERF} t = Mul(x, o) y = Mul(t, half) }}",
        "Gelu",
        arrays=C16,
    ),
    case("tanh", f"{X} {{ {CUBE} u = Mul(w, s) t = Tanh(u) o = Add(t, c1) h = Mul(x, half) y = Mul(h, o) }}", "Gelu"),
    case(
        "tanh, cube by products",
        f"{X} {{ i = Mul(x, x) p = Mul(i, x) q = Mul(a, p) w = Add(q, x) u = Mul(s, w) t = Tanh(u) o = Add(c1, t)"
        " h = Mul(half, o) y = Mul(x, h) }",
        "Gelu",
    ),
    case("tanh by a sigmoid", f"{X} {{ {CUBE} u = Mul(w, s2) t = Sigmoid(u) y = Mul(x, t) }}", "Gelu"),
    case("mish", f"{X} {{ f = Softplus(x) t = Tanh(f) y = Mul(x, t) }}", "Mish"),
    case("swish", f"{X} {{ t = Sigmoid(x) y = Mul(t, x) }}", "Swish", opset=24),
    case("quick", f"{X} {{ q = Mul(x, quick) t = Sigmoid(q) y = Mul(x, t) }}", "Swish", opset=24),
    case("opset too old", f"{X} {{ {ERF} t = Mul(x, o) y = Mul(t, half) }}", None, "Gelu came with opset 20", opset=19),
    case(
        "inner reader",
        f"(float[2,5,8] x) => (float[2,5,8] y, float[2,5,8] k) {{ {ERF} t = Mul(x, o) y = Mul(t, half) k = Neg(t) }}",
        None,
        "also read by",
    ),
    case(
        "inner output",
        f"(float[2,5,8] x) => (float[2,5,8] y, float[2,5,8] o) {{ {ERF} t = Mul(x, o) y = Mul(t, half) }}",
        None,
        "output of a graph",
    ),
    case("another root", f"{X} {{ d = Div(x, c2) f = Erf(d) o = Add(f, c1) t = Mul(x, o) y = Mul(t, half) }}", None),
    case("not halved", f"{X} {{ {ERF} y = Mul(x, o) }}", None),
    case(
        "another factor",
        f"(float[2,5,8] x, float[2,5,8] z) => (float[2,5,8] y) {{ {ERF} t = Mul(z, o) y = Mul(t, half) }}",
        None,
    ),
    case(
        "a scalar with more dimensions",
        "(float[8] x) => (float[1,8] y) { d = Div(x, root) f = Erf(d) o = Add(f, c1) t = Mul(x, o) y = Mul(t, l) }",
        None,
        arrays={"l": float32([[0.5]])},
    ),
    case(
        "a value that is no power of the gate's input",
        "(float[2,5,8] x, float[2,5,8] z) => (float[2,5,8] y) { d = Div(x, root) f = Erf(d) o = Add(f, z)"
        " t = Mul(x, o) y = Mul(t, half) }",
        None,
    ),
    case("another function of the input", f"{X} {{ f = Softplus(x) i = Abs(f) t = Tanh(i) y = Mul(x, t) }}", None),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)


@pytest.mark.parametrize(
    ("name", "op", "found"),
    [
        ("tanh", "Gelu", {"approximate": b"tanh"}),
        ("gelu, halved first", "Gelu", {}),
        ("quick", "Swish", {"alpha": pytest.approx(1.702)}),
    ],
)
def test_attributes(name: str, op: str, found: dict[str, Any]) -> None:
    one = next(one for one in CASES if one.name == name)
    assert attributes(run_pass(FuseComposites(), one.model())[1], op) == found


def test_a_chain_of_nodes_that_are_no_gate_takes_linear_time() -> None:
    """Every Tanh reads far behind: the walk from a product to a value before it would go on to the first node."""
    hundred, two_hundred, three_hundred = (_questions(length) for length in (100, 200, 300))
    assert three_hundred - two_hundred < 1.05 * (two_hundred - hundred)


def _questions(length: int) -> int:
    links = " ".join(f"t{i} = Tanh(s{i}) s{i + 1} = Mul(s{i}, t{max(0, i - 5)})" for i in range(length))
    graph = read(build(f"(float[4] s0) => (float[4] s{length}) {{ {links} }}"))
    asked = 0

    class Counting(View):
        def producer(self, tensor: gs.Tensor | None) -> gs.Node | None:
            nonlocal asked
            asked += 1
            return super().producer(tensor)

    view = Counting(graph)
    assert [WriteGate.find(node, view) for node in graph.nodes if node.op == "Tanh"] == [None] * length
    return asked
