import numpy as np
import pytest

from roofwright.graph import structural_hash
from roofwright.passes.fusion import FuseSiblings
from roofwright.targets import load_target
from tests.passes.harness import PLACES, Array, Case, attributes, build, check, ops, random, run_pass, same
from tests.passes.perturb import Perturbation, check_perturbed, perturbed

ONE_BY_ONE = {
    "w": random(8, 64, 1, 1),
    "v": random(4, 64, 1, 1, seed=1),
    "b": random(8, seed=2),
    "d": random(4, seed=3),
}
MATRIX = {
    "w": random(64, 8),
    "v": random(64, 8, seed=1),
    "u": random(64, 4, seed=2),
    "b": random(8, seed=3),
    "d": random(8, seed=4),
}
MACHINE = load_target("v100")
TARGET = {"target": MACHINE}


def images(
    name: str, body: str, after: str | None, *, declines: str | None = None, opset: int = 17, **more: Array
) -> Case:
    """One image in, two out."""
    text = f"(float[1,64,8,8] x) => (float[1,8,H,W] y, float[1,4,H,W] z) {{ {body} }}"
    arrays = {name: value for name, value in (ONE_BY_ONE | more).items() if f" {name}" in body}
    return Case(name, text, after, declines, arrays=arrays, opset=opset, exact=False, context=TARGET)


def rows(name: str, body: str, after: str | None, **more: Array) -> Case:
    """Rows in, two results out."""
    text = f"(float[N,3,64] x) => (float[N,3,8] y, float[N,3,M] z) {{ {body} }}"
    arrays = {name: value for name, value in (MATRIX | more).items() if f" {name}" in body}
    return Case(name, text, after, arrays=arrays, exact=False, context=TARGET)


def matrices(name: str, body: str, after: str | None, **more: Array) -> Case:
    """A matrix in, two out."""
    text = f"(float[2,64] x) => (float[2,8] y, float[2,8] z) {{ {body} }}"
    arrays = {name: value for name, value in (MATRIX | more).items() if f" {name}" in body}
    return Case(name, text, after, arrays=arrays, exact=False, context=TARGET)


PAD = "<pads = [1, 1, 1, 1], kernel_shape = [3, 3]>"
CASES = [
    # 1
    images("two convolutions", "y = Conv(x, w) z = Conv(x, v)", "Conv Split"),
    images("biases", "y = Conv(x, w, b) z = Conv(x, v, d)", "Conv Split"),
    images("opset 11", "y = Conv(x, w, b) z = Conv(x, v, d)", "Conv Split", opset=11),
    images(
        "attributes",
        f"y = Conv{PAD}(x, w) z = Conv{PAD}(x, v)",
        "Conv Split",
        w=random(8, 64, 3, 3),
        v=random(4, 64, 3, 3),
    ),
    images(
        "other attributes", f"y = Conv(x, w) z = Conv{PAD}(x, v)", None, w=random(8, 64, 1, 1), v=random(4, 64, 3, 3)
    ),
    images("one bias alone", "y = Conv(x, w, b) z = Conv(x, v)", None),
    images(
        "groups",
        "y = Conv<group = 2>(x, w) z = Conv<group = 2>(x, v)",
        None,
        w=random(8, 32, 1, 1),
        v=random(4, 32, 1, 1),
    ),
    images("a computed weight", "e = Exp( v) y = Conv(x, w) z = Conv(x, e)", None),
    # 2
    rows("query and key", "y = MatMul(x, w) z = MatMul(x, v)", "MatMul Split"),
    rows(
        "three", "e = MatMul(x, w) f = MatMul(x, v) g = MatMul(x, u) y = Mul(e, f) z = Neg(g)", "MatMul Mul Neg Split"
    ),
    rows("other widths", "y = MatMul(x, w) z = MatMul(x, u)", "MatMul Split"),
    matrices("gemm", "y = Gemm(x, w, b) z = Gemm(x, v, d)", "Gemm Split"),
    matrices(
        "transB",
        "y = Gemm<transB = 1>(x, w) z = Gemm<transB = 1>(x, v)",
        "Gemm Split",
        w=random(8, 64),
        v=random(8, 64),
    ),
    matrices("other alpha", "y = Gemm<alpha = 2.0>(x, w) z = Gemm(x, v)", None),
    matrices("one bias for all columns", "y = Gemm(x, w, b) z = Gemm(x, v, d)", None, b=random(1), d=random(1)),
    rows("stacks of matrices", "y = MatMul(x, w) z = MatMul(x, v)", None, w=random(1, 64, 8), v=random(1, 64, 8)),
    Case(
        "integers",
        "(int32[2,64] x) => (int32[2,8] y, int32[2,8] z) { y = MatMul(x, w) z = MatMul(x, v) }",
        arrays={"w": np.ones((64, 8), np.int32), "v": np.ones((64, 8), np.int32)},
        context=TARGET,
    ),
    Case(
        "matrices and biases that nodes make",
        "(float[2,2] x) => (float[2,2] y, float[2,2] z) "
        "{ w = Constant<value = float[2,2] {1, 2, 3, 4}>() v = Constant<value = float[2,2] {2, 1, 0, 1}>()"
        " b = Constant<value_floats = [1.0, 2.0]>() d = Constant<value_floats = [3.0, 4.0]>()"
        " e = MatMul(x, w) f = MatMul(x, v) y = Add(e, b) z = Add(f, d) }",
        "Add MatMul Split",
        exact=False,
        context=TARGET,
    ),
    matrices("a bias per row", "y = Gemm(x, w, b) z = Gemm(x, v, d)", None, b=random(2, 8), d=random(2, 8)),
    # 3
    images("the same activation", "e = Conv(x, w) f = Conv(x, v) y = Relu(e) z = Relu(f)", "Conv Relu Split"),
    images("another activation", "e = Conv(x, w) f = Conv(x, v) y = Relu(e) z = Tanh(f)", "Conv Relu Split Tanh"),
    rows("a bias in an Add", "e = MatMul(x, w) f = MatMul(x, v) y = Add(e, b) z = Add( d, f)", "Add MatMul Split"),
    rows(
        "bias and activation",
        "e = MatMul(x, w) f = MatMul(x, v) g = Add(e, b) h = Add(f, d) y = Tanh(g) z = Tanh(h)",
        "Add MatMul Split Tanh",
    ),
    rows(
        "a gate without bias",
        "e = MatMul(x, w) f = MatMul(x, v) g = Sigmoid(e) y = Mul(g, f) z = Neg(f)",
        "MatMul Mul Neg Sigmoid Split",
    ),
    # declines
    Case(
        "a product of one matrix",
        "(float[2,64] x) => (float[2,8] y, float[2,64] z) { y = MatMul(x, w) z = Neg(x) }",
        arrays={"w": random(64, 8)},
        context=TARGET,
    ),
    Case(
        "no target",
        "(float[2,64] x) => (float[2,8] y, float[2,8] z) { y = MatMul(x, w) z = MatMul(x, v) }",
        declines="none is given",
        arrays={"w": random(64, 8), "v": random(64, 8)},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(FuseSiblings(), case, place)


@perturbed(CASES)
def test_short_of_a_precondition(case: Case, how: Perturbation) -> None:
    check_perturbed(FuseSiblings(), case, how)


JOIN = "(float[1,64,8,8] x) => (float[1,C,8,8] y) {{ {0} }}"
JOINED = [
    # 4
    Case("all of a Concat", JOIN.format("e = Conv(x, w) f = Conv(x, v) y = Concat<axis = 1>(f, e)"), "Conv"),
    Case(
        "activations under a Concat",
        JOIN.format("e = Conv(x, w) f = Conv(x, v) g = Relu(e) h = Relu(f) y = Concat<axis = 1>(g, h)"),
        "Conv Relu",
    ),
    Case("two of three", JOIN.format("e = Conv(x, w) f = Conv(x, v) y = Concat<axis = 1>(x, e, f)"), "Concat Conv"),
    Case(
        "not neighbours",
        JOIN.format("e = Conv(x, w) f = Conv(x, v) y = Concat<axis = 1>(e, x, f)"),
        "Concat Conv Split",
    ),
    Case(
        "another axis",
        JOIN.format("e = Conv(x, w) f = Conv(x, w) g = Concat<axis = 2>(e, f) y = Neg(g)"),
        "Concat Conv Neg Split",
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", JOINED, ids=str)
def test_joined(case: Case, place: str) -> None:
    arrays = {name: value for name, value in ONE_BY_ONE.items() if f" {name})" in case.text}
    text = case.text.replace("[1,C,8,8] y", "[1,C,H,8] y")
    check(FuseSiblings(), Case(case.name, text, case.after, arrays=arrays, exact=False, context=TARGET), place)


def test_the_pieces_keep_their_sizes_and_names() -> None:
    text = "(float[1,64,8,8] x) => (float[1,8,8,8] y, float[1,4,8,8] z) { y = Conv(x, w) z = Conv(x, v) }"
    _, after, _ = run_pass(
        FuseSiblings(), build(text, {"w": random(8, 64, 1, 1), "v": random(4, 64, 1, 1)}), target=MACHINE
    )
    split = next(node for node in after.graph.node if node.op_type == "Split")
    assert (list(split.output), attributes(after, "Split")["axis"]) == (["z", "y"], 1)


def test_it_does_not_fire_where_it_costs_time() -> None:
    text = "(float[1,32,56,56] x) => (float[1,32,56,56] y, float[1,32,56,56] z) { y = Conv(x, w) z = Conv(x, v) }"
    arrays = {"w": random(32, 32, 1, 1), "v": random(32, 32, 1, 1)}
    _, after, result = run_pass(FuseSiblings(), build(text, arrays), target=load_target("haswell_e5_2699v3"))
    assert ops(after) == "Conv Conv"
    assert ["a loss of" in record.reason for record in result.records] == [True]  # once, not per sibling


def test_shared_weights_are_copied_within_the_limit_alone() -> None:
    text = """(float[2,64] x, float[2,64] o) => (float[2,8] y, float[2,8] z, float[2,8] q)
        { y = MatMul(x, w) z = MatMul(x, v) q = MatMul(o, w) }"""
    arrays = {"w": random(64, 8), "v": np.ones((64, 8), np.float32)}
    _, _, result = run_pass(FuseSiblings(), build(text, arrays), fold_limit_bytes=100, target=MACHINE)
    assert not result.changed
    assert "would be copied" in result.records[0].reason
    assert run_pass(FuseSiblings(), build(text, arrays), target=MACHINE)[2].changed


def test_readers_in_a_body_are_not_siblings() -> None:
    body = """y = MatMul(x, w)
        z = If (yes) <then_branch = t () => (float[2,8] p) { p = MatMul(x, v) },
                      else_branch = e () => (float[2,8] q) { q = MatMul(x, v) }>"""
    text = f"(float[2,64] x, bool yes) => (float[2,8] y, float[2,8] z) {{ {body} }}"
    model = build(text, {"w": random(64, 8), "v": random(64, 8)})
    assert not run_pass(FuseSiblings(), model, target=MACHINE)[2].changed


def test_a_tensor_that_is_the_other_operand_does_not_count() -> None:
    text = "(float[64,64] x) => (float[64,64] y, float[64,64] z) { y = MatMul(x, w) z = MatMul(w, x) }"
    model = build(text, {"w": random(64, 64)})
    assert not run_pass(FuseSiblings(), model, target=MACHINE)[2].changed


def test_a_shared_weight_serves_both_halves() -> None:
    text = (
        "(float[2,64] x) => (float[2,8] y, float[2,8] z) { e = MatMul(x, w) y = Relu(e) f = MatMul(x, w) z = Tanh(f) }"
    )
    before, after, _ = run_pass(FuseSiblings(), build(text, {"w": random(64, 8)}), target=MACHINE)
    assert ops(after) == "MatMul Relu Split Tanh"
    same(before, after, exact=False)


def test_the_order_of_nodes_in_the_file_says_nothing() -> None:
    nodes = ["y = MatMul(x, w)", "z = MatMul(x, v)"]
    arrays, found = {"w": random(64, 8), "v": random(64, 8, seed=1)}, []
    for order in (nodes, nodes[::-1]):
        text = f"(float[2,64] x) => (float[2,8] y, float[2,8] z) {{ {' '.join(order)} }}"
        _, after, result = run_pass(FuseSiblings(), build(text, arrays), target=MACHINE)
        assert result.changed
        found.append(structural_hash(after))
    assert found[0] == found[1]
