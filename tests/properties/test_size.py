"""Folding stays within its budget: small models that could become large ones."""

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofwright.passes import Report
from tests.passes.harness import build, float32, int64
from tests.properties.draft import Draft, Invalid
from tests.properties.holds import holds
from tests.properties.twists import twisted

LIMITS = (0, 64, 1 << 10, 1 << 14)


def grown(draft: Draft, constant: str) -> str:
    """A constant that is larger than what it is made of."""
    size = draft.shape(constant)
    kind = draft.pick("Expand", "Tile", "ConstantOfShape", "Concat", "Pad", "Range", "MatMul", "Cast", "Transpose")
    if kind == "Expand":
        return draft.add("Expand", constant, draft.ints(draft.pick(8, 1, 30), *size))
    if kind == "Tile":
        return draft.add("Tile", constant, draft.ints(*[1] * (len(size) - 1), draft.pick(8, 1, 40)))
    if kind == "ConstantOfShape":
        return draft.add("ConstantOfShape", draft.ints(draft.pick(16, 4), *size[-1:]))
    if kind == "Concat":
        return draft.add("Concat", constant, constant, constant, axis=-1)
    if kind == "Pad":
        return draft.pad(constant, [0] * (2 * len(size) - 1) + [draft.pick(9, 50)])
    if kind == "Range":
        end = draft.const(draft.pick(64, 5, 400), np.int64)
        made = draft.add("Range", draft.const(0, np.int64), end, draft.const(1, np.int64))
        return draft.add("Cast", made, to=1)
    if kind == "MatMul":
        return draft.add("MatMul", draft.weight(40, 1), draft.weight(1, draft.pick(40, 3)))
    return draft.add("Cast", constant, to=1) if kind == "Cast" else draft.add("Transpose", constant)


@st.composite
def models(draw: Any) -> Any:
    """Sums of an input and constants that grow, one behind the other."""
    draft = Draft(draw, draw(st.sampled_from((17, 13, 11, 20))), np.float32, (1, 1))
    last = "x"
    for _ in range(draw(st.integers(1, 3))):
        constant = draft.weight(1, draft.pick(8, 1, 3))
        for _ in range(draw(st.integers(1, 3))):
            with suppress(Invalid):  # too large: it stays as it is
                constant = grown(draft, constant)
        last = draft.add(draft.pick("Add", "Mul"), draft.add("ReduceMax", last, keepdims=0), constant)
    return twisted(draft, last)


@pytest.mark.filterwarnings("ignore")  # of numpy, at the ends of its ranges
@pytest.mark.parametrize("examples", [25, pytest.param(800, marks=pytest.mark.slow)])
def test_no_more_bytes_than_the_budget_allows(examples: int) -> None:
    @settings(max_examples=examples)
    @given(model=models(), limit=st.sampled_from(LIMITS))
    def check(model: Any, limit: int) -> None:
        holds(model, fold_limit_bytes=limit)

    check()


def _sum_with(made: str, **arrays: Any) -> Report:
    return holds(build(f"(float[1] x) => (float[M] y) {{ {made} y = Add(x, c) }}", arrays), fold_limit_bytes=1 << 10)


@pytest.mark.parametrize(
    ("made", "arrays"),
    [
        ("c = ConstantOfShape(s)", {"s": int64([1 << 18])}),
        ("c = Expand(o, s)", {"o": float32([1]), "s": int64([1 << 18])}),
        ("c = Tile(o, s)", {"o": float32([1]), "s": int64([1 << 18])}),
        ("r = Range(z, e, o) c = Cast<to = 1>(r)", {"z": int64(0), "e": int64(1 << 18), "o": int64(1)}),
        ("p = Pad(o, s) c = Relu(p)", {"o": float32([1]), "s": int64([0, 1 << 18])}),
    ],
    ids=["ConstantOfShape", "Expand", "Tile", "Range", "Pad"],
)
def test_a_megabyte_out_of_nothing_stays_a_node(made: str, arrays: dict[str, Any]) -> None:
    report = _sum_with(made, **arrays)
    assert report.after.parameter_bytes <= 1 << 10
    assert any("above the limit" in record.reason for pass_ in report.passes for record in pass_.records)


def test_a_kilobyte_is_folded() -> None:
    report = _sum_with("c = ConstantOfShape(s)", s=int64([256]))
    assert report.after.parameter_bytes == 1 << 10
    assert report.after.nodes == 1
