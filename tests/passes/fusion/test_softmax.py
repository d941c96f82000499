import pytest

from roofwright.passes.fusion import FuseComposites
from tests.passes.fusion.written_out import X, case
from tests.passes.harness import PLACES, Case, check

SOFT = "h = ReduceMax(x, ax) d = Sub(x, h) k = Exp(d)"
LOG = "t = ReduceSum(k, ax) i = Log(t)"
CASES = [
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
    case(
        "no difference",
        f"{X} {{ h = ReduceMax(x, ax) d = Add(x, h) k = Exp(d) t = ReduceSum(k, ax) y = Div(k, t) }}",
        None,
    ),
    case("a minimum", f"{X} {{ {SOFT.replace('ReduceMax', 'ReduceMin')} t = ReduceSum(k, ax) y = Div(k, t) }}", None),
    case("a mean", f"{X} {{ {SOFT} t = ReduceMean(k, ax) y = Div(k, t) }}", None),
    case("a product", f"{X} {{ {SOFT} t = ReduceSum(k, ax) y = Mul(k, t) }}", None),
    case("the other way round", f"{X} {{ {SOFT} t = ReduceSum(k, ax) y = Div(t, k) }}", None),
    case(
        "the sum of something else",
        f"{X} {{ {SOFT} t = ReduceSum(k, ax) i = Neg(x) y = Div(i, t) }}",
        None,
    ),
    case(
        "the maximum of something else",
        "(float[2,5,8] x, float[2,5,8] i) => (float[2,5,8] y)"
        " { h = ReduceMax(i, ax) d = Sub(x, h) k = Exp(d) t = ReduceSum(k, ax) y = Div(k, t) }",
        None,
    ),
    case(
        "two axes",
        f"{X} {{ h = ReduceMax(x, both) d = Sub(x, h) k = Exp(d) t = ReduceSum(k, both) y = Div(k, t) }}",
        None,
    ),
    case(
        "without the axis",
        "(float[8,8] x) => (float[8,8] y) { h = ReduceMax<keepdims = 0>(x, ax) d = Sub(x, h) k = Exp(d)"
        " t = ReduceSum<keepdims = 0>(k, ax) y = Div(k, t) }",
        None,
    ),
    case(
        "the exponential read twice",
        "(float[2,5,8] x) => (float[2,5,8] y, float[2,5,8] i)"
        f" {{ {SOFT} t = ReduceSum(k, ax) y = Div(k, t) i = Neg(k) }}",
        None,
        "also read by",
    ),
    case("log softmax", f"{X} {{ {SOFT} {LOG} y = Sub(d, i) }}", "LogSoftmax"),
    case(
        "log softmax at opset 12",
        f"{X} {{ h = ReduceMax<axes = [1]>(x) d = Sub(x, h) k = Exp(d) t = ReduceSum<axes = [1]>(k) i = Log(t)"
        " y = Sub(d, i) }",
        None,
        "came with opset 13",
        opset=12,
    ),
    case("the logarithm of a mean", f"{X} {{ {SOFT} t = ReduceMean(k, ax) i = Log(t) y = Sub(d, i) }}", None),
    case(
        "the logarithm of a sum of powers",
        f"{X} {{ {SOFT.replace('Exp', 'Abs')} {LOG} y = Sub(d, i) }}",
        None,
    ),
    case("no maximum taken off", f"{X} {{ k = Exp(x) {LOG} y = Sub(x, i) }}", None),
    case("the logarithm added", f"{X} {{ {SOFT} {LOG} y = Add(d, i) }}", None),
    case("taken off something else", f"{X} {{ {SOFT} {LOG} y = Sub(x, i) }}", None),
    case(
        "the logarithm of two axes",
        f"{X} {{ {SOFT} {LOG} y = Sub(d, i) }}".replace("ax)", "both)"),
        None,
    ),
    case(
        "logarithm of another axis",
        f"{X} {{ {SOFT} t = ReduceSum(k, first) i = Log(t) y = Sub(d, i) }}",
        None,
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)
