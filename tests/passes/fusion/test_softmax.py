from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FuseComposites
from tests.passes.fusion.written_out import C, C16, HALF, X, case
from tests.passes.harness import PLACES, Case, attributes, build, check, float16, float32, int64, positive, run_pass

SOFT = "h = ReduceMax(x, ax) d = Sub(x, h) k = Exp(d)"
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
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("one", CASES, ids=str)
def test_cases(one: Case, place: str) -> None:
    check(FuseComposites(), one, place)
