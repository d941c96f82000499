"""Cases of operators that are written out in nodes, with the constants that they name."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.passes.harness import Case, float16, float32, int64, positive

IR = {20: 9, 21: 10, 23: 11, 24: 11, 25: 11}
X = "(float[2,5,8] x) => (float[2,5,8] y)"
HALF = "(float16[2,5,8] x) => (float16[2,5,8] y)"
C = {
    **{"c1": float32(1), "c2": float32(2), "c3": float32(3), "half": float32(0.5), "root": float32(np.sqrt(2))},
    **{"inverse": float32(np.sqrt(0.5)), "a": float32(0.044715), "s": float32(np.sqrt(2 / np.pi))},
    **{"s2": float32(np.sqrt(8 / np.pi)), "quick": float32(1.702), "e": float32(1e-5), "power": float32(-0.5)},
}
C16 = {name: float16(value) for name, value in C.items()}
AXES = {"ax": int64([-1]), "both": int64([-2, -1]), "first": int64([1])}
WEIGHTS = {"g": positive(8), "b": positive(8, seed=1), "wide": positive(5, 8, seed=2), "row": positive(5, 1, seed=3)}


def used(text: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the arrays that the text names."""
    words = set(text.replace(",", " ").replace("(", " ").replace(")", " ").split())
    return {name: value for name, value in arrays.items() if name in words}


def case(name: str, text: str, after: str | None, declines: str | None = None, **options: Any) -> Case:
    """A case at opset 23 unless given, with all constants that it names."""
    opset = options.pop("opset", 23)
    arrays = used(text, {**C, **AXES, **WEIGHTS, **options.pop("arrays", {})})
    return Case(name, text, after, declines, arrays, opset, IR.get(opset, 8), exact=False, **options)
