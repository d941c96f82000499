import dataclasses

import numpy as np
import pytest

from roofwright.passes.fusion import SimplifyArithmetic
from roofwright.targets import load_target
from tests.passes.harness import PLACES, Case, check, float16, float32, int32, positive, run_pass

X = "(float[2,3,8] x) => (float[2,3,8] y)"
RMS = (
    f"{X} {{ p = Pow(x, c2) v = ReduceMean<axes = [-1]>(p) z = Add(v, e) r = Sqrt(z) i = Reciprocal(r)"
    " n = Mul(x, i) y = Mul(g, n) }"
)
NORM = {"c2": float32(2), "e": float32(1e-5), "g": positive(8)}
AFTER = "Add Div Mul Pow ReduceMean Sqrt"
HOST = {"target": load_target("host")}
CASES = [
    Case(
        "two as large",
        "(float[4] x, float[4] z) => (float[4] y) { a = Exp(z) i = Reciprocal(a) y = Mul(i, x) }",
        "Div Exp",
        exact=False,
    ),
    Case(
        "one over",
        "(float[4] x, float[4] z) => (float[4] y) { a = Exp(z) i = Div(c, a) y = Mul(x, i) }",
        "Div Exp",
        arrays={"c": float32(1)},
        exact=False,
    ),
    Case(
        "two over",
        "(float[4] x, float[4] z) => (float[4] y) { a = Exp(z) i = Div(c, a) y = Mul(x, i) }",
        None,
        arrays={"c": float32(2)},
    ),
    Case("rms", RMS, AFTER, arrays=NORM, exact=False, context=HOST),
    Case("rms on no stack", RMS, None, "one per row", arrays=NORM),
    Case(
        "rms where the operator exists",
        RMS.replace("ReduceMean<axes = [-1]>(p)", "ReduceMean(p, l)"),
        None,
        "which the model's opset has",
        arrays={**NORM, "l": np.asarray([-1])},
        opset=23,
        ir=11,
        context=HOST,
    ),
    Case(
        "a smaller one",
        "(float[2,4] x, float[2,1] z) => (float[2,4] y) { i = Reciprocal(z) y = Mul(x, i) }",
        None,
        "fewer elements",
    ),
    Case(
        "two readers",
        "(float[4] x, float[4] z) => (float[4] y, float[4] k) { i = Reciprocal(z) y = Mul(x, i) k = Neg(i) }",
        None,
        "also read by",
    ),
    Case("its own square", "(float[4] x) => (float[4] y) { i = Reciprocal(x) y = Mul(i, i) }", None),
    Case("power of two", f"{X} {{ y = Div(x, c) }}", "Mul", arrays={"c": float32(8)}),
    Case("negative power of two", f"{X} {{ y = Div(x, c) }}", "Mul", arrays={"c": float32([-0.25])}),
    Case("float16", "(float16[9] x) => (float16[9] y) { y = Div(x, c) }", "Mul", arrays={"c": float16(2**13)}),
    Case("no power", f"{X} {{ y = Div(x, c) }}", None, arrays={"c": float32(6)}),
    Case("zero", "(float[4] x) => (float[4] y) { a = Exp(x) y = Div(a, c) }", None, arrays={"c": float32(0)}),
    Case(
        "an inverse below the normal numbers",
        "(float16[9] x) => (float16[9] y) { y = Div(x, c) }",
        None,
        arrays={"c": float16(2**15)},
    ),
    Case("a dividend", f"{X} {{ a = Exp(x) y = Div(c, a) }}", None, arrays={"c": float32(8)}),
    Case("integers", "(int32[9] x) => (int32[9] y) { y = Div(x, c) }", None, arrays={"c": int32(2)}),
    Case(
        "attention",
        "(float[2,4] x, float[4,2] z) => (float[2,2] y) { a = MatMul(x, z) y = Div(a, c) }",
        None,
        arrays={"c": float32(8)},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_cases(case: Case, place: str) -> None:
    check(SimplifyArithmetic(), case, place)


def test_a_stack_that_does_not_look_for_it_gets_no_division_per_element() -> None:
    target = load_target("host")
    other = dataclasses.replace(target, stack=dataclasses.replace(target.stack, constants={}))
    model = next(case for case in CASES if case.name == "rms").model()
    assert run_pass(SimplifyArithmetic(), model, target=target)[2].changed
    assert not run_pass(SimplifyArithmetic(), model, target=other)[2].changed
