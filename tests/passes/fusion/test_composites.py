import dataclasses
from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseComposites
from roofwright.targets import load_target
from tests.passes.harness import PLACES, Case, attributes, build, check, float16, float32, int64, positive, run_pass

IR = {20: 9, 21: 10, 23: 11, 24: 11}
X = "(float[2,5,8] x) => (float[2,5,8] y)"
HALF = "(float16[2,5,8] x) => (float16[2,5,8] y)"
C = {
    **{"c1": float32(1), "c2": float32(2), "c3": float32(3), "half": float32(0.5), "root": float32(np.sqrt(2))},
    **{"inverse": float32(np.sqrt(0.5)), "a": float32(0.044715), "s": float32(np.sqrt(2 / np.pi))},
    **{"s2": float32(np.sqrt(8 / np.pi)), "quick": float32(1.702), "e": float32(1e-5), "power": float32(-0.5)},
}
C16 = {name: float16(value) for name, value in C.items()}
AXES = {"ax": int64([-1]), "both": int64([-2, -1]), "first": int64([1])}
WEIGHTS = {"g": positive(8), "b": positive(8, seed=1), "wide": positive(5, 8, seed=2), "row": positive(5, 1, seed=3)}
CUBE = "p = Pow(x, c3) q = Mul(p, a) w = Add(x, q)"
ERF = "d = Div(x, root) f = Erf(d) o = Add(f, c1)"
CENTRE = "m = ReduceMean(x, ax) d = Sub(x, m)"
VARIANCE = "p = Pow(d, c2) v = ReduceMean(p, ax) z = Add(v, e) r = Sqrt(z)"
SQUARES = "p = Pow(x, c2) v = ReduceMean(p, ax) z = Add(v, e) r = Sqrt(z)"


def case(name: str, text: str, after: str | None, declines: str | None = None, **options: Any) -> Case:
    """A case at opset 23 unless given, with all constants that it names."""
    opset = options.pop("opset", 23)
    given = {**C, **AXES, **WEIGHTS, **options.pop("arrays", {})}
    words = set(text.replace(",", " ").replace("(", " ").replace(")", " ").split())
    arrays = {key: value for key, value in given.items() if key in words}
    return Case(name, text, after, declines, arrays, opset, IR.get(opset, 8), exact=False, **options)


GATES = [
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
]
NORMS = [
    case("layer", f"{X} {{ {CENTRE} {VARIANCE} n = Div(d, r) k = Mul(n, g) y = Add(k, b) }}", "LayerNormalization"),
    case(
        "layer, swapped",
        f"{X} {{ {CENTRE} {VARIANCE} n = Div(d, r) k = Mul(g, n) y = Add(b, k) }}",
        "LayerNormalization",
    ),
    case(
        "layer at opset 17",
        f"{X} {{ m = ReduceMean<axes = [2]>(x) d = Sub(x, m) p = Mul(d, d) v = ReduceMean<axes = [-1]>(p) z = Add(e, v)"
        " r = Sqrt(z) i = Reciprocal(r) n = Mul(d, i) k = Mul(n, g) y = Add(k, b) }",
        "LayerNormalization",
        opset=17,
    ),
    case("no bias", f"{X} {{ {CENTRE} {VARIANCE} n = Div(d, r) y = Mul(n, g) }}", "LayerNormalization"),
    case("no scale", f"{X} {{ {CENTRE} {VARIANCE} y = Div(d, r) }}", "LayerNormalization"),
    case(
        "a bias that broadcasts",
        f"{X} {{ {CENTRE} {VARIANCE} n = Div(d, r) k = Mul(n, g) y = Add(k, half) }}",
        "Add LayerNormalization",
    ),
    case(
        "two axes",
        f"{X} {{ m = ReduceMean(x, both) d = Sub(x, m) p = Pow(d, c2) v = ReduceMean(p, both) z = Add(v, e) r = Sqrt(z)"
        " n = Div(d, r) y = Mul(n, wide) }",
        "LayerNormalization",
    ),
    case(
        "scale with dimensions in front",
        f"{X} {{ {CENTRE} {VARIANCE} n = Div(d, r) k = Mul(n, l) y = Add(k, b) }}",
        "LayerNormalization",
        arrays={"l": positive(1, 1, 8)},
    ),
    case(
        "symbolic batch",
        f"(float[N,S,8] x) => (float[N,S,8] y) {{ {CENTRE} {VARIANCE} n = Div(d, r) k = Mul(n, g) y = Add(k, b) }}",
        "LayerNormalization",
    ),
    case("rms", f"{X} {{ {SQUARES} n = Div(x, r) y = Mul(n, g) }}", "RMSNormalization"),
    case(
        "rms by a reciprocal", f"{X} {{ {SQUARES} i = Reciprocal(r) n = Mul(x, i) y = Mul(g, n) }}", "RMSNormalization"
    ),
    case("rms by one over", f"{X} {{ {SQUARES} i = Div(c1, r) n = Mul(x, i) y = Mul(n, g) }}", "RMSNormalization"),
    case(
        "rms by a power",
        f"{X} {{ p = Mul(x, x) v = ReduceMean(p, ax) z = Add(v, e) i = Pow(z, power) n = Mul(x, i) y = Mul(n, g) }}",
        "RMSNormalization",
    ),
    case(
        "casts around",
        f"{HALF} {{ x32 = Cast<to = 1>(x) p = Pow(x32, c2) v = ReduceMean(p, ax) z = Add(v, e) r = Sqrt(z)"
        " n = Div(x32, r) n16 = Cast<to = 10>(n) y = Mul(l, n16) }",
        "RMSNormalization",
        arrays={"l": positive(8, dtype=np.float16)},
    ),
    case(
        "scale before the cast back",
        f"{HALF} {{ x32 = Cast<to = 1>(x) p = Pow(x32, c2) v = ReduceMean(p, ax) z = Add(v, e) r = Sqrt(z)"
        " n = Div(x32, r) k = Mul(n, g) y = Cast<to = 10>(k) }",
        "Cast Cast RMSNormalization",
    ),
    case(
        "another reader of the cast",
        "(float16[2,5,8] x) => (float16[2,5,8] y, float[2,5,8] k) { x32 = Cast<to = 1>(x) p = Pow(x32, c2)"
        " v = ReduceMean(p, ax) z = Add(v, e) r = Sqrt(z) n = Div(x32, r) y = Cast<to = 10>(n) k = Neg(x32) }",
        "Cast Neg RMSNormalization",
    ),
    case(
        "instance",
        "(float[2,5,4,4] x) => (float[2,5,4,4] y) { m = ReduceMean(x, both) d = Sub(x, m) p = Pow(d, c2)"
        " v = ReduceMean(p, both) z = Add(v, e) r = Sqrt(z) n = Div(d, r) k = Mul(n, l) y = Add(k, o) }",
        "InstanceNormalization",
        arrays={"l": positive(5, 1, 1), "o": positive(1, 5, 1, 1)},
    ),
    case(
        "float16 means",
        f"{HALF} {{ {CENTRE} {VARIANCE} y = Div(d, r) }}",
        None,
        "means are computed in float16",
        arrays=C16,
    ),
    case(
        "opset 16",
        f"{X} {{ m = ReduceMean<axes = [2]>(x) d = Sub(x, m) p = Pow(d, c2) v = ReduceMean<axes = [2]>(p)"
        " z = Add(v, e) r = Sqrt(z) y = Div(d, r) }",
        None,
        "came with opset 17",
        opset=16,
    ),
    case(
        "mean read twice",
        f"(float[2,5,8] x) => (float[2,5,8] y, float[2,5,1] k) {{ {CENTRE} {VARIANCE} y = Div(d, r) k = Neg(m) }}",
        None,
        "also read by",
    ),
    case(
        "another axis",
        f"{X} {{ m = ReduceMean(x, first) d = Sub(x, m) p = Pow(d, c2) v = ReduceMean(p, first)"
        " z = Add(v, e) r = Sqrt(z) y = Div(d, r) }",
        None,
    ),
    case(
        "axes that differ",
        f"{X} {{ m = ReduceMean(x, first) d = Sub(x, m) {VARIANCE} n = Div(d, r) y = Mul(n, g) }}",
        "RMSNormalization ReduceMean Sub",
    ),
    case("the quotient of something else", f"{X} {{ {SQUARES} k = Neg(x) y = Div(k, r) }}", None),
    case(
        "another power", f"{X} {{ p = Pow(x, c3) v = ReduceMean(p, ax) z = Add(v, e) r = Sqrt(z) y = Div(x, r) }}", None
    ),
]
GROUPED = (
    "(float[2,6,4,4] x) => (float[2,6,4,4] y) { t = Reshape(x, into)"
    " i = InstanceNormalization<epsilon = 0.001>(t, l, o) u = Reshape(i, back) k = Mul(u, gc) y = Add(k, bc) }"
)
GROUPS = {
    **{"into": int64([0, 3, -1]), "back": int64([2, 6, 4, 4]), "l": float32([1, 1, 1]), "o": float32([0, 0, 0])},
    **{"gc": positive(6, 1, 1), "bc": positive(1, 6, 1, 1), "l2": float32([1, 2, 1]), "flat": int64([2, 6, 16])},
}
GROUP = [
    case("group", GROUPED, "GroupNormalization", arrays=GROUPS),
    case(
        "group, no scale",
        "(float[N,6,4,4] x) => (float[N,6,4,4] y) { t = Reshape(x, into) i = InstanceNormalization(t, l, o)"
        " y = Reshape(i, all) }",
        "GroupNormalization",
        arrays={**GROUPS, "all": int64([-1, 6, 4, 4])},
    ),
    case("group before opset 21", GROUPED, None, "came with opset 21", arrays=GROUPS, opset=20),
    case("groups with scales", GROUPED.replace("t, l,", "t, l2,"), None, arrays=GROUPS),
    case(
        "reshaped to something else",
        GROUPED.replace("float[2,6,4,4] y", "float[2,6,16] y")
        .replace("back", "flat")
        .replace(" k = Mul(u, gc) y = Add(k, bc)", " y = Neg(u)"),
        None,
        arrays=GROUPS,
    ),
]
SOFT = "h = ReduceMax(x, ax) d = Sub(x, h) k = Exp(d)"
SOFTMAX = [
    case("softmax", f"{X} {{ {SOFT} t = ReduceSum(k, ax) y = Div(k, t) }}", "Softmax"),
    case(
        "softmax of another axis",
        f"{X} {{ h = ReduceMax<axes = [1]>(x) d = Sub(x, h) k = Exp(d) t = ReduceSum(k, first) y = Div(k, t) }}",
        "Softmax",
        opset=13,
    ),
    case(
        "opset 12",
        f"{X} {{ h = ReduceMax<axes = [1]>(x) d = Sub(x, h) k = Exp(d) t = ReduceSum<axes = [1]>(k) y = Div(k, t) }}",
        None,
        "came with opset 13",
        opset=12,
    ),
    case("axes that differ", f"{X} {{ {SOFT} t = ReduceSum(k, first) y = Div(k, t) }}", None),
    case("no maximum", f"{X} {{ k = Exp(x) t = ReduceSum(k, ax) y = Div(k, t) }}", None),
]
ROTATED = "(float[2,3,5,8] x) => (float[2,3,5,8] y)"
CUTS = "l = Slice(x, i0, i4, i3) h = Slice(x, i4, i9, i3) n = Neg(h) c = Concat<axis = -1>(n, l)"
TURN = f"{CUTS} t = Mul(x, cos) u = Mul(c, sin) y = Add(t, u)"
ANGLES = np.outer(np.arange(5), 0.5 ** np.arange(4)).astype(np.float32)
TABLES: dict[str, Any] = {
    "cos": np.cos(np.concatenate([ANGLES, ANGLES], 1))[None, None],
    "sin": np.sin(np.concatenate([ANGLES, ANGLES], 1))[None, None],
    **{f"i{value}": int64([value]) for value in (0, 3, 4, 9)},
}
UNEQUAL = np.arange(40, dtype=np.float32).reshape(1, 1, 5, 8)
ROTARY = [
    case("rotary", f"{ROTATED} {{ {TURN} }}", "RotaryEmbedding", arrays=TABLES),
    case(
        "rotary by a Split",
        f"{ROTATED} {{ l, h = Split<axis = 3, num_outputs = 2>(x) n = Neg(h)"
        " c = Concat<axis = 3>(n, l) t = Mul(cos, x) u = Mul(sin, c) y = Add(u, t) }",
        "RotaryEmbedding",
        arrays=TABLES,
    ),
    case("halves that differ", f"{ROTATED} {{ {TURN} }}", None, "two equal halves", arrays={**TABLES, "cos": UNEQUAL}),
    case(
        "symbolic batch",
        f"(float[N,3,5,8] x) => (float[N,3,5,8] y) {{ {TURN} }}",
        None,
        "two equal halves",
        arrays=TABLES,
    ),
    case("opset 22", f"{ROTATED} {{ {TURN} }}", None, "came with opset 23", arrays=TABLES, opset=21),
    case(
        "halves not swapped",
        f"{ROTATED} {{ l = Slice(x, i0, i4, i3) h = Slice(x, i4, i9, i3) n = Neg(l)"
        " c = Concat<axis = -1>(n, h) t = Mul(x, cos) u = Mul(c, sin) y = Add(t, u) }",
        None,
        arrays=TABLES,
    ),
]
QKV = "(float[2,3,5,8] q, float[2,3,7,8] k, float[2,3,7,4] v{}) => (float[2,3,5,4] y)"
TURNED = "t = Transpose<perm = [0, 1, 3, 2]>(k)"
WEIGHED = "p = Softmax<axis = -1>({}) y = MatMul(p, v)"
ATTENTION = [
    case(
        "attention",
        f"{QKV.format('')} {{ {TURNED} l = MatMul(q, t) w = Mul(l, a) {WEIGHED.format('w')} }}",
        "Attention",
    ),
    case("attention, no scale", f"{QKV.format('')} {{ {TURNED} l = MatMul(q, t) {WEIGHED.format('l')} }}", "Attention"),
    case(
        "attention, scaled before",
        f"{QKV.format('')} {{ {TURNED} i = Mul(q, half) j = Mul(t, a) l = MatMul(i, j)"
        f" w = Div(l, c2) {WEIGHED.format('w')} }}",
        "Attention",
    ),
    case(
        "masked",
        f"{QKV.format(', float[2,1,5,7] m')} {{ {TURNED} l = MatMul(q, t) w = Mul(l, a) n = Add(w, m)"
        f" {WEIGHED.format('n')} }}",
        "Attention",
    ),
    case(
        "masked by a matrix",
        f"{QKV.format(', float[5,7] m')} {{ {TURNED} l = MatMul(q, t) n = Add(m, l) {WEIGHED.format('n')} }}",
        "Attention",
    ),
    case(
        "keys turned twice",
        "(float[2,3,5,8] q, float[2,7,3,8] k, float[2,3,7,4] v) => (float[2,3,5,4] y) {"
        f" t = Transpose<perm = [0, 2, 3, 1]>(k) l = MatMul(q, t) {WEIGHED.format('l')} }}",
        "Attention Transpose",
    ),
    case(
        "a mask for keys alone",
        f"{QKV.format(', float[2,1,1,7] m')} {{ {TURNED} l = MatMul(q, t) n = Add(l, m) {WEIGHED.format('n')} }}",
        None,
        "one value for every query and key",
    ),
    case(
        "a mask for queries alone",
        f"{QKV.format(', float[5,1] m')} {{ {TURNED} l = MatMul(q, t) n = Add(l, m) {WEIGHED.format('n')} }}",
        None,
        "one value for every query and key",
    ),
    case(
        "shared keys",
        "(float[2,3,5,8] q, float[1,3,7,8] k, float[2,3,7,4] v) => (float[2,3,5,4] y) {"
        f" {TURNED} l = MatMul(q, t) {WEIGHED.format('l')} }}",
        None,
        "not known to be equal",
    ),
    case(
        "weights read twice",
        f"{QKV.format('').replace('y)', 'y, float[2,3,5,7] o)')} {{ {TURNED} l = MatMul(q, t)"
        f" {WEIGHED.format('l')} o = Neg(p) }}",
        None,
    ),
    case(
        "logits read twice",
        f"{QKV.format('').replace('y)', 'y, float[2,3,5,7] o)')} {{ {TURNED} l = MatMul(q, t)"
        f" {WEIGHED.format('l')} o = Neg(l) }}",
        None,
        "also read by",
    ),
    case(
        "softmax of another axis",
        f"{QKV.format('').replace('5,4]', '5,4]')} {{ {TURNED} l = MatMul(q, t)"
        " p = Softmax<axis = 2>(l) y = MatMul(p, v) }",
        None,
    ),
]
REPEAT = "{0}u = Unsqueeze({0}, two) {0}e = Expand({0}u, wide) {0}r = Reshape({0}e, flat)"
REPEATS = f"{REPEAT.format('k')} {REPEAT.format('v')}"
SHARED: dict[str, Any] = {"two": int64([2]), "wide": int64([1, 1, 3, 1, 1]), "flat": int64([2, 6, 7, 8])}
KV = "float[2,6,5,8] q, float[2,2,7,8] k, float[2,2,7,8] v"
HEADS = [
    case(
        "shared heads",
        f"({KV}) => (float[2,6,5,8] y) {{ {REPEATS} y = Attention(q, kr, vr) }}",
        "Attention",
        arrays=SHARED,
    ),
    case(
        "heads repeated in blocks",
        f"({KV}) => (float[2,6,5,8] y) {{ {REPEATS.replace('two', 'one')} y = Attention(q, kr, vr) }}",
        None,
        arrays={**SHARED, "one": int64([1]), "wide": int64([1, 3, 1, 1, 1])},
    ),
    case(
        "keys alone are repeated",
        "(float[2,6,5,8] q, float[2,2,7,8] k, float[2,6,7,8] v) => (float[2,6,5,8] y)"
        f" {{ {REPEAT.format('k')} y = Attention(q, kr, v) }}",
        None,
        arrays=SHARED,
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", [*GATES, *NORMS, *GROUP, *SOFTMAX, *ROTARY, *ATTENTION, *HEADS], ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)


@pytest.mark.parametrize(
    ("name", "op", "found"),
    [
        ("group", "GroupNormalization", {"num_groups": 3, "epsilon": pytest.approx(0.001)}),
        ("layer", "LayerNormalization", {"axis": -1, "epsilon": pytest.approx(1e-5)}),
        ("two axes", "LayerNormalization", {"axis": -2, "epsilon": pytest.approx(1e-5)}),
        ("tanh", "Gelu", {"approximate": b"tanh"}),
        ("gelu, halved first", "Gelu", {}),
        ("quick", "Swish", {"alpha": pytest.approx(1.702)}),
        ("attention, scaled before", "Attention", {"scale": pytest.approx(0.5 * 0.044715 / 2)}),
    ],
)
def test_attributes(name: str, op: str, found: dict[str, Any]) -> None:
    one = next(one for one in (*GATES, *NORMS, *GROUP, *ATTENTION) if one.name == name)
    assert attributes(run_pass(FuseComposites(), one.model())[1], op) == found


def test_the_stack_says_which_operators_are_written() -> None:
    one = GATES[0]
    target = load_target("host")
    none = dataclasses.replace(target, stack=dataclasses.replace(target.stack, composites=()))
    assert run_pass(FuseComposites(), one.model(), target=target)[2].changed
    result = run_pass(FuseComposites(), one.model(), target=none)[2]
    assert [record.reason for record in result.records] == [
        "stack onnxruntime-cpu does not list Gelu among its kernels; the nodes stay as they are"
    ]


def test_what_is_rounding_stays_where_only_exact_is_allowed() -> None:
    assert not run_pass(FuseComposites(), GATES[0].model(), numerics="exact")[2].changed


def test_the_opset_stays() -> None:
    for one in (GATES[0], GATES[12]):
        before, after, _ = run_pass(FuseComposites(), one.model())
        assert list(before.opset_import) == list(after.opset_import)


def test_a_chain_of_nodes_that_are_no_gate_takes_linear_time() -> None:
    links = " ".join(f"s{i + 1} = Mul(s{i}, s{i}) t{i} = Tanh(s{i + 1})" for i in range(400))
    text = f"(float[4] s0) => (float[4] t399) {{ {links} }}"
    assert not run_pass(FuseComposites(), build(text), tidy=False)[2].changed
