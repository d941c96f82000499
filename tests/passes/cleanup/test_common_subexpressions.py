import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from roofwright.passes.cleanup import CommonSubexpressions
from tests.passes.harness import PLACES, Case, build, check, float32, float64, int64, random, run_pass, same

X = "(float[2,3] x) => (float[2,3] y)"
W = random(2, 3)
CASES = [
    Case("two equal nodes", f"{X} {{ a = Neg(x) b = Neg(x) y = Add(a, b) }}", "Add Neg"),
    Case("two equal chains", f"{X} {{ a = Neg(x) b = Sin(a) c = Neg(x) d = Sin(c) y = Add(b, d) }}", "Add Neg Sin"),
    Case("other attributes", f"{X} {{ a = Elu<alpha = 1.0>(x) b = Elu<alpha = 2.0>(x) y = Add(a, b) }}"),
    Case("the sign of zero counts", f"{X} {{ a = Elu<alpha = 0.0>(x) b = Elu<alpha = -0.0>(x) y = Add(a, b) }}"),
    Case("other order of inputs", f"{X} {{ a = Sub(x, w) b = Sub(w, x) y = Add(a, b) }}", arrays={"w": W}),
    Case(
        "omitted inputs hold their place",
        f"{X} {{ a = Clip(x, c) b = Clip(x, , c) y = Add(a, b) }}",
        arrays={"c": float32(0)},
    ),
    Case(
        "tensor attributes",
        f"{X} {{ a = ConstantOfShape<value = float[1] {{2.0}}>(s) "
        "b = ConstantOfShape<value = float[1] {2.0}>(s) c = Add(a, b) y = Add(c, x) }",
        "Add Add ConstantOfShape",
        arrays={"s": int64([2, 3])},
    ),
    Case(
        "random numbers",
        f"{X} {{ a = RandomUniformLike<low = 0.0, high = 0.0>(x) "
        "b = RandomUniformLike<low = 0.0, high = 0.0>(x) y = Add(a, b) }",
    ),
    Case("dropout", f"{X} {{ a = Dropout(x) b = Dropout(x) y = Add(a, b) }}"),
    Case(
        "other number of outputs",
        "(float[4] x) => (float[4] y) { a, b = TopK(x, k) c, d = TopK(x, k) y = Add(a, c) }",
        "Add TopK",
        arrays={"k": int64([4])},
    ),
    Case(
        "one is an output", "(float[3] x) => (float[3] y, float[3] z) { a = Neg(x) z = Neg(x) y = Sin(a) }", "Neg Sin"
    ),
    Case("both are outputs", "(float[3] x) => (float[3] y, float[3] z) { y = Neg(x) z = Neg(x) }", "Identity Neg"),
    Case(
        "constants that are outputs",
        "(float[1] x) => (float[1] y, float[1] z, float[1] w) "
        "{ y = Constant<value = float[1] {2.0}>() z = Constant<value = float[1] {2.0}>() w = Add(x, z) }",
    ),
    Case(
        "equal initializers",
        f"{X} {{ a = Mul(x, v) b = Mul(x, w) y = Add(a, b) }}",
        "Add Mul",
        arrays={"v": W, "w": W.copy()},
    ),
    Case(
        "equal bytes, other shape",
        f"{X} {{ a = Mul(x, v) b = Mul(x, w) y = Add(a, b) }}",
        arrays={"v": np.ones((1, 3), np.float32), "w": np.ones(3, np.float32)},
    ),
    Case(
        "equal bytes, other dtype",
        f"{X} {{ a = Reshape(x, s) b = Cast<to = 1>(v) c = Reshape(b, t) y = Add(a, c) }}",
        arrays={"s": int64([2, 3]), "t": int64([1, 1]), "v": float64([0.5])},
    ),
    Case(
        "one name after another",
        "(float[3] x) => (float[3] z, float[3] y) { a = Neg(x) b = Sin(a) z = Neg(x) c = Sin(z) y = Add(b, c) }",
        "Add Neg Sin",
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(CommonSubexpressions(), case, place)


def test_custom_nodes_are_not_known_to_repeat() -> None:
    model = build("(float[3] x) => (float[3] y) { a = custom.Next(x) b = custom.Next(x) y = Add(a, b) }")
    assert not run_pass(CommonSubexpressions(), model)[2].changed


def test_a_default_that_a_caller_may_override_stays_apart() -> None:
    text = "(float[2,3] x, float[2,3] v) => (float[2,3] y) { a = Mul(x, v) b = Mul(x, w) y = Add(a, b) }"
    assert not run_pass(CommonSubexpressions(), build(text, {"v": W, "w": W}))[2].changed


def test_an_initializer_that_is_an_output_keeps_its_name() -> None:
    model = build("(float[2,3] x) => (float[2,3] y) { a = Mul(x, v) y = Mul(a, w) }", {"v": W, "w": W})
    model.graph.output.append(onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [2, 3]))
    _, after, result = run_pass(CommonSubexpressions(), model)
    assert not result.changed
    assert {tensor.name for tensor in after.graph.initializer} == {"v", "w"}


def test_only_full_equality_counts() -> None:
    v = np.zeros(5000, np.float32)
    w = v.copy()
    w[2500] = 1
    before, after, result = run_pass(
        CommonSubexpressions(),
        build("(float[5000] x) => (float[5000] y) { a = Mul(x, v) b = Mul(x, w) y = Add(a, b) }", {"v": v, "w": w}),
    )
    assert not result.changed
    same(before, after)


def test_values_of_two_branches_never_meet() -> None:
    then = onnx.parser.parse_graph("t () => (float[3] t) { t = Neg(x) }")
    other = onnx.parser.parse_graph("e () => (float[3] e) { e = Neg(x) }")
    model = build("(float[3] x, bool k) => (float[3] y) { y = Identity(x) }")
    del model.graph.node[-1]
    model.graph.node.append(onnx.helper.make_node("If", ["k"], ["y"], then_branch=then, else_branch=other))
    assert not run_pass(CommonSubexpressions(), model)[2].changed


def test_tied_weights_are_stored_once() -> None:
    case = next(case for case in CASES if case.name == "equal initializers")
    _, after, result = run_pass(CommonSubexpressions(), case.model())
    assert [numpy_helper.to_array(tensor).tolist() for tensor in after.graph.initializer] == [W.tolist()]
    assert [record.rewrite for record in result.records] == ["merge-initializers", "merge-nodes"]


def test_pairs_of_quantize_and_dequantize_stay_apart() -> None:
    text = (
        "(float[2,3] x) => (float[2,3] y, float[2,3] z) { q = QuantizeLinear(x, s, t) a = DequantizeLinear(q, s, t)"
        " p = QuantizeLinear(x, s, t) b = DequantizeLinear(p, s, t) c = DequantizeLinear(p, s, t)"
        " y = Add(a, b) z = Mul(b, c) }"
    )
    model = build(text, {"s": float32(0.1), "t": np.asarray(3, np.uint8)})
    _, after, result = run_pass(CommonSubexpressions(), model)
    assert not result.changed
    assert [node.op_type for node in after.graph.node] == [node.op_type for node in model.graph.node]


def test_two_ifs_are_never_one() -> None:
    model = build("(float[3] x, bool k) => (float[3] y, float[3] z) { y = Identity(x) }")
    del model.graph.node[-1]
    for out, op in (("y", "Neg"), ("z", "Sin")):
        then = onnx.parser.parse_graph(f"t () => (float[3] t_{out}) {{ t_{out} = {op}(x) }}")
        other = onnx.parser.parse_graph(f"e () => (float[3] e_{out}) {{ e_{out} = {op}(x) }}")
        model.graph.node.append(onnx.helper.make_node("If", ["k"], [out], then_branch=then, else_branch=other))
    assert not run_pass(CommonSubexpressions(), model)[2].changed
