from typing import Any

import pytest

from roofwright.passes.layout import MoveTransposes
from tests.passes.harness import PLACES, Case, build, check, float32, int64, ops, positive, random, run_pass, same

TO_LAST, TO_SECOND = "perm = [0,2,3,1]", "perm = [0,3,1,2]"
IMAGE = "(float[1,3,5,4] x) => (float[1,3,5,4] y)"

UNKNOWN = "(float[1,3,5,4] x, bool[4] flags) => (float[4,5,3,1] y) { s0 = Compress(sizes, flags) u = Reshape(x, s0)"


def inside(middle: str, ports: str = IMAGE) -> str:
    """Nodes between a Transpose to channels last and one back: they read `a` and make `b`."""
    return f"{ports} {{ a = Transpose<{TO_LAST}>(x) {middle} y = Transpose<{TO_SECOND}>(b) }}"


def case(name: str, middle: str, after: str | None, ports: str = IMAGE, **more: Any) -> Case:
    return Case(name, inside(middle, ports), after, **more)


CASES = [
    case("1: unary", "r = Relu(a) b = Sigmoid(r)", "Relu Sigmoid"),
    case("1: a constant of rank 1 lies along the channels", "b = Add(a, k)", "Add", arrays={"k": random(3)}),
    case("1: a constant of rank 3", "b = Mul(k, a)", "Mul", arrays={"k": random(5, 1, 3)}),
    case("1: a constant of full rank", "b = Mul(k, a)", "Mul", arrays={"k": random(1, 5, 4, 3)}),
    case("1: a computation of constants", "n = Neg(k) b = Mul(n, a)", "Mul Neg", arrays={"k": random(1, 5, 4, 3)}),
    case("1: a scalar", "b = Mul(k, a)", "Mul", arrays={"k": float32(3)}),
    case(
        "1: PRelu, Clip and Where",
        "p = PRelu(a, s) c = Clip(p, low) m = Less(c, p) b = Where(m, p, c)",
        "Clip Less PRelu Where",
        arrays={"s": random(3), "low": float32(-1)},
    ),
    case(
        "1: two operands, one of which broadcasts",
        "r = ReduceMean<axes = [1, 2]>(a) b = Mul(a, r)",
        "Mul ReduceMean",
        exact=False,
    ),
    case(
        "2: Concat",
        "r = Relu(a) b = Concat<axis = -1>(a, r)",
        "Concat Relu",
        "(float[1,3,5,4] x) => (float[1,6,5,4] y)",
    ),
    case(
        "2: Concat of a constant",
        "b = Concat<axis = 3>(a, k)",
        "Concat",
        "(float[1,3,5,4] x) => (float[1,4,5,4] y)",
        arrays={"k": random(1, 5, 4, 1)},
    ),
    case(
        "2: Split", "c, d = Split<axis = 2>(a) b = Add(c, d)", "Add Split", "(float[1,3,5,4] x) => (float[1,3,5,2] y)"
    ),
    case(
        "2: Slice",
        "b = Slice(a, from, to, axes)",
        "Slice",
        "(float[1,3,5,4] x) => (float[1,2,4,4] y)",
        arrays={"from": int64([1, 1]), "to": int64([5, 3]), "axes": int64([1, -1])},
    ),
    case(
        "2: Slice before opset 10",
        "b = Slice<starts = [1], ends = [9], axes = [3]>(a)",
        "Slice",
        "(float[1,3,5,4] x) => (float[1,2,5,4] y)",
        opset=9,
    ),
    case(
        "2: Pad",
        "b = Pad(a, pads)",
        "Pad",
        "(float[1,3,5,4] x) => (float[1,3,8,4] y)",
        arrays={"pads": int64([0, 1, 0, 0, 0, 2, 0, 0])},
    ),
    case(
        "2: Pad before opset 11",
        "b = Pad<pads = [0,1,0,0,0,2,0,0]>(a)",
        "Pad",
        "(float[1,3,5,4] x) => (float[1,3,8,4] y)",
        opset=10,
    ),
    case(
        "2: Reduce with its axes as input",
        "r = ReduceMax(a, axes) b = Sub(a, r)",
        "ReduceMax Sub",
        arrays={"axes": int64([2, 3])},
        opset=18,
    ),
    case("2: ArgMax", "i = ArgMax<axis = 3>(a) c = Cast<to = 1>(i) b = Mul(c, a)", "ArgMax Cast Mul"),
    case(
        "2: quantised, one scale per channel",
        "q = QuantizeLinear<axis = 3>(a, s) b = DequantizeLinear<axis = 3>(q, s)",
        "DequantizeLinear QuantizeLinear",
        arrays={"s": float32([0.1, 0.2, 0.3])},
    ),
    case(
        "2: quantised, one scale",
        "q = QuantizeLinear(a, s) b = DequantizeLinear(q, s)",
        "DequantizeLinear QuantizeLinear",
        arrays={"s": float32(0.1)},
    ),
    Case(
        "2: Softmax along the last axis after the Transposes",
        f"{IMAGE} {{ a = Transpose<perm = [0,1,3,2]>(x) r = Softmax<axis = 2>(a) y = Transpose<perm = [0,1,3,2]>(r) }}",
        "Softmax",
        exact=False,
    ),
    Case(
        "3: a reduction that drops its axes",
        f"(float[2,3,5,4] x) => (float[2,3] y) {{ a = Transpose<{TO_LAST}>(x) r = Relu(a) y = ReduceMean<axes ="
        f" [1,2], keepdims = 0>(r) }}",
        "ReduceMean Relu",
        exact=False,
    ),
    Case(
        "3: ArgMax that drops its axis",
        f"(float[2,3,5,4] x) => (int64[2,5,4] y) {{ a = Transpose<{TO_LAST}>(x) y = ArgMax<axis = 3, keepdims ="
        f" 0>(a) }}",
        "ArgMax",
    ),
    Case(
        "3: Squeeze",
        f"(float[2,3,5,4] x) => (float[2,3] y) {{ a = Transpose<{TO_LAST}>(x) r = ReduceMax<axes = [1,2]>(a) y"
        f" = Squeeze(r, axes) }}",
        "ReduceMax Squeeze",
        arrays={"axes": int64([1, 2])},
    ),
    Case(
        "3: Flatten",
        f"(float[2,3,5,4] x) => (float[2,3] y) {{ a = Transpose<{TO_LAST}>(x) r = ReduceMax<axes = [1,2]>(a) y"
        f" = Flatten(r) }}",
        "Flatten ReduceMax",
    ),
    Case(
        "3: Reshape",
        f"(float[2,3,5,4] x) => (float[2,3] y) {{ a = Transpose<{TO_LAST}>(x) r = ReduceMax<axes = [1,2]>(a) y"
        f" = Reshape(r, to) }}",
        "ReduceMax Reshape",
        arrays={"to": int64([-1, 3])},
    ),
    Case(
        "4: another permutation",
        f"(float[1,3,5,4] x) => (float[1,5,4,3] y, float[1,4,5,3] z) {{ a = Transpose<{TO_LAST}>(x) b = Relu(a)"
        f" c = Transpose<{TO_SECOND}>(b) y0 = Neg(c) y = Transpose<{TO_LAST}>(y0)"
        " z = Transpose<perm = [0,2,1,3]>(b) }",
        "Neg Relu Transpose Transpose",
    ),
    Case(
        "5: an output in the old layout",
        f"(float[1,3,5,4] x) => (float[1,5,4,3] y, float[1,3,5,4] z) {{ a = Transpose<{TO_LAST}>(x) r = Relu(a)"
        f" b = Neg(r)"
        f" y = Neg(r) z = Transpose<{TO_SECOND}>(b) }}",
        "Neg Neg Relu Transpose",
    ),
    Case(
        "5: to where the tensor is smaller",
        f"(float[1,3,5,4] x) => (float[1,5,1,1] y) {{ a = Transpose<{TO_LAST}>(x) y = ReduceMax<axes = [2,3]>(a) }}",
        "ReduceMax Reshape",
    ),
    Case(
        "5: above, to where the tensor is smaller",
        f"(float[1,3,5,4] x) => (float[1,5,4,6] y) {{ a = Concat<axis = 1>(x, x) y = Transpose<{TO_LAST}>(a) }}",
        "Concat Transpose",
    ),
    Case(
        "5: before a Pad",
        f"(float[1,3,5,4] x) => (float[1,9,4,3] y) {{ a = Pad(x, pads) y = Transpose<{TO_LAST}>(a) }}",
        "Pad Transpose",
        arrays={"pads": int64([0, 0, 2, 0, 0, 0, 2, 0])},
    ),
    Case(
        "6: only ones move",
        "(float[2,3,1,1] x) => (float[2,1,1,3] y) { y = Transpose<perm = [0,2,3,1]>(x) }",
        "Reshape",
    ),
    Case(
        "6: one size is not known",
        '(float["n","c",1,1] x) => (float["n",1,1,"c"] y) { y = Transpose<perm = [0,2,3,1]>(x) }',
        "Reshape",
    ),
    Case(
        "6: two sizes that move are not known",
        '(float[1,"h","w",3] x) => (float["h","w",1,3] y) { y = Transpose<perm = [1,2,0,3]>(x) }',
    ),
    Case("6: data moves", "(float[2,3,1,2] x) => (float[2,1,2,3] y) { y = Transpose<perm = [0,2,3,1]>(x) }"),
    Case(
        "7: a product with a constant, and a bias",
        "(float[2,3,4] x) => (float[2,5,4] y) { a = Transpose<perm = [0,2,1]>(x) m = MatMul(a, w) b = Add(m, k)"
        " r = Relu(b) y = Transpose<perm = [0,2,1]>(r) }",
        "Add MatMul Relu",
        arrays={"w": random(3, 5), "k": random(5)},
        exact=False,
    ),
    Case(
        "7: a square matrix",
        "(float[2,3,4] x) => (float[2,3,4] y) { a = Transpose<perm = [0,2,1]>(x) m = MatMul(a, w)"
        " y = Transpose<perm = [0,2,1]>(m) }",
        "MatMul",
        arrays={"w": random(3, 3)},
        exact=False,
    ),
    Case(
        "7: two products",
        "(float[2,3,9] x) => (float[2,5,9] y) { a = Transpose<perm = [0,2,1]>(x) m = MatMul(a, w) n = MatMul(m, v)"
        " y = Transpose<perm = [0,2,1]>(n) }",
        "MatMul MatMul",
        arrays={"w": random(3, 6), "v": random(6, 5)},
        exact=False,
    ),
    Case(
        "7: large matrices would be laid out on every run",
        "(float[1,30,2] x) => (float[1,40,2] y) { a = Transpose<perm = [0,2,1]>(x) m = MatMul(a, w)"
        " y = Transpose<perm = [0,2,1]>(m) }",
        arrays={"w": random(30, 40)},
    ),
    Case(
        "7: both operands transposed",
        "(float[2,3,4] x, float[2,5,3] z) => (float[2,4,5] y) { a = Transpose<perm = [0,2,1]>(x)"
        " b = Transpose<perm = [0,2,1]>(z) y = MatMul(a, b) }",
        "MatMul Transpose",
        exact=False,
    ),
    Case(
        "7: a matrix on the left",
        "(float[2,3,4] x) => (float[2,3,5] y) { a = Transpose<perm = [0,2,1]>(x) m = MatMul(w, a)"
        " y = Transpose<perm = [0,2,1]>(m) }",
        "MatMul",
        arrays={"w": random(5, 4)},
        exact=False,
    ),
    Case(
        "7: other axes change places",
        "(float[2,3,4] x) => (float[3,2,5] y) { a = Transpose<perm = [1,0,2]>(x) y = MatMul(a, w) }",
        arrays={"w": random(4, 5)},
    ),
    case(
        "5: a reduction of the last axis stays there, what follows does not",
        "r = ReduceMax<axes = [3]>(a) b = Sub(a, r)",
        "ReduceMax Reshape Sub Transpose",
    ),
    Case(
        "7: a Transpose that moves axes of size 1 only is free, a matrix on the left is not",
        "(float[1,1,6,4] x) => (float[4,6,4,1] y, float[4,6,1,1] a) { a = Transpose(x) m = MatMul(a, w)"
        " y = Transpose<perm = [0,1,3,2]>(m) }",
        "MatMul Reshape Transpose",
        arrays={"w": random(1, 4)},
    ),
    case(
        "sizes that are not known",
        "r = Relu(a) b = Add(r, k)",
        "Add Relu",
        '(float["n",3,"h","w"] x) => (float["n",3,"h","w"] y)',
        arrays={"k": random(3)},
    ),
    case(
        "declined: an operand of lower rank is computed",
        "b = Add(a, k)",
        None,
        "(float[1,3,5,4] x, float[3] k) => (float[1,3,5,4] y)",
    ),
    case("declined: Softmax leaves the last axis", "b = Softmax<axis = -1>(a)", None),
    case("declined: Softmax before opset 13", "b = Softmax<axis = 1>(a)", None, opset=12),
    case(
        "declined: two operands come in the old layout",
        "b = Sum(a, k, l)",
        None,
        "(float[1,3,5,4] x, float[1,5,4,3] k, float[1,5,4,3] l) => (float[1,3,5,4] y)",
    ),
    case("1: a computed scalar", "b = Mul(a, k)", "Mul", "(float[1,3,5,4] x, float k) => (float[1,3,5,4] y)"),
    case(
        "2: a normalisation along the channels, before there was an operator for it",
        "m = ReduceMean<axes = [-1]>(a) c = Sub(a, m) s = Mul(c, c) v = ReduceMean<axes = [-1]>(s) d = Sqrt(v)"
        " b = Div(c, d)",
        "Div Mul ReduceMean ReduceMean Sqrt Sub",
        opset=16,
        exact=False,
    ),
    Case(
        "a normalisation for which one Transpose goes stays, before there was an operator for it",
        "(float[1,5,4,3] x) => (float[1,3,5,4] y, float[1,5,4,3] z) { m = ReduceMean<axes = [-1]>(x) c = Sub(x, m)"
        f" s = Mul(c, c) v = ReduceMean<axes = [-1]>(s) d = Sqrt(v) z = Div(c, d) y = Transpose<{TO_SECOND}>(z) }}",
        opset=16,
    ),
    case(
        "a normalisation along the channels stays where LayerNormalization is",
        "m = ReduceMean<axes = [-1]>(a) c = Sub(a, m) s = Mul(c, c) v = ReduceMean<axes = [-1]>(s) d = Sqrt(v)"
        " b = Div(c, d)",
        None,
    ),
    Case(
        "a constant of higher rank",
        f"(float[1,3,5,4] x, float[1,3,5,4] z) => (float[1,1,5,4,3] y) {{ a = Transpose<{TO_LAST}>(x)"
        f" b = Transpose<{TO_LAST}>(z) y = Sum(a, b, k) }}",
        arrays={"k": random(1, 1, 5, 4, 3)},
    ),
    case(
        "a Slice to sizes that are computed",
        "s = Shape(k) b = Slice(a, from, s)",
        None,
        "(float[1,3,5,4] x, float[1,9,9,9] k) => (float[1,3,5,4] y)",
        arrays={"from": int64([0, 0, 0, 0])},
    ),
    case(
        "a Pad by sizes that are computed",
        "s = Shape(k) b = Pad(a, s)",
        None,
        "(float[1,3,5,4] x, float[0,0,0,0,0,0,0,0] k) => (float[1,3,5,4] y)",
    ),
    case("5: a reduction of everything stays", "r = ReduceMax(a) b = Sub(a, r)", "ReduceMax Reshape Sub Transpose"),
    case(
        "a Squeeze of everything",
        "c = Relu(a) s = Squeeze(c) b = Unsqueeze(s, zeroth)",
        None,
        arrays={"zeroth": int64([0])},
    ),
    Case(
        "a reduction that drops an axis between others",
        f"(float[2,3,5,4] x) => (float[2,5,3] y) {{ a = Transpose<{TO_LAST}>(x)"
        " y = ReduceMax<axes = [2], keepdims = 0>(a) }",
    ),
    Case(
        "ArgMax that drops an axis between others",
        f"(float[2,3,5,4] x) => (int64[2,5,3] y) {{ a = Transpose<{TO_LAST}>(x)"
        " y = ArgMax<axis = 2, keepdims = 0>(a) }",
    ),
    Case(
        "a Squeeze between others",
        f"(float[2,3,1,4] x) => (float[2,4,3] y) {{ a = Transpose<{TO_LAST}>(x) y = Squeeze(a, axes) }}",
        arrays={"axes": int64([1])},
    ),
    Case(
        "a Reshape to sizes that are computed",
        f"(float[2,3,5,4] x, float[3,2] k) => (float[3,2] y) {{ a = Transpose<{TO_LAST}>(x)"
        " r = ReduceMax<axes = [1,2]>(a) s = Shape(k) y = Reshape(r, s) }",
        "ReduceMax Reshape Reshape Shape",
    ),
    Case(
        "a Reshape of what moves",
        f"(float[2,3,5,4] x) => (float[2,60] y) {{ a = Transpose<{TO_LAST}>(x) y = Reshape(a, to) }}",
        arrays={"to": int64([2, 60])},
    ),
    Case(
        "a Reshape from another rank",
        f"(float[2,60] x) => (float[2,5,4,3] y) {{ a = Reshape(x, to) y = Transpose<{TO_LAST}>(a) }}",
        arrays={"to": int64([2, 3, 5, 4])},
    ),
    case(
        "quantised by computed scales",
        "q = QuantizeLinear<axis = 3>(a, s) b = DequantizeLinear<axis = 3>(q, s)",
        None,
        '(float[1,2,5,4] x, float["c"] s) => (float[1,2,5,4] y)',
    ),
    case(
        "quantised in blocks",
        "q = QuantizeLinear<axis = 3, block_size = 2>(a, s) b = DequantizeLinear<axis = 3, block_size = 2>(q, s)",
        None,
        "(float[1,4,5,4] x) => (float[1,4,5,4] y)",
        arrays={"s": positive(1, 5, 4, 2)},
        opset=21,
    ),
    Case(
        "7: a matrix that is computed, and of lower rank",
        "(float[2,3,4] x, float[3,5] k) => (float[2,5,4] y) { a = Transpose<perm = [0,2,1]>(x) m = MatMul(a, k)"
        " y = Transpose<perm = [0,2,1]>(m) }",
    ),
    Case(
        "7: many constant matrices",
        "(float[2,3,4] x) => (float[2,5,4] y) { a = Transpose<perm = [0,2,1]>(x) m = MatMul(a, w)"
        " y = Transpose<perm = [0,2,1]>(m) }",
        arrays={"w": random(2, 3, 5)},
    ),
    Case(
        "7: other axes change places, and back",
        "(float[2,3,4] x) => (float[2,3,5] y) { a = Transpose<perm = [1,0,2]>(x) m = MatMul(a, w)"
        " y = Transpose<perm = [1,0,2]>(m) }",
        arrays={"w": random(4, 5)},
    ),
    Case(
        "one large Transpose, not two small ones",
        f"(float[1,3,5,4] x) => (float[1,1,1,3] y, float[1,1,1,3] z) {{ a = Transpose<{TO_LAST}>(x)"
        " y = ReduceMax<axes = [1,2]>(a) z = ReduceMin<axes = [1,2]>(a) }",
    ),
    Case(
        "another permutation reads either layout",
        f"(float[1,3,5,4] x) => (float[1,5,4,3] y, float[1,4,5,3] z) {{ a = Transpose<{TO_LAST}>(x) b = Relu(a)"
        " y = CumSum(b, axis) z = Transpose<perm = [0,2,1,3]>(b) }",
        arrays={"axis": int64(1)},
    ),
    case("5: the transposed tensor is an output", "b = Relu(a)", "Relu Transpose", f"{IMAGE[:-1]}, float[1,5,4,3] a)"),
    Case(
        "a Transpose that moves nothing",
        "(float[1,3,5,4] x) => (float[1,3,5,4] y) { a = Transpose<perm = [0,1,2,3]>(x) b = Relu(a)"
        " y = Transpose<perm = [0,1,2,3]>(b) }",
    ),
    Case(
        "two Transposes behind each other",
        "(float[2,3,1,1] x) => (float[2,1,3,1] y) { a = Transpose<perm = [0,2,3,1]>(x)"
        " y = Transpose<perm = [0,1,3,2]>(a) }",
    ),
    Case(
        "no elements",
        "(float[2,0,1,3] x) => (float[2,1,0,3] y) { y = Transpose<perm = [0,2,1,3]>(x) }",
    ),
    Case(
        "a rank that is not known",
        f"{UNKNOWN} t = Transpose(u) y = Reshape(t, to) }}",
        arrays={"sizes": int64([1, 3, 5, 4]), "to": int64([4, 5, 3, 1])},
    ),
    Case(
        "a rank that is not known, though that of the Transpose is",
        "(float[1,3,5,4] x, bool[4] flags) => (int64[1,3,5,1] y) { s0 = Compress(sizes, flags) u = Reshape(x, s0)"
        " t = Transpose<perm = [0,2,1,3]>(u) i = ArgMax<axis = 3>(t) v = Transpose<perm = [0,2,1,3]>(i)"
        " y = Reshape(v, to) }",
        arrays={"sizes": int64([1, 3, 5, 4]), "to": int64([1, 3, 5, 1])},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case_", CASES, ids=str)
def test_case(case_: Case, place: str) -> None:
    check(MoveTransposes(), case_, place)


def test_a_constant_that_lies_the_same_either_way_stays() -> None:
    text = """(float[1,3,4] x) => (float[1,3,4] y) { a = Transpose<perm = [1,0,2]>(x) b = Add(a, k)
        y = Transpose<perm = [1,0,2]>(b) }"""
    _, after, _ = run_pass(MoveTransposes(), build(text, {"k": random(4)}))
    assert [(tensor.name, list(tensor.dims)) for tensor in after.graph.initializer] == [("k", [4])]


def test_before_opset_7_broadcasting_is_an_attribute() -> None:
    text = inside("b = Add<broadcast = 1, axis = 3>(a, k)")
    assert run_pass(MoveTransposes(), build(text, {"k": random(3)}, opset=6))[2].records == ()


def test_before_opset_5_the_sizes_of_a_reshape_are_an_attribute() -> None:
    model = build(f"(float[1,3,1,1] x) => (float[1,1,1,3] y) {{ y = Transpose<{TO_LAST}>(x) }}", opset=4)
    assert run_pass(MoveTransposes(), model)[2].records == ()


BODY = """(float[1,3,5,4] x, bool c) => (float[1,3,5,4] y, float[1,3,5,4] z) {{
    a = Transpose<perm = [0,2,3,1]>(x) r = Relu(a) y = Transpose<perm = [0,3,1,2]>(r)
    z = If (c) <then_branch = t () => (float[1,3,5,4] zt) {{ {inner} }}, else_branch = e () => (float[1,3,5,4] ze)
        {{ ze = Neg(x) }}> }}"""


@pytest.mark.parametrize(
    "inner",
    [
        "zt = Transpose<perm = [0,3,1,2]>(r)",
        "q = Relu(a) zt = Transpose<perm = [0,3,1,2]>(q)",
    ],
)
def test_what_a_body_reads_stays(inner: str) -> None:
    before, after, result = run_pass(MoveTransposes(), build(BODY.format(inner=inner)))
    assert result.changed
    assert sorted(node.op_type for node in after.graph.node) == ["If", "Relu", "Transpose"]
    same(before, after)


SUMS = [
    ("r = ReduceSum(a, axes) b = Mul(a, r)", "float", "rounding"),
    ("r = ReduceMean<axes = [1, 2]>(a) b = Mul(a, r)", "float", "rounding"),
    ("r = ReduceL2<axes = [2]>(a) b = Mul(a, r)", "float", "rounding"),
    ("b = Softmax<axis = 1>(a)", "float", "rounding"),
    ("b = Hardmax<axis = 1>(a)", "float", "exact"),
    ("r = ReduceMax<axes = [1, 2]>(a) b = Mul(a, r)", "float", "exact"),
    ("r = ReduceSum(a, axes) b = Mul(a, r)", "int32", "exact"),
    ("b = Relu(a)", "float", "exact"),
]


@pytest.mark.parametrize(("middle", "dtype", "numerics"), SUMS)
def test_what_adds_in_another_order_is_rounded(middle: str, dtype: str, numerics: str) -> None:
    text = inside(middle, IMAGE.replace("float", dtype))
    arrays = {"axes": int64([1, 2])} if "axes)" in middle else {}
    _, after, result = run_pass(MoveTransposes(), build(text, arrays))
    assert "Transpose" not in ops(after)
    assert {record.numerics for record in result.records if record.applied} == {numerics}
    _, after, result = run_pass(MoveTransposes(), build(text, arrays), numerics="exact")
    assert ("Transpose" in ops(after)) is (numerics == "rounding")
    assert any("its numerics are 'rounding'" in record.reason for record in result.records) is (numerics == "rounding")


def test_rows_that_stay_rows_are_added_in_the_same_order() -> None:
    text = """(float[2,3,5,4] x) => (float[2,3,5,1] y)
        { a = Transpose<perm = [1,0,2,3]>(x) r = ReduceSum(a, axes) y = Transpose<perm = [1,0,2,3]>(r) }"""
    before, after, _ = run_pass(MoveTransposes(), build(text, {"axes": int64([-1])}), numerics="exact")
    assert ops(after) == "ReduceSum"
    same(before, after)


def test_exact_moves_stop_at_a_sum() -> None:
    middle = "r = Relu(a) u = Transpose<perm = [0,3,1,2]>(r) s = Transpose<perm = [0,2,3,1]>(u) b = ReduceSum(s, axes)"
    text = inside(middle, "(float[1,3,5,4] x) => (float[1,3,1,1] y)")
    before, after, _ = run_pass(MoveTransposes(), build(text, {"axes": int64([1, 2])}), numerics="exact")
    assert ops(after) in ("ReduceSum Relu Reshape Transpose", "ReduceSum Relu Transpose Transpose")
    same(before, after)
