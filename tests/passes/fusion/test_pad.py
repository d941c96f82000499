from typing import Any

import numpy as np
import pytest

from roofwright.passes.fusion import FusePad
from tests.passes.harness import PLACES, Case, attributes, check, check_unrun, float32, int64, random, run_pass, uint8
from tests.passes.perturb import Perturbation, check_perturbed, perturbed

X = "(float[1,2,4,5] x)"
AROUND = int64([0, 0, 1, 0, 0, 0, 2, 1])


def pooled(name: str, node: str, shape: str, after: str | None, *, value: float = 0.0, **options: Any) -> Case:
    arrays = {"p": AROUND, "v": float32(value), **options.pop("arrays", {})}
    return Case(name, f"{X} => (float[{shape}] y) {{ c = Pad(x, p, v) y = {node} }}", after, arrays=arrays, **options)


EXACT = {"numerics": "exact"}
K2 = "kernel_shape = [3, 3]"
CASES = [
    pooled("conv", "Conv(c, w)", "1,3,6,5", "Conv", arrays={"w": random(3, 2, 2, 2)}),
    pooled(
        "conv with pads of its own",
        "Conv<pads = [0, 1, 0, 1]>(c, w)",
        "1,3,6,7",
        "Conv",
        arrays={"w": random(3, 2, 2, 2)},
    ),
    pooled("conv, VALID", 'Conv<auto_pad = "VALID">(c, w)', "1,3,6,5", "Conv", arrays={"w": random(3, 2, 2, 2)}),
    pooled(
        "conv, SAME",
        'Conv<auto_pad = "SAME_UPPER">(c, w)',
        "1,3,7,6",
        None,
        declines="auto_pad",
        arrays={"w": random(3, 2, 2, 2)},
    ),
    pooled(
        "conv, another value",
        "Conv(c, w)",
        "1,3,6,5",
        None,
        value=1.0,
        declines="pads with 0",
        arrays={"w": random(3, 2, 2, 2)},
    ),
    pooled("average", f"AveragePool<{K2}>(c)", "1,2,5,4", "AveragePool", exact=False),
    pooled(
        "average, its pads counted",
        f"AveragePool<{K2}, pads = [0, 1, 0, 0], count_include_pad = 1>(c)",
        "1,2,5,5",
        "AveragePool",
        exact=False,
    ),
    pooled(
        "average, its pads not counted",
        f"AveragePool<{K2}, pads = [0, 1, 0, 0]>(c)",
        "1,2,5,5",
        None,
        declines="does not count",
    ),
    pooled("average, in exact runs", f"AveragePool<{K2}>(c)", "1,2,5,4", None, declines="rounding", context=EXACT),
    pooled("maximum, in exact runs", f"MaxPool<{K2}>(c)", "1,2,5,4", "MaxPool", value=-np.inf, context=EXACT),
    pooled("average, another value", f"AveragePool<{K2}>(c)", "1,2,5,4", None, value=0.5, declines="pads with 0"),
    pooled(
        "average, rounded up",
        f"AveragePool<{K2}, strides = [2, 2], ceil_mode = 1>(c)",
        "1,2,3,3",
        None,
        declines="ceil_mode",
    ),
    pooled(
        "average, pads as large as the window",
        "AveragePool<kernel_shape = [2, 2]>(c)",
        "1,2,6,5",
        None,
        declines="smaller than the window",
    ),
    pooled("maximum, 0 may win", f"MaxPool<{K2}>(c)", "1,2,5,4", None, declines="may exceed"),
    pooled("maximum, -infinity never wins", f"MaxPool<{K2}>(c)", "1,2,5,4", "MaxPool", value=-np.inf),
    pooled(
        "maximum, the lowest finite number may",
        f"MaxPool<{K2}>(c)",
        "1,2,5,4",
        None,
        value=float(np.finfo(np.float32).min),
        declines="may exceed",
    ),
    pooled(
        "maximum, rounded up",
        f"MaxPool<{K2}, strides = [2, 2], ceil_mode = 1>(c)",
        "1,2,3,3",
        None,
        value=-np.inf,
        declines="ceil_mode",
    ),
    pooled(
        "maximum, dilated", f"MaxPool<{K2}, dilations = [2, 2]>(c)", "1,2,3,2", None, value=-np.inf, declines="dilated"
    ),
    Case(
        "maximum after a Relu",
        f"{X} => (float[1,2,5,4] y) {{ r = Relu(x) c = Pad(r, p) y = MaxPool<{K2}>(c) }}",
        "MaxPool Relu",
        arrays={"p": AROUND},
        signs=False,
    ),
    Case(
        "maximum after a Relu, filled with 1",
        f"{X} => (float[1,2,5,4] y) {{ r = Relu(x) c = Pad(r, p, v) y = MaxPool<{K2}>(c) }}",
        None,
        "may exceed",
        arrays={"p": AROUND, "v": float32(1)},
    ),
    Case(
        "maximum, the indices are used",
        f"{X} => (float[1,2,5,4] y, int64[1,2,5,4] i) {{ c = Pad(x, p, v) y, i = MaxPool<{K2}>(c) }}",
        None,
        "indices",
        arrays={"p": AROUND, "v": float32(-np.inf)},
    ),
    Case(
        "maximum of bytes",
        f"(uint8[1,2,4,5] x) => (uint8[1,2,5,4] y) {{ c = Pad(x, p) y = MaxPool<{K2}>(c) }}",
        "MaxPool",
        arrays={"p": AROUND},
    ),
    Case(
        "opset 9",
        f"{X} => (float[1,3,6,5] y) {{ c = Pad<pads = [0, 0, 1, 0, 0, 0, 2, 1]>(x) y = Conv(c, w) }}",
        "Conv",
        arrays={"w": random(3, 2, 2, 2)},
        opset=9,
    ),
    Case(
        "axes",
        f"{X} => (float[1,3,4,7] y) {{ c = Pad(x, p, v, a) y = Conv(c, w) }}",
        "Conv",
        opset=18,
        arrays={"w": random(3, 2, 2, 2), "p": int64([0, 1, 1, 2]), "v": float32(0), "a": int64([-2, 3])},
    ),
    Case(
        "channels",
        f"{X} => (float[1,3,3,4] y) {{ c = Pad(x, p) y = Conv(c, w) }}",
        None,
        "batch or the channels",
        arrays={"w": random(3, 3, 2, 2), "p": int64([0, 1, 0, 0, 0, 0, 0, 0])},
    ),
    Case(
        "channels behind",
        f"{X} => (float[1,3,3,4] y) {{ c = Pad(x, p) y = Conv(c, w) }}",
        None,
        "batch or the channels",
        arrays={"w": random(3, 3, 2, 2), "p": int64([0, 0, 0, 0, 0, 1, 0, 0])},
    ),
    Case("something else reads it", f"{X} => (float[1,2,7,6] y) {{ c = Pad(x, p) y = Neg(c) }}", arrays={"p": AROUND}),
    Case(
        "cropping",
        f"{X} => (float[1,3,2,4] y) {{ c = Pad(x, p) y = Conv(c, w) }}",
        None,
        "negative",
        arrays={"w": random(3, 2, 2, 2), "p": int64([0, 0, -1, 0, 0, 0, 0, 0])},
    ),
    Case(
        "reflection",
        f'{X} => (float[1,3,6,5] y) {{ c = Pad<mode = "reflect">(x, p) y = Conv(c, w) }}',
        None,
        "mode",
        arrays={"w": random(3, 2, 2, 2), "p": AROUND},
    ),
    Case(
        "two readers",
        f"{X} => (float[1,3,6,5] y, float[1,2,7,6] z) {{ c = Pad(x, p) y = Conv(c, w) z = Neg(c) }}",
        None,
        "also read by",
        arrays={"w": random(3, 2, 2, 2), "p": AROUND},
    ),
    Case(
        "integers, the zero point",
        "(uint8[1,2,4,5] x) => (int32[1,3,6,5] y) { c = Pad(x, p, z) y = ConvInteger(c, w, z) }",
        "ConvInteger",
        arrays={"p": AROUND, "z": uint8(3), "w": np.ones((3, 2, 2, 2), np.uint8)},
    ),
    Case(
        "integers, a zero point that is computed",
        "(uint8[1,2,4,5] x, uint8 z) => (int32[1,3,6,5] y) { c = Pad(x, p) y = ConvInteger(c, w, z) }",
        None,
        "zero point",
        arrays={"p": AROUND, "w": np.ones((3, 2, 2, 2), np.uint8)},
    ),
    Case(
        "integers, not the zero point",
        "(uint8[1,2,4,5] x) => (int32[1,3,6,5] y) { c = Pad(x, p) y = ConvInteger(c, w, z) }",
        None,
        "zero point",
        arrays={"p": AROUND, "z": uint8(3), "w": np.ones((3, 2, 2, 2), np.uint8)},
    ),
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, place: str) -> None:
    check(FusePad(), case, place)


@pytest.mark.parametrize("place", PLACES)
def test_before_opset_7_an_average_cannot_count_its_padding(place: str) -> None:
    text = f"{X} => (float[1,2,5,4] y) {{ c = Pad<pads = [0, 0, 1, 0, 0, 0, 2, 1]>(x) y = AveragePool<{K2}>(c) }}"
    check_unrun(FusePad(), Case("opset 6", text, None, "before opset 7", opset=6), place)


@perturbed(CASES)
def test_short_of_a_precondition(case: Case, how: Perturbation) -> None:
    check_perturbed(FusePad(), case, how)


def test_the_pads_add_up() -> None:
    _, after, _ = run_pass(FusePad(), CASES[1].model())
    assert attributes(after, "Conv") == {"pads": [1, 1, 2, 2]}


def test_pads_that_a_caller_gives() -> None:
    text = "(float[1,2,4,5] x, int64[8] p) => (float[1,3,N,M] y) { c = Pad(x, p) y = Conv(c, w) }"
    case = Case("given", text, arrays={"w": random(3, 2, 2, 2)})
    _, _, result = run_pass(FusePad(), case.model())
    assert [record.reason for record in result.records] == [
        "its pads are not constant, or the rank of what it pads is not known"
    ]
