from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from roofwright.graph import clone, read, run, session
from roofwright.passes.base import Context
from roofwright.passes.batching import WidenBatch
from roofwright.passes.check import Check
from roofwright.passes.check_batch import check_batched
from tests.builders import model

TEXT = """agraph (float[{b},4,6] x, float[3,1] k) => (float[{b},5] y, float[3,1] z)
{{ a = Flatten(x) y = MatMul(a, w) z = Relu(k) }}"""


def judged(batch: int, size: int | str, spoil: Mapping[str, Any] | None = None) -> Check:
    graph = read(model(TEXT.format(b=size), w=(24, 5)))
    wide = clone(graph)
    WidenBatch(batch=batch).run(wide, Context())
    if spoil:
        constant = next(t for node in wide.nodes for t in node.inputs if isinstance(t, gs.Constant))
        constant.values = constant.values * spoil["factor"]
    original, batched = session(graph), session(wide)

    def optimized(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        outputs = run(batched, arrays)
        return {**outputs, "y": np.roll(outputs["y"], 1, 0)} if spoil and "roll" in spoil else outputs

    return check_batched(graph, wide, lambda arrays: run(original, arrays), optimized)


@pytest.mark.parametrize(("batch", "size"), [(3, 1), (7, 2), (40, 1), (3, "batch"), (5, 4), (2, 2)])
def test_samples_alone_and_together_agree(batch: int, size: int | str) -> None:
    check = judged(batch, size)
    assert (check.status, check.runs) == ("passed", 5)


def test_a_wrong_weight_is_found() -> None:
    check = judged(3, 1, {"factor": 1.5})
    assert check.status == "failed"
    assert check.worst == "y"


@pytest.mark.parametrize("batch", [3, 40])
def test_swapped_samples_are_found(batch: int) -> None:
    assert judged(batch, 1, {"factor": 1.0, "roll": True}).status == "failed"
