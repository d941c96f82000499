import numpy as np
import pytest

from roofwright.passes.fusion import FuseLinearChain
from tests.passes.harness import PLACES, Array, Case, attributes, build, check, check_unrun, random, run_pass
from tests.passes.perturb import Perturbation, check_perturbed, perturbed


def conv(
    name: str,
    attrs: tuple[str, str],
    shapes: tuple[tuple[int, ...], ...],
    size: int,
    after: str | None,
    *,
    biases: str = "cb",
    declines: str | None = None,
) -> Case:
    """Conv with weight `v` and bias `c`, then Conv with weight `w` and bias `b` where they are given."""
    arrays: dict[str, Array] = {"v": random(*shapes[0]), "w": random(*shapes[1], seed=1)}
    if "c" in biases:
        arrays["c"] = random(shapes[0][0], seed=2)
    if "b" in biases:
        arrays["b"] = random(shapes[1][0], seed=3)
    first, second = "x, v, c" if "c" in arrays else "x, v", "t, w, b" if "b" in arrays else "t, w"
    text = f"(float[2,{shapes[0][1]},6,6] x) => (float[2,{shapes[1][0]},{size},{size}] y)"
    text += f" {{ t = Conv{attrs[0]}({first}) y = Conv{attrs[1]}({second}) }}"
    return Case(name, text, after, declines, arrays=arrays, exact=False)


SAME = "<pads = [1, 1, 1, 1]>"
WIDE, NARROW = (8, 4, 1, 1), (4, 8, 1, 1)
GEMM = {"v": random(4, 8), "w": random(8, 4, seed=1), "c": random(8, seed=2), "b": random(4, seed=3)}
MATRIX = "(float[2,4] x) => (float[2,4] y) { t = %s y = %s }"
CASES = [
    # 1
    conv("1x1 then 1x1", ("", ""), (WIDE, NARROW), 6, "Conv"),
    conv("no bias at all", ("", ""), (WIDE, NARROW), 6, "Conv", biases=""),
    conv("one bias, of the first", ("", ""), (WIDE, NARROW), 6, "Conv", biases="c"),
    conv("one bias, of the second", ("", ""), (WIDE, NARROW), 6, "Conv", biases="b"),
    conv("3x3 with padding then 1x1", (SAME, ""), ((8, 4, 3, 3), NARROW), 6, "Conv"),
    conv("strides are multiplied", ("<strides = [2, 2]>", "<strides = [2, 2]>"), (WIDE, NARROW), 2, "Conv"),
    conv("dilated then 1x1", ("<dilations = [2, 2]>", ""), ((8, 4, 3, 3), NARROW), 2, "Conv"),
    # 2
    conv("1x1 then 3x3 without padding", ("", ""), (WIDE, (4, 8, 3, 3)), 4, "Conv"),
    conv("1x1 without bias then 3x3 with padding", ("", SAME), (WIDE, (4, 8, 3, 3)), 6, "Conv", biases="b"),
    conv("1x1 then 3x3 with padding", ("", SAME), (WIDE, (4, 8, 3, 3)), 6, None, declines="padding of the second"),
    conv("strided 1x1 then 3x3", ("<strides = [2, 2]>", ""), (WIDE, (4, 8, 3, 3)), 1, None),
    conv("3x3 that adds pixels", ("", "<pads = [3, 3, 3, 3]>"), (WIDE, (4, 8, 3, 3)), 10, None, biases="b"),
    conv("3x3 then 3x3", ("", ""), ((8, 4, 3, 3), (4, 8, 3, 3)), 2, None),
    # a bottleneck
    conv("1x1 then 1x1 with padding", ("", SAME), (WIDE, NARROW), 8, None),
    conv("3x3 then 3x3, many channels between", ("", ""), ((20, 1, 3, 3), (1, 20, 3, 3)), 2, None),
    conv("narrow then wide", ("", ""), ((2, 8, 1, 1), (8, 2, 1, 1)), 6, None),
    conv("grouped", ("", "<group = 2>"), (WIDE, (4, 4, 1, 1)), 6, None),
    Case(
        "grouped before",
        "(float[1,4,6,6] x) => (float[1,4,6,6] y) { t = Conv<group = 4>(x, v) y = Conv(t, w) }",
        arrays={"v": random(8, 1, 1, 1), "w": random(*NARROW)},
    ),
    # 3
    Case("matmul then matmul", MATRIX % ("MatMul(x, v)", "MatMul(t, w)"), "MatMul", arrays=GEMM, exact=False),
    Case("gemm then gemm", MATRIX % ("Gemm(x, v, c)", "Gemm(t, w, b)"), "Gemm", arrays=GEMM, exact=False),
    Case("gemm then matmul", MATRIX % ("Gemm(x, v, c)", "MatMul(t, w)"), "Gemm", arrays=GEMM, exact=False),
    Case(
        "alpha, beta, transB",
        MATRIX % ("Gemm<alpha = 0.5, beta = 2.0>(x, v, c)", "Gemm<alpha = 3.0, beta = 0.25, transB = 1>(t, w, b)"),
        "Gemm",
        arrays=GEMM | {"w": random(4, 8)},
        exact=False,
    ),
    Case("scalar bias", MATRIX % ("Gemm(x, v, c)", "Gemm(t, w)"), "Gemm", arrays=GEMM | {"c": random(1)}, exact=False),
    Case("transA", MATRIX.replace("[2,4] x", "[4,2] x") % ("Gemm<transA = 1>(x, v)", "MatMul(t, w)"), arrays=GEMM),
    Case(
        "transA of the second",
        "(float[8,4] x) => (float[8,4] y) { t = MatMul(x, v) y = Gemm<transA = 1>(t, w) }",
        arrays=GEMM,
    ),
    Case(
        "a stack of matrices, then one",
        "(float[2,3,4] x) => (float[2,3,4] y) { t = MatMul(x, v) y = MatMul(t, w) }",
        arrays={"v": random(2, 4, 8), "w": random(8, 4)},
    ),
    Case(
        "a matrix, then a stack of them",
        "(float[2,3,4] x) => (float[2,3,4] y) { t = MatMul(x, v) y = MatMul(t, w) }",
        arrays={"v": random(4, 8), "w": random(2, 8, 4)},
    ),
    Case(
        "matrices that nodes make",
        "(float[2,2] x) => (float[2,2] y) { v = Constant<value = float[2,2] {1, 2, 3, 4}>() t = MatMul(x, v)"
        " w = Constant<value = float[2,2] {2, 1, 0, 1}>() y = MatMul(t, w) }",
        "MatMul",
        exact=False,
    ),
    Case(
        "integers",
        "(int32[2,4] x) => (int32[2,4] y) { t = MatMul(x, v) y = MatMul(t, w) }",
        arrays={"v": np.ones((4, 8), np.int32), "w": np.ones((8, 4), np.int32)},
    ),
    Case(
        "three dimensions",
        "(float[N,3,4] x) => (float[N,3,4] y) { t = MatMul(x, v) y = MatMul(t, w) }",
        "MatMul",
        arrays=GEMM,
        exact=False,
    ),
    Case(
        "a chain beside a product",
        "(float[2,4] x) => (float[2,4] y) { t = MatMul(x, v) u = MatMul(t, w) s = MatMul(x, q) y = Add(u, s) }",
        "MatMul",
        arrays=GEMM | {"q": random(4, 4)},
        exact=False,
    ),
    Case(
        "a shared weight beside a small product",
        "(float[2,4] x) => (float[2,4] y, float[2,8] z) "
        "{ t = MatMul(x, v) y = MatMul(t, w) u = Neg(x) z = MatMul(u, v) }",
        "MatMul MatMul Neg",
        arrays=GEMM,
        exact=False,
    ),
    Case(
        "the second weight is an input",
        "(float[2,4] x, float[8,4] w) => (float[2,4] y) { t = MatMul(x, v) y = MatMul(t, w) }",
        arrays={"v": random(4, 8)},
    ),
    # declines
    Case(
        "another reader",
        "(float[2,4] x) => (float[2,4] y, float[2,8] z) { t = MatMul(x, v) y = MatMul(t, w) z = Neg(t) }",
        declines="also read by",
        arrays=GEMM,
    ),
    Case(
        "weight is an input",
        "(float[2,4] x, float[4,8] v) => (float[2,4] y) { t = MatMul(x, v) y = MatMul(t, w) }",
        arrays={"w": random(8, 4)},
    ),
    Case(
        "product is too small",
        MATRIX % ("MatMul(x, v)", "MatMul(t, w)"),
        declines="too small for float32",
        arrays={"v": np.full((4, 8), 1e-25, np.float32), "w": np.full((8, 4), 1e-25, np.float32)},
    ),
    Case(
        "product is not finite",
        MATRIX % ("MatMul(x, v)", "MatMul(t, w)"),
        declines="not finite in float32",
        arrays={"v": np.full((4, 8), 1e30, np.float32), "w": np.full((8, 4), 1e30, np.float32)},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(FuseLinearChain(), case, place)


@pytest.mark.parametrize("place", PLACES)
def test_before_opset_7_the_bias_of_a_gemm_broadcasts_by_an_attribute(place: str) -> None:
    text = MATRIX % ("MatMul(x, v)", "Gemm<broadcast = 1>(t, w, b)")
    check_unrun(FuseLinearChain(), Case("opset 6", text, arrays={n: GEMM[n] for n in "vwb"}, opset=6), place)


@pytest.mark.parametrize("case", [CASES[0], next(case for case in CASES if case.name == "matmul then matmul")], ids=str)
def test_weights_that_take_too_long_to_multiply(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roofwright.passes.fusion.linear_chain._MOST_PRODUCTS", 100)
    assert run_pass(FuseLinearChain(), case.model())[2].records == ()


@perturbed(CASES)
def test_short_of_a_precondition(case: Case, how: Perturbation) -> None:
    check_perturbed(FuseLinearChain(), case, how)


def test_the_convolution_behind_keeps_the_kernel_and_multiplies_the_strides() -> None:
    text = """(float[1,4,9,9] x) => (float[1,4,3,3] y)
        { t = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, v) y = Conv<strides = [2, 2]>(t, w) }"""
    _, after, _ = run_pass(FuseLinearChain(), build(text, {"v": random(8, 4, 3, 3), "w": random(4, 8, 1, 1)}))
    found = attributes(after, "Conv")
    assert (found["kernel_shape"], found["strides"], found["pads"]) == ([3, 3], [4, 4], [1, 1, 1, 1])


def test_a_shared_weight_beside_a_large_product_stays() -> None:
    body = "t = MatMul(x, v) y = MatMul(t, w) u = Neg(x) z = MatMul(u, v)"
    text = f"(float[2,4] x) => (float[2,4] y, float[2,8] z) {{ {body} }}"
    arrays = {"v": random(4, 8), "w": random(8, 4)}
    _, _, result = run_pass(FuseLinearChain(), build(text, arrays), fold_limit_bytes=10)
    assert not result.changed
    assert "is shared" in result.records[0].reason
