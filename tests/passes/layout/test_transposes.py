from typing import Any

import pytest

from roofwright.passes.layout import MoveTransposes
from tests.passes.harness import PLACES, Case, check, float32, int64, random

TO_LAST, TO_SECOND = "perm = [0,2,3,1]", "perm = [0,3,1,2]"
IMAGE = "(float[1,3,5,4] x) => (float[1,3,5,4] y)"


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
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case_", CASES, ids=str)
def test_case(case_: Case, place: str) -> None:
    check(MoveTransposes(), case_, place)
